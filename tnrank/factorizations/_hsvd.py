"""Orthogonalization, spectra and truncation in the hierarchical Tucker format; costs O(d k^4 + sum d_n k^2).

All functions take the tree and ``{node: array}``: a leaf has ``(d_n, k)``, an interior node ``(k_c1, .., k_cm, k)``,
the root ``(k_c1, .., k_cm)``. They are written with the array-API namespace of the arrays' backend.

Source: Grasedyck 2010, *Hierarchical singular value decomposition of tensors*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from math import prod
from typing import Any

from tnrank._backend import Backend, backend_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node

Nodes = Mapping[Node, Array]
_SMALL = 4096
"""Elements up to which the arrays of a level are stacked: beyond, calls cost less than copies."""


def along(xp: Any, array: Array, matrix: Array, axis: int) -> Array:
    """Multiply ``matrix (m, k)`` onto one axis of size k, which becomes m."""
    return xp.moveaxis(xp.tensordot(matrix, array, axes=((1,), (axis,))), 0, axis)


def rows_at(xp: Any, array: Array, axis: int) -> Array:
    """The matricization with one axis as rows."""
    moved = xp.moveaxis(array, axis, 0)
    return xp.reshape(moved, (moved.shape[0], prod(moved.shape[1:])))


def _adjoint(xp: Any, matrix: Array) -> Array:
    turned = xp.permute_dims(matrix, (*range(matrix.ndim - 2), matrix.ndim - 1, matrix.ndim - 2))
    return xp.conj(turned) if xp.isdtype(matrix.dtype, "complex floating") else turned


def _stacks(nodes: Iterable[Node], form: Callable[[Node], Any], size: Callable[[Node], int]) -> list[list[Node]]:
    """Nodes of one form together, so that small arrays share a call; large ones stand alone."""
    found: dict[Any, list[Node]] = {}
    for node in nodes:
        found.setdefault(form(node) if size(node) <= _SMALL else node, []).append(node)
    return list(found.values())


def _stack(xp: Any, arrays: Sequence[Array]) -> Array:
    return arrays[0][None] if len(arrays) == 1 else xp.stack(arrays)


def _along(xp: Any, array: Array, matrices: Array, axis: int) -> Array:
    """``along`` for stacks: ``matrices (g, m, k)`` onto axis ``axis`` of each of the g arrays."""
    moved = xp.moveaxis(array, axis + 1, 1)
    shape = tuple(moved.shape)
    product = matrices @ xp.reshape(moved, (*shape[:2], prod(shape[2:])))
    return xp.moveaxis(xp.reshape(product, (shape[0], matrices.shape[1], *shape[2:])), 1, axis + 1)


def _rows_at(xp: Any, array: Array, axis: int) -> Array:
    """``rows_at`` for stacks."""
    moved = xp.moveaxis(array, axis + 1, 1)
    return xp.reshape(moved, (*moved.shape[:2], prod(moved.shape[2:])))


def orthogonalize(tree: DimensionTree, arrays: Nodes) -> tuple[dict[Node, Array], Array]:
    """Orthonormal frames at all nodes but the root, leaves to root, level by level.

    Returns:
        The arrays, with a root of norm 1 (0 for the zero tensor), and the logarithm of the tensor's norm: products of
        many factors leave the range of floating-point numbers, their logarithm does not.
    """
    xp = backend_of(arrays[tree.root]).xp
    found: dict[Node, Array] = {}
    carried: dict[Node, Array] = {}
    log_norm: Any = 0.0

    def form(node: Node) -> Any:
        return tuple(arrays[node].shape), tuple(tuple(carried[c].shape) for c in tree.children(node))

    for _, level in groupby(tree.nodes, key=lambda node: node.height):
        for nodes in _stacks(level, form, lambda node: prod(arrays[node].shape)):
            stack = _stack(xp, [arrays[node] for node in nodes])
            for axis, below in enumerate(zip(*(tree.children(node) for node in nodes), strict=True)):
                stack = _along(xp, stack, _stack(xp, [carried.pop(child) for child in below]), axis)
            count, shape = stack.shape[0], tuple(stack.shape[1:])
            scale = xp.linalg.vector_norm(xp.reshape(stack, (count, prod(shape))), axis=1)
            scale = xp.where(scale > 0, scale, xp.ones_like(scale))
            stack = stack / xp.reshape(scale, (count, *(1,) * len(shape)))
            log_norm = log_norm + xp.sum(xp.log(scale))
            if nodes[0] == tree.root:
                found[tree.root] = stack[0]
                continue
            q, r = xp.linalg.qr(xp.reshape(stack, (count, prod(shape[:-1]), shape[-1])))
            q = xp.reshape(q, (count, *shape[:-1], q.shape[2]))
            for k, node in enumerate(nodes):
                found[node], carried[node] = q[k], r[k]
    size = xp.linalg.vector_norm(xp.reshape(found[tree.root], (-1,)))
    return found, xp.where(size > 0, log_norm, log_norm - xp.inf)


def square_roots(tree: DimensionTree, arrays: Nodes, method: str) -> dict[Node, Array]:
    """For orthonormal frames, a factor S of every Gramian: S S^H = A A^H for the matricization A in the node's frame.

    ``"qr"`` carries triangular factors from the root down and keeps full accuracy; ``"gram"`` multiplies Gramians,
    which squares the condition, and returns them in place of their factors.
    """
    xp = backend_of(arrays[tree.root]).xp
    found: dict[Node, Array] = {}
    level: list[Node] = [tree.root]

    def form(node: Node) -> Any:
        return tuple(arrays[node].shape), node == tree.root or tuple(found[node].shape)

    while level:
        for nodes in _stacks(level, form, lambda node: prod(arrays[node].shape)):
            stack = _stack(xp, [arrays[node] for node in nodes])
            weighted = stack
            if nodes[0] != tree.root:
                # sum_s B[.., s] S[s, t]: the factor (or the Gramian) acts on the last axis from its left.
                factors = _stack(xp, [found[node] for node in nodes])
                weighted = _along(xp, stack, xp.permute_dims(factors, (0, 2, 1)), stack.ndim - 2)
            for axis, below in enumerate(zip(*(tree.children(node) for node in nodes), strict=True)):
                if method == "gram":
                    made = _rows_at(xp, weighted, axis) @ _adjoint(xp, _rows_at(xp, stack, axis))
                else:
                    made = _adjoint(xp, xp.linalg.qr(_adjoint(xp, _rows_at(xp, weighted, axis)))[1])
                for k, child in enumerate(below):
                    found[child] = made[k]
        level = [child for node in level for child in tree.children(node) if child.height]
    return found


def spectra(tree: DimensionTree, arrays: Nodes, method: str) -> dict[Node, Array]:
    """Singular values at every node but the root, descending, of orthonormal frames."""
    backend = backend_of(arrays[tree.root])
    xp = backend.xp
    factors = square_roots(tree, arrays, method)
    found = {}
    for nodes in _stacks(factors, lambda node: tuple(factors[node].shape), lambda node: prod(factors[node].shape)):
        stack = _stack(xp, [factors[node] for node in nodes])
        if method == "gram":
            values = xp.flip(xp.linalg.eigvalsh((stack + _adjoint(xp, stack)) / 2), axis=-1)
            values = xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
        else:
            values = backend.svdvals(stack)
        found.update({node: values[k] for k, node in enumerate(nodes)})
    return {node: found[node] for node in tree.nodes if node != tree.root}


def distinct_nodes(tree: DimensionTree) -> tuple[Node, ...]:
    """Nodes whose truncations add up: not the root, one of the two children of a binary root, no unary repeats."""
    below = tree.children(tree.root)
    seen = {tree.root.modes}
    kept = []
    for node in tree.nodes:
        if node.modes in seen or (len(below) == 2 and node.modes == below[1].modes):
            continue
        seen.add(node.modes)
        kept.append(node)
    return tuple(kept)


def project(tree: DimensionTree, arrays: Nodes, bases: Mapping[Node, Array]) -> dict[Node, Array]:
    """Replace the frame of every node in ``bases`` by its product with the orthonormal basis ``(k, r)``."""
    xp = backend_of(arrays[tree.root]).xp
    made = {}
    for node in tree.nodes:
        array = arrays[node]
        for axis, child in enumerate(tree.children(node)):
            if child in bases:
                array = along(xp, array, _adjoint(xp, bases[child]), axis)
        if node in bases:
            array = along(xp, array, xp.permute_dims(bases[node], (1, 0)), array.ndim - 1)
        made[node] = array
    return made


def dominant(backend: Backend, matrix: Array, method: str) -> tuple[Array, Array]:
    """Left singular vectors and values of a matrix with many columns: LQ and a small SVD, or the Gram matrix."""
    xp = backend.xp
    rows, columns = matrix.shape
    if method == "gram":
        values, vectors = xp.linalg.eigh(matrix @ _adjoint(xp, matrix))
        values = xp.flip(values)
        return xp.flip(vectors, axis=1), xp.sqrt(xp.where(values > 0, values, xp.zeros_like(values)))
    if columns > rows:
        matrix = _adjoint(xp, xp.linalg.qr(_adjoint(xp, matrix))[1])
    u, s, _ = xp.linalg.svd(matrix, full_matrices=False)
    return u, s


def kept_count(values: Any, allowed: float, most: int | None) -> int:
    """How many of the descending ``values`` to keep so that the norm of the rest is at most ``allowed``; at least 1."""
    import numpy as np

    tails = np.sqrt(np.cumsum(np.asarray(values, np.float64)[::-1] ** 2))[::-1]
    count = int((tails > allowed).sum())
    return max(1, count if most is None else min(count, most))
