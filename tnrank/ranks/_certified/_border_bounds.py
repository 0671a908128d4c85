"""Lower bounds of the border rank: matricizations and Koszul flattenings."""

from __future__ import annotations

from itertools import combinations
from math import ceil, comb, prod
from typing import Any

import numpy as np

from tnrank._backend import host_svdvals
from tnrank.factorizations._cp_fit._long_modes import long_modes
from tnrank.ranks._certified._exact import Matrix, proven_rank, random_primes
from tnrank.ranks._certified._target import (
    Bound,
    Target,
    grouped,
    groupings,
    others_than,
    show,
    singular_margin,
)

_ALL_BIPARTITIONS = 10
_KOSZUL_ENTRIES = 2**21


def _rank(target: Target, matrix: Matrix, seed: int) -> int:
    """Exactly for integer matrices, else of the singular values with a tolerance of 10 max(sides) eps."""
    if target.integers is not None:
        return proven_rank(matrix, random_primes(seed))
    s = host_svdvals(matrix)
    return max(1, int(np.sum(s > 10 * max(matrix.shape) * target.eps * s[0]))) if s[0] > 0 else 0


def _exact_or_values(target: Target) -> Matrix:
    return target.values if target.integers is None else target.integers


def _matricization_rank(target: Target, rows: tuple[int, ...], seed: int) -> int:
    blocks = (rows, others_than(rows, target.values.shape))
    return _rank(target, grouped(_exact_or_values(target), blocks), seed)


def matricization_bound(target: Target, data: dict[str, Any], seed: int) -> Bound:
    """The rank of the matricization with the modes ``data["rows"]`` as rows."""
    rows = tuple(data["rows"])
    blocks = (rows, others_than(rows, target.values.shape))
    rank = _matricization_rank(target, rows, seed)
    margin = singular_margin(grouped(target.values, blocks), rank)
    exact = target.integers is not None
    return Bound(f"matricization {show(blocks)}", rank, "border", margin, "Hitchcock 1927", exact, data)


def matricization_bounds(target: Target, seed: int) -> tuple[Bound, dict[tuple[int, ...], int]]:
    """The largest matricization rank, and the ranks of all that were looked at, by the modes of either side."""
    modes, ranks = long_modes(target.values.shape), dict[tuple[int, ...], int]()
    order = len(modes)
    if order > _ALL_BIPARTITIONS:
        sides = [(mode,) for mode in modes] + [modes[:k] for k in range(2, order)]
    else:
        sides = [c for k in range(1, order // 2 + 1) for c in combinations(modes, k)]
    for rows in sides:
        others = others_than(rows, target.values.shape)
        if others not in ranks:
            ranks[rows] = ranks[others] = _matricization_rank(target, rows, seed)
    best = max(ranks, key=lambda rows: (ranks[rows], -len(rows)))
    return matricization_bound(target, {"method": "matricization", "rows": list(best)}, seed), ranks


def koszul_matrix(tensor: Matrix, p: int) -> Matrix:
    """The Koszul flattening of a ``(2p+1, b, c)`` tensor, shape ``(C(2p+1,p) b, C(2p+1,p+1) c)``.

    It sends ``e_S (x) y`` to ``sum_i e_i ^ e_S (x) T(e_i, y)``; a tensor of rank one gives a matrix of rank
    ``C(2p, p)``.

    Source: Landsberg & Ottaviani 2015, *New lower bounds for the border rank of matrix multiplication*.
    """
    a, b, c = tensor.shape
    rows, columns = list(combinations(range(a), p)), list(combinations(range(a), p + 1))
    place = {subset: k for k, subset in enumerate(columns)}
    found = np.zeros((len(rows), b, len(columns), c), dtype=tensor.dtype)
    for k, subset in enumerate(rows):
        for i in range(a):
            if i not in subset:
                sign = (-1) ** sum(j < i for j in subset)
                found[k, :, place[tuple(sorted((*subset, i)))], :] = sign * tensor[i]
    return found.reshape(len(rows) * b, len(columns) * c)


def koszul_bound(target: Target, data: dict[str, Any], seed: int) -> Bound:
    """The bound of the Koszul flattening that ``data`` describes: blocks, p and the projection of the first."""
    p, blocks = data["p"], tuple(tuple(block) for block in data["blocks"])
    rank = _koszul_rank(target, data, seed)
    return Bound(
        name=f"Koszul flattening {show(blocks)}, p = {p}",
        value=ceil(rank / comb(2 * p, p)),
        kind="border",
        margin=singular_margin(_koszul_of(target.values, data), rank),
        reference="Landsberg & Ottaviani 2015",
        exact=target.integers is not None,
        data=data,
    )


def _koszul_rank(target: Target, data: dict[str, Any], seed: int) -> int:
    return _rank(target, _koszul_of(_exact_or_values(target), data), seed)


def _koszul_of(tensor: Matrix, data: dict[str, Any]) -> Matrix:
    whole, p = grouped(tensor, tuple(tuple(block) for block in data["blocks"])), data["p"]
    if data["projection"] is not None:
        whole = np.tensordot(np.array(data["projection"], dtype=whole.dtype), whole, axes=1)
    if whole.shape[0] != 2 * p + 1:
        raise ValueError(f"a Koszul flattening with p = {p} needs a mode of {2 * p + 1}, got {whole.shape}")
    if comb(2 * p + 1, p) ** 2 * whole.shape[1] * whole.shape[2] > _KOSZUL_ENTRIES:
        raise ValueError(f"a Koszul flattening with p = {p} of a {whole.shape} tensor has more entries than are tried")
    return koszul_matrix(whole, p)


def koszul_search(target: Target, ranks: dict[tuple[int, ...], int], best: int, seed: int) -> Bound | None:
    """The best Koszul flattening over all groupings, where one can exceed ``best``."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] | None = None
    for three in groupings(long_modes(target.values.shape)):
        for turn in range(3):
            blocks = (three[turn], three[(turn + 1) % 3], three[(turn + 2) % 3])
            a, b, c = (prod(target.values.shape[k] for k in block) for block in blocks)
            side = min(ranks[blocks[1]], ranks[blocks[2]])
            for p in range(1, (min(a, ranks[blocks[0]]) - 1) // 2 + 1):
                if comb(2 * p + 1, p) ** 2 * b * c > _KOSZUL_ENTRIES:
                    break
                if ceil(side * (2 * p + 1) / (p + 1)) <= best:
                    continue
                projection = None if a == 2 * p + 1 else rng.integers(-9, 10, (2 * p + 1, a)).tolist()
                data: dict[str, Any] = {
                    "method": "koszul",
                    "blocks": [list(k) for k in blocks],
                    "p": p,
                    "projection": projection,
                }
                value = ceil(_koszul_rank(target, data, seed) / comb(2 * p, p))
                if value > best:
                    best, found = value, data
    return None if found is None else koszul_bound(target, found, seed)
