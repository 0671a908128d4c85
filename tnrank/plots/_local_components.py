"""Local component norms, and what they say about the distance to low hierarchical rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import thing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = {
    "theorem": ("theorem", 0, "-"),
    "bound": ("its sum", 1, "-"),
    "pruned": ("pruned: the largest kept", 2, "-"),
    "lower": ("at least, by singular values", 3, "--"),
}
_RISEN = 0.01
"""The share of the largest final norm above which a line is colored."""
_TRUNCATED = ("truncated hierarchical SVD", _style.INK)


@dataclass(frozen=True)
class NearLowRankPanel:
    """What :func:`local_components` shows; distances are relative to the norm of the tensor.

    Attributes:
        steps: ``(T,)`` iterations.
        norms: ``(T, R)``, local component norms at one node, descending.
        node: which one.
        during: ``"theorem"``, ``"bound"``, ``"pruned"``, ``"lower"`` -> ``(T,)``.
        snapshots: ``(S,)`` iterations.
        truncated: ``(S,)``, distances of the hierarchical SVD.
        stds: ``(K,)``, initial standard deviations.
        by_std: the names of ``during`` and ``"truncated"`` -> ``(K,)``, at the end.
        rank: how many components are kept.
        std: initial standard deviation of the run of the first two panels.
    """

    steps: Any
    norms: Any
    node: str
    during: Mapping[str, Any]
    snapshots: Any
    truncated: Any
    stds: Any
    by_std: Mapping[str, Any]
    rank: int
    std: float


@explained
def local_components(found: NearLowRankPanel) -> Figure:
    """Three panels: local component norms in training; distances to low rank then; the same against initial scale.

    Example:
        >>> import numpy as np
        >>> from tnrank.plots import NearLowRankPanel, local_components
        >>> during = {name: [1.0, 0.1] for name in ("theorem", "bound", "pruned", "lower")}
        >>> panel = NearLowRankPanel([0, 9], np.ones((2, 3)), "{0,1}", during, [0, 9], [1.0, 0.1], [0.2, 0.1],
        ...     {**during, "truncated": [1.0, 0.1]}, 2, 0.1)
        >>> len(local_components(panel).axes)
        3
    """
    found = thing(found, NearLowRankPanel, "what is drawn")
    figure = _style.new_figure(12.6, 3.7)
    left, middle, right = figure.subplots(1, 3)
    _norms(left, found)
    _during(middle, found)
    _by_std(right, found)
    handles, labels = middle.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8.5, frameon=False)
    for text in legend.get_texts():
        text.set_color(_style.INK)
    return figure


def _norms(axes: Axes, found: NearLowRankPanel) -> None:
    steps, norms = np.asarray(found.steps), np.asarray(found.norms, np.float64)
    final = norms[-1]
    for k in reversed(range(norms.shape[1])):
        risen = final[k] > _RISEN * final.max(initial=0.0)
        # The first colors belong to the lines of the legend.
        color = _style.COLORS[(k + len(_LINES)) % len(_style.COLORS)] if risen else _style.QUIET
        axes.plot(steps, norms[:, k], color=color, linewidth=1.7 if risen else 0.9, zorder=3 if risen else 2)
    axes.set_yscale("log")
    _style.dress(axes, f"Local components at {found.node}, std {found.std:g}", "iterations", "local component norm")
    _axis(axes, steps)


def _during(axes: Axes, found: NearLowRankPanel) -> None:
    steps = np.asarray(found.steps)
    for name, (label, color, dash) in _LINES.items():
        axes.plot(steps, found.during[name], dash, color=_style.COLORS[color], linewidth=1.6, label=label)
    style: dict[str, Any] = {"mfc": "white", "clip_on": False, "color": _TRUNCATED[1], "label": _TRUNCATED[0]}
    axes.plot(found.snapshots, found.truncated, "o", markersize=4.5, **style)
    axes.set_yscale("log")
    _style.dress(
        axes, f"Distance to rank {found.rank}, std {found.std:g}", "iterations", "distance / norm of the tensor"
    )
    _axis(axes, steps)


def _by_std(axes: Axes, found: NearLowRankPanel) -> None:
    for name, (_, color, dash) in _LINES.items():
        axes.plot(found.stds, found.by_std[name], dash, marker=".", color=_style.COLORS[color], linewidth=1.6)
    axes.plot(found.stds, found.by_std["truncated"], "o", markersize=4.5, markerfacecolor="white", color=_TRUNCATED[1])
    axes.set_xscale("log")
    axes.set_yscale("log")
    _style.dress(
        axes, f"Distance to rank {found.rank} at the end", "initial standard deviation", "distance / norm of the tensor"
    )
    axes.set_xticks(list(found.stds), [f"{std:g}" for std in found.stds])
    axes.minorticks_off()


def _axis(axes: Axes, steps: Any) -> None:
    axes.set_xlim(0, max(1, int(steps[-1])))
    _style.thousands(axes.xaxis)
    axes.tick_params(axis="y", which="minor", length=0)
