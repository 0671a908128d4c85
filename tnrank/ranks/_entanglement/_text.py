"""The entanglement report as plain text."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from tnrank.ranks._entanglement._twins import TWINS

if TYPE_CHECKING:
    from tnrank.ranks._entanglement._report import Entanglement, EntanglementReport, LevelEntanglement

_WIDTH = 100


def table(report: EntanglementReport) -> str:
    """Levels from the root to the leaves, a column a data set, and the judgment."""
    names = ["natural", *(name for name in TWINS if getattr(report.levels[0], name) is not None)]
    rows = [("level", "nodes", "features a node", *names, "")]
    for level in report.levels:
        cells = [_cell(getattr(level, name)) for name in names]
        rows.append((str(level.level), _nodes(level), _features(level), *cells, "saturated" if level.saturated else ""))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    kind = "one weight" if report.classes is None else f"classes of {report.classes[0]:,} and {report.classes[1]:,}"
    lines = [
        f"entanglement of {report.samples:,} samples, {report.arrangement}, {kind}, scale {report.scale:g}",
        f"entropy across a node and the rest in nats, mean ± standard error, at most ln M = {report.limit:.2f}",
        "",
        *("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows),
        "",
        *textwrap.wrap(report.judgment, _WIDTH),
    ]
    return "\n".join(lines)


def _nodes(level: LevelEntanglement) -> str:
    return str(level.count) if level.measured == level.count else f"{level.measured} of {level.count:,}"


def _features(level: LevelEntanglement) -> str:
    fewest, most = level.features
    return str(most) if fewest == most else f"{fewest} to {most}"


def _cell(mean: Entanglement) -> str:
    return f"{mean.entropy:.3f}" + ("        " if math.isnan(mean.error) else f" ± {mean.error:.3f}")
