"""The analogy between factorizations as a table: a row each, with measured curves."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._arguments import things
from tnrank.plots._save import image_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEADERS = ("quantity", "dynamics", "experiment", "minimized rank")
_MOST_POINTS = 400
_LAW = r"$d\sigma/d\tau = K\,\sigma^{\,2-2/K}\,\gamma$"
_NONE = "no exponent: nothing grew"


@dataclass(frozen=True)
class AnalogyRow:
    """What one row of :func:`analogy` shows.

    Attributes:
        title: the factorization.
        quantity: whose values the curves are.
        order: K of the dynamics law.
        order_name: what K is.
        steps: ``(T,)``, iterations.
        values: ``(T, top)``, descending in each row.
        norms: ``(P,)``, measured values while they grow.
        ratios: ``(P,)``, their measured rates over the projection gamma.
        exponent: fitted to those; not a number if nothing grew to fit one to.
        interval: its confidence interval.
        rank: the rank that is minimized.
        measured: lines about it.
    """

    title: str
    quantity: str
    order: int
    order_name: str
    steps: Any
    values: Any
    norms: Any
    ratios: Any
    exponent: float
    interval: tuple[float, float]
    rank: str
    measured: Sequence[str]


@explained
def analogy(rows: Sequence[AnalogyRow]) -> Figure:
    """The table as one figure.

    Args:
        rows: from top to bottom.

    Raises:
        ValueError: for no rows.

    Source: the closing table of Razin, Maman & Cohen's summaries of their papers.

    Example:
        >>> from tnrank.plots import AnalogyRow, analogy
        >>> row = AnalogyRow("CP", "norms", 3, "K = 3", [0, 1], [[0.0], [1.0]], [0.1, 1.0], [0.14, 3.0], 1.33,
        ...                  (1.3, 1.4), "tensor rank", ["1 component"])
        >>> len(analogy([row]).axes)
        4
    """
    rows = things(rows, AnalogyRow, "rows")
    figure = _style.new_figure(13.2, 2.9 * len(rows) + 0.3)
    grid = figure.subplots(len(rows), 4, squeeze=False, gridspec_kw={"width_ratios": (1.0, 1.25, 1.6, 1.15)})
    for axes, row in zip(grid, rows, strict=True):
        _text(axes[0], row.title, [row.quantity, _LAW, row.order_name])
        _law(axes[1], row)
        _curves(axes[2], row)
        _text(axes[3], row.rank, row.measured)
    for axes, header in zip(grid[0], _HEADERS, strict=True):
        axes.annotate(
            header.upper(),
            (0, 1.0),
            xycoords="axes fraction",
            xytext=(0, 30),
            textcoords="offset points",
            fontsize=8.5,
            color="#6B7280",
            annotation_clip=False,
        )
    return figure


@explained
def analogy_page(rows: Sequence[AnalogyRow]) -> str:
    """The table as an HTML page that needs no other file.

    Args:
        rows: from top to bottom.

    Raises:
        ValueError: for no rows.

    Example:
        >>> from tnrank.plots import AnalogyRow, analogy_page
        >>> row = AnalogyRow("CP", "norms", 3, "K = 3", [0, 1], [[0.0], [1.0]], [0.1, 1.0], [0.14, 3.0], 1.33,
        ...                  (1.3, 1.4), "tensor rank", ["1 component"])
        >>> "tensor rank" in analogy_page([row])
        True
    """
    rows = things(rows, AnalogyRow, "rows")
    head = "".join(f"<th>{header}</th>" for header in ("factorization", *_HEADERS))
    body = "\n".join(_html_row(row) for row in rows)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Three factorizations, one law</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        "<h1>Three factorizations, one law</h1>\n"
        "<p>Each was trained from small weights on half of the entries of a target of low rank. Components grow by "
        "d&sigma;/d&tau; = K &sigma;<sup>2 &minus; 2/K</sup> &gamma;, with &gamma; = &lt;&minus;grad L, C&gt; the "
        "projection of the gradient on the component: what is small stays small for long, so that components appear "
        "one at a time and the rank stays low. Curves, exponents and ranks below were measured in this run.</p>\n"
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n'
        "</body>\n</html>\n"
    )


_CSS = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#22262B;margin:2rem auto;max-width:1280px;padding:0 1rem}"
    "h1{font-size:1.5rem;margin:0 0 .5rem}p{max-width:60rem}.wide{overflow-x:auto}"
    "table{border-collapse:collapse;width:100%}"
    "th{font-size:.75rem;text-transform:uppercase;letter-spacing:.05em;color:#6B7280;text-align:left}"
    "th,td{padding:.7rem;vertical-align:top;border-bottom:1px solid #E3E6EA}"
    "img{display:block;width:100%;min-width:17rem}small{color:#6B7280;display:block}"
)


def _html_row(row: AnalogyRow) -> str:
    law = f"d&sigma;/d&tau; = {row.order} &sigma;<sup>2 &minus; 2/{row.order}</sup> &gamma;"
    low, high = row.interval
    found = f"fitted exponent {row.exponent:.4f} ({low:.4f} to {high:.4f})"
    if np.isnan(row.exponent):
        found = _NONE
    fitted = f"{found}, theory {2 - 2 / row.order:.4f}"
    told = "".join(f"<small>{html.escape(line)}</small>" for line in row.measured)
    cells = (
        f"<b>{html.escape(row.title)}</b>",
        f"{html.escape(row.quantity)}<small>{html.escape(row.order_name)}</small>",
        f"{law}<small>{fitted}</small>{_image(row, _law, 3.1, 'measured rates on the line of the theory')}",
        _image(row, _curves, 4.2, f"{row.quantity} against iterations"),
        f"<b>{html.escape(row.rank)}</b>{told}",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _image(row: AnalogyRow, draw: Any, width: float, about: str) -> str:
    figure = _style.new_figure(width, 2.6)
    draw(figure.subplots(), row)
    data = base64.b64encode(image_bytes(figure, "cell.png", dpi=150)).decode()
    return f'<img alt="{html.escape(row.title)}: {html.escape(about)}" src="data:image/png;base64,{data}">'


def _text(axes: Axes, title: str, lines: Sequence[str]) -> None:
    axes.set_axis_off()
    axes.text(0, 0.93, title, fontsize=11, color=_style.INK, va="top", weight="bold", wrap=True)
    for k, line in enumerate(lines):
        axes.text(0, 0.74 - 0.13 * k, line, fontsize=8.5, color=_style.INK, va="top")


def _law(axes: Axes, row: AnalogyRow) -> None:
    norms, ratios = np.asarray(row.norms, np.float64), np.asarray(row.ratios, np.float64)
    kept = np.unique(np.linspace(0, len(norms) - 1, min(_MOST_POINTS, len(norms))).astype(int))
    exponent = 2 - 2 / row.order
    line = np.geomspace(norms.min(), norms.max(), 50) if norms.size else np.geomspace(1e-3, 1, 50)
    axes.plot(line, row.order * line**exponent, color=_style.INK, linewidth=1.1, label="theory")
    axes.plot(norms[kept], ratios[kept], "o", markersize=3, color=_style.COLORS[0], alpha=0.55, label="measured")
    axes.set_xscale("log")
    axes.set_yscale("log")
    found = _NONE if np.isnan(row.exponent) else f"exponent {row.exponent:.3f}"
    _style.dress(axes, f"{found}, theory {exponent:.3f}", r"$\sigma$", r"$\dot\sigma\,/\,\gamma$")
    axes.legend(fontsize=7.5, frameon=False, loc="upper left")


def _curves(axes: Axes, row: AnalogyRow) -> None:
    values = np.asarray(row.values, np.float64)
    final = values[-1]
    for k in range(values.shape[1]):
        risen = final[k] > 0.01 * final.max(initial=0.0)
        color = _style.COLORS[k % len(_style.COLORS)] if risen else _style.QUIET
        axes.plot(row.steps, values[:, k], color=color, linewidth=1.6 if risen else 0.9, zorder=3 if risen else 2)
    _style.dress(axes, row.quantity, "iterations", "")
    axes.set_xlim(0, max(1, int(row.steps[-1])))
    axes.set_ylim(0, None)
    _style.thousands(axes.xaxis)
