"""Images with labels: MNIST, Fashion-MNIST and CIFAR-10 from the user's machine or a download, and the digits."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Literal

import numpy as np

from tnrank._check import one_of
from tnrank._explained import explained
from tnrank.data import _sources
from tnrank.data._arrays import NDArray
from tnrank.data._cifar import read_cifar10
from tnrank.data._digits import digits
from tnrank.data._idx import read_idx
from tnrank.data._places import find
from tnrank.data._sources import DataSet

Split = Literal["train", "test"]
Name = Literal["digits", "mnist", "fashion-mnist", "cifar10"]

_DIGITS_TRAIN = 1200
"""Digits of the training split: the first ones, as digits of one writer follow one another in the file."""


@explained
def images(
    name: Name = "digits",
    split: Split = "train",
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    progress: bool | Callable[[str], None] = True,
) -> tuple[NDArray, NDArray]:
    """Images and labels of a data set by its name.

    Args:
        name: ``"digits"``, which needs no file (1,200 for training, 597 for testing), ``"mnist"``, ``"fashion-mnist"``
            or ``"cifar10"``.
        split: ``"train"`` or ``"test"``.
        data_dir: folder that holds the set's own folder, the only one to look into; see :func:`mnist`.
        download: whether files that are in none of the folders are downloaded.
        progress: whether a download shows a line of progress, or a function of such lines.

    Returns:
        Images as :func:`digits`, :func:`mnist` and :func:`cifar10` give them, which is what :func:`states`,
        :func:`patches`, :func:`gray` and :func:`average_pool` take, and int64 labels ``(M,)``.

    Raises:
        FileNotFoundError: if the files are not there; the folders and the call that downloads them are named.
        OSError: if a download fails.
        ValueError: if the name is unknown or a file is damaged.
        ImportError: if the digits need scikit-learn, and it is not installed.

    Example:
        >>> from tnrank.data import images
        >>> pixels, labels = images("digits", "test")
        >>> pixels.shape, labels.shape
        ((597, 8, 8), (597,))
    """
    one_of(name, "name", _READERS)
    pixels, labels = _READERS[name](split, data_dir, download=download, progress=progress)
    return pixels, labels.astype(np.int64)


@explained
def mnist(
    split: Split = "train",
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    progress: bool | Callable[[str], None] = True,
) -> tuple[NDArray, NDArray]:
    """Images and labels of MNIST.

    The files are ``mnist/*.gz`` (or unpacked) in ``data_dir`` if it is given, else in the folder of the environment
    variable ``TNRANK_DATA``, else in :func:`cache_folder`.

    Args:
        split: ``"train"`` or ``"test"``.
        data_dir: folder that holds ``mnist/``, or is called so, the only one to look into.
        download: whether files that are in none of the folders are downloaded, into ``data_dir`` if it is given, else
            into the cache. Their checksums are compared, those of files that the cache has, too.
        progress: whether a line on standard error tells how far a download is, or a function that takes its text.

    Returns:
        uint8 images ``(M, 28, 28)`` and uint8 labels ``(M,)``, as many as the files hold.

    Raises:
        FileNotFoundError: if the files are not there; the folders and the call that downloads them are named.
        OSError: if a download fails; the servers' answers and what to do by hand are named.
        ValueError: if a file is damaged, or images and labels are not as many.

    Source: LeCun, Cortes & Burges, *The MNIST database*.

    Example:
        >>> from tnrank.data import mnist
        >>> mnist("test", data_dir="/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: no file t10k-images-idx3-ubyte.gz (or without .gz) in /nowhere/mnist...
    """
    return _read_idx_set(_sources.MNIST, split, data_dir, download, progress)


@explained
def fashion_mnist(
    split: Split = "train",
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    progress: bool | Callable[[str], None] = True,
) -> tuple[NDArray, NDArray]:
    """Images and labels of Fashion-MNIST, from ``fashion-mnist/*.gz`` (or unpacked).

    Arguments, results and errors are those of :func:`mnist`.

    Source: Xiao, Rasul & Vollgraf 2017, *Fashion-MNIST* (MIT license).

    Example:
        >>> from tnrank.data import fashion_mnist
        >>> fashion_mnist("train", data_dir="/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: no file train-images-idx3-ubyte.gz (or without .gz) in /nowhere/fashion-mnist...
    """
    return _read_idx_set(_sources.FASHION_MNIST, split, data_dir, download, progress)


@explained
def cifar10(
    split: Split = "train",
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    progress: bool | Callable[[str], None] = True,
) -> tuple[NDArray, NDArray]:
    """Images and labels of CIFAR-10, from ``cifar10/``: the publisher's binary version or a NumPy archive.

    That is ``cifar-10-binary.tar.gz``, its unpacked folder ``cifar-10-batches-bin``, or ``cifar10.npz`` with
    ``x_train``, ``y_train``, ``x_test`` and ``y_test``. The Python version holds pickles and is not read. Classes in
    order: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Arguments and errors are those of :func:`mnist`.

    Returns:
        uint8 images ``(M, 32, 32, 3)`` and uint8 labels ``(M,)``.

    Source: Krizhevsky 2009, *Learning multiple layers of features from tiny images*.

    Example:
        >>> from tnrank.data import cifar10
        >>> cifar10("train", data_dir="/nowhere")
        Traceback (most recent call last):
        FileNotFoundError: no file cifar-10-binary.tar.gz (or ...) in /nowhere/cifar10...
    """
    _check_split(split)
    (path,) = find(_sources.CIFAR10, split, data_dir, download, progress)
    return read_cifar10(path, split)


def _digits(
    split: Split, data_dir: object, *, download: bool, progress: bool | Callable[[str], None]
) -> tuple[NDArray, NDArray]:
    _check_split(split)
    pixels, labels = digits()
    part = slice(_DIGITS_TRAIN) if split == "train" else slice(_DIGITS_TRAIN, None)
    return pixels[part], labels[part]


def _read_idx_set(
    source: DataSet,
    split: str,
    data_dir: str | os.PathLike[str] | None,
    download: bool,
    progress: bool | Callable[[str], None],
) -> tuple[NDArray, NDArray]:
    _check_split(split)
    paths = find(source, split, data_dir, download, progress)
    pixels, labels = (read_idx(path) for path in paths)
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{paths[0].parent}: {split} images have shape {pixels.shape} and labels {labels.shape}: they do not match"
        )
    return pixels, labels


def _check_split(split: str) -> None:
    one_of(split, "split", ("train", "test"))


_READERS: dict[str, Callable[..., tuple[NDArray, NDArray]]] = {
    "digits": _digits,
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "cifar10": cifar10,
}
