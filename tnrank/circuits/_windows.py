"""Which pooling windows a dimension tree is made of."""

from __future__ import annotations

from collections.abc import Sequence

from tnrank.circuits._layout import crossed
from tnrank.dimension_tree import DimensionTree, Node


def windows_of_tree(tree: DimensionTree, grid: tuple[int, ...] | None) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The grid of the leaves and the window of every level.

    Raises:
        ValueError: if the nodes are not windows of the grid (of any grid, if none is given); one node is named.
    """
    for node in tree.interior:
        short = [child for child in tree.children(node) if child.height != node.height - 1]
        if short:
            raise ValueError(
                f"node {node} is not a pooling window: its child {short[0]} has height {short[0].height} and others "
                f"have height {node.height - 1}, but a window pools locations of one level. "
                "DimensionTree.windows(order) and DimensionTree.quad(height, width) have unary nodes for that"
            )
    if grid is not None:
        return grid, _read(tree, grid)
    try:
        return (tree.order,), _read(tree, (tree.order,))
    except ValueError as error:
        for height in range(2, tree.order // 2 + 1):
            if tree.order % height == 0:
                try:
                    return (height, tree.order // height), _read(tree, (height, tree.order // height))
                except ValueError:
                    continue
        raise error from None


def _read(tree: DimensionTree, grid: tuple[int, ...]) -> list[tuple[int, ...]]:
    if len(grid) == 1:
        grid = (1, *grid)
        return [(w,) for _, w in _read(tree, grid)]
    height, width = grid
    if height * width != tree.order:
        raise ValueError(f"the grid {crossed(grid)} has {height * width} locations, the tree {tree.order} modes")
    place = {Node((n,), 0): (n // width, n % width) for n in range(tree.order)}
    sides, found = grid, list[tuple[int, ...]]()
    for level in range(1, tree.root.height + 1):
        nodes = [node for node in tree.interior if node.height == level]
        first = min(nodes, key=lambda node: min(place[c] for c in tree.children(node)))
        corner = [place[child] for child in tree.children(first)]
        window = (max(r for r, _ in corner) + 1, max(c for _, c in corner) + 1)
        after: dict[Node, tuple[int, int]] = {}
        for node in nodes:
            places = [place[child] for child in tree.children(node)]
            at = (min(r for r, _ in places) // window[0], min(c for _, c in places) // window[1])
            if sorted(places) != _cells(at, window, sides) or places != sorted(places):
                like = "neighbors" if node == first else f"{_shown(window)} locations like {first}"
                raise ValueError(
                    f"node {node} is not a window of {like} on the grid {_shown(sides)}, row by row: a circuit needs "
                    f"DimensionTree.windows(order, window), DimensionTree.quad(height, width), "
                    "or grid= for another layout"
                )
            after[node] = at
        place = after
        sides = (-(-sides[0] // window[0]), -(-sides[1] // window[1]))
        found.append(window)
    return found


def _cells(at: Sequence[int], window: Sequence[int], sides: Sequence[int]) -> list[tuple[int, int]]:
    rows, columns = (range(a * w, min((a + 1) * w, side)) for a, w, side in zip(at, window, sides, strict=True))
    return [(r, c) for r in rows for c in columns]


def _shown(sides: Sequence[int]) -> str:
    return str(sides[1]) if sides[0] == 1 else crossed(sides)
