"""Ranks of matrices: one decomposition each, then a number from its spectrum.

The gradient of ``f(s(M))`` is ``U diag(df/ds) V^H``, finite at equal and at zero singular values; values that cannot
be told from zero have derivative 0 (see :func:`tnrank.linalg.singular_values`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank._scale import on_host, quiet
from tnrank.linalg import check_rtol, choose_method, default_rtol, eps_of, scaled_singular_values
from tnrank.ranks._input import Dense, read_matrix
from tnrank.ranks._numbers import (
    check_atol,
    count_above,
    effective_rank_of,
    participation_ratio_of,
    spectral_entropy_of,
    stable_rank_of,
)
from tnrank.ranks._spectrum import check_spectrum

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array


@explained
def singular_values(M: Any, method: str = "auto", rtol: float | None = None) -> Array:
    """Singular values of a matrix, a stack of matrices, or the end matrix of a factorization; descending.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``. Integers become the default float;
            float16 and bfloat16 are computed in float32.
        method: ``"qr"`` (accurate to eps of the largest value), ``"gram"`` (faster, to sqrt(eps)) or
            ``"auto"``.
        rtol: the accuracy needed, relative to the largest value; ``"auto"`` chooses by it.

    Returns:
        Real array of shape ``(.., min(m, n))``; infinite values are beyond the range of floating-point numbers.

    Raises:
        ValueError: if an entry is NaN or infinite, a side is empty, or ``rtol`` is below the floor of the
            method.
        TypeError: if ``M`` holds no numbers.

    Source: Golub & Van Loan, *Matrix Computations*, Sec. 8.6.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import singular_values
        >>> singular_values(np.diag([3, 4]))
        array([4., 3.])
    """
    found = read_matrix(M)
    choose_method(method, rtol, found.dtype)
    s, unit = _values(found, method, rtol)
    with quiet(found.backend):
        return s if unit is None else s * unit[..., 0]


@explained
def matrix_rank(M: Any, rtol: float | None = None, atol: float | None = None) -> Array:
    """Numerical rank: how many singular values exceed ``max(rtol * largest, atol)``.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.
        rtol: ``None`` is max(m, n) * eps of the dtype, or 0 where ``atol`` is given.
        atol: absolute tolerance.

    Returns:
        Integers of shape ``(..,)``; the zero matrix has rank 0. Where a framework traces the call, so that nothing can
        raise, a matrix with NaN or infinite entries has rank -1.

    Raises:
        ValueError: if the tolerance is below the accuracy of the values (eps of the largest), ``rtol`` is
            outside [0, 1), ``atol`` is negative, or ``M`` is no matrix of finite numbers.

    Source: Golub & Van Loan, *Matrix Computations*, Sec. 5.4.1.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import matrix_rank
        >>> int(matrix_rank(np.ones((3, 5))))
        1
    """
    found = read_matrix(M)
    rtol, atol = check_rtol(rtol), check_atol(atol)
    if rtol is None and atol is None:
        rtol = found.tolerance(default_rtol(found.array.shape[-2:], found.dtype))
    elif atol is None:
        choose_method("qr", rtol, found.dtype)
    s, unit = _values(found)
    s, backend = check_spectrum(s)
    least: Any = atol
    if atol is not None:
        least = atol if unit is None else atol / unit[..., 0]
        _check_accuracy(s, least, rtol or 0.0, atol, found, backend)
    return count_above(s, 0.0 if rtol is None else rtol, least, backend)


def _check_accuracy(s: Array, least: Any, rtol: float, atol: float, found: Dense, backend: Backend) -> None:
    """Refuse an ``atol``, which is ``least`` in the units of the values, below their rounding errors."""
    values, eps = on_host(s, backend), eps_of(found.dtype)
    if values is None or not values.size or rtol >= eps:
        return
    host = np.asarray(least if found.unit is None else backend.to_numpy(least), np.float64)
    tops = values[..., :1].astype(np.float64)
    if (host < eps * tops).any():
        units = 1.0 if found.unit is None else np.asarray(backend.to_numpy(found.unit)[..., 0], np.float64)
        with np.errstate(over="ignore"):
            top = float((tops * units).max())
        raise ValueError(
            f"atol {atol:.3g} is below the accuracy of the singular values, {eps * top:.3g} (eps of "
            f"{found.dtype} times the largest value {top:.3g}): raise atol, or give rtol"
        )


@explained
def effective_rank(M: Any) -> Array:
    """Effective rank ``exp(-sum p ln p)`` of the singular values normalized to sum 1: between 1 and the rank.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.

    Returns:
        Real array of shape ``(..,)``; the zero matrix has 0.

    Raises:
        ValueError: if ``M`` is no matrix of finite numbers.

    Source: Roy & Vetterli 2007; Razin & Cohen 2020, Sec. 3.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import effective_rank
        >>> round(float(effective_rank(np.eye(3))), 12)
        3.0
    """
    return effective_rank_of(spectrum(M)[0])


@explained
def stable_rank(M: Any) -> Array:
    """Stable rank: squared Frobenius norm over squared spectral norm; at most the rank.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.

    Returns:
        Real array of shape ``(..,)``; the zero matrix has 0.

    Raises:
        ValueError: if ``M`` is no matrix of finite numbers.

    Source: Rudelson & Vershynin 2007.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import stable_rank
        >>> float(stable_rank(np.diag([2.0, 1.0])))
        1.25
    """
    return stable_rank_of(spectrum(M)[0])


@explained
def spectral_entropy(M: Any) -> Array:
    """Spectral entropy ``-sum p ln p`` of the singular values normalized to sum 1, in nats.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.

    Returns:
        Real array of shape ``(..,)``, the logarithm of the effective rank; the zero matrix has 0.

    Raises:
        ValueError: if ``M`` is no matrix of finite numbers.

    Source: Roy & Vetterli 2007.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import spectral_entropy
        >>> round(float(spectral_entropy(np.eye(4)) / np.log(4)), 12)
        1.0
    """
    return spectral_entropy_of(spectrum(M)[0])


@explained
def participation_ratio(M: Any) -> Array:
    """Participation ratio ``sum(s^2)^2 / sum(s^4)`` of the singular values: between 1 and the rank.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.

    Returns:
        Real array of shape ``(..,)``; the zero matrix has 0.

    Raises:
        ValueError: if ``M`` is no matrix of finite numbers.

    Source: Bell & Dean 1970; for spectra of covariances Gao et al. 2017.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import participation_ratio
        >>> round(float(participation_ratio(np.eye(3))), 12)
        3.0
    """
    return participation_ratio_of(spectrum(M)[0])


def spectrum(M: Any) -> tuple[Array, Array | None]:
    """Singular values of what a function on matrices accepts, to eps of the largest, over a unit; and the unit of each
    matrix ``(..,)``, a power of two, or ``None`` for 1."""
    s, unit = _values(read_matrix(M))
    return s, None if unit is None else unit[..., 0, 0]


def _values(found: Dense, method: str = "qr", rtol: float | None = None) -> tuple[Array, Array | None]:
    matrix, valid = found.scaled()
    s = scaled_singular_values(matrix, method, rtol)
    return s if valid is None else s * valid[..., 0], found.unit
