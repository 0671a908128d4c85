"""A tensor network as a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import atan2, cos, hypot, pi, sin
from typing import TYPE_CHECKING, Any

from tnrank._check import instance
from tnrank._explained import explained
from tnrank.network import Network
from tnrank.plots import _layout
from tnrank.plots import style as _style
from tnrank.plots._read import shape_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMED = 40
"""Tensors up to which names and sizes are written."""
_LONG = 10
"""Letters of a name that is written beside its disc; short ones stand in it."""
_STUB = 0.55
_GRAY = "#8A9099"


@explained
def network(x: Any, sizes: Mapping[Any, int] | None = None) -> Figure:
    """The tensors of a network as discs, indices as lines with their sizes, hyperindices as dots where lines meet.

    Open indices dangle. Chains are drawn in a line, trees from their root down, all else by distances in the graph.

    Args:
        x: a Network or a factorization.
        sizes: index -> size, for a Network; without it the lines bear the names of the indices.

    Raises:
        TypeError: if ``x`` is neither.

    Source: Gansner, Koren & North 2004 (layout by stress majorization).

    Example:
        >>> import tnrank
        >>> figure = tnrank.plots.network(tnrank.TensorTrain.random((4,) * 5, rank=3, seed=0))
        >>> len(figure.axes)
        1
    """
    net = x if isinstance(x, Network) else getattr(x, "network", None)
    if not isinstance(net, Network):
        raise TypeError(f"got {type(x).__name__}, needed a Network or a factorization")
    if sizes is not None:
        instance(sizes, "sizes", Mapping, "a mapping of indices to sizes such as {'i': 4}")
    if net is not x and sizes is None:
        sizes = net.sizes(x.arrays)
    graph = _graph(net)
    places, upright = _place(graph, _root(x, net))
    drawing = _Drawing(net, {} if sizes is None else sizes, graph, places, upright)
    left, right, bottom, top = drawing.box()
    scale = min(1.0, 16.0 / max(right - left, top - bottom))
    figure = _style.new_figure(max(3.4, scale * (right - left)), max(1.6, scale * (top - bottom) + 0.45))
    axes = figure.add_subplot()
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_aspect("equal")
    axes.axis("off")
    title = f"{len(net.tensors)} tensors, {len(net.indices)} indices"
    if net is not x:
        title = f"{type(x).__name__}, {shape_text(tuple(x.shape))}: {title}"
    if not drawing.named:
        title += f" (names and sizes are shown up to {_NAMED} tensors)"
    axes.set_title(title, loc="left", fontsize=10, color=_style.INK, pad=6)
    drawing.draw(axes)
    return figure


def _graph(net: Network) -> dict[Any, list[Any]]:
    """Vertices ("tensor", name) and, for indices that three or more ends meet at, ("dot", label)."""
    graph: dict[Any, list[Any]] = {("tensor", name): [] for name in net.tensors}
    for label in net.indices:
        holders = net.holders(label)
        if _is_dot(net, label):
            graph["dot", label] = [("tensor", name) for name in holders]
            for name in holders:
                graph["tensor", name].append(("dot", label))
        elif len(holders) == 2:
            graph["tensor", holders[0]].append(("tensor", holders[1]))
            graph["tensor", holders[1]].append(("tensor", holders[0]))
    return graph


def _is_dot(net: Network, label: Any) -> bool:
    """Where more than two ends of lines meet; an open end is one of them."""
    return len(net.holders(label)) + (label in net.output) > 2


def _root(x: Any, net: Network) -> Any:
    """The tensor at the root of a factorization's own tree: the one of them that comes last."""
    return ("tensor", list(net.tensors)[-1]) if x is not net and getattr(x, "tree", None) is not None else None


def _place(graph: dict[Any, list[Any]], root: Any) -> tuple[_layout.Places, set[Any]]:
    """Inches, components side by side; and the vertices whose open indices hang down or stand up."""
    places: _layout.Places = {}
    upright: set[Any] = set()
    offset = 0.0
    for vertices in _layout.components(graph):
        wide, high = 1.25, 1.25
        found = _layout.chain(graph, vertices)
        if found is not None:
            upright.update(vertices)
        found = found or _layout.star(graph, vertices, 1.0)
        if found is None and _layout.is_tree(graph, vertices):
            found = _layout.levels(graph, vertices, root if root in vertices else _layout.center(graph, vertices))
            upright.update(vertices)
            wide, high = 0.8, 0.85
        found = found or _layout.springs(graph, vertices)
        low = min(x for x, _ in found.values())
        places |= {v: (wide * (x - low) + offset, high * y) for v, (x, y) in found.items()}
        offset = max(x for x, _ in places.values()) + 1.6
    return places, upright


class _Drawing:
    """Lines, dots, discs and words of one network, in inches."""

    def __init__(
        self,
        net: Network,
        sizes: Mapping[Any, int],
        graph: dict[Any, list[Any]],
        places: _layout.Places,
        upright: set[Any],
    ) -> None:
        self.net, self.sizes, self.graph, self.places, self.upright = net, sizes, graph, places, upright
        self.stubs = self._stubs()
        self.named = len(net.tensors) <= _NAMED

    def box(self) -> tuple[float, float, float, float]:
        points = [*self.places.values(), *(end for _, end in self.stubs.values())]
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return min(xs) - 0.55, max(xs) + 0.55, min(ys) - 0.45, max(ys) + 0.45

    def _stubs(self) -> dict[Any, tuple[tuple[float, float], tuple[float, float]]]:
        """Open index -> where its line starts and ends: away from the neighbors of its tensor."""
        open_at: dict[Any, list[Any]] = {}
        for label in self.net.indices:
            holders = self.net.holders(label)
            if _is_dot(self.net, label):
                if label in self.net.output:
                    open_at.setdefault(("dot", label), []).append(label)
            elif len(holders) == 1:
                open_at.setdefault(("tensor", holders[0]), []).append(label)
        found = {}
        for vertex, labels in open_at.items():
            x, y = self.places[vertex]
            middle = self._outward(vertex)
            for k, label in enumerate(labels):
                angle = middle + (k - (len(labels) - 1) / 2) * 0.75
                found[label] = ((x, y), (x + _STUB * 1.15 * cos(angle), y + _STUB * 1.15 * sin(angle)))
        return found

    def _outward(self, vertex: Any) -> float:
        """The middle of the widest gap between the lines of a vertex; straight up or down where a tree has room."""
        x, y = self.places[vertex]
        others = [self.places[v] for v in set(self.graph[vertex])]
        if not others:
            return -pi / 2
        if vertex in self.upright:
            if all(b > y - 1e-9 for _, b in others):
                return -pi / 2
            if all(b < y for _, b in others):
                return pi / 2
        angles = sorted(atan2(b - y, a - x) for a, b in others)
        gaps = [(b - a, a) for a, b in zip(angles, [*angles[1:], angles[0] + 2 * pi], strict=True)]
        width, start = max(gaps)
        return start + width / 2

    def draw(self, axes: Axes) -> None:
        pairs: dict[frozenset[Any], int] = {}
        for label in self.net.indices:
            color = _style.COLORS[1] if label in self.net.output else _GRAY
            if _is_dot(self.net, label):
                dot = self.places["dot", label]
                for name in self.net.holders(label):
                    self._line(axes, dot, self.places["tensor", name], _GRAY)
                axes.plot(*dot, "o", color=_style.INK, markersize=5.5, zorder=5)
                self._beside(axes, label, dot)
            elif len(self.net.holders(label)) == 2:
                ends = [("tensor", name) for name in self.net.holders(label)]
                turn = pairs[frozenset(ends)] = pairs.get(frozenset(ends), -1) + 1
                self._line(axes, self.places[ends[0]], self.places[ends[1]], _GRAY, label, turn)
            if label in self.stubs:
                start, end = self.stubs[label]
                self._line(axes, start, end, color)
                if color == _GRAY:  # summed over one tensor alone
                    axes.plot(*end, "o", color=_style.INK, markersize=4, zorder=5)
                self._at_end(axes, label, start, end, color)
        for name in self.net.tensors:
            self._disc(axes, name)

    def _line(self, axes: Axes, start: Any, end: Any, color: str, label: Any = None, turn: int = 0) -> None:
        """A straight line; further lines between the same two tensors are bent, to both sides in turn."""
        from matplotlib.patches import FancyArrowPatch

        bend = 0.28 * ((turn + 1) // 2) * (-1) ** turn
        style = f"arc3,rad={bend}"
        patch = FancyArrowPatch(
            start,
            end,
            arrowstyle="-",
            connectionstyle=style,
            color=color,
            linewidth=1.6,
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
        axes.add_patch(patch)
        if label is not None and self.named:
            dx, dy = end[0] - start[0], end[1] - start[1]
            x, y = (start[0] + end[0]) / 2 + bend * dy / 2, (start[1] + end[1]) / 2 - bend * dx / 2
            self._text(axes, x, y, self._words(label))

    def _words(self, label: Any) -> str:
        return str(self.sizes[label]) if label in self.sizes else str(label)

    def _text(self, axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
        white = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
        options = {"ha": "center", "va": "center", "color": _style.INK, "bbox": white} | options
        axes.text(x, y, text, fontsize=7.5, zorder=4, **options)

    def _beside(self, axes: Axes, label: Any, dot: tuple[float, float]) -> None:
        """The size of a hyperindex, in the widest gap between its lines."""
        if not self.named or label in self.stubs:
            return
        angle = 0.5 if ("dot", label) in self.upright else self._outward(("dot", label))
        self._text(axes, dot[0] + 0.22 * cos(angle), dot[1] + 0.22 * sin(angle), self._words(label), bbox=None)

    def _at_end(self, axes: Axes, label: Any, start: Any, end: Any, color: str) -> None:
        if not self.named:
            return
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = hypot(dx, dy)
        x, y = end[0] + 0.14 * dx / length, end[1] + 0.14 * dy / length
        self._text(axes, x, y, self._words(label), bbox=None, color=color)

    def _disc(self, axes: Axes, name: str) -> None:
        (x, y), labels, vertex = self.places["tensor", name], self.net.tensors[name], ("tensor", name)
        numbered = re.fullmatch(r"[a-z]+ (\d+)", name)
        short = numbered[1] if numbered else name if len(name) <= 4 else ""
        size = 19 if self.named and short else 13 if self.named else 7
        axes.plot([x], [y], "o", color=_style.COLORS[0], markersize=size, markeredgecolor="white", zorder=6)
        if self.named and short:
            axes.text(x, y, short, ha="center", va="center_baseline", color="white", fontsize=7.5, zorder=7)
            return
        name = _shortened(name)
        if self.named and len(name) <= _LONG and not any(v in self.stubs for v in labels):
            angle = self._outward(vertex)
            side = "center" if abs(cos(angle)) < 0.5 else "left" if cos(angle) > 0 else "right"
            x, y = x + 0.17 * cos(angle), y + 0.17 * sin(angle)
            self._text(axes, x, y, name, ha=side, bbox=None, color="#5F6772")


def _shortened(name: str) -> str:
    """The modes of a node with a run of neighbors as ``{8..11}``."""
    if len(name) <= _LONG or not re.fullmatch(r"\{\d+(,\d+)+\}", name):
        return name
    modes = [int(mode) for mode in name[1:-1].split(",")]
    between = ".." if modes[-1] - modes[0] == len(modes) - 1 else ",..,"
    return f"{{{modes[0]}{between}{modes[-1]}}}"
