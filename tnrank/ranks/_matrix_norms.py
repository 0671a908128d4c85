"""Norms of matrices and distances to low rank: one decomposition each, then a number from its spectrum.

Gradients are those of :mod:`tnrank.ranks._matrix`: ``U diag(df/ds) V^H`` with derivative 0 at zero singular values. For
convex norms this is a subgradient.

Entries may have any size. A norm is infinite where it leaves the range of floating-point numbers itself; of a matrix
with NaN or infinite entries it is NaN where a framework traces the call, and an error elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tnrank._backend import backend_of
from tnrank._explained import explained
from tnrank._scale import quiet
from tnrank.ranks._matrix import spectrum
from tnrank.ranks._norms import (
    condition_number_of,
    distance_to_rank_of,
    ky_fan_norm_of,
    nuclear_norm_of,
    schatten_norm_of,
)

if TYPE_CHECKING:
    from tnrank._typing import Array


@explained
def schatten_norm(M: Any, p: float) -> Array:
    """Schatten norm: the l_p (quasi-)norm of the singular values; 1 nuclear, 2 Frobenius, inf spectral.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.
        p: positive, or ``inf``; a quasi-norm below 1.

    Returns:
        Real array of shape ``(..,)``.

    Raises:
        ValueError: if ``p`` is not positive, or ``M`` is no matrix of finite numbers.

    Source: Bhatia, *Matrix Analysis*, Sec. IV.2.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import schatten_norm
        >>> float(schatten_norm(np.diag([3.0, 4.0]), 2))
        5.0
    """
    return _measured(M, lambda s: schatten_norm_of(s, p))


@explained
def nuclear_norm(M: Any) -> Array:
    """Nuclear (trace) norm: the sum of the singular values.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.

    Returns:
        Real array of shape ``(..,)``. Its gradient is ``U V^H`` of the nonzero part: the subgradient of
        least norm.

    Raises:
        ValueError: if ``M`` is no matrix of finite numbers.

    Source: Fazel 2002; Watson 1992 (subgradients).

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import nuclear_norm
        >>> float(nuclear_norm(np.diag([3.0, -4.0])))
        7.0
    """
    return _measured(M, nuclear_norm_of)


@explained
def ky_fan_norm(M: Any, k: int) -> Array:
    """Ky Fan k-norm: the sum of the k largest singular values.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.
        k: in 1 .. min(m, n); 1 is the spectral norm, min(m, n) the nuclear norm.

    Returns:
        Real array of shape ``(..,)``.

    Raises:
        ValueError: if ``k`` is not in 1 .. min(m, n), or ``M`` is no matrix of finite numbers.

    Source: Fan 1951; Bhatia, *Matrix Analysis*, Sec. IV.2.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import ky_fan_norm
        >>> float(ky_fan_norm(np.diag([1.0, 3.0, 4.0]), 2))
        7.0
    """
    return _measured(M, lambda s: ky_fan_norm_of(s, k))


@explained
def condition_number(M: Any) -> Array:
    """Condition number: the largest over the smallest of the min(m, n) singular values.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.

    Returns:
        Real array of shape ``(..,)``; ``inf`` where the smallest value is zero, as for the zero matrix. A matrix of
        lower rank that is not exact in floating point has a number of about 1 / eps.

    Raises:
        ValueError: if ``M`` is no matrix of finite numbers.

    Source: Golub & Van Loan, *Matrix Computations*, Sec. 2.6.2.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import condition_number
        >>> float(condition_number(np.diag([2.0, 4.0])))
        2.0
    """
    return condition_number_of(spectrum(M)[0])


@explained
def distance_to_rank(M: Any, r: int) -> Array:
    """Frobenius distance to the matrices of rank at most r: ``sqrt(sum of s_i^2, i > r)``.

    Args:
        M: array of shape ``(.., m, n)``, or a ``MatrixFactorization``.
        r: at least 0; the Frobenius norm at 0, zero from min(m, n) on.

    Returns:
        Real array of shape ``(..,)``.

    Raises:
        ValueError: if ``r`` is negative, or ``M`` is no matrix of finite numbers.

    Source: Eckart & Young 1936; Razin & Cohen 2020, Sec. 3 (the infimal rank of a set).

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import distance_to_rank
        >>> float(distance_to_rank(np.diag([9.0, 4.0, 3.0]), 1))
        5.0
    """
    return _measured(M, lambda s: distance_to_rank_of(s, r))


def _measured(M: Any, norm: Callable[[Array], Array]) -> Array:
    """A norm of the singular values: infinite where it leaves the range of floating-point numbers itself."""
    s, unit = spectrum(M)
    with quiet(backend_of(s)):
        return norm(s) if unit is None else norm(s) * unit
