"""What the functions on spectra share: input checks and scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnrank._backend import backend_of
from tnrank._scale import nonzero, on_host

if TYPE_CHECKING:
    import numpy as np

    from tnrank._backend import Backend
    from tnrank._typing import Array

_REAL = ("float64", "float32", "float16", "bfloat16")


def check_spectrum(s: Array) -> tuple[Array, Backend]:
    """A spectrum as a real floating-point array of shape ``(.., n)``, and its backend.

    While a framework traces the call nothing can raise: a spectrum with a wrong value is NaN throughout.

    Raises:
        TypeError: if it is not an array of real numbers.
        ValueError: if it has no axis or no value, or a value is NaN, infinite, negative or larger than the
            one before.
    """
    backend = backend_of(s)
    dtype = backend.dtype_of(s)
    if dtype.startswith(("int", "uint", "bool")):
        s, dtype = backend.asarray(s, dtype=backend.default_dtype), backend.default_dtype
    if dtype not in _REAL:
        raise TypeError(f"a spectrum is an array of real numbers, got dtype {dtype}")
    shape = tuple(s.shape)
    if not shape or shape[-1] == 0:
        raise ValueError(f"a spectrum has shape (.., n) with n of at least 1, got shape {shape}")
    values = on_host(s, backend)
    if values is not None:
        _check_values(values)
        return s, backend
    xp = backend.xp
    good = xp.all((s >= 0) & xp.isfinite(s), axis=-1, keepdims=True)
    return s * xp.where(good, xp.ones_like(s[..., :1]), xp.nan), backend


def _check_values(values: np.ndarray[Any, Any]) -> None:
    # max and min pass NaN on, so that one comparison sees all that can be wrong with the values.
    if not (values.min(initial=0) >= 0 and values.max(initial=0) < float("inf")):
        wrong = ~((values >= 0) & (values < float("inf")))
        first = tuple(int(k[0]) for k in wrong.nonzero())
        raise ValueError(
            f"singular values are finite and not negative: {int(wrong.sum())} of {values.size} are not, "
            f"the first is {values[first]} at index {first}"
        )
    rising = values[..., 1:] > values[..., :-1]
    if rising.any():
        first = tuple(int(k[0]) for k in rising.nonzero())
        raise ValueError(
            f"a spectrum is descending along its last axis, got {values[first]} before "
            f"{values[(*first[:-1], first[-1] + 1)]} at index {first}: sort it first"
        )


def scaled(s: Array, backend: Backend) -> tuple[Array, Array]:
    """``s / s[.., :1]`` (zero spectra as they are) and the largest values, constants of differentiation."""
    scale = backend.stop_gradient(s[..., :1])
    return s / nonzero(scale, backend), scale[..., 0]


def unless_zero(value: Array, measure: Array, other: float, backend: Backend) -> Array:
    """``other`` where ``measure`` is zero, ``value`` elsewhere: also where it is NaN."""
    return backend.xp.where(measure == 0, backend.xp.full_like(value, other), value)
