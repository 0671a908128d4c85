"""Spectra to ranks: each function reads an array ``s`` of descending singular values along its last axis.

Leading axes are batches. The zero spectrum has rank 0 in every sense. Gradients are finite: a zero value has
derivative 0 where the slope is infinite (entropy and effective rank).

A spectrum with a NaN, infinite or negative value is an error; where a framework traces the call, so that nothing can
raise, its numbers are NaN and its numerical rank is -1.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

from tnrank._explained import explained
from tnrank._scale import nonzero, on_host
from tnrank.linalg import check_rtol, default_rtol
from tnrank.ranks._spectrum import check_spectrum, scaled, unless_zero

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array


@explained
def numerical_rank_of(s: Array, rtol: float | None = None, atol: float | None = None) -> Array:
    """How many singular values exceed ``max(rtol * s[0], atol)``.

    Args:
        s: shape ``(.., n)``.
        rtol: relative to the largest value. ``None`` is n * eps of the dtype, or 0 where ``atol`` is given.
        atol: absolute.

    Returns:
        Integers of shape ``(..,)``. Where a framework traces the call, so that nothing can raise, a spectrum with NaN,
        infinite or negative values has rank -1.

    Raises:
        ValueError: if ``rtol`` is outside [0, 1) or ``atol`` is negative.

    Source: Golub & Van Loan, *Matrix Computations*, Sec. 5.4.1.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import numerical_rank_of
        >>> int(numerical_rank_of(np.array([1.0, 1e-3, 1e-20])))
        2
    """
    s, backend = check_spectrum(s)
    rtol, atol = check_rtol(rtol), check_atol(atol)
    if rtol is None:
        rtol = default_rtol((s.shape[-1],), backend.dtype_of(s)) if atol is None else 0.0
    return count_above(s, rtol, atol, backend)


def count_above(s: Array, rtol: Any, atol: Any, backend: Backend) -> Array:
    """How many values exceed ``max(rtol * s[0], atol)``; -1 for a spectrum of NaN. Each is a number or an array of
    one a spectrum ``(.., 1)``, and ``atol`` may be ``None``."""
    xp = backend.xp
    # The smallest numbers times rtol are zero: values are compared with the largest as a ratio.
    above = scaled(s, backend)[0] > rtol
    found = xp.sum(above if atol is None else above & (s > atol), axis=-1)
    if on_host(found, backend) is not None:
        return found  # a spectrum of NaN was refused
    return xp.where(xp.isnan(s[..., 0]), xp.full_like(found, -1), found)


def check_atol(atol: float | None) -> float | None:
    """``atol`` as a float of at least 0, or ``None``."""
    if atol is None:
        return None
    if isinstance(atol, bool) or not isinstance(atol, Real):
        raise TypeError(f"atol is a number of at least 0 or None, got {atol!r}")
    if not 0 <= atol < math.inf:
        raise ValueError(f"atol is a number of at least 0, got {atol}")
    return float(atol)


@explained
def spectral_entropy_of(s: Array) -> Array:
    """Shannon entropy ``-sum p ln p`` of ``p = s / sum(s)``, in nats; the zero spectrum has 0.

    Shape ``(.., n)`` to ``(..,)``. Raises ValueError if ``s`` is no spectrum.

    Source: Roy & Vetterli 2007.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import spectral_entropy_of
        >>> round(float(spectral_entropy_of(np.ones(4)) / np.log(4)), 12)
        1.0
    """
    s, backend = check_spectrum(s)
    xp = backend.xp
    t, _ = scaled(s, backend)
    total = xp.sum(t, axis=-1, keepdims=True)
    p = t / nonzero(total, backend)
    # A logarithm of 1 in place of that of 0, and the sign kept off the zero.
    return abs(xp.sum(p * xp.log(nonzero(p, backend)), axis=-1))


@explained
def effective_rank_of(s: Array) -> Array:
    """Effective rank ``exp(-sum p ln p)``, ``p = s / sum(s)``: 1 to the rank; the zero spectrum has 0.

    Shape ``(.., n)`` to ``(..,)``. Raises ValueError if ``s`` is no spectrum.

    Source: Roy & Vetterli 2007, *The effective rank: a measure of effective dimensionality*.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import effective_rank_of
        >>> float(effective_rank_of(np.array([2.0, 0.0])))
        1.0
    """
    s, backend = check_spectrum(s)
    return unless_zero(backend.xp.exp(spectral_entropy_of(s)), s[..., 0], 0.0, backend)


@explained
def stable_rank_of(s: Array) -> Array:
    """Stable rank ``sum(s^2) / s[0]^2``: at most the rank; the zero spectrum has 0.

    Shape ``(.., n)`` to ``(..,)``. Raises ValueError if ``s`` is no spectrum.

    Source: Rudelson & Vershynin 2007, *Sampling from large matrices* (numerical rank there).

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import stable_rank_of
        >>> float(stable_rank_of(np.array([2.0, 1.0])))
        1.25
    """
    s, backend = check_spectrum(s)
    t, _ = scaled(s, backend)
    top = t[..., 0] ** 2
    return backend.xp.sum(t**2, axis=-1) / nonzero(top, backend)


@explained
def participation_ratio_of(s: Array) -> Array:
    """Participation ratio ``sum(s^2)^2 / sum(s^4)`` of the squares: 1 to the rank; 0 for zero.

    Shape ``(.., n)`` to ``(..,)``. Raises ValueError if ``s`` is no spectrum.

    Source: Bell & Dean 1970; for spectra of covariances Gao et al. 2017.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks import participation_ratio_of
        >>> float(participation_ratio_of(np.ones(3)))
        3.0
    """
    s, backend = check_spectrum(s)
    t, _ = scaled(s, backend)
    fourth = backend.xp.sum(t**4, axis=-1)
    return backend.xp.sum(t**2, axis=-1) ** 2 / nonzero(fourth, backend)
