"""Sums, entrywise products and operations on single modes, in the hierarchical Tucker layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tnrank._alike import zeros
from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._whole import check_product

Nodes = Mapping[Node, Array]


class _Piece(NamedTuple):
    nested: Any
    node: Node


def contract_modes(
    tree: DimensionTree, nodes: Nodes, vectors: Mapping[int, Array]
) -> tuple[DimensionTree | None, dict[Node, Array] | Array]:
    """Sum one mode after another against a vector ``(d_n,)``; the other modes are renumbered in their order.

    A node that loses all children but one is merged with that child. With one mode left or none, the tree is ``None``
    and the second value the dense vector or scalar.
    """
    xp = backend_of(nodes[tree.root]).xp
    number = {mode: k for k, mode in enumerate(m for m in range(tree.order) if m not in vectors)}
    gone: dict[Node, Array] = {}
    alive: dict[Node, _Piece] = {}
    made: dict[Node, Array] = {}
    for node in tree.nodes:
        array, below = nodes[node], tree.children(node)
        if not below:
            mode = node.modes[0]
            if mode in vectors:
                gone[node] = xp.tensordot(vectors[mode], array, axes=((0,), (0,)))
            else:
                new = Node((number[mode],), 0)
                alive[node], made[new] = _Piece(number[mode], new), array
            continue
        for axis in reversed(range(len(below))):
            if below[axis] in gone:
                array = xp.tensordot(array, gone.pop(below[axis]), axes=((axis,), (0,)))
        left = [alive.pop(child) for child in below if child in alive]
        if not left:
            gone[node] = array
        elif len(left) == 1 and len(below) > 1:
            frame = made[left[0].node]
            made[left[0].node] = xp.tensordot(frame, array, axes=((frame.ndim - 1,), (0,)))
            alive[node] = left[0]
        else:
            modes = tuple(sorted(m for piece in left for m in piece.node.modes))
            new = Node(modes, 1 + max(piece.node.height for piece in left))
            made[new] = array
            alive[node] = _Piece(tuple(piece.nested for piece in left), new)
    if tree.root in gone:
        return None, gone[tree.root]
    piece = alive[tree.root]
    if len(number) == 1:
        return None, _collapse(xp, piece, made)
    return DimensionTree(piece.nested), made


def _collapse(xp: Any, piece: _Piece, made: dict[Node, Array]) -> Array:
    """The one mode that is left, through the unary nodes above it."""
    frame = made[Node(piece.node.modes, 0)]
    for height in range(1, piece.node.height + 1):
        array = made[Node(piece.node.modes, height)]
        frame = xp.tensordot(frame, array, axes=((1,), (0,)))
    return frame


def multiply_modes(nodes: Nodes, matrices: Mapping[int, Array]) -> dict[Node, Array]:
    """Matrices ``(m, d_n)`` onto modes, which then have dimension m."""
    return {node: _onto_leaf(node, array, matrices) for node, array in nodes.items()}


def _onto_leaf(node: Node, array: Array, matrices: Mapping[int, Array]) -> Array:
    return matrices[node.modes[0]] @ array if not node.height and node.modes[0] in matrices else array


def entrywise_product(tree: DimensionTree, a: Nodes, b: Nodes) -> dict[Node, Array]:
    """Ranks multiply: each transfer tensor is the Kronecker product of the two, each frame the row-wise one."""
    for node in tree.nodes:
        check_product(a[node], b[node])
    return {node: kronecker(a[node], b[node], 1 if not node.height else 0) for node in tree.nodes}


def kronecker(a: Array, b: Array, shared: int) -> Array:
    """Kronecker product along all axes but the first ``shared``, which are multiplied entry by entry."""
    xp = backend_of(a).xp
    kept = tuple(a.shape[:shared])
    pairs = list(zip(a.shape[shared:], b.shape[shared:], strict=True))
    left = xp.reshape(a, (*kept, *(size for m, _ in pairs for size in (m, 1))))
    right = xp.reshape(b, (*kept, *(size for _, n in pairs for size in (1, n))))
    return xp.reshape(left * right, (*kept, *(m * n for m, n in pairs)))


def sum_of_nodes(tree: DimensionTree, a: Nodes, b: Nodes) -> dict[Node, Array]:
    """Frames side by side, transfer tensors on block diagonals."""
    xp = backend_of(a[tree.root]).xp
    made = {}
    for node in tree.nodes:
        if not node.height:
            made[node] = xp.concat([a[node], b[node]], axis=1)
        else:
            made[node] = _block_diagonal(xp, a[node], b[node])
    return made


def _block_diagonal(xp: Any, a: Array, b: Array) -> Array:
    """Two tensors on the diagonal of one, zeros elsewhere, by concatenation (some arrays cannot be assigned to)."""
    wide_a, wide_b = a, b
    for axis in range(a.ndim):
        low = list(wide_a.shape)
        low[axis] = b.shape[axis]
        high = list(wide_b.shape)
        high[axis] = a.shape[axis]
        wide_a = xp.concat([wide_a, zeros(a, low)], axis=axis)
        wide_b = xp.concat([zeros(b, high), wide_b], axis=axis)
    return wide_a + wide_b
