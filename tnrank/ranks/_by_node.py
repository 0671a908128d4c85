"""A mapping from the nodes of a dimension tree, which also understands the modes of a node."""

from __future__ import annotations

from typing import Any, TypeVar

from tnrank.dimension_tree import Node

T = TypeVar("T")


class ByNode(dict[Node, T]):
    """A dictionary keyed by :class:`Node` in which every group of modes occurs once.

    ``found[key]`` accepts a Node, the modes of one, or a single mode; a unary node above another node means
    the same matricization and finds its value.

    Example:
        >>> from tnrank.dimension_tree import Node
        >>> from tnrank.ranks import ByNode
        >>> found = ByNode({Node((0,), 0): 2, Node((0, 1), 1): 3})
        >>> found[1, 0], found[0], found[Node((0,), 1)]
        (3, 2, 2)
    """

    def __missing__(self, key: Any) -> T:
        given = key.modes if isinstance(key, Node) else key
        modes = (given,) if hasattr(given, "__index__") else tuple(sorted(given))
        for node, value in self.items():
            if node.modes == modes:
                return value
        raise KeyError(f"no node of the modes {modes}; the nodes: {', '.join(map(str, self))}")
