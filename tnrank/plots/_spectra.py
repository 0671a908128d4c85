"""The singular values at the nodes of a rank report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tnrank.plots import _style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tnrank.ranks import RankReport

_NODES = 16
_VALUES = 64


def spectra(report: RankReport) -> Figure:
    """Singular values over the largest one, one line a matricization; filled marks count for the rank.

    Args:
        report: from :func:`tnrank.rank_report`. A node and its complement have one spectrum and are drawn
            once; of more than sixteen matricizations those with the largest ranks are drawn.

    Example:
        >>> import numpy as np, tnrank
        >>> figure = tnrank.plots.spectra(tnrank.rank_report(np.ones((2, 3, 4))))
        >>> len(figure.axes)
        1
    """
    order = len(report.shape)
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, entry in enumerate(report.nodes):
        rest = tuple(m for m in range(order) if m not in entry.node.modes)
        groups.setdefault(min(entry.node.modes, rest, key=lambda modes: (len(modes), modes)), []).append(number)
    chosen = [report.nodes[numbers[0]] for numbers in groups.values()]
    names = [" | ".join(str(report.nodes[k].node) for k in numbers) for numbers in groups.values()]
    ranked = sorted(range(len(chosen)), key=lambda k: -chosen[k].rank)[:_NODES]
    figure = _style.new_figure(6.8, 3.4)
    axes = figure.add_subplot()
    for place, number in enumerate(sorted(ranked)):
        entry = chosen[number]
        s = np.asarray(entry.singular_values[:_VALUES])
        relative = s / s[0] if s[0] > 0 else s
        count = np.arange(1, len(s) + 1)
        # Zeros have no logarithm, and what is far below the tolerance is rounding.
        relative = np.where(relative > 1e-3 * entry.rtol, relative, np.nan)
        color = _style.COLORS[place % len(_style.COLORS)]
        dashes = ("-", (0, (4, 2)))[place // len(_style.COLORS) % 2]
        axes.plot(count, relative, color=color, linewidth=1.3, linestyle=dashes, zorder=3)
        kept = min(entry.rank, len(s))
        axes.plot(count[:kept], relative[:kept], "o", color=color, markersize=4.2, zorder=4)
        axes.plot(count[kept:], relative[kept:], "o", color=color, markersize=4.2, markerfacecolor="white", zorder=4)
        axes.plot(
            [],
            [],
            "o",
            linestyle=dashes,
            color=color,
            markersize=4.2,
            label=f"{names[number]}  rank {entry.rank}",
        )
    axes.axhline(max(e.rtol for e in chosen), color=_style.INK, linewidth=0.8, linestyle=":", zorder=1)
    axes.set_yscale("log")
    shape = " x ".join(map(str, report.shape))
    _style.dress(axes, f"Singular values of the matricizations, {shape}", "number", "share of the largest")
    _style.thousands(axes.xaxis)
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside right upper",
        frameon=False,
        fontsize=8.5,
        handlelength=2.2,
        title="hollow: below the tolerance (dotted)",
        title_fontsize=8.5,
        alignment="left",
    )
    return figure
