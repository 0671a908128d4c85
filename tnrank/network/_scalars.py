"""Numbers as tensors without indices.

Python's and NumPy's scalars have no framework, and no dtype that counts: they take those of the arrays beside them, as
Python's do in NumPy and in the array API standard. Where the arrays cannot hold their kind (a complex number beside
real arrays, a fraction beside integers) all become what the framework promotes to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from tnrank._backend import backend_of, get_backend, traced_as_constant
from tnrank._check import shown
from tnrank._typing import Array, Arrays

_KINDS = (bool, int, float, complex, np.number, np.bool_)


def is_scalar(value: Any) -> bool:
    """Whether ``value`` is a number without an array around it, a traced one of a compiler included."""
    return isinstance(value, _KINDS) or (getattr(value, "weak_type", False) is True and value.shape == ())


def with_scalars(names: Sequence[str], arrays: Arrays) -> Arrays:
    """``arrays`` with the scalars among ``names`` (tensors without indices) as arrays like the others.

    ``arrays`` itself is returned if there are none. Scalars alone become NumPy arrays.

    Raises:
        ValueError: if a scalar is too large for the dtype.
    """
    if not names:
        return arrays
    scalars = {name: arrays[name] for name in names if name in arrays and is_scalar(arrays[name])}
    if not scalars:
        return arrays
    others = {name: x for name, x in arrays.items() if name not in scalars}
    if not others:
        traced = next((x for x in scalars.values() if not isinstance(x, _KINDS)), None)
        if traced is None:
            return _alone(scalars)
        # A traced number beside others is the array whose backend they take.
        name = next(name for name, x in scalars.items() if x is traced)
        others[name] = scalars.pop(name)
    model = next(iter(others.values()))
    backend = backend_of(model)
    xp = backend.xp
    numbers = {name: _number(x) for name, x in scalars.items()}
    dtype = model.dtype
    for number in numbers.values():
        if isinstance(number, _KINDS):
            dtype = _promoted(backend.name, dtype, type(number))
        else:
            dtype = xp.result_type(xp.zeros((1,), dtype=dtype), number)
    if any(x.dtype == model.dtype for x in others.values()) and dtype != model.dtype:
        others = {name: xp.astype(x, dtype) if x.dtype == model.dtype else x for name, x in others.items()}
        model = next(iter(others.values()))
    # A compiler places constants itself; an array that is put on a device cannot meet one that is on another.
    device = None if "jit" in backend.capabilities else backend.device_of(model)
    made = {name: _filled(name, backend, x, dtype, device) for name, x in numbers.items()}
    return {name: made[name] if name in made else others[name] for name in arrays}


def scalar_like(value: Any, model: Array) -> Array:
    """A scalar as an array without axes, like ``model``; an array as it is."""
    return with_scalars([""], {"": value, "model": model})[""] if is_scalar(value) else value


def _number(value: Any) -> Any:
    """A Python number; a traced one as it is."""
    if isinstance(value, np.complexfloating):
        return complex(value)
    if isinstance(value, np.floating):
        return float(value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def _alone(scalars: Mapping[str, Any]) -> Arrays:
    dtype = np.result_type(*scalars.values())
    if dtype.hasobject:
        largest = max((x for x in scalars.values() if isinstance(x, int)), key=abs)
        raise ValueError(f"the scalar {shown(largest)} does not fit an integer of 64 bits: give it as a float")
    return {name: np.asarray(x, dtype=dtype) for name, x in scalars.items()}


def _filled(name: str, backend: Any, number: Any, dtype: Any, device: Any) -> Array:
    xp = backend.xp
    if not isinstance(number, (bool, int, float, complex)):
        return xp.astype(number, dtype)
    if not _fits(backend.name, dtype, number):
        raise ValueError(f"tensor {name!r} is the number {shown(number)}, which does not fit the dtype {dtype}")
    return xp.asarray(number, dtype=dtype, device=device)


# Compilers that trace Python know neither the promotion of dtypes nor their limits.
@traced_as_constant
def _promoted(backend_name: str, dtype: Any, kind: type) -> Any:
    """The dtype of an array beside a Python number; its value does not count."""
    xp = get_backend(backend_name).xp
    return xp.result_type(xp.zeros((1,), dtype=dtype), kind(1))


@traced_as_constant
def _fits(backend_name: str, dtype: Any, number: Any) -> bool:
    xp = get_backend(backend_name).xp
    if xp.isdtype(dtype, "bool"):
        return True
    whole = xp.isdtype(dtype, "integral")
    limits = xp.iinfo(dtype) if whole else xp.finfo(dtype)
    kind = int if whole else float
    least, most = kind(limits.min), kind(limits.max)
    return all(least <= part <= most for part in (number.real, number.imag) if abs(part) < inf)
