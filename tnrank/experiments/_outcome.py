"""What a recipe hands back: numbers, tables, checks and a figure, all of them plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


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


@dataclass(frozen=True)
class Outcome:
    """The end of a recipe.

    Attributes:
        summary: goes into ``summary.json``.
        tables: measured beside published numbers.
        checks: the verdict is that all of them hold.
        figure: a matplotlib figure, or ``None``.
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
