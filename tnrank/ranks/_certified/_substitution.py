"""The substitution method: remove slices one by one, then bound the rank of what is left whatever was added."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np

from tnrank.ranks._certified._exact import Matrix
from tnrank.ranks._certified._lattice import short_bases

_ZERO, _FIXED, _FREE = 0, 1, 2
_ENTRIES = 4096


def substitution_rank(tensor: Matrix, data: dict[str, Any]) -> int:
    """The bound of the slices ``data["removed"]`` (mode and index, in turn) and the final rows ``data["rows"]``.

    If slice i of a mode is not zero, then ``rank(T) >= 1 + min over the numbers k_j of rank(T_j - k_j T_i, j != i)``.
    Entries that the unknown numbers reach count as free; of the last matricization, a triangle with nonzero fixed
    entries on its diagonal keeps its rank whatever the free entries are.

    Returns:
        The bound; 0 if a removed slice may be zero, so that the argument fails.

    Source: Alexeev, Forbes & Tsimerman 2011, *Tensor rank: some lower and upper bounds*, Lemma 2.
    """
    state = _state(_change(tensor, data["bases"]))
    for mode, index in data["removed"]:
        if not np.any(np.take(state, index, axis=mode) == _FIXED):
            return 0
        state = _remove(state, mode, index)
    rows = tuple(data["rows"])
    return len(data["removed"]) + _triangle(_matrix(state, rows))


def search_substitution(tensor: Matrix) -> tuple[int, dict[str, Any]]:
    """The best bound of a greedy search, with what :func:`substitution_rank` needs to recheck it.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks._certified._substitution import search_substitution
        >>> w = np.zeros((2, 2, 2, 2), dtype=int)
        >>> w[1, 0, 0, 0] = w[0, 1, 0, 0] = w[0, 0, 1, 0] = w[0, 0, 0, 1] = 1
        >>> search_substitution(w)[0]
        4
    """
    best, found = 0, dict[str, Any]()
    if tensor.size > _ENTRIES:
        return best, found
    for bases in ([], _sparse_bases(tensor), short_bases(tensor)):
        state, removed = _state(_change(tensor, bases)), list[list[int]]()
        while True:
            for rows in _sides(state.ndim):
                value = len(removed) + _triangle(_matrix(state, rows))
                if value > best:
                    data = {"method": "substitution", "bases": bases, "removed": list(removed)}
                    best, found = value, data | {"rows": list(rows)}
            choices = [
                (int(np.count_nonzero(part)), mode, index)
                for mode in range(state.ndim)
                if state.shape[mode] > 1
                for index in range(state.shape[mode])
                if np.any((part := np.take(state, index, axis=mode)) == _FIXED)
            ]
            if not choices:
                break
            _, mode, index = min(choices)  # the slice that spoils the fewest entries
            state = _remove(state, mode, index)
            removed.append([mode, index])
    return best, found


def _change(tensor: Matrix, bases: list[list[list[int]]]) -> Matrix:
    """The tensor with each mode multiplied by a matrix, which raises no rank; as given for no bases."""
    for mode, basis in enumerate(bases):
        tensor = np.moveaxis(np.tensordot(np.array(basis, dtype=object), tensor, axes=(1, mode)), 0, mode)
    return tensor


def _sparse_bases(tensor: Matrix) -> list[list[list[int]]]:
    """For each mode independent combinations of slices, small integers, those of the lowest ranks first."""
    bases, values = list[list[list[int]]](), tensor.astype(np.float64)
    for mode, d in enumerate(tensor.shape):
        reach = 2 if d <= 3 else 1 if d <= 5 else 0
        vectors = [v for v in product(range(-reach, reach + 1), repeat=d) if any(v) and next(filter(None, v)) > 0]
        scored = []
        for v in vectors or [tuple(map(int, row)) for row in np.eye(d, dtype=int)]:
            part = np.tensordot(np.array(v, dtype=np.float64), values, axes=(0, mode))
            sides = [np.moveaxis(part, k, 0).reshape(part.shape[k], -1) for k in range(part.ndim)]
            ranks = sum(int(np.linalg.matrix_rank(side)) for side in sides)
            scored.append((ranks, int(np.count_nonzero(part)), sum(map(abs, v)), v))
        chosen = list[list[int]]()
        for *_, v in sorted(scored):
            if np.linalg.matrix_rank(np.array([*chosen, v], dtype=np.float64)) > len(chosen):
                chosen.append(list(v))
        bases.append(chosen)
        changed = np.tensordot(np.array(chosen, dtype=np.float64), values, axes=(1, mode))
        values = np.moveaxis(changed, 0, mode)
    return bases


def _sides(order: int) -> list[tuple[int, ...]]:
    """The bipartitions that are tried: all up to order 6, above those that split the modes in two runs."""
    if order > 6:
        return [(k,) for k in range(order)] + [tuple(range(k)) for k in range(2, order)]
    return [rows for size in range(1, order // 2 + 1) for rows in combinations(range(order), size)]


def _state(tensor: Matrix) -> Matrix:
    return np.where(tensor != 0, _FIXED, _ZERO)


def _remove(state: Matrix, mode: int, index: int) -> Matrix:
    removed = np.take(state, [index], axis=mode)
    return np.where(removed == _ZERO, np.delete(state, index, axis=mode), _FREE)


def _matrix(state: Matrix, rows: tuple[int, ...]) -> Matrix:
    others = tuple(k for k in range(state.ndim) if k not in rows)
    return state.transpose(*rows, *others).reshape(int(np.prod([state.shape[k] for k in rows])), -1)


def _triangle(state: Matrix) -> int:
    """The size of a triangle: again and again a row (or column) whose only entry left is fixed."""
    size, left = 0, state.copy()
    while True:
        for turned in (left, left.T):
            single = np.flatnonzero((np.count_nonzero(turned, axis=1) == 1) & (turned.max(axis=1, initial=0) == _FIXED))
            if single.size:
                row = int(single[0])
                turned[:, int(np.flatnonzero(turned[row])[0])] = _ZERO
                turned[row] = _ZERO
                size += 1
                break
        else:
            return size
