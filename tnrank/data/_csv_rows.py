"""Rows of fields from delimited text."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tnrank._reading import read_bytes

if TYPE_CHECKING:
    from tnrank.data._csv import CsvFormat

_DELIMITERS = ("\t", ";", ",")  # a comma next to one of the others is a decimal comma
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SHARE = 12
"""Bytes that the text and the numbers of a file take for one of its own."""
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


class Row(NamedTuple):
    line: int
    fields: list[str]


def lines_of(file: Path) -> list[tuple[int, str]]:
    """The numbered lines that are neither blank nor comments."""
    raw = read_bytes(file, _SHARE)
    encoding = next((name for mark, name in _ENCODINGS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        told = encoding.removesuffix("-sig").upper()
        raise ValueError(f"{file} is not {told} text ({error.reason} at byte {error.start})") from error
    if "\0" in text:
        raise ValueError(f"{file} is no text, it has NUL characters: if it is UTF-16 without a mark, save it as UTF-8")
    lines = enumerate(io.StringIO(text, newline=None), 1)
    kept = [(number, line.rstrip("\n")) for number, line in lines if line.strip() and not line.startswith("#")]
    if not kept:
        raise ValueError(f"{file} has no rows")
    return kept


def delimiter_of(lines: list[str], form: CsvFormat) -> str:
    """The delimiter of the last line, the first of which may be a header; what is in quotes is none."""
    for line in reversed(lines):
        bare = _QUOTED.sub("", line)
        for delimiter in _DELIMITERS:
            # Where numbers have commas in them, only quotes tell those from delimiters.
            if delimiter in bare and (bare != line or delimiter not in (form.decimal, form.thousands)):
                return delimiter
    return ";" if "," in (form.decimal, form.thousands) else ","


def rows_of(file: Path, kept: list[tuple[int, str]], delimiter: str) -> Iterator[Row]:
    for number, line in kept:
        if '"' not in line:
            yield Row(number, line.split() if delimiter == " " else line.split(delimiter))
            continue
        text = " ".join(line.split()) if delimiter == " " else line
        try:
            (fields,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
        except (csv.Error, ValueError) as error:
            told = "quoted fields over several lines" if "unexpected end" in str(error) else f"wrong quotes ({error})"
            raise ValueError(f"{file}, line {number}: it has {told}, needed numbers only") from None
        yield Row(number, fields)
