"""Lower bounds of the border rank: matricizations and Koszul flattenings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from math import ceil, comb, prod
from typing import Any

import numpy as np

from tnrank.ranks._certified._exact import Matrix, proven_rank, random_primes

GROUPED_ORDER = 6
"""The largest order whose modes are grouped into three in every way."""
_ALL_BIPARTITIONS = 10
_KOSZUL_ENTRIES = 2**21

Blocks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Target:
    """The tensor whose rank is asked for."""

    values: Matrix
    """Floats or complex numbers."""
    integers: Matrix | None
    """Integers (objects) with ``values == integers / scale``, if there are."""
    scale: int
    field: str
    eps: float
    """The rounding of the dtype as given."""


@dataclass(frozen=True)
class Bound:
    """A lower bound.

    ``margin`` is the last kept minus the first dropped singular value, relative to the largest, where the bound
    is a matrix rank; ``exact`` says that the value is a proof, ``data`` what a certificate rechecks it from.
    """

    name: str
    value: int
    kind: str
    margin: float | None
    reference: str
    exact: bool
    data: dict[str, Any] = field(repr=False, compare=False)


def groupings(order: int) -> Iterator[Blocks]:
    """Every way to put modes 0 .. order-1 into three blocks."""
    if order > GROUPED_ORDER:
        return
    for code in range(3**order):
        label = [code // 3**k % 3 for k in range(order)]
        # One labeling of each grouping: the blocks in the order of their first modes.
        first = [label.index(b) if b in label else -1 for b in range(3)]
        if -1 < first[0] < first[1] < first[2]:
            yield tuple(tuple(k for k in range(order) if label[k] == b) for b in range(3))


def grouped(tensor: Matrix, blocks: Blocks) -> Matrix:
    """The tensor with one mode for each block."""
    modes = [mode for block in blocks for mode in block]
    return tensor.transpose(modes).reshape([prod(tensor.shape[k] for k in block) for block in blocks])


def show(blocks: Blocks) -> str:
    """Blocks of modes in words: ``{0}|{1,2}``."""
    return "|".join("{" + ",".join(map(str, block)) + "}" for block in blocks)


def _rank(target: Target, matrix: Matrix, seed: int) -> int:
    """Exactly for integer matrices, else of the singular values with a tolerance of 10 max(sides) eps."""
    if target.integers is not None:
        return proven_rank(matrix, random_primes(seed))
    s = np.linalg.svd(matrix, compute_uv=False)
    return max(1, int(np.sum(s > 10 * max(matrix.shape) * target.eps * s[0]))) if s[0] > 0 else 0


def _margin(matrix: Matrix, rank: int) -> float:
    s = np.linalg.svd(matrix, compute_uv=False)
    dropped = s[rank] if rank < len(s) else 0.0
    return float((s[rank - 1] - dropped) / s[0]) if rank else 0.0


def _exact_or_values(target: Target) -> Matrix:
    return target.values if target.integers is None else target.integers


def matricization_rank(target: Target, data: dict[str, Any], seed: int) -> int:
    """Rank of the matricization with the modes ``data["rows"]`` as rows."""
    rows = tuple(data["rows"])
    others = tuple(k for k in range(target.values.ndim) if k not in rows)
    return _rank(target, grouped(_exact_or_values(target), (rows, others)), seed)


def matricization_bounds(target: Target, seed: int) -> tuple[Bound, dict[tuple[int, ...], int]]:
    """The largest matricization rank, and the ranks of all that were looked at, by the modes of either side."""
    order, ranks = target.values.ndim, dict[tuple[int, ...], int]()
    everything = range(order)
    sides = [c for k in range(1, order // 2 + 1) for c in combinations(everything, k)]
    if order > _ALL_BIPARTITIONS:
        sides = [(k,) for k in everything] + [tuple(range(k)) for k in range(2, order)]
    for rows in sides:
        others = tuple(k for k in everything if k not in rows)
        if others not in ranks:
            ranks[rows] = ranks[others] = matricization_rank(target, {"rows": rows}, seed)
    best = max(ranks, key=lambda rows: (ranks[rows], -len(rows)))
    others = tuple(k for k in everything if k not in best)
    bound = Bound(
        name=f"matricization {show((best, others))}",
        value=ranks[best],
        kind="border",
        margin=_margin(grouped(target.values, (best, others)), ranks[best]),
        reference="Hitchcock 1927",
        exact=target.integers is not None,
        data={"method": "matricization", "rows": list(best)},
    )
    return bound, ranks


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


def koszul_rank(target: Target, data: dict[str, Any], seed: int) -> int:
    """The bound of the Koszul flattening that ``data`` describes: blocks, p and the projection of the first."""
    matrix = _koszul_of(_exact_or_values(target), data)
    return ceil(_rank(target, matrix, seed) / comb(2 * data["p"], data["p"]))


def _koszul_of(tensor: Matrix, data: dict[str, Any]) -> Matrix:
    whole = grouped(tensor, tuple(tuple(block) for block in data["blocks"]))
    if data["projection"] is not None:
        whole = np.tensordot(np.array(data["projection"], dtype=whole.dtype), whole, axes=1)
    if whole.shape[0] != 2 * data["p"] + 1:
        raise ValueError(
            f"a Koszul flattening with p = {data['p']} needs a mode of {2 * data['p'] + 1}, got {whole.shape}"
        )
    return koszul_matrix(whole, data["p"])


def koszul_bound(target: Target, ranks: dict[tuple[int, ...], int], best: int, seed: int) -> Bound | None:
    """The best Koszul flattening over all groupings, where one can exceed ``best``."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] | None = None
    for three in groupings(target.values.ndim):
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
                value = koszul_rank(target, data, seed)
                if value > best:
                    best, found = value, data
    if found is None:
        return None
    matrix = _koszul_of(target.values, found)
    return Bound(
        name=f"Koszul flattening {show(tuple(tuple(k) for k in found['blocks']))}, p = {found['p']}",
        value=best,
        kind="border",
        margin=_margin(matrix, int(np.linalg.matrix_rank(matrix))),
        reference="Landsberg & Ottaviani 2015",
        exact=target.integers is not None,
        data=found,
    )
