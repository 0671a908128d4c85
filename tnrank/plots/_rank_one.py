"""Distance of a flow from a rank-one trajectory, against time and initial scale."""

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
_SHADES = ("#9CC9E8", "#6AAEDB", "#3E8EC4", "#1B5E9E", "#08306B")
_FLOOR = 1e-12
_EMPTY = (1e-6, 1.0)
"""Limits of a panel in which no flow got anywhere."""


@dataclass(frozen=True)
class RankOneLine:
    """A flow from one initial scale.

    Attributes:
        scale: alpha.
        times: ``(K,)`` after it left the reference sphere.
        distances: ``(K,)`` from the rank-one trajectory, relative.
        largest: of them, infinite for a flow that was cut short.
    """

    scale: float
    times: Any
    distances: Any
    largest: float


@dataclass(frozen=True)
class RankOnePanel:
    """Flows from one start, at falling scales.

    Attributes:
        title: its name.
        lines: one a scale.
        control: whether the start violates the theorem's condition.
    """

    title: str
    lines: Sequence[RankOneLine]
    control: bool = False


@explained
def rank_one(panels: Sequence[RankOnePanel]) -> Figure:
    """On the left the distance along the first flows and the first control, on the right its largest value.

    Args:
        panels: starts; a control is drawn in another color.

    Raises:
        ValueError: for no panels.

    Example:
        >>> from tnrank.plots import RankOneLine, RankOnePanel, rank_one
        >>> lines = [RankOneLine(s, [0.0, 1.0], [s**3, 2 * s**3], 2 * s**3) for s in (0.1, 0.01)]
        >>> len(rank_one([RankOnePanel("one", lines)]).axes)
        2
    """
    panels = things(panels, RankOnePanel, "panels")
    for panel in panels:
        things(panel.lines, RankOneLine, "lines", 0)
    figure = _style.new_figure(9.6, 4.3)
    left, right = figure.subplots(1, 2)
    controls = [panel for panel in panels if panel.control]
    shown = next((panel for panel in panels if not panel.control), panels[0])
    if controls:
        # The pair that differs in nothing but the start.
        shown = next((p for p in panels if not p.control and controls[0].title.startswith(p.title)), shown)
    _along(left, shown, controls[:1])
    _against(right, panels)
    return figure


def _along(axes: Axes, shown: RankOnePanel, controls: Sequence[RankOnePanel]) -> None:
    from matplotlib.lines import Line2D

    handles: list[Line2D] = []
    for k, line in enumerate(shown.lines):
        shade = _SHADES[round(k * (len(_SHADES) - 1) / max(1, len(shown.lines) - 1))]
        handles += axes.plot(*_visible(line), color=shade, linewidth=1.5, label=f"{line.scale:g}")
    for control in controls:
        for k, line in enumerate(control.lines):
            drawn = axes.plot(*_visible(line), color=_style.COLORS[1], linewidth=1.1, linestyle="--", label="control")
            handles += drawn if not k else []
    _style.dress(axes, f"Along the flow: {shown.title}", "time after leaving the sphere", "distance / norm of target")
    if not any(len(drawn.get_ydata()) for drawn in axes.lines):  # type: ignore[arg-type]
        axes.set_ylim(_EMPTY)
    axes.set_yscale("log")
    axes.minorticks_off()
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.22)
    axes.legend(
        handles=handles,
        title="initial scale",
        title_fontsize=7.5,
        fontsize=7.5,
        frameon=False,
        loc="upper center",
        ncols=min(len(handles), 6) or 1,
        columnspacing=1.0,
        handlelength=1.5,
        labelcolor=_style.INK,
    )


def _visible(line: RankOneLine) -> tuple[Any, Any]:
    return np.asarray(line.times, np.float64), np.maximum(np.asarray(line.distances, np.float64), _FLOOR)


def _against(axes: Axes, panels: Sequence[RankOnePanel]) -> None:
    colors = [_style.COLORS[k] for k in (0, 2, 3, 5, 6, 7)]
    counts = {True: 0, False: 0}
    for panel in panels:
        k = counts[panel.control]
        counts[panel.control] += 1
        color = (_style.COLORS[1], _style.COLORS[4])[k % 2] if panel.control else colors[k % len(colors)]
        good = [line for line in panel.lines if np.isfinite(line.largest) and line.largest > 0]
        scales, found = [line.scale for line in good], [line.largest for line in good]
        style = f"{_MARKS[k % len(_MARKS)]}{'--' if panel.control else '-'}"
        face = "white" if panel.control else color
        axes.plot(
            scales, found, style, color=color, markerfacecolor=face, linewidth=1.3, markersize=5, label=panel.title
        )
    shown = sorted({line.scale for panel in panels for line in panel.lines})
    axes.set_xlim(shown[0] / 1.15, shown[-1] * 1.15)
    if not any(len(drawn.get_ydata()) for drawn in axes.lines):  # type: ignore[arg-type]
        axes.set_ylim(_EMPTY)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _style.dress(axes, "Largest distance from the rank-one path", "initial scale", "share of the target's norm")
    axes.set_xticks(shown, labels=[f"{value:g}" for value in shown])
    axes.minorticks_off()
    # The lines rise to the right, below the controls.
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.92), labelcolor=_style.INK)
