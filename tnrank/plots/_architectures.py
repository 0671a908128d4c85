"""Effective ranks on and off a tree over training, one column a network."""

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

_ON, _OFF, _LOSS, _ERROR = _style.COLORS[0], _style.COLORS[1], _style.COLORS[2], _style.COLORS[3]
_NAMES = ("low rank on the tree", "mirrored: low rank off it")


@dataclass(frozen=True)
class ArchitecturePanel:
    """What one column of :func:`architectures` shows; arrays are ``(2, seeds, K)``: a target, and the mirrored one.

    Attributes:
        title: above the column.
        steps: ``(K,)`` iterations.
        on: effective ranks on the tree.
        off: those off it.
        losses: mean squared errors on the observed entries.
        errors: relative errors on the others.
    """

    title: str
    steps: Any
    on: Any
    off: Any
    losses: Any
    errors: Any


@explained
def architectures(panels: Sequence[ArchitecturePanel], target_on: Any, target_off: Any) -> Figure:
    """Effective ranks over training on two targets, and the losses below: one column a network.

    Args:
        panels: from left to right.
        target_on: ``(2,)`` effective ranks of the two targets on the tree.
        target_off: those off it.

    Raises:
        ValueError: for no panels, or arrays that are not ``(2, seeds, K)`` with K steps.

    Example:
        >>> import numpy as np
        >>> from tnrank.plots import ArchitecturePanel, architectures
        >>> ones = np.ones((2, 1, 3))
        >>> panel = ArchitecturePanel("one", [0, 1, 2], ones, 2 * ones, ones, ones)
        >>> len(architectures([panel], [1.0, 2.0], [2.0, 1.0]).axes)
        3
    """
    panels = things(panels, ArchitecturePanel, "panels")
    for panel in panels:
        for name in ("on", "off", "losses", "errors"):
            shape = np.shape(getattr(panel, name))
            if len(shape) != 3 or shape[0] != 2 or shape[2] != len(panel.steps):
                raise ValueError(
                    f"the panel {panel.title!r} has {len(panel.steps)} steps and {name} of shape {shape}: needed "
                    f"(2, seeds, {len(panel.steps)})"
                )
    figure = _style.new_figure(2.45 * len(panels) + 0.7, 6.6)
    grid = figure.subplots(3, len(panels), squeeze=False, sharex="col", sharey="row")
    highest = 1.15 * max(float(np.max([p.on, p.off])) for p in panels)
    lowest = 0.6 * min(float(np.min(p.losses)) for p in panels)
    for column, panel in enumerate(panels):
        first = column == 0
        for side in range(2):
            axes = grid[side][column]
            _draw_ranks(axes, panel, side, (target_on[side], target_off[side]))
            title = panel.title if side == 0 else ""
            _style.dress(axes, title, "", f"effective rank\n{_NAMES[side]}" if first else "")
            _whole_numbers(axes, highest)
        _draw_losses(grid[2][column], panel)
        _style.dress(grid[2][column], "", "iterations", "loss and unobserved error" if first else "")
        grid[2][column].set_yscale("log")
        grid[2][column].set_ylim(max(lowest, 1e-12))
        grid[2][column].minorticks_off()
        _style.thousands(grid[2][column].xaxis)
        grid[2][column].set_xlim(0, max(1, int(panel.steps[-1])))
    for row in (0, 2):
        grid[row][-1].legend(loc="best", fontsize=7.5, frameon=False, handlelength=1.6)
    return figure


def _draw_ranks(axes: Axes, panel: ArchitecturePanel, side: int, targets: tuple[float, float]) -> None:
    for values, color, label, target in ((panel.off, _OFF, "off", targets[1]), (panel.on, _ON, "on", targets[0])):
        axes.axhline(target, color=color, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2, label=f"target, {label}")
        _runs(axes, panel.steps, np.asarray(values)[side], color, f"{label} the tree", "-")


def _draw_losses(axes: Axes, panel: ArchitecturePanel) -> None:
    for values, color, name in ((panel.losses, _LOSS, "loss"), (panel.errors, _ERROR, "unobserved")):
        for side, style in enumerate(("-", (0, (2, 1.2)))):
            label = name if side == 0 else f"{name}, mirrored"
            _runs(axes, panel.steps, np.asarray(values)[side], color, label, style)


def _runs(axes: Axes, steps: Any, values: Any, color: str, label: str, style: Any) -> None:
    """Runs as thin lines, and their geometric mean."""
    if len(values) > 1:
        for run in values:
            axes.plot(steps, run, color=color, linewidth=0.6, alpha=0.35, linestyle=style, zorder=3)
    mean = np.exp(np.log(np.maximum(values, 1e-30)).mean(axis=0))
    axes.plot(steps, mean, color=color, linewidth=1.6, linestyle=style, zorder=4, label=label)


def _whole_numbers(axes: Axes, highest: float) -> None:
    """A logarithmic axis from rank 1 with ticks 1, 2, 4, 8, .."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("log")
    axes.set_ylim(0.9, max(highest, 2.0))
    axes.yaxis.set_major_locator(FixedLocator([2**k for k in range(int(np.log2(max(highest, 2.0))) + 1)]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
