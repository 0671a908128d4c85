"""What the entanglement of data is measured of: samples, labels and a tree, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import instance, shape, shown, whole_number
from tnrank._memory import check_fits
from tnrank.dimension_tree import DimensionTree

NDArray = np.ndarray[Any, Any]

_SLACK = 1e-6
"""How far values that were scaled in single precision may lie outside [0, 1]."""


class Arrangement(NamedTuple):
    """A tree of the features, and how it is called."""

    tree: DimensionTree
    name: str
    grid: tuple[int, ...] | None


def read_samples(
    X: Any, grid: Any, least: int = 2, draw: Callable[[int], NDArray] = np.arange
) -> tuple[NDArray, tuple[int, ...] | None, NDArray]:
    """Samples as float64 of shape ``(M, N)``, the grid of the features if there is one, and which samples those are.

    ``draw`` gives the numbers of the samples from how many there are; of a mapped file no others are read.
    """
    backend = backend_of(X)
    if len(X.shape) not in (2, 3) or 0 in X.shape:
        raise ValueError(
            f"X has one row a sample, (M, N), or one gray image a sample, (M, H, W), got shape {tuple(X.shape)}"
        )
    host = np.asarray(backend.to_numpy(X))
    if host.dtype.kind not in "biuf":
        raise ValueError(f"X has real numbers in [0, 1], got dtype {host.dtype}")
    sides = None if grid is None else shape(grid, "grid")
    if host.ndim == 3:
        if sides is not None and sides != host.shape[1:]:
            raise ValueError(f"X has images of shape {host.shape[1:]}, got grid {sides}: leave grid out")
        sides = host.shape[1:]
    count, order = len(host), int(np.prod(host.shape[1:], dtype=object))
    if sides is not None and (len(sides) not in (1, 2) or int(np.prod(sides, dtype=object)) != order):
        told = " x ".join(map(shown, sides))
        raise ValueError(f"got grid {told} for {order:,} features, needed a height and a width of that product")
    if order < 2:
        raise ValueError(f"X has {order} feature, needed 2 or more: a partition has two sides")
    if count < least:
        raise ValueError(f"X has {count} sample, needed {least} or more")
    rows = draw(count)
    check_fits(3 * len(rows) * order, f"{len(rows):,} samples of {order:,} features", "give fewer of either")
    samples = (host if len(rows) == count else host[rows]).reshape(len(rows), -1).astype(np.float64)
    if not (good := np.isfinite(samples)).all():
        row, feature = (int(k) for k in np.argwhere(~good)[0])
        raise ValueError(
            f"{int((~good).sum()):,} of {samples.size:,} entries of X are NaN or infinite, the first is feature "
            f"{feature} of sample {rows[row]}: leave those samples out, or fill them in by tnrank.fill_missing(X)"
        )
    return samples, sides, rows


def check_range(samples: NDArray, was: str) -> NDArray:
    """The samples clipped to [0, 1], in which all of them must lie but for rounding."""
    low, high = float(samples.min()), float(samples.max())
    if low < -_SLACK or high > 1 + _SLACK:
        fix = (
            "X / 255" if was.endswith("uint8") else "X / X.max()" if low >= 0 else "(X - X.min()) / (X.max() - X.min())"
        )
        raise ValueError(f"X has entries from {low:.4g} to {high:.4g}, needed [0, 1]: pass {fix}")
    return np.clip(samples, 0.0, 1.0)


def read_labels(y: Any, count: int) -> NDArray | None:
    """The labels of two classes as -1 and +1, of the smaller and the larger number."""
    if y is None:
        return None
    labels = np.asarray(backend_of(y).to_numpy(y))
    if labels.shape != (count,):
        raise ValueError(f"y has one label a sample, ({count},), got shape {labels.shape}")
    if labels.dtype.kind not in "biuf" or not np.isfinite(labels).all():
        raise ValueError(f"y has labels that are finite real numbers, got {shown(labels)}")
    classes = np.unique(labels)
    if len(classes) != 2:
        listed = ", ".join(f"{float(c):g}" for c in classes[:5]) + (", .." if len(classes) > 5 else "")
        fix = (
            "leave y out"
            if len(classes) == 1
            else f"pass y == {float(classes[0]):g}, which is one class against the rest"
        )
        raise ValueError(f"y has the labels of two classes, got {len(classes)} ({listed}): {fix}")
    return np.where(labels == classes[1], 1.0, -1.0)


def read_arrangement(order: int, grid: tuple[int, ...] | None, tree: Any) -> Arrangement:
    """The tree that was given, the quad tree of a two-dimensional grid, or the balanced tree of a row."""
    if tree is not None:
        instance(tree, "tree", DimensionTree, "a DimensionTree such as correlation_tree(X), or None")
        if tree.order != order:
            raise ValueError(f"the tree has {tree.order} modes, and X has {order} features: needed one mode a feature")
        return Arrangement(tree, f"{order:,} features on a tree", None)
    if grid is not None and len(grid) == 2:
        return Arrangement(DimensionTree.quad(*grid), f"{grid[0]} x {grid[1]} features", grid)
    return Arrangement(DimensionTree.balanced(order), f"{order:,} features in a row", (order,))


def drawn(count: int, samples: Any, most: int, rng: np.random.Generator) -> NDArray:
    """The numbers of the samples that are measured, ascending: all, or as many as are asked for or may be at most."""
    wanted = min(count, most) if samples is None else whole_number(samples, "samples", 2, count)
    return np.arange(count) if wanted == count else np.sort(rng.choice(count, wanted, replace=False))
