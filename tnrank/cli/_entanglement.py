"""``tnrank entanglement``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from tnrank._check import shown
from tnrank.cli import _console, _options
from tnrank.cli._words import in_options


def entanglement(
    file: Annotated[
        Path,
        typer.Argument(
            help="Samples as .npy, .npz or .csv, one a row or gray images; or a folder of gray images of one size.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|KEY",
            help="Labels of two classes: a file, or an array of the same .npz file.",
            show_default=False,
        ),
    ] = None,
    positive: Annotated[
        float | None, typer.Option(help="The label of one class; all others are the other class.", show_default=False)
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Pixels of a row, as 28x28; images have their own.", show_default=False)
    ] = None,
    tree: Annotated[
        str | None,
        typer.Option(
            help="correlation (chosen from all samples), balanced, linear, or nested modes; else that of the grid.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Samples to draw; all, or 500 of more, if not given.", show_default=False)
    ] = None,
    scale: Annotated[float, typer.Option(help="t of the features cos(pi t x), sin(pi t x), up to 0.5.")] = 0.5,
    twins: Annotated[bool, typer.Option("--twins/--no-twins", help="Compare with shuffled data and noise.")] = True,
    blocks: Annotated[int, typer.Option(help="The most nodes of a level that are measured.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the drawn samples, nodes and twins.")] = 0,
    key: _options.Key = None,
    delimiter: _options.Delimiter = None,
    decimal: _options.Decimal = ".",
    thousands: _options.Thousands = None,
    header: _options.Header = None,
    index_column: _options.IndexColumn = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw entropies by level into a .png, .svg or .pdf.")] = None,
    overwrite: _options.Overwrite = False,
) -> None:
    """Report whether data are arranged as a convolutional network needs them: their entanglement, level by level."""
    if plot is not None:
        _console.check_new_file(plot, (".png", ".svg", ".pdf"), overwrite)
    sides = None if grid is None else _sides(grid)
    X = _samples(file, key, _options.csv_fields(delimiter, decimal, thousands, header, index_column))
    y = None if labels is None else _labels(file, labels, positive)
    if labels is None and positive is not None:
        raise ValueError(f"--positive {positive:g} is a label, and there are none: give --labels FILE")
    import tnrank

    with _console.progress_line("measuring entanglement"), _named(file, labels):
        nested = _tree(tree, X, sides)
        options: dict[str, Any] = {"scale": scale, "twins": twins, "blocks": blocks, "seed": seed, "samples": samples}
        where = {"grid": sides} if nested is None else {"tree": nested}
        report = tnrank.entanglement_report(X, y, **where, **options)
    if json:
        from json import dumps

        print(dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        print(in_options(str(report)))
    if plot is not None:
        from tnrank._files import write_atomically
        from tnrank.plots import entanglement as draw
        from tnrank.plots import image_bytes

        write_atomically(plot, image_bytes(draw(report), plot))
        _console.say(f"entropies by level drawn in {plot}", console=_console.errors())


@contextmanager
def _named(file: Path, labels: str | None) -> Iterator[None]:
    """Errors name the files in place of arguments."""
    try:
        yield
    except ValueError as error:
        text = re.sub(
            r"^X has|(?<=entries of )X\b|(?<=and )X(?= has)", lambda m: m[0].replace("X", str(file)), str(error)
        )
        raise ValueError(re.sub(r"^y has", lambda _: f"{labels} has", text)) from None


def _samples(file: Path, key: str | None, csv: dict[str, Any] | None) -> Any:
    """The samples as floating-point numbers; what is stored as bytes is divided by 255."""
    import numpy as np

    from tnrank.data import CsvFormat, read_array
    from tnrank.data._images import SUFFIXES

    if file.is_dir():
        if key is not None or csv is not None:
            raise ValueError(f"{file} is a folder of images: --key and the options of .csv files have no meaning there")
        return _images(file)
    if file.suffix.lower() in SUFFIXES:
        raise ValueError(f"{file} is one image, needed samples: give the folder that the images are in")
    X = read_array(file, key, csv=None if csv is None else CsvFormat(**csv))
    if X.ndim not in (2, 3):
        raise ValueError(f"{file} has shape {X.shape}, needed (samples, features) or (samples, height, width)")
    if X.dtype == np.uint8:
        _console.say(f"{file} has bytes: they are divided by 255", console=_console.errors())
        return X / 255
    return X


def _images(folder: Path) -> Any:
    """All images of a folder in the order of their names, ``(M, H, W)``."""
    import numpy as np

    from tnrank._memory import check_fits
    from tnrank.data import read_array
    from tnrank.data._images import SUFFIXES

    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if len(files) < 2:
        raise ValueError(f"{folder} holds {len(files)} images ({' '.join(SUFFIXES)}), needed 2 or more")
    images: list[Any] = []
    for path in files:
        image = read_array(path)
        if image.ndim != 2:
            raise ValueError(
                f"{path} is in color, needed gray: save it by PIL.Image.open(path).convert('L').save(path)"
            )
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"{path} has {image.shape[0]} x {image.shape[1]} pixels, {files[0].name} has "
                f"{images[0].shape[0]} x {images[0].shape[1]}: needed images of one size"
            )
        if not images:
            check_fits(2 * len(files) * image.size, f"{len(files):,} images in {folder}", "move some elsewhere")
        images.append(image)
    return np.stack(images)


def _labels(file: Path, labels: str, positive: float | None) -> Any:
    """The labels, ``(M,)``: an array of the same .npz file if it has one of that name, else a file."""
    from tnrank.data import read_array

    if file.suffix.lower() == ".npz" and Path(labels).suffix.lower() not in (".npy", ".npz", ".csv"):
        y = read_array(file, labels)
    else:
        y = read_array(labels)
    if y.ndim == 2 and 1 in y.shape:
        y = y.reshape(-1)
    if y.ndim != 1:
        raise ValueError(f"the labels in {labels} have shape {y.shape}, needed one label a sample, in a row or column")
    if positive is None:
        return y
    if not isfinite(positive) or not (y == positive).any():
        raise ValueError(f"no label in {labels} is {positive:g}: --positive is the label of a class")
    return y == positive


def _tree(text: str | None, X: Any, sides: tuple[int, ...] | None) -> Any:
    if text is None:
        return None
    if text == "correlation":
        import tnrank

        return tnrank.correlation_tree(X, grid=sides)
    if sides is not None:
        raise ValueError(f"got --grid and --tree {shown(text)}: only --tree correlation makes use of a grid")
    from tnrank.cli._ranks import read_tree

    return read_tree(text, int(X[0].size))


def _sides(text: str) -> tuple[int, ...]:
    parts = text.strip().lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ValueError(f"got --grid {shown(text)[1:-1]}, needed height x width such as 28x28")
    return tuple(int(part) for part in parts)
