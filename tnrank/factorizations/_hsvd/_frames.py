"""Orthogonalization, spectra and truncation in the hierarchical Tucker format; costs O(d k^4 + sum d_n k^2).

All functions take the tree and ``{node: array}``: a leaf has ``(d_n, k)``, an interior node ``(k_c1, .., k_cm, k)``,
the root ``(k_c1, .., k_cm)``. They are written with the array-API namespace of the arrays' backend.

Source: Grasedyck 2010, *Hierarchical singular value decomposition of tensors*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any

from tnrank._backend import Backend, backend_of
from tnrank._scale import root
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._hsvd._derivative import derivative, norm_derivative
from tnrank.factorizations._hsvd._schedule import STACK, Schedule, schedule
from tnrank.factorizations._hsvd._sweeps import Sweeps, measure, measure_norm, triangle

Nodes = Mapping[Node, Array]
_BLOCK = 2048
"""Rows of a block in the QR decomposition of a tall matrix: what the caches hold."""


def along(xp: Any, array: Array, matrix: Array, axis: int) -> Array:
    """Multiply ``matrix (m, k)`` onto one axis of size k, which becomes m."""
    return xp.moveaxis(xp.tensordot(matrix, array, axes=((1,), (axis,))), 0, axis)


def rows_at(xp: Any, array: Array, axis: int) -> Array:
    """The matricization with one axis as rows."""
    moved = xp.moveaxis(array, axis, 0)
    return xp.reshape(moved, (moved.shape[0], prod(moved.shape[1:])))


def adjoint(xp: Any, matrix: Array) -> Array:
    turned = xp.permute_dims(matrix, (*range(matrix.ndim - 2), matrix.ndim - 1, matrix.ndim - 2))
    return xp.conj(turned) if xp.isdtype(matrix.dtype, "complex floating") else turned


def orthogonalize(tree: DimensionTree, arrays: Nodes) -> tuple[dict[Node, Array], Array]:
    """Orthonormal frames at all nodes but the root, leaves to root, level by level.

    Returns:
        The arrays, with a root of norm 1 (0 for the zero tensor), and the logarithm of the tensor's norm: products of
        many factors leave the range of floating-point numbers, their logarithm does not.
    """
    sweeps = _sweeps(tree, arrays)
    frames = sweeps.orthogonalize()
    found: dict[int, Array] = {}
    for group, stack in zip(sweeps.plan.groups, frames, strict=True):
        found.update(zip(group.places, stack, strict=True))
    made = {node: found[k] for k, node in enumerate(tree.nodes)}
    root = made[tree.root] if sweeps.valid is None else made[tree.root] * sweeps.valid
    return {**made, tree.root: sweeps.backend.reshape(root, tuple(root.shape[:-1]))}, sweeps.log_norm()


def norm(tree: DimensionTree, arrays: Nodes, log: bool = False) -> Array:
    """The Frobenius norm, or its logarithm, of any frames; its derivative at 0 is 0."""
    plan, values = _planned(tree, arrays)
    fn, smooth = partial(measure_norm, plan, log), partial(norm_derivative, plan, log)
    found: Sequence[Array] = backend_of(values[0]).differentiate_as(fn, smooth, values)
    return found[0]


def square_roots(tree: DimensionTree, arrays: Nodes, method: str) -> dict[Node, Array]:
    """For orthonormal frames, a factor S of every Gramian: S S^H = A A^H for the matricization A in the node's frame.

    ``"qr"`` carries triangular factors from the root down and keeps full accuracy; ``"gram"`` multiplies Gramians,
    which squares the condition, and returns them in place of their factors.
    """
    sweeps = _sweeps(tree, arrays)
    sweeps.factors([sweeps.load(group) for group in sweeps.plan.groups], method)
    return sweeps.plan.by_node(sweeps.by_form(sweeps.received))


def spectra(tree: DimensionTree, arrays: Nodes, method: str) -> dict[Node, Array]:
    """Singular values at every node but the root, descending, of orthonormal frames; NaN for a root of NaN."""
    backend, root = backend_of(arrays[tree.root]), arrays[tree.root]
    good = backend.xp.all(backend.xp.isfinite(root))
    arrays = {**arrays, tree.root: backend.xp.where(good, root, backend.xp.zeros_like(root))}
    sweeps = _sweeps(tree, arrays)
    sweeps.valid = backend.xp.where(good, 1.0, backend.xp.nan)
    return sweeps.plan.by_node(sweeps.spectra([sweeps.load(group) for group in sweeps.plan.groups], method))


def relative_spectra(tree: DimensionTree, arrays: Nodes, method: str) -> dict[Node, Array]:
    """Singular values over the norm, descending, at every node but the root, of any frames."""
    plan, values = _planned(tree, arrays)
    return plan.by_node(_differentiable(plan, method, False, values))


def spectra_and_log_norm(tree: DimensionTree, arrays: Nodes, method: str) -> tuple[dict[Node, Array], Array]:
    """:func:`relative_spectra`, and the logarithm of the norm."""
    plan, values = _planned(tree, arrays)
    *stacks, log_norm = _differentiable(plan, method, True, values)
    return plan.by_node(stacks), log_norm


def _planned(tree: DimensionTree, arrays: Nodes) -> tuple[Schedule, tuple[Array, ...]]:
    in_order = tuple(arrays) == tree.nodes
    values = tuple(arrays.values()) if in_order else tuple([arrays[node] for node in tree.nodes])
    most = None if "jit" in backend_of(values[0]).capabilities else STACK
    return schedule(tree, tuple([a.shape for a in values]), most), values


def _sweeps(tree: DimensionTree, arrays: Nodes) -> Sweeps:
    plan, values = _planned(tree, arrays)
    return Sweeps(plan, backend_of(values[0]), values)


def _differentiable(plan: Schedule, method: str, with_norm: bool, values: tuple[Array, ...]) -> Sequence[Array]:
    fn, smooth = partial(measure, plan, method, with_norm), partial(derivative, plan, with_norm)
    found: Sequence[Array] = backend_of(values[0]).differentiate_as(fn, smooth, values)
    return found


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


@lru_cache(maxsize=256)
def edges(tree: DimensionTree) -> dict[Node, tuple[int, ...]]:
    """Node -> the modes that stand for its edge: nodes of the same or of complementary modes have one matricization.

    The root, and unary nodes below it with all modes, have none.
    """
    top = tree.root
    while len(tree.children(top)) == 1:
        top = tree.children(top)[0]
    below = tree.children(top)
    twin = {below[1].modes: below[0].modes} if len(below) == 2 else {}
    return {node: twin.get(node.modes, node.modes) for node in tree.nodes if node.modes != tree.root.modes}


def project(tree: DimensionTree, arrays: Nodes, bases: Mapping[Node, Array]) -> dict[Node, Array]:
    """Replace the frame of every node in ``bases`` by its product with the orthonormal basis ``(k, r)``."""
    xp = backend_of(arrays[tree.root]).xp
    made = {}
    for node in tree.nodes:
        array = arrays[node]
        for axis, child in enumerate(tree.children(node)):
            if child in bases:
                array = along(xp, array, adjoint(xp, bases[child]), axis)
        if node in bases:
            array = along(xp, array, xp.permute_dims(bases[node], (1, 0)), array.ndim - 1)
        made[node] = array
    return made


def dominant(backend: Backend, matrix: Array, method: str) -> tuple[Array, Array]:
    """Left singular vectors and values of a matrix with many columns: LQ and a small SVD, or the Gram matrix."""
    xp = backend.xp
    rows, columns = matrix.shape
    if method == "gram" and rows <= columns:
        values, vectors = xp.linalg.eigh(matrix @ adjoint(xp, matrix))
        values = xp.flip(values)
        return xp.flip(vectors, axis=1), root(values, backend)
    if columns > rows:
        matrix = adjoint(xp, _triangle_by_blocks(xp, adjoint(xp, matrix)))
    u, s, _ = backend.svd(matrix)
    return u, s


def _triangle_by_blocks(xp: Any, matrix: Array) -> Array:
    """The triangular factor of a matrix with many rows, from those of its blocks of rows.

    Source: Demmel, Grigori, Hoemmen & Langou 2012, *Communication-optimal parallel and sequential QR* (Sec. 2).
    """
    rows, columns = matrix.shape
    block = max(_BLOCK, 4 * columns)
    whole = rows - rows % block
    if whole <= block:
        return triangle(xp, matrix)
    factors = triangle(xp, xp.reshape(matrix[:whole], (whole // block, block, columns)))
    return triangle(xp, xp.concat([xp.reshape(factors, (-1, columns)), matrix[whole:]]))


def kept_count(values: Any, allowed: float, most: int | None) -> int:
    """How many of the descending ``values`` to keep so that the norm of the rest is at most ``allowed``; at least 1."""
    import numpy as np

    host = np.asarray(values, np.float64)
    largest = host[0] if len(host) and host[0] > 0 else 1.0  # squares of the values may leave the range of numbers
    tails = np.sqrt(np.cumsum((host[::-1] / largest) ** 2))[::-1]
    count = int((tails > allowed / largest).sum())
    return max(1, count if most is None else min(count, most))
