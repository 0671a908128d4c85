"""Spectra and dimension tree of a tensor side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._dimension_tree import draw_tree, tree_size
from tnrank.plots._read import report_of
from tnrank.plots._spectra import draw_spectra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 7.2, 3.8


@explained
def ranks(x: Any, tree: Any = None, rtol: float | None = None) -> Figure:
    """:func:`spectra` and :func:`dimension_tree` in one figure.

    Args:
        x: a report of :func:`tnrank.rank_report`, a dense tensor, or a factorization.
        tree: dimension tree of a tensor or factorization.
        rtol: tolerance of the ranks.

    Raises:
        ValueError: as :func:`tnrank.rank_report`.

    Example:
        >>> import numpy as np, tnrank
        >>> len(tnrank.plots.ranks(np.ones((2, 3, 4))).axes)
        2
    """
    report = report_of(x, tree, rtol)
    width, height = tree_size(report.tree)
    total = max(height, _HEIGHT)
    figure = _style.new_figure(_WIDTH + width, total)
    grid = figure.add_gridspec(1, 2, width_ratios=[_WIDTH, width])
    # Beside a tall tree the spectra keep their shape.
    tall = total > 1.4 * _HEIGHT
    left = grid[0].subgridspec(2, 1, height_ratios=[_HEIGHT, total - _HEIGHT])[0] if tall else grid[0]
    draw_spectra(figure.add_subplot(left), report)
    draw_tree(figure.add_subplot(grid[1]), report.tree, report)
    return figure
