"""Reports as tables: facts in lines, then aligned rows, as plain text, for terminals and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Layout:
    """The words of a report; the same in every form.

    Attributes:
        title: above everything.
        facts: pairs of a name and a value, one a line.
        columns: the head of the table; the last column may be broken by terminals.
        rows: one cell a column.
        note: under the table, none if empty.
        to_the_right: columns of numbers.
        bold: the column that stands out in terminals.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    to_the_right: Sequence[str] = ()
    bold: str = ""

    def text(self) -> str:
        """Aligned lines."""
        width = 2 + max((len(name) for name, _ in self.facts), default=0)
        lines = [self.title, *(f"{name:<{width}}{value}" for name, value in self.facts), ""]
        widths = [max(len(row[k]) for row in [self.columns, *self.rows]) for k in range(len(self.columns))]
        for row in [self.columns, *self.rows]:
            cells = [
                cell.rjust(size) if name in self.to_the_right else cell.ljust(size)
                for name, cell, size in zip(self.columns, row, widths, strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *([self.note] if self.note else [])])

    def rich(self) -> Any:
        """The same for terminals; needs rich, which asks for it."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in self.facts:
            facts.add_row(Text(name, "dim"), Text(value))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in self.columns:
            side: Any = "right" if name in self.to_the_right else "left"
            table.add_column(name, justify=side, no_wrap=name != self.columns[-1])
        for row in self.rows:
            cells = zip(self.columns, row, strict=True)
            table.add_row(*(Text(cell, "bold" if name == self.bold else "") for name, cell in cells))
        note = [Text(self.note, "dim")] if self.note else []
        return Group(Text(self.title, "bold"), facts, Text(), table, *note)

    def html(self) -> str:
        """The same for notebooks."""
        facts = "".join(
            f"<tr><th style='text-align:left'>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in self.facts
        )
        head = "".join(f"<th style='text-align:left'>{escape(name)}</th>" for name in self.columns)
        body = ""
        for name, *cells in self.rows:
            first = f"<td style='text-align:left;white-space:pre;font-family:monospace'>{escape(name)}</td>"
            rest = "".join(
                f"<td style='text-align:{'right' if column in self.to_the_right else 'left'}'>{escape(cell)}</td>"
                for column, cell in zip(self.columns[1:], cells, strict=True)
            )
            body += f"<tr>{first}{rest}</tr>"
        return (
            f"<div><b>{escape(self.title)}</b><table>{facts}</table>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"{f'<p>{escape(self.note)}</p>' if self.note else ''}</div>"
        )
