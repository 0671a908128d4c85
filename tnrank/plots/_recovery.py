"""Reconstruction error and CP rank against the number of observed entries, and error and loss against iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import thing, things

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Recovery:
    """One row of :func:`recovery`.

    Attributes:
        title: above the panels, such as ``"order 3"``.
        counts: ``(K,)`` numbers of observed entries, ascending.
        errors: label -> ``(3, K)``: lower quartile, median and upper quartile; the first label is the baseline.
        ranks: label -> ``(3, K)``, likewise; NaN where nothing was measured.
        true_rank: of the target.
    """

    title: str
    counts: Any
    errors: Mapping[str, Any]
    ranks: Mapping[str, Any]
    true_rank: int


@dataclass(frozen=True)
class Rebound:
    """Training past the lowest loss.

    Attributes:
        title: above the panel.
        steps: ``(K,)``.
        errors: ``(3, K)``: lower quartile, median and upper quartile of the reconstruction error.
        losses: ``(3, K)``, those of the training loss.
    """

    title: str
    steps: Any
    errors: Any
    losses: Any


@explained
def recovery(rows: Sequence[Recovery], rebound: Rebound | None = None) -> Figure:
    """Panels of error and rank, one row an order, and one of a run that goes on past its lowest loss.

    Raises:
        ValueError: for no rows, or values whose shape is not ``(3, K)``.

    Source: the layout of Razin & Cohen 2020, Fig. 3.

    Example:
        >>> import numpy as np
        >>> from tnrank.plots import Recovery, recovery
        >>> level = np.array([[0.9, 0.5], [1.0, 0.6], [1.1, 0.7]])
        >>> figure = recovery([Recovery("order 3", [50, 100], {"zeros": level}, {"zeros": 9 * level}, 1)])
        >>> len(figure.axes)
        2
    """
    rows = things(rows, Recovery, "rows")
    rebound = None if rebound is None else thing(rebound, Rebound, "rebound")
    columns = 2 + (rebound is not None)
    figure = _style.new_figure(4.1 * columns, 3.1 * len(rows))
    grid = figure.add_gridspec(len(rows), columns)
    for k, row in enumerate(rows):
        left, right = figure.add_subplot(grid[k, 0]), figure.add_subplot(grid[k, 1])
        _lines(left, row.counts, row.errors)
        left.set_yscale("log")
        _style.dress(left, f"{row.title}: reconstruction error", "observed entries", "relative error")
        _lines(right, row.counts, row.ranks)
        right.axhline(row.true_rank, color=_style.INK, linewidth=1.0, linestyle=":", zorder=1, label="target")
        right.set_yscale("log", base=2)
        right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        _style.dress(right, f"{row.title}: CP rank", "observed entries", "CP rank")
        for axes in (left, right):
            _style.thousands(axes.xaxis)
            axes.set_xlim(0, None)
        if not k:
            _legend(right)
    if rebound is not None:
        _rebound(figure.add_subplot(grid[0, 2]), rebound)
    return figure


def _lines(axes: Axes, counts: Any, series: Mapping[str, Any]) -> None:
    counts = np.asarray(counts)
    for k, (label, given) in enumerate(series.items()):
        values = np.asarray(given, np.float64)
        if values.shape != (3, len(counts)):
            raise ValueError(f"{label!r} has values of shape {values.shape}: needed (3, {len(counts)})")
        color = "#7A828C" if not k else _style.COLORS[k - 1]
        low, middle, high = values
        axes.fill_between(counts, low, high, color=color, alpha=0.18, linewidth=0, zorder=2)
        marker = "s" if not k else "o"
        axes.plot(counts, middle, color=color, linewidth=1.6, marker=marker, markersize=4, label=label, zorder=3)


def _rebound(axes: Axes, rebound: Rebound) -> None:
    steps = np.asarray(rebound.steps)
    for name, given, color in (("error", rebound.errors, _style.COLORS[1]), ("loss", rebound.losses, _style.COLORS[2])):
        values = np.asarray(given, np.float64)
        if values.shape != (3, len(steps)):
            raise ValueError(f"the {name} has values of shape {values.shape}: needed (3, {len(steps)})")
        axes.fill_between(steps, values[0], values[2], color=color, alpha=0.18, linewidth=0, zorder=2)
        label = {"error": "relative error", "loss": "training loss"}[name]
        axes.plot(steps, values[1], color=color, linewidth=1.4, label=label, zorder=3)
    axes.set_yscale("log")
    _style.dress(axes, rebound.title, "iterations", "")
    _style.thousands(axes.xaxis)
    axes.set_xlim(0, max(1, int(steps[-1])))
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(fontsize=8, frameon=False, labelcolor=_style.INK, loc="best")
