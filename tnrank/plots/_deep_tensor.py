"""Effective ranks, errors and spectra of models of several depths."""

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


@dataclass(frozen=True)
class DepthPanel:
    """One row of :func:`deep_tensor`.

    Attributes:
        title: of the model.
        depths: one line each.
        scales: initial norms of the end tensor, relative to the target's.
        ranks: ``(depths, scales)`` effective ranks.
        errors: ``(depths, scales)`` relative reconstruction errors.
        spectra: ``(depths, K)`` singular values at the largest scale, relative to the largest one.
        target_rank: effective rank of the target.
    """

    title: str
    depths: Sequence[int]
    scales: Sequence[float]
    ranks: Any
    errors: Any
    spectra: Any
    target_rank: float


@explained
def deep_tensor(panels: Sequence[DepthPanel]) -> Figure:
    """A row a model: effective rank and error against the initial scale, and spectra; one line a depth.

    Raises:
        ValueError: for no panels, or ranks or errors that are not ``(depths, scales)``.

    Source: the quantities followed by Milanesi, Kadri, Ayache & Artieres 2021.

    Example:
        >>> from tnrank.plots import DepthPanel, deep_tensor
        >>> both = [[3.0, 5.0], [3.0, 4.0]]
        >>> len(deep_tensor([DepthPanel("Tucker", [1, 2], [0.01, 0.1], both, both, both, 3.0)]).axes)
        3
    """
    panels = things(panels, DepthPanel, "panels")
    figure = _style.new_figure(11.4, 3.1 * len(panels))
    for row, panel in zip(figure.subplots(len(panels), 3, squeeze=False), panels, strict=True):
        wanted = (len(panel.depths), len(panel.scales))
        for name, values in (("ranks", panel.ranks), ("errors", panel.errors)):
            if np.shape(values) != wanted:
                raise ValueError(f"the {name} of {panel.title!r} have shape {np.shape(values)}: needed {wanted}")
        _draw(row, panel)
    return figure


def _draw(row: Any, panel: DepthPanel) -> None:
    ranks, errors, spectra = (np.asarray(a, np.float64) for a in (panel.ranks, panel.errors, panel.spectra))
    places = np.arange(1, spectra.shape[1] + 1)
    rank_axes, error_axes, spectrum_axes = row
    for k, depth in enumerate(panel.depths):
        look = {
            "color": _style.COLORS[k % len(_style.COLORS)],
            "label": f"depth {depth}",
            "markersize": 5,
            "marker": "o",
        }
        rank_axes.plot(panel.scales, ranks[k], **look)
        error_axes.plot(panel.scales, errors[k], **look)
        spectrum_axes.plot(places, spectra[k], **look)
    rank_axes.axhline(panel.target_rank, color=_style.QUIET, linewidth=1.6, linestyle="--", zorder=1, label="target")
    initial = "initial norm / target's norm"
    _style.dress(rank_axes, f"{panel.title}: effective rank", initial, "effective rank")
    _style.dress(error_axes, f"{panel.title}: reconstruction", initial, "relative error")
    _style.dress(
        spectrum_axes, f"{panel.title}: spectrum, from {panel.scales[-1]:g}", "singular value", "share of the first"
    )
    rank_axes.set_ylim(bottom=0)
    rank_axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    for axes in (rank_axes, error_axes):
        axes.set_xscale("log")
    for axes, values in ((error_axes, errors), (spectrum_axes, spectra)):
        _decades(axes, values)
    _whole(spectrum_axes, len(places))
    for axes in row:
        # Hundreds of small ticks take longer to lay out than all else.
        axes.minorticks_off()


def _decades(axes: Axes, values: Any) -> None:
    """A logarithmic axis of whole decades, so that its ticks are powers of ten."""
    found = np.log10(values[values > 0])
    axes.set_yscale("log")
    if len(found):
        low, high = np.floor(found.min()), np.ceil(found.max())
        axes.set_ylim(10.0**low, 1.25 * 10.0 ** max(high, low + 1))


def _whole(axes: Axes, count: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.5, count + 0.5)
