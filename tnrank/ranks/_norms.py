"""Spectra to norms and distances: ``s`` holds descending singular values along its last axis.

Gradients are finite. At a zero value the derivative is that from the right in the sums (nuclear and Ky Fan norms), and
0 where the slope is infinite (Schatten quasi-norms, the condition number). Equal largest values share the derivative of
their maximum.

A spectrum with a NaN, infinite or negative value is an error, and NaN where a framework traces the call. A norm is
infinite where it leaves the range of floating-point numbers itself.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

from tnrank._explained import explained
from tnrank._scale import nonzero
from tnrank.ranks._spectrum import check_spectrum, scaled, unless_zero

if TYPE_CHECKING:
    from tnrank._typing import Array


@explained
def schatten_norm_of(s: Array, p: float) -> Array:
    """Schatten norm ``(sum s^p)^(1/p)``; a quasi-norm for 0 < p < 1, the largest value for ``p = inf``.

    Shape ``(.., n)`` to ``(..,)``.

    Raises:
        ValueError: if ``p`` is not positive.

    Source: Bhatia, *Matrix Analysis*, Sec. IV.2.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import schatten_norm_of
        >>> float(schatten_norm_of(np.array([4.0, 3.0]), 2))
        5.0
    """
    s, backend = check_spectrum(s)
    if isinstance(p, bool) or not isinstance(p, Real):
        raise TypeError(f"the exponent p is a positive number or inf, got {p!r}")
    if not p > 0:
        raise ValueError(f"the exponent p is positive or inf, got {p}: for p = 0 count values by numerical_rank_of")
    xp = backend.xp
    if p == math.inf:
        return xp.max(s, axis=-1)
    t, scale = scaled(s, backend)
    powers = unless_zero(nonzero(t, backend) ** float(p), t, 0.0, backend)
    total = xp.sum(powers, axis=-1)
    return unless_zero(nonzero(total, backend) ** (1.0 / float(p)) * scale, total, 0.0, backend)


@explained
def nuclear_norm_of(s: Array) -> Array:
    """Nuclear (trace) norm: the sum of the singular values, shape ``(.., n)`` to ``(..,)``.

    Raises ValueError if ``s`` is no spectrum.

    Source: Fazel 2002, *Matrix rank minimization with applications*.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import nuclear_norm_of
        >>> float(nuclear_norm_of(np.array([4.0, 3.0])))
        7.0
    """
    s, backend = check_spectrum(s)
    return backend.xp.sum(s, axis=-1)


@explained
def ky_fan_norm_of(s: Array, k: int) -> Array:
    """Ky Fan k-norm: the sum of the k largest singular values, shape ``(.., n)`` to ``(..,)``.

    Raises:
        ValueError: if ``k`` is not in 1 .. n.

    Source: Fan 1951; Bhatia, *Matrix Analysis*, Sec. IV.2.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import ky_fan_norm_of
        >>> float(ky_fan_norm_of(np.array([4.0, 3.0, 1.0]), 2))
        7.0
    """
    s, backend = check_spectrum(s)
    if not 1 <= _integer(k, "k") <= s.shape[-1]:
        raise ValueError(f"k lies in 1 .. {s.shape[-1]}, the number of singular values, got {k}")
    return backend.xp.sum(s[..., : int(k)], axis=-1)


@explained
def condition_number_of(s: Array) -> Array:
    """Largest over smallest singular value, ``inf`` where the smallest is zero.

    Shape ``(.., n)`` to ``(..,)``. Raises ValueError if ``s`` is no spectrum.

    Source: Golub & Van Loan, *Matrix Computations*, Sec. 2.6.2.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import condition_number_of
        >>> float(condition_number_of(np.array([4.0, 2.0])))
        2.0
    """
    s, backend = check_spectrum(s)
    low = s[..., -1]
    return unless_zero(s[..., 0] / nonzero(low, backend), low, math.inf, backend)


@explained
def distance_to_rank_of(s: Array, r: int) -> Array:
    """Frobenius distance to the matrices of rank at most r: ``sqrt(sum of s_i^2, i >= r)``.

    Shape ``(.., n)`` to ``(..,)``.

    Raises:
        ValueError: if ``r`` is negative.

    Source: Eckart & Young 1936.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import distance_to_rank_of
        >>> float(distance_to_rank_of(np.array([9.0, 4.0, 3.0]), 1))
        5.0
    """
    s, _ = check_spectrum(s)
    if _integer(r, "r") < 0:
        raise ValueError(f"a rank is at least 0, got r = {r}")
    if r >= s.shape[-1]:
        return 0 * s[..., 0]  # a function of s for autograd, and NaN for NaN
    return schatten_norm_of(s[..., int(r) :], 2)


def _integer(value: int, name: str) -> int:
    if not hasattr(value, "__index__") or isinstance(value, bool):
        raise TypeError(f"{name} is an integer, got {value!r}")
    return int(value)
