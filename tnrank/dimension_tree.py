"""Dimension trees: which modes are grouped before which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from tnrank._check import instance, shape, shown, whole_number
from tnrank._explained import explained
from tnrank._nested import brief, from_text, frozen, modes_named, modes_of, renamed, split, to_text

_MOST_MODES = 2**20
"""Modes of a tree, whose construction takes a few seconds then."""
_MOST_LISTED = 2**24
"""Modes that all nodes together may list, 8 bytes each: a linear tree of order 5,800."""


class Node(NamedTuple):
    """A node of a dimension tree: the modes below it (ascending) and its height (leaf: 0).

    A leaf and a unary node above it have the same modes and differ in height.
    """

    modes: tuple[int, ...]
    height: int

    def __str__(self) -> str:
        return "{" + ",".join(map(str, self.modes)) + "}"


class DimensionTree:
    """A rooted tree over the modes 0 .. N-1 (the papers' mode tree), immutable, hashable, equal by value.

    Args:
        nested: the root as a nested sequence of modes, such as ``((0, 1), (2, 3))``. A sequence of one entry is a
            unary node. Every mode appears once.

    Raises:
        ValueError: if a mode is missing, repeated, negative or not an integer, or a node is empty.

    Source: Hackbusch & Kuehn 2009 (dimension tree); Razin et al. 2022, Sec. 4 (mode tree).

    Example:
        >>> from tnrank import DimensionTree
        >>> tree = DimensionTree(((0, 1), (2, 3)))
        >>> [str(node) for node in tree.nodes]
        ['{0}', '{1}', '{2}', '{3}', '{0,1}', '{2,3}', '{0,1,2,3}']
        >>> tree == DimensionTree.balanced(4)
        True
    """

    __slots__ = ("__dict__", "_nested")

    @explained
    def __init__(self, nested: Sequence[Any] | int) -> None:
        if isinstance(nested, DimensionTree):
            nested = nested.nested
        self._nested = frozen(nested)
        modes = list(modes_of(self._nested))
        counts = Counter(modes)
        for mode, count in counts.items():
            if mode < 0:
                raise ValueError(f"a mode is a number from 0 on, got {mode}")
            if count > 1:
                raise ValueError(f"mode {mode} appears {count} times in {brief(self._nested)}, needed once")
        missing = sorted(set(range(len(modes))) - set(modes))
        if missing:
            raise ValueError(
                f"mode {missing[0]} is missing from {brief(self._nested)}: "
                f"{len(modes)} modes are numbered 0 .. {len(modes) - 1}"
            )

    @classmethod
    @explained
    def balanced(cls, order: int, arity: int = 2) -> DimensionTree:
        """Split the modes into ``arity`` parts of nearly equal size, again and again: no unary nodes.

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree.balanced(5).nested
            (((0, 1), 2), (3, 4))
        """
        order, arity = _checked(order, "order"), whole_number(arity, "arity, the children of a node,", 2)
        return cls(split(tuple(range(order)), arity))

    @classmethod
    @explained
    def windows(cls, order: int, window: int = 2) -> DimensionTree:
        """Group ``window`` neighbors on every level; a short last window may leave a unary node.

        The layout of the published implementation of hierarchical tensor factorization (Razin et al. 2022).

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree.windows(5).nested
            (((0, 1), (2, 3)), ((4,),))
        """
        order, window = _checked(order, "order"), whole_number(window, "window, the children of a node,", 2)
        level: list[Any] = list(range(order))
        while len(level) > 1:
            level = [tuple(level[k : k + window]) for k in range(0, len(level), window)]
        return cls(level[0] if order > 1 else (0,))

    @classmethod
    @explained
    def linear(cls, order: int) -> DimensionTree:
        """The tree of the tensor train: (0, (1, (2, ..))).

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree.linear(4).nested
            (0, (1, (2, 3)))
        """
        order = _checked(order, "order")
        nested: Any = order - 1 if order > 1 else (0,)
        for mode in range(order - 2, -1, -1):
            nested = (mode, nested)
        return cls(nested)

    @classmethod
    @explained
    def star(cls, order: int) -> DimensionTree:
        """All modes under the root: the tree of Tucker and of weighted CP factorizations.

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree.star(3).nested
            (0, 1, 2)
        """
        return cls(tuple(range(_checked(order, "order"))))

    @classmethod
    @explained
    def quad(cls, height: int, width: int) -> DimensionTree:
        """2 x 2 windows of a ``height x width`` grid of modes in row-major order, ragged at the borders.

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree.quad(2, 4).nested
            ((0, 1, 4, 5), (2, 3, 6, 7))
        """
        height, width = _checked(height, "height"), _checked(width, "width")
        _checked(height * width, "height * width")
        grid: list[list[Any]] = [[row * width + column for column in range(width)] for row in range(height)]
        while len(grid) > 1 or len(grid[0]) > 1:
            grid = [
                [
                    tuple(entry for line in grid[row : row + 2] for entry in line[column : column + 2])
                    for column in range(0, len(grid[0]), 2)
                ]
                for row in range(0, len(grid), 2)
            ]
        return cls(grid[0][0] if height * width > 1 else (0,))

    @property
    def nested(self) -> Any:
        """The tree as nested tuples of modes."""
        return self._nested

    @cached_property
    def text(self) -> str:
        """The tree as text, such as ``"((0, 1), (2,))"``: what ``repr(nested)`` gives, for trees of any height."""
        return to_text(self._nested)

    @classmethod
    @explained
    def from_text(cls, text: str) -> DimensionTree:
        """The tree that ``text`` describes.

        Raises:
            ValueError: if it is not a tree.

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree.from_text("((0, 1), (2, 3))") == DimensionTree.balanced(4)
            True
        """
        return cls(from_text(instance(text, "text", str, "a tree such as '((0, 1), (2, 3))'")))

    @cached_property
    def order(self) -> int:
        """N, the number of modes."""
        return sum(1 for _ in modes_of(self._nested))

    @cached_property
    def _walk(self) -> tuple[Node, dict[Node, tuple[Node, ...]]]:
        children: dict[Node, tuple[Node, ...]] = {}
        # Iterative, because a linear tree of order 1000 is deeper than Python's recursion limit.
        stack: list[tuple[Any, bool]] = [(self._nested, False)]
        done: list[Node] = []
        listed = 0
        while stack:
            entry, ready = stack.pop()
            if isinstance(entry, int):
                done.append(Node((entry,), 0))
            elif ready:
                below = tuple(done[len(done) - len(entry) :])
                del done[len(done) - len(entry) :]
                node = Node(tuple(sorted(m for child in below for m in child.modes)), 1 + max(c.height for c in below))
                children[node] = below
                done.append(node)
                listed += len(node.modes)
                if listed > _MOST_LISTED:
                    raise ValueError(
                        f"the nodes of this tree of high order list more than {_MOST_LISTED:,} modes, which does not "
                        "fit into memory: use a flatter tree, such as DimensionTree.balanced(order)"
                    )
            else:
                stack.append((entry, True))
                stack.extend((child, False) for child in reversed(entry))
        return done[0], children

    @property
    def root(self) -> Node:
        """The node of all modes."""
        return self._walk[0]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, leaves first, children before parents, by height and then by first mode."""
        found = {Node((m,), 0) for m in range(len(self.root.modes))} | set(self._walk[1])
        return tuple(sorted(found, key=lambda node: (node.height, node.modes[0], node.modes)))

    @cached_property
    def leaves(self) -> tuple[Node, ...]:
        """The leaves, one a mode, in the order of the modes."""
        return tuple(node for node in self.nodes if node.height == 0)

    @cached_property
    def leaf_order(self) -> tuple[int, ...]:
        """The modes in the order in which a depth-first walk meets them: those of every node stand together.

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree(((0, 2), (3, 1))).leaf_order
            (0, 2, 3, 1)
        """
        return tuple(modes_of(self._nested))

    @cached_property
    def interior(self) -> tuple[Node, ...]:
        """All nodes but the leaves, children before parents; the root is the last."""
        return tuple(node for node in self.nodes if node.height > 0)

    @explained
    def children(self, node: Node | Sequence[int]) -> tuple[Node, ...]:
        """The children of a node, in the order in which the tree was written; empty for a leaf."""
        return self._walk[1].get(self.node(node), ())

    @cached_property
    def _parents(self) -> dict[Node, Node]:
        return {child: node for node, below in self._walk[1].items() for child in below}

    @explained
    def parent(self, node: Node | Sequence[int]) -> Node | None:
        """The parent of a node; ``None`` for the root."""
        return self._parents.get(self.node(node))

    @cached_property
    def _by_modes(self) -> dict[tuple[int, ...], list[Node]]:
        found: dict[tuple[int, ...], list[Node]] = {}
        for node in self.nodes:
            found.setdefault(node.modes, []).append(node)
        return found

    @explained
    def node(self, key: Node | Sequence[int] | int) -> Node:
        """The node that ``key`` names: a Node, or the modes below it where that is unique.

        Raises:
            KeyError: if there is no such node, or if a unary node makes the modes ambiguous.
        """
        if isinstance(key, Node):
            if key.height in [n.height for n in self._by_modes.get(key.modes, [])]:
                return key
            raise KeyError(f"no node {key!r} in {self!r}; its nodes: {', '.join(map(repr, self.nodes))}")
        modes = modes_named(key)
        found = [] if modes is None else self._by_modes.get(modes, [])
        if len(found) == 1:
            return found[0]
        if not found:
            named = shown(key) if modes is None else modes
            raise KeyError(f"no node of the modes {named} in {self!r}; its nodes: {', '.join(map(str, self.nodes))}")
        heights = ", ".join(repr(n) for n in found)
        raise KeyError(f"the modes {modes} name {len(found)} nodes (unary nodes): give one of {heights}")

    @explained
    def with_root(self, at: Node | Sequence[int] | int, on_edge: bool = True) -> DimensionTree:
        """The same tree with its root elsewhere: the bipartitions of the modes stay, some nodes become complements.

        Args:
            at: any node.
            on_edge: put the new root on the edge above ``at``: its children are ``at`` and the complement of ``at``.
                Otherwise the interior node ``at`` itself is the new root. An old root that is left with one child,
                and unary roots, vanish.

        Raises:
            KeyError: if there is no such node.
            ValueError: if a leaf is to be the root itself.

        Example:
            >>> from tnrank import DimensionTree
            >>> tree = DimensionTree((0, (1, (2, 3))))
            >>> tree.with_root((2, 3)).nested
            ((2, 3), (1, 0))
            >>> tree.with_root((1, 2, 3), on_edge=False).nested
            (1, (2, 3), 0)
        """
        node = self.node(at)
        if not node.height and not on_edge:
            raise ValueError(f"node {node} is a leaf and cannot be the root: give on_edge=True, or its parent")
        if node == self.root:
            return self
        path = [node]
        while (above := self.parent(path[-1])) is not None:
            path.append(above)
        entry, complement = self._nested, None
        for above, below in pairwise(reversed(path)):
            place = self.children(above).index(below)
            others = entry[:place] + entry[place + 1 :] + (() if complement is None else (complement,))
            # Without a complement ``above`` is the root in effect, and a root with one other child vanishes.
            complement = others[0] if complement is None and len(others) == 1 else others or None
            entry = entry[place]
        if complement is None:
            return DimensionTree(entry if node.height else (entry,))
        return DimensionTree((entry, complement) if on_edge else (*entry, complement))

    @explained
    def permute(self, order: Sequence[int]) -> DimensionTree:
        """The tree of the tensor with permuted modes: mode ``n`` is now what mode ``order[n]`` was.

        Raises:
            ValueError: if ``order`` is no permutation of the modes.

        Example:
            >>> from tnrank import DimensionTree
            >>> DimensionTree(((0, 1), (2, 3))).permute((3, 0, 1, 2)).nested
            ((1, 2), (3, 0))
        """
        order = list(shape(order, "order", 0))
        if sorted(order) != list(range(self.order)):
            raise ValueError(f"got the order {order!r}, needed a permutation of the modes 0 .. {self.order - 1}")
        place = {mode: k for k, mode in enumerate(order)}
        return DimensionTree(renamed(self._nested, place))

    @cached_property
    def is_binary(self) -> bool:
        """Whether every interior node has two children."""
        return all(len(below) == 2 for below in self._walk[1].values())

    @explained
    def draw(self, note: Any = None) -> str:
        """The tree as indented text, one node a line, with ``note(node)`` behind each."""
        if note is not None and not callable(note):
            raise TypeError(f"note is a function of a node, or None, got {shown(note)}")
        lines: list[str] = []
        stack: list[tuple[Node, str, str]] = [(self.root, "", "")]
        while stack:
            node, first, rest = stack.pop()
            remark = f"  {note(node)}" if note else ""
            lines.append(f"{first}{node}{remark}")
            below = self.children(node)
            for child in reversed(below):
                last = child == below[-1]
                stack.append((child, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   ")))
        return "\n".join(lines)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DimensionTree) and self.text == other.text

    def __hash__(self) -> int:
        return hash((DimensionTree, self.text))

    def __getstate__(self) -> Any:
        return self.text

    def __setstate__(self, state: Any) -> None:
        self._nested = DimensionTree.from_text(state)._nested

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_nested" and hasattr(self, "_nested"):
            raise AttributeError("a DimensionTree is immutable: build another one")
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        order = self.order
        for name, build in (("balanced", self.balanced), ("linear", self.linear), ("star", self.star)):
            if order > 1 and self == build(order):
                return f"DimensionTree.{name}({order})"
        return f"DimensionTree({self.text})"


def _checked(order: Any, name: str) -> int:
    return whole_number(order, f"{name}, the number of modes," if name == "order" else name, 1, _MOST_MODES)
