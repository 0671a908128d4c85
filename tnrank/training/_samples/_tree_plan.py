"""Nodes of a dimension tree in groups that are computed at once: of one height, arity and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from tnrank.dimension_tree import DimensionTree, Node

Host = np.ndarray[Any, Any]


Places = Any
"""A slice, or an array of whole numbers."""


@dataclass
class Group:
    """Nodes whose matrices stand in one array ``(nodes, rows, columns)``.

    Attributes:
        shape: rows and columns of each matrix.
        tabulated: whether the outputs of all patterns of the leaves below are computed, and looked up.
        nodes: in the order of the array.
        children: of the first children of all nodes, the second ones, and so on: the groups that they are in, and
            their places in these groups one after another.
        users: the groups that nodes of this one are children of: number, which child, and of which of their nodes.
        order: where the nodes stand in what ``users`` lists; ``None`` if as here.
    """

    shape: tuple[int, int]
    tabulated: bool
    nodes: list[Node] = field(default_factory=list)
    children: list[tuple[list[int], Places]] = field(default_factory=list)
    users: list[tuple[int, int, Places]] = field(default_factory=list)
    order: Host | None = None


def grouped(
    tree: DimensionTree, shapes: Mapping[Node, tuple[int, int]], most_patterns: int
) -> tuple[list[Group], dict[Node, tuple[int, int]]]:
    """Groups, children before parents, and where each node stands: its group and its place there.

    Nodes with only leaves below them are tabulated if those have ``most_patterns`` joint states at most.
    """

    def dimensions(node: Node) -> tuple[int, ...]:
        children = tree.children(node)
        leaves = children and all(child.height == 0 for child in children)
        found = tuple(shapes[child][0] for child in children) if leaves else ()
        return found if found and prod(found) <= most_patterns else ()

    def key(node: Node) -> tuple[Any, ...]:
        parent = tree.parent(node)
        below_a_table = node.height == 0 and parent is not None and bool(dimensions(parent))
        return node.height, len(tree.children(node)), shapes[node], dimensions(node), below_a_table

    keys = {node: key(node) for node in tree.nodes}
    groups = {key: Group(key[2], bool(key[3])) for key in sorted(set(keys.values()))}
    groups[keys[tree.root]].nodes.append(tree.root)
    # Children follow in the order of their parents, so that most of them are slices.
    for (_, arity, *_), group in reversed(groups.items()):
        for place in range(arity):
            for node in group.nodes:
                child = tree.children(node)[place]
                groups[keys[child]].nodes.append(child)
    ordered = list(groups.values())
    where = {node: (number, place) for number, group in enumerate(ordered) for place, node in enumerate(group.nodes)}
    for number, group in enumerate(ordered):
        for place in range(len(tree.children(group.nodes[0]))):
            _connect(number, place, [where[tree.children(node)[place]] for node in group.nodes], ordered)
    for group in ordered:
        listed = [place for user, k, rows in group.users for place in _chosen(ordered, user, k, rows, tree, where)]
        if listed != list(range(len(listed))):
            group.order = np.argsort(listed).astype(np.int32)
    return ordered, where


def _connect(number: int, place: int, children: Sequence[tuple[int, int]], groups: Sequence[Group]) -> None:
    """Note where the children of a group's nodes stand, and whose children they are."""
    sources = sorted({source for source, _ in children})
    starts, start = dict[int, int](), 0
    for source in sources:
        starts[source] = start
        start += len(groups[source].nodes)
        rows = [row for row, (own, _) in enumerate(children) if own == source]
        groups[source].users.append((number, place, _places(rows)))
    groups[number].children.append((sources, _places([starts[source] + k for source, k in children])))


def _chosen(
    groups: Sequence[Group], user: int, k: int, rows: Places, tree: DimensionTree, where: Mapping[Node, tuple[int, int]]
) -> list[int]:
    nodes = groups[user].nodes
    chosen = nodes[rows] if isinstance(rows, slice) else [nodes[row] for row in rows]
    return [where[tree.children(node)[k]][1] for node in chosen]


def _places(found: Sequence[int]) -> Places:
    """As a slice where possible."""
    if list(found) == list(range(found[0], found[0] + len(found))):
        return slice(found[0], found[0] + len(found))
    return np.asarray(found, np.int32)
