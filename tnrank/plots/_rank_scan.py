"""How well CP factorizations of growing rank fit a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tnrank.ranks import RankScan

_LEAST = 1e-16
_ROUNDING = 1e-14
_LOWEST = -20.0


@explained
def rank_scan(scan: RankScan) -> Figure:
    """Relative error and core consistency over the rank; hollow marks are fits with diverging components.

    Args:
        scan: from :func:`tnrank.ranks.rank_scan`. No fit reaches the shaded part; the dotted line is the lower
            bound of the rank. A triangle is a core consistency below the axis.

    Raises:
        TypeError: if ``scan`` is none.

    Example:
        >>> import numpy as np, tnrank
        >>> figure = tnrank.plots.rank_scan(tnrank.ranks.rank_scan(np.ones((2, 3, 4)), 2))
        >>> len(figure.axes)
        2
    """
    if not hasattr(scan, "ranks") or not hasattr(scan, "lower"):
        raise TypeError(
            f"got {type(scan).__name__}, needed the result of a rank scan: "
            "tnrank.plots.rank_scan(tnrank.ranks.rank_scan(tensor, max_rank))"
        )
    ranks = np.array([entry.rank for entry in scan.ranks])
    diverging = np.array([entry.diverging for entry in scan.ranks])
    errors = np.maximum([entry.error for entry in scan.ranks], _LEAST)
    floors = np.array([entry.error_floor for entry in scan.ranks])
    consistency = np.array([entry.core_consistency for entry in scan.ranks])
    bounded, below = floors > _ROUNDING, consistency < _LOWEST

    figure = _style.new_figure(9.2, 3.2)
    from matplotlib.ticker import MaxNLocator

    left, right = figure.subplots(1, 2)
    drawn = [*errors, *floors[bounded]]
    bottom, top = min(drawn) / 2, max(2 * max(drawn), 1.0)
    left.fill_between(
        ranks,
        bottom,
        np.where(bounded, floors, bottom),
        color=_style.QUIET,
        alpha=0.4,
        linewidth=0,
        label="no fit here",
    )
    blue, orange = _style.COLORS[:2]
    left.plot(ranks, errors, color=blue, linewidth=1.3, zorder=3)
    left.set_yscale("log")
    left.set_ylim(bottom, top)
    _style.dress(left, f"CP fits, {' x '.join(map(str, scan.shape))}", "rank", "relative error")
    shown = np.maximum(consistency, _LOWEST)
    right.plot(ranks, shown, color=orange, linewidth=1.3, zorder=3)
    right.set_ylim(_LOWEST - 6, 106)
    _style.dress(right, "Core consistency", "rank", "percent")
    for axes, values, color, low in ((left, errors, blue, np.zeros_like(below)), (right, shown, orange, below)):
        for hollow in (False, True):
            for marker, where in (("o", ~low), ("v", low)):
                chosen = where & (diverging == hollow)
                face = "white" if hollow else color
                axes.plot(
                    ranks[chosen], values[chosen], marker, color=color, markersize=5, markerfacecolor=face, zorder=4
                )
        if ranks[0] <= scan.lower <= ranks[-1]:
            axes.axvline(scan.lower, color=_style.INK, linewidth=0.8, linestyle=":", zorder=1)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.set_xlim(ranks[0] - 0.3, ranks[-1] + 0.3)

    left.plot([], [], "o", color=_style.INK, markersize=5, label="best fit found")
    if diverging.any():
        left.plot([], [], "o", color=_style.INK, markersize=5, markerfacecolor="white", label="diverging components")
    if below.any():
        left.plot([], [], "v", color=_style.INK, markersize=5, label=f"below {_LOWEST:.0f} percent")
    if ranks[0] <= scan.lower <= ranks[-1]:
        left.plot([], [], ":", color=_style.INK, linewidth=0.8, label="lower bound of the rank")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8.5)
    return figure
