"""The contraction of two tensors in the hierarchical Tucker layout over some of their modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tnrank._backend import backend_of
from tnrank._nested import renamed
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._nodes._change import change_tree

Nodes = Mapping[Node, Array]


class _Side(NamedTuple):
    """A tensor with its contracted modes below one node, the others below another; either may be missing."""

    tree: DimensionTree
    nodes: Nodes
    shared: Node
    rest: Node | None


def tensordot(
    tree: DimensionTree,
    nodes: Nodes,
    other_tree: DimensionTree,
    others: Nodes,
    modes: Sequence[int],
    twins: Sequence[int],
) -> tuple[DimensionTree | None, Any]:
    """See :meth:`tnrank.HierarchicalTucker.tensordot`; without a tree, the second value is a dense vector or scalar.

    Both tensors are brought to trees with the contracted modes below one child of the root, in the same shape. The
    frames there meet in a small matrix; the other halves of the trees stay as they are.
    """
    xp = backend_of(nodes[tree.root]).xp
    if not modes:
        left = _Side(tree, {**nodes, tree.root: nodes[tree.root][..., None]}, tree.root, tree.root)
        right = _Side(
            other_tree,
            {**others, other_tree.root: others[other_tree.root][..., None]},
            other_tree.root,
            other_tree.root,
        )
        return _joined(left, right, xp.ones((1, 1), dtype=nodes[tree.root].dtype))
    names = dict(zip(modes, twins, strict=True))
    shared = _without(tree, set(range(tree.order)) - set(modes))
    left = _gathered(tree, nodes, shared, set(modes))
    right = _gathered(other_tree, others, renamed(shared, names), set(twins))
    meeting = _meeting(left, right, names)
    if left.rest is not None:
        meeting = xp.tensordot(left.nodes[left.tree.root], meeting, axes=((0,), (0,)))
    if right.rest is not None:
        meeting = xp.tensordot(meeting, right.nodes[right.tree.root], axes=((meeting.ndim - 1,), (0,)))
    if left.rest is not None and right.rest is not None:
        return _joined(left, right, meeting)
    side = left if right.rest is None else right
    return (None, meeting) if side.rest is None else _alone(xp, side, meeting)


def _gathered(tree: DimensionTree, nodes: Nodes, shared: Any, modes: set[int]) -> _Side:
    rest = _without(tree, modes)
    wanted = DimensionTree((shared, rest) if rest is not None else (shared,) if isinstance(shared, int) else shared)
    made = nodes if wanted == tree else change_tree(tree, nodes, wanted).nodes
    if rest is None:
        return _Side(wanted, made, wanted.root, None)
    first, second = wanted.children(wanted.root)
    return _Side(wanted, made, first, second)


def _without(tree: DimensionTree, modes: set[int]) -> Any:
    """``tree`` as nested modes without some of them; nodes with one child left vanish. ``None`` if none is left."""
    kept: dict[Node, Any] = {}
    for node in tree.nodes:
        if not node.height:
            kept[node] = None if node.modes[0] in modes else node.modes[0]
            continue
        left = [entry for entry in (kept.pop(child) for child in tree.children(node)) if entry is not None]
        kept[node] = None if not left else left[0] if len(left) == 1 else tuple(left)
    return kept[tree.root]


def _meeting(left: _Side, right: _Side, names: Mapping[int, int]) -> Array:
    """``F^T G`` for the frames F, G of the contracted modes, whose subtrees differ in names and order at most."""
    xp = backend_of(left.nodes[left.shared]).xp
    done: dict[Node, Array] = {}
    stack: list[tuple[Node, Node, bool]] = [(left.shared, right.shared, False)]
    while stack:
        node, twin, ready = stack.pop()
        a, b = left.nodes[node], right.nodes[twin]
        below = left.tree.children(node)
        if not below:
            done[node] = xp.tensordot(a, b, axes=((0,), (0,)))
            continue
        place = {tuple(sorted(names[m] for m in child.modes)): axis for axis, child in enumerate(below)}
        order = [place[other.modes] for other in right.tree.children(twin)]
        if not ready:
            stack.append((node, twin, True))
            pairs = zip((below[axis] for axis in order), right.tree.children(twin), strict=True)
            stack.extend((child, other, False) for child, other in pairs)
            continue
        a = xp.permute_dims(a, (*order, *range(len(below), a.ndim)))
        for axis, position in enumerate(order):
            a = xp.moveaxis(xp.tensordot(a, done.pop(below[position]), axes=((axis,), (0,))), -1, axis)
        axes = tuple(range(len(below)))
        done[node] = xp.tensordot(a, b, axes=(axes, axes))
    return done[left.shared]


def _joined(left: _Side, right: _Side, root: Array) -> tuple[DimensionTree, dict[Node, Array]]:
    """The rests of both sides below one root, the modes of the first before those of the second."""
    assert left.rest is not None
    assert right.rest is not None
    first, made = _numbered(left, left.rest, 0)
    second, more = _numbered(right, right.rest, len(left.rest.modes))
    tree = DimensionTree((first, second))
    return tree, {**made, **more, tree.root: root}


def _alone(xp: Any, side: _Side, vector: Array) -> tuple[DimensionTree | None, Any]:
    assert side.rest is not None
    frame = side.nodes[side.rest]
    top = xp.tensordot(frame, vector, axes=((frame.ndim - 1,), (0,)))
    if not side.rest.height:
        return None, top
    nested, made = _numbered(side, side.rest, 0)
    tree = DimensionTree(nested)
    return tree, {**made, tree.root: top}


def _numbered(side: _Side, top: Node, start: int) -> tuple[Any, dict[Node, Array]]:
    """The subtree of a node with its modes numbered from ``start`` on, in their order."""
    names = {mode: start + k for k, mode in enumerate(top.modes)}
    nested: dict[Node, Any] = {}
    made = {}
    inside = set(top.modes)
    for node in side.tree.nodes:
        if not inside.issuperset(node.modes) or node.height > top.height:
            continue
        below = side.tree.children(node)
        nested[node] = names[node.modes[0]] if not below else tuple(nested.pop(child) for child in below)
        made[Node(tuple(names[m] for m in node.modes), node.height)] = side.nodes[node]
        if node == top:
            break
    return nested[top], made
