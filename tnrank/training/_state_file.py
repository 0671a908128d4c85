"""Nested tuples, lists and dictionaries of arrays and numbers as JSON beside safetensors, and back, bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tnrank._backend import Backend

_STORED: tuple[str, ...] = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_STORED += ("float16", "float32", "float64")


def encode(value: Any, backend: Backend, arrays: dict[str, Any]) -> Any:
    """``value`` as JSON; its arrays go into ``arrays``, as copies.

    An object with ``state_dict`` and ``load_state_dict`` stands for its state.

    Raises:
        TypeError: if something else is in it.
    """
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return value
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return _encode_array(value, backend, arrays)
    if isinstance(value, Mapping):
        if all(isinstance(key, (str, int)) for key in value):
            return {"dict": [[key, encode(item, backend, arrays)] for key, item in value.items()]}
    elif isinstance(value, (tuple, list)):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(item, backend, arrays) for item in value]}
    elif hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
        return {"object": encode(value.state_dict(), backend, arrays)}
    raise TypeError(
        f"a checkpoint holds arrays, numbers, tuples, lists and dictionaries, and this optimizer's state has a "
        f"{type(value).__module__}.{type(value).__qualname__}: train without checkpoint=, or with another optimizer"
    )


def _encode_array(value: Any, backend: Backend, arrays: dict[str, Any]) -> Any:
    ours = not isinstance(value, (np.ndarray, np.generic))
    dtype = backend.dtype_of(value) if ours else str(value.dtype)
    host = np.asarray(backend.to_numpy(value) if ours and dtype in (*_STORED, "bfloat16") else value)
    if dtype == "bfloat16":
        host = (np.asarray(host, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    elif dtype not in _STORED:
        raise TypeError(f"a checkpoint cannot hold an array of dtype {dtype}: train without checkpoint=")
    name = f"{len(arrays)}"
    arrays[name] = np.array(host, order="C")
    return {"array": name, "dtype": dtype, "device": backend.device_of(value) if ours else None}


def decode(spec: Any, backend: Backend, arrays: Mapping[str, Any], like: Any = None, in_place: bool = False) -> Any:
    """What ``encode`` was given; ``like`` is of the same structure.

    ``in_place``: arrays at which ``like`` has one are written into that one, because an object refers to it.
    """
    if not isinstance(spec, dict):
        return spec
    if "array" in spec:
        found = _decode_array(spec, backend, arrays)
        if in_place and hasattr(like, "shape"):
            like[...] = found
            return like
        return found
    if "dict" in spec:
        of = like if isinstance(like, Mapping) else {}
        return {key: decode(item, backend, arrays, of.get(key), in_place) for key, item in spec["dict"]}
    if "object" in spec:
        like.load_state_dict(decode(spec["object"], backend, arrays))
        return like
    kind = "tuple" if "tuple" in spec else "list"
    items = spec[kind]
    known = like if isinstance(like, (tuple, list)) and len(like) == len(items) else [None] * len(items)
    made = [decode(item, backend, arrays, one, in_place) for item, one in zip(items, known, strict=True)]
    if kind == "list":
        return made
    return type(like)(*made) if hasattr(like, "_fields") else tuple(made)


def _decode_array(spec: Mapping[str, Any], backend: Backend, arrays: Mapping[str, Any]) -> Any:
    host, dtype = arrays[spec["array"]], spec["dtype"]
    if spec["device"] is None:
        return host.view(np.dtype(dtype)) if dtype == "bfloat16" else host
    device = None if spec["device"] == backend.devices()[0] else spec["device"]
    if dtype == "bfloat16":
        return backend.asarray((host.astype(np.uint32) << 16).view(np.float32), dtype, device)
    return backend.asarray(host, None, device)


def digest(value: Any, backend: Backend) -> str:
    """A checksum of structure, dtypes and numbers."""
    arrays: dict[str, Any] = {}
    found = hashlib.sha256(json.dumps(encode(value, backend, arrays)).encode())
    for array in arrays.values():
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def to_bytes(arrays: dict[str, Any]) -> bytes:
    """The arrays as safetensors."""
    from safetensors.numpy import save

    packed: bytes = save(arrays)
    return packed


def from_bytes(packed: bytes) -> dict[str, Any]:
    """What ``to_bytes`` was given.

    Raises:
        ValueError: if it is something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found: dict[str, Any] = load(packed)
    except SafetensorError as error:
        raise ValueError(f"its arrays cannot be read: {error}") from None
    return found
