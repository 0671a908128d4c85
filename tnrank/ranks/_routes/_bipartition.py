"""The spectrum of any bipartition of a tensor in a tree format, from the halves of its frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from tnrank._backend import backend_of
from tnrank.dimension_tree import DimensionTree, Node

if TYPE_CHECKING:
    from typing import Any

    from tnrank._typing import Array, Shape

# A node whose modes all lie on one side needs no numbers: its orthonormal frame drops out of the singular values. A
# mixed node carries an array (a, b, k): a and b count what is left of its rows and of its columns, k is its edge up.


class Layout(NamedTuple):
    """The nodes of a tree by number, because a node of many modes takes long to look up."""

    nodes: Sequence[Node]
    """Children before parents; the root is the last."""
    children: Sequence[tuple[int, ...]]

    @classmethod
    def of(cls, tree: DimensionTree) -> Layout:
        """The layout of a tree."""
        number = {node: k for k, node in enumerate(tree.nodes)}
        return cls(tree.nodes, [tuple(number[child] for child in tree.children(node)) for node in tree.nodes])

    def sides(self, rows: Collection[int]) -> list[bool | None]:
        """Whether all modes of a node are rows; ``None`` if some are and some are not."""
        inside, found = set(rows), list[bool | None]()
        for node, below in zip(self.nodes, self.children, strict=True):
            if not below:
                found.append(node.modes[0] in inside)
            else:
                first = found[below[0]]
                found.append(first if all(found[k] is first for k in below[1:]) else None)
        return found


def cost(layout: Layout, shapes: Mapping[Node, Shape], rows: Collection[int]) -> tuple[int, int, int]:
    """Multiplications, the largest intermediate and the number of nodes that :func:`halves` works on.

    For orthonormal frames of the given shapes.
    """
    sides, work, largest = layout.sides(rows), 0, 1
    left: dict[int, tuple[int, int]] = {}
    last = len(sides) - 1
    for number, below in enumerate(layout.children):
        if sides[number] is not None:
            continue
        shape = shapes[layout.nodes[number]]
        above = 1 if number == last else shape[-1]
        a, b, size = 1, 1, prod(shape)
        for child, k in zip(below, shape, strict=False):
            side = sides[child]
            p, q = left[child] if side is None else (k, 1) if side else (1, k)
            if side is None:
                work += size * p * q
                size = size // k * p * q
            largest = max(largest, size)
            a, b = a * p, b * q
        work += size * min(a, b * above) + size * min(b, a * above)
        if number != last:
            a = min(a, b * above)
            b = min(b, a * above)
        left[number] = (a, b)
    a, b = left[last]
    return work + 4 * min(a, b) ** 2 * max(a, b), largest, len(left)


def halves(layout: Layout, arrays: Mapping[Node, Array], rows: Collection[int]) -> Array:
    """A matrix with the singular values of the matricization that has the modes ``rows`` as rows.

    Args:
        layout: of the tree of the frames.
        arrays: orthonormal frames, and the root.
        rows: modes, neither none nor all.

    Each edge that the bipartition cuts multiplies the sides by its rank, until they reach those of the matricization.
    """
    sides, last = layout.sides(rows), len(layout.nodes) - 1
    xp = backend_of(arrays[layout.nodes[last]]).xp
    made: dict[int, Array] = {}
    for number, below in enumerate(layout.children):
        if sides[number] is not None:
            continue
        array = arrays[layout.nodes[number]]
        # Children are taken from axis 1, their sides are put to the end: k, then (a, b) of each.
        array = xp.moveaxis(array[..., None] if number == last else array, -1, 0)
        placed: list[bool] = []
        for child in below:
            side = sides[child]
            if side is None:
                array = xp.tensordot(array, made.pop(child), axes=((1,), (2,)))
                placed += [True, False]
            else:
                array = xp.moveaxis(array, 1, -1)
                placed.append(side)
        first = [1 + k for k, side in enumerate(placed) if side]
        second = [1 + k for k, side in enumerate(placed) if not side]
        shape = tuple(array.shape)
        a, b = (prod(shape[k] for k in axes) for axes in (first, second))
        array = xp.reshape(xp.permute_dims(array, (*first, *second, 0)), (a, b, shape[0]))
        made[number] = array if number == last else _shorter(xp, _shorter(xp, array, 0), 1)
    return made[last][:, :, 0]


def _shorter(xp: Any, array: Array, axis: int) -> Array:
    """A triangular factor in place of an axis that is longer than all others together."""
    moved = xp.moveaxis(array, axis, 0)
    length, *rest = moved.shape
    if length <= prod(rest):
        return array
    factor = xp.linalg.qr(xp.reshape(moved, (length, prod(rest))))[1]
    return xp.moveaxis(xp.reshape(factor, (factor.shape[0], *rest)), 0, axis)
