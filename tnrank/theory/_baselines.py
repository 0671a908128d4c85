"""What explicit regularization would find: the solutions of smallest norm among all that fit the observations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import instance
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations._entries import codes
from tnrank.factorizations._observed import checked_entries
from tnrank.linalg._tolerance import check_rtol
from tnrank.theory._convex_solver import by_cvxpy
from tnrank.theory._nuclear_norm import NuclearNormResult, douglas_rachford
from tnrank.theory._observed import (
    Constraints,
    GivenEntries,
    GivenMeasurements,
    checked_measurements,
    checked_shape,
)
from tnrank.theory._schatten import SchattenResult, reweighted

_LARGEST_DENSE = 2**40
"""Entries of a dense array that no machine of today holds."""


@explained
def zero_fill(shape: Sequence[int], indices: Any, values: Array) -> Array:
    """The observed entries, and zero elsewhere: the completion of least Frobenius norm.

    Args:
        shape: ``(d_1, .., d_N)``.
        indices: ``(M, N)``, one row an observed entry.
        values: ``(M,)``.

    Returns:
        Array of ``shape``, on the backend of ``values``, with gradients to them where it has some.

    Raises:
        ValueError: for entries out of range, none at all, NaN, or an entry observed twice with different values.
        TypeError: if indices are not whole numbers or values not real ones.

    Source: Razin & Cohen 2020, Sec. 5.2 (the linear baseline).

    Example:
        >>> from tnrank.theory import zero_fill
        >>> zero_fill((2, 2), [[0, 1], [1, 0]], [1.0, 2.0])
        array([[0., 1.],
               [2., 0.]])
    """
    sizes = checked_shape(shape)
    found, numbers = checked_entries(indices, values, sizes)
    if not hasattr(values, "shape"):
        values = numbers
    backend = backend_of(values)
    _, first = np.unique(codes(found, sizes), return_index=True)
    if math.prod(sizes) > _LARGEST_DENSE:
        raise ValueError(
            f"the completion by zeros of shape {sizes} has {math.prod(sizes):,} entries, which no array holds: keep "
            "indices and values"
        )
    linear = codes(found, sizes)[first]
    device = backend.device_of(values)
    kept = backend.take(values, backend.asarray(first, device=device), 0)
    flat = backend.scatter_add((math.prod(sizes),), 0, backend.asarray(linear, device=device), kept)
    return backend.reshape(flat, sizes)


@explained
def minimum_nuclear_norm(
    shape: Sequence[int],
    indices: Any,
    values: Any,
    *,
    psd: bool = False,
    rtol: float = 1e-9,
    max_iterations: int = 20_000,
    solver: str = "douglas-rachford",
) -> NuclearNormResult:
    """The completion of least nuclear norm, with a duality gap that proves it.

    It need not be unique: ``[[1, a], [a, 1]]`` has nuclear norm 2 for all a in [-1, 1]. One solution is returned.

    Args:
        shape: ``(m, n)``.
        indices: ``(M, 2)``, one row an observed entry.
        values: ``(M,)``.
        psd: among symmetric positive semidefinite matrices only, where the nuclear norm is the trace. Each entry counts
            with its mirror image.
        rtol: the duality gap to reach, relative to the norm.
        max_iterations: the budget, one singular value decomposition an iteration.
        solver: ``"douglas-rachford"``, or ``"cvxpy"`` for an interior-point method (extra ``convex``; up to about
            20 x 20, with gaps near 1e-8 whatever ``rtol`` asks for).

    Raises:
        ValueError: for entries out of range, none at all, NaN, or an entry observed twice with different values.
        TypeError: if indices are not whole numbers or values not real ones.
        ImportError: if cvxpy is asked for and not installed.

    Source: Fazel 2002; Candes & Recht 2009, *Exact matrix completion via convex optimization*.

    Example:
        >>> from tnrank.theory import minimum_nuclear_norm
        >>> minimum_nuclear_norm((2, 2), [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.0]).objective  # doctest: +ELLIPSIS
        2.0...
    """
    sizes = checked_shape(shape, order=2)
    instance(psd, "psd", (bool, np.bool), "True or False")
    if psd:
        _check_square(sizes)
    given = GivenEntries(sizes, *checked_entries(indices, values, sizes), psd=psd)
    return _minimized(given, psd, rtol, max_iterations, solver)


@explained
def minimum_nuclear_norm_sensing(
    matrices: Any,
    values: Any,
    *,
    psd: bool = False,
    rtol: float = 1e-9,
    max_iterations: int = 20_000,
    solver: str = "douglas-rachford",
) -> NuclearNormResult:
    """The matrix of least nuclear norm with given measurements ``<A_i, W> = y_i``.

    Args:
        matrices: ``(n, m, k)``, the measurement matrices ``A_i``.
        values: ``(n,)``.
        psd: among symmetric positive semidefinite matrices only, where the nuclear norm is the trace.
        rtol: the duality gap to reach, relative to the norm.
        max_iterations: the budget, one singular value decomposition an iteration.
        solver: ``"douglas-rachford"`` or ``"cvxpy"``, as in ``minimum_nuclear_norm``.

    Raises:
        ValueError: if shapes do not fit, entries are NaN, or no matrix has these measurements.
        TypeError: if the arrays hold no real numbers.
        ImportError: if cvxpy is asked for and not installed.

    Source: Recht, Fazel & Parrilo 2010; Gunasekar et al. 2017, *Implicit regularization in matrix factorization*.

    Example:
        >>> import numpy as np
        >>> from tnrank.theory import minimum_nuclear_norm_sensing
        >>> minimum_nuclear_norm_sensing(np.ones((1, 2, 2)), [2.0]).matrix.round(6)
        array([[0.5, 0.5],
               [0.5, 0.5]])
    """
    A, y = checked_measurements(matrices, values)
    instance(psd, "psd", (bool, np.bool), "True or False")
    if psd:
        _check_square(A.shape[1:])
    return _minimized(GivenMeasurements(A, y, psd=psd), psd, rtol, max_iterations, solver)


@explained
def minimum_schatten(
    shape: Sequence[int], indices: Any, values: Any, p: float, *, rtol: float | None = None, max_iterations: int = 3_000
) -> SchattenResult:
    """The completion of least Schatten p-norm; below p = 1 a local solution.

    At p = 1 ``minimum_nuclear_norm`` is faster and more exact: matrices that are not of low rank are slow here up to
    about p = 1.1. From p = 1.25 on, an ``rtol`` of 1e-8 takes at most a few hundred iterations.

    Args:
        shape: ``(m, n)``.
        indices: ``(M, 2)``, one row an observed entry.
        values: ``(M,)``.
        p: in (0, 2]; 1 is the nuclear norm, 2 gives ``zero_fill``.
        rtol: from p = 1 on the duality gap to reach, relative to the norm, 1e-5 if ``None``; below p = 1 the length of
            the last step, relative to the matrix, 1e-8 if ``None``.
        max_iterations: the budget, one weighted least-squares problem an iteration.

    Raises:
        ValueError: for p outside (0, 2], entries out of range, none at all, NaN, or an entry observed twice with
            different values.
        TypeError: if indices are not whole numbers, or values or p not real ones.

    Source: Mohan & Fazel 2012; Fornasier, Rauhut & Ward 2011.

    Example:
        >>> from tnrank.theory import minimum_schatten
        >>> minimum_schatten((2, 2), [[0, 1], [1, 0], [1, 1]], [1.0, 1.0, 0.0], p=0.5).matrix
        array([[0., 1.],
               [1., 0.]])
    """
    if isinstance(p, bool) or not isinstance(p, Real):
        raise TypeError(f"p is a number in (0, 2], got {p!r}")
    if not 0 < p <= 2:
        raise ValueError(f"p lies in (0, 2], got {p}: the weights of the method grow without bound outside")
    sizes = checked_shape(shape, order=2)
    given = GivenEntries(sizes, *checked_entries(indices, values, sizes))
    if rtol is None:
        rtol = 1e-5 if p >= 1 else 1e-8
    return reweighted(given, float(p), _checked_rtol(rtol), _checked_budget(max_iterations))


def _minimized(given: Constraints, psd: bool, rtol: float, max_iterations: int, solver: str) -> NuclearNormResult:
    rtol, max_iterations = _checked_rtol(rtol), _checked_budget(max_iterations)
    if solver == "cvxpy":
        return by_cvxpy(given, psd, rtol)
    if solver == "douglas-rachford":
        return douglas_rachford(given, psd, rtol, max_iterations)
    raise ValueError(f"unknown solver {solver!r}: give 'douglas-rachford' or 'cvxpy'")


def _check_square(shape: tuple[int, ...]) -> None:
    if shape[0] != shape[1]:
        raise ValueError(f"positive semidefinite matrices are square, got shape {shape}: leave psd=True out")


def _checked_rtol(rtol: float) -> float:
    found = check_rtol(rtol)
    if not found:
        raise ValueError(f"rtol is a relative accuracy in (0, 1), got {rtol}: 1e-9 is a good one")
    return found


def _checked_budget(max_iterations: int) -> int:
    if isinstance(max_iterations, bool) or not isinstance(max_iterations, (int, np.integer)) or max_iterations < 1:
        raise ValueError(f"max_iterations is a whole number of at least 1, got {max_iterations!r}")
    return int(max_iterations)
