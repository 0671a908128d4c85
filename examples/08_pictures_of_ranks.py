"""Pictures: singular values, dimension trees and networks, of a file that is read in chunks and of digit images."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import tnrank
from tnrank import plots

folder = Path(tempfile.mkdtemp())

# A file of 13 MB, compressed in 4 MB of memory: 1 / (1 + i + j + k + l) is close to a tensor of small ranks.
path = folder / "hilbert.npy"
np.save(path, 1.0 / (1.0 + sum(np.ogrid[:36, :36, :36, :36])))
steps: list[str] = []
x = tnrank.factorizations.compress(
    np.load(path, mmap_mode="r"), rtol=1e-4, memory="4 MB", progress=lambda words, share: steps.append(words)
)
print("\n".join(dict.fromkeys(steps)))
given = np.load(path)
error = np.linalg.norm(given - x.to_dense()) / np.linalg.norm(given)
print(f"{given.size:,} entries became {x.parameter_count:,} numbers; relative error {error:.1e}")
assert error <= 1e-4

report = tnrank.rank_report(x, rtol=1e-4)
print(report)

# 24 digit images as a tensor with a mode of dimension 2 for each of the 64 pixels: 2^64 entries, never formed.
images, _ = tnrank.data.digits()
angles = images[:24].reshape(24, 64) * np.pi / 2
digits = tnrank.CPFactorization([np.stack([np.cos(a), np.sin(a)]) for a in angles.T])

figures = {
    "hilbert.png": plots.ranks(report),
    "digits-tree.png": plots.dimension_tree(digits, tree=tnrank.DimensionTree.balanced(64), rtol=1e-2),
    "tensor-train.png": plots.network(tnrank.TensorTrain.random((4,) * 8, rank=3, seed=0)),
    "hierarchical.svg": plots.network(tnrank.HierarchicalFactorization.random((2,) * 16, width=5, seed=0)),
    "ring.pdf": plots.network(tnrank.Network.from_einsum("iab,jbc,kca->ijk")),
}
for name, figure in figures.items():
    (folder / name).write_bytes(plots.image_bytes(figure, name))
print(f"drawn in {folder}: {', '.join(figures)}")
