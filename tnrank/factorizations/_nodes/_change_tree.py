"""Another dimension tree for a tensor in the hierarchical Tucker format, without forming the tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import inf
from typing import Any, NamedTuple

import numpy as np

from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.factorizations._nodes._web import Web
from tnrank.linalg import check_rtol, choose_method

Nodes = dict[Node, Array]
MEMORY_LIMIT = 2**24
"""The most elements of a local tensor by default; the SVD of a 4096 x 4096 matrix takes a minute."""


class TreeChange(NamedTuple):
    """The arrays on the new tree, and a bound of ``||x - y|| / ||x||``: all that was dropped, added up."""

    nodes: Nodes
    relative_error_bound: float


def change_tree(
    tree: DimensionTree,
    nodes: Mapping[Node, Array],
    new_tree: DimensionTree | Sequence[Any],
    rtol: float | None = None,
    memory_limit: int | None = None,
) -> TreeChange:
    """The same tensor on any other dimension tree, by exchanges of neighboring subtrees.

    Each exchange contracts two neighboring transfer tensors seen from which all frames are orthonormal, regroups their
    axes and splits them by an SVD: ``O(k^6)`` at ranks k, and as accurate as the SVD. Children are brought together
    before parents, the nearest first. Ranks between the two trees may be larger than on both.

    Args:
        tree: of order N.
        nodes: its arrays.
        new_tree: another tree of order N.
        rtol: bounds ``||x - y|| / ||x||``, half of it for the exchanges and the rest for the result; ``None`` drops
            what rounding cannot tell from zero.
        memory_limit: the most elements of a local tensor; ``None`` is 2^24.

    Raises:
        ValueError: if the new tree has other modes, entries are not finite, ``rtol`` is outside [0, 1), below eps or
            below what the rounding of all exchanges allows, or a local tensor is too large.
    """
    new_tree = new_tree if isinstance(new_tree, DimensionTree) else DimensionTree(new_tree)
    if new_tree.order != tree.order:
        raise ValueError(f"the new tree has {new_tree.order} modes and the tensor has {tree.order}")
    backend = backend_of(nodes[tree.root])
    rtol = check_rtol(rtol)
    choose_method("qr", rtol, backend.dtype_of(nodes[tree.root]))
    frames, log_norm = _hsvd.orthogonalize(tree, nodes)
    if not np.isfinite(backend.to_numpy(frames[tree.root])).all():
        raise ValueError("the arrays have NaN or infinite entries")
    web = Web(tree, frames, (rtol or 0.0) / 2, MEMORY_LIMIT if memory_limit is None else memory_limit)
    bonds = regroup(web, new_tree)
    error = web.lost + web.truncate((rtol or 0.0) - web.lost)
    if rtol is not None and error > rtol:
        raise ValueError(
            f"rtol {rtol:.3g} is below the accuracy floor of this change of tree: rounding alone lost {error:.3g}; "
            "raise rtol, or leave it None"
        )
    made = _assembled(web, new_tree, bonds)
    return TreeChange(scaled(backend.xp, made, list(made), new_tree.root, log_norm), error)


def effective_children(tree: DimensionTree) -> dict[Node, tuple[Node, ...]]:
    """The tree without its unary nodes: node -> children, children before parents, leaves left out."""

    def below(node: Node) -> Node:
        while len(children := tree.children(node)) == 1:
            node = children[0]
        return node

    return {
        node: tuple(below(child) for child in children)
        for node in tree.interior
        if len(children := tree.children(node)) > 1
    }


def regroup(web: Web, tree: DimensionTree) -> dict[Node, int]:
    """Exchange subtrees until every node of ``tree`` but the root, unary ones aside, has a bond; returns the bonds."""
    bonds = {Node((mode,), 0): web.leaf_bond(mode) for mode in range(tree.order) if tree.order > 1}
    children = effective_children(tree)
    parent = {child: node for node, below in children.items() for child in below}
    top = next(reversed(children), None)
    # node -> the bonds that are still to be brought together, for nodes whose children are all in place
    waiting: dict[Node, list[int]] = {}
    auxiliary: dict[Node, list[int]] = {node: [] for node in children}
    share = 1.0 / (4 * max(1, tree.order))

    def enter(node: Node | None) -> None:
        if node is not None and all(child in bonds for child in children[node]):
            waiting[node] = [bonds[child] for child in children[node]]

    for node in children:
        if not any(child in children for child in children[node]):
            enter(node)
    while waiting:
        # Three bonds left have one vertex left between them, and two are one bond: the root is in place.
        if top in waiting and len(waiting[top]) <= 3:
            break
        node, pair = _nearest(web, waiting)
        found = web.gather(*pair, share)
        waiting[node] = [bond for bond in waiting[node] if bond not in pair] + [found]
        if len(waiting[node]) > 1 or node == top:
            auxiliary[node].append(found)
        else:
            bonds[node] = found
            del waiting[node]
            web.join(auxiliary[node])
            enter(parent.get(node))
    if top is not None:
        web.join(auxiliary[top])
    return bonds


def _nearest(web: Web, waiting: Mapping[Node, Sequence[int]]) -> tuple[Node, tuple[int, int]]:
    """The pair of bonds of one node with the fewest bonds between them."""
    best: Any = None
    least: float = inf
    for node, bonds in waiting.items():
        for pair in combinations(bonds, 2):
            found = web.distance(*pair, most=least - 1)
            if found < least:
                best, least = (node, pair), found
            if not least:
                return best  # type: ignore[no-any-return]
    return best  # type: ignore[no-any-return]


def _assembled(web: Web, tree: DimensionTree, bonds: Mapping[Node, int]) -> Nodes:
    """The arrays on ``tree`` once every node has its bond; the root is the center."""
    xp, children = web.xp, effective_children(tree)
    vertex = {Node((mode,), 0): mode for mode in range(tree.order)}
    for node, below in children.items():
        first, second = (set(web.ends[bonds[child]]) for child in below[:2])
        vertex[node] = next(iter(first & second)) if first != second else -1
    top = next(reversed(children), Node((0,), 0))
    made: Nodes = {}
    if vertex[top] < 0:
        # A binary root has no vertex of its own: it stands on the bond of its two children.
        left = children[top][0]
        bond = bonds[left]
        web.move_center(vertex[left])
        rows = [b for b in web.legs[vertex[left]] if b != bond]
        shape = [web.size([b], vertex[left]) for b in rows]
        q, root = xp.linalg.qr(web.matrix(vertex[left], rows)[0])
        web.replace(vertex[left], xp.reshape(q, (*shape, q.shape[1])), [*rows, bond])
        made[top] = root
    else:
        web.move_center(vertex[top])
    for node, place in vertex.items():
        if place >= 0:
            inner = [bonds[child] for child in children[node]] if node.height else [node.modes[0]]
            axes = inner if node == top else [*inner, bonds[node]]
            made[node] = xp.permute_dims(web.arrays[place], [web.legs[place].index(bond) for bond in axes])
    return _with_unary_nodes(xp, tree, made, top)


def _with_unary_nodes(xp: Any, tree: DimensionTree, made: Nodes, top: Node) -> Nodes:
    """Identities for the unary nodes; below a unary root all frames of all modes have one column."""
    if top != tree.root:
        made[top] = made[top][..., None]
    for node in tree.interior:
        if node not in made:
            below = made[tree.children(node)[0]]
            identity = xp.eye(below.shape[-1], dtype=below.dtype)
            made[node] = identity[0] if node == tree.root else identity
    return {node: made[node] for node in tree.nodes}


def scaled(xp: Any, nodes: Nodes, changed: Sequence[Node], root: Node, log_norm: Array) -> Nodes:
    """The norm goes to the root, or, if no number can hold it, in equal parts to all arrays that changed."""
    limit = 0.4 * float(np.log(xp.finfo(log_norm.dtype).max))
    fits = xp.abs(log_norm) < limit
    one = xp.ones_like(log_norm)
    # exp of what does not fit would be infinite, and infinite times zero is no number
    whole = xp.exp(xp.where(fits, log_norm, one))
    part = xp.exp(xp.where(fits, one, log_norm / len(changed)))
    made = dict(nodes)
    for node in changed:
        factor = xp.where(fits, whole if node == root else one, part)
        made[node] = made[node] * factor
    return made
