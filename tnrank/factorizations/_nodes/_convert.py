"""Into the hierarchical Tucker format: from dense tensors, CP and hierarchical factorizations, and sums."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import frexp, inf, ldexp, prod, sqrt
from typing import Any

import numpy as np

from tnrank._alike import identity
from tnrank._backend import Backend, backend_of
from tnrank._scale import moderate, not_finite
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.factorizations._arrays import measurable, rounding_of
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._hierarchical import HierarchicalFactorization
from tnrank.factorizations._matrix import MatrixFactorization
from tnrank.factorizations._nodes._change import change_tree
from tnrank.factorizations._nodes._cutoff import Cutoff
from tnrank.factorizations._tree_core import TreeCore
from tnrank.linalg import choose_method, default_rtol, matricization_sides, randomized_dominant

Nodes = dict[Node, Array]
_ROOT_EXPONENT = {"float32": 64, "complex64": 64}
"""Powers of two up to which the root holds the size of the tensor; 768 in double precision."""
_LARGE_SIDE = 256
"""Sides of a matrix from which on sketches of its range are cheaper than its decomposition."""


def dense_to_nodes(
    tensor: Array,
    tree: DimensionTree,
    cutoff: Callable[[float], Cutoff],
    method: str,
    reduced: Collection[Node] | None = None,
    direction: str = "leaves to root",
) -> Nodes:
    """See :meth:`tnrank.HierarchicalTucker.from_dense`; ``cutoff`` takes the norm.

    Leaves outside of ``reduced`` have no frame: their mode goes as it is into the transfer tensor above.
    """
    given = backend_of(tensor).dtype_of(tensor)
    tensor, squared = _checked(tensor, tree)
    backend = backend_of(tensor)
    xp, dtype, shape = backend.xp, backend.dtype_of(tensor), tuple(tensor.shape)
    rounding = rounding_of(given)
    tensor, size, exponent = _scaled(backend, tensor, squared)
    limits = cutoff(_times_power(size, exponent))
    chosen = choose_method(
        "auto" if method == "randomized" else method,
        None if limits.tightest is None else min(limits.tightest, 0.99),
        dtype,
    )
    edges = _hsvd.edges(tree)
    cut: set[Any] = {None}

    def basis(node: Node, matrix: Array) -> tuple[Array, Array]:
        # The two children of a binary root share an edge, as unary nodes do: it drops its share once.
        again = edges.get(node) in cut
        cut.add(edges.get(node))
        floor = max(rounding, default_rtol(matricization_sides(shape, node.modes), dtype))
        allowed, most = size * (floor if again else limits.share(node, floor)), limits.most(node)
        if method == "randomized" and not again and min(matrix.shape) > _LARGE_SIDE:
            return randomized_dominant(backend, matrix, allowed, most)
        u, s = _hsvd.dominant(backend, matrix, chosen)
        count = _hsvd.kept_count(backend.to_numpy(s), allowed, most)
        return u[:, :count], s[:count]

    if direction == "root to leaves":
        return spread(_from_the_root(xp, tensor, tree, basis), exponent, tree.root, dtype)
    if direction != "leaves to root":
        raise ValueError(f"unknown direction {direction!r}: 'leaves to root' or 'root to leaves'")
    frames: Nodes = {}
    columns: dict[Node, int] = {}
    core, frontier = tensor, [Node((mode,), 0) for mode in range(len(shape))]
    for node in tree.nodes:
        children = tree.children(node)
        if children:
            core, frontier = _bring_together(xp, core, frontier, node, children)
        place = frontier.index(node)
        if node == tree.root:
            frames[node] = xp.reshape(core, tuple(columns[c] for c in children))
            break
        inner = (shape[node.modes[0]],) if not children else tuple(columns[c] for c in children)
        if reduced is not None and node not in reduced:
            columns[node] = inner[0]
            continue
        rest = tuple(n for k, n in enumerate(core.shape) if k != place)
        matrix = _hsvd.rows_at(xp, core, place)
        u, _ = basis(node, matrix)
        frames[node], columns[node] = xp.reshape(u, (*inner, u.shape[1])), int(u.shape[1])
        # The node's axis stays the first, where the matricization has put it.
        core = xp.reshape(_hsvd.adjoint(xp, u) @ matrix, (u.shape[1], *rest))
        frontier = [node, *(other for other in frontier if other != node)]
    return spread(frames, exponent, tree.root, dtype)


def spread(arrays: Nodes, exponent: int, root: Node, dtype: str) -> Nodes:
    """The arrays of ``2^exponent`` times the tensor: at the root, or shared out where the root would leave the range or
    lose digits at its end."""
    if not exponent:
        return arrays
    if abs(exponent) <= _ROOT_EXPONENT.get(dtype, 768):
        return {**arrays, root: arrays[root] * 2.0**exponent}
    share, more = divmod(exponent, len(arrays))
    return {node: a * 2.0 ** (share + (k < more)) for k, (node, a) in enumerate(arrays.items())}


def _scaled(backend: Backend, tensor: Array, squared: float) -> tuple[Array, float, int]:
    """The tensor over a power of two, its norm then, and the exponent: squares stay in the range of numbers."""
    if 1e-12 < squared < 1e12:
        return tensor, sqrt(squared), 0
    tensor, unit, _ = moderate(tensor, backend)
    exponent = 0 if unit is None else frexp(float(backend.to_numpy(unit)))[1] - 1
    return tensor, sqrt(float(backend.to_numpy(backend.sum_of_squares([tensor])))), exponent


def _times_power(number: float, exponent: int) -> float:
    try:
        return ldexp(number, exponent)
    except OverflowError:
        return inf


def _checked(tensor: Array, tree: DimensionTree) -> tuple[Array, float]:
    """The tensor with a floating-point dtype after all checks, and the sum of its squares, which may be infinite."""
    backend = backend_of(tensor)
    shape = tuple(int(d) for d in tensor.shape)
    if tree.order != len(shape):
        raise ValueError(f"the tree has {tree.order} modes and the tensor {shape} has {len(shape)}")
    if 0 in shape:
        raise ValueError(f"mode {shape.index(0)} of the tensor {shape} is empty")
    dtype = backend.dtype_of(tensor)
    if (wide := measurable(dtype, backend)) != dtype:
        tensor = backend.xp.astype(tensor, getattr(backend.xp, wide))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squared = float(backend.to_numpy(backend.sum_of_squares([tensor])))
    # One pass over the entries tells; the second is for finite entries whose squares are not.
    if not np.isfinite(squared) and not bool(backend.xp.all(backend.xp.isfinite(tensor))):
        raise not_finite(tensor, backend, "of the tensor ", "fill them in first, for example with tnrank.complete")
    return tensor, squared


def _from_the_root(
    xp: Any, tensor: Array, tree: DimensionTree, basis: Callable[[Node, Array], tuple[Array, Array]]
) -> Nodes:
    """Frames of the children from the node's own frame, weighted by its singular values, from the root down.

    The bases come from the weighted frames, so that what is dropped is measured in the norm of the whole tensor; the
    transfer tensors are the unweighted frames in these bases.
    """
    made: Nodes = {}
    # node -> its frame with one axis a mode, its modes ascending, then its columns; and the weight of each column
    frames: dict[Node, tuple[Array, Array | None]] = {tree.root: (tensor[..., None], None)}
    for node in reversed(tree.nodes):
        frame, weights = frames.pop(node)
        below = tree.children(node)
        if not below:
            made[node] = frame
            continue
        core = frame if weights is None else frame * weights
        place = {mode: k for k, mode in enumerate(node.modes)}
        groups = [[place[mode] for mode in child.modes] for child in below]
        columns = len(node.modes)
        order = [axis for group in groups for axis in group] + [columns]
        sizes = tuple(prod(frame.shape[axis] for axis in group) for group in groups)
        core, plain = (xp.reshape(xp.permute_dims(a, order), (*sizes, frame.shape[columns])) for a in (core, frame))
        for axis, (child, group) in enumerate(zip(below, groups, strict=True)):
            u, s = basis(child, _hsvd.rows_at(xp, core, axis))
            frames[child] = xp.reshape(u, (*(frame.shape[k] for k in group), u.shape[1])), s
            core, plain = (_hsvd.along(xp, a, _hsvd.adjoint(xp, u), axis) for a in (core, plain))
        made[node] = plain[..., 0] if node == tree.root else plain
    return made


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


def as_tree(
    tree: DimensionTree | Sequence[Any] | None,
    shape: tuple[int, ...],
    default: Callable[[int], DimensionTree] = DimensionTree.balanced,
) -> DimensionTree:
    """The given tree, or the default one for a tensor of this shape."""
    if tree is None:
        if len(shape) < 2:
            raise ValueError(f"got an array of shape {shape}, needed a tensor of order 2 or more")
        return default(len(shape))
    return tree if isinstance(tree, DimensionTree) else DimensionTree(tree)


def to_nodes(x: Factorization, tree: DimensionTree | None) -> tuple[DimensionTree, Nodes]:
    """See :meth:`tnrank.HierarchicalTucker.from_factorization`, exactly."""
    if isinstance(x, MatrixFactorization):
        return _from_layers(x, tree or DimensionTree.balanced(2))
    if isinstance(x, CPFactorization):
        return _from_cp(x, tree or DimensionTree.balanced(x.ndim))
    if isinstance(x, HierarchicalFactorization):
        if x.ndim != x.tree.order:
            raise TypeError("a factorization with classes has no hierarchical Tucker form here: take one class first")
        return _on_tree(x.tree, _from_local(x), tree)
    if isinstance(x, TreeCore):
        wanted = tree or x.tree
        if x.tree == DimensionTree.star(x.ndim) and wanted != x.tree and wanted.order == x.ndim:
            return wanted, _from_tucker(x, wanted)
        return _on_tree(x.tree, x.nodes, tree)
    raise TypeError(
        f"got {type(x).__name__}, needed a matrix, CP or hierarchical factorization or a tree format; "
        "for others: HierarchicalTucker.from_dense(x.to_dense())"
    )


def _on_tree(own: DimensionTree, nodes: Nodes, tree: DimensionTree | None) -> tuple[DimensionTree, Nodes]:
    if tree is None or tree == own:
        return own, nodes
    return tree, change_tree(own, nodes, tree).nodes


def _from_layers(x: MatrixFactorization, tree: DimensionTree) -> tuple[DimensionTree, Nodes]:
    if tree.order != 2:
        raise ValueError(f"the tree has {tree.order} modes and the factorization {x.shape} has 2")
    # A layer is the frame of its mode if it is tall; a wide one goes into the middle, below an identity.
    layers = list(x.layers)
    left = layers.pop(0) if layers[0].shape[0] >= layers[0].shape[1] else identity(layers[0], layers[0].shape[0])
    tall = bool(layers) and layers[-1].shape[0] <= layers[-1].shape[1]
    right = x.backend.permute(layers.pop(), (1, 0)) if tall else identity(left, x.layers[-1].shape[1])
    middle = MatrixFactorization(layers).to_dense() if layers else identity(left, left.shape[1])
    ends = (left, right)
    first = Node((0,), 0)
    frames: Nodes = {first: ends[0], Node((1,), 0): ends[1]}
    for node in tree.interior:
        below = tree.children(node)
        if len(below) == 2:
            frames[node] = middle if below[0].modes == first.modes else x.backend.permute(middle, (1, 0))
        else:
            columns = frames[below[0]].shape[1] if below[0].height == 0 else frames[below[0]].shape[-1]
            frames[node] = identity(left, columns)
    return tree, frames


def _from_cp(x: CPFactorization, tree: DimensionTree) -> tuple[DimensionTree, Nodes]:
    backend = x.backend
    if tree.order != x.ndim:
        raise ValueError(f"the tree has {tree.order} modes and the factorization {x.shape} has {x.ndim}")
    weights = x.weights if x.weights is not None else backend.xp.ones_like(x.factors[0][0])
    eye = identity(x.factors[0], x.rank)
    frames: Nodes = {Node((mode,), 0): factor for mode, factor in enumerate(x.factors)}
    for node in tree.interior:
        root, count = node == tree.root, len(tree.children(node))
        made = _superdiagonal(backend, weights[:, None] if root else eye, count)
        frames[node] = made[..., 0] if root else made
    return tree, frames


def _from_local(x: HierarchicalFactorization) -> Nodes:
    frames: Nodes = {}
    for node, matrix in x.matrices.items():
        made = matrix if not node.height else _superdiagonal(x.backend, matrix, len(x.tree.children(node)))
        frames[node] = made[..., 0] if node == x.tree.root else made
    return frames


def _from_tucker(x: TreeCore, tree: DimensionTree) -> Nodes:
    """The core, which is dense already, in the format; its frames go into the factors."""
    nodes = x.nodes

    def nothing(norm: float) -> Cutoff:
        return Cutoff(tree, (), None, None, None, norm)

    made = dense_to_nodes(nodes[x.tree.root], tree, nothing, "qr")
    return {node: array if node.height else nodes[node] @ array for node, array in made.items()}


def _superdiagonal(backend: Backend, matrix: Array, count: int) -> Array:
    """The tensor ``(R, .., R, r)`` with ``matrix[k, :]`` at ``(k, .., k)``."""
    xp, rank = backend.xp, matrix.shape[0]
    made = matrix
    for _ in range(count - 1):
        eye = identity(matrix, rank)
        made = xp.reshape(eye, (rank, rank, *(1,) * (made.ndim - 1))) * made[None]
    return made
