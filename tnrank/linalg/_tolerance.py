"""Tolerances: the default, the accuracy floor of each method, and the choice of the method."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Literal

from tnrank._check import whole_number
from tnrank._explained import explained

Method = Literal["qr", "gram"]

_EPS = {
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
}
_GRAM_MARGIN = 10.0


@explained
def eps_of(dtype: str) -> float:
    """Distance from 1 to the next number of a floating-point dtype; complex dtypes as their parts.

    Raises:
        ValueError: if the dtype is not a floating-point one.

    Example:
        >>> from tnrank.linalg import eps_of
        >>> eps_of("complex64") == 2.0**-23
        True
    """
    if dtype not in _EPS:
        raise ValueError(f"{dtype!r} has no rounding unit; floating-point dtypes are {', '.join(_EPS)}")
    return _EPS[dtype]


@explained
def default_rtol(sides: Iterable[int], dtype: str) -> float:
    """The relative tolerance of ``rtol=None``: the larger side of the matrix times eps of the dtype.

    Raises:
        ValueError: if it would be 1 or more, so that nothing could be told from rounding noise.

    Source: Golub & Van Loan, *Matrix Computations*, Sec. 5.4.1 (the default of NumPy, MATLAB and PyTorch).

    Example:
        >>> from tnrank.linalg import default_rtol
        >>> default_rtol((64, 8), "float64") == 64 * 2.0**-52
        True
    """
    sides = tuple(whole_number(side, "a side of a matrix") for side in sides)
    if not sides:
        raise ValueError("got no sides, needed those of a matrix such as (64, 8)")
    rtol = max(sides) * eps_of(dtype)
    if rtol >= 1:
        raise ValueError(
            f"the default rtol of a {' x '.join(map(str, sides))} matrix in {dtype} is {rtol:.2g}, so "
            "everything would count as noise: convert to float32 or float64 first, or give rtol"
        )
    return rtol


@explained
def check_rtol(rtol: float | None) -> float | None:
    """``rtol`` as a float in [0, 1), or ``None``.

    Raises:
        TypeError: if it is not a real number.
        ValueError: if it lies outside [0, 1).
    """
    if rtol is None:
        return None
    if isinstance(rtol, bool) or not isinstance(rtol, Real):
        raise TypeError(f"rtol is a number in [0, 1) or None, got {rtol!r}")
    if not 0 <= rtol < 1:
        raise ValueError(f"rtol is relative to the largest singular value and lies in [0, 1), got {rtol}")
    return float(rtol)


@explained
def accuracy_floor(method: str, dtype: str) -> float:
    """The smallest relative tolerance that a method can honor: eps for ``"qr"``, sqrt(eps) for ``"gram"``.

    Raises:
        ValueError: if the method is neither.

    Source: Grasedyck 2010, Sec. 3 (Gram matrices square the condition).

    Example:
        >>> from tnrank.linalg import accuracy_floor
        >>> accuracy_floor("gram", "float64") == 2.0**-26
        True
    """
    if method not in ("qr", "gram"):
        raise ValueError(f"unknown method {method!r}: give 'qr' (accurate), 'gram' (fast) or 'auto'")
    return eps_of(dtype) if method == "qr" else math.sqrt(eps_of(dtype))


@explained
def choose_method(method: str, rtol: float | None, dtype: str) -> Method:
    """The method that computes singular values to ``rtol``.

    ``"auto"`` is ``"qr"``, or ``"gram"`` where an rtol above ten times the floor of ``"gram"`` is given.

    Raises:
        ValueError: if the method is unknown, or ``rtol`` is outside [0, 1) or below the floor of the method.

    Example:
        >>> from tnrank.linalg import choose_method
        >>> choose_method("auto", 1e-3, "float64"), choose_method("auto", 1e-10, "float64")
        ('gram', 'qr')
    """
    rtol = check_rtol(rtol)
    if method == "auto":
        loose = rtol is not None and rtol > _GRAM_MARGIN * accuracy_floor("gram", dtype)
        method = "gram" if loose else "qr"
    floor = accuracy_floor(method, dtype)
    if rtol is not None and rtol < floor:
        fix = "use method='qr'" if method == "gram" and rtol >= eps_of(dtype) else "raise rtol, or leave it None"
        if method == "qr" and dtype in ("float32", "complex64", "float16", "bfloat16"):
            fix += ", or convert to float64"
        raise ValueError(f"rtol {rtol:.3g} is below the accuracy floor {floor:.3g} of {method!r} in {dtype}: {fix}")
    return "gram" if method == "gram" else "qr"
