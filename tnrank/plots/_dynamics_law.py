"""Measured growth rates on the lines that theory predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import things

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 40


@dataclass(frozen=True)
class LawPoints:
    """Measured points of one K.

    Attributes:
        order: K.
        norms: ``(P,)``, component norms or singular values.
        ratios: ``(P,)``, measured rate over projection.
    """

    order: int
    norms: Any
    ratios: Any


@dataclass(frozen=True)
class LawPanel:
    """What one panel of :func:`dynamics_law` shows.

    Attributes:
        title: above the panel.
        points: one entry a K.
        xlabel: below the panel.
        letter: how K is called.
        below: also draw the line of K - 1, dashed.
    """

    title: str
    points: Sequence[LawPoints]
    xlabel: str = "component norm"
    letter: str = "K"
    below: bool = False


@explained
def dynamics_law(panels: Sequence[LawPanel]) -> Figure:
    """Rate over projection against norm, measured, on the lines K sigma^(2 - 2/K); both axes are logarithmic.

    Args:
        panels: from left to right, two a row.

    Raises:
        ValueError: for no panels.

    Example:
        >>> from tnrank.plots import LawPanel, LawPoints, dynamics_law
        >>> figure = dynamics_law([LawPanel("one", [LawPoints(2, [0.1, 1.0], [0.2, 2.0])])])
        >>> len(figure.axes)
        1
    """
    panels = things(panels, LawPanel, "panels")
    for panel in panels:
        things(panel.points, LawPoints, "points")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = _style.new_figure(4.4 * columns, 3.3 * rows)
    places = [figure.add_subplot(rows, columns, k + 1) for k in range(len(panels))]
    for axes, panel in zip(places, panels, strict=True):
        _draw(axes, panel)
    return figure


def _draw(axes: Axes, panel: LawPanel) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    colors = {p.order: _style.COLORS[k % len(_style.COLORS)] for k, p in enumerate(panel.points)}
    for found in panel.points:
        x, y = np.asarray(found.norms, np.float64), np.asarray(found.ratios, np.float64)
        good = (x > 0) & (y > 0)
        x, y = x[good], y[good]
        if not len(x):
            continue
        order = np.argsort(x, kind="stable")
        # Evenly along the axis: most points are where the component has settled.
        kept = np.unique(np.searchsorted(x[order], np.geomspace(x.min(), x.max(), _MOST_POINTS)).clip(0, len(x) - 1))
        chosen = order[kept]
        color = colors[found.order]
        reach = np.geomspace(x.min(), x.max(), 50)
        label = f"{panel.letter} = {found.order}: ${found.order}\\,\\sigma{_power(found.order)}$"
        axes.plot(
            reach, found.order * reach ** (2 - 2 / found.order), color=color, linewidth=1.1, label=label, zorder=2
        )
        style: dict[str, Any] = {
            "markersize": 4.2,
            "markerfacecolor": "white",
            "markeredgecolor": color,
            "markeredgewidth": 1.0,
        }
        axes.plot(x[chosen], y[chosen], "o", zorder=3, **style)
        if panel.below:
            # The line of K - 1 through the first points: its factor is that of the large tensor.
            power, first = 2 - 2 / (found.order - 1), chosen[: max(1, len(chosen) // 8)]
            level = np.median(y[first] / x[first] ** power)
            dashed = f"as {panel.letter} = {found.order - 1}: $\\propto\\sigma{_power(found.order - 1)}$"
            axes.plot(reach, level * reach**power, "--", color=_style.INK, linewidth=1.1, label=dashed, zorder=2)
    _style.dress(axes, panel.title, panel.xlabel, "measured $(d\\sigma/d\\tau)\\,/\\,\\gamma$")
    axes.minorticks_off()
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="upper left", labelcolor=_style.INK)


def _power(order: int) -> str:
    """The exponent 2 - 2/K as a fraction, for mathtext."""
    found = Fraction(2 * order - 2, order)
    return "" if found == 1 else f"^{{{found}}}"
