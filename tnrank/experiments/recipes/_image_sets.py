"""Images that recipes train networks on: gray, checked, and digits redrawn at the size of MNIST's."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tnrank.data import check_labeled, gray, images
from tnrank.experiments.kit import HostArray

Name = Literal["digits", "mnist", "fashion-mnist"]


def gray_images(
    name: Name, split: Literal["train", "test"], data_dir: str | None = None, limit: int = 0
) -> tuple[HostArray, HostArray]:
    """The first images ``(M, H, W)`` in [0, 1] of a data set and their labels ``(M,)``, all of them for limit 0."""
    pictures, labels = images(name, split, data_dir)
    few = limit or len(labels)
    check_labeled(pictures[:few], labels[:few])
    return gray(pictures[:few]), labels[:few]


def redrawn(pictures: HostArray, count: int, side: int, seed: int) -> HostArray:
    """Each image several times, enlarged with sharp strokes, rotated, sheared, scaled and moved at random.

    Args:
        pictures: ``(M, h, w)``.
        count: of new images: all once, then all of them again, until there are so many.
        side: of the new images; the old ones fill about 70 % of it.
        seed: of the changes.

    Returns:
        ``(count, side, side)`` in [0, 1].
    """
    from scipy.ndimage import affine_transform

    generator, drawn = np.random.default_rng(seed), []
    shape = np.array(pictures.shape[1:])
    for number in range(count):
        angle, shear = generator.uniform(-0.5, 0.5), generator.uniform(-0.4, 0.4)
        size = np.exp(generator.uniform(-0.3, 0.3, 2)) * 0.7 * side / shape
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # Pixels of the new image -> places in the old one, which is what SciPy takes.
        inverse = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag(1 / size)
        center = (side - 1) / 2 + generator.uniform(-1, 1, 2) * side / 7
        offset = (shape - 1) / 2 - inverse @ center
        drawn.append(
            affine_transform(pictures[number % len(pictures)], inverse, offset, output_shape=(side, side), order=1)
        )
    # Interpolated strokes are blurred, and a blurred image is hardly more than its few pixels.
    return np.clip(3 * (np.stack(drawn) - 0.5) + 0.5, 0, 1)
