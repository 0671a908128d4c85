"""NumPy's own formats, checked before anything is allocated."""

from __future__ import annotations

import re
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from tnrank._check import shown
from tnrank._reading import check_size, reading, shape_text

NDArray = np.ndarray[Any, Any]

_MAGIC = b"\x93NUMPY"
_LONGEST = 2**20
"""Bytes of a header; those of plain arrays have about a hundred."""
_PIECE = 2**20
"""Bytes of a compressed member that are expanded at a time."""
_HEADER = re.compile(
    r"\{\s*(?=.*'descr'\s*:\s*'(?P<descr>[^'\\]*)')(?=.*'fortran_order'\s*:\s*(?P<fortran>True|False))"
    r"(?=.*'shape'\s*:\s*\((?P<shape>(?:\s*\d+L?\s*,)*(?:\s*\d+L?)?\s*)\))"
    r"(?:'(?:descr|fortran_order|shape)'\s*:\s*(?:'[^']*'|True|False|\([^()]*\))\s*(?:,\s*)?){3}\}\s*",
    re.ASCII,
)
_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16|24|32))", re.ASCII)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    start: int
    """Bytes before the entries."""

    @property
    def size(self) -> int:
        """Bytes of the entries."""
        return prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path) -> NDArray:
    """The array in an ``.npy`` file, memory-mapped and read-only.

    Raises:
        ValueError: if it is no such file, is damaged, or its entries are no numbers.
    """
    with reading(path) as file:
        on_disk = file.stat().st_size
        with file.open("rb") as stream:
            header = _read_header(stream, file, file, on_disk)
        _check_length(file, file, header, on_disk)
        if not header.size:
            return np.empty(header.shape, header.dtype)
        return np.memmap(file, header.dtype, "r", header.start, header.shape, header.order)  # type: ignore[call-overload,no-any-return]


def read_npz(path: Path, key: str | None) -> NDArray:
    """One array of an ``.npz`` file.

    Raises:
        ValueError: if it is no such file, is damaged, or ``key`` is missing or unknown.
    """
    with reading(path) as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{file} is no .npz file (not a zip archive): write it by numpy.savez(path, name=array)")
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            name = _chosen(file, names, key)
            member = archive.getinfo(f"{name}.npy")
            told = f"the array {name!r}"
            if member.flag_bits & 1:
                raise ValueError(f"{file} is encrypted, needed an archive without a password")
            check_size(file, member.file_size, told, compressed=member.compress_type != zipfile.ZIP_STORED)
            with archive.open(member) as stream:
                header = _read_header(stream, file, f"{told} of {file}", member.file_size)
                _check_length(file, f"{told}", header, member.file_size)
                return _entries(stream, header)


def _chosen(file: Path, names: list[str], key: str | None) -> str:
    listed = ", ".join(map(str, names[:20])) + (", .." if len(names) > 20 else "")
    if key is None and len(names) != 1:
        raise ValueError(f"{file} holds " + (f"the arrays {listed}: name one by key=" if names else "no array"))
    if key is not None and key not in names:
        raise ValueError(f"{file} has no array {key!r}; it holds {listed or 'none'}")
    name = names[0] if key is None else key
    if names.count(name) > 1:
        raise ValueError(f"{file} holds {names.count(name)} arrays called {name!r}, needed different names")
    return name


def _read_header(stream: IO[bytes], file: Path, told: object, size: int) -> _Header:
    """Shape and dtype, by the format that numpy.lib.format describes."""
    begin = stream.read(8)
    if begin[:6] != _MAGIC:
        raise ValueError(
            f"{file} is no .npy file (its first bytes are others): write it by numpy.save(path, array)"
            if told is file
            else f"{file} holds no array where {told} should be (its first bytes are others)"
        )
    width = {b"\1\0": 2, b"\2\0": 4, b"\3\0": 4}.get(begin[6:])
    if width is None:
        raise ValueError(f"{file} is of version {'.'.join(map(str, begin[6:]))} of the format, known are 1.0 to 3.0")
    length = int.from_bytes(stream.read(width), "little")
    if length > min(size, _LONGEST):
        raise ValueError(f"{file} is damaged: its header claims {length:,} of {size:,} bytes")
    text = stream.read(length).decode("latin-1")
    found = _HEADER.fullmatch(text)
    if found is None or len(text) < length:
        raise ValueError(_wrong_header(file, text, len(text) < length))
    dtype = _dtype(file, found["descr"])
    shape = tuple(int(side.strip(" L")) for side in found["shape"].split(",") if side.strip())
    if "," not in found["shape"] and shape:
        raise ValueError(f"{file} is damaged: its header has the shape ({found['shape'][:60]}), which is no tuple")
    return _Header(shape, dtype, "F" if found["fortran"] == "True" else "C", 8 + width + length)


def _wrong_header(file: Path, text: str, cut: bool) -> str:
    if cut:
        return f"{file} is cut short in its header"
    if re.search(r"'descr'\s*:\s*[\[(]", text):
        return (
            f"{file} holds entries of several fields, needed numbers: save one field, numpy.save(path, array['name'])"
        )
    return f"{file} cannot be read, it may be damaged: its header is {shown(text.strip())}"


def _dtype(file: Path, descr: str) -> np.dtype[Any]:
    """The dtype, if it is one of numbers."""
    if "O" in descr:
        raise ValueError(
            f"{file} holds pickled Python objects, which could run code and are not read: save numbers "
            "instead, numpy.save(path, numpy.asarray(rows, dtype='float64')) with rows of equal length"
        )
    if _DTYPE.fullmatch(descr) is None:
        # bfloat16 is saved as bytes without a type.
        hint = "float32" if descr.endswith("V2") else "float64"
        raise ValueError(
            f"{file} holds entries of dtype {shown(descr)[1:-1]}, needed numbers: save array.astype({hint!r}) instead"
        )
    return np.dtype(descr)


def _check_length(file: Path, told: object, header: _Header, size: int) -> None:
    needed = header.start + header.size
    if size != needed:
        state = "it may be cut short or damaged" if size < needed else "its header may be damaged"
        where = "" if told is file else f"{told} "
        raise ValueError(
            f"{file} cannot be read, {state}: {where}has {size:,} bytes, shape {shape_text(header.shape)} of "
            f"{header.dtype} needs {shown(needed)}"
        )


def _entries(stream: IO[bytes], header: _Header) -> NDArray:
    array = np.empty(prod(header.shape), header.dtype)
    bytes_of, place = array.view(np.uint8), 0
    # The last, empty piece makes the archive compare its checksum.
    while piece := stream.read(_PIECE):
        bytes_of[place : place + len(piece)] = np.frombuffer(piece, np.uint8)
        place += len(piece)
    if place != header.size:
        raise ValueError(f"its entries end after {place:,} of {header.size:,} bytes")
    return array.reshape(header.shape, order=header.order)  # type: ignore[call-overload,no-any-return]
