"""The images: scikit-learn's digits, and the publishers' files where they are on this machine."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from tnrank.data import cifar10, digits, fashion_mnist, mnist, read_idx


def test_digits() -> None:
    pytest.importorskip("sklearn")
    images, labels = digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.float64
    assert (images.min(), images.max()) == (0, 1)
    np.testing.assert_array_equal(np.bincount(labels), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'needs scikit-learn, .* pip install "tnrank\[data\]"'):
        digits()


@pytest.mark.parametrize(
    ("read", "split", "count"),
    [
        (mnist, "train", 12000),
        (mnist, "test", 10000),
        (fashion_mnist, "train", 3600),
        (fashion_mnist, "test", 843),
    ],
)
def test_real_idx_files(data_dir: Path, read, split: str, count: int) -> None:
    images, labels = read(split, data_dir)
    assert images.shape == (count, 28, 28)
    assert labels.shape == (count,)
    assert images.dtype == labels.dtype == np.uint8
    assert images.max() == 255
    np.testing.assert_array_equal(np.unique(labels), np.arange(10))
    if read is mnist and split == "train":
        assert labels[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_cifar(data_dir: Path, monkeypatch: pytest.MonkeyPatch, split: str) -> None:
    monkeypatch.setenv("TNRANK_DATA", str(data_dir))
    images, labels = cifar10(split)  # type: ignore[arg-type]
    assert images.shape == (6000, 32, 32, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), [600] * 10)


def _idx(code: int, array: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, code, array.ndim]) + sizes + array.tobytes()


@pytest.mark.parametrize(
    ("code", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_idx_dtypes(tmp_path: Path, code: int, dtype: str) -> None:
    x = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    (tmp_path / "x").write_bytes(_idx(code, x))
    (tmp_path / "x.gz").write_bytes(gzip.compress(_idx(code, x)))
    for name in ("x", "x.gz"):
        found = read_idx(tmp_path / name)
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found, x)


def test_bad_idx_files(tmp_path: Path) -> None:
    good = _idx(8, np.ones((3, 4), np.uint8))
    for content, message in [
        (b"hello", "is no IDX file: it starts with '68 65 6c 6c'"),
        (b"", "is no IDX file"),
        (good[:6], "is cut short: 6 bytes"),
        (good[:-1], r"has 23 bytes, shape \(3, 4\) of uint8 needs 24"),
        (gzip.compress(good)[:-9], "damaged gzip file"),
    ]:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_idx(tmp_path / "x")


def test_small_sets_on_disk(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    images = np.zeros((2, 28, 28), np.uint8)
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(_idx(8, images))
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(_idx(8, np.array([3, 4], np.uint8)))
    assert mnist("train", tmp_path)[1].tolist() == [3, 4]
    assert mnist("train", tmp_path / "mnist")[1].tolist() == [3, 4]
    # Files of the same names: those of a folder that is called otherwise are not taken for Fashion-MNIST.
    with pytest.raises(FileNotFoundError, match=r"fashion-mnist"):
        fashion_mnist("train", tmp_path / "mnist")
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(_idx(8, np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match="do not match"):
        mnist("train", tmp_path)
    (tmp_path / "cifar10").mkdir()
    np.savez(tmp_path / "cifar10" / "cifar10.npz", x_train=np.zeros((2, 3, 32, 32)), y_train=np.zeros(2))
    with pytest.raises(ValueError, match=r"x_train has shape \(2, 3, 32, 32\), needed \(2, 32, 32, 3\)"):
        cifar10("train", tmp_path)
    with pytest.raises(ValueError, match="has no array 'x_test'"):
        cifar10("test", tmp_path)


def test_where_is_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TNRANK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"mnist\('train', download=True\) .* or set TNRANK_DATA=DIR"):
        mnist()
    monkeypatch.setenv("TNRANK_DATA", str(tmp_path))
    for read in (mnist, fashion_mnist, cifar10):
        with pytest.raises(FileNotFoundError, match=str(tmp_path)):
            read()
    with pytest.raises(ValueError, match="unknown split 'val'"):
        cifar10("val")  # type: ignore[arg-type]
