"""Grids, windows and numbers of channels of a circuit."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import instance, shown
from tnrank._explained import explained
from tnrank.dimension_tree import Node

if TYPE_CHECKING:
    from tnrank.circuits._circuit import Circuit
    from tnrank.circuits._representation import Representation

MOST_LOCATIONS = 2**20
"""Locations of a grid: each is a mode, and trees, grids and reports list all of them."""


@dataclass(frozen=True)
class Level:
    """A 1x1 convolution, then the pooling of windows.

    Args:
        channels: output channels of the convolution, one number or one a location.
        window: sides of the pooling window, one an axis of the grid.
        shared: one filter bank for all locations.
        locations: where there is a convolution; elsewhere channels pass on as they are. Everywhere if not given.

    Example:
        >>> from tnrank.circuits import Level
        >>> Level(16, (2, 2), shared=True).window
        (2, 2)
    """

    channels: int | tuple[int, ...]
    window: tuple[int, ...]
    shared: bool = False
    locations: tuple[int, ...] | None = None

    @explained
    def __post_init__(self) -> None:
        # One form for what is the same: circuits hash, and compare by value.
        if isinstance(self.channels, (int, Integral)):
            object.__setattr__(self, "channels", int(self.channels))
        else:
            many = whole_numbers("channels", self.channels)
            object.__setattr__(self, "channels", many[0] if len(set(many)) == 1 else many)
        object.__setattr__(self, "window", whole_numbers("window", self.window))
        object.__setattr__(self, "shared", bool(self.shared))
        if self.locations is not None:
            object.__setattr__(self, "locations", whole_numbers("locations", self.locations))


def complete(circuit: Circuit) -> None:
    """Check a new circuit and put its fields into their common form.

    Raises:
        ValueError: see Circuit.
    """
    from tnrank.circuits._circuit import ACTIVATIONS, POOLINGS

    def keep(name: str, value: Any) -> None:
        object.__setattr__(circuit, name, value)

    keep("grid", sides_of(circuit.grid))
    keep("levels", tuple(circuit.levels))
    for k, level in enumerate(circuit.levels):
        instance(level, f"level {k}", Level, "a tnrank.circuits.Level")
    for name, known in (("pooling", POOLINGS), ("activation", ACTIVATIONS)):
        if getattr(circuit, name) not in known:
            raise ValueError(f"unknown {name}={getattr(circuit, name)!r}: {', '.join(map(repr, known))}")
    if circuit.kind not in ("hierarchical", "cp", "matrix"):
        raise ValueError(f"unknown kind={circuit.kind!r}: 'hierarchical', 'cp' or 'matrix'")
    if not circuit.levels:
        raise ValueError("got no levels, needed at least one: Circuit.shallow and Circuit.deep make them")
    if not isinstance(circuit.classes, Integral) or isinstance(circuit.classes, bool):
        raise TypeError(f"classes is a whole number from 1 on, got {circuit.classes!r}")
    keep("classes", int(circuit.classes))
    if circuit.classes < 1:
        raise ValueError(f"got {circuit.classes} classes, needed at least 1")
    if circuit.classes > 1 and not circuit.dense:
        raise ValueError(f"got {circuit.classes} classes and dense={circuit.dense}: classes need a dense layer")
    features = whole_numbers("features", circuit.features)
    if not isinstance(circuit.features, (int, Integral)) and len(features) != prod(circuit.grid):
        raise ValueError(
            f"got features for {len(features)} locations, the grid {crossed(circuit.grid)} has {prod(circuit.grid)}: "
            "give one number, or one a location"
        )
    if min(features) < 1:
        raise ValueError(f"got {min(features)} features, needed at least one representation function")
    keep("features", features[0] if len(set(features)) == 1 else features)
    features_of(circuit.features, circuit.representation)
    grid, levels, ragged = circuit.grid, list(circuit.levels), False
    for k, level in enumerate(circuit.levels):
        if prod(grid) == 1 and level.locations is None:
            # One location has one filter bank: one form for what is the same.
            levels[k] = replace(level, shared=True)
        if len(level.window) != len(grid) or any(w < 1 for w in level.window):
            raise ValueError(f"level {k} has the window {level.window}: needed {_counted(grid)} from 1 on")
        where = range(prod(grid)) if level.locations is None else level.locations
        if not where or sorted(set(where)) != list(where) or where[0] < 0 or where[-1] >= prod(grid):
            raise ValueError(
                f"level {k} has the locations {where}: needed some of 0 .. {prod(grid) - 1} in ascending order"
            )
        # A window larger than the grid is one of the grid's size.
        window = tuple(min(w, side) for w, side in zip(level.window, grid, strict=True))
        levels[k] = replace(levels[k], window=window)
        for side, w in zip(grid, window, strict=True):
            ragged |= side % w > 0
            if side % w and not circuit.ragged:
                raise ValueError(
                    f"the window {crossed(window)} of level {k} does not divide the grid {crossed(grid)}: "
                    "set ragged=True for short windows at the border"
                )
        grid = tuple(-(-side // w) for side, w in zip(grid, window, strict=True))
    keep("levels", tuple(levels))
    keep("ragged", ragged)
    if prod(grid) != 1:
        raise ValueError(f"{crossed(grid)} locations are left after the last level: the last window must take them all")
    if circuit.kind == "cp" and len(circuit.levels) != 1:
        raise ValueError(f"got kind='cp' and {len(circuit.levels)} levels: a CP factorization has one")
    if circuit.kind == "hierarchical" and not circuit.dense:
        raise ValueError("got kind='hierarchical' without a dense layer, which holds the weights of the root")
    if any(level.locations is not None for level in circuit.levels) and circuit.kind != "matrix":
        raise ValueError("levels that act at some locations only belong to kind='matrix'")
    widths(circuit)
    # Found now and kept, because compilers cannot trace how a cached property is filled.
    _ = circuit.grids, circuit.widths, circuit.shapes, circuit.padding


def widths(circuit: Circuit) -> tuple[tuple[int, ...], ...]:
    """Channels at every location before each level, and after the last.

    Raises:
        ValueError: if locations of a window differ in channels, or a shared level has locations of different sizes.
    """
    features = circuit.features
    row = (features,) * prod(circuit.grid) if isinstance(features, int) else features
    found = [row]
    for k, level in enumerate(circuit.levels):
        if not isinstance(level.channels, int) and len(level.channels) != len(row):
            raise ValueError(f"level {k} has channels for {len(level.channels)} locations, its grid has {len(row)}")
        after = [channels_at(level, n) for n in range(len(row))]
        if min(after) < 1:
            raise ValueError(f"level {k} has {min(after)} channels, needed at least 1")
        if level.locations is not None:
            for n in set(range(len(row))) - set(level.locations):
                if after[n] != row[n]:
                    raise ValueError(f"level {k} has no convolution at location {n}: {row[n]} channels stay {row[n]}")
        if level.shared and len({*zip(row, after, strict=True)}) > 1:
            raise ValueError(
                f"level {k} is shared, and its locations differ in channels: needed one number, or shared=False"
            )
        pooled = []
        for window in windows_of(circuit.grids[k], level.window):
            sizes = {after[n] for n in window}
            if len(sizes) > 1:
                raise ValueError(f"level {k} pools locations {window} of {sorted(sizes)} channels: needed one number")
            pooled.append(sizes.pop())
        row = tuple(pooled)
        found.append(row)
    return tuple(found)


def channels_at(level: Level, location: int) -> int:
    return level.channels if isinstance(level.channels, int) else level.channels[location]


def padding(circuit: Circuit, k: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Rows and columns of the matrices of weight k; ``None`` if they are all of one shape."""
    shape = circuit.shapes[k]
    if len(shape) == 2:
        return None
    level, before = circuit.levels[k], circuit.widths[k]
    where = level.locations if level.locations is not None else range(shape[0])
    rows, columns = tuple(before[n] for n in where), tuple(channels_at(level, n) for n in where)
    return None if len({*zip(rows, columns, strict=True)}) == 1 else (rows, columns)


def present(circuit: Circuit, k: int) -> np.ndarray[Any, Any]:
    """Where weight k is more than padding."""
    found = np.ones(circuit.shapes[k], bool)
    sizes = circuit.padding[k]
    if sizes is not None:
        for j, (rows, columns) in enumerate(zip(*sizes, strict=True)):
            found[j, rows:] = found[j, :, columns:] = False
    return found


def windows_of(grid: Sequence[int], window: Sequence[int]) -> Iterator[list[int]]:
    """Locations of every pooling window, row by row."""
    counts = [-(-side // w) for side, w in zip(grid, window, strict=True)]
    for corner in product(*map(range, counts)):
        spans = [range(c * w, min((c + 1) * w, s)) for c, w, s in zip(corner, window, grid, strict=True)]
        yield [number(grid, place) for place in product(*spans)]


def number(grid: Sequence[int], place: Sequence[int]) -> int:
    """The location, counted row by row."""
    found = 0
    for side, at in zip(grid, place, strict=True):
        found = found * side + at
    return found


def nodes(circuit: Circuit) -> tuple[tuple[tuple[Node, ...], ...], Any]:
    """Nodes of the dimension tree by level and location, and the tree as nested tuples."""
    row = [Node((n,), 0) for n in range(circuit.order)]
    nested: list[Any] = list(range(circuit.order))
    found = [tuple(row)]
    for k, level in enumerate(circuit.levels):
        groups = list(windows_of(circuit.grids[k], level.window))
        row = [Node(tuple(sorted(m for n in g for m in row[n].modes)), k + 1) for g in groups]
        nested = [tuple(nested[n] for n in g) for g in groups]
        found.append(tuple(row))
    return tuple(found), nested[0]


def sides_of(grid: int | Sequence[int]) -> tuple[int, ...]:
    """``(N,)`` or ``(H, W)``.

    Raises:
        ValueError: for anything else.
    """
    sides = whole_numbers("the grid", grid)
    if len(sides) not in (1, 2) or any(side < 1 for side in sides):
        raise ValueError(f"got the grid {shown(grid)}, needed (N,) or (H, W) with sides from 1 on")
    if prod(sides) > MOST_LOCATIONS:
        raise ValueError(
            f"the grid {shown(sides)} has more than {MOST_LOCATIONS:,} locations, the most that a circuit has"
        )
    return sides


def whole_numbers(name: str, given: Any) -> tuple[int, ...]:
    """One whole number, or several.

    Raises:
        TypeError: for anything else.
    """
    try:
        return (operator.index(given),)
    except TypeError:
        pass
    try:
        if isinstance(given, str):
            raise TypeError
        return tuple(operator.index(number) for number in given)
    except TypeError:
        raise TypeError(
            f"{name}: got {shown(given)}, needed a whole number such as 8, or several such as (8, 8)"
        ) from None


def windows_to_one(grid: tuple[int, ...], window: Any) -> list[tuple[int, ...]]:
    """The window of every level until one location is left.

    Raises:
        ValueError: if the windows do not reduce the grid.
    """
    given = list(window) if isinstance(window, list) else None
    found: list[tuple[int, ...]] = []
    while prod(grid) > 1 or (not found and given is None) or (given is not None and len(found) < len(given)):
        if given is not None and len(found) == len(given):
            raise ValueError(
                f"after {len(given)} levels {crossed(grid)} locations are left: give more or larger windows"
            )
        now = window if given is None else given[len(found)]
        sides = whole_numbers("window", now)
        sides = sides * len(grid) if isinstance(now, Integral) else sides
        if len(sides) != len(grid) or any(w < 1 for w in sides):
            raise ValueError(f"got the window {now!r}, needed {_counted(grid)} from 1 on")
        if given is None and prod(grid) > 1 and all(w == 1 for w, s in zip(sides, grid, strict=True) if s > 1):
            raise ValueError(f"the window {sides} never reduces the grid {crossed(grid)}: needed a side from 2 on")
        # A grid that is one location wide is not pooled along that side.
        sides = tuple(min(w, side) for w, side in zip(sides, grid, strict=True))
        found.append(sides)
        grid = tuple(-(-side // w) for side, w in zip(grid, sides, strict=True))
    return found


def features_of(features: Any, representation: Representation | None) -> Any:
    """The number of representation functions, given or that of the representation.

    Raises:
        ValueError: if neither is given, or they differ.
    """
    from tnrank.circuits._representation import Representation

    if representation is not None and not isinstance(representation, Representation):
        raise TypeError(
            f"got representation={representation!r}, needed OneHot(features), Embedding(features, values), CosSin(), "
            "Gaussian(features) or Affine(features)"
        )
    if features is None and representation is None:
        raise ValueError("needed features=, the number of representation functions, or representation=")
    if representation is None:
        return features
    if features is not None and features != representation.features:
        raise ValueError(
            f"got features={features} and a representation of {representation.features} functions: "
            "leave one of them out, or give both the same number"
        )
    return representation.features


def _counted(grid: Sequence[int]) -> str:
    return "one side" if len(grid) == 1 else f"{len(grid)} sides"


def crossed(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


def describe(circuit: Circuit) -> str:
    """The circuit, a line a level."""
    inner = "" if circuit.activation == "identity" else f" after {circuit.activation}"
    lines = [
        f"circuit on {crossed(circuit.grid)} patches, {circuit.pooling} pooling{inner}, "
        f"{circuit.parameter_count:,} weights"
    ]
    if circuit.representation is not None:
        lines.append(f"  {circuit.representation!r}")
    lines.append(f"  {_range(circuit.widths[0])} features at {crossed(circuit.grid)} locations")
    for k, level in enumerate(circuit.levels):
        width = _range([channels_at(level, n) for n in range(len(circuit.widths[k]))])
        banks = "one filter bank" if level.shared else "a filter bank a location"
        if level.locations is not None:
            banks = f"at location {', '.join(map(str, level.locations))}"
        after = circuit.grids[k + 1]
        lines.append(
            f"  1x1 convolution to {width} channels, {banks}, pooling {crossed(level.window)}: "
            f"{crossed(after)} location{'s' if prod(after) > 1 else ''}"
        )
    plural = "es" if circuit.classes > 1 else ""
    lines.append(f"  dense to {circuit.classes} class{plural}" if circuit.dense else "  sum of the channels")
    return "\n".join(lines)


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"
