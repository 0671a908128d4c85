"""CIFAR-10 without pickles: the archive of the binary version, its folder, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.data_files.samples import cifar_archive
from tests.data_files.server import FILES, RECORDS, Server, server
from tnrank import _reading
from tnrank.data import cifar10

__all__ = ["server"]


def test_cifar_without_pickles(server: Server, tmp_path: Path) -> None:
    """The archive of the binary version, or its unpacked folder: five batches in order, colors last."""
    pixels, labels = cifar10("train", download=True, progress=False)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    for pixel, record in zip(pixels, RECORDS, strict=False):
        for place in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (3, 4, 1), (31, 31, 2)]:
            row, column, color = place
            assert pixel[place] == record[1 + 1024 * color + 32 * row + column]
    assert cifar10("test")[1].tolist() == [5]
    folder = tmp_path / "unpacked" / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for k in range(5):
        (folder / f"data_batch_{k + 1}.bin").write_bytes(RECORDS[k])
    np.testing.assert_array_equal(cifar10("train", tmp_path / "unpacked")[0], pixels)
    with pytest.raises(FileNotFoundError, match=r"test_batch\.bin"):
        cifar10("test", tmp_path / "unpacked")
    (folder / "data_batch_3.bin").write_bytes(RECORDS[0][:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin has 3,072 bytes, needed a multiple of 3,073"):
        cifar10("train", tmp_path / "unpacked")
    (folder / "data_batch_3.bin").write_bytes(b"\x0a" + RECORDS[0][1:])
    with pytest.raises(ValueError, match=r"has the label 10, needed 0 \.\. 9"):
        cifar10("train", tmp_path / "unpacked")


def test_the_checksum_at_the_end_of_an_archive(tmp_path: Path) -> None:
    """It is compared, however much comes after the last member."""
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "cifar-10-binary.tar.gz"
    padded = gzip.decompress(FILES[path.name]) + np.random.default_rng(0).bytes(2**22)
    whole = gzip.compress(padded, compresslevel=1)
    path.write_bytes(whole)
    assert cifar10("test", tmp_path)[1].tolist() == [5]
    path.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    with pytest.raises(ValueError, match="is a damaged archive: CRC check failed"):
        cifar10("test", tmp_path)


def test_archives_that_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies before the batches counts, too: the headers of an archive may have any size."""
    monkeypatch.setattr(_reading, "_ALWAYS", 2**20)
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "cifar-10-binary.tar.gz"
    path.write_bytes(cifar_archive({"other.bin": bytes(2**23), "test_batch.bin": RECORDS[5]}))
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz has .* as files do that are made to fill "):
        cifar10("test", tmp_path)
    path.write_bytes(cifar_archive({"test_batch.bin": RECORDS[5]}))
    assert cifar10("test", tmp_path)[1].tolist() == [5]
    with pytest.raises(ValueError, match=r"has no data_batch_1\.bin, data_batch_2\.bin"):
        cifar10("train", tmp_path)


def test_pickled_cifar_is_named(tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"cifar-10-python\.tar\.gz holds pickles, which could run code"):
        cifar10("train", tmp_path)
