"""Rows of a picture of a circuit: what happens at each height, in words, and which locations are drawn there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from tnrank.plots import _layout

if TYPE_CHECKING:
    from tnrank.circuits import Circuit

_LEVELS = 12
"""Levels that are drawn; of more the middle ones are left out."""
_LOW, _HIGH = 6, 4
"""Of these: as many from below, and from above."""
_LEAVES = 16
"""Locations that a tree is drawn with."""
TIMES = r"$\times$"

Key = tuple[int, int]
"""Level and location; the level after the last one is the dense layer."""


@dataclass(frozen=True)
class Row:
    """One row of all panels: two lines of words for each, and the grid of the circuit's slab."""

    kind: Literal["input", "convolution", "pooling", "gap", "output"]
    level: int
    grid: tuple[int, ...]
    channels: int
    circuit: tuple[str, str]
    network: tuple[str, str]
    tree: tuple[str, str]


def shown_levels(circuit: Circuit) -> list[int]:
    """Levels that are drawn, from below."""
    count = len(circuit.levels)
    if count <= _LEVELS:
        return list(range(count))
    return [*range(_LOW), *range(count - _HIGH, count)]


def rows(circuit: Circuit, whole: bool = False) -> list[Row]:
    """Rows from the input to the output; of many levels a part unless the whole is wanted."""
    first = circuit.widths[0]
    plural = "s" if max(first) > 1 else ""
    found = [
        Row(
            "input",
            0,
            circuit.grid,
            max(first),
            (f"{span(first)} representation function{plural}", f"{crossed(circuit.grid)} patches"),
            (f"{circuit.order:,} open indices", f"of size {span(first)}"),
            (f"{circuit.order:,} modes", ""),
        )
    ]
    shown = list(range(len(circuit.levels))) if whole else shown_levels(circuit)
    for place, k in enumerate(shown):
        if place and k != shown[place - 1] + 1:
            found.append(_gap(circuit, shown[place - 1], k))
        found += [_convolution(circuit, k), _pooling(circuit, k)]
    return [*found, _output(circuit)]


def _convolution(circuit: Circuit, k: int) -> Row:
    level, before, grid = circuit.levels[k], circuit.widths[k], circuit.grids[k]
    where = range(len(before)) if level.locations is None else level.locations
    after = [_after(circuit, k, n) for n in where]
    name = "1x1 convolution" + (", ReLU" if circuit.activation == "relu" else "")
    sizes = f"{span([before[n] for n in where])} → {span(after)} channels"
    single = len(where) == 1
    bank = "" if prod(grid) == 1 else ", shared" if level.shared else ""
    bank = f" at {', '.join(map(str, where))}" if level.locations is not None else bank
    one = level.shared and not single
    matrices = ("one matrix, " if one else "") + f"{len(where):,} {'times' if one else 'matrices'}"
    return Row(
        "convolution",
        k,
        grid,
        max(after),
        (name, sizes + bank),
        (
            "one matrix" if single else matrices,
            f"{span([before[n] for n in where])} {TIMES} {span(after)}",
        ),
        (f"height {k}", f"{len(before):,} " + ("node" if len(before) == 1 else "nodes" if k else "leaves")),
    )


def _pooling(circuit: Circuit, k: int) -> Row:
    window, after = circuit.levels[k].window, circuit.widths[k + 1]
    grid = circuit.grids[k]
    if prod(window) == 1:
        words = ("no pooling", "")
    else:
        short = any(side % w for side, w in zip(grid, window, strict=True))
        words = (f"{circuit.pooling} pooling", f"windows {crossed(window)}" + (", ragged" if short else ""))
    # Short windows may hold one location: then two matrices share a plain index.
    least = prod(side % w or w for side, w in zip(grid, window, strict=True))
    hyper = least > (1 if circuit.dense or k + 1 < len(circuit.levels) else 2)
    name = "hyperind" if hyper else "ind"
    count = f"one {name}ex" if len(after) == 1 else f"{len(after):,} {name}ices"
    return Row("pooling", k, circuit.grids[k + 1], max(after), words, (count, f"of size {span(after)}"), ("", ""))


def _gap(circuit: Circuit, low: int, high: int) -> Row:
    count = high - low - 1
    words = f".. {count} more level{'s' if count > 1 else ''}"
    left_out = (words, "")
    return Row("gap", low, circuit.grids[high], max(circuit.widths[high]), left_out, left_out, left_out)


def _output(circuit: Circuit) -> Row:
    size, level = circuit.widths[-1][0], len(circuit.levels)
    many = circuit.classes > 1
    if not circuit.dense:
        words, matrix = ("sum of the channels", ""), ("summed over", "")
    else:
        words = (f"dense, {size} → {circuit.classes}", f"{circuit.classes} classes" if many else "one output")
        matrix = ("one matrix", f"{size} {TIMES} {circuit.classes}") if many else ("one vector", f"of size {size}")
    return Row("output", level, (1, circuit.classes), 1, words, matrix, (f"height {level}", "root"))


def _after(circuit: Circuit, k: int, n: int) -> int:
    channels = circuit.levels[k].channels
    return channels if isinstance(channels, int) else channels[n]


def span(numbers: Sequence[int]) -> str:
    """``4``, or ``2-5``."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"


def crossed(sides: Sequence[int]) -> str:
    return f" {TIMES} ".join(f"{side:,}" for side in sides)


@dataclass(frozen=True)
class Skeleton:
    """The part of the tree that is drawn: places of its nodes in slots, and where something is left out."""

    slots: dict[Key, float]
    below: dict[Key, tuple[Key, ...]]
    dots: tuple[tuple[int, float], ...]
    """Level and slot of ``..`` between siblings."""
    cut: frozenset[Key]
    """Nodes whose subtrees are left out."""
    width: float
    """Slots from the first to the last."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.dots and not self.cut


def skeleton(circuit: Circuit) -> Skeleton:
    """Which nodes of the tree are drawn, and where: all if they are few, else those under the first node of a level."""
    shown = [*shown_levels(circuit), len(circuit.levels)]
    graph: dict[Any, list[Any]] = {}
    below: dict[Key, tuple[Key, ...]] = {}
    cut: set[Key] = set()
    root = (shown[-1], 0)
    # A node, its place in ``shown``, and how many leaves may be drawn under it.
    stack = [(root, len(shown) - 1, _LEAVES)]
    while stack:
        key, place, budget = stack.pop()
        graph.setdefault(key, [])
        if not place:
            continue
        children: list[Any] = [(shown[place - 1], n) for n in under(circuit, key, shown[place - 1])]
        leaves = len(under(circuit, key, 0))
        if not budget:
            cut.add(key)
            continue
        if leaves > budget and len(children) > 4:
            few = 8 if place == 1 else 2
            children = [*children[:few], ("..", shown[place - 1], key), *children[-2 if place == 1 else -1 :]]
        for child in children:
            graph[key].append(child)
            graph.setdefault(child, []).append(key)
        real = [child for child in children if child[0] != ".."]
        below[key] = tuple(real)
        rest = max(2, budget - len(children) + 1)
        for child in reversed(real):
            stack.append((child, place - 1, budget if leaves <= budget else rest if child == real[0] else 0))
    places = _layout.levels(graph, list(graph), root)
    slots = {key: x for key, (x, _) in places.items() if key[0] != ".."}
    dots = tuple((key[1], x) for key, (x, _) in places.items() if key[0] == "..")
    return Skeleton(slots, below, dots, frozenset(cut), max(x for x, _ in places.values()))


def under(circuit: Circuit, key: Key, level: int) -> list[int]:
    """Locations of a level in the windows of windows of a node, in the order of the tree."""
    found = [key[1]]
    for k in range(key[0] - 1, level - 1, -1):
        grid, window, after = circuit.grids[k], circuit.levels[k].window, circuit.grids[k + 1]
        found = [n for at in found for n in _window(grid, window, after, at)]
    return found


def _window(grid: Sequence[int], window: Sequence[int], after: Sequence[int], at: int) -> list[int]:
    columns = grid[-1]
    row, column = divmod(at, after[-1])
    high, wide = (1, window[0]) if len(window) == 1 else window
    height = 1 if len(grid) == 1 else grid[0]
    return [
        r * columns + c
        for r in range(row * high, min((row + 1) * high, height))
        for c in range(column * wide, min((column + 1) * wide, columns))
    ]
