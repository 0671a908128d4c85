"""Separation ranks of a network beside the bounds of its minimum cuts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tnrank._check import sequence, shown
from tnrank._explained import explained
from tnrank.circuits._circuit import Circuit
from tnrank.circuits._layout import crossed, sides_of
from tnrank.circuits._measured import Source, source_of
from tnrank.circuits._min_cut import MinCut, min_cut
from tnrank.circuits._windows import windows_of_tree
from tnrank.dimension_tree import DimensionTree
from tnrank.factorizations import Factorization
from tnrank.linalg import check_modes

Partitions = Mapping[str, Iterable[int]] | Iterable[Iterable[int]]

_SHOWN = 3


@dataclass(frozen=True)
class Separation:
    """One partition of the input.

    Attributes:
        name: of the partition.
        modes: one side of it.
        cut: the minimum cut between the sides.
        rank: the measured separation rank, ``None`` if it was not measured.
    """

    name: str
    modes: tuple[int, ...]
    cut: MinCut
    rank: int | None

    @property
    def bound(self) -> int:
        """The rank is at most this, whatever the weights."""
        return self.cut.bound

    @property
    def reached(self) -> bool | None:
        """Whether the measured rank is the bound; ``None`` if it was not measured."""
        return None if self.rank is None else self.rank == self.bound


@dataclass(frozen=True)
class SeparationReport:
    """Separation ranks beside their bounds, a row a partition; prints as a table.

    Attributes:
        given: what was measured, in words.
        shape: of its tensor.
        shared: whether some of its tensors are one array: then the bound holds, and even generic weights may miss it.
        base: the number of which all sizes of indices are powers, or ``None``: then generic weights that are not
            shared reach the bound.
        rows: one a partition.
    """

    given: str
    shape: tuple[int, ...]
    shared: bool
    base: int | None
    rows: tuple[Separation, ...]

    def __getitem__(self, name: str) -> Separation:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no partition {name!r}, there are {', '.join(row.name for row in self.rows)}")

    def __iter__(self) -> Iterator[Separation]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        rows = [("partition", "one side", "rank", "bound", "bound reached", "cut"), *map(_cells, self.rows)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = [f"separation ranks of {self.given}, shape {_of(self.shape)}"]
        for row in rows:
            cells = [
                c.rjust(w) if k in (2, 3) else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, self._note()])

    def _note(self) -> str:
        if self.shared:
            return "some weights are shared: the bound holds, and need not be reached"
        if self.base is None:
            return "sizes are not powers of one number: the bound holds, and need not be reached"
        return f"all sizes are powers of {self.base}: generic weights reach the bound if none are shared"


@explained
def partitions(grid: int | Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Named partitions of the locations of a grid: name -> the modes on one side.

    ``odd/even`` alternates (on a plane: columns), ``left/right`` halves the line or the rows; a plane has
    ``top/bottom`` and ``checkerboard`` too. A side of length 1 takes those away that would split it.

    Args:
        grid: ``N``, ``(N,)`` or ``(H, W)``; modes are numbered row by row.

    Raises:
        ValueError: for fewer than two locations.

    Source: Cohen & Shashua 2017, Fig. 1 (odd/even, left/right).

    Example:
        >>> from tnrank.circuits import partitions
        >>> partitions(6)
        {'odd/even': (0, 2, 4), 'left/right': (0, 1, 2)}
        >>> partitions((2, 2))["checkerboard"]
        (0, 3)
    """
    sides = sides_of(grid)
    height, width = sides if len(sides) == 2 else (1, sides[0])
    if height * width < 2:
        raise ValueError(f"got a grid of {crossed(sides)} locations: a partition needs two or more")
    places = [(n, *divmod(n, width)) for n in range(height * width)]
    found = {"odd/even": tuple(n for n, r, c in places if (c if width > 1 else r) % 2 == 0)}
    if width > 1:
        found["left/right"] = tuple(n for n, _, c in places if c < width // 2)
    if height > 1:
        found["top/bottom"] = tuple(n for n, r, _ in places if r < height // 2)
    if width > 1 and height > 1:
        found["checkerboard"] = tuple(n for n, r, c in places if (r + c) % 2 == 0)
    return found


@explained
def separation_report(
    x: Any,
    partitions: Partitions | None = None,
    *,
    weights: Any = None,
    sizes: Mapping[Any, int] | None = None,
    rtol: float | None = None,
    limit: float | None = 3e11,
) -> SeparationReport:
    """Separation ranks for some partitions of the input, beside what the minimum cut of the network allows.

    Ranks are measured in the format of a factorization; only arrays and networks are measured densely. Classes count
    to the side that a partition does not name.

    Args:
        x: a factorization, a :class:`Circuit` with product pooling and no activation, a :class:`tnrank.Network`, or
            an array, such as a :func:`grid_tensor`, whose bound is that of its sides.
        partitions: name -> modes on one side, or a list of such modes; by default those of the function
            :func:`partitions` for the grid of the circuit or of the dimension tree, else for a line.
        weights: of a circuit or, name -> array, of a network; without them there are only bounds.
        sizes: of the indices of a network, where there are no weights.
        rtol: relative to the largest singular value; see :func:`tnrank.separation_rank`.
        limit: multiplications; a rank that takes more is not measured (the default is a minute or less). ``None``
            measures all.

    Raises:
        TypeError: if ``x`` is none of these.
        ValueError: if a partition has modes that do not exist, none or all, or weights do not fit.

    Source: Levine, Yakira, Cohen & Shashua 2018, Thm. 1; Cohen & Shashua 2017.

    Example:
        >>> import tnrank
        >>> from tnrank.circuits import separation_report
        >>> x = tnrank.HierarchicalFactorization.random((4,) * 8, tnrank.DimensionTree.balanced(8), width=4, seed=0)
        >>> report = separation_report(x)
        >>> report["odd/even"].rank, report["odd/even"].bound, report["left/right"].rank
        (256, 256, 4)
    """
    source = source_of(x, weights, sizes)
    rows = []
    for name, modes in _named(partitions, x, source):
        side = check_modes(modes, source.shape)
        cut = min_cut(source.network, side, source.sizes)
        rows.append(Separation(name, side, cut, source.rank(side, rtol, limit)))
    base = _base(set(source.sizes.values()))
    return SeparationReport(source.given, source.shape, source.shared, base, tuple(rows))


def _named(given: Partitions | None, x: Any, source: Source) -> list[tuple[str, tuple[int, ...]]]:
    if given is None:
        return list(partitions(_grid(x, len(source.shape))).items())
    if isinstance(given, Mapping):
        return [(str(name), tuple(sequence(modes, f"partition {name!r}", "modes"))) for name, modes in given.items()]
    needed = "name -> modes such as {'mine': (0, 1)}, or a list such as [(0, 1)]"
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"got the partitions {shown(given)}, needed {needed}")
    listed = []
    for modes in given:
        if isinstance(modes, str) or not isinstance(modes, Iterable):
            raise TypeError(f"got the modes {shown(modes)} of a partition, needed {needed}")
        listed.append(tuple(modes))
    return [("{" + ",".join(map(str, modes)) + "}", modes) for modes in listed]


def _grid(x: Any, order: int) -> tuple[int, ...]:
    if isinstance(x, Circuit):
        return x.grid
    tree = getattr(x, "tree", None) if isinstance(x, Factorization) else None
    if not isinstance(tree, DimensionTree):
        return (order,)
    try:
        return windows_of_tree(tree, None)[0]
    except ValueError:
        return (tree.order,)


def _base(sizes: Iterable[int]) -> int | None:
    """The least number of which all sizes are powers; 1 if all of them are 1."""
    roots = {_root(size) for size in sizes if size > 1}
    return None if len(roots) > 1 else roots.pop() if roots else 1


def _root(size: int) -> int:
    for base in range(2, int(size**0.5) + 2):
        power = base
        while power < size:
            power *= base
        if power == size:
            return base
    return size


def _cells(row: Separation) -> tuple[str, ...]:
    through = [f"{_label(label)} ({size})" for label, size in zip(row.cut.labels, row.cut.sizes, strict=True)]
    more = [f".. {len(through) - _SHOWN} more"] if len(through) > _SHOWN else []
    reached = {None: "", True: "yes", False: "no"}[row.reached]
    rank = "not measured" if row.rank is None else str(row.rank)
    return row.name, _side(row.modes), rank, short(row.bound), reached, ", ".join(through[:_SHOWN] + more)


def _label(label: Any) -> str:
    text = str(label)
    return text if len(text) <= 16 else f"{text[:8]}..{text[-6:]}"


def _side(modes: Sequence[int]) -> str:
    shown = [*map(str, modes)] if len(modes) <= 8 else [*map(str, modes[:4]), "..", str(modes[-1])]
    return "{" + ",".join(shown) + "}"


def _of(shape: Sequence[int]) -> str:
    return f"{shape[0]}^{len(shape)}" if len(shape) > 4 and len(set(shape)) == 1 else crossed(shape)


def short(number: int) -> str:
    """A whole number; a power of ten where it is long."""
    text = str(number)
    return f"{number:,}" if len(text) < 13 else f"{text[0]}.{text[1]}e{len(text) - 1}"
