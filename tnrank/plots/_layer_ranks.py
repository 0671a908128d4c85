"""The ranks of a model's weights: their spectra, or what a radar recorded against steps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import shown
from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots.painters import Line, lines, staircase
from tnrank.ranks import onsets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_MOST_LINES = 8
_MOST_PANELS = 11
_MOST_VALUES = 12
"""Of the singular values of a weight, how many have a number each beside their ends."""
_MOST_BARS = 24
_LONG = 22


@explained
def layer_ranks(x: Any, threshold: float = 0.1) -> Figure:
    """The ranks of the weights of a model, at one time or while it trained.

    Args:
        x: a report of ``layer_ranks``: spectra of all weights over the largest value, and for each weight the ranks as
            shares of the full rank. Or a ``RankRadar``: effective ranks against steps, and the leading singular values
            of each weight with the steps at which they set in.
        threshold: share of the final largest singular value at which others set in, of a radar.

    Raises:
        TypeError: if it is neither.
        ValueError: if nothing was recorded.

    Example:
        >>> import numpy as np, tnrank
        >>> report = tnrank.radar.layer_ranks({"fc.weight": np.eye(6, 4), "out.weight": np.ones((2, 6))})
        >>> len(tnrank.plots.layer_ranks(report).axes)
        2
    """
    if hasattr(x, "history") and hasattr(x, "last_step"):
        return _recorded(x.history, threshold)
    if not hasattr(x, "rows") or not hasattr(x, "kept"):
        raise TypeError(
            f"got {shown(x)}, needed the report of tnrank.radar.layer_ranks(weights), or a tnrank.radar.RankRadar"
        )
    return _report(x)


def _report(report: Any) -> Figure:
    rows = report.rows
    bars = min(len(rows), _MOST_BARS)
    height = max(3.6, 0.4 * bars + 1.4)
    figure = _style.new_figure(11.0, height)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for number, row in enumerate(rows):
        s = np.asarray(row.matrix.singular_values)
        relative = s / s[0] if s[0] > 0 else s
        places = (np.arange(len(s)) + 1) / len(s)
        colored = number < _MOST_LINES
        chosen: dict[str, Any] = {"color": _style.color_of(number if colored else "quiet"), "zorder": 2 + colored}
        chosen |= {"linewidth": 1.5 if colored else 0.8, "label": _name(row.name) if colored else "_"}
        chosen |= {"marker": "o"} if len(s) < 2 else {}
        # Zeros have no logarithm, and what is far below single precision is rounding.
        left.plot(places, np.where(relative > 1e-8, relative, np.nan), **chosen)
    if len(rows) > _MOST_LINES:
        left.plot([], [], color=_style.QUIET, linewidth=0.8, label=f"{len(rows) - _MOST_LINES} others")
    left.set_yscale("log")
    left.set_xlim(0, 1)
    _style.dress(left, "Singular values", "number, as a share of all", "share of the largest")
    _style.legend(left, "lower left")
    _bars(right, rows[:bars], report.rtol, len(rows) - bars)
    return figure


def _bars(axes: Axes, rows: Any, rtol: float, left_out: int) -> None:
    """Ranks of each weight as shares of its full rank."""
    places = np.arange(len(rows))[::-1]
    full = np.array([min(row.sides) for row in rows])
    kinds = (
        (f"within {rtol:g} of the weight", [row.matrix.compressed_rank for row in rows]),
        ("effective", [row.matrix.effective_rank for row in rows]),
        ("stable", [row.matrix.stable_rank for row in rows]),
    )
    for k, (label, ranks) in enumerate(kinds):
        at = places + 0.26 * (1 - k)
        axes.barh(at, np.asarray(ranks) / full, height=0.24, color=_style.color_of((5, 0, 1)[k]), label=label)
    axes.set_yticks(places, [f"{_name(row.name)}  ({count})" for row, count in zip(rows, full, strict=True)])
    axes.set_xlim(0, 1.02)
    more = f", {left_out} more weights" if left_out else ""
    _style.dress(axes, f"Ranks (full rank){more}", "share of the full rank", "")
    axes.grid(False, axis="y")
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=3, frameon=False, fontsize=8.5)


def _recorded(history: Any, threshold: float) -> Figure:
    if not history:
        raise ValueError("nothing was recorded: call radar.record(step, weights) first")
    names = list(history)
    drawn: list[Any] = [partial(_effective, history=history)]
    drawn += [partial(_steps, name=name, history=history[name], threshold=threshold) for name in names[:_MOST_PANELS]]
    columns = min(_COLUMNS, len(drawn))
    figure, axes = _style.panels(-(-len(drawn) // columns), columns)
    for panel, draw in zip(axes.ravel(), drawn, strict=False):
        draw(panel)
    told = max(axes.ravel()[1 : len(drawn)], key=lambda panel: len(panel.get_legend_handles_labels()[1]), default=None)
    if told is not None and told.get_legend_handles_labels()[1]:
        _style.legend_below(figure, told)
    for panel in axes.ravel()[len(drawn) :]:
        panel.remove()
    if len(names) > _MOST_PANELS:
        figure.suptitle(f"the first {_MOST_PANELS} of {len(names)} weights", fontsize=9)
    return figure


def _effective(axes: Axes, history: Any) -> None:
    curves = []
    for name, one in list(history.items())[:_MOST_LINES]:
        curves.append(Line(one.steps, _shares(one), _name(name), marker="o" if len(one) < 2 else ""))
    lines(axes, curves, "Effective rank", "step", "share of that of the first record")
    axes.set_ylim(bottom=0)


def _shares(history: Any) -> Any:
    first = next((value for value in history.effective_rank if np.isfinite(value) and value > 0), 1.0)
    return history.effective_rank / first


def _steps(axes: Axes, name: str, history: Any, threshold: float) -> None:
    good = np.isfinite(history.singular_values).all(axis=1)
    steps, values = history.steps[good], history.singular_values[good][:, :_MOST_VALUES]
    if not len(steps):
        _style.dress(axes, _name(name), "step", "singular value")
        return
    found = onsets(steps, values, threshold)
    staircase(axes, steps, values, _name(name), "singular value", found if _apart(found) else ())
    axes.set_xlabel("step")
    if (box := axes.get_legend()) is not None:
        box.remove()  # one under all panels is in nobody's way


def _apart(found: Iterable[int]) -> bool:
    """Whether values set in after the first record, so that their steps say something."""
    return len(set(found)) > 1


def _name(name: str) -> str:
    return name if len(name) <= _LONG else f"..{name[-_LONG + 2 :]}"
