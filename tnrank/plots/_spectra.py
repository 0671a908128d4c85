"""The singular values at the nodes of a dimension tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._read import is_spectra, name_of, report_of, shape_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tnrank.ranks import RankReport

_LINES = 16
_VALUES = 64
_REACH = 1e-2
"""A tolerance below this share of the smallest value would press all values to the top: it is named, not drawn."""


class _Line(NamedTuple):
    name: str
    values: np.ndarray[Any, Any]
    rank: int
    rtol: float


@explained
def spectra(x: Any, tree: Any = None, rtol: float | None = None) -> Figure:
    """Singular values over the largest one, one line a matricization; filled marks count for the rank.

    Args:
        x: a report of :func:`tnrank.rank_report`, a dense tensor, a factorization, or ``{node or name: values}``. A
            node and its complement have one spectrum and are drawn once; of more than sixteen matricizations those
            with the largest ranks are drawn in color.
        tree: dimension tree of a tensor or factorization.
        rtol: tolerance of the rank, the dotted line; one more than two decades below all values is named only.

    Raises:
        ValueError: if there are no values, or as :func:`tnrank.rank_report`.

    Example:
        >>> import numpy as np, tnrank
        >>> figure = tnrank.plots.spectra(np.ones((2, 3, 4)))
        >>> len(figure.axes)
        1
    """
    figure = _style.new_figure(7.2, 3.6)
    axes = figure.add_subplot()
    if is_spectra(x):
        lines = [_line(name_of(node), values, rtol) for node, values in x.items()]
        _draw(axes, lines, "Singular values")
    else:
        draw_spectra(axes, report_of(x, tree, rtol))
    return figure


def draw_spectra(axes: Axes, report: RankReport) -> None:
    """The spectra of a report into axes, with a legend on their right."""
    order = len(report.shape)
    groups: dict[tuple[int, ...], list[Any]] = {}
    for entry in report.nodes:
        rest = tuple(sorted(set(range(order)) - set(entry.node.modes)))
        groups.setdefault(min(entry.node.modes, rest, key=lambda modes: (len(modes), modes)), []).append(entry)
    lines = []
    for entries in groups.values():
        # A unary node and its child are one matricization; their names are one name.
        names = list(dict.fromkeys(name_of(entry.node) for entry in entries))
        first = entries[0]
        lines.append(_Line(" | ".join(names), np.asarray(first.singular_values), first.rank, first.rtol))
    _draw(axes, lines, f"Singular values of the matricizations, {shape_text(report.shape)}")


def _line(name: str, values: Any, rtol: float | None) -> _Line:
    from tnrank._backend import backend_of

    s = values if isinstance(values, (list, tuple)) else backend_of(values).to_numpy(values)
    s = np.sort(np.asarray(s, np.float64))[::-1]
    if s.ndim != 1 or not s.size:
        raise ValueError(f"{name} has values of shape {s.shape}: needed singular values, one or more")
    limit = len(s) * float(np.finfo(np.float64).eps) if rtol is None else rtol
    return _Line(name, s, int((s > limit * s[0]).sum()), limit)


def _draw(axes: Axes, lines: list[_Line], title: str) -> None:
    if not lines:
        raise ValueError("got no singular values, needed those of at least one node")
    colored = set(sorted(range(len(lines)), key=lambda k: -lines[k].rank)[:_LINES])
    place = last = 0
    lowest = 1.0
    for number, line in enumerate(lines):
        s = line.values[:_VALUES]
        relative = s / s[0] if s[0] > 0 else s
        count = np.arange(1, len(s) + 1)
        # Zeros have no logarithm, and what is far below the tolerance is rounding.
        relative = np.where(relative > 1e-3 * line.rtol, relative, np.nan)
        last = max(last, int(np.isfinite(relative).sum()))
        lowest = float(np.nanmin(relative, initial=lowest))
        if number not in colored:
            axes.plot(count, relative, color=_style.QUIET, linewidth=0.8, zorder=2)
            continue
        color = _style.COLORS[place % len(_style.COLORS)]
        dashes = ("-", (0, (4, 2)))[place // len(_style.COLORS) % 2]
        place += 1
        axes.plot(count, relative, color=color, linewidth=1.3, linestyle=dashes, zorder=3)
        kept = min(line.rank, len(s))
        marks: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": color, "markersize": 4.2, "zorder": 4}
        axes.plot(count[:kept], relative[:kept], **marks)
        axes.plot(count[kept:], relative[kept:], **marks, markerfacecolor="white")
        label = f"{line.name}  rank {line.rank}"
        axes.plot([], [], "o", linestyle=dashes, color=color, markersize=4.2, label=label)
    if len(colored) < len(lines):
        others = len(lines) - len(colored)
        axes.plot(
            [], [], color=_style.QUIET, linewidth=0.8, label=f"{others} others, rank up to {_rest(lines, colored)}"
        )
    rtol = max(line.rtol for line in lines)
    caption = f"tolerance {rtol:.2g}: below the values shown" if last else "all values are zero"
    if rtol >= _REACH * lowest:
        caption = "hollow: below the tolerance (dotted)"
        axes.axhline(rtol, color=_style.INK, linewidth=0.8, linestyle=":", zorder=1)
        lowest = min(lowest, rtol)
    axes.set_yscale("log")
    # A margin of a twentieth, and of a fifth of a decade where all values are alike.
    margin = max(0.05 * -np.log10(max(lowest, np.finfo(np.float64).tiny)), 0.1)
    axes.set_ylim(max(lowest, np.finfo(np.float64).tiny) * 10**-margin, 10**margin)
    _style.dress(axes, title, "number", "share of the largest")
    axes.tick_params(axis="y", which="minor", labelsize=8.5, color="#8A9099", labelcolor=_style.INK)
    _style.thousands(axes.xaxis)
    axes.set_xlim(0.5, max(last, 2) + 0.5)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        fontsize=8.5,
        handlelength=2.2,
        title=caption,
        title_fontsize=8.5,
        alignment="left",
    )


def _rest(lines: list[_Line], colored: set[int]) -> int:
    return max(line.rank for number, line in enumerate(lines) if number not in colored)
