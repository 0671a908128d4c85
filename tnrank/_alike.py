"""Arrays beside a given one: with its dtype, on its device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnrank._backend import backend_of
from tnrank._typing import Array


def default_or_named_device(array: Array) -> Any:
    """Where to put what belongs to ``array``: ``None`` on the default device, so that JAX leaves it uncommitted."""
    backend = backend_of(array)
    name = backend.device_of(array)
    return None if name == backend.devices()[0] else name


def identity(like: Array, size: int) -> Array:
    """The identity matrix with the dtype and on the device of ``like``."""
    backend = backend_of(like)
    return backend.asarray(backend.xp.eye(size, dtype=like.dtype), None, default_or_named_device(like))


def zeros(like: Array, shape: Sequence[int]) -> Array:
    """Zeros with the dtype and on the device of ``like``."""
    backend = backend_of(like)
    return backend.asarray(backend.xp.zeros(tuple(shape), dtype=like.dtype), None, default_or_named_device(like))
