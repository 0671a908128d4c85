"""Factorizations in safetensors files, with the structure in the header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._backend import Backend, available_backends, backend_of, get_backend
from tnrank._check import shown
from tnrank._explained import explained
from tnrank._files import check_path, write_atomically
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
    "bool": "bool",
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
"""dtype of a factorization -> dtype of the stored arrays."""


def save(x: Factorization, path: str | os.PathLike[str]) -> None:
    """See :meth:`Factorization.save`."""
    from safetensors.numpy import save as to_bytes

    check_path(path, "path", "the name of a file such as 'x.safetensors'")
    suffix = Path(path).suffix
    if suffix.lower() not in (".safetensors", ""):
        raise ValueError(
            f"factorizations are saved as .safetensors, got {os.fspath(path)!r}; arrays: np.save(x.to_dense())"
        )

    dtype = _stored_dtype(x)
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
    write_atomically(path, steady(to_bytes(stored, header)))


def steady(content: bytes) -> bytes:
    """A safetensors file with its header in alphabetical order: its writer orders entries anew in every process."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _stored_dtype(x: Factorization) -> str:
    """The one dtype of all arrays, if a file can hold it."""
    found: dict[str, str] = {}
    for name, array in x.arrays.items():
        try:
            found.setdefault(backend_of(array).dtype_of(array), name)
        except TypeError as error:
            raise TypeError(f"{name!r} cannot be saved: {error}") from None
    if len(found) > 1:
        listed = ", ".join(f"{name!r} is {dtype}" for dtype, name in found.items())
        raise ValueError(f"a file holds arrays of one dtype, and {listed}: convert them, x.to(dtype='float64')")
    (dtype,) = found
    if dtype not in _STORED or (dtype == "bfloat16" and x.backend.name == "numpy"):
        raise ValueError(
            f"a file holds {', '.join(_STORED)} (bfloat16 of JAX and PyTorch alone), and the arrays are {dtype}: "
            "convert them first, for example x.to(dtype='float32')"
        )
    return dtype


@explained
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
    distinct = {id(a): a for a in found._values}
    moved = {key: _moved(target, a, dtype, stored, device) for key, a in distinct.items()}
    return found._make(found._static, [moved[id(a)] for a in found._values], validate=False)


def _moved(target: Backend, array: Any, dtype: str | None, stored: str, device: Any) -> Any:
    if dtype is not None or stored in target.dtypes or stored == "bfloat16":
        return target.asarray(array, stored if dtype is None else dtype, device)
    # What a backend has arrays of and does not compute in: integers, half precision in NumPy.
    made = target.asarray(array, None, device)
    if target.dtype_of(made) != stored:
        raise ValueError(
            f"the arrays were saved as {stored}, which the {target.name} backend keeps as {target.dtype_of(made)}: "
            "give dtype, for example dtype='float32', or backend='numpy'"
        )
    return made


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
        where = json.loads(header["places"]) if "places" in header else list(range(len(tensors)))
        if not isinstance(where, list) or len(where) != len(tensors):
            raise ValueError(f"its places are {header['places']}, needed one a tensor")
        read = {k: stream.get_tensor(f"{k}") for k in sorted(set(where))}
        stored = [read[k] for k in where]
    for name, array in zip(tensors, stored, strict=True):
        wrong = dtype not in _STORED or str(array.dtype) != _STORED[dtype]
        if wrong or (dtype.startswith("complex") and array.shape[-1:] != (2,)):
            raise ValueError(f"the array {name!r} is stored as {array.dtype} {array.shape}, its dtype is {dtype!r}")
    unpacked = {k: _unpack(a, dtype) for k, a in read.items()}
    made = cls._make(static, [unpacked[k] for k in where])
    made._check_structure()
    return made, dtype, home


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
    if dtype == "bfloat16":
        bits = np.array(array, dtype=np.float32, order="C").view(np.uint32)
        return np.asarray(bits >> 16).astype(np.uint16)  # of a 0-d array a shift makes a scalar
    host = np.array(array, dtype=dtype, order="C")  # in the byte order of this machine
    return host.reshape(-1).view(_STORED[dtype]).reshape(*host.shape, 2) if dtype.startswith("complex") else host


def _unpack(array: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    if dtype.startswith("complex"):
        # A view, because 1j * inf has a real part that is NaN.
        return np.array(array, order="C").reshape(-1).view(dtype).reshape(array.shape[:-1])
    if dtype == "bfloat16":
        return np.asarray(array.astype(np.uint32) << 16).view(np.float32)
    return array
