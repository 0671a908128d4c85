"""Balancing a hierarchical factorization by diagonal scalings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._backend import backend_of, get_backend
from tnrank._scale import norm, over, peak, unit_of, within_range
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node

_MOST_SWEEPS = 20_000
_TOLERANCE = 2e-15
_STALLED = 8
HostArray = np.ndarray[Any, Any]


def family_norms(tree: DimensionTree, arrays: Sequence[Array]) -> dict[Node, HostArray]:
    """Interior node -> norms of the vectors of its local components, (K, R_v), the node's own row first."""
    host = dict(zip(tree.nodes, (_host(a) for a in arrays), strict=True))
    return {
        node: norms_along([(host[node], 1), *((host[c], 0) for c in tree.children(node))]) for node in tree.interior
    }


def norms_along(parts: Sequence[tuple[HostArray, int]]) -> HostArray:
    """The norms of slices of arrays along an axis of each, (K, R)."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        found = np.stack([np.linalg.norm(array, axis=axis) for array, axis in parts])
    if within_range(found):
        return found
    return np.stack([norm(array, backend_of(array), axis) for array, axis in parts])


def largest_difference(families: Sequence[HostArray]) -> float:
    """The largest difference of squares within a column of norms ``(K, R)``, relative to the largest square of all.

    0 if all are 0; NaN if one is.
    """
    scale = max((float(norms.max()) for norms in families), key=lambda peak: (peak != peak, peak))
    if not scale > 0 or scale == np.inf:
        return 0.0 if scale == 0 else np.nan
    squared = [(norms / scale) ** 2 for norms in families]
    return max(float((s.max(axis=0) - s.min(axis=0)).max()) for s in squared)


def balanced_hierarchy(tree: DimensionTree, arrays: Sequence[Array]) -> list[Array]:
    """The arrays scaled so that within every local component all vectors have equal norms.

    Coordinate descent on the sum of squares over diagonal scalings, convex in their logarithms. A component with a
    zero vector adds nothing to the end tensor and is set to zero.
    """
    backend = backend_of(arrays[0])
    host = [_host(a) for a in arrays]
    # Underflowing squares of tiny weights would look like zero vectors: work relative to the largest entry.
    numpy = get_backend("numpy")
    largest = {node: unit_of(peak(a, numpy), numpy) for node, a in zip(tree.nodes, host, strict=True)}
    squares = {node: abs(over(a, largest[node], numpy)) ** 2 for node, a in zip(tree.nodes, host, strict=True)}
    offset = {node: 2 * np.log(value) for node, value in largest.items()}
    rows = {node: np.zeros(s.shape[0]) for node, s in squares.items()}  # logarithms of squared scales
    columns = {node: np.zeros(s.shape[1]) for node, s in squares.items()}
    dead: dict[Node, HostArray] = {node: np.zeros(squares[node].shape[0], bool) for node in tree.interior}

    best, since = np.inf, 0
    for _ in range(_MOST_SWEEPS):
        worst = 0.0
        for node in tree.interior:
            children = tree.children(node)
            logs = [rows[node] + offset[node] + _log_sum(squares[node], columns[node])]
            logs += [columns[c] + offset[c] + _log_sum(squares[c].T, rows[c]) for c in children]
            stacked = np.stack(logs)
            dead[node] |= ~np.isfinite(stacked).all(axis=0)
            alive = ~dead[node]
            for target, index in [(rows, node), *((columns, c) for c in children)]:
                target[index][dead[node]] = -np.inf
            if not alive.any():
                continue
            shift = stacked[:, alive].mean(axis=0) - stacked[:, alive]
            worst = max(worst, float(abs(shift).max()))
            rows[node][alive] += shift[0]
            for child, s in zip(children, shift[1:], strict=True):
                columns[child][alive] += s
        if worst < _TOLERANCE:
            break
        # Differences between far nodes would die out one neighbor a sweep: the optimum has equal Frobenius norms, and
        # scaling whole matrices to them is a descent step too. Deep trees need as few sweeps as shallow ones.
        sizes = np.asarray([offset[n] + _log_total(squares[n], rows[n], columns[n]) for n in tree.nodes])
        if np.isfinite(sizes).all():
            for node, size in zip(tree.nodes, sizes, strict=True):
                columns[node] += sizes.mean() - size
        # Rounding ends the descent: stop once nothing has improved for a few sweeps near the floor.
        since = 0 if worst < best else since + 1
        best = min(best, worst)
        if since > _STALLED and best < 1e-12:
            break

    made = []
    for node, given, array in zip(tree.nodes, host, arrays, strict=True):
        scaled = np.exp(rows[node] / 2)[:, None] * given * np.exp(columns[node] / 2)
        made.append(backend.asarray(scaled, backend.dtype_of(array), default_or_named_device(array)))
    return made


def _log_sum(squares: HostArray, logs: HostArray) -> HostArray:
    """``log(squares @ exp(logs))`` without overflow."""
    finite = logs[np.isfinite(logs)]
    top = float(finite.max()) if len(finite) else 0.0
    with np.errstate(divide="ignore"):
        summed: HostArray = np.log(squares @ np.exp(logs - top)) + top
    return summed


def _log_total(squares: HostArray, rows: HostArray, columns: HostArray) -> float:
    """``log(exp(rows) @ squares @ exp(columns))`` without overflow."""
    return float(np.logaddexp.reduce(rows + _log_sum(squares, columns)))


def _host(array: Array) -> HostArray:
    host = np.asarray(backend_of(array).to_numpy(array))
    return host.astype(np.promote_types(host.dtype, np.float64), copy=False)
