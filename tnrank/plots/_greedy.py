"""Gradient flow from saddle to saddle, and its distance from greedy learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import things

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = "osD^vP"
_SHADES = ("#9CC9E8", "#3E8EC4", "#08306B")


@dataclass(frozen=True)
class GreedyLine:
    """A flow from one initial scale.

    Attributes:
        scale: alpha.
        travelled: ``(K,)``, how far the end tensor has gone.
        slopes: ``(K,)``, norms of the gradient there.
        apart: distance of its path from the greedy one.
        visited: the largest distance at which it passes a greedy saddle.
    """

    scale: float
    travelled: Any
    slopes: Any
    apart: float
    visited: float


@dataclass(frozen=True)
class GreedyPanel:
    """One model.

    Attributes:
        title: its name.
        lines: falling scales, the control last.
        saddles: how far along the greedy path each of its saddles is, the end last.
    """

    title: str
    lines: Sequence[GreedyLine]
    saddles: Sequence[float]


@explained
def greedy_paths(panels: Sequence[GreedyPanel]) -> Figure:
    """Above, the gradient along each flow, with the greedy saddles; below, distances against the initial scale.

    Args:
        panels: from left to right.

    Raises:
        ValueError: for no panels.

    Example:
        >>> from tnrank.plots import GreedyLine, GreedyPanel, greedy_paths
        >>> lines = [GreedyLine(s, [0.0, 0.5, 1.0], [1.0, s, 1.0], s, s / 2) for s in (0.1, 0.01, 1.0)]
        >>> len(greedy_paths([GreedyPanel("one", lines, [0.5, 1.0])]).axes)
        3
    """
    panels = things(panels, GreedyPanel, "panels")
    for panel in panels:
        things(panel.lines, GreedyLine, "lines")
    figure = _style.new_figure(max(2.6 * len(panels), 7.0), 6.2)
    grid = figure.add_gridspec(2, 2 * len(panels))
    for k, panel in enumerate(panels):
        axes = figure.add_subplot(grid[0, 2 * k : 2 * k + 2])
        _along(axes, panel)
        if k:
            axes.set_ylabel("")
    half = len(panels)
    _against(figure.add_subplot(grid[1, :half]), panels, "visited", "Largest distance from a greedy saddle", True)
    _against(figure.add_subplot(grid[1, half:]), panels, "apart", "Distance of the paths", False)
    return figure


def _along(axes: Axes, panel: GreedyPanel) -> None:
    small = panel.lines[:-1]
    for at in panel.saddles[:-1]:
        axes.axvline(at, color=_style.QUIET, linestyle="--", linewidth=1.0, zorder=1)
    shades = [_SHADES[round(k * (len(_SHADES) - 1) / max(1, len(small) - 1))] for k in range(len(small))]
    for line, color in zip(panel.lines, [*shades, _style.COLORS[1]], strict=True):
        x, y = np.asarray(line.travelled, np.float64), np.asarray(line.slopes, np.float64)
        good = y > 0
        label = f"{line.scale:g}" + (" (control)" if line is panel.lines[-1] else "")
        axes.plot(x[good], y[good], color=color, linewidth=1.2, label=label, zorder=3)
    _style.dress(axes, panel.title, "distance travelled / norm", "norm of the gradient")
    axes.set_yscale("log")
    axes.set_ylim(1e-3, 12.0)
    axes.set_xlim(0.0, 1.15 * panel.saddles[-1] if panel.saddles and panel.saddles[-1] > 0 else 1.0)
    axes.minorticks_off()
    axes.legend(
        title="initial scale", title_fontsize=7, fontsize=7, frameon=False, loc="lower left", labelcolor=_style.INK
    )


def _against(axes: Axes, panels: Sequence[GreedyPanel], what: str, title: str, legend: bool) -> None:
    for k, panel in enumerate(panels):
        color = _style.COLORS[k % len(_style.COLORS)]
        *small, control = panel.lines
        scales = [line.scale for line in (control, *small)]
        found = [getattr(line, what) for line in (control, *small)]
        mark = _MARKS[k % len(_MARKS)]
        axes.plot(scales, found, f"{mark}-", color=color, linewidth=1.2, markersize=4.5, label=panel.title)
        axes.plot(scales[:1], found[:1], mark, color=color, markerfacecolor="white", markersize=6, zorder=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _style.dress(axes, title, "initial scale (hollow: control)", "share of the norm")
    axes.minorticks_off()
    if legend:
        axes.legend(fontsize=8, frameon=False, loc="upper left", labelcolor=_style.INK)
