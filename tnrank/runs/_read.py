"""Reading run folders: how a run ended, what it was, and what it recorded."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import shown
from tnrank._explained import explained
from tnrank._files import check_path
from tnrank._reading import decimal_number, read_bytes, read_json, reading
from tnrank.runs._leftovers import tidy
from tnrank.runs._plain import tuples

PARTIAL = ".partial"
COLUMNS = ("model", "step", "quantity", "node", "index", "value")
_ROW_SHARE = 30
"""Bytes of a row of metrics as a dictionary for one of its line."""
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def summary_of(folder: Path) -> dict[str, Any] | None:
    """``summary.json`` of a complete run; nothing if it is not there."""
    try:
        found: dict[str, Any] = read_json(folder / "summary.json")
    except (OSError, ValueError):
        return None
    return found if found.get("status") == "complete" else None


def partial_of(folder: str | os.PathLike[str]) -> Path:
    """The folder of a run that did not end, given with or without what marks it as such."""
    path = Path(folder)
    marked = path.parent / f".{path.name}{PARTIAL}"
    return marked if not path.exists() and marked.is_dir() else path


@explained
def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """``config.json`` of a run that did not end; lists among its fields are tuples again.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is not the folder of a run, or of one that is complete.
    """
    check_path(folder, "folder", "that of a run, such as 'runs/.NAME.partial'")
    path = partial_of(folder)
    if not path.is_dir() and path.name.startswith(".") and path.name.endswith(PARTIAL):
        path = path.parent / path.name[1:].removesuffix(PARTIAL)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder} to resume")
    if not (path / "config.json").is_file():
        raise ValueError(f"{folder} is not a run folder: it has no config.json")
    if not path.name.endswith(PARTIAL):
        if summary_of(path):
            tidy(path)
        raise ValueError(f"the run in {path} is complete, there is nothing to resume")
    found: dict[str, Any] = read_json(path / "config.json")
    for name, kind, needed in (("recipe", str, "text"), ("fields", dict, "an object")):
        if not isinstance(found.get(name), kind):
            raise ValueError(f"{path / 'config.json'} cannot be read: its {name!r} is not {needed}")
    return {**found, "fields": {key: tuples(value) for key, value in found["fields"].items()}}


@explained
def read_metrics(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of ``metrics.csv`` of a run folder, complete or partial.

    Returns:
        One dictionary a row: model, step, quantity, node, index, value.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged; the line is named. The last line of a run that goes on may be half written, and is
            left out.
    """
    check_path(folder, "folder", "that of a run, such as 'runs/NAME'")
    with reading(Path(folder) / "metrics.csv") as file:
        lines = read_bytes(file, _ROW_SHARE).decode("utf-8").split("\n")
        last = lines.pop()
        if last and not partial_of(folder).name.endswith(PARTIAL):
            raise ValueError(f"{file} is cut short: its last line is {shown(last)}")
        if lines and lines[0].split(",") != list(COLUMNS):
            raise ValueError(f"{file} is not a file of metrics: its first line is {shown(lines[0])}")
        return [_row(file, number, line) for number, line in enumerate(lines[1:], 2)]


def _row(file: Path, number: int, line: str) -> dict[str, Any]:
    (fields,) = csv.reader([line], strict=True) if line else [[]]
    if len(fields) != len(COLUMNS):
        raise ValueError(f"{file}, line {number}: got {len(fields)} fields, needed {len(COLUMNS)}: {','.join(COLUMNS)}")
    row: dict[str, Any] = dict(zip(COLUMNS, fields, strict=True))
    for name in ("step", "index"):
        if _WHOLE.fullmatch(row[name]) is None:
            raise ValueError(f"{file}, line {number}: its {name} is {shown(row[name])}, needed a whole number")
        row[name] = int(row[name])
    value = decimal_number(row["value"])
    if value is None or not np.isfinite(value):
        raise ValueError(f"{file}, line {number}: its value is {shown(row['value'])}, needed a finite number")
    row["value"] = value
    return row
