"""Entanglement at many nodes of a tree in one walk from the leaves to the root."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.ranks._entanglement._levels import Modes
from tnrank.ranks._entanglement._partition import entanglement, log_gram

if TYPE_CHECKING:
    from tnrank.dimension_tree import DimensionTree, Node

NDArray = np.ndarray[Any, Any]

_AT_ONCE = 16
"""Nodes of up to so many features multiply their cosines; larger ones add the logarithms of their children."""


def measure_nodes(
    tree: DimensionTree, wanted: Set[Modes], vectors: NDArray, log_all: NDArray, signs: NDArray | None
) -> dict[Modes, tuple[float, float]]:
    """``{modes: (entropy, geometric entanglement)}`` of the wanted nodes.

    The Gram matrix of a node is the product of those of its children, so that the cosines of every feature are taken
    once or twice, whatever the number of nodes. The child with the most features comes first: as many matrices wait as
    the tree is high if it is balanced, and two if it is linear.
    """
    found: dict[Modes, tuple[float, float]] = {}
    sums: dict[Node, NDArray] = {}

    def finish(node: Node, logs: NDArray) -> None:
        if node.modes in wanted and node.modes not in found:
            found[node.modes] = entanglement(logs, log_all, signs)
        parent = tree.parent(node)
        if parent in sums:
            sums[parent] += logs
        elif parent is not None:
            sums[parent] = logs

    waiting: list[tuple[Node, bool]] = [(tree.root, False)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            finish(node, sums.pop(node))
        elif len(node.modes) <= _AT_ONCE:
            for inside in _below(tree, node):
                if inside.modes in wanted and inside.modes not in found:
                    found[inside.modes] = entanglement(log_gram(vectors, inside.modes), log_all, signs)
            finish(node, log_gram(vectors, node.modes))
        else:
            waiting.append((node, True))
            waiting.extend((child, False) for child in sorted(tree.children(node), key=lambda n: len(n.modes)))
    return found


def _below(tree: DimensionTree, node: Node) -> list[Node]:
    found = list(tree.children(node))
    for inside in found:
        found.extend(tree.children(inside))
    return found
