"""Bounds of a tensor rank in words: the head line and the table that results and certificates share."""

from __future__ import annotations

from collections.abc import Sequence

from tnrank.ranks._certified._check import CheckedBound


def headline(
    lower: int, upper: int, field: str, lower_proven: bool, upper_proof: str, residual: float, border: str = ""
) -> str:
    """The rank, and for each bound whether it is a proof; ``border`` is the border rank in words."""
    over = "the reals" if field == "real" else "the complex numbers"
    start = f"tensor rank {lower}" + (f" .. {upper}" if upper != lower else "") + f" over {over}"
    border = border and f"; border rank {border}"
    if lower_proven and upper_proof:
        return f"{start}, proven{border}"
    if not lower_proven and not upper_proof:
        return f"{start}, to rounding{border}: no bound is a proof, the witness has residual {residual:.1e}"
    if lower_proven:
        above = f"no rational witness was found, the upper bound is numerical (residual {residual:.1e})"
        return f"{start}{border}: lower bound proven; {above}"
    return f"{start}{border}: upper bound proven, lower bound numerical"


def bound_lines(bounds: Sequence[CheckedBound]) -> list[str]:
    """The table of bounds."""
    rows = [("bound", "of", "value", "margin", "status", "reference")]
    for b in bounds:
        margin = "" if b.margin is None else f"{b.margin:.1e}"
        rows.append((b.name, b.of, f"{'>=' if b.side == 'lower' else '<='} {b.value}", margin, b.status, b.reference))
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
