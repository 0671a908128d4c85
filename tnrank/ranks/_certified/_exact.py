"""Exact arithmetic: integer tensors, matrix ranks modulo primes, row reduction over the rationals."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

EXACT_LIMIT = 2**18
"""The most entries of a tensor whose ranks are taken exactly."""

_PRIME = 2**31 - 1

Matrix = np.ndarray[Any, Any]


def integers_of(values: Matrix) -> tuple[Matrix, int] | None:
    """Python integers and a common denominator with ``values == integers / denominator``, or ``None``.

    Args:
        values: integers, fractions, or floats; floats count as rationals with a power of two up to 2^12 below.

    Returns:
        An object array of the shape of ``values`` and a positive integer; ``None`` for complex or other floats.
    """
    if values.size > EXACT_LIMIT:
        return None
    if values.dtype == object:
        fractions = [_fraction(entry) for entry in values.ravel()]
        scale = math.lcm(*(entry.denominator for entry in fractions))
        return _object([int(entry * scale) for entry in fractions], values.shape), scale
    if values.dtype.kind in "iub":
        return _object([int(entry) for entry in values.ravel()], values.shape), 1
    if values.dtype.kind == "c":
        if np.any(values.imag):
            return None
        values = values.real
    values = values.astype(np.float64)
    if np.any(np.abs(values) >= 2.0**40):
        return None  # floats this large are integers whatever they measure
    for power in range(13):
        scaled = values * 2.0**power
        if np.all(scaled == np.rint(scaled)):
            return _object([int(entry) for entry in scaled.ravel()], values.shape), 2**power
    return None


def random_primes(seed: int, count: int = 3) -> tuple[int, ...]:
    """Different primes between 2^30 and 2^31, so that products of residues fit 64 bits."""
    rng, found = np.random.default_rng(seed), set[int]()
    while len(found) < count:
        candidate = int(rng.integers(2**30, 2**31)) | 1
        if _is_prime(candidate):
            found.add(candidate)
    return tuple(sorted(found))


def rank_modulo(matrix: Matrix, prime: int) -> int:
    """Rank of an integer matrix modulo a prime: never above its rank over the rationals.

    A minor that is not zero modulo the prime is not zero, so the value is a proof of a lower bound.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks._certified._exact import rank_modulo
        >>> rank_modulo(np.array([[1, 2], [3, 6]]), 2**31 - 1), rank_modulo(np.array([[1, 2], [3, 7]]), 2**31 - 1)
        (1, 2)
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    return len(pivots_modulo(tall, prime))


def pivots_modulo(matrix: Matrix, prime: int) -> list[int]:
    """Columns of an integer matrix that are independent modulo the prime, as many as there are."""
    a, pivots = np.array(matrix % prime, dtype=np.int64), list[int]()
    for column in range(a.shape[1]):
        rank = len(pivots)
        if rank == a.shape[0]:
            break
        rows = np.flatnonzero(a[rank:, column])
        if not rows.size:
            continue
        pivot = rank + int(rows[0])
        a[[rank, pivot]] = a[[pivot, rank]]
        a[rank] = a[rank] * pow(int(a[rank, column]), -1, prime) % prime
        below = rank + 1 + np.flatnonzero(a[rank + 1 :, column])
        a[below] = (a[below] - a[below, column, None] * a[rank]) % prime
        pivots.append(column)
    return pivots


def proven_rank(matrix: Matrix, primes: tuple[int, ...]) -> int:
    """The largest rank modulo the primes."""
    best = 0
    for prime in primes:
        best = max(best, rank_modulo(matrix, prime))
        if best == min(matrix.shape):
            break
    return best


def to_fractions(matrix: Matrix) -> Matrix:
    """The same array of integers or fractions with entries of type ``Fraction``."""
    return _object([_fraction(entry) for entry in matrix.ravel()], matrix.shape)


def row_reduce(matrix: Matrix, back: bool = True) -> tuple[Matrix, list[int]]:
    """Row echelon form over the rationals and the pivot columns; ``back`` also clears above the pivots."""
    a, pivots = to_fractions(matrix), list[int]()
    for column in range(a.shape[1]):
        row = len(pivots)
        if row == a.shape[0]:
            break
        found = next((i for i in range(row, a.shape[0]) if a[i, column] != 0), None)
        if found is None:
            continue
        a[[row, found]] = a[[found, row]]
        a[row] = a[row] / a[row, column]
        for i in range(0 if back else row + 1, a.shape[0]):
            if i != row and a[i, column] != 0:
                a[i] = a[i] - a[i, column] * a[row]
        pivots.append(column)
    return a, pivots


def inverse(matrix: Matrix) -> Matrix | None:
    """The inverse over the rationals, or ``None`` of a singular matrix."""
    n = matrix.shape[0]
    reduced, pivots = row_reduce(np.concatenate([matrix, np.eye(n, dtype=int).astype(object)], axis=1))
    return reduced[:, n:] if pivots == list(range(n)) else None


def null_space(matrix: Matrix) -> Matrix:
    """A basis of ``{x: matrix @ x = 0}`` as rows, shape ``(columns - rank, columns)``."""
    reduced, pivots = row_reduce(matrix)
    free = [column for column in range(matrix.shape[1]) if column not in pivots]
    basis = _object([Fraction(0)] * (len(free) * matrix.shape[1]), (len(free), matrix.shape[1]))
    for k, column in enumerate(free):
        basis[k, column] = Fraction(1)
        for row, pivot in enumerate(pivots):
            basis[k, pivot] = -reduced[row, column]
    return basis


def concise(tensor: Matrix) -> Matrix:
    """Independent slices of every mode of an integer tensor: the others are combinations of them.

    Slices that are independent modulo a prime are independent. Should the prime lose one, the result is a
    subtensor, whose rank is a lower bound still.

    Source: Landsberg 2012, *Tensors: Geometry and Applications*, Sec. 2.3.
    """
    for mode in range(tensor.ndim):
        columns = np.moveaxis(tensor, mode, -1).reshape(-1, tensor.shape[mode])
        tensor = np.take(tensor, pivots_modulo(columns, _PRIME), axis=mode)
    return tensor


def exact_core(tensor: Matrix) -> tuple[Matrix, list[Matrix]]:
    """Independent slices of an integer tensor, and matrices ``(d_n, k_n)`` of fractions that give the others.

    The tensor is the core times these matrices, exactly; a mode keeps all its slices where the prime loses one.
    """
    bases = list[Matrix]()
    for mode, d in enumerate(tensor.shape):
        columns = np.moveaxis(tensor, mode, -1).reshape(-1, d)
        slices = pivots_modulo(columns, _PRIME)
        rows = columns[pivots_modulo(columns[:, slices].T, _PRIME)]  # as many, and enough to solve with
        reduced, pivots = row_reduce(rows)
        basis = reduced.T
        if pivots != slices or np.any(columns[:, slices] @ basis.T != columns):
            slices, basis = list(range(d)), to_fractions(np.eye(d, dtype=int))
        tensor = np.take(tensor, slices, axis=mode)
        bases.append(basis)
    return tensor, bases


def outer_sum(factors: list[Matrix]) -> Matrix:
    """``sum_r outer(factors[0][:, r], ..)`` of exact (object) or float factors ``(d_n, R)``."""
    total = factors[0]
    for factor in factors[1:]:
        # Arrays have 64 axes at most: modes of size 1 take none until the end.
        total = total * factor if len(factor) == 1 else total[..., None, :] * factor
    return np.asarray(total.sum(axis=-1)).reshape([len(factor) for factor in factors])


def _fraction(entry: Any) -> Fraction:
    # A fraction of NumPy integers keeps them, and overflows.
    return Fraction(entry.item() if isinstance(entry, np.generic) else entry)


def _object(entries: list[Any], shape: tuple[int, ...]) -> Matrix:
    made = np.empty(len(entries), dtype=object)
    made[:] = entries
    return made.reshape(shape)


def _is_prime(n: int) -> bool:
    """Miller and Rabin's test; the bases 2, 3, 5, 7 decide every n below 3.2e9."""
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7):
        x = pow(base, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True
