"""What a recipe hands back: numbers, tables, checks and a figure, all of them plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Check:
    """One claim about the data.

    Attributes:
        claim: what the theory or the published experiment says.
        measured: what was found, in words.
        holds: computed from the data.
    """

    claim: str
    measured: str
    holds: bool


@dataclass(frozen=True)
class Table:
    """Rows of cells to print; the cells are text already."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    @classmethod
    def of(cls, title: str, rows: Sequence[Mapping[str, Any]], note: str = "") -> Self:
        """A table of rows ``{column: value}``: whole numbers get their commas, others four digits.

        Example:
            >>> from tnrank.experiments import Table
            >>> Table.of("errors", [{"rank": 2, "error": 0.123456}]).rows
            [('2', '0.1235')]
        """
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return cls(title, columns, [tuple(_cell(row.get(name)) for name in columns) for row in rows], note)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, (str, bool)):
        return "" if value is None else str(value)
    if isinstance(value, (list, tuple)):
        return "  ".join(map(_cell, value))
    number = value.item() if hasattr(value, "item") else value
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"


@dataclass(frozen=True)
class Outcome:
    """The end of a recipe.

    Attributes:
        summary: goes into ``summary.json``.
        tables: measured beside published numbers.
        checks: the verdict is that all of them hold.
        figure: a matplotlib figure, a function that draws one, or ``None``; a function is not called where no figure is
            wanted.
        files: name -> content of further files of the run folder.
    """

    summary: Mapping[str, Any]
    tables: Sequence[Table] = ()
    checks: Sequence[Check] = ()
    figure: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every check holds.

        Example:
            >>> from tnrank.experiments import Check, Outcome
            >>> Outcome({}, checks=[Check("ranks are low", "rank 2", True)]).holds
            True
        """
        return all(check.holds for check in self.checks)
