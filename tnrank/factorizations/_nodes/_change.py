"""Another root and other positions of the modes in the hierarchical Tucker format; for another tree see beside.

Nothing is made dense. All functions take the tree and ``{node: array}`` in the layout of
:class:`tnrank.HierarchicalTucker`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from tnrank._backend import backend_of
from tnrank._scale import nonzero, norm
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._nodes._change_tree import TreeChange as TreeChange
from tnrank.factorizations._nodes._change_tree import change_tree as change_tree
from tnrank.factorizations._nodes._change_tree import scaled

Nodes = dict[Node, Array]


def permute(tree: DimensionTree, nodes: Mapping[Node, Array], order: Sequence[int]) -> tuple[DimensionTree, Nodes]:
    """The tensor with axes permuted as ``numpy.transpose(x, order)`` does: the tree is relabeled, no array changes.

    Args:
        tree: of order N.
        nodes: its arrays.
        order: a permutation of 0 .. N-1.

    Raises:
        ValueError: if it is none.
    """
    new_tree = tree.permute(order)
    place = {int(mode): k for k, mode in enumerate(order)}
    return new_tree, {
        Node(tuple(sorted(place[mode] for mode in node.modes)), node.height): array for node, array in nodes.items()
    }


def change_root(
    tree: DimensionTree, nodes: Mapping[Node, Array], at: Node | Sequence[int] | int, on_edge: bool = True
) -> tuple[DimensionTree, Nodes]:
    """The same tensor on the tree with another root: ``tree.with_root(at, on_edge)``.

    Only the arrays between the old root and the new one change, each by a QR decomposition: frames that were
    orthonormal seen from the old root are orthonormal seen from the new one.

    Args:
        tree: of order N.
        nodes: its arrays.
        at: the new root sits on the edge above this node, or is this interior node.
        on_edge: which of both.

    Raises:
        KeyError, ValueError: as :meth:`DimensionTree.with_root`.
    """
    node, new_tree = tree.node(at), tree.with_root(at, on_edge)
    if node == tree.root:
        return tree, dict(nodes)
    xp = backend_of(nodes[tree.root]).xp
    path = [node]
    while (above := tree.parent(path[-1])) is not None:
        path.append(above)
    on_path = set(path)
    made = {n: nodes[n] for n in tree.nodes if n not in on_path}
    # carry: (complement, node below), what of the nodes above is left to multiply onto the node below;
    # (node below,) as long as the complement has no modes.
    carry: Any = None
    complement, changed, log_norm = None, [], 0.0
    for above, below in pairwise(reversed(path)):
        array = nodes[above] if carry is None else _on_last(xp, nodes[above], carry)
        children = tree.children(above)
        kept = [child for child in children if child != below] + ([] if complement is None else [complement])
        carry = xp.moveaxis(array, children.index(below), array.ndim - 1)
        if complement is not None or len(kept) > 1:
            shape = tuple(carry.shape)
            q, carry = xp.linalg.qr(xp.reshape(carry, (prod(shape[:-1]), shape[-1])))
            height = 1 + max(child.height for child in kept)
            complement = Node(tuple(sorted(mode for child in kept for mode in child.modes)), height)
            made[complement] = xp.reshape(q, (*shape[:-1], carry.shape[0]))
            changed.append(complement)
        elif kept:
            # The old root vanishes: into the node below, or, if that would widen it, in part into the other child.
            complement = kept[0]
            if carry.shape[0] > carry.shape[1]:
                q, carry = xp.linalg.qr(carry)
                made[complement] = _on_last(xp, made[complement], xp.permute_dims(q, (1, 0)))
                changed.append(complement)
        carry, log_norm = _normalized(xp, carry, log_norm)
    root = new_tree.root
    made[node] = nodes[node]
    if complement is not None and on_edge:
        made[root] = xp.permute_dims(carry, (1, 0))
    elif node.height:
        del made[node]
        made[root] = _on_last(xp, nodes[node], carry)
    else:
        made[root] = carry
    return new_tree, scaled(xp, made, [*changed, root], root, log_norm)


def _on_last(xp: Any, array: Array, carry: Array) -> Array:
    """Multiply a matrix ``(m, k)`` or a vector ``(k,)`` onto the last axis, of size k."""
    return xp.tensordot(array, xp.permute_dims(carry, tuple(reversed(range(carry.ndim)))), axes=1)


def _normalized(xp: Any, array: Array, log_norm: Any) -> tuple[Array, Any]:
    """The array at norm 1, and the logarithm of its norm added to ``log_norm``."""
    backend = backend_of(array)
    scale = nonzero(norm(array, backend), backend)
    return array / scale, log_norm + backend.xp.log(scale)
