"""The published files of the data sets: names, checksums, and the servers that have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class SourceFile(NamedTuple):
    """One file as its publisher offers it."""

    name: str
    md5: str  # the only checksum that the publishers and their mirrors state
    megabytes: float
    instead: tuple[str, ...] = ()
    """Other names under which the same content is read: the first that is there counts, ``name`` before them."""


class DataSet(NamedTuple):
    """What there is to know about a data set before a file of it is opened."""

    title: str
    folder: str
    call: str
    mirrors: tuple[str, ...]
    splits: Mapping[str, tuple[SourceFile, ...]]


def _idx(stem: str, images: tuple[str, float], labels: tuple[str, float]) -> tuple[SourceFile, ...]:
    names = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    return tuple(
        SourceFile(f"{name}.gz", *known, instead=(name,)) for name, known in zip(names, (images, labels), strict=True)
    )


_CIFAR10 = SourceFile(
    "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170.1, ("cifar-10-batches-bin", "cifar10.npz")
)

MNIST = DataSet(
    "MNIST",
    "mnist",
    "mnist",
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    {
        "train": _idx("train", ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 9.9), ("d53e105ee54ea40749a09fcbcd1e9432", 0.03)),
        "test": _idx("t10k", ("9fb629c4189551a2d022fa330f9573f3", 1.6), ("ec29112dd5afa0611ce80d1b7f02629c", 0.01)),
    },
)
FASHION_MNIST = DataSet(
    "Fashion-MNIST",
    "fashion-mnist",
    "fashion_mnist",
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    {
        "train": _idx("train", ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26.4), ("25c81989df183df01b3e8a0aad5dffbe", 0.03)),
        "test": _idx("t10k", ("bef4ecab320f06d8554ea6380940ec79", 4.4), ("bb300cfdad3c16e7a12a480ee83cd310", 0.01)),
    },
)
CIFAR10 = DataSet(
    "CIFAR-10",
    "cifar10",
    "cifar10",
    ("https://www.cs.toronto.edu/~kriz/",),
    {"train": (_CIFAR10,), "test": (_CIFAR10,)},
)
