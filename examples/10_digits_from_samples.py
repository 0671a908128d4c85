"""Ten digits told apart by a tensor of order 65, fitted to images in batches.

Each of the 64 pixels of an image gives two features, and the last mode holds the ten classes. The tensor is a
hierarchical factorization on the quad tree of the image: 2^64 * 10 entries in 10,760 numbers. The images are those that
scikit-learn ships.
"""

from __future__ import annotations

import numpy as np

import tnrank
from tnrank.circuits import CosSin

backend = "torch" if "torch" in tnrank.available_backends() else "numpy"


def features(images: np.ndarray) -> np.ndarray:
    """(cos, sin) of every pixel, divided by their sum so that products of 64 of them stay near 1: ``(M, 64, 2)``."""
    found = np.asarray(CosSin()({}, images.reshape(len(images), 64, 1)))
    return found / found.sum(axis=-1, keepdims=True)


images, labels = tnrank.data.images("digits", "train")
others, right = tnrank.data.images("digits", "test")
held = slice(1000, None)  # of the training images, to see when to stop

tree = tnrank.DimensionTree.quad(8, 8)
start = tnrank.HierarchicalFactorization.random(
    (2,) * 64, tree, width=20, classes=10, init="near_identity", std=0.3, backend=backend
)
result = tnrank.fit(
    start,
    features(images[:1000]),
    labels[:1000],
    loss=tnrank.CrossEntropyLoss(),
    optimizer=tnrank.Adam(1e-2, relative=True),
    epochs=30,
    batch=100,
    validation=(features(images[held]), labels[held]),
    patience=10,
)
print(result)

predicted = np.asarray(result.scores(features(others))).argmax(axis=1)
accuracy = (predicted == right).mean()
print(f"{start.parameter_count:,} numbers; {accuracy:.1%} of {len(right)} other images are classified right")
assert accuracy > 0.8
