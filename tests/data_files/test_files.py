from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tnrank.data import read_array, read_mask


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
    ("text", "message"),
    [
        ("1,2\n\n3,4,5\n", r"line 3: got 3 fields, needed 2 as in line 1 \(delimiter ','\)"),
        ("a,b\n1,2\n3\n", "line 3: got 1 fields, needed 2 as in line 2"),
        ("1,2\n3,x\n", "line 2, field 2: 'x' is not a number; leave missing entries empty"),
        ("a,1\n3,4\n", "line 1, field 1: 'a' is not a number; .* header row names only"),
        ("1,5;2,5\n", "'1,5' is not a number; write decimal points"),
        ("a b\n1 2\n", "line 2, field 1: '1 2' is not a number; separate fields by"),
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
