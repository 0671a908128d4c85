"""Separation ranks against the number of patches, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, Any

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import things

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Growth:
    """What one line of :func:`depth_efficiency` shows.

    Attributes:
        label: in the legend.
        orders: ``(K,)`` numbers of patches.
        bounds: ``(K,)`` whole numbers of any size: the line.
        measured: ``(K,)`` numbers, ``None`` where there is none: the dots.
        ring: rings without a line, for what is measured on top of another line.
    """

    label: str
    orders: Sequence[int]
    bounds: Sequence[int]
    measured: Sequence[int | None] = ()
    ring: bool = False


@explained
def depth_efficiency(ranks: Sequence[Growth], weights: Sequence[Growth] = ()) -> Figure:
    """Ranks against the number of patches, and beside them the numbers of weights, if given.

    Lines are bounds, dots are measured.

    Args:
        ranks: lines of the left panel.
        weights: lines of the right panel.

    Raises:
        ValueError: for no lines, or lines whose numbers are not as many as their orders, or are below 1.

    Source: Cohen, Sharir & Shashua 2016, Thm. 1.

    Example:
        >>> from tnrank.plots import Growth, depth_efficiency
        >>> figure = depth_efficiency([Growth("deep", [2, 4, 8], [2, 4, 16], [2, 4, None])])
        >>> len(figure.axes)
        1
    """
    ranks, weights = things(ranks, Growth, "lines"), things(weights, Growth, "lines of weights", 0)
    panels = [("Separation rank", ranks), ("Weights", weights)] if weights else [("Separation rank", ranks)]
    figure = _style.new_figure(4.7 * len(panels), 3.6)
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for k, line in enumerate(lines):
            _draw(axes, line, _style.COLORS[k % len(_style.COLORS)])
        _dress(axes, title, lines)
    return figure


def _draw(axes: Axes, line: Growth, color: str) -> None:
    measured = line.measured or [None] * len(line.orders)
    if not len(line.orders) == len(line.bounds) == len(measured):
        raise ValueError(
            f"the line {line.label!r} has {len(line.orders)} orders, {len(line.bounds)} bounds and {len(measured)} "
            "measured numbers: needed as many of each"
        )
    if any(number < 1 for number in [*line.bounds, *(m for m in measured if m is not None)]):
        raise ValueError(f"the line {line.label!r} has a number below 1, which has no place on a logarithmic scale")
    # Logarithms by Python: bounds of many patches exceed all floating-point numbers.
    heights = [log10(bound) for bound in line.bounds]
    style: dict[str, Any] = {"linestyle": "none" if line.ring else "-", "linewidth": 1.5, "zorder": 2}
    axes.plot(line.orders, heights, color=color, label=None if line.measured else line.label, **style)
    found = [(n, log10(m)) for n, m in zip(line.orders, measured, strict=True) if m is not None]
    if line.measured:
        face, size = ("none", 8.5) if line.ring else (color, 4.5)
        axes.plot(
            [n for n, _ in found],
            [height for _, height in found],
            marker="o",
            markersize=size,
            markerfacecolor=face,
            markeredgecolor=color,
            linestyle=style["linestyle"],
            color=color,
            label=line.label,
            zorder=3,
        )


def _dress(axes: Axes, title: str, lines: Sequence[Growth]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    _style.dress(axes, title, "patches N", "")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 4, 5, 8, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:.0f}}}$" if value else "1"))
    top = max(log10(number) for line in lines for number in (*line.bounds, *(m for m in line.measured if m)))
    axes.set_ylim(-0.03 * max(top, 1), 1.08 * max(top, 1))
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=_style.INK, loc="upper left")
