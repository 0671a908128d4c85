"""The formats of CIFAR-10 that hold no pickles: the binary batches, packed or not, and NumPy's archive."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._reading import check_size, read_bytes, reading
from tnrank.data._arrays import NDArray

_BATCHES = {"train": tuple(f"data_batch_{k}.bin" for k in range(1, 6)), "test": ("test_batch.bin",)}
_RECORD = 1 + 3 * 32 * 32
"""Bytes of an image: the label, then red, green and blue, each row by row."""
_PIECE = 2**20


def read_cifar10(path: Path, split: str) -> tuple[NDArray, NDArray]:
    """Images ``(M, 32, 32, 3)`` and labels ``(M,)``, uint8, from an archive or a folder of batches, or a .npz file.

    Raises:
        FileNotFoundError: if the folder lacks a batch.
        ValueError: if a file is damaged.
    """
    if path.suffix == ".npz":
        return _read_npz(path, split)
    if path.is_dir():
        parts = []
        for name in _BATCHES[split]:
            with reading(path / name) as file:
                parts.append(_records(file, name, read_bytes(file)))
    else:
        parts = _read_archive(path, _BATCHES[split])
    records = np.concatenate(parts)
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(np.moveaxis(planes, 1, -1)), records[:, 0].copy()


def _read_archive(path: Path, names: tuple[str, ...]) -> list[NDArray]:
    """The batches in a .tar.gz, in the order of ``names``. Nothing is unpacked to disk: no member can name a place."""
    import tarfile

    found: dict[str, NDArray] = {}
    with reading(path, "is a damaged archive") as file, gzip.open(file) as unpacked:
        bounded = _Bounded(file, unpacked)
        with tarfile.open(fileobj=bounded, mode="r|", bufsize=_PIECE) as archive:  # type: ignore[call-overload]
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in names and member.isfile():
                    check_size(file, 2 * member.size, "a batch", compressed=True)
                    stream = archive.extractfile(member)
                    found[name] = _records(file, name, b"" if stream is None else stream.read())
        while bounded.read(_PIECE):  # at its end gzip compares its checksum
            pass
        absent = ", ".join(name for name in names if name not in found)
        if absent:
            raise ValueError(f"{file} has no {absent}: it is not CIFAR-10's binary version, or damaged")
    return [found[name] for name in names]


def _records(file: Path, name: str, content: bytes) -> NDArray:
    """The images of a batch as they are stored, ``(M, 3073)``."""
    if not content or len(content) % _RECORD:
        raise ValueError(
            f"{file} is damaged: {name} has {len(content):,} bytes, needed a multiple of {_RECORD:,} (a label and 32 x "
            "32 x 3 values)"
        )
    records: NDArray = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if records[:, 0].max() > 9:
        raise ValueError(f"{file} is damaged: {name} has the label {records[:, 0].max()}, needed 0 .. 9")
    return records


def _read_npz(path: Path, split: str) -> tuple[NDArray, NDArray]:
    from tnrank.data._files import read_array

    images, labels = read_array(path, key=f"x_{split}"), read_array(path, key=f"y_{split}")
    labels = labels.reshape(-1)
    if images.shape != (len(labels), 32, 32, 3):
        raise ValueError(
            f"{path}: x_{split} has shape {images.shape}, needed ({len(labels)}, 32, 32, 3) as y_{split} has"
        )
    return images, labels


class _Bounded:
    """A stream that is refused when it expands beyond all measure: archives have headers of any size."""

    def __init__(self, file: Path, stream: Any) -> None:
        self.file, self.stream, self.total = file, stream, 0

    def read(self, size: int) -> bytes:
        content: bytes = self.stream.read(size)
        self.total += len(content)
        check_size(self.file, self.total, "content", compressed=True)
        return content
