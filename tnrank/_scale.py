"""Numbers at the ends of the range: scales, roots and norms that neither overflow, vanish nor hide what is no number.

NaN compares with nothing, so that ``where(x > 0, x, other)`` turns it into ``other``. Everything here asks for zero, or
for what is negative, and passes NaN on; infinite numbers have no scale and become NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._backend import get_backend

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array

_SAFE_NARROW, _SAFE_WIDE = (1e-10, 1e10), (1e-75, 1e75)
"""Largest entries whose fourth powers are numbers, as are those of entries eps times as large."""
_COPIED = 2**20
"""Elements up to which absolute values are made; beyond, two reductions take no copy of the array."""


def on_host(x: Array, backend: Backend) -> np.ndarray[Any, Any] | None:
    """The values on the host; ``None`` while a framework traces the call and there are none yet."""
    try:
        return backend.to_numpy(x)
    except (TypeError, RuntimeError):
        return None


def quiet(backend: Backend) -> AbstractContextManager[Any]:
    """No warnings of numbers out of range, where what comes of them is looked at. Only NumPy has such warnings."""
    # A compiler of frameworks with gradients does not see through NumPy's context.
    return nullcontext() if backend.capabilities else np.errstate(over="ignore", under="ignore", invalid="ignore")


def nonzero(x: Array, backend: Backend, other: float = 1.0) -> Array:
    """``x`` with ``other`` in place of zeros: what may divide, or have a logarithm. NaN stays."""
    xp = backend.xp
    return xp.where(x == 0, xp.full_like(x, other), x)


def root(x: Array, backend: Backend) -> Array:
    """The square root, with derivative 0 at 0; negative numbers, which rounding makes of zero, count as zero."""
    xp = backend.xp
    none = x <= 0
    return xp.where(none, xp.zeros_like(x), xp.sqrt(xp.where(none, xp.ones_like(x), x)))


def peak(x: Array, backend: Backend, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """The largest absolute value, of complex numbers that of their parts: it is finite where all entries are.

    A constant of differentiation. ``x`` is not empty.
    """
    xp, x = backend.xp, backend.stop_gradient(x)
    kept = (1,) * len(x.shape) if keepdims and _all_axes(axis, len(x.shape)) else None
    axis, keepdims = (None, False) if kept else (axis, keepdims)  # reductions over everything are faster
    options: dict[str, Any] = {} if axis is None and not keepdims else {"axis": axis, "keepdims": keepdims}
    found: Any = None
    for part in (xp.real(x), xp.imag(x)) if xp.isdtype(x.dtype, "complex floating") else (x,):
        sides = [xp.max(abs(part), **options)] if prod(part.shape) <= _COPIED else None
        for side in sides or (xp.max(part, **options), -xp.min(part, **options)):
            found = side if found is None else xp.maximum(found, side)
    return backend.reshape(found, kept) if kept else found


def _all_axes(axis: int | tuple[int, ...] | None, order: int) -> bool:
    return axis is None or (axis if isinstance(axis, tuple) else (axis,)) == tuple(range(-order, 0))


def is_safe(largest: Array, backend: Backend) -> bool:
    """Whether entries up to ``largest`` need no scaling; no while a call is traced, and for what is not finite."""
    host = on_host(largest, backend)
    if host is None:
        return False
    if host.size == 1:
        number, (least, most) = float(host.reshape(())), _limits(host)
        return least < number < most or (number == 0 and not _flushes(backend))
    return within_range(host) or (not _flushes(backend) and within_range(host[host != 0]))


def unit_of(largest: Array, backend: Backend) -> Array:
    """A power of two of the size of ``largest``, by which division is exact; 1 for 0, NaN for what is not finite."""
    return backend.power_of_two(nonzero(largest, backend))


def over(x: Array, unit: Array, backend: Backend) -> Array:
    """``x / unit`` for a power of two; of complex numbers in two steps, since their division squares the divisor."""
    if not backend.xp.isdtype(x.dtype, "complex floating"):
        return x / unit
    half = backend.power_of_two(backend.xp.sqrt(unit))
    return x / half / (unit / half)


def divided(x: Array, unit: Array, backend: Backend) -> tuple[Array, Array]:
    """``x / unit``, with zeros where the unit is NaN, which no decomposition accepts; and the unit over itself, 1 or
    NaN, for the results."""
    xp = backend.xp
    good = unit == unit
    made = over(x, xp.where(good, unit, xp.ones_like(unit)), backend)
    return xp.where(good, made, xp.zeros_like(made)), unit / unit


def not_finite(x: Array, backend: Backend, where: str, fix: str) -> ValueError:
    """The error of an array with NaN or infinite entries: how many, the index of the first, and what mends it."""
    wrong = ~backend.to_numpy(backend.xp.isfinite(x))
    first = tuple(int(k[0]) for k in wrong.nonzero())
    return ValueError(
        f"{int(wrong.sum())} of {wrong.size} entries {where}are NaN or infinite, the first at index {first}: {fix}"
    )


class Moderate(NamedTuple):
    """Entries of moderate size, the powers of two that they were divided by, and 1 or NaN to multiply results by."""

    array: Array
    unit: Array | None
    valid: Array | None


def moderate(x: Array, backend: Backend, axis: tuple[int, ...] | None = None) -> Moderate:
    """``x``, or each of its slices along ``axis``, over a power of two, so that squares and products stay in range."""
    largest = peak(x, backend, axis, keepdims=axis is not None)
    if is_safe(largest, backend):
        return Moderate(x, None, None)
    # Where a call is differentiated, the constant has a value and the array has none.
    host = on_host(x, backend) if _flushes(backend) and _is_tiny(on_host(largest, backend)) else None
    if host is not None:
        array, unit, valid = moderate(host, get_backend("numpy"), axis)
        return Moderate(*(None if a is None else backend.asarray(np.asarray(a)) for a in (array, unit, valid)))
    unit = unit_of(largest, backend)
    array, valid = divided(x, unit, backend)
    return Moderate(array, unit, valid)


def _is_tiny(host: np.ndarray[Any, Any] | None) -> bool:
    return host is not None and bool((host < 2.0**64 * np.finfo(host.dtype).smallest_normal).any())


def _flushes(backend: Backend) -> bool:
    """Whether arithmetic takes numbers below the normal ones for zero, as XLA's does on the CPU."""
    return "jit" in backend.capabilities


def norm(x: Array, backend: Backend, axis: int | tuple[int, ...] | None = None) -> Array:
    """The Frobenius norm, over all axes or some, of numbers of any size; its derivative at zero is 0."""
    xp = backend.xp
    if not backend.dtype_of(x).startswith(("float", "complex", "bfloat")):
        x = backend.asarray(x, dtype=backend.default_dtype)
    if 0 in x.shape:
        return root(xp.sum(abs(x), axis=axis), backend)
    with quiet(backend):
        plain = xp.linalg.vector_norm(x, axis=axis)
        host = on_host(plain, backend)
        if host is None:
            largest = xp.max(abs(backend.stop_gradient(x)), axis=axis, keepdims=True)
            # XLA may divide by multiplying with a reciprocal, which must not be flushed to zero.
            unit = nonzero(xp.minimum(largest, xp.finfo(largest.dtype).max / 4 * xp.ones_like(largest)), backend)
        elif within_range(host):
            return plain
        else:
            unit = unit_of(peak(x, backend, axis, keepdims=True), backend)
        x = over(x, unit, backend)
        squares = xp.real(x) ** 2 + xp.imag(x) ** 2 if xp.isdtype(x.dtype, "complex floating") else x * x
        found = root(xp.sum(squares, axis=axis), backend)
        return found * backend.reshape(unit, tuple(found.shape))


def norm_products(
    families: Sequence[Sequence[tuple[Array, int]]], weights: Array | None, backend: Backend
) -> list[Array]:
    """For every family the products of the norms of slices ``(R,)``: of arrays along an axis, times absolute values of
    weights."""
    size_along = backend.xp.linalg.vector_norm
    found = []
    with quiet(backend):
        for parts in families:
            made = abs(weights) if weights is not None else None
            for array, axis in parts:
                size = size_along(array, axis=axis)
                made = size if made is None else made * size
            found.append(made)
    host = on_host(backend.xp.concat(found) if len(found) > 1 else found[0], backend) if found else np.zeros(0)
    if host is not None and within_range(host):
        return found
    more = () if weights is None else (abs(weights),)
    return [product([*(norm(array, backend, axis) for array, axis in parts), *more], backend) for parts in families]


def product(factors: Sequence[Array], backend: Backend) -> Array:
    """The product of nonnegative arrays of one shape, also where products of some of them leave the range."""
    made = factors[0]
    with quiet(backend):
        for factor in factors[1:]:
            made = made * factor
    host = on_host(made, backend)
    if host is None or within_range(host):
        return made
    xp, mantissa, exponent = backend.xp, None, 0
    for factor in factors:
        unit = unit_of(factor, backend)
        mantissa = factor / unit if mantissa is None else mantissa * (factor / unit)
        more = unit_of(backend.stop_gradient(mantissa), backend)
        mantissa, exponent = mantissa / more, exponent + xp.round(xp.log2(unit)) + xp.round(xp.log2(more))
    return times_power(mantissa, exponent, backend)


def times_power(x: Array, exponent: Array, backend: Backend) -> Array:
    """``x * 2^exponent`` in two steps, because the power itself may be out of range."""
    half = backend.xp.floor(exponent / 2)
    with quiet(backend):
        return x * 2.0**half * 2.0 ** (exponent - half)


def within_range(host: np.ndarray[Any, Any]) -> bool:
    """Whether all numbers are of moderate size; no for zeros, which may be what is left of small ones."""
    least, most = _limits(host)
    return not host.size or bool(host.min() > least and host.max() < most)


def _limits(host: np.ndarray[Any, Any]) -> tuple[float, float]:
    return _SAFE_NARROW if host.dtype.itemsize <= 4 else _SAFE_WIDE
