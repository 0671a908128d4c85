"""From a rank, or a share of the parameters, to the format of a weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

from tnrank._check import real_number, shape, shown, whole_number
from tnrank._explained import explained
from tnrank._typing import Shape
from tnrank.layers._format import WeightFormat
from tnrank.layers._kinds import check_kind, structure_of
from tnrank.layers._modes import divisors, split
from tnrank.layers._structures import Layout

Rank = int | Sequence[int] | None

_MOST_FACTORS = 100
_MOST_MODES = 30
"""A side of 2^30 has no more factors."""


@explained
def weight_format(
    kind: str,
    weight_shape: Sequence[int],
    structure: str,
    *,
    rank: Rank = None,
    parameters: float | str | None = None,
    modes: Any = None,
    depth: int = 2,
    groups: int = 1,
) -> WeightFormat:
    """The format of a weight of a structure, with a rank or a share of the dense parameters.

    Args:
        kind: ``"linear"``, ``"conv"`` or ``"embedding"``.
        weight_shape: shape of the dense weight: (outputs, inputs), (outputs, inputs / groups, \\*window), or
            (rows, features).
        structure: see :class:`WeightFormat`.
        rank: one number for all inner indices, each at most what is of use there; or one for each.
        parameters: in place of ``rank``: the largest one that takes at most this share of the dense weight's
            parameters; ``"same"`` is 1.
        modes: into how many modes outputs and inputs are split, or both splits: ``((32, 32), (28, 28))``; by default
            2 a side, 1 for ``"mf"`` and convolutions. A product beyond the size is filled up with zeros.
        depth: number of factors of ``"mf"``; other structures have none.
        groups: of a convolution.

    Raises:
        ValueError: if not one of ``rank`` and ``parameters`` is given, a rank is larger than possible, the smallest
            rank takes more than the share, or a depth is given for another structure than ``"mf"``.

    Example:
        >>> from tnrank.layers import weight_format
        >>> weight_format("conv", (64, 64, 3, 3), "tucker", parameters=0.1).ranks
        (14, 14)
    """
    check_kind(kind, structure)
    size = shape(weight_shape, "weight_shape")
    kind_of = {"linear": 2, "embedding": 2}
    if kind in kind_of and len(size) != 2:
        raise ValueError(f"a weight of kind {kind!r} has two sides, got {size}")
    if kind == "conv" and len(size) not in (3, 4):
        raise ValueError(f"a weight of kind 'conv' has shape (outputs, inputs, *window) of 1 or 2 axes, got {size}")
    groups = whole_number(groups, "groups", 1)
    depth = whole_number(depth, "depth", 2, _MOST_FACTORS)
    if depth != 2 and structure != "mf":
        raise ValueError(f"depth is the number of factors of 'mf', and structure {structure!r} has none: leave it out")
    if (rank is None) == (parameters is None):
        raise ValueError(f"got rank={shown(rank)} and parameters={shown(parameters)}: needed one of the two")
    rows, columns = (size[1], size[0]) if kind == "embedding" else (size[0], size[1])
    if rows % groups:
        raise ValueError(f"{rows} outputs in {groups} groups: needed a multiple of the groups")
    layout = Layout(*_modes(kind, structure, rows // groups, columns, modes), size[2:], depth)

    def make(ranks: Shape, layout: Layout = layout) -> WeightFormat:
        return WeightFormat(structure, kind, size, layout, ranks, groups)

    limits = _limits(structure, layout)
    if rank is not None:
        return make(_ranks(rank, limits, structure))
    share = 1.0 if parameters == "same" else real_number(parameters, "parameters", 0, above=True)
    found = _largest(lambda r: make(tuple(min(r, most) for most in limits)), max(limits), share)
    if structure == "btt" and modes is None:
        found = _best_blocks(rows // groups, columns, share, make, found)
    if found is None:
        least = make((1,) * len(limits))
        raise ValueError(
            f"rank 1 of structure {structure!r} takes {least.parameter_count:,} parameters, more than "
            f"{share:g} of {least.dense_count:,}: give parameters={least.parameter_count / least.dense_count:.3g} or "
            "more, or another structure, or leave the weight dense (a rule None in factorize)"
        )
    return found


def _modes(kind: str, structure: str, rows: int, columns: int, modes: Any) -> tuple[Shape, Shape]:
    usual = 1 if kind == "conv" else structure_of(structure).modes
    if modes is None or hasattr(modes, "__index__"):
        count = usual if modes is None else whole_number(modes, "modes", 1, _MOST_MODES)
        return split(rows, count), split(columns, count)
    if not isinstance(modes, (tuple, list)) or len(modes) != 2 or any(hasattr(side, "__index__") for side in modes):
        raise ValueError(f"modes is a number, or splits of both sides such as ((32, 32), (28, 28)), got {shown(modes)}")
    given = [shape(side, "modes") for side in modes]
    return (given[1], given[0]) if kind == "embedding" else (given[0], given[1])


def _limits(structure: str, layout: Layout) -> Shape:
    rules = structure_of(structure)
    rules.check(layout)
    return tuple(rules.limits(layout).values())


def _ranks(rank: Any, limits: Shape, structure: str) -> Shape:
    if isinstance(rank, (str, Real)) and not hasattr(rank, "__index__"):
        raise TypeError(f"rank is a whole number, or one for each inner index such as (8, 8), got {shown(rank)}")
    if not hasattr(rank, "__index__"):
        return shape(rank, "rank")
    one = whole_number(rank, "rank", 1)
    if one > max(limits):
        raise ValueError(f"rank {one} of structure {structure!r} is larger than possible: {max(limits)} at most")
    return tuple(min(one, most) for most in limits)


def _largest(make: Callable[[int], WeightFormat], most: int, share: float) -> WeightFormat | None:
    """The format of the largest rank within the share, by bisection; ``None`` if there is none."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        made = make(middle)
        low, high = (middle, high) if made.parameter_count <= share * made.dense_count else (low, middle - 1)
    return make(low) if low else None


def _best_blocks(
    rows: int, columns: int, share: float, make: Callable[..., WeightFormat], found: WeightFormat | None
) -> WeightFormat | None:
    """Blocks of other sizes than square ones, where these are far from the share; of rank 1, or not at all."""
    if found is not None and found.parameter_count > 0.75 * share * found.dense_count:
        return found
    allowed = [
        made
        for b in divisors(rows)
        for c in divisors(columns)
        if 1 < b < rows
        and 1 < c < columns
        and (made := make((1,), Layout((rows // b, b), (c, columns // c)))).parameter_count <= share * made.dense_count
    ]
    best = max(
        allowed,
        key=lambda made: (made.parameter_count, -abs(made.layout.rows[1] - made.layout.columns[0])),
        default=None,
    )
    if found is None or best is None:
        return best or found
    return best if best.parameter_count > found.parameter_count else found
