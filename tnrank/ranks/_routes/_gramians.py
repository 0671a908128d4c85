"""Spectra of CP factorizations and of hierarchical factorizations with CP-type nodes, from their own factors.

The frame of a node is a Khatri-Rao product of its children's frames times the node's matrix, and the complement's frame
is one too: of the siblings' frames and the parent's complement. Only a triangular factor (``"qr"``) or the Gram matrix
(``"gram"``) of each is carried, up and then down the tree, and the spectrum at a node comes from the two. With R
components a node costs O(R^3) by ``"gram"``, whose Khatri-Rao products are entrywise products, and O(R^4) by ``"qr"``.

Source: Kolda & Bader 2009, Sec. 2.6 (Gram matrices of Khatri-Rao products); Grasedyck 2010, Sec. 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from tnrank._backend import backend_of
from tnrank._scale import nonzero, norm
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.linalg import eps_of
from tnrank.ranks._routes import _khatri_rao as kr

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array


class LocalComponents(NamedTuple):
    """A tensor with CP-type nodes: ``T(v, r) = sum_k matrix_v[k, r] * outer(T(c, k) for the children c of v)``."""

    tree: DimensionTree
    leaves: Mapping[int, Array]
    """Mode -> ``(d_n, R)``."""
    matrices: Mapping[Node, Array]
    """Interior node -> ``(R_v, R_parent)``, the root's ``(R_root, classes)``; nodes left out have the identity."""


class Spectra(NamedTuple):
    """Values ``{node: (n,)}`` with squares that sum to 1, and the norm that was divided out."""

    values: dict[Node, Array]
    log_norm: Array
    condition: Array
    """The summed norms of the root's components over the norm of their sum: what cancellation costs."""

    def cancellation(self) -> float:
        """The condition as a number, at least 1; on the host, since weights in training have gradients."""
        return max(1.0, float(backend_of(self.condition).to_numpy(self.condition)))


def cost(x: LocalComponents, method: str) -> tuple[int, int]:
    """Multiplications, roughly, and the largest intermediate of :func:`spectra` at all nodes."""
    work, largest = 0, 1
    rows: dict[Node, int] = {}
    for node in x.tree.nodes:
        given = x.matrices.get(node)
        if not node.height:
            length, columns = (int(size) for size in x.leaves[node.modes[0]].shape)
            work += length * columns * min(length, columns)
        else:
            below = [rows[child] for child in x.tree.children(node)]
            columns = int(x.leaves[0].shape[1] if given is None else given.shape[0])
            length = below[0]
            for m in below[1:]:
                length *= m
                by_rows = method == "qr" or length <= columns
                largest = max(largest, length * columns if by_rows else columns**2)
                work += length * columns * (columns if length > columns else 1) if by_rows else columns**2
                length = min(length, columns)
            if given is not None:
                work += length * columns * int(given.shape[1])
                columns = int(given.shape[1])
        rows[node] = min(length, columns)
        work += rows[node] * columns * min(columns, 4 * rows[node])  # its spectrum
    return 3 * work, largest


def spectra(x: LocalComponents, method: str, wanted: Iterable[Node]) -> Spectra:
    """Singular values at the wanted nodes; at the root, those of the classes."""
    backend = backend_of(x.leaves[0])
    xp, root = backend.xp, x.tree.root
    frames, mixing, top = _upwards(backend, x, method)
    weighted = kr.times(backend, frames[root], mixing[root], method)
    size = kr.size_of(backend, weighted)[0]
    safe = nonzero(size, backend)
    log_norm = xp.where(size == 0, xp.full_like(size, -xp.inf), xp.log(safe) + top)
    terms = xp.sum(norm(mixing[root], backend, -1))
    # Gram matrices of terms that cancel to rounding may give a norm of exactly 0.
    lost = xp.where(terms > 0, xp.full_like(size, 1 / eps_of(backend.dtype_of(size))), xp.ones_like(size))
    condition = xp.where(size == 0, lost, terms / safe)
    wanted = set(wanted)
    complements = _downwards(backend, x, frames, mixing, method, wanted)
    found: dict[Node, Array] = {}
    if root in wanted:
        found[root] = kr.normalized(backend, kr.values(backend, weighted, None, method))[0]
    for nodes in kr.alike(wanted - {root}, lambda node: (kr.form(frames[node]), kr.form(complements[node]))):
        values = kr.values(backend, kr.pile(xp, frames, nodes), kr.pile(xp, complements, nodes), method)
        found.update(dict(zip(nodes, kr.normalized(backend, values), strict=True)))
    return Spectra(found, log_norm, condition)


def _upwards(
    backend: Backend, x: LocalComponents, method: str
) -> tuple[dict[Node, kr.Frame], dict[Node, Array], Array]:
    """Frames with columns of norm 1, leaves to root.

    Returns:
        The frames (the root's without its matrix), each node's matrix between the normalized columns of its
        children's product and its own (left out where it is the identity), and the logarithm of the root's scale.
        The norms of columns are carried as logarithms: at high order they leave the range of floating-point numbers.
    """
    xp, tree = backend.xp, x.tree
    frames: dict[Node, kr.Frame] = {}
    mixing: dict[Node, Array] = {}
    logs: dict[Node, Array] = {}
    top: Any = None

    def form(node: Node) -> Any:
        if not node.height:
            return tuple(x.leaves[node.modes[0]].shape)
        given = x.matrices.get(node)
        below = tuple(kr.form(frames[c]) for c in tree.children(node))
        return below, None if given is None else tuple(given.shape), node == tree.root

    for _, level in groupby(tree.nodes, key=lambda node: node.height):
        for nodes in kr.alike(level, form):
            if not nodes[0].height:
                made, norms = kr.unit(
                    backend, kr.Frame(kr.stack(xp, [x.leaves[node.modes[0]] for node in nodes]), False)
                )
                made, log = kr.shortened(backend, made, method), kr.logarithm(backend, norms)
            else:
                below = list(zip(*(tree.children(node) for node in nodes), strict=True))
                made = kr.product(backend, [kr.pile(xp, frames, group) for group in below], method)
                log = sum(kr.stack(xp, [logs[node] for node in group]) for group in below)
                if nodes[0] in x.matrices:
                    largest = xp.max(log, axis=-1, keepdims=True)
                    largest = xp.where(largest == -xp.inf, xp.zeros_like(largest), largest)
                    matrix = xp.exp(log - largest)[..., None] * kr.stack(xp, [x.matrices[node] for node in nodes])
                    if nodes[0] == tree.root:
                        size = nonzero(xp.max(abs(matrix)), backend)
                        mixing[tree.root], top = matrix / size, largest[0, 0] + xp.log(size)
                    else:
                        made, norms = kr.unit(backend, kr.times(backend, made, matrix, method))
                        safe = nonzero(norms, backend)
                        log = kr.logarithm(backend, norms) + largest
                        mixing.update({node: m for node, m in zip(nodes, matrix / safe[:, None, :], strict=True)})
            for k, node in enumerate(nodes):
                frames[node], logs[node] = kr.Frame(made.array[k : k + 1], made.is_gram), log[k]
    return frames, mixing, top


def _downwards(
    backend: Backend,
    x: LocalComponents,
    frames: Mapping[Node, kr.Frame],
    mixing: Mapping[Node, Array],
    method: str,
    wanted: set[Node],
) -> dict[Node, kr.Frame]:
    """Frames of the complements, root to the wanted nodes, each up to a factor."""
    xp, tree = backend.xp, x.tree
    towards = set(wanted)
    for node in tree.interior:
        if any(child in towards for child in tree.children(node)):
            towards.add(node)
    found: dict[Node, kr.Frame] = {}

    def form(node: Node) -> Any:
        given = mixing.get(node)
        return (
            tuple(kr.form(frames[c]) for c in tree.children(node)),
            node == tree.root or kr.form(found[node]),
            None if given is None else tuple(given.shape),
        )

    level = [tree.root] if _leads(tree, tree.root, towards) else []
    while level:
        for nodes in kr.alike(level, form):
            if nodes[0] == tree.root:
                above = kr.Frame(xp.matrix_transpose(mixing[tree.root]), False)
            else:
                above = kr.pile(xp, found, nodes)
                if nodes[0] in mixing:
                    turned = xp.matrix_transpose(kr.stack(xp, [mixing[node] for node in nodes]))
                    above = kr.times(backend, above, turned, method)
            below = list(zip(*(tree.children(node) for node in nodes), strict=True))
            parts = [kr.pile(xp, frames, group) for group in below]
            # What stands right of each child, so that a node of m children takes O(m) products.
            right: list[kr.Frame | None] = [None]
            for part in reversed(parts[1:]):
                right.append(part if right[-1] is None else kr.product(backend, [part, right[-1]], method))
            for group, part in zip(below, parts, strict=True):
                rest = right.pop()
                made = above if rest is None else kr.product(backend, [above, rest], method)
                made = kr.scaled(backend, kr.shortened(backend, made, method))
                found.update({c: kr.Frame(made.array[k : k + 1], made.is_gram) for k, c in enumerate(group)})
                above = kr.product(backend, [above, part], method) if right else above
        level = [c for node in level for c in tree.children(node) if _leads(tree, c, towards)]
    return found


def _leads(tree: DimensionTree, node: Node, towards: set[Node]) -> bool:
    return any(child in towards for child in tree.children(node))
