"""Arrays from files in the IDX format of MNIST."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import shown
from tnrank._explained import explained
from tnrank._reading import check_size, reading, shape_text

NDArray = np.ndarray[Any, Any]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@explained
def read_idx(path: str | Path) -> NDArray:
    """An array from a file in the IDX format of MNIST, gzipped or plain.

    Returns:
        Array of the shape and dtype that the file states, in native byte order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no IDX file or is cut short.

    Source: LeCun, Cortes & Burges, *The MNIST database*, file formats.

    Example:
        >>> import pathlib, tempfile
        >>> from tnrank.data import read_idx
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "small.idx"
        >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7]))
        >>> read_idx(path)
        array([5, 6, 7], dtype=uint8)
    """
    with reading(path) as file:
        with file.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        if packed:
            with reading(file, "is a damaged gzip file"), gzip.open(file) as unpacked:
                return _read(file, unpacked, None)
        with file.open("rb") as plain:
            return _read(file, plain, file.stat().st_size)


def _read(file: Path, stream: Any, size: int | None) -> NDArray:
    """The array of a stream, whose ``size`` in bytes is not known before it is unpacked."""
    begin = stream.read(4)
    if len(begin) < 4 or begin[:2] != b"\0\0" or begin[2] not in _DTYPES:
        raise ValueError(f"{file} is no IDX file: it starts with {begin.hex(' ')!r}, needed 00 00 dtype order")
    sides = stream.read(4 * begin[3])
    if len(sides) < 4 * begin[3]:
        raise ValueError(f"{file} is cut short: {4 + len(sides)} bytes, its header alone has {4 + 4 * begin[3]}")
    shape = tuple(int.from_bytes(sides[k : k + 4], "big") for k in range(0, len(sides), 4))
    dtype = np.dtype(_DTYPES[begin[2]])
    start, content = 4 + len(sides), math.prod(shape) * dtype.itemsize
    needed = f"shape {shape_text(shape)} of {dtype.name} needs {shown(start + content)}: fetch it again"
    if size is not None and size != start + content:
        raise ValueError(f"{file} has {size} bytes, {needed}")
    # The entries as they are read, and in native byte order.
    check_size(file, 2 * content, "an array", compressed=size is None)
    data = stream.read(content + 1)
    if len(data) != content:
        state = "more" if len(data) > content else len(data) + start
        raise ValueError(f"{file} has {state} bytes, {needed}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
