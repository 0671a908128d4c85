"""Into the hierarchical Tucker format: from dense tensors, CP and hierarchical factorizations, and sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import Backend, backend_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._hierarchical import HierarchicalFactorization
from tnrank.linalg import choose_method, default_rtol, matricization_sides

Nodes = dict[Node, Array]


def dense_to_nodes(
    tensor: Array, tree: DimensionTree | Sequence[Any] | None, rtol: float | None, max_rank: int | None, method: str
) -> tuple[DimensionTree, Nodes]:
    """See :meth:`tnrank.HierarchicalTucker.from_dense`."""
    backend = backend_of(tensor)
    shape = tuple(int(d) for d in tensor.shape)
    tree = DimensionTree.balanced(len(shape)) if tree is None and len(shape) > 1 else tree
    if tree is None:
        raise ValueError(f"got an array of shape {shape}, needed a tensor of order 2 or more")
    tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
    if tree.order != len(shape):
        raise ValueError(f"the tree has {tree.order} modes and the tensor {shape} has {len(shape)}")
    if 0 in shape:
        raise ValueError(f"mode {shape.index(0)} of the tensor {shape} is empty")
    if max_rank is not None and max_rank < 1:
        raise ValueError(f"max_rank is the most columns of a frame, at least 1, got {max_rank}")
    if "int" in backend.dtype_of(tensor) or backend.dtype_of(tensor) == "bool":
        tensor = backend.asarray(tensor, dtype=backend.default_dtype)
    xp, dtype = backend.xp, backend.dtype_of(tensor)
    if not bool(xp.all(xp.isfinite(tensor))):
        raise ValueError("the tensor has NaN or infinite entries: fill them in first, for example with tnrank.complete")
    chosen = choose_method(method, rtol, dtype)
    size = float(backend.to_numpy(xp.linalg.vector_norm(xp.reshape(tensor, (-1,)))))
    counted = _hsvd.distinct_nodes(tree)
    share = None if rtol is None else rtol / max(1, len(counted)) ** 0.5

    frames: Nodes = {}
    core, frontier = tensor, [Node((mode,), 0) for mode in range(len(shape))]
    for node in tree.nodes:
        children = tree.children(node)
        if children:
            core, frontier = _bring_together(xp, core, frontier, node, children)
        place = frontier.index(node)
        if node == tree.root:
            frames[node] = xp.reshape(core, tuple(frames[c].shape[-1] for c in children))
            break
        matrix = _hsvd.rows_at(xp, core, place)
        u, s = _hsvd.dominant(backend, matrix, chosen)
        floor = default_rtol(matricization_sides(shape, node.modes), dtype)
        allowed = size * (floor if share is None else share)
        count = _hsvd.kept_count(backend.to_numpy(s), allowed, max_rank)
        u = u[:, :count]
        inner = (shape[node.modes[0]],) if not children else tuple(frames[c].shape[-1] for c in children)
        frames[node] = xp.reshape(u, (*inner, count))
        core = _hsvd.along(xp, core, _hsvd._adjoint(xp, u), place)
    return tree, frames


def _bring_together(
    xp: Any, core: Array, frontier: list[Node], node: Node, children: Sequence[Node]
) -> tuple[Array, list[Node]]:
    """Merge the axes of the children, in the order of the tree, into the one axis of ``node``, the first."""
    first = [frontier.index(child) for child in children]
    rest = [k for k in range(len(frontier)) if k not in first]
    moved = xp.permute_dims(core, (*first, *rest))
    shape = tuple(moved.shape)
    merged = xp.reshape(moved, (prod(shape[: len(first)]), *shape[len(first) :]))
    return merged, [node, *(frontier[k] for k in rest)]


def to_nodes(x: Factorization, tree: DimensionTree | None) -> tuple[DimensionTree, Nodes]:
    """See :meth:`tnrank.HierarchicalTucker.from_factorization`."""
    backend = x.backend
    if isinstance(x, CPFactorization):
        tree = tree or DimensionTree.balanced(x.ndim)
        if tree.order != x.ndim:
            raise ValueError(f"the tree has {tree.order} modes and the factorization {x.shape} has {x.ndim}")
        weights = x.weights if x.weights is not None else backend.xp.ones_like(x.factors[0][0])
        eye = backend.asarray(np.eye(x.rank), x.dtype, _device(x))
        frames: Nodes = {Node((mode,), 0): factor for mode, factor in enumerate(x.factors)}
        for node in tree.interior:
            count = len(tree.children(node))
            root = node == tree.root
            frames[node] = (
                _superdiagonal(backend, weights[:, None] if root else eye, count)[..., 0]
                if root
                else (_superdiagonal(backend, eye, count))
            )
        return tree, frames
    if isinstance(x, HierarchicalFactorization):
        if x.ndim != x.tree.order:
            raise TypeError("a factorization with classes has no hierarchical Tucker form here: take one class first")
        if tree is not None and tree != x.tree:
            raise ValueError(f"a hierarchical factorization keeps its own tree {x.tree!r}, got {tree!r}")
        frames = {}
        for node, matrix in x.matrices.items():
            if not node.height:
                frames[node] = matrix
            else:
                made = _superdiagonal(backend, matrix, len(x.tree.children(node)))
                frames[node] = made[..., 0] if node == x.tree.root else made
        return x.tree, frames
    raise TypeError(
        f"got {type(x).__name__}, needed a CPFactorization or a HierarchicalFactorization; "
        "for others: HierarchicalTucker.from_dense(x.to_dense())"
    )


def _superdiagonal(backend: Backend, matrix: Array, count: int) -> Array:
    """The tensor ``(R, .., R, r)`` with ``matrix[k, :]`` at ``(k, .., k)``."""
    xp, rank = backend.xp, matrix.shape[0]
    made = matrix
    for _ in range(count - 1):
        eye = xp.eye(rank, dtype=matrix.dtype)
        made = xp.reshape(eye, (rank, rank, *(1,) * (made.ndim - 1))) * made[None]
    return made


def sum_of_nodes(tree: DimensionTree, a: Mapping[Node, Array], b: Mapping[Node, Array]) -> Nodes:
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
        wide_a = xp.concat([wide_a, xp.zeros(tuple(low), dtype=a.dtype)], axis=axis)
        wide_b = xp.concat([xp.zeros(tuple(high), dtype=b.dtype), wide_b], axis=axis)
    return wide_a + wide_b


def _device(x: Factorization) -> Any:
    return None if x.device == x.backend.devices()[0] else x.device
