"""The circuit itself: a slab of locations and channels a row, with the pooling windows between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import log, prod
from typing import TYPE_CHECKING, Any

from tnrank.plots import style as _style
from tnrank.plots._circuit_rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tnrank.circuits import Circuit

_SIDE, _CELL = 2.1, 0.3
"""Inches: the widest slab, and the widest location."""
_ALL, _FIRST, _LAST = 32, 12, 4
"""Locations of a side that are drawn; of more only the first and the last."""
_CLASSES = 12
_DEPTH, _SHEAR = 0.42, 0.3
"""A location's depth on paper, upward and to the right, over its width."""

Point = tuple[float, float]


class Slab:
    """Locations of one row in an oblique view; channels are its thickness."""

    def __init__(self, row: Row, circuit: Circuit, most: int) -> None:
        self.row, plane = row, len(row.grid) == 2
        high, wide = row.grid if plane else (1, row.grid[0])
        self.rows, self.columns = _places(high), _places(wide)
        longest = max(len(_places(side)) for grid in circuit.grids for side in grid)
        part = None in self.rows or None in self.columns
        share = 1.0 if part else max(len(self.rows), len(self.columns)) / longest
        width: float = _SIDE * share ** (0.6 if plane else 0.8)
        self.cell: float = min(_CELL, width / max(len(self.rows), len(self.columns)))
        self.up, self.aside = _DEPTH * self.cell, _SHEAR * self.cell
        if not plane:
            self.up, self.aside = min(self.up, 0.09), min(self.aside, 0.065)
        self.thick = 0.07 + 0.13 * log(row.channels) / log(max(most, 2))
        self.height = self.thick + self.up * len(self.rows)
        self.left = -(self.cell * len(self.columns) + self.aside * len(self.rows)) / 2
        self.bottom = 0.0

    @property
    def width(self) -> float:
        return -2 * self.left

    def at(self, row: float, column: float, top: bool = True) -> Point:
        """A corner of the plane, rows from the back to the front."""
        back = len(self.rows) - row
        x = self.left + column * self.cell + back * self.aside
        return x, self.bottom + back * self.up + (self.thick if top else 0.0)

    def draw(self, axes: Axes, window: Sequence[int], passing: frozenset[int], color: str, strong: bool) -> None:
        """Tops in two tints that alternate from window to window, and the faces in front and on the right."""
        from matplotlib.collections import PolyCollection

        tints = [mixed(color, share) for share in ((0.85, 0.55) if strong else (0.38, 0.22))]
        high, wide = (1, window[0]) if len(window) == 1 else window
        r1, c1 = len(self.rows), len(self.columns)
        faces: list[list[Point]] = []
        colors: list[Any] = []
        for (r, row), (c, column) in product(enumerate(self.rows), enumerate(self.columns)):
            if row is None or column is None:
                continue
            tint = tints[(row // high + column // wide) % 2]
            if row * self.row.grid[-1] + column in passing:
                tint = mixed(_style.QUIET, 0.4)
            faces.append([self.at(r, c), self.at(r, c + 1), self.at(r + 1, c + 1), self.at(r + 1, c)])
            colors.append(tint)
            if r == r1 - 1:
                faces.append([self.at(r1, c), self.at(r1, c + 1), self.at(r1, c + 1, False), self.at(r1, c, False)])
                colors.append(_darker(tint, 0.88))
            if c == c1 - 1:
                faces.append([self.at(r, c1), self.at(r + 1, c1), self.at(r + 1, c1, False), self.at(r, c1, False)])
                colors.append(_darker(tint, 0.76))
        thin = min(0.6, 3.5 * self.cell)
        # One artist for all faces: thousands of patches take seconds to draw.
        axes.add_collection(
            PolyCollection(faces, facecolors=colors, edgecolors="white", linewidths=thin, zorder=4, gid=self.row.kind),
            autolim=False,
        )
        if None in self.columns or None in self.rows:
            down = self.rows.index(None) + 0.5 if None in self.rows else r1 / 2
            across = self.columns.index(None) + 0.5 if None in self.columns else c1 / 2
            axes.text(*self.at(down, across), "..", ha="center", va="center", fontsize=9, color=_style.INK, zorder=9)


def slabs(circuit: Circuit, rows: Sequence[Row]) -> list[Slab | None]:
    """One for each row but the gap and the output."""
    most = max(row.channels for row in rows)
    return [None if row.kind in ("gap", "output") else Slab(row, circuit, most) for row in rows]


def draw_slabs(
    axes: Axes, circuit: Circuit, rows: Sequence[Row], found: Sequence[Slab | None], middles: Sequence[float]
) -> None:
    """All slabs from below, cones between them, and the outputs."""
    below: Slab | None = None
    for row, slab, middle in zip(rows, found, middles, strict=True):
        if slab is None:
            if row.kind == "gap":
                axes.text(0, middle, "..", ha="center", va="center", fontsize=11, color=_style.INK)
            else:
                _outputs(axes, circuit, below, middle, color_of(row.level))
            below = None
            continue
        level = circuit.levels[row.level]
        pooled = row.kind == "pooling"
        if below is not None:
            _cones(axes, below, slab, level.window if pooled else (1,) * len(row.grid), color_of(row.level))
        passing: frozenset[int] = frozenset()
        if row.kind == "convolution" and level.locations is not None:
            passing = frozenset(range(prod(row.grid))) - set(level.locations)
        window = level.window if row.kind == "convolution" else (1,) * len(row.grid)
        color = "#6B7480" if row.kind == "input" else color_of(row.level)
        slab.draw(axes, window, passing, color, row.kind == "convolution")
        below = slab


def _cones(axes: Axes, low: Slab, high: Slab, window: Sequence[int], color: str) -> None:
    """From windows of one slab to the locations of the next: all of a line, one of a plane or of a long line."""
    from matplotlib.patches import Polygon

    wide = window[-1]
    last = len(low.rows) - 1
    line = len(low.row.grid) == 1 and None not in low.columns and len(high.columns) <= 16
    for column in range(len(high.columns) if line else 1):
        left, right = column * wide, min((column + 1) * wide, len(low.columns))
        front = len(low.rows)
        back = front - 1
        if len(window) == 2 and low.rows[-1] is not None:
            back = front - (last % window[0] + 1)
        a, b = low.at(front, left), low.at(front, right)
        c, d = (high.at(len(high.rows), column + k, False) for k in (1, 0))
        if not line:
            corners = [a, b, low.at(back, right), low.at(back, left)]
            axes.add_patch(
                Polygon(corners, facecolor="none", edgecolor=_style.INK, linewidth=0.9, zorder=6, joinstyle="round")
            )
            for start, end in ((a, d), (b, c)):
                axes.plot(*zip(start, end, strict=True), color=_style.INK, linewidth=0.7, zorder=6)
        # Cones of a line stand behind the slabs, the one of a plane in front of its other locations.
        shade: dict[str, Any] = {"facecolor": mixed(color, 0.3), "edgecolor": "white", "linewidth": 0.9, "zorder": 3}
        if not line:
            shade = {"facecolor": color, "alpha": 0.2, "edgecolor": "none", "zorder": 5}
        axes.add_patch(Polygon([a, b, c, d], **shade))


def _outputs(axes: Axes, circuit: Circuit, below: Slab | None, y: float, color: str) -> None:
    """A disc a class, fed by the last location."""
    places = _places(circuit.classes, _CLASSES, 6, 3)
    step = 0.17
    for k, place in enumerate(places):
        x = step * (k - (len(places) - 1) / 2)
        if place is None:
            axes.text(x, y, "..", ha="center", va="center", fontsize=9, color=_style.INK)
            continue
        if below is not None:
            top = below.bottom + below.thick + below.up / 2
            axes.plot([0, x], [top, y], color=mixed(color, 0.5), linewidth=0.8, zorder=3)
        axes.plot([x], [y], "o", color=color, markersize=8, markeredgecolor="white", markeredgewidth=0.8, zorder=5)


def outputs_width(circuit: Circuit) -> float:
    """Inches that the outputs take."""
    return 0.17 * len(_places(circuit.classes, _CLASSES, 6, 3))


def color_of(level: int) -> str:
    """The color of a level, the same in all panels."""
    return _style.COLORS[level % len(_style.COLORS)]


def mixed(color: str, share: float) -> tuple[float, float, float]:
    """A color with white."""
    from matplotlib.colors import to_rgb

    r, g, b = (1 - share + share * value for value in to_rgb(color))
    return r, g, b


def _darker(color: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    r, g, b = (share * value for value in color)
    return r, g, b


def _places(side: int, most: int = _ALL, first: int = _FIRST, last: int = _LAST) -> list[int | None]:
    """Numbers along a side; ``None`` stands for those left out."""
    if side <= most:
        return list(range(side))
    return [*range(first), None, *range(side - last, side)]
