"""``tnrank entanglement``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from tnrank._check import shown
from tnrank.cli import _console, _options
from tnrank.cli._samples import is_positive, read_samples
from tnrank.cli._words import in_options


def entanglement(
    file: Annotated[
        Path,
        typer.Argument(
            help="Samples as .npy, .npz or .csv, one a row or gray images; or a folder of images of one size.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Labels of two classes: a file, an array of the same .npz file, or a column of the same .csv file.",
            show_default=False,
        ),
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="The label of one class; all others are the other class.", show_default=False)
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Pixels of a row, as 28x28; images have their own.", show_default=False)
    ] = None,
    tree: Annotated[
        str | None,
        typer.Option(
            help="correlation (from all samples), balanced, linear, star, or nested modes; else that of the grid.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="The most samples that are drawn; all, or 500 of more, if not given.", show_default=False),
    ] = None,
    rescale: Annotated[
        bool, typer.Option("--rescale", help="Scale each column of a table, or all pixels of images, to [0, 1] first.")
    ] = False,
    gray: Annotated[
        bool, typer.Option("--gray", help="Make color images gray: 0.299 red + 0.587 green + 0.114 blue.")
    ] = False,
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
    form = _options.csv_fields(delimiter, decimal, thousands, header, index_column)
    if labels is None and positive is not None:
        raise ValueError(f"--positive {positive} is a label, and there are none: give --labels FILE")
    with _named(file, labels):
        X, y = read_samples(file, labels, key, form, gray, rescale)
    if positive is not None:
        y = is_positive(y, positive, str(labels))
    import tnrank

    with _console.progress_line("measuring entanglement"), _named(file, labels):
        nested = _tree(tree, X, sides)
        options: dict[str, Any] = {"scale": scale, "twins": twins, "blocks": blocks, "seed": seed, "samples": samples}
        report = tnrank.entanglement_report(X, y, grid=sides, tree=nested, rescale=rescale, **options)
    report = replace(report, judgment=in_options(report.judgment))
    if json:
        from json import dumps

        print(dumps(report.to_dict(), indent=2, allow_nan=False))
    else:
        print(report)
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
        text = str(error).replace("tnrank.fill_missing(X)", f"tnrank complete {quote(str(file))} --out FULL.npy")
        text = re.sub(r"^(X|images) ha(s|ve)\b|(?<=entries of )X\b|(?<=and )X(?= has)", partial(_with, str(file)), text)
        raise ValueError(re.sub(r"^y has", lambda _: f"{labels} has", text)) from None


def _with(file: str, found: re.Match[str]) -> str:
    return f"{file} has" if found[1] else found[0].replace("X", file)


def _tree(text: str | None, X: Any, sides: tuple[int, ...] | None) -> Any:
    if text is None:
        return None
    if text == "correlation":
        return text
    if sides is not None:
        raise ValueError(f"got --grid and --tree {shown(text)}: only --tree correlation makes use of a grid")
    from tnrank.cli._ranks import read_tree

    return read_tree(text, X[:1].size, ("correlation",))


def _sides(text: str) -> tuple[int, ...]:
    parts = text.strip().lower().split("x")
    if len(parts) not in (1, 2) or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ValueError(f"got --grid {shown(text)[1:-1]}, needed height x width such as 28x28")
    return tuple(int(part) for part in parts)
