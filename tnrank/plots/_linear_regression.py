"""Gradient descent on least squares: where it ends, the ridge path beside it, and its stability limit."""

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


@dataclass(frozen=True)
class Descent:
    """A line of the first panel of :func:`linear_regression`.

    Attributes:
        label: from where, to what.
        steps: ``(K,)``.
        distances: ``(K,)``.
    """

    label: str
    steps: Any
    distances: Any


@dataclass(frozen=True)
class Probe:
    """A descent close to the stability limit.

    Attributes:
        share: its learning rate over the limit.
        steps: ``(K,)``.
        losses: ``(K,)``.
    """

    share: float
    steps: Any
    losses: Any


@explained
def linear_regression(
    descents: Sequence[Descent],
    times: Any,
    descent_norms: Any,
    ridge_norms: Any,
    gaps: Any,
    bound: float,
    probes: Sequence[Probe],
) -> Figure:
    """Three panels: distances to solutions, descent beside the ridge path, descents close to the stability limit.

    Args:
        descents: lines of the first panel.
        times: ``(K,)`` times of descent; ridge regression has their inverses as penalties.
        descent_norms: ``(K,)`` norms of the weights.
        ridge_norms: ``(K,)``.
        gaps: ``(K,)`` distances of the two.
        bound: of the gaps.
        probes: lines of the third panel.

    Raises:
        ValueError: for no descents, or a line with other numbers of values than of times.

    Source: the comparison of Ali, Kolter & Tibshirani 2019, Fig. 1.

    Example:
        >>> from tnrank.plots import Descent, linear_regression
        >>> line = Descent("from zero", [0, 1, 2], [1.0, 0.1, 0.01])
        >>> len(linear_regression([line], [1.0, 2.0], [0.5, 0.9], [0.5, 0.7], [0.0, 0.2], 0.2, []).axes)
        3
    """
    descents, probes = things(descents, Descent, "descents"), things(probes, Probe, "probes", 0)
    numbers(times, "times"), numbers(bound, "bound")
    for name, values in (("descent_norms", descent_norms), ("ridge_norms", ridge_norms), ("gaps", gaps)):
        if numbers(values, name).shape != np.shape(times):
            raise ValueError(f"{name} has shape {np.shape(values)}, needed that of the times, {np.shape(times)}")
    figure = _style.new_figure(12.6, 3.5)
    first, second, third = figure.subplots(1, 3)
    _distances(first, descents)
    _paths(second, times, descent_norms, ridge_norms, gaps, bound)
    _probes(third, probes)
    return figure


def _distances(axes: Axes, descents: Sequence[Descent]) -> None:
    for k, line in enumerate(descents):
        axes.plot(line.steps, line.distances, color=_style.COLORS[k], linewidth=1.7, label=line.label)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_yscale("log")
    _style.dress(axes, "Distance to a solution", "steps", "distance / least norm")
    axes.set_xlim(0, None)
    axes.legend(fontsize=8, frameon=False, loc="lower left")


def _paths(axes: Axes, times: Any, descent: Any, ridge: Any, gaps: Any, bound: float) -> None:
    blue, orange, green = _style.COLORS[:3]
    size = np.asarray(descent)[-1] or 1.0
    axes.plot(times, np.asarray(descent) / size, color=blue, linewidth=1.7, label="norm, descent at time t")
    axes.plot(
        times, np.asarray(ridge) / size, color=orange, linewidth=1.7, linestyle="--", label="norm, ridge at 1 / t"
    )
    axes.plot(times, gaps, color=green, linewidth=1.7, label="distance of the two")
    axes.axhline(bound, color=_style.QUIET, linewidth=1.0, linestyle=":", label=f"its bound, {bound:.3f}")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05)
    _style.dress(axes, "Descent beside the ridge path", "time t = rate x steps", "relative to the least norm")
    axes.legend(fontsize=8, frameon=False, loc="center right")


def _probes(axes: Axes, probes: Sequence[Probe]) -> None:
    for k, probe in enumerate(probes):
        losses = np.asarray(probe.losses) / (np.asarray(probe.losses)[0] or 1.0)
        label = f"{probe.share:g} of the limit"
        axes.plot(probe.steps, losses, color=_style.COLORS[k], linewidth=1.7, label=label)
    axes.set_yscale("log")
    _style.dress(axes, "Learning rates at the stability limit", "steps", "loss / initial loss")
    if probes:
        _style.thousands(axes.xaxis)
        axes.set_xlim(0, max(int(probe.steps[-1]) for probe in probes))
        axes.legend(fontsize=8, frameon=False, loc="upper left")
