"""Matrix completion against the number of observed entries, and nuclear norms against the initial scale."""

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

_MARKERS = "osD^vP"


@dataclass(frozen=True)
class CompletionCurve:
    """One model of :func:`matrix_completion`.

    Attributes:
        label: its name.
        observed: ``(K,)`` numbers of observed entries.
        errors: ``(K,)`` relative errors.
        effective_ranks: ``(K,)``.
        nuclear_norms: ``(K,)``, over the least.
    """

    label: str
    observed: Any
    errors: Any
    effective_ranks: Any
    nuclear_norms: Any


@dataclass(frozen=True)
class ScaleCurve:
    """A line of the last panel of :func:`matrix_completion`.

    Attributes:
        label: its name.
        scales: ``(K,)`` initial scales.
        excess: ``(K,)``, the nuclear norm over the least, minus 1.
    """

    label: str
    scales: Any
    excess: Any


@explained
def matrix_completion(curves: Sequence[CompletionCurve], scales: Sequence[ScaleCurve]) -> Figure:
    """Errors, effective ranks and nuclear norms against observed entries; nuclear norms as the initial scale shrinks.

    Args:
        curves: one a model; the first is drawn as the baseline.
        scales: lines of the last panel.

    Raises:
        ValueError: for no curves.

    Source: the layout of Arora et al. 2019, Figs. 1 and 2.

    Example:
        >>> from tnrank.plots import CompletionCurve, ScaleCurve, matrix_completion
        >>> curve = CompletionCurve("depth 2", [100, 200], [1.0, 0.1], [4.0, 3.0], [1.1, 1.0])
        >>> len(matrix_completion([curve], [ScaleCurve("depth 2", [1e-2, 1e-4], [0.1, 0.2])]).axes)
        4
    """
    curves, scales = things(curves, CompletionCurve, "curves"), things(scales, ScaleCurve, "scales", 0)
    figure = _style.new_figure(10.2, 7.2)
    panels = figure.subplots(2, 2).ravel()
    _lines(panels[0], curves, [c.errors for c in curves], "Error over all entries", "relative error")
    panels[0].set_yscale("log")
    learned = [min(c.errors) for c in curves[1:]] or [min(curves[0].errors)]
    # Where a convex solver is exact there is nothing left to see.
    panels[0].set_ylim(bottom=0.5 * max(min(learned), 1e-12))
    _lines(panels[1], curves, [c.effective_ranks for c in curves], "Effective rank", "effective rank")
    _lines(panels[2], curves, [c.nuclear_norms for c in curves], "Nuclear norm", "nuclear norm / least")
    for axes in panels[1:3]:
        _logarithmic(axes)
    panels[1].legend(fontsize=8.5, frameon=False)
    _scales(panels[3], scales)
    return figure


def _lines(axes: Axes, curves: Sequence[CompletionCurve], lines: Sequence[Any], title: str, label: str) -> None:
    for k, (curve, values) in enumerate(zip(curves, lines, strict=True)):
        color = _style.INK if not k else _style.COLORS[(k - 1) % len(_style.COLORS)]
        style = "--" if not k else "-"
        marker = _MARKERS[k % len(_MARKERS)]
        axes.plot(
            curve.observed, values, style, color=color, linewidth=1.6, marker=marker, markersize=4.5, label=curve.label
        )
    _style.dress(axes, title, "observed entries", label)
    _style.thousands(axes.xaxis)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic axis of plain numbers, for values within one or two powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _scales(axes: Axes, curves: Sequence[ScaleCurve]) -> None:
    for k, curve in enumerate(curves):
        color = _style.COLORS[(k + 1) % len(_style.COLORS)] if k < len(curves) - 1 else _style.COLORS[4]
        shown = np.maximum(np.asarray(curve.excess, np.float64), 1e-8)
        axes.plot(
            curve.scales,
            shown,
            color=color,
            linewidth=1.6,
            marker=_MARKERS[k % len(_MARKERS)],
            markersize=4.5,
            label=curve.label,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    _style.dress(axes, "As the initial scale shrinks", "initial scale", "nuclear norm / least - 1")
    axes.invert_xaxis()
    if curves:
        axes.legend(fontsize=8.5, frameon=False, loc="lower left")
