"""Which modes are compressed together in a pass over a large array, and trees whose modes are groups of modes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tnrank.dimension_tree import DimensionTree, Node

NDArray = np.ndarray[Any, Any]

_SMALL = 128
"""Rows up to which the Gram matrix of several modes together is as cheap as those of its leaves."""


def reduced_tree(tree: DimensionTree, axes: Sequence[Node]) -> tuple[DimensionTree, dict[Node, Node]]:
    """The tree above the nodes ``axes``, which become its modes; and which node of the tree each of its nodes is."""
    reduced = DimensionTree(nested_under(tree, tree.root, {node: k for k, node in enumerate(axes)}))
    return reduced, {other: node for node, other in pairs_of(tree, tree.root, reduced, reduced.root)}


def nested_under(tree: DimensionTree, top: Node, place: dict[Any, int]) -> Any:
    """The subtree under ``top`` as nested tuples; ``place`` numbers its leaves by node or by mode."""
    found: dict[Node, Any] = {}
    stack = [(top, False)]
    while stack:
        node, ready = stack.pop()
        if node in place:
            found[node] = place[node]
        elif not node.height:
            found[node] = place[node.modes[0]]
        elif ready:
            found[node] = tuple(found.pop(child) for child in tree.children(node))
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in tree.children(node))
    return found[top]


def pairs_of(tree: DimensionTree, top: Node, other: DimensionTree, other_top: Node) -> list[tuple[Node, Node]]:
    """Nodes of two trees that stand in the same place, as far as the second tree goes."""
    pairs, stack = [], [(top, other_top)]
    while stack:
        node, twin = stack.pop()
        pairs.append((node, twin))
        stack.extend(zip(tree.children(node), other.children(twin), strict=False))
    return pairs


def subtree(tree: DimensionTree, top: Node) -> list[Node]:
    return [node for node, _ in pairs_of(tree, top, tree, top)]


def groups_of(tree: DimensionTree, sides: Sequence[int], split: set[int], most: int, first: bool) -> list[Node]:
    """Disjoint nodes to compress in a pass: large enough to gain by it, whole in each chunk.

    Up to ``most`` rows, or a single mode, of which a sketch is taken where it is longer.
    """
    chosen: list[Node] = []
    covered = set(split)
    for node in reversed(tree.nodes):
        rows = prod(sides[k] for k in node.modes)
        if not covered.isdisjoint(node.modes) or len(node.modes) == tree.order:
            continue
        if node.height:
            if rows > most:
                continue
            # Later passes group what is compressed already, one level at a time where the groups are large.
            suits = rows <= _SMALL or not (first or any(child.height for child in tree.children(node)))
        else:
            suits = first
        if suits:
            chosen.append(node)
            covered.update(node.modes)
    return chosen


def multiplied_out(tree: DimensionTree, group: Node, frames: dict[Node, NDArray]) -> NDArray:
    """The orthonormal frame of a group, shape ``(sides .., k)``, multiplied out."""

    def expanded(node: Node) -> tuple[tuple[int, ...], NDArray]:
        made = frames[node]
        if not node.height:
            return node.modes, made
        modes: tuple[int, ...] = ()
        for child in tree.children(node):
            below, columns = expanded(child)
            made = np.tensordot(made, columns, axes=(0, -1))
            modes = modes + below
        return modes, np.moveaxis(made, 0, -1)

    modes, made = expanded(group)
    return made.transpose(*np.argsort(modes), made.ndim - 1)
