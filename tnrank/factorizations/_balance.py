"""Balancing a hierarchical factorization by diagonal scalings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node

_MOST_SWEEPS = 20_000
_TOLERANCE = 2e-15
_STALLED = 8
HostArray = np.ndarray[Any, Any]


def family_norms(tree: DimensionTree, arrays: Sequence[Array]) -> dict[Node, HostArray]:
    """For every interior node, the norms of the vectors of its local components: shape (K, R_v), row of the node first."""
    host = dict(zip(tree.nodes, (_host(a) for a in arrays), strict=True))
    return {
        node: np.stack(
            [np.linalg.norm(host[node], axis=1), *(np.linalg.norm(host[c], axis=0) for c in tree.children(node))]
        )
        for node in tree.interior
    }


def balanced_hierarchy(tree: DimensionTree, arrays: Sequence[Array]) -> list[Array]:
    """The arrays scaled so that within every local component all vectors have equal norms.

    Coordinate descent on the sum of squares over diagonal scalings, convex in their logarithms. A component with a
    zero vector adds nothing to the end tensor and is set to zero.
    """
    backend = backend_of(arrays[0])
    host = [_host(a) for a in arrays]
    squares = dict(zip(tree.nodes, (abs(a) ** 2 for a in host), strict=True))
    # Underflowing squares of tiny weights would look like zero vectors: work relative to the largest entry.
    largest = {node: float(s.max()) or 1.0 for node, s in squares.items()}
    squares = {node: s / largest[node] for node, s in squares.items()}
    offset = {node: np.log(value) for node, value in largest.items()}
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
        # Rounding ends the descent: stop once nothing has improved for a few sweeps near the floor.
        since = 0 if worst < best else since + 1
        best = min(best, worst)
        if since > _STALLED and best < 1e-12:
            break

    made = []
    for node, given, array in zip(tree.nodes, host, arrays, strict=True):
        scaled = np.exp(rows[node] / 2)[:, None] * given * np.exp(columns[node] / 2)
        name = backend.device_of(array)
        made.append(backend.asarray(scaled, backend.dtype_of(array), None if name == backend.devices()[0] else name))
    return made


def _log_sum(squares: HostArray, logs: HostArray) -> HostArray:
    """``log(squares @ exp(logs))`` without overflow."""
    finite = logs[np.isfinite(logs)]
    top = float(finite.max()) if len(finite) else 0.0
    with np.errstate(divide="ignore"):
        summed: HostArray = np.log(squares @ np.exp(logs - top)) + top
    return summed


def _host(array: Array) -> HostArray:
    host = np.asarray(backend_of(array).to_numpy(array))
    return host.astype(np.promote_types(host.dtype, np.float64))
