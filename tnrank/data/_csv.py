"""Matrices from delimited text."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import shown
from tnrank._explained import explained
from tnrank._reading import decimal_number, reading
from tnrank._warn import warn
from tnrank.data._csv_rows import Row, delimiter_of, lines_of, rows_of

NDArray = np.ndarray[Any, Any]

_MISSING = frozenset({"", "na", "n/a", "null", "none"})
_LONGEST = 10_000
"""Characters of one field; the longest float64 in full has 1,078."""
_LISTED = 12
"""Names of columns that an error message repeats."""


@dataclass(frozen=True)
class CsvFormat:
    """How numbers are written in a delimited text file.

    Attributes:
        delimiter: one character between fields; ``" "`` is any run of blanks. ``None`` finds a tab, a semicolon or a
            comma.
        decimal: ``"."`` or ``","``.
        thousands: the character between groups of three digits, such as ``","``; ``None`` allows none.
        header: whether the first row holds names and is left out; ``None`` leaves out one of words only.
        index_column: whether the first column holds names or numbers of rows and is left out; ``None`` leaves it out,
            with a warning, if it has no name in the header and counts the rows or holds words.

    Raises:
        TypeError: if an attribute is of another type.
        ValueError: if one character has two meanings.

    Example:
        >>> import pathlib, tempfile
        >>> from tnrank.data import CsvFormat, read_array
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "europe.csv"
        >>> _ = path.write_text("1.234,5;2\\n3;4,25\\n")
        >>> read_array(path, csv=CsvFormat(decimal=",", thousands="."))
        array([[1234.5 ,    2.  ],
               [   3.  ,    4.25]])
    """

    delimiter: str | None = None
    decimal: str = "."
    thousands: str | None = None
    header: bool | None = None
    index_column: bool | None = None

    @explained
    def __post_init__(self) -> None:
        for name in ("delimiter", "decimal", "thousands"):
            value = getattr(self, name)
            if value is None and name != "decimal":
                continue
            if not isinstance(value, str):
                raise TypeError(f"{name} is one character, got {shown(value)}")
            if len(value) != 1 or value.isalnum() or value in '+-"\r\n\0#':
                raise ValueError(f"{name} is one character that is no part of a number or quote, got {shown(value)}")
        if self.decimal not in ".,":
            raise ValueError(f"decimal is '.' or ',', got {shown(self.decimal)}")
        for name in ("header", "index_column"):
            if not isinstance(getattr(self, name), (bool, type(None))):
                raise TypeError(f"{name} is True, False or None, got {shown(getattr(self, name))}")
        if self.decimal == self.thousands:
            raise ValueError(
                f"decimal={self.decimal!r} and thousands={self.thousands!r} give one character two meanings"
            )


def read_csv(path: Path, form: CsvFormat | None = None) -> NDArray:
    """The matrix in a delimited text file; empty fields are NaN, one header row is left out.

    UTF-8, or UTF-16 and UTF-32 with their marks. Blank lines and lines that start with ``#`` are skipped.

    Raises:
        ValueError: if a field is not a number, the rows differ in length, or there is none; the line is named.
    """
    return _read(path, form, None)[0]


def split_labels(path: Path, name: str, form: CsvFormat | None = None) -> tuple[NDArray, NDArray]:
    """The matrix in a delimited text file without one of its columns, and that column: numbers, or else words.

    Raises:
        ValueError: as :func:`read_csv`, or if there is no header, not one column of that name, or a label is missing.
    """
    form = CsvFormat() if form is None else form
    table, entries = _read(path, form, name)
    found = [_number(entry, form) for entry in entries]
    missing = sum(value is not None and math.isnan(value) for value in found)
    if missing:
        raise ValueError(
            f"{path} has {missing:,} rows without a label in the column {shown(name)}, needed one a row: fill them in "
            "or leave those rows out"
        )
    numbers = [value for value in found if value is not None]
    return table, np.array(numbers if len(numbers) == len(entries) else [entry.strip() for entry in entries])


def _read(path: Path, form: CsvFormat | None, name: str | None) -> tuple[NDArray, list[str]]:
    """The matrix, and the entries of the column ``name``, which is no part of it."""
    form = CsvFormat() if form is None else form
    with reading(path) as file:
        kept = lines_of(file)
        delimiter = form.delimiter or delimiter_of([line for _, line in kept[:2]], form)
        rows = rows_of(file, kept, delimiter)
        header, rows = _header(next(rows), rows, form)
        first = next(rows, None)
        if first is None:
            raise ValueError(f"{file} has no rows of numbers; line {kept[0][0]} reads {kept[0][1][:60]!r}")
        width = len(first.fields)
        if header and len(header.fields) not in ((width, width - 1) if form.index_column is not False else (width,)):
            raise ValueError(
                f"{file}, line {header.line}: the header has {len(header.fields)} names, line {first.line} has {width} "
                f"fields (delimiter {delimiter!r})"
            )
        apart = form.index_column or (form.index_column is None and _nameless(header, width))
        if apart and width < 2:
            raise ValueError(f"{file} has one column, and index_column=True leaves none: needed two or more")
        label = None if name is None else _column(file, header, width, name)
        apart = apart and label != 0
        kept_columns = [k for k in range(1 if apart else 0, width) if k != label]
        if not kept_columns:
            raise ValueError(f"{file} has the column {shown(name)} and no others: needed columns of numbers, too")
        numbers, names, labels = array("d"), [], []
        for row in chain([first], rows):
            if len(row.fields) != width:
                raise ValueError(
                    f"{file}, line {row.line}: got {len(row.fields)} fields, needed {width} as in line {first.line} "
                    f"(delimiter {delimiter!r})"
                )
            if apart:
                names.append(row.fields[0])
            if label is not None:
                labels.append(row.fields[label])
            for column in kept_columns:
                value = _number(row.fields[column], form)
                if value is None:
                    told = _explain(row.fields[column], delimiter, form, row is first and header is None)
                    raise ValueError(f"{file}, line {row.line}, field {column + 1}: {told}")
                numbers.append(value)
        table = np.frombuffer(numbers, np.float64).reshape(-1, len(kept_columns)).copy()
        if not apart or form.index_column:
            return table, labels
        kept_names = _index_as_data(file, header, names, form)
        return table if kept_names is None else np.column_stack([kept_names, table]), labels


def _column(file: Path, header: Row | None, width: int, name: str) -> int:
    """Which field of a row has the name in the header."""
    if header is None:
        raise ValueError(
            f"{file} has no header row, needed one that names the column {shown(name)}: give header=True if the first "
            "row holds names, or the labels in a file of their own"
        )
    names = [field.strip() for field in header.fields]
    if names.count(name.strip()) != 1:
        known = [field for field in names if field]
        known = get_close_matches(name, known) or known
        listed = ", ".join(known[:_LISTED]) + (", .." if len(known) > _LISTED else "")
        raise ValueError(
            f"{file} has {names.count(name.strip())} columns named {shown(name)}, needed one: its header has {listed}"
        )
    return names.index(name.strip()) + width - len(names)


def _header(top: Row, rows: Iterator[Row], form: CsvFormat) -> tuple[Row | None, Iterator[Row]]:
    """The header, if the top row is one, and the rows that follow."""
    second = next(rows, None)
    rest = rows if second is None else chain([second], rows)
    is_header = form.header
    if is_header is None:
        is_header = _is_header(top.fields, form) or _is_numbered(top.fields, second)
    return (top, rest) if is_header else (None, chain([top], rest))


def _is_numbered(entries: list[str], second: Row | None) -> bool:
    """Whether columns and rows are numbered from 0 on, as pandas does where they have no names."""
    numbered = len(entries) > 1 and entries == ["", *map(str, range(len(entries) - 1))]
    return numbered and second is not None and second.fields[0] == "0"


def _is_header(entries: list[str], form: CsvFormat) -> bool:
    """Whether all fields that are not empty are words."""
    named = [entry for entry in entries if entry.strip()]
    return bool(named) and all(_number(e, form) is None and any(map(str.isalpha, e)) for e in named)


def _nameless(header: Row | None, width: int) -> bool:
    """Whether the header names all columns but the first, as pandas and R write it."""
    if header is None or width < 2:
        return False
    return len(header.fields) == width - 1 or not header.fields[0].strip()


def _index_as_data(file: Path, header: Row | None, names: list[str], form: CsvFormat) -> list[float] | None:
    """A first column without a name, if it is data: not if it holds words or counts the rows. Either is said."""
    values = [_number(entry, form) for entry in names]
    numbers = [value for value in values if value is not None]
    words = len(numbers) < len(names)
    told = f"{file}: the first column has no name in the header"
    starts = (0, 1) if len(names) > 1 else (0,)
    if words or any(numbers == [float(k + start) for k in range(len(names))] for start in starts):
        what = "holds words" if words else "counts the rows"
        warn(f"{told} and {what}: it is left out, index_column=False keeps it")
        return None
    if header is not None and header.fields[0].strip():
        raise ValueError(
            f"{file}, line {header.line}: the header has one name less than line {header.line + 1} has fields: give "
            "index_column=True to leave the first column out, or correct the header"
        )
    if len(names) > 1:
        warn(f"{told}: it is read as data, index_column=True leaves it out")
    return numbers


def _number(entry: str, form: CsvFormat) -> float | None:
    entry = entry.strip()
    if entry.lower() in _MISSING:
        return math.nan
    if len(entry) > _LONGEST:
        return None
    if form.thousands is not None and form.thousands in entry:
        whole, _, fraction = entry.partition(form.decimal)
        mark = re.escape(form.thousands)
        if re.fullmatch(rf"[+-]?[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+", whole) is None:
            return None
        entry = whole.replace(form.thousands, "") + (form.decimal + fraction if form.decimal in entry else "")
    if form.decimal != ".":
        if "." in entry:
            return None
        entry = entry.replace(form.decimal, ".")
    return decimal_number(entry)


def _explain(entry: str, delimiter: str, form: CsvFormat, first: bool) -> str:
    told = f"{shown(entry.strip())} is not a number"
    if form.decimal == "." and delimiter != "," and form.thousands != "," and "," in entry:
        return f"{told}; write decimal points, not commas, or give decimal=','"
    if form.thousands is None and re.fullmatch(r"[+-]?\d{1,3}(?:[.,_' ]\d{3})+(?:[.,]\d*)?", entry.strip()):
        mark = re.sub(r"[\d+-]", "", entry.strip())[0]
        return f"{told}; if that separates thousands, give thousands={mark!r}"
    if re.fullmatch(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?", entry.strip(), re.ASCII) and decimal_number(entry) is None:
        return f"{told} that float64 can hold"
    if len(entry.split()) > 1 and delimiter != " ":
        return f"{told}; separate fields by a comma, a semicolon or a tab, or give delimiter=' '"
    return f"{told}; leave missing entries empty, and give a header row names only{', or header=True' * first}"
