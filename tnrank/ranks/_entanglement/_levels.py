"""The levels of a dimension tree, and the nodes of each that are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tnrank._check import generator

if TYPE_CHECKING:
    from tnrank.dimension_tree import DimensionTree

Modes = tuple[int, ...]


class Level(NamedTuple):
    """Nodes of about the same number of features: ``chosen`` are those that are measured, out of ``size``."""

    number: int
    size: int
    chosen: tuple[Modes, ...]

    @property
    def single(self) -> bool:
        """Whether all nodes are single features."""
        return max(map(len, self.chosen)) == 1


def levels_of(tree: DimensionTree, blocks: int, seed: int) -> tuple[Level, ...]:
    """The levels below the root, the largest nodes first, with at most ``blocks`` nodes each, drawn by the seed.

    A level is a depth of the tree. If the depths of the leaves differ by more than one, as in a linear tree, it is the
    nodes of 1, 2 to 3, 4 to 7, .. features.
    """
    depths = {tree.root: 0}
    for node in reversed(tree.interior):
        for child in tree.children(node):
            depths[child] = depths[node] + 1
    at_leaves = {depths[leaf] for leaf in tree.leaves}
    regular = max(at_leaves) - min(at_leaves) <= 1
    groups: dict[int, dict[Modes, None]] = {}
    for node, depth in depths.items():
        if len(node.modes) < tree.order:
            groups.setdefault(depth if regular else -len(node.modes).bit_length(), {})[node.modes] = None
    found = []
    for number, key in enumerate(sorted(groups), 1):
        nodes = sorted(groups[key])
        if len(nodes) == 2 and sum(map(len, nodes)) == tree.order and not set(nodes[0]) & set(nodes[1]):
            nodes = nodes[:1]  # the two children of the root are one partition
        chosen = nodes
        if len(nodes) > blocks:
            drawn = generator(seed, 0, number).choice(len(nodes), blocks, replace=False)
            chosen = [nodes[k] for k in sorted(drawn)]
        found.append(Level(number, len(nodes), tuple(chosen)))
    return tuple(found)
