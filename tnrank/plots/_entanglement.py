"""The entanglement of data at every level of a tree, beside that of its twins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import shown
from tnrank._explained import explained
from tnrank.plots import style as _style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tnrank.ranks import EntanglementReport

_LINES = (
    ("natural", 0, "o", "-"),
    ("shuffled", 1, "s", "-"),
    ("independent", 2, "D", "--"),
    ("uniform", "quiet", "^", ":"),
)


@explained
def entanglement(report: EntanglementReport) -> Figure:
    """Entropy over the features a node, one line for the data and one for each twin, with standard errors.

    Args:
        report: from :func:`tnrank.entanglement_report`. The shaded range has the nodes that its judgment is drawn from;
            the dotted line is ln M, and hollow marks are within ln 2 of it, as the legend says.

    Raises:
        TypeError: if ``report`` is none.

    Example:
        >>> import numpy as np, tnrank
        >>> report = tnrank.entanglement_report(np.random.default_rng(0).random((20, 16)))
        >>> len(tnrank.plots.entanglement(report).axes)
        1
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    from tnrank.ranks import EntanglementReport
    from tnrank.ranks._entanglement._judgment import LARGEST, SMALLEST

    if not isinstance(report, EntanglementReport):
        raise TypeError(
            f"report is an entanglement report, got {shown(report)}: "
            "tnrank.plots.entanglement(tnrank.entanglement_report(X))"
        )
    figure = _style.new_figure(6.4, 3.6)
    axes = figure.add_subplot()
    sizes = np.array([level.mean_features for level in report.levels])
    axes.axhline(report.limit, color=_style.INK, linewidth=0.8, linestyle=":", zorder=1)
    axes.annotate(
        f"ln {report.samples:,}",
        (0, report.limit),
        (3, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        fontsize=8.5,
        color=_style.INK,
    )
    saturated = False
    for name, number, marker, dashes in _LINES:
        means = [getattr(level, name) for level in report.levels]
        if None in means:
            continue
        color = _style.color_of(number)
        y = np.array([mean.entropy for mean in means])
        errors = np.nan_to_num([mean.error for mean in means])
        look: dict[str, Any] = {"color": color, "zorder": 4 if name == "natural" else 3}
        axes.errorbar(
            sizes, y, errors, linestyle=dashes, linewidth=1.6 if name == "natural" else 1.2, capsize=2.5, **look
        )
        hollow = y > report.limit - np.log(2)
        saturated = saturated or bool(hollow.any())
        for where, face in ((~hollow, color), (hollow, "white")):
            axes.plot(sizes[where], y[where], marker, markersize=4.6, markerfacecolor=face, **look)
        axes.plot([], [], marker, linestyle=dashes, color=color, markersize=4.6, label=name)
    judged = f"{SMALLEST} to {LARGEST} features,\nthe judged range"
    axes.axvspan(SMALLEST, LARGEST, color=_style.GRID, alpha=0.5, linewidth=0, zorder=0, label=judged)
    if saturated:
        axes.plot(
            [],
            [],
            "o",
            color=_style.INK,
            markerfacecolor="white",
            markersize=4.6,
            label=f"within ln 2 of\nln {report.samples:,}, saturated",
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlim(min(sizes) / 1.2, max(sizes) * 1.2)
    axes.set_ylim(0, 1.1 * report.limit)
    title = f"Entanglement of {report.samples:,} samples, {report.arrangement}"
    _style.dress(axes, title, "features a node", "entropy across the node, nats")
    axes.grid(False, axis="x")
    _style.legend(axes, "upper left", bbox_to_anchor=(1.01, 1.02), handlelength=2.6)
    return figure
