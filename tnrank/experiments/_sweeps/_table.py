"""The table of a sweep: one row a cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from numbers import Real
from pathlib import Path
from typing import Any

from tnrank._check import shown
from tnrank._files import write_atomically
from tnrank.experiments._sweeps._plan import Cell, told_value

KINDS = ("csv", "parquet")
_LONGEST = 16
"""Numbers in a list that still get columns of their own."""
_NOT_NUMBERS = ("recipe", "status", "seconds", "verdict", "checks")


def check_kind(kind: str) -> None:
    """Refuse a kind of table that cannot be written, before any work is done.

    Raises:
        ValueError: for an unknown one.
        ImportError: without pyarrow.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"a table is csv or parquet, got {shown(kind)}")
    if kind == "parquet":
        try:
            import_module("pyarrow.parquet")
        except ImportError:
            raise ImportError(
                'Parquet tables need pyarrow, which is not installed: pip install "tnrank[dask]"; or --table csv'
            ) from None


def rows(
    cells: Sequence[Cell], summaries: Mapping[int, Mapping[str, Any]], errors: Mapping[int, str]
) -> list[dict[str, Any]]:
    """One row a cell: its place in the grid, how it ended, and the numbers of its summary."""
    found = []
    for cell in cells:
        point = {k: told_value(v) if isinstance(v, tuple) else v for k, v in cell.point.items()}
        row: dict[str, Any] = {"cell": cell.number, **point, "seed": cell.recipe.seed}
        summary = summaries.get(cell.number)
        if summary is None:
            failed = cell.number in errors
            row |= {"status": "failed" if failed else "missing", "seconds": None, "verdict": None}
            row |= {"failure": errors[cell.number]} if failed else {}
        else:
            row |= {"status": "complete", "seconds": summary.get("seconds"), "verdict": summary.get("verdict")}
            for name, value in summary.items():
                if name not in _NOT_NUMBERS:
                    row |= {k if k not in row else f"summary.{k}": v for k, v in _numbers(name, value)}
        row["folder"] = cell.name
        found.append(row)
    return found


def _numbers(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Real):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _numbers(f"{name}.{key}", one)
    elif isinstance(value, (list, tuple)) and len(value) <= _LONGEST:
        for k, one in enumerate(value):
            yield from _numbers(f"{name}.{k}", one)


def columns(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of all rows: the cell, its numbers, then what went wrong and where it lies."""
    names = dict.fromkeys(name for row in found for name in row)
    last = [name for name in ("failure", "folder") if name in names]
    return [name for name in names if name not in last] + last


def write(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """The table as a whole, by the suffix of ``path``.

    Raises:
        OSError: if it cannot be written; what was there stays.
    """
    names = columns(found)
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
        write_atomically(path, text.getvalue().encode())
        return
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    data = {name: _alike([row.get(name) for row in found]) for name in names}
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(data), buffer)
    write_atomically(path, buffer.getvalue())


def _alike(values: list[Any]) -> list[Any]:
    """A column of one type: whole numbers beside others are floating point, all else that is mixed is text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values] if len(kinds) > 1 else values
