"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tnrank._check import shown

Backend = Annotated[
    str | None,
    typer.Option("--backend", help="numpy, jax or torch; else what suits, of those installed."),
]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 or float64 (on JAX this turns x64 on).")]
OwnDtype = Annotated[
    str | None, typer.Option("--dtype", help="float32 or float64 (on JAX this turns x64 on); else the recipe's own.")
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", help="quick (under a minute) or paper (the published settings); quick if not given."),
]
Steps = Annotated[int | None, typer.Option("--steps", help="The most steps of each model; else the preset's.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field of the recipe; repeatable."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.toml", help="Fields of the recipe; preset, backend, dtype. Flags win."),
]
Threads = Annotated[
    int,
    typer.Option("--threads", help="Threads of NumPy and PyTorch; 0: all cores. Small arrays are fastest on one."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder that the run folder is written into.")]
Key = Annotated[str | None, typer.Option("--key", help="Name of the array in an .npz file.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another process that is at work in the same folder, and then go on.")
]
Target = Annotated[
    Path | None,
    typer.Option("--target", metavar="FILE", help="A tensor of your own in place of the recipe's target."),
]
Module = Annotated[
    str | None,
    typer.Option("--module", metavar="FILE.py", help="A file (or module) with recipes of your own."),
]
Figure = Annotated[bool, typer.Option("--figure/--no-figure", help="Whether to draw, for which matplotlib is needed.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output file that exists.")]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", help="Of a .csv: a character, or tab or space; else found.", show_default=False),
]
Decimal = Annotated[str, typer.Option("--decimal", help="Decimal sign of a .csv: . or ,")]
Thousands = Annotated[
    str | None,
    typer.Option("--thousands", help="What groups digits by three in a .csv, such as ,", show_default=False),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Whether the first row of a .csv holds names; else found.", show_default=False
    ),
]
IndexColumn = Annotated[
    bool | None,
    typer.Option(
        "--index-column/--no-index-column",
        help="Whether the first column of a .csv holds names or numbers of rows; else found.",
        show_default=False,
    ),
]
_CHARACTERS = {"tab": "\t", "\\t": "\t", "space": " "}


def csv_fields(
    delimiter: str | None, decimal: str, thousands: str | None, header: bool | None, index_column: bool | None
) -> dict[str, Any] | None:
    """What was said of a .csv file as fields of ``CsvFormat``; ``None`` if that is nothing."""
    characters = {"delimiter": delimiter, "thousands": thousands}
    fields: dict[str, Any] = {k: _CHARACTERS.get(v, v) for k, v in characters.items() if v is not None}
    fields |= {"decimal": decimal} if decimal != "." else {}
    return {
        **fields,
        **{k: v for k, v in (("header", header), ("index_column", index_column)) if v is not None},
    } or None


def whole(value: int | None, name: str, least: int, most: int, why: str) -> None:
    """Refuse a number that is out of range or absurd; ``why`` is the reason of the upper limit.

    Raises:
        ValueError: with the limit.
    """
    if value is not None and value < least:
        raise ValueError(f"{name} is a whole number from {least} on, got {shown(value)}")
    if value is not None and value > most:
        raise ValueError(f"{name} is at most {most:,}, got {shown(value)}: {why}")
