"""Ranks on and off a tree: traces of one model, and errors and ranks of several on several targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import instance
from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import numbers, thing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLANK = 0.004
_MARKERS = ("o", "s", "o", "s")


@dataclass(frozen=True)
class TreeComparison:
    """Targets of low rank on several trees, completed on several trees.

    Attributes:
        targets: names of the rows.
        models: names of the columns.
        errors: ``(targets, models)`` relative reconstruction errors.
        points: name -> pairs (effective rank of the target, that of the model).
    """

    targets: Sequence[str]
    models: Sequence[str]
    errors: Any
    points: Mapping[str, Sequence[tuple[float, float]]]


@explained
def tree_bias(
    steps: Any, norms: Mapping[str, Any], values: Mapping[str, Any], comparison: TreeComparison, shown: float = 0.01
) -> Figure:
    """Local component norms and singular values against iterations; below, models against targets.

    Args:
        steps: ``(K,)`` iterations.
        norms: node -> ``(K, top)`` local component norms.
        values: matricization -> ``(K, top)`` singular values.
        comparison: what is drawn below.
        shown: lines that end above this share of the largest are colored; the others are gray.

    Raises:
        ValueError: if there are not two of either, or the lines are not ``(K, top)`` with K steps.

    Source: Razin, Maman & Cohen 2022, Sec. 4 (what is drawn above).

    Example:
        >>> from tnrank.plots import TreeComparison, tree_bias
        >>> lines = [[0.0, 0.0], [1.0, 0.5]]
        >>> both = TreeComparison(["a"], ["a", "b"], [[0.01, 1.0]], {"on": [(2.0, 2.0)]})
        >>> len(tree_bias([0, 1], {"n": lines, "root": lines}, {"on": lines, "off": lines}, both).axes)
        6
    """
    for name, given in (("norms", norms), ("values", values)):
        for node, lines in instance(given, name, Mapping, "a mapping of two names to arrays").items():
            numbers(lines, f"{node!r} in {name}")
    numbers(steps, "steps"), numbers(shown, "shown")
    comparison = thing(comparison, TreeComparison, "comparison")
    if len(norms) != 2 or len(values) != 2:
        raise ValueError(f"got {len(norms)} nodes and {len(values)} matricizations, needed two of either")
    figure = _style.new_figure(13.2, 6.2)
    rows: Any = figure.subfigures(2, 1, height_ratios=(1, 1.08))
    panels = [(f"Local components, {name}", lines, "local component norm") for name, lines in norms.items()]
    panels += [(f"Matricization {name}", lines, "singular value") for name, lines in values.items()]
    for axes, (title, lines, ylabel) in zip(rows[0].subplots(1, 4), panels, strict=True):
        _lines(axes, title, np.asarray(steps), np.asarray(lines), ylabel, shown)
    left, right = rows[1].subplots(1, 2, width_ratios=(1.55, 1))
    _table(left, comparison)
    _scatter(right, comparison)
    return figure


def _lines(axes: Axes, title: str, steps: Any, values: Any, ylabel: str, shown: float) -> None:
    from matplotlib.ticker import MaxNLocator

    if values.ndim != 2 or len(values) != len(steps):
        raise ValueError(f"{title!r} has {len(steps)} steps and values of shape {values.shape}: needed (steps, top)")
    top = float(values.max(initial=0.0)) or 1.0
    risen = int((values[-1] > shown * values[-1].max(initial=0.0)).sum())
    for k in range(values.shape[1] - 1, -1, -1):
        line = values[:, k]
        first = max(int(np.argmax(line > _BLANK * top)) - 1, 0) if k < risen else 0
        color = _style.COLORS[k % len(_style.COLORS)] if k < risen else _style.QUIET
        axes.plot(
            steps[first:], line[first:], color=color, linewidth=1.4 if k < risen else 0.9, zorder=3 - (k >= risen)
        )
    _style.dress(axes, title, "iterations", ylabel)
    axes.set_ylim(0, 1.16 * top)
    axes.set_xlim(0, max(1, int(steps[-1])))
    _style.thousands(axes.xaxis)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    axes.text(
        0.97,
        0.97,
        f"{risen} above {100 * shown:g} %",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=9,
        color=_style.INK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        zorder=6,
    )


def _table(axes: Axes, comparison: TreeComparison) -> None:
    errors = np.asarray(comparison.errors, np.float64)
    logs = np.log10(np.clip(errors, 1e-3, 1.0))
    axes.imshow(logs, cmap="Blues_r", vmin=-3.0, vmax=0.6, aspect="auto")
    for (row, column), error in np.ndenumerate(errors):
        told = f"{error:.2g}" if error < 0.995 else f"{error:.1f}"
        color = "white" if logs[row, column] < -1.2 else _style.INK
        axes.text(column, row, told, ha="center", va="center", fontsize=10.5, color=color)
    _style.dress(axes, "Relative reconstruction error", "model's tree", "target of low rank on")
    axes.grid(False)
    axes.set_xticks(range(len(comparison.models)), comparison.models, fontsize=9)
    axes.set_yticks(range(len(comparison.targets)), comparison.targets, fontsize=9)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _scatter(axes: Axes, comparison: TreeComparison) -> None:
    largest = max((max(pair) for pairs in comparison.points.values() for pair in pairs), default=1.0)
    axes.plot([0, 1.08 * largest], [0, 1.08 * largest], color=_style.QUIET, linewidth=1.2, zorder=1)
    colors = (_style.COLORS[0], _style.COLORS[5], _style.COLORS[1], _style.COLORS[4])
    for k, (name, pairs) in enumerate(comparison.points.items()):
        found = np.asarray(pairs, np.float64).reshape(-1, 2)
        color, marker = colors[k % len(colors)], _MARKERS[k % len(_MARKERS)]
        axes.scatter(found[:, 0], found[:, 1], s=30, color=color, marker=marker, label=name, zorder=3, linewidths=0)
    _style.dress(axes, "Effective ranks, balanced trees", "of the target", "of the model")
    axes.set_xlim(0, 1.08 * largest)
    axes.set_ylim(0, 1.08 * largest)
    axes.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)
