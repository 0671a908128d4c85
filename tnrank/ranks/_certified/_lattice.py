"""Integer tensors in short coordinates: what whole-number changes of basis hid is undone by lattice reduction."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import lcm

import numpy as np

from tnrank.ranks._certified._exact import Matrix, inverse, to_fractions

_ROUNDS, _STEPS, _TRIALS = 12, 2000, 200
_SHORT = 0.99
"""Lovasz' condition: how much shorter the later vector has to be before two change places."""


def short_core(core: Matrix, bases: list[Matrix]) -> tuple[Matrix, list[Matrix]]:
    """The same tensor as a core of shorter integers, and bases that hold the rest, exactly.

    The slices of a mode span a lattice. It is replaced by all the whole-number vectors of its span, and these by
    short independent ones; mode after mode, while the sum of squares falls. Coordinates in which a tensor is sparse
    are short ones, so that <2,2,2> times whole-number matrices is <2,2,2> again.

    Args:
        core: integers (objects) ``(k_1, .., k_N)``, the slices of each mode independent.
        bases: ``(d_n, k_n)`` of fractions.

    Returns:
        A core of integers and bases of fractions with the same product. The ones given if none is shorter.

    Source: Lenstra, Lenstra & Lovasz 1982, *Factoring polynomials with rational coefficients*; Cohen 1993, *A Course
        in Computational Algebraic Number Theory*, Sec. 2.4 and 2.6.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks._certified._lattice import short_core
        >>> hidden = np.array([[25, 15], [35, 21]], dtype=object) * 2 + np.array([[1, 2], [1, 2]])
        >>> core, bases = short_core(hidden, [np.eye(2, dtype=int).astype(object)] * 2)
        >>> core.tolist(), bool(np.all(bases[0] @ core @ bases[1].T == hidden))
        ([[1, 0], [0, 1]], True)
    """
    if not core.size:
        return core, bases
    best = _squares(core), core, bases
    bases = list(bases)
    for _ in range(_ROUNDS):
        for mode in range(core.ndim):
            moved = np.moveaxis(core, mode, 0)
            left, rows = _saturated(moved.reshape(len(moved), -1))
            left, rows = _reduced(left, rows)
            core = np.moveaxis(rows.reshape(moved.shape), 0, mode)
            bases[mode] = bases[mode] @ left
        size = _squares(core)
        if size >= best[0]:
            break
        best = size, core, list(bases)
    return best[1], best[2]


def finer_core(core: Matrix, bases: list[Matrix]) -> tuple[Matrix, list[Matrix]]:
    """What :func:`short_core` finds after one mode has been made coarser, if that is shorter; again and again.

    No mode alone can be refined then, but two can at the cost of the third, as an algebra over the whole numbers
    may be part of a larger one. The lattice of the third is replaced by one of its sublattices of index 2 or 3.
    """
    trials, again = _TRIALS, True
    while again:
        again, size = False, _squares(core)
        for prime, mode in product((2, 3), range(core.ndim)):
            d = core.shape[mode]
            for vector in product(range(prime), repeat=d):
                first = next((k for k, entry in enumerate(vector) if entry), None)
                if first is None or vector[first] != 1:
                    continue
                if not trials:
                    return core, bases
                trials -= 1
                # Rows of whole numbers x with vector . x divisible by the prime, and the inverse.
                change, back = np.eye(d, dtype=int).astype(object), to_fractions(np.eye(d, dtype=int))
                change[:, first] = [-entry for entry in vector]
                change[first, first] = prime
                back[:, first] = [Fraction(entry, prime) for entry in vector]
                coarse = np.moveaxis(np.tensordot(change, core, axes=(1, mode)), 0, mode)
                shorter, found = short_core(coarse, _identities(core))
                if _squares(shorter) < size:
                    bases = [u @ back if k == mode else u for k, u in enumerate(bases)]
                    core, bases, again = shorter, [u @ v for u, v in zip(bases, found, strict=True)], True
                    break
            if again:
                break
    return core, bases


def short_bases(tensor: Matrix) -> list[list[list[int]]]:
    """For each mode of a concise integer tensor a whole-number matrix that makes it short, up to scales of slices."""
    _, bases = short_core(tensor, _identities(tensor))
    found = list[list[list[int]]]()
    for basis in bases:
        inverted = inverse(to_fractions(basis))
        assert inverted is not None
        found.append([[int(entry * lcm(*(e.denominator for e in row))) for entry in row] for row in inverted])
    return found


def _identities(core: Matrix) -> list[Matrix]:
    return [np.eye(d, dtype=int).astype(object) for d in core.shape]


def _squares(core: Matrix) -> int:
    return sum(int(entry) ** 2 for entry in core.ravel())


def _saturated(rows: Matrix) -> tuple[Matrix, Matrix]:
    """``rows == left @ found``, where the rows of ``found`` span all whole-number vectors of the span of ``rows``.

    ``left`` is a triangular basis of the lattice of the columns: in it, the columns have no common divisor left.
    """
    left = rows.copy()
    count = len(left)
    for i in range(count):
        while len(used := i + np.flatnonzero(left[i, i:])) > 1 or used[0] != i:
            shortest = int(used[np.argmin(np.abs(left[i, used]))])
            left[:, [i, shortest]] = left[:, [shortest, i]]
            for column in i + 1 + np.flatnonzero(left[i, i + 1 :]):
                left[:, column] = left[:, column] - left[i, column] // left[i, i] * left[:, i]
    left = left[:, :count]
    found = rows.copy()
    for i in range(count):  # forward substitution, whole numbers throughout
        for j in range(i):
            found[i] = found[i] - left[i, j] * found[j]
        found[i] = found[i] // left[i, i]
    return left, found


def _reduced(left: Matrix, rows: Matrix) -> tuple[Matrix, Matrix]:
    """Short rows of the same lattice, with ``left @ rows`` kept. Floats steer, the steps themselves are exact."""
    left, rows, k = left.copy(), rows.copy(), 1
    for _ in range(_STEPS):
        if k >= len(rows):
            break
        triangle: Matrix = np.asarray(np.linalg.qr(rows.astype(np.float64).T, mode="r"))
        if not np.all(np.abs(np.diagonal(triangle)) > 0):
            break  # too long for floats
        for j in range(k - 1, -1, -1):
            times = round(float(triangle[j, k] / triangle[j, j]))
            if times:
                rows[k] = rows[k] - times * rows[j]
                left[:, j] = left[:, j] + times * left[:, k]
                triangle[:, k] -= times * triangle[:, j]
        before, across, after = triangle[k - 1, k - 1], triangle[k - 1, k], triangle[k, k]
        if after**2 + across**2 >= _SHORT * before**2:
            k += 1
        else:
            rows[[k - 1, k]], left[:, [k - 1, k]] = rows[[k, k - 1]], left[:, [k, k - 1]]
            k = max(k - 1, 1)
    return left, rows
