"""A norm against the loss, one panel a problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import numbers, things

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_KINDS = ("kept", "lost", "exact")
_COLUMNS = 3


@dataclass(frozen=True, eq=False)
class NormCurve:
    """One line of a :class:`NormPanel`.

    Attributes:
        loss: ``(K,)``.
        norm: ``(K,)``.
        label: for the legend; curves of one label share a color.
        kind: ``"kept"``, a solid line: the determinant keeps its sign; ``"lost"``, dashed: it does not; ``"exact"``,
            circles: an exact flow.
        level: the height that it tends to, drawn as a thin line; ``None`` for none.
    """

    loss: Any
    norm: Any
    label: str
    kind: str = "kept"
    level: float | None = None

    @explained
    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in _KINDS:
            raise ValueError(f"the curve {self.label!r} is of kind {self.kind!r}: needed one of {', '.join(_KINDS)}")
        loss, norm = numbers(self.loss, "loss"), numbers(self.norm, "norm")
        if loss.ndim != 1 or loss.shape != norm.shape:
            raise ValueError(
                f"the curve {self.label!r} has losses of shape {np.shape(self.loss)} and norms of shape "
                f"{np.shape(self.norm)}: needed (K,) of both"
            )


@dataclass(frozen=True)
class NormPanel:
    """What one panel of :func:`norms_to_infinity` shows.

    Attributes:
        title: above the panel.
        curves: drawn in this order; lines that coincide stay visible.
        bound: losses and a lower bound of the norm at them; ``None`` for none.
    """

    title: str
    curves: Sequence[NormCurve]
    bound: tuple[Any, Any] | None = None


@explained
def norms_to_infinity(panels: Sequence[NormPanel], ylabel: str = "|unobserved entry|") -> Figure:
    """A norm against the loss, which falls from left to right; both axes logarithmic.

    Args:
        panels: three a row.
        ylabel: what the norm is.

    Raises:
        ValueError: for no panels.

    Source: the layout of Razin & Cohen 2020, Fig. 1.

    Example:
        >>> from tnrank.plots import NormCurve, NormPanel, norms_to_infinity
        >>> figure = norms_to_infinity([NormPanel("depth 3", [NormCurve([1.0, 0.1, 0.01], [0.1, 2.0, 7.0], "run")])])
        >>> len(figure.axes)
        1
    """
    panels = things(panels, NormPanel, "panels")
    for panel in panels:
        things(panel.curves, NormCurve, "curves", 0)
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    figure = _style.new_figure(3.7 * columns, 3.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, ylabel)
    return figure


def _draw(axes: Axes, panel: NormPanel, ylabel: str) -> None:
    _style.dress(axes, panel.title, "loss", ylabel)
    if panel.bound is not None:
        losses, bound = (np.asarray(a, np.float64) for a in panel.bound)
        axes.fill_between(losses, np.where(bound > 0, bound, np.nan), 1e-9, color=_style.GRID, zorder=1, linewidth=0)
        axes.plot(losses, bound, color=_style.QUIET, linewidth=1.2, label="lower bound, det > 0", zorder=2)
    lines = [curve for curve in panel.curves if curve.kind != "exact"]
    # One exact flow is what all the others are compared with; of several each goes with the line of its label.
    several = len(panel.curves) - len(lines) > 1
    labels = list(dict.fromkeys(curve.label for curve in panel.curves if several or curve in lines))
    for curve in panel.curves:
        loss, norm = np.asarray(curve.loss, np.float64), np.asarray(curve.norm, np.float64)
        color = _style.COLORS[labels.index(curve.label) % len(_style.COLORS)] if curve.label in labels else _style.INK
        if curve.kind == "exact":
            drawn = any(other.label == curve.label for other in lines)
            label = None if drawn else curve.label
            axes.plot(loss[::4], norm[::4], "o", markersize=3.2, color=color, fillstyle="none", label=label, zorder=5)
        elif curve.kind == "lost":
            axes.plot(loss, norm, "--", color=color, linewidth=1.6, zorder=4, label=f"{curve.label} (sign lost)")
        else:
            # Under one bound lines coincide: they show as bands of decreasing width.
            width = 1.6 if panel.bound is None else 1.4 + 0.9 * (len(lines) - 1 - lines.index(curve))
            axes.plot(loss, norm, color=color, linewidth=width, zorder=3, label=curve.label)
        if curve.level is not None:
            axes.axhline(curve.level, color=color, linewidth=0.7, zorder=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    every = np.concatenate([np.asarray(c.loss, np.float64) for c in panel.curves])
    top = max(float(np.max(c.norm)) for c in panel.curves)
    axes.set_xlim(1.2, 0.8 * float(every.min()))
    axes.set_ylim(max(1e-2, 1e-4 * top), 2.0 * top)
    axes.legend(fontsize=7, frameon=False, loc="best", handlelength=1.8)
