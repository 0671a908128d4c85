"""Spectra against iterations, one panel a model."""

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


_BLANK = 0.004
"""The share of the largest value below which a line is not drawn before it rises."""


@dataclass(frozen=True)
class Panel:
    """What one panel of :func:`dynamics` shows.

    Attributes:
        title: above the panel.
        steps: ``(K,)`` iterations.
        values: ``(K, top)``, descending in each row: singular values or norms.
        ylabel: beside the panel.
        onsets: iterations at which the first, second, .. line sets in; marked on the axis.
    """

    title: str
    steps: Any
    values: Any
    ylabel: str = ""
    onsets: Sequence[int] = ()


@explained
def dynamics(panels: Sequence[Panel], shown: float = 0.01) -> Figure:
    """Panels side by side: one line a singular value or component norm, against iterations.

    Args:
        panels: from left to right.
        shown: lines that end above this share of the largest are colored and numbered; the others are gray.

    Raises:
        ValueError: for no panels, or values that are not ``(K, top)`` with K steps.

    Source: the layout of Razin, Maman & Cohen 2022, Fig. 2.

    Example:
        >>> from tnrank.plots import Panel, dynamics
        >>> figure = dynamics([Panel("one", [0, 1, 2], [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]])])
        >>> len(figure.axes)
        1
    """
    panels = things(panels, Panel, "panels")
    figure = _style.new_figure(4.1 * len(panels), 3.2)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, panel, shown)
    return figure


def _draw(axes: Axes, panel: Panel, shown: float) -> None:
    steps, values = np.asarray(panel.steps), np.asarray(panel.values)
    if values.ndim != 2 or len(values) != len(steps):
        raise ValueError(
            f"the panel {panel.title!r} has {len(steps)} steps and values of shape {values.shape}: needed "
            f"({len(steps)}, top)"
        )
    final = values[-1]
    risen = int((final > shown * final.max(initial=0.0)).sum())
    level = _BLANK * values.max(initial=0.0)
    for k in range(values.shape[1] - 1, -1, -1):
        line = values[:, k]
        if k < risen:
            # What has not risen yet would color the axis.
            first = max(int(np.argmax(line > level)) - 1, 0)
            color = _style.COLORS[k % len(_style.COLORS)]
            axes.plot(steps[first:], line[first:], color=color, linewidth=1.7, zorder=3)
        else:
            axes.plot(steps, line, color=_style.QUIET, linewidth=1.0, zorder=2)
    for k, onset in enumerate(panel.onsets):
        color = _style.COLORS[k % len(_style.COLORS)]
        axes.plot(
            [onset],
            [0],
            marker="^",
            markersize=6,
            color=color,
            clip_on=False,
            zorder=5,
            markeredgecolor="white",
            markeredgewidth=0.6,
            transform=axes.get_xaxis_transform(),
        )
    _style.dress(axes, panel.title, "iterations", panel.ylabel)
    top = float(values.max(initial=0.0)) or 1.0
    axes.set_ylim(0, 1.06 * top)
    axes.set_xlim(0, max(1, int(steps[-1])))
    _style.thousands(axes.xaxis)
    _number(axes, final[:risen], 1.06 * top)


def _number(axes: Axes, heights: Any, top: float) -> None:
    """1, 2, .. beside the ends of the lines, moved apart where they would overlap."""
    places, gap = _apart(np.asarray(heights, np.float64), 0.062 * top), 0.02 * top
    for k, place in enumerate(places):
        axes.annotate(
            str(k + 1),
            (1.0, max(place, gap)),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            va="center",
            fontsize=8,
            textcoords="offset points",
            color=_style.COLORS[k % len(_style.COLORS)],
            annotation_clip=False,
        )


def _apart(heights: Any, gap: float) -> list[float]:
    """Descending heights moved as little as possible so that neighbors are ``gap`` apart, none below 0."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([float(height)])
        while len(groups) > 1 and _bottom(groups[-2], gap) - _top(groups[-1], gap) < gap:
            groups[-2:] = [groups[-2] + groups[-1]]
    # The lowest groups may have been moved below the axis: lift them, and those that they meet.
    floor, places = 0.0, []
    for group in reversed(groups):
        low = max(_bottom(group, gap), floor)
        places += [low + gap * k for k in range(len(group))]
        floor = places[-1] + gap
    return places[::-1]


def _bottom(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _top(group: list[float], gap: float) -> float:
    return sum(group) / len(group) + gap * (len(group) - 1) / 2
