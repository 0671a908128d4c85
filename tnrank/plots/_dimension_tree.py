"""A dimension tree with rank and entropy on every edge."""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import TYPE_CHECKING, Any

from tnrank._explained import explained
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.plots import style as _style
from tnrank.plots._read import entropy_of, name_of, report_of, shape_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tnrank.ranks import RankReport

_ROWS = 64
_ROW = 0.235
"""Inches from leaf to leaf."""
_WIDE, _NARROW = 1.12, 0.62
"""Inches from level to level: of shallow trees, and of deep ones."""
_MOST = 12.0


@explained
def dimension_tree(x: Any, tree: Any = None, rtol: float | None = None) -> Figure:
    """The tree from the root (left) to the modes (right): rank and entropy on every edge, which is as wide as its rank.

    Args:
        x: a report of :func:`tnrank.rank_report`, a dense tensor, a factorization, or a DimensionTree, which is drawn
            bare. Of more than 64 modes, small subtrees are drawn as one leaf, and a line says so.
        tree: dimension tree of a tensor or factorization.
        rtol: tolerance of the ranks.

    Raises:
        ValueError: as :func:`tnrank.rank_report`.

    Source: the entropy is that of the squared singular values, -sum p log p with p = s^2 / sum s^2 (nats).

    Example:
        >>> import tnrank
        >>> x = tnrank.HierarchicalTucker.random((4,) * 4, rank=2, seed=0)
        >>> len(tnrank.plots.dimension_tree(x).axes)
        1
    """
    report = None if isinstance(x, DimensionTree) else report_of(x, tree, rtol)
    drawn = x if report is None else report.tree
    figure = _style.new_figure(*tree_size(drawn))
    draw_tree(figure.add_subplot(), drawn, report)
    return figure


def tree_size(tree: DimensionTree) -> tuple[float, float]:
    """Width and height in inches that the picture of a tree needs."""
    rows, levels = len(_cut(tree)[1]), _levels(tree)
    # A few rows stand apart, so that the title has room.
    return max(4.6, levels * _level(tree) + (3.2 if _is_slanted(tree) else 1.6)), max(2.2, rows * _row(rows) + 1.1)


def draw_tree(axes: Axes, tree: DimensionTree, report: RankReport | None) -> None:
    """The tree into axes; without a report it is drawn bare."""
    below, ends = _cut(tree)
    entries = {} if report is None else {entry.node: entry for entry in report.nodes}
    places = _places(tree, below, ends)
    ranks = {node: entry.rank for node, entry in entries.items()}
    most = max(ranks.values(), default=1)
    slanted, narrow = _is_slanted(tree), _level(tree) < 0.9
    for parent, children in below.items():
        for child in children:
            entry = entries.get(child) or _same(entries, child)
            rank = 1 if entry is None else entry.rank
            width = 1.2 if entry is None else 0.7 + 3.3 * log(max(rank, 1)) / max(log(max(most, 2)), 1.0)
            _edge(axes, places[parent], places[child], width)
            if entry is not None:
                words = rf"$\mathbf{{{rank}}}$  {entropy_of(entry):.2f}"
                if slanted and child in below:
                    # Left of the slanting line of nodes there is nothing else.
                    x, y = places[parent][0] - 0.07, places[child][1]
                    axes.text(x, y, words, ha="right", va="center", fontsize=7, color=_style.INK, zorder=5)
                else:
                    _label(axes, places[parent], places[child], words, narrow and not slanted)
    for node, (x, y) in places.items():
        leaf = node in ends
        color = _style.COLORS[1] if leaf else _style.INK if node == tree.root else _style.COLORS[0]
        axes.plot([x], [y], "o", color=color, markersize=5.5, markeredgecolor="white", markeredgewidth=0.8, zorder=6)
        if leaf:
            text = name_of(node) if not node.height else f"{name_of(node)}  {len(node.modes)} modes"
            axes.text(x + 0.09, y, text, va="center", fontsize=7.5, color=_style.INK, zorder=6)
    _frame(axes, tree, report, places, ends)


def _same(entries: dict[Node, Any], node: Node) -> Any:
    """A unary node and its child are one row of a report."""
    return next((entry for other, entry in entries.items() if other.modes == node.modes), None)


@lru_cache(maxsize=4)
def _cut(tree: DimensionTree) -> tuple[dict[Node, tuple[Node, ...]], list[Node]]:
    """The part of the tree that is drawn: children of each node, and the ends in their order from top to bottom."""
    ends = set(tree.leaves)
    if len(ends) > _ROWS:
        # The smallest subtrees go first, all of one size together.
        sizes = sorted({len(node.modes) for node in tree.interior})
        for size in sizes:
            for node in [node for node in tree.interior if len(node.modes) == size and node != tree.root]:
                if len(ends) > _ROWS:
                    modes = set(node.modes)
                    ends = {end for end in ends if end.modes[0] not in modes} | {node}
    below: dict[Node, tuple[Node, ...]] = {}
    order: list[Node] = []
    stack = [tree.root]
    while stack:
        node = stack.pop()
        if node in ends:
            order.append(node)
            continue
        below[node] = tree.children(node)
        stack.extend(reversed(below[node]))
    return below, order


def _depths(tree: DimensionTree) -> dict[Node, int]:
    below, _ = _cut(tree)
    found = {tree.root: 0}
    for node in sorted(below, key=lambda node: -node.height):
        for child in below[node]:
            found[child] = found[node] + 1
    return found


def _levels(tree: DimensionTree) -> int:
    return max(_depths(tree).values())


def _level(tree: DimensionTree) -> float:
    step = min(_WIDE, _MOST / max(1, _levels(tree)))
    return step if _is_slanted(tree) else max(_NARROW, step)


def _is_slanted(tree: DimensionTree) -> bool:
    """Whether the tree is deep and has one interior node a level: words then stand beside it, not on its edge."""
    below, _ = _cut(tree)
    return len(below) > 12 and all(sum(child in below for child in children) < 2 for children in below.values())


def _row(rows: int) -> float:
    return _ROW if rows > 12 else 0.34


def _places(
    tree: DimensionTree, below: dict[Node, tuple[Node, ...]], ends: list[Node]
) -> dict[Node, tuple[float, float]]:
    """Inches: x by depth (ends all on the right), y by row, a parent in the middle of its children."""
    depths, step, row = _depths(tree), _level(tree), _row(len(ends))
    # Where levels are narrow the words on the last edges still need their inch.
    last = max(depths.values()) * step + (0.9 if step < _NARROW else 0.0)
    places = {node: (last, -k * row) for k, node in enumerate(ends)}
    for node in sorted(below, key=lambda node: -depths[node]):
        heights = [places[child][1] for child in below[node]]
        places[node] = (depths[node] * step, (min(heights) + max(heights)) / 2)
    return places


def _edge(axes: Axes, start: tuple[float, float], end: tuple[float, float], width: float) -> None:
    """A curve that leaves the parent and runs level into the child."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    (x0, y0), (x1, y1) = start, end
    bend = x0 + min(0.34, 0.45 * (x1 - x0))
    middle = (x0 + bend) / 2
    points = [(x0, y0), (middle, y0), (middle, y1), (bend, y1), (x1, y1)]
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4, Path.LINETO]
    axes.add_patch(
        PathPatch(Path(points, codes), fill=False, edgecolor="#9CC3DD", linewidth=width, capstyle="round", zorder=2)
    )


def _label(axes: Axes, start: tuple[float, float], end: tuple[float, float], words: str, narrow: bool) -> None:
    """Words on the level part of an edge, near its end where that is long."""
    (x0, _), (x1, y) = start, end
    bend = x0 + min(0.34, 0.45 * (x1 - x0))
    x = (bend + x1) / 2 if x1 - x0 < 1.5 else x1 - 0.45
    white = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none"}
    size = 5.6 if narrow else 7
    axes.text(x, y, words, ha="center", va="center", fontsize=size, color=_style.INK, bbox=white, zorder=5)


def _frame(
    axes: Axes, tree: DimensionTree, report: RankReport | None, places: dict[Node, Any], ends: list[Node]
) -> None:
    title = "Dimension tree" if report is None else f"Dimension tree, {shape_text(report.shape)}"
    axes.set_title(title, loc="left", fontsize=10, color=_style.INK, pad=10)
    notes = [] if report is None else ["on every edge: rank and entropy (nats); wide: large rank"]
    gathered = [node for node in ends if node.height]
    if gathered:
        largest = max(len(node.modes) for node in gathered)
        subtrees = "a subtree" if len(gathered) == 1 else f"{len(gathered)} subtrees"
        verb = "is" if len(gathered) == 1 else "are"
        notes.append(f"{subtrees} of up to {largest:,} of the {tree.order:,} modes {verb} drawn as one leaf")
    axes.text(
        0, 0, "\n".join(notes), transform=axes.transAxes, va="top", fontsize=7.5, color="#5F6772", linespacing=1.4
    )
    right = max(x for x, _ in places.values())
    bottom = min(y for _, y in places.values())
    left = -0.75 if report is not None and _is_slanted(tree) else -0.15
    axes.set_xlim(left, right + (1.5 if gathered else 0.6))
    axes.set_ylim(bottom - 0.2, 0.2)
    axes.axis("off")
