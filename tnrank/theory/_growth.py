"""How long a balanced component takes to grow, and how large it is by then."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._backend import host_array
from tnrank._explained import explained

HostArray = np.ndarray[Any, Any]


@explained
def escape_time(sigma0: Any, sigma1: Any, K: int, gamma: Any) -> Any:
    """The effective time in which a balanced component goes from ``sigma0`` to ``sigma1`` at constant ``gamma``.

    From d sigma / dt = K gamma sigma^(2 - 2/K): log(sigma1 / sigma0) / (2 gamma) for K = 2, and otherwise
    (sigma0^-p - sigma1^-p) / ((K - 2) gamma) with p = 1 - 2/K. Small components wait: as sigma0 falls the time grows
    like sigma0^-p, or like log(1 / sigma0) for K = 2.

    Args:
        sigma0: norm at the start, at least 0.
        sigma1: norm at the end, at least 0.
        K: tensors that meet the index (L, for the singular values of a matrix factorization).
        gamma: <-grad L, C>; arrays of all three broadcast.

    Returns:
        A float or a NumPy array; infinite where ``sigma1`` is never reached.

    Raises:
        ValueError: if K is below 1 or a norm is negative.

    Source: Razin, Maman & Cohen 2021, Sec. 4.1.

    Example:
        >>> from tnrank.theory import escape_time
        >>> escape_time(1e-4, 1.0, 4, 1.0)
        49.5
    """
    power = _power(K)
    start, end, rate = (_host(a) for a in (sigma0, sigma1, gamma))
    if (start < 0).any() or (end < 0).any():
        raise ValueError(f"component norms are at least 0, got sigma0 = {sigma0!r}, sigma1 = {sigma1!r}")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gap = (np.log(end / start)) if K == 2 else (start**-power - end**-power) / power
        time = gap / (K * rate)
    # 0/0 and inf - inf stand for a component that is there already, or that cannot move.
    time = np.where(start == end, 0.0, np.where((time > 0) & (rate != 0), time, np.inf))
    return float(time) if time.ndim == 0 else time


@explained
def integrated_law(sigma0: Any, tau: Any, gamma: Any, K: int) -> Any:
    """The norm of a balanced component at effective times ``tau``, from its projection ``gamma``.

    d sigma / dt = K gamma sigma^(2 - 2/K) has the solution sigma^-p = sigma0^-p - (K - 2) * integral of gamma, with
    p = 1 - 2/K (K = 2: sigma0 exp(2 * integral)). A constant gamma is integrated in closed form, a measured one by the
    trapezoidal rule over ``tau``.

    Args:
        sigma0: norm at ``tau = 0`` (constant gamma) or at ``tau[0]`` (measured): a number, or ``(R,)``.
        tau: ``(T,)``, increasing; a number is allowed for a constant gamma.
        gamma: constant, of the shape of ``sigma0`` or a number; or measured at ``tau``, with a leading axis of size T.
        K: tensors that meet the index (L, for the singular values of a matrix factorization).

    Returns:
        NumPy, shape ``(T,)`` or ``(T, R)``; infinite from the time on at which the solution ends (K > 2).

    Raises:
        ValueError: if K is below 1, a norm is negative, or shapes or times do not fit.

    Source: Razin, Maman & Cohen 2021, Theorem 1, integrated.

    Example:
        >>> import numpy as np
        >>> from tnrank.theory import integrated_law
        >>> integrated_law(0.25, np.array([0.0, 1.0, 1.5]), 0.5, 4)
        array([0.25, 1.  , 4.  ])
    """
    power = _power(K)
    start, times, rate = (_host(a) for a in (sigma0, tau, gamma))
    if (start < 0).any():
        raise ValueError(f"component norms are at least 0, got sigma0 = {sigma0!r}")
    if times.ndim > 1 or (np.diff(np.atleast_1d(times)) < 0).any():
        raise ValueError(f"tau has shape (T,) and increases, got shape {times.shape}")
    column = times.reshape(times.shape + (1,) * start.ndim)
    if rate.ndim == start.ndim + 1:
        if not times.ndim or rate.shape != (len(times), *start.shape):
            raise ValueError(
                f"a measured gamma has shape {(*times.shape, *start.shape)}, one row a time of tau, got {rate.shape}"
            )
        from scipy.integrate import cumulative_trapezoid

        area = cumulative_trapezoid(rate, times, axis=0, initial=0)
    elif rate.shape in ((), start.shape):
        area = rate * column
    else:
        raise ValueError(
            f"gamma has shape {rate.shape}: needed {start.shape} (constant) or "
            f"{(*times.shape, *start.shape)} (measured)"
        )
    if K == 2:
        return start * np.exp(2 * area)
    if K == 1:
        return np.maximum(start + area, 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        left = start**-power - (K - 2) * area
        ended = left <= 0
        if times.ndim:  # once it has ended the solution does not come back
            ended = np.logical_or.accumulate(ended, axis=0)
        return np.where(ended, np.inf, np.where(ended, 1.0, left) ** (-1 / power))


def _power(K: int) -> float:
    if not hasattr(K, "__index__") or isinstance(K, bool) or K < 1:
        raise ValueError(f"K is the number of tensors that meet the index, a whole number from 1 on, got {K!r}")
    return 1 - 2 / K


def _host(given: Any) -> HostArray:
    numbers = host_array(given, "norms, times and projections")
    if numbers.dtype.kind not in "fiub":
        raise TypeError(f"norms, times and projections are real numbers, got dtype {numbers.dtype}")
    return numbers.astype(np.float64)
