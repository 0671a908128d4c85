"""Component norms and reconstruction error against iterations, one column an initial scale and one row a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import lists, thing, things
from tnrank.plots._dynamics import Panel, _draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Staircase:
    """One run of :func:`tensor_dynamics`.

    Attributes:
        label: of its error line, such as the loss.
        panel: its component norms.
        errors: ``(K,)`` relative reconstruction errors at the steps of the panel.
    """

    label: str
    panel: Panel
    errors: Any


@explained
def tensor_dynamics(rows: Sequence[Sequence[Staircase]]) -> Figure:
    """Component norms, one row a loss and one column an initial scale, above the errors of each column.

    Args:
        rows: of equal length.

    Raises:
        ValueError: for no rows or rows of unequal length.

    Source: the layout of Razin, Maman & Cohen 2021, Fig. 1.

    Example:
        >>> from tnrank.plots import Panel, Staircase, tensor_dynamics
        >>> panel = Panel("std 1e-2", [0, 1, 2], [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]])
        >>> len(tensor_dynamics([[Staircase("l2", panel, [1.0, 0.4, 0.0])]]).axes)
        2
    """
    rows = [things(row, Staircase, "runs", 0) for row in lists(rows, "rows")]
    for run in (run for row in rows for run in row):
        thing(run.panel, Panel, "the panel of a run")
    columns = len(rows[0]) if rows else 0
    if not columns or any(len(row) != columns for row in rows):
        raise ValueError(f"got rows of {[len(row) for row in rows]} runs: needed rows of equal length, from 1 on")
    figure = _style.new_figure(4.1 * columns, 2.7 * (len(rows) + 1))
    panels = figure.subplots(len(rows) + 1, columns, squeeze=False)
    for k, row in enumerate(rows):
        for axes, run in zip(panels[k], row, strict=True):
            _draw(axes, run.panel, 0.01)
    for column, axes in enumerate(panels[-1]):
        _errors(axes, [row[column] for row in rows], legend=not column and len(rows) > 1)
    return figure


def _errors(axes: Axes, runs: Sequence[Staircase], legend: bool) -> None:
    for k, run in enumerate(runs):
        steps, errors = np.asarray(run.panel.steps), np.asarray(run.errors)
        color = _style.INK if len(runs) == 1 else _style.COLORS[k % len(_style.COLORS)]
        axes.plot(steps, errors, color=color, linewidth=1.5, label=run.label, zorder=3)
    _style.dress(axes, "Reconstruction error", "iterations", "relative error")
    axes.set_ylim(0, max(1.06 * max(float(np.max(run.errors)) for run in runs), 1e-12))
    axes.set_xlim(0, max(1, max(int(run.panel.steps[-1]) for run in runs)))
    _style.thousands(axes.xaxis)
    if legend:
        axes.legend(fontsize=8, frameon=False, labelcolor=_style.INK)
