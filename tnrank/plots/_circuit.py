"""A circuit beside its tensor network and its dimension tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tnrank._check import instance
from tnrank._explained import explained
from tnrank.plots import style as _style
from tnrank.plots._circuit_rows import Key, rows, skeleton, under
from tnrank.plots._circuit_slabs import color_of, draw_slabs, mixed, outputs_width, slabs
from tnrank.plots._read import name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tnrank.circuits import Circuit

_GRAY = "#8A9099"
_NOTE = "#5F6772"
_SIZE, _SMALL = 7.5, 6.8
_TITLES = {"hierarchical": "hierarchical", "cp": "CP", "matrix": "matrix"}
_TOP, _EDGE, _BETWEEN = 0.36, 0.1, 0.22
"""Inches above the panels, around them and between them."""
_NAMES = 0.3
"""Inches at the right of the tree for the name of its last node."""


@explained
def circuit(x: Any, grid: Sequence[int] | None = None, classes: bool = False) -> Figure:
    """A circuit, its tensor network and its dimension tree: what is at one height, in one color, is the same weights.

    Rows go from the patches (below) to the outputs. A 1x1 convolution is a slab of locations on the left, a disc a
    location in the network and a node a location in the tree; a pooling window is a lighter location, an index that
    its tensors share, and a branching. Of large circuits a part of the network and of the tree is drawn: ``..`` stands
    for the rest, and the words in each row count all.

    Args:
        x: a Circuit, or a factorization: see :meth:`tnrank.circuits.Circuit.from_factorization`.
        grid: the layout of a factorization's modes.
        classes: whether the last mode of a CP factorization stands for the classes.

    Raises:
        TypeError: if ``x`` is neither.
        ValueError: if the tree of a factorization is not made of windows, or a Circuit is given with ``grid``.

    Source: Cohen, Sharir & Shashua 2016, Figs. 1 and 2 (the circuits).

    Example:
        >>> import tnrank
        >>> from tnrank.circuits import Circuit
        >>> figure = tnrank.plots.circuit(Circuit.deep((4, 4), features=2, channels=8, classes=10))
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['Convolutional arithmetic circuit', 'Tensor network: hierarchical factorization', 'Dimension tree']
    """
    from tnrank.circuits import Circuit
    from tnrank.factorizations import Factorization

    instance(classes, "classes", bool, "True where the last mode stands for classes, or False")
    if isinstance(x, Factorization):
        x = Circuit.from_factorization(x, grid=grid, classes=classes)
    elif not isinstance(x, Circuit):
        raise TypeError(
            f"got {type(x).__name__}, needed a Circuit or a factorization: tnrank.circuits.Circuit.deep(grid, features)"
        )
    elif grid is not None or classes:
        raise ValueError("a Circuit has its own grid and classes: these arguments are for a factorization")
    return _Picture(x).figure()


@dataclass(frozen=True)
class _Panel:
    title: str
    words: list[tuple[str, str]]
    drawing: float
    """Inches right of the words."""

    @property
    def left(self) -> float:
        """Inches for the words."""
        lines = [(main, _SIZE) for main, _ in self.words] + [(note, _SMALL) for _, note in self.words]
        return max((width_of(text, size) for text, size in lines if text), default=0.0) + 0.2

    @property
    def width(self) -> float:
        return max(self.left + self.drawing, width_of(self.title, 10) + 0.1)


class _Picture:
    """Places in inches, the same heights in all panels."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit, self.rows = circuit, rows(circuit)
        self.slabs = slabs(circuit, self.rows)
        self.middles, self.bands, self.height = self._stack()
        self.tree = skeleton(circuit)
        self.arithmetic = circuit.pooling == "product" and circuit.activation == "identity"
        slots = self.tree.width + 1
        self.step = max(0.2, min(0.34, 3.6 / slots))

    def _stack(self) -> tuple[list[float], list[tuple[float, float, int]], float]:
        """The middle of every row, bottom, top and level of every band, and the height of all."""
        y, middles, bands = 0.0, [], list[tuple[float, float, int]]()
        for row, slab in zip(self.rows, self.slabs, strict=True):
            height = 0.2 if slab is None else slab.height
            whole = max(0.36, height + 0.17)
            if slab is not None:
                slab.bottom = y + (whole - height) / 2
            middles.append(y + whole / 2)
            if row.kind == "pooling":
                start, _, level = bands.pop()
                bands.append((start, y + whole, level))
            elif row.kind in ("convolution", "output"):
                bands.append((y, y + whole, row.level))
            y += whole
        return middles, bands, y

    def figure(self) -> Figure:
        panels = self._panels()
        widths = [panel.width for panel in panels]
        width = sum(widths) + 2 * _EDGE + _BETWEEN * (len(panels) - 1)
        height = self.height + _TOP + _EDGE
        figure = _style.new_figure(width, height)
        figure.set_layout_engine("none")
        left = _EDGE
        for number, (panel, wide) in enumerate(zip(panels, widths, strict=True)):
            axes = figure.add_axes((left / width, _EDGE / height, wide / width, self.height / height))
            left += wide + _BETWEEN
            # Zero is where the drawing starts, or the middle of the slabs.
            start = -panel.left - (panel.drawing / 2 if not number else 0.0)
            axes.set_xlim(start, start + wide)
            axes.set_ylim(0, self.height)
            axes.axis("off")
            axes.set_title(panel.title, loc="left", fontsize=10, color=_style.INK, pad=7)
            for low, high, level in self.bands if panel.words else ():
                axes.axhspan(low + 0.015, high - 0.015, color=mixed(color_of(level), 0.07), linewidth=0, zorder=0)
            self._words(axes, panel.words, start + 0.08)
            if number == 0:
                draw_slabs(axes, self.circuit, self.rows, self.slabs, self.middles)
            elif number == 2:
                self._draw_tree(axes)
            elif self.arithmetic:
                self._draw_network(axes)
            else:
                self._draw_no_network(axes)
        return figure

    def _panels(self) -> list[_Panel]:
        circuit = self.circuit
        name = "Linear network" if circuit.kind == "matrix" else "Convolutional arithmetic circuit"
        slots = self.tree.width * self.step + 0.4
        part = "" if self.tree.is_whole and len(self.rows) == 2 * len(circuit.levels) + 2 else ", in part"
        network = _Panel(
            f"Tensor network: {_TITLES[circuit.kind]} factorization{part}", [row.network for row in self.rows], slots
        )
        if not self.arithmetic:
            name, network = "Convolutional network", _Panel("No tensor network", [], 1.7)
        widest = max([slab.width for slab in self.slabs if slab is not None] + [outputs_width(circuit)])
        return [
            _Panel(name, [row.circuit for row in self.rows], widest + 0.2),
            network,
            _Panel(f"Dimension tree{part}", [row.tree for row in self.rows], slots + _NAMES),
        ]

    def _words(self, axes: Axes, words: list[tuple[str, str]], x: float) -> None:
        for (main, note), y in zip(words, self.middles, strict=False):
            shift = 0.07 if note else 0.0
            axes.text(x, y + shift, main, ha="left", va="center", fontsize=_SIZE, color=_style.INK, zorder=8)
            if note:
                axes.text(x, y - shift, note, ha="left", va="center", fontsize=_SMALL, color=_NOTE, zorder=8)

    def _x(self, key: Key) -> float:
        return 0.2 + self.tree.slots[key] * self.step

    def _y(self, key: Key) -> float:
        """The height of the weights of a node."""
        level = key[0]
        kinds = ("output",) if level == len(self.circuit.levels) else ("convolution",)
        return self._middle(kinds, level)

    def _middle(self, kinds: Sequence[str], level: int) -> float:
        return next(
            y for row, y in zip(self.rows, self.middles, strict=True) if row.kind in kinds and row.level == level
        )

    def _is_weight(self, key: Key) -> bool:
        """Whether a node has a tensor: not where channels pass on, nor at the top of a plain sum."""
        if key[0] == len(self.circuit.levels):
            return self.circuit.dense
        where = self.circuit.levels[key[0]].locations
        return where is None or key[1] in where

    def _draw_no_network(self, axes: Axes) -> None:
        found = self.circuit
        why = f"{found.pooling} pooling" if found.pooling != "product" else ""
        why += " and " * bool(why and found.activation != "identity")
        why += "ReLU" if found.activation != "identity" else ""
        lines = (f"{why}: the", "output is not multilinear", "in the features of the", "patches. With product")
        text = "\n".join((*lines, "pooling and no activation", "there is a network."))
        axes.text(0.0, self.height / 2, text, va="center", fontsize=8.5, color=_style.INK, linespacing=1.5, zorder=8)

    def _draw_network(self, axes: Axes) -> None:
        found, base = self.circuit, self.middles[0]
        for parent, children in self.tree.below.items():
            low = children[0][0]
            x, top, join = self._x(parent), self._y(parent), self._middle(("pooling",), low)
            whole = parent[0] == low + 1
            for child in children:
                dashes = {} if whole else {"linestyle": (0, (2, 2))}
                _line(axes, [(self._x(child), self._y(child)), (x, join if whole else top)], **dashes)
            if whole:
                if self._is_weight(parent) or parent[0] < len(found.levels):
                    _line(axes, [(x, join), (x, top)])
                # Two tensors that share an index are joined by a line; a dot is where three ends meet.
                ends = len(under(found, parent, low)) + (found.dense or parent[0] < len(found.levels))
                if ends > 2:
                    axes.plot([x], [join], "o", color=_style.INK, markersize=5, zorder=5, gid="index")
        for key in self.tree.slots:
            if key[0] == 0:
                _line(axes, [(self._x(key), self._y(key)), (self._x(key), base + 0.09)])
                self._number(axes, key, base)
            if self._is_weight(key):
                self._disc(axes, key, 8.5 if self.step > 0.25 else 7.0)
        root = (len(found.levels), 0)
        if found.classes > 1:
            x, y = self._x(root), self._y(root)
            _line(axes, [(x, y), (x + 0.22, y)])
            axes.text(x + 0.26, y, str(found.classes), va="center", fontsize=_SMALL, color=_style.INK, zorder=8)
        self._left_out(axes)

    def _draw_tree(self, axes: Axes) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        for parent, children in self.tree.below.items():
            for child in children:
                (x0, y0), (x1, y1) = (self._x(child), self._y(child)), (self._x(parent), self._y(parent))
                middle = (y0 + y1) / 2
                path = Path([(x0, y0), (x0, middle), (x1, middle), (x1, y1)], [Path.MOVETO] + [Path.CURVE4] * 3)
                style = "solid" if parent[0] == child[0] + 1 else (0, (2, 2))
                axes.add_patch(PathPatch(path, fill=False, edgecolor=_GRAY, linewidth=1.3, linestyle=style, zorder=2))
        for key in self.tree.slots:
            self._disc(axes, key, 6.5)
            if key[0] == 0:
                self._number(axes, key, self.middles[0])
        self._names(axes)
        self._left_out(axes)

    def _names(self, axes: Axes) -> None:
        """The modes of a node to its right, for all nodes of a row or for none."""
        levels = sorted({key[0] for key in self.tree.slots} - {0})
        for level in levels:
            keys = sorted((self._x(key), key) for key in self.tree.slots if key[0] == level)
            dots = [0.12 + slot * self.step for at, slot in self.tree.dots if at == level]
            names = [name_of(self.circuit.nodes[level][key[1]]) for _, key in keys]
            ends = [x for x, _ in keys[1:]] + [0.4 + self.tree.width * self.step + _NAMES]
            room = [min([end, *(dot for dot in dots if dot > x)]) - x for (x, _), end in zip(keys, ends, strict=True)]
            if all(0.13 + width_of(name, 6.2) < space for name, space in zip(names, room, strict=True)):
                for (x, key), name in zip(keys, names, strict=True):
                    y = self._y(key)
                    axes.text(x + 0.07, y, name, va="center", fontsize=6.2, color=_NOTE, zorder=7)

    def _disc(self, axes: Axes, key: Key, size: float) -> None:
        color = color_of(key[0])
        options: dict[str, Any] = {"markersize": size, "markeredgecolor": "white", "markeredgewidth": 0.8}
        axes.plot([self._x(key)], [self._y(key)], "o", color=color, zorder=6, gid="node", **options)

    def _number(self, axes: Axes, key: Key, y: float) -> None:
        size = _SMALL if self.step > 0.24 or self.circuit.order < 100 else 5.8
        axes.text(self._x(key), y, str(key[1]), ha="center", va="center", fontsize=size, color=_style.INK, zorder=7)

    def _left_out(self, axes: Axes) -> None:
        for level, slot in self.tree.dots:
            axes.text(
                0.2 + slot * self.step,
                self._y((level, 0)),
                "..",
                ha="center",
                va="center",
                fontsize=9,
                color=_style.INK,
            )
        for key in self.tree.cut:
            x, y = self._x(key), self._y(key)
            _line(axes, [(x, y), (x, y - 0.17)], linestyle=(0, (1.5, 1.5)))
            axes.text(x, y - 0.22, "..", ha="center", va="center", fontsize=9, color=_style.INK, zorder=7)


def _line(axes: Axes, points: Sequence[tuple[float, float]], **options: Any) -> None:
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=_GRAY, linewidth=1.4, zorder=2, solid_capstyle="round", **options)


@lru_cache(maxsize=512)
def width_of(text: str, size: float) -> float:
    """Inches that a line of text takes."""
    _style.check_matplotlib()
    from matplotlib.textpath import TextPath

    # Control points bound the letters, and reading them is ten times faster than the exact extents.
    across = TextPath((0, 0), text, size=size).vertices[:, 0]
    return float(across.max() - across.min()) / 72
