"""MNIST, Fashion-MNIST and CIFAR-10 from files on the user's machine."""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tnrank._check import one_of, shown
from tnrank._explained import explained
from tnrank._reading import check_size, reading, shape_text

NDArray = np.ndarray[Any, Any]
Split = Literal["train", "test"]

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PREFIX = {"train": "train", "test": "t10k"}
_VARIABLE = "TNRANK_DATA"


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


@explained
def mnist(split: Split = "train", data_dir: str | Path | None = None) -> tuple[NDArray, NDArray]:
    """Images and labels of MNIST, from ``DIR/mnist/*.gz`` (or unpacked).

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: folder that holds ``mnist/``; ``None`` is the environment variable ``TNRANK_DATA``.

    Returns:
        uint8 images ``(M, 28, 28)`` and uint8 labels ``(M,)``, as many as the files hold.

    Raises:
        FileNotFoundError: if the files are not there; the names looked for and a source are given.
        ValueError: if there is neither ``data_dir`` nor ``TNRANK_DATA``, or a file is damaged.

    Source: LeCun, Cortes & Burges, *The MNIST database*.

    Example:
        >>> from tnrank.data import mnist
        >>> mnist("test", data_dir="/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: no file t10k-images-idx3-ubyte.gz (or without .gz) in /nowhere/mnist...
    """
    return _images_and_labels("mnist", split, data_dir, "https://ossci-datasets.s3.amazonaws.com/mnist/")


@explained
def fashion_mnist(split: Split = "train", data_dir: str | Path | None = None) -> tuple[NDArray, NDArray]:
    """Images and labels of Fashion-MNIST, from ``DIR/fashion-mnist/*.gz`` (or unpacked).

    Arguments, results and errors are those of :func:`mnist`.

    Source: Xiao, Rasul & Vollgraf 2017, *Fashion-MNIST* (MIT license).

    Example:
        >>> from tnrank.data import fashion_mnist
        >>> fashion_mnist("train", data_dir="/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: no file train-images-idx3-ubyte.gz (or without .gz) in /nowhere/fashion-mnist...
    """
    return _images_and_labels(
        "fashion-mnist", split, data_dir, "https://github.com/zalandoresearch/fashion-mnist (data/fashion)"
    )


@explained
def cifar10(split: Split = "train", data_dir: str | Path | None = None) -> tuple[NDArray, NDArray]:
    """Images and labels of CIFAR-10, from ``DIR/cifar10/cifar10.npz``.

    The file holds ``x_train``, ``y_train``, ``x_test`` and ``y_test``. Classes in order: airplane,
    automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: folder that holds ``cifar10/``; ``None`` is the environment variable ``TNRANK_DATA``.

    Returns:
        uint8 images ``(M, 32, 32, 3)`` and uint8 labels ``(M,)``.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: if there is neither ``data_dir`` nor ``TNRANK_DATA``, or the file is damaged or lacks an
            array.

    Source: Krizhevsky 2009, *Learning multiple layers of features from tiny images*.

    Example:
        >>> from tnrank.data import cifar10
        >>> cifar10("train", data_dir="/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: no file /nowhere/cifar10/cifar10.npz...
    """
    from tnrank.data._files import read_array

    _check_split(split)
    path = _folder(data_dir, "cifar10") / "cifar10.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}: save CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html) there by "
            "numpy.savez(path, x_train=.., y_train=.., x_test=.., y_test=..), images uint8 of shape "
            "(M, 32, 32, 3)"
        )
    images, labels = read_array(path, key=f"x_{split}"), read_array(path, key=f"y_{split}")
    labels = labels.reshape(-1)
    if images.shape != (len(labels), 32, 32, 3):
        raise ValueError(
            f"{path}: x_{split} has shape {images.shape}, needed ({len(labels)}, 32, 32, 3) as y_{split} has"
        )
    return images, labels


def _images_and_labels(name: str, split: str, data_dir: str | Path | None, source: str) -> tuple[NDArray, NDArray]:
    _check_split(split)
    folder = _folder(data_dir, name)
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        stem = f"{_PREFIX[split]}-{kind}-ubyte"
        paths = [p for p in (folder / f"{stem}.gz", folder / stem) if p.is_file()]
        if not paths:
            raise FileNotFoundError(f"no file {stem}.gz (or without .gz) in {folder}: fetch it from {source}")
        found.append(read_idx(paths[0]))
    images, labels = found
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{folder}: {split} images have shape {images.shape} and labels {labels.shape}: they do not match"
        )
    return images, labels


def _check_split(split: str) -> None:
    one_of(split, "split", _PREFIX)


def _folder(data_dir: str | Path | None, name: str) -> Path:
    if data_dir is None:
        data_dir = os.environ.get(_VARIABLE) or None
    if data_dir is None:
        raise ValueError(f"where is {name}? Pass data_dir=DIR, or set {_VARIABLE}=DIR, with the files in DIR/{name}/")
    if not isinstance(data_dir, (str, os.PathLike)):
        raise TypeError(f"data_dir is the path of a folder, got {shown(data_dir)}")
    return Path(data_dir) / name
