"""Factorizations in safetensors files, with the structure in the header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._backend import available_backends, get_backend
from tnrank._check import shown
from tnrank._files import write_atomically
from tnrank._reading import reading
from tnrank.factorizations._base import Factorization

_FORMAT = "tnrank factorization 1"
_STORED = {
    "bfloat16": "uint16",
    "float16": "float16",
    "float32": "float32",
    "float64": "float64",
    "complex64": "float32",
    "complex128": "float64",
}
"""dtype of a factorization -> dtype of the stored arrays."""


def save(x: Factorization, path: str | os.PathLike[str]) -> None:
    """See :meth:`Factorization.save`."""
    from safetensors.numpy import save as to_bytes

    suffix = Path(path).suffix
    if suffix.lower() not in (".safetensors", ""):
        raise ValueError(
            f"factorizations are saved as .safetensors, got {os.fspath(path)!r}; arrays: np.save(x.to_dense())"
        )

    dtype = x.dtype
    header = {
        "format": _FORMAT,
        "kind": x.kind,
        "structure": json.dumps(x._static_to_json()),
        "dtype": dtype,
        "backend": x.backend.name,
        "tensors": json.dumps(list(x.network.tensors)),
    }
    # One array at several tensors is stored once, under the first of them.
    places: dict[int, int] = {}
    where = [places.setdefault(id(a), k) for k, a in enumerate(x._values)]
    if len(places) < len(where):
        header["places"] = json.dumps(where)
    stored = {f"{k}": _pack(x.backend.to_numpy(x._values[k]), dtype) for k in places.values()}
    write_atomically(path, to_bytes(stored, header))


def load(path: str | os.PathLike[str], backend: str | None = None, dtype: str | None = None, device: Any = None) -> Any:
    """Read a factorization that ``save`` wrote.

    Args:
        path: the file.
        backend: where the arrays shall live; the one that it was saved from if that is installed, else NumPy.
        dtype: the one that it was saved with if ``None``.
        device: the backend's default if ``None``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no file on disk, not a factorization that tnrank saved, or damaged.

    Example:
        >>> import os, tempfile, tnrank
        >>> path = os.path.join(tempfile.mkdtemp(), "x.safetensors")
        >>> tnrank.MatrixFactorization.random((3, 4), depth=2, seed=0).save(path)
        >>> tnrank.load(path).depth
        2
    """
    if isinstance(path, (str, os.PathLike)) and Path(path).is_dir():
        raise FileNotFoundError(f"no file {os.fspath(path)!r}: it is a folder")
    with reading(path, "is not a factorization that tnrank saved", quoted=True) as file:
        found, stored, home = _read(str(file))
    target = get_backend(backend or (home if home in available_backends() else "numpy"))
    moved = {id(a): target.asarray(a, dtype or stored, device) for a in {id(a): a for a in found._values}.values()}
    return found._make(found._static, [moved[id(a)] for a in found._values], validate=False)


def _read(path: str) -> tuple[Factorization, str, str]:
    """What a file holds, with arrays on the host; the dtype and the backend that it was saved from."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as stream:
        header = stream.metadata() or {}
        if header.get("format") != _FORMAT:
            raise ValueError(f"its format is {header.get('format')!r}, needed {_FORMAT!r}")
        cls, dtype, home = _class(header["kind"]), header["dtype"], header["backend"]
        structure, names = json.loads(header["structure"]), json.loads(header["tensors"])
        # An order or a depth: a network of that many tensors is made before they are compared.
        for count in structure if isinstance(structure, list) else [structure]:
            if isinstance(count, int) and count > len(names):
                raise ValueError(f"its structure has {shown(count)} tensors, and it names {len(names)}")
        static = cls._static_from_json(structure)
        tensors = list(cls._network_of(static).tensors)
        if tensors != names:
            raise ValueError(f"its tensors are {header['tensors']}, needed {json.dumps(tensors)}")
        where = json.loads(header.get("places", "null")) or list(range(len(tensors)))
        read = {k: stream.get_tensor(f"{k}") for k in sorted(set(where))}
        stored = [read[k] for k in where]
    for name, array in zip(tensors, stored, strict=True):
        wrong = dtype not in _STORED or str(array.dtype) != _STORED[dtype]
        if wrong or (dtype.startswith("complex") and array.shape[-1:] != (2,)):
            raise ValueError(f"the array {name!r} is stored as {array.dtype} {array.shape}, its dtype is {dtype!r}")
    unpacked = {k: _unpack(a, dtype) for k, a in read.items()}
    return cls._make(static, [unpacked[k] for k in where]), dtype, home


def _class(kind: str) -> type[Factorization]:
    stack = list(Factorization.__subclasses__())
    while stack:
        cls = stack.pop()
        if cls.kind == kind:
            return cls
        stack.extend(cls.__subclasses__())
    raise ValueError(f"it is of the unknown kind {kind!r}")


def _pack(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Complex numbers as a trailing axis of 2 and bfloat16 as its bits: the NumPy binding has neither."""
    if dtype.startswith("complex"):
        return np.ascontiguousarray(np.stack([array.real, array.imag], axis=-1))
    if dtype == "bfloat16":
        bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
        return np.ascontiguousarray((bits >> 16).astype(np.uint16))
    return np.ascontiguousarray(array)


def _unpack(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    if dtype.startswith("complex"):
        return array[..., 0] + 1j * array[..., 1]
    if dtype == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array
