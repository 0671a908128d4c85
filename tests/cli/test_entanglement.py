"""``tnrank entanglement``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank

Call = Callable[..., Any]


@pytest.fixture
def images() -> np.ndarray:
    """30 images of 8 x 8 pixels in steps of 1/255."""
    smooth = np.random.default_rng(0).normal(size=(30, 8, 8)).cumsum(axis=1).cumsum(axis=2)
    return np.round(255 / (1 + np.exp(-smooth))) / 255


@pytest.fixture
def files(images: np.ndarray, tmp_path: Path) -> np.ndarray:
    """The images in every kind of file, with labels of three classes."""
    labels = np.arange(30) % 3
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "bytes.npy", np.round(images * 255).astype(np.uint8))
    np.savez(tmp_path / "x.npz", x=images, y=labels, z=labels == 1)
    np.savetxt(tmp_path / "x.csv", images.reshape(30, 64), delimiter=",", fmt="%.17g")
    np.savetxt(tmp_path / "y.csv", labels, fmt="%d")
    return images


def report_of(done: Any) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_table(call: Call, files: np.ndarray) -> None:
    done = call("entanglement", "x.npy")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == str(tnrank.entanglement_report(files)) + "\n"
    assert done.stderr == ""


def test_every_kind_of_file(call: Call, files: np.ndarray) -> None:
    expected = tnrank.entanglement_report(files).to_dict()
    for args in (("x.npy",), ("x.npz", "--key", "x"), ("bytes.npy",), ("x.csv", "--grid", "8x8")):
        assert report_of(call("entanglement", *args, "--json")) == json.loads(json.dumps(expected)), args
    assert "bytes.npy has bytes: they are divided by 255" in call("entanglement", "bytes.npy").stderr
    rows = report_of(call("entanglement", "x.csv", "--no-twins", "--json"))
    assert rows["arrangement"] == "64 features in a row"


def test_a_folder_of_images(call: Call, images: np.ndarray, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path / "images"
    folder.mkdir()
    for k, image in enumerate(images):
        pillow.fromarray(np.round(image * 255).astype(np.uint8)).save(folder / f"{k:02}.png")
    (folder / "notes.txt").write_text("no image")
    expected = tnrank.entanglement_report(images).to_dict()
    assert report_of(call("entanglement", "images", "--json")) == json.loads(json.dumps(expected))
    for args, said in [
        (("images/00.png",), "images/00.png is one image, needed samples: give the folder"),
        (("images", "--key", "x"), "is a folder of images"),
    ]:
        assert said in call("entanglement", *args).stderr
    pillow.new("L", (9, 8)).save(folder / "zz.png")
    assert "zz.png has 8 x 9 pixels, 00.png has 8 x 8: needed images of one size" in call("entanglement", folder).stderr
    pillow.new("RGB", (8, 8)).save(folder / "zz.png")
    assert "zz.png is in color, needed gray images: give --gray, which" in call("entanglement", folder).stderr
    (tmp_path / "empty").mkdir()
    assert "empty holds 0 images" in (said := call("entanglement", "empty").stderr)
    assert "subfolders" not in said
    (tmp_path / "empty" / "cats").mkdir()
    told = "needed 2 or more; its subfolders are not read: move all images into one folder, and give the class of each"
    assert told in call("entanglement", "empty").stderr


def test_color_is_made_gray(call: Call, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    colors = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3)).astype(np.uint8)
    np.save(tmp_path / "colors.npy", colors)
    np.save(tmp_path / "floats.npy", colors / 255)
    np.save(tmp_path / "large.npy", colors * 2.0)
    np.save(tmp_path / "first.npy", np.moveaxis(colors, -1, 1))
    (tmp_path / "colors").mkdir()
    for k, image in enumerate(colors):
        pillow.fromarray(image).save(tmp_path / "colors" / f"{k:02}.png")
    # Pillow mixes by the same weights, and rounds to bytes.
    mixed = np.stack([np.asarray(pillow.fromarray(image).convert("L")) for image in colors]) / 255
    expected = [level.natural.entropy for level in tnrank.entanglement_report(mixed, twins=False).levels]
    for name in ("colors.npy", "floats.npy", "colors"):
        found = report_of(call("entanglement", name, "--gray", "--no-twins", "--json"))["levels"]
        assert [level["natural"]["entropy"] for level in found] == pytest.approx(expected, abs=0.01)
    for args, said in [
        (
            ("colors.npy",),
            "colors.npy has shape (12, 4, 4, 3), needed (M, N), one row a sample, or (M, H, W), one gray",
        ),
        (("colors.npy",), "one gray image a sample: give --gray\n"),
        (("first.npy",), "save numpy.moveaxis(X, 1, -1) instead, and give --gray"),
        (("large.npy", "--gray"), "large.npy has floats from 0 to 510, needed [0, 1]: save images / 510 instead\n"),
    ]:
        assert said in call("entanglement", *args).stderr


def test_labels(call: Call, files: np.ndarray) -> None:
    y = np.arange(30) % 3 == 1
    expected = json.loads(json.dumps(tnrank.entanglement_report(files, y).to_dict()))
    for args in (
        ("x.npz", "--key", "x", "--labels", "z"),
        ("x.npz", "--key", "x", "--labels", "y", "--positive", "1"),
        ("x.npy", "--labels", "y.csv", "--positive", "1"),
    ):
        assert report_of(call("entanglement", *args, "--json")) == expected
    assert expected["classes"] == [20, 10]


def test_labels_are_a_column_of_the_table(call: Call, tmp_path: Path) -> None:
    X, kinds = np.random.default_rng(0).random((30, 4)).round(3), ["setosa", "versicolor", "virginica"] * 10
    y = np.arange(30) % 3
    words = [f"{k},{a},{b},{kinds[k]},{c},{d}" for k, (a, b, c, d) in enumerate(X)]
    (tmp_path / "two.csv").write_text("\n".join([",a,b,kind,c,d", *words]))
    found = report_of(
        call("entanglement", "two.csv", "--index-column", "--labels", "kind", "--positive", "setosa", "--json")
    )
    assert found == json.loads(json.dumps(tnrank.entanglement_report(X, y == 0).to_dict()))
    numbers = [f"{a},{b},{c},{d};{label}".replace(",", ";") for (a, b, c, d), label in zip(X, y, strict=True)]
    (tmp_path / "numbers.csv").write_text("\n".join(["a;b;c;d;number", *numbers]))
    found = report_of(call("entanglement", "numbers.csv", "--labels", "number", "--positive", "2", "--json"))
    assert found == json.loads(json.dumps(tnrank.entanglement_report(X, y == 2).to_dict()))
    for args, said in [
        (
            ("two.csv", "--index-column", "--labels", "kind"),
            "kind has labels of 3 classes ('setosa', 'versicolor', 'virginica'), needed",
        ),
        (("two.csv", "--index-column", "--labels", "kind"), ": give --positive setosa, one class against the others\n"),
        (
            ("two.csv", "--index-column", "--labels", "kind", "--positive", "rose"),
            "needed the label of a class: it has setosa, versic",
        ),
        (
            ("two.csv", "--index-column", "--labels", "sort"),
            "two.csv has 0 columns named 'sort', needed one: its header has a, b",
        ),
        (
            ("numbers.csv", "--labels", "numbr"),
            "numbers.csv has 0 columns named 'numbr', needed one: its header has number\n",
        ),
        (("two.csv", "--index-column"), "line 2, field 4: 'setosa' is not a number; leave missing entries empty, and"),
        (("numbers.csv", "--labels", "number", "--positive", "x"), "got --positive 'x', needed a number as the labels"),
        (("numbers.csv", "--labels", "number", "--no-header"), "error: numbers.csv has no header row, needed one"),
    ]:
        assert said in call("entanglement", *args).stderr


def test_columns_in_different_units(call: Call, tmp_path: Path) -> None:
    table = np.random.default_rng(0).random((30, 8)) * [4254, 1, 1, 1, 0.01, 3, 9, 9]
    np.savetxt(tmp_path / "bc.csv", table, delimiter=",")
    assert "give --rescale, which scales each column by its own range; for" in call("entanglement", "bc.csv").stderr
    scaled = (table - table.min(axis=0)) / np.ptp(table, axis=0)
    found = report_of(call("entanglement", "bc.csv", "--rescale", "--json"))["levels"]
    expected = [level.natural.entropy for level in tnrank.entanglement_report(scaled).levels]
    assert [level["natural"]["entropy"] for level in found] == pytest.approx(expected, abs=1e-9)
    np.save(tmp_path / "bytes.npy", np.array([[0, 200], [10, 100], [5, 0]], np.uint8))
    done = call("entanglement", "bytes.npy", "--rescale", "--json")
    assert "divided" not in done.stderr
    expected = [
        level.natural.entropy for level in tnrank.entanglement_report(np.array([[0, 1], [1, 0.5], [0.5, 0]])).levels
    ]
    assert report_of(done)["levels"][0]["natural"]["entropy"] == pytest.approx(expected[0], abs=1e-9)


def test_trees_numbers_and_picture(call: Call, files: np.ndarray, tmp_path: Path) -> None:
    tree = tnrank.correlation_tree(files)
    options = ("--samples", 20, "--seed", 3, "--blocks", 5, "--scale", 0.4, "--json", "--plot", "p.png")
    done = call("entanglement", "x.npy", "--tree", "correlation", *options)
    expected = tnrank.entanglement_report(files, tree=tree, samples=20, seed=3, blocks=5, scale=0.4)
    assert report_of(done) == json.loads(json.dumps(expected.to_dict()))
    assert "entropies by level drawn in p.png" in done.stderr
    assert (tmp_path / "p.png").read_bytes()[1:4] == b"PNG"
    assert "p.png exists already" in call("entanglement", "x.npy", "--plot", "p.png").stderr
    linear = report_of(call("entanglement", "x.csv", "--tree", "linear", "--no-twins", "--json"))
    assert linear["tree"] == tnrank.DimensionTree.linear(64).text
    assert "leave --no-twins out" in call("entanglement", "x.npy", "--no-twins").stdout
    np.save(tmp_path / "shuffled.npy", files.reshape(30, 64)[:, np.random.default_rng(1).permutation(64)])
    assert "--tree correlation may find" in call("entanglement", "shuffled.npy").stdout
    assert "--tree correlation may find" in report_of(call("entanglement", "shuffled.npy", "--json"))["judgment"]
    every = report_of(call("entanglement", "x.npy", "--samples", 31, "--json"))
    assert every == report_of(call("entanglement", "x.npy", "--json"))


@pytest.mark.parametrize(
    ("change", "args", "said"),
    [
        ("16 * x", (), "to 16, needed [0, 1]: give --rescale, which scales all pixels by their one range"),
        ("x.reshape(-1)", (), "x.npy has shape (1920,), needed (M, N), one row a sample"),
        ("x[:, None]", (), "one gray image a sample: save X.reshape(30, 8, 8) instead"),
        ("numpy.where(x < 0.1, numpy.nan, x)", (), "entries of x.npy are NaN or infinite, the first is feature"),
        ("numpy.where(x < 0.1, numpy.nan, x)", (), "or fill them in by tnrank complete x.npy --out FULL.npy"),
        ("x + 0j", (), "x.npy has dtype complex128, needed real numbers in [0, 1]"),
        ("x[:1]", (), "x.npy has 1 sample, needed 2 or more"),
        ("x", ("--grid", "4x16"), "images of shape (8, 8), got --grid (4, 16): leave --grid out"),
        ("x", ("--grid", "8*8"), "got --grid 8*8, needed height x width such as 28x28"),
        ("x.reshape(30, 64)", ("--grid", "7x9"), "got --grid 7 x 9 for 64 features"),
        ("x", ("--tree", "((0,1),2)"), "the tree has 3 modes, and x.npy has 64 features"),
        ("x", ("--tree", "oak"), "a tree is correlation, balanced, linear, star, or nested modes"),
        ("x", ("--tree", "linear", "--grid", "8x8"), "only --tree correlation makes use of a grid"),
        ("x", ("--samples", "1"), "--samples is a whole number from 2 on, got 1"),
        ("x", ("--scale", "0.7"), "--scale is a finite number above 0 and of at most 0.5"),
        ("x", ("--blocks", "0"), "--blocks is a whole number from 1"),
        ("x", ("--seed", "-1"), "--seed is a whole number from 0"),
        ("x[:20]", ("--labels", "y.csv"), "y.csv has shape (30,), needed (20,), one label a sample"),
        ("x", ("--labels", "y.csv"), "y.csv has labels of 3 classes (0, 1, 2), needed two: give --positive 0, one"),
        ("x", ("--labels", "x.npy"), "the labels in x.npy have shape (30, 8, 8), needed one label a sample"),
        ("x", ("--labels", "y.csv", "--positive", "7"), "no label in y.csv is 7"),
        ("x", ("--positive", "7"), "give --labels FILE"),
        ("x", ("--labels", "z.npy"), "no file z.npy"),
        ("x", ("--plot", "p.jpg"), "needed .png or .svg or .pdf"),
    ],
)
def test_bad_input_is_one_line(
    call: Call, files: np.ndarray, tmp_path: Path, change: str, args: tuple[str, ...], said: str
) -> None:
    x = eval(change, {"x": files, "numpy": np})
    np.save(tmp_path / "x.npy", x)
    done = call("entanglement", "x.npy", *args)
    assert done.exit_code == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_one_class(call: Call, files: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "ones.npy", np.ones(30))
    done = call("entanglement", "x.npy", "--labels", "ones.npy")
    assert "ones.npy has labels of one class (1), needed two: leave --labels out" in done.stderr
