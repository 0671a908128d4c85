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
            f"X has shape {tuple(X.shape)}, needed (M, N), one row a sample, or (M, H, W), one gray image a sample"
            f"{_reshaped(tuple(X.shape))}"
        )
    host = np.asarray(backend.to_numpy(X))
    if host.dtype.kind not in "biuf":
        raise ValueError(f"X has dtype {host.dtype}, needed real numbers in [0, 1]")
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


def read_arrangement(order: int, grid: tuple[int, ...] | None, tree: Any) -> Arrangement:
    """The tree that was given, the quad tree of a two-dimensional grid, or the balanced tree of a row."""
    if tree is not None:
        instance(tree, "tree", DimensionTree, "a DimensionTree, 'correlation', or None")
        if tree.order != order:
            raise ValueError(f"the tree has {tree.order} modes, and X has {order} features: needed one mode a feature")
        return Arrangement(tree, f"{order:,} features on a tree", None)
    if grid is not None and len(grid) == 2:
        return Arrangement(DimensionTree.quad(*grid), f"{grid[0]} x {grid[1]} features", grid)
    return Arrangement(DimensionTree.balanced(order), f"{order:,} features in a row", (order,))


def drawn(count: int, samples: Any, most: int, rng: np.random.Generator) -> NDArray:
    """The numbers of the samples that are measured, ascending: all, or as many as are asked for or may be at most."""
    wanted = min(count, most if samples is None else whole_number(samples, "samples", 2))
    return np.arange(count) if wanted == count else np.sort(rng.choice(count, wanted, replace=False))


def _reshaped(given: tuple[int, ...]) -> str:
    """The call that makes samples of what has another number of axes; nothing if there is none."""
    if len(given) < 4 or 0 in given:
        return ""
    if len(given) == 4 and given[1] == 1:
        return f": pass X.reshape({given[0]}, {given[2]}, {given[3]})"
    if len(given) == 4 and given[3] == 1:
        return f": pass X.reshape({given[0]}, {given[1]}, {given[2]})"
    if len(given) == 4 and given[3] == 3:
        return ": pass tnrank.data.gray(X)"
    if len(given) == 4 and given[1] == 3:
        return ": pass tnrank.data.gray(numpy.moveaxis(X, 1, -1))"
    return f": pass X.reshape({given[0]}, -1)"
