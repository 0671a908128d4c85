"""Matrices from delimited text."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np

_DELIMITERS = ("\t", ";", ",")  # a comma next to one of the others is a decimal comma
_MISSING = frozenset({"", "na", "n/a", "null", "none"})


def read_csv(path: Path) -> np.ndarray[Any, Any]:
    """The matrix in a delimited text file; empty fields are NaN, one header row is left out.

    The delimiter is a tab, a semicolon or a comma, whichever the first line has. Blank lines and lines that
    start with ``#`` are skipped. A first row of words is a header.

    Raises:
        ValueError: if a field is not a number, the rows differ in length, or there is none; the line is
            named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = file.read().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not kept:
        raise ValueError(f"{path} has no rows")
    delimiter = next((d for d in _DELIMITERS if d in kept[0][1]), ",")
    fields = list(csv.reader((line for _, line in kept), delimiter=delimiter, skipinitialspace=True))
    if len(fields) != len(kept):
        raise ValueError(f"{path} has quoted fields over several lines, needed numbers only")
    header = _is_header(fields[0])
    first = 1 if header else 0
    if first == len(fields):
        raise ValueError(f"{path} has no rows of numbers; line {kept[0][0]} reads {kept[0][1][:60]!r}")
    width = len(fields[first])
    out = np.empty((len(fields) - first, width))
    for row, (entries, (number, _)) in enumerate(zip(fields[first:], kept[first:], strict=True)):
        if len(entries) != width:
            raise ValueError(
                f"{path}, line {number}: got {len(entries)} fields, needed {width} as in line "
                f"{kept[first][0]} (delimiter {delimiter!r})"
            )
        for column, entry in enumerate(entries):
            value = _number(entry)
            if value is None:
                raise ValueError(f"{path}, line {number}, field {column + 1}: {_explain(entry, delimiter)}")
            out[row, column] = value
    return out


def _is_header(entries: list[str]) -> bool:
    """Whether all fields that are not empty are words."""
    named = [entry for entry in entries if entry.strip()]
    return bool(named) and all(_number(e) is None and any(map(str.isalpha, e)) for e in named)


def _number(entry: str) -> float | None:
    entry = entry.strip()
    if entry.lower() in _MISSING:
        return math.nan
    try:
        return float(entry)
    except ValueError:
        return None


def _explain(entry: str, delimiter: str) -> str:
    shown = f"{entry[:40]!r} is not a number"
    if delimiter != "," and "," in entry:
        return f"{shown}; write decimal points, not commas"
    if len(entry.split()) > 1:
        return f"{shown}; separate fields by a comma, a semicolon or a tab"
    return f"{shown}; leave missing entries empty, and give a header row names only"
