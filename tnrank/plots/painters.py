"""What the figures of experiments are painted with: lines, staircases, points beside a law, tables of colors.

A painter fills one panel: ``figure, axes = panels(1, 2)``, then ``lines(axes[0, 0], [Line(x, y, "depth 2")], ..)``.
Each says what its axes show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tnrank.plots.style import (
    COLORS,
    INK,
    MARKERS,
    color_of,
    dress,
    legend,
    legend_below,
    new_figure,
    panels,
    plain_logarithms,
    thousands,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:
    # Names for annotations, without importing matplotlib.
    Axes = Figure = Any

__all__ = [
    "COLORS",
    "INK",
    "MARKERS",
    "Line",
    "color_of",
    "dress",
    "heat",
    "legend",
    "legend_below",
    "lines",
    "new_figure",
    "panels",
    "plain_logarithms",
    "points_and_law",
    "staircase",
    "thousands",
]

Logarithmic = Literal["", "x", "y", "xy"]
_BLANK = 0.004
"""The share of the largest value below which a line is not drawn before it rises."""


@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Attributes:
        x: ``(K,)``.
        y: ``(K,)``.
        label: in the legend; none if empty.
        color: a number of the palette, ``"ink"``, ``"quiet"`` or any other color; the line's place if not given.
        style: ``"-"``, ``"--"``, ``":"``, or ``""`` for markers alone.
        marker: such as ``"o"``; ``True`` for one by the line's place.
        band: lower and upper values ``(K,)`` each, shaded.
        hollow: whether markers are drawn as rings.
        width: of the line, in points.
    """

    x: Any
    y: Any
    label: str = ""
    color: int | str | None = None
    style: str = "-"
    marker: str | bool = ""
    band: tuple[Any, Any] | None = None
    hollow: bool = False
    width: float = 1.6


def lines(
    axes: Axes,
    drawn: Sequence[Line],
    title: str,
    x: str,
    y: str,
    log: Logarithmic = "",
    where: str | None = "best",
) -> None:
    """Lines, with a legend at ``where`` unless that is ``None``."""
    for k, line in enumerate(drawn):
        color = color_of(k if line.color is None else line.color)
        marker = MARKERS[k % len(MARKERS)] if line.marker is True else line.marker or ""
        chosen: dict[str, Any] = {"color": color, "linewidth": line.width, "marker": marker, "markersize": 4.5}
        chosen |= {"markerfacecolor": "white", "markeredgewidth": 1.2} if line.hollow else {}
        # matplotlib joins markers by a line for an empty format.
        style = line.style or "none"
        axes.plot(np.asarray(line.x), np.asarray(line.y), linestyle=style, label=line.label or "_", **chosen)
        if line.band is not None:
            low, high = line.band
            axes.fill_between(np.asarray(line.x), np.asarray(low), np.asarray(high), color=color, alpha=0.18, lw=0)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    dress(axes, title, x, y)
    if "x" not in log and drawn and all(np.asarray(line.x).dtype.kind in "iu" for line in drawn):
        thousands(axes.xaxis)
    if where is not None:
        legend(axes, where)


def points_and_law(
    axes: Axes, measured: Sequence[Line], laws: Sequence[Line], title: str, x: str, y: str, where: str | None = "best"
) -> None:
    """Measured points as rings on the lines of a law, both axes logarithmic."""
    rings = [
        Line(p.x, p.y, p.label, k if p.color is None else p.color, "", p.marker or "o", hollow=True)
        for k, p in enumerate(measured)
    ]
    lines(axes, [*laws, *rings], title, x, y, "xy", where)


def staircase(
    axes: Axes,
    steps: Any,
    values: Any,
    title: str,
    ylabel: str,
    onsets: Sequence[int] = (),
    shown: float = 0.01,
) -> None:
    """Singular values or component norms against iterations, the risen ones numbered at their ends.

    Args:
        axes: of the panel.
        steps: ``(K,)`` iterations.
        values: ``(K, top)``, descending in each row.
        title: above the panel.
        ylabel: what the values are.
        onsets: iterations at which the first, second, .. line sets in; marked on the axis.
        shown: lines that end above this share of the largest are colored and numbered; the others are gray.

    Raises:
        ValueError: if values are not ``(K, top)``.
    """
    steps, values = np.asarray(steps), np.asarray(values)
    if values.ndim != 2 or len(values) != len(steps):
        raise ValueError(
            f"the panel {title!r} has {len(steps)} steps and values of shape {values.shape}: needed ({len(steps)}, top)"
        )
    final = values[-1]
    risen = int((final > shown * final.max(initial=0.0)).sum())
    level = _BLANK * values.max(initial=0.0)
    for k in range(values.shape[1] - 1, -1, -1):
        line = values[:, k]
        if k < risen:
            # What has not risen yet would color the axis.
            first = max(int(np.argmax(line > level)) - 1, 0)
            axes.plot(steps[first:], line[first:], color=color_of(k), linewidth=1.7, zorder=3)
        else:
            axes.plot(steps, line, color=color_of("quiet"), linewidth=1.0, zorder=2)
    place = axes.get_xaxis_transform()
    for k, onset in enumerate(onsets):
        chosen: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.6}
        axes.plot([onset], [0], "^", color=color_of(k), clip_on=False, zorder=5, transform=place, **chosen)
    told: dict[str, Any] = {"color": color_of("quiet")}
    if len(onsets):
        axes.plot([], [], "^", label="sets in", markersize=6, **told)
    if risen < values.shape[1]:
        axes.plot([], [], label=f"ends below {100 * shown:g} %", linewidth=1.0, **told)
    dress(axes, title, "iterations", ylabel)
    legend(axes, "best")
    top = 1.06 * (float(values.max(initial=0.0)) or 1.0)
    axes.set_ylim(0, top)
    axes.set_xlim(0, max(1, int(steps[-1])))
    thousands(axes.xaxis)
    for k, height in enumerate(_apart(final[:risen], 0.062 * top)):
        beside: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "xytext": (4, 0), "annotation_clip": False}
        beside |= {"textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(str(k + 1), (1.0, max(height, 0.02 * top)), color=color_of(k), **beside)


def heat(axes: Axes, values: Any, rows: Sequence[str], columns: Sequence[str], title: str, x: str, y: str) -> None:
    """A table of numbers ``(rows, columns)``, the smaller the darker, each written into its cell."""
    values = np.asarray(values, np.float64)
    shades = np.log(np.maximum(values, np.finfo(float).tiny))
    axes.imshow(-shades, cmap="Blues", aspect="auto")
    middle = (shades.min() + shades.max()) / 2
    for (i, j), value in np.ndenumerate(values):
        color = "white" if shades[i, j] < middle else INK
        axes.text(j, i, f"{value:.2g}", ha="center", va="center", fontsize=9, color=color)
    dress(axes, title, x, y)
    axes.grid(False)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)


def _apart(heights: Any, gap: float) -> list[float]:
    """Descending heights moved as little as possible so that neighbors are ``gap`` apart, none below 0."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([float(height)])
        while len(groups) > 1 and _middle(groups[-2]) - _middle(groups[-1]) < gap * sum(map(len, groups[-2:])) / 2:
            groups[-2:] = [groups[-2] + groups[-1]]
    # The lowest groups may have been moved below the axis: lift them, and those that they meet.
    floor, places = 0.0, []
    for group in reversed(groups):
        low = max(_middle(group) - gap * (len(group) - 1) / 2, floor)
        places += [low + gap * k for k in range(len(group))]
        floor = places[-1] + gap
    return places[::-1]


def _middle(group: Sequence[float]) -> float:
    return sum(group) / len(group)
