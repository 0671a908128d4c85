from __future__ import annotations

import gzip
import os
import socket
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank import _reading
from tnrank.data import CsvFormat, read_array, read_idx, read_mask


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int16", "uint8", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_memory_mapped(tmp_path: Path, dtype: str, order: str) -> None:
    x = np.arange(24).reshape(2, 3, 4).astype(dtype, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "x.npy", x)
    found = read_array(tmp_path / "x.npy")
    assert isinstance(found, np.memmap)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, x)
    assert not found.flags.writeable


def test_byte_order_of_another_machine(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3, dtype=">f8"))
    found = read_array(tmp_path / "x.npy")
    assert str(found.dtype) == "float64"
    np.testing.assert_array_equal(found, [0, 1, 2])


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.eye(2))
    np.savez_compressed(tmp_path / "two.npz", x=np.eye(2), y=np.ones(3))
    np.savez(tmp_path / "none.npz")
    np.testing.assert_array_equal(read_array(str(tmp_path / "one.npz")), np.eye(2))
    np.testing.assert_array_equal(read_array(tmp_path / "two.npz", key="y"), np.ones(3))
    with pytest.raises(ValueError, match=r"two.npz holds the arrays x, y: name one by key="):
        read_array(tmp_path / "two.npz")
    with pytest.raises(ValueError, match="has no array 'z'; it holds x, y"):
        read_array(tmp_path / "two.npz", key="z")
    with pytest.raises(ValueError, match="holds no array"):
        read_array(tmp_path / "none.npz")
    np.save(tmp_path / "x.npy", np.eye(2))
    with pytest.raises(ValueError, match="holds one array, got key='x'"):
        read_array(tmp_path / "x.npy", key="x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1;2.5\n3;-4e2", [[1, 2.5], [3, -400]]),
        ("1\t2\r\n3\t4\r\n", [[1, 2], [3, 4]]),
        ("a, b\n1, 2\n", [[1, 2]]),
        ('"film ""A""",b\n"1",2\n', [[1, 2]]),
        ("\ufeff1,2\n", [[1, 2]]),
        ("# made by hand\n1,\n\n,4\n", [[1, np.nan], [np.nan, 4]]),
        ("1,NA\nnan,null\n", [[1, np.nan], [np.nan, np.nan]]),
        (",b\n1,2\n", [[1, 2]]),
        ("1\n2\n", [[1], [2]]),
        ("inf,1\n", [[np.inf, 1]]),
    ],
)
def test_csv(tmp_path: Path, text: str, expected: list) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8", newline="")
    found = read_array(tmp_path / "x.csv")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("1.234,5;2\n-3;1.234.567,25e1\n", {"decimal": ",", "thousands": "."}, [[1234.5, 2], [-3, 12345672.5]]),
        ("1,5\t2\n", {"decimal": ","}, [[1.5, 2]]),
        ('"1,234",2\n', {"thousands": ","}, [[1234, 2]]),
        ('"1,5","2,5"\n', {"decimal": ","}, [[1.5, 2.5]]),
        ("1,5\n2,5\n", {"decimal": ","}, [[1.5], [2.5]]),
        ("1 234;2\n", {"thousands": " "}, [[1234, 2]]),
        ("1\u202f234;2\n", {"thousands": "\u202f"}, [[1234, 2]]),
        ("1_000,2\n", {"thousands": "_"}, [[1000, 2]]),
        ("  1   2\n3 4\n", {"delimiter": " "}, [[1, 2], [3, 4]]),
        ("1|2\n", {"delimiter": "|"}, [[1, 2]]),
        ("2019,2020\n1,2\n", {"header": True}, [[1, 2]]),
        (",a\n0,1\n1,5\n", {"index_column": True}, [[1], [5]]),
        (",a\n0,1\n1,5\n", {"index_column": False}, [[0, 1], [1, 5]]),
        ("x,1\ny,2\n", {"index_column": True}, [[1], [2]]),
        ('"mean; in mm","b"\n1,2\n', {}, [[1, 2]]),
        ('"a;b"\n1\n', {}, [[1]]),
        ("1,2\r3,4\r", {}, [[1, 2], [3, 4]]),
        ("Infinity,-inf\nNaN,+1e2\n", {}, [[np.inf, -np.inf], [np.nan, 100]]),
    ],
)
def test_csv_in_other_styles(tmp_path: Path, text: str, options: dict, expected: list) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8", newline="")
    np.testing.assert_array_equal(read_array(tmp_path / "x.csv", csv=CsvFormat(**options)), expected)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_csv_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.csv").write_bytes("größe,b\r\n1,2\r\n".encode(encoding))
    np.testing.assert_array_equal(read_array(tmp_path / "x.csv"), [[1, 2]])


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        (",a,b\n0,1.5,2\n1,3,4\n", [[1.5, 2], [3, 4]], "counts the rows: it is left out, index_column=False keeps it"),
        ('"","a"\n"1",5\n"2",6\n', [[5], [6]], "counts the rows: it is left out"),
        ("a,b\n1,0.5,2\n2,1,1\n", [[0.5, 2], [1, 1]], "counts the rows: it is left out"),
        (",0,1\n0,1.5,2\n1,3,4\n", [[1.5, 2], [3, 4]], "counts the rows: it is left out"),
        (",a\nMazda RX4,5\nFiat,6\n", [[5], [6]], "holds words: it is left out"),
        (",a\n10,5\n30,6\n", [[10, 5], [30, 6]], "it is read as data, index_column=True leaves it out"),
    ],
)
def test_columns_without_a_name(tmp_path: Path, text: str, expected: list, said: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.warns(UserWarning, match=rf"x\.csv: the first column has no name in the header.*{said}"):
        found = read_array(tmp_path / "x.csv")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n\n3,4,5\n", r"line 3: got 3 fields, needed 2 as in line 1 \(delimiter ','\)"),
        ("a,b\n1,2\n3\n", "line 3: got 1 fields, needed 2 as in line 2"),
        ("1,2\n3,x\n", "line 2, field 2: 'x' is not a number; leave missing entries empty"),
        ("a,1\n3,4\n", "line 1, field 1: 'a' is not a number; .* header row names only"),
        ("1,5;2,5\n", "'1,5' is not a number; write decimal points"),
        ("a b\n1 2\n", "line 2, field 1: '1 2' is not a number; separate fields by"),
        ("1_000,2\n", "'1_000' is not a number; if that separates thousands, give thousands='_'"),
        ('"1,234";2\n', "'1,234' is not a number; write decimal points, not commas, or give decimal=','"),
        ("1,\uff12\n", "is not a number"),
        ("1,1e999\n", "'1e999' is not a number that float64 can hold"),
        ("1,2\0\n", "NUL characters: if it is UTF-16"),
        ("a,b,c,d\n1,2\n", "line 1: the header has 4 names, line 2 has 2 fields"),
        ("a,b\n7,0.5,2\n9,1,1\n", "line 1: the header has one name less .* give index_column=True"),
        ('1,"2"3\n', "line 1: it has wrong quotes"),
        ("1," + "9" * 200_000 + "\n", r"line 1, field 2: '9+\.\. is not a number"),
        ("a,b\n", "has no rows of numbers; line 1 reads 'a,b'"),
        ("\n\n", "has no rows"),
        ('1,"2\n3",4\n', "quoted fields over several lines"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_array(tmp_path / "x.csv")


def test_csv_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("é,b\n1,2\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8 text"):
        read_array(tmp_path / "x.csv")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".gif", ".jpg", ".jpeg"])
def test_gray_images(tmp_path: Path, suffix: str) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.outer(np.arange(8), np.arange(6)).astype(np.uint8) * 7
    image.fromarray(pixels).save(tmp_path / f"x{suffix}")
    found = read_array(tmp_path / f"x{suffix}")
    assert found.shape == ((8, 6) if suffix != ".gif" else found.shape)
    tolerance = 0.03 if "jp" in suffix else 1e-12
    gray = found if found.ndim == 2 else found[..., 0]  # a gif has a palette, and is read in color
    np.testing.assert_allclose(gray, pixels / 255, atol=tolerance)


def test_other_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (4, 5, 4), dtype=np.uint8)
    image.fromarray(color).save(tmp_path / "alpha.png")
    np.testing.assert_allclose(read_array(tmp_path / "alpha.png"), color[..., :3] / 255)
    deep = rng.integers(0, 65536, (4, 5)).astype(np.uint16)
    for name in ("deep.png", "deep.tif"):
        image.fromarray(deep).save(tmp_path / name)
        np.testing.assert_allclose(read_array(tmp_path / name), deep / 65535)
    image.fromarray(deep > 2**15).save(tmp_path / "binary.png")
    np.testing.assert_array_equal(read_array(tmp_path / "binary.png"), deep > 2**15)
    image.fromarray(rng.standard_normal((4, 5)).astype(np.float32)).save(tmp_path / "real.tif")
    with pytest.raises(ValueError, match="mode 'F' without a range"):
        read_array(tmp_path / "real.tif")
    frames = [image.fromarray(np.full((4, 4), k, np.uint8)) for k in (0, 100, 200)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="has 3 frames, needed one image"):
        read_array(tmp_path / "film.gif")
    (tmp_path / "broken.png").write_bytes((tmp_path / "alpha.png").read_bytes()[:60])
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_array(tmp_path / "broken.png")


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(ImportError, match=r'reading .png files needs pillow, .* pip install "tnrank\[data\]"'):
        read_array(tmp_path / "x.png")


def test_files_that_are_not_what_they_seem(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[1, 2], [3]], dtype=object))
    with pytest.raises(ValueError, match=r"pickled Python objects, which could run code .* rows of equal length"):
        read_array(tmp_path / "objects.npy")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="pickled Python objects"):
        read_array(tmp_path / "objects.npz")
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    with pytest.raises(ValueError, match="entries of dtype <U1, needed numbers"):
        read_array(tmp_path / "words.npy")
    np.save(tmp_path / "whole.npy", np.ones((50, 50)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:1000])
    with pytest.raises(ValueError, match="may be cut short"):
        read_array(tmp_path / "cut.npy")
    (tmp_path / "text.npy").write_text("1,2")
    with pytest.raises(ValueError, match=r"is no \.npy file"):
        read_array(tmp_path / "text.npy")
    (tmp_path / "text.npz").write_text("1,2")
    with pytest.raises(ValueError, match=r"is no \.npz file"):
        read_array(tmp_path / "text.npz")
    (tmp_path / "x.mat").write_text("")
    with pytest.raises(ValueError, match=r"unknown suffix '.mat'; known: .npy .npz .csv .png"):
        read_array(tmp_path / "x.mat")
    with pytest.raises(ValueError, match="is a folder"):
        read_array(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    np.save(tmp_path / "ratings.npy", np.ones(2))
    with pytest.raises(FileNotFoundError, match=r"no file .*rating.npy; did you mean ratings.npy\?"):
        read_array(tmp_path / "rating.npy")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_array(tmp_path / "nowhere" / "x.npy")


def test_empty_and_scalar_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "scalar.npy", np.float64(3))
    assert read_array(tmp_path / "scalar.npy").shape == ()
    np.save(tmp_path / "empty.npy", np.ones((0, 3)))
    assert read_array(tmp_path / "empty.npy").shape == (0, 3)


def test_masks(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((3, 4)) < 0.5
    for dtype in (bool, float, np.uint8):
        np.save(tmp_path / "mask.npy", mask.astype(dtype))
        found = read_mask(tmp_path / "mask.npy", (3, 4))
        assert found.dtype == bool
        np.testing.assert_array_equal(found, mask)
    with pytest.raises(ValueError, match=r"has shape \(3, 4\), needed \(4, 3\)"):
        read_mask(tmp_path / "mask.npy", (4, 3))
    np.save(tmp_path / "mask.npy", np.array([0.0, np.nan, 2.0]))
    with pytest.raises(ValueError, match=r"2 of 3 in .* differ, the first is nan at index \(1,\)"):
        read_mask(tmp_path / "mask.npy", (3,))


def test_files_that_are_no_files(tmp_path: Path) -> None:
    """A named pipe would wait for a writer, and a device never ends."""
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s.npz"))
        for name, kind in (("pipe.npy", "a named pipe"), ("zero.csv", "a device"), ("s.npz", "a socket")):
            with pytest.raises(ValueError, match=rf"{name} is {kind}, needed a file on disk"):
                read_array(tmp_path / name)
    with pytest.raises(ValueError, match="is a named pipe"):
        read_idx(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match="is a named pipe"):
        tnrank.load(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match="NUL character"):
        read_array("x\0.npy")


def zeros_npy(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    """The header of an array without its entries."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def test_bombs_are_refused_by_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What expands a thousand times, and sizes that are only claimed."""
    # As for 4 GiB in 4 MB, which would take longer to write.
    monkeypatch.setattr(_reading, "_ALWAYS", 2**26)
    count = 2**27
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as stream,
    ):
        stream.write(zeros_npy((count,), "|i1"))
        for _ in range(count // 2**17):
            stream.write(bytes(2**17))
    with gzip.open(tmp_path / "bomb.gz", "wb", compresslevel=1) as packed:
        packed.write(bytes([0, 0, 8, 3]) + (2**10).to_bytes(4, "big") * 3)
        packed.write(bytes(2**20))
    (tmp_path / "claims.npy").write_bytes(zeros_npy((2**40, 2**20)))
    (tmp_path / "claims.idx").write_bytes(bytes([0, 0, 14, 4]) + b"\xff" * 16)
    tracemalloc.start()
    for name, said in (
        ("bomb.npz", r"holds the array 'x' of 128 MiB, as files do that are made to fill the memory"),
        ("claims.npy", "has 128 bytes, shape .* needs 9223372036854775936"),
    ):
        with pytest.raises(ValueError, match=rf"{name} .*{said}"):
            read_array(tmp_path / name)
    for name, said in (("bomb.gz", "an array of 2 GiB"), ("claims.idx", "has 20 bytes")):
        with pytest.raises(ValueError, match=rf"{name} .*{said}"):
            read_idx(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


def test_quoted_fields_between_spaces(tmp_path: Path) -> None:
    """Several spaces and tabs are one delimiter, in lines with quotes as in those without."""
    path = tmp_path / "t.csv"
    path.write_text('"1"  2   3\n4 "5"\t  6\n7  8 9\n')
    found = read_array(path, csv=CsvFormat(delimiter=" "))
    np.testing.assert_array_equal(found, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
