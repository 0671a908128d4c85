"""Factorizations in the two forms that spectra are measured in: local components, and orthonormal frames on a tree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._scale import on_host, peak
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.ranks._routes._gramians import LocalComponents, spectra

if TYPE_CHECKING:
    from tnrank._typing import Array
    from tnrank.factorizations import CPFactorization, HierarchicalFactorization
    from tnrank.factorizations._nodes._sum import Columns


class Frames(NamedTuple):
    """Orthonormal frames on a tree, a root of norm 1 (0 for the zero tensor), and the logarithm of the norm."""

    tree: DimensionTree
    arrays: dict[Node, Array]
    log_norm: Array


def terms_of(x: Any) -> list[tuple[Any, Any]]:
    """(weight, factorization) of a sum, or of one factorization."""
    return list(zip(x.weights, x.terms, strict=True)) if hasattr(x, "terms") else [(1, x)]


_LOG_RANGE = {"float32": 20.0, "complex64": 20.0}
_LOG_RANGE_WIDE = 150.0
"""Summed sizes of the logarithms of largest entries up to which products of arrays are numbers, and their squares."""


def moderate(x: Any) -> tuple[Any, float]:
    """``x`` with powers of two taken out of its arrays where their products may leave the range, and the logarithm of
    what was taken out."""
    from tnrank.factorizations import FactorizationSum

    tops = [_largest_entries(term) for _, term in terms_of(x)]
    limit = _LOG_RANGE.get(x.dtype, _LOG_RANGE_WIDE)
    if None in tops or all(sum(abs(math.log(t)) for t in top or () if t) <= limit for top in tops):
        return x, 0.0
    powers = [[math.frexp(t)[1] - 1 if t else 0 for t in top] for top in tops if top is not None]
    made = [
        term._with([_times_power(a, -k) for a, k in zip(term._values, ks, strict=True)])
        for (_, term), ks in zip(terms_of(x), powers, strict=True)
    ]
    shifts = [sum(ks) for ks in powers]
    most = max(shifts)
    if len(made) == 1 and not hasattr(x, "terms"):
        return made[0], most * math.log(2)
    weights = [w * 2.0 ** max(shift - most, -1100) for w, shift in zip(x.weights, shifts, strict=True)]
    return FactorizationSum(made, weights), most * math.log(2)


def _largest_entries(x: Any) -> list[float] | None:
    """Of each array; ``None`` while a framework traces the call."""
    found = []
    for array in x._values:
        host = on_host(peak(array, x.backend), x.backend)
        if host is None:
            return None
        found.append(float(host))
    return found


def _times_power(x: Array, k: int) -> Array:
    """``x * 2^k`` in two steps, because the power itself may be out of range."""
    return x * 2.0 ** (k // 2) * 2.0 ** (k - k // 2) if k else x


def tree_of(x: Any) -> DimensionTree | None:
    """The one tree of all terms that have one, its root with the classes as a mode; ``None`` without or with two."""
    from tnrank.factorizations import HierarchicalFactorization

    found = {
        with_classes(term) if isinstance(term, HierarchicalFactorization) else term.tree
        for _, term in terms_of(x)
        if isinstance(getattr(term, "tree", None), DimensionTree)
    }
    return found.pop() if len(found) == 1 else None


def with_classes(x: HierarchicalFactorization) -> DimensionTree:
    """The tree on which the classes of a hierarchical factorization are one more child of the root."""
    return x.tree if x.ndim == x.tree.order else DimensionTree((*x.tree.nested, x.tree.order))


def tree_through(groups: Sequence[tuple[int, ...]], tree: DimensionTree, order: int) -> DimensionTree:
    """``tree`` if all groups of modes or their complements are nodes of it, else a tree of which they are, if any."""
    here = {node.modes for node in tree.nodes}
    if tree.order == order and all(g in here or tuple(sorted(set(range(order)).difference(g))) in here for g in groups):
        return tree
    parts: list[tuple[frozenset[int], Any]] = [(frozenset((mode,)), mode) for mode in range(order)]
    for group in sorted(map(frozenset, groups), key=len):
        inside = [part for part in parts if part[0] <= group]
        if sum(len(part[0]) for part in inside) < len(group):
            return DimensionTree.balanced(order)  # it overlaps another group
        parts = [part for part in parts if not part[0] <= group]
        parts.append((group, _merged([nested for _, nested in inside])))
    return DimensionTree(_merged([nested for _, nested in parts]))


def _merged(parts: Sequence[Any]) -> Any:
    """Nested trees under one, halved again and again."""
    if len(parts) < 3:
        return tuple(parts) if len(parts) > 1 else parts[0]
    half = (len(parts) + 1) // 2
    return _merged(parts[:half]), _merged(parts[half:])


def as_cp(x: Any) -> CPFactorization | None:
    """CP factorizations, matrix factorizations and sums of these as one CP factorization."""
    from tnrank.factorizations import CPFactorization, MatrixFactorization, sum_of

    made = []
    for _, term in (terms := terms_of(x)):
        if isinstance(term, CPFactorization):
            made.append(CPFactorization(term.factors, term.weights))
        elif isinstance(term, MatrixFactorization):
            made.append(_cut_at_the_narrowest(term.layers))
        else:
            return None
    found: CPFactorization = sum_of(made, [weight for weight, _ in terms])
    return found


def _cut_at_the_narrowest(layers: Sequence[Array]) -> CPFactorization:
    from tnrank._alike import default_or_named_device
    from tnrank._backend import backend_of
    from tnrank.factorizations import CPFactorization

    backend = backend_of(layers[0])
    if len(layers) == 1:
        size = min(layers[0].shape)
        eye = backend.asarray(np.eye(size), backend.dtype_of(layers[0]), default_or_named_device(layers[0]))
        turned = backend.xp.matrix_transpose(layers[0])
        return CPFactorization([layers[0], eye] if layers[0].shape[1] == size else [eye, turned])
    cut = min(range(1, len(layers)), key=lambda k: int(layers[k].shape[0]))
    left, right = layers[0], layers[-1]
    for layer in layers[1:cut]:
        left = left @ layer
    for layer in reversed(layers[cut:-1]):
        right = layer @ right
    return CPFactorization([left, backend.xp.matrix_transpose(right)])


def components(x: Any, tree: DimensionTree) -> LocalComponents | None:
    """``x`` with CP-type nodes: CP-like input on any ``tree``, a hierarchical factorization on its own."""
    from tnrank.factorizations import HierarchicalFactorization

    if isinstance(x, HierarchicalFactorization):
        leaves = {node.modes[0]: a for node, a in x.matrices.items() if not node.height}
        return LocalComponents(x.tree, leaves, {node: a for node, a in x.matrices.items() if node.height})
    cp = as_cp(x)
    if cp is None:
        return None
    weights = cp.backend.xp.ones_like(cp.factors[0][0, :]) if cp.weights is None else cp.weights
    return LocalComponents(tree, dict(enumerate(cp.factors)), {tree.root: weights[:, None]})


def frame_shapes(x: Any, tree: DimensionTree, shape: Sequence[int]) -> dict[Node, tuple[int, ...]]:
    """Shapes of :func:`frames`, before they are made."""
    from tnrank.factorizations import TensorTrainOperator, TreeFormat

    terms = [term for _, term in terms_of(x)]
    columns = dict.fromkeys(tree.nodes, 0)
    for term in terms:
        ranks: Mapping[Any, int]
        if isinstance(term, (TreeFormat, TensorTrainOperator)):
            ranks = term.ranks
        elif hasattr(term, "matrices"):
            ranks = {node: int(a.shape[1]) for node, a in term.matrices.items() if node in columns}
        else:
            cp = as_cp(term)
            ranks = {} if cp is None else dict.fromkeys(tree.nodes, cp.rank)
        for node in tree.nodes:
            # The root has one column, and the leaf of the classes is the identity.
            columns[node] += 1 if node == tree.root else ranks.get(node, shape[node.modes[0]])
    found: dict[Node, tuple[int, ...]] = {}
    for node in tree.nodes:
        inner = tuple(found[c][-1] for c in tree.children(node)) or (shape[node.modes[0]],)
        found[node] = inner if node == tree.root else (*inner, min(columns[node], math.prod(inner)))
    return found


def frames(x: Any, tree: DimensionTree) -> Frames:
    """``x`` on the tree of its terms (:func:`tree_of`), not formed."""
    from tnrank.factorizations import TensorTrainOperator, TreeFormat, _hsvd
    from tnrank.factorizations._nodes._sum import orthogonalize_sum

    if isinstance(x, (TreeFormat, TensorTrainOperator)):
        return Frames(tree, *_hsvd.orthogonalize(tree, x.nodes))
    found = orthogonalize_sum(tree, [_columns(term, tree, weight) for weight, term in terms_of(x)])
    return Frames(tree, *found[:2])


def _columns(x: Any, tree: DimensionTree, weight: Any) -> Columns:
    from tnrank.factorizations import HierarchicalFactorization
    from tnrank.factorizations._nodes._sum import columns_of

    if isinstance(x, HierarchicalFactorization) and x.ndim != x.tree.order:
        plain = _columns_with_classes(x)
    else:
        plain = columns_of(as_cp(x) or x, tree)

    def columns(node: Node, below: Sequence[Array]) -> Array:
        made = plain(node, below)
        return made * weight if node == tree.root and weight != 1 else made

    return columns


def _columns_with_classes(x: HierarchicalFactorization) -> Columns:
    from tnrank._alike import default_or_named_device
    from tnrank._backend import backend_of

    matrices, root, classes = x.matrices, x.tree.root, x.tree.order

    def columns(node: Node, below: Sequence[Array]) -> Array:
        if node.modes == (classes,):
            matrix = matrices[root]
            return backend_of(matrix).asarray(np.eye(matrix.shape[1]), x.dtype, default_or_named_device(matrix))
        last = classes in node.modes
        matrix = matrices[root if last else node]
        if not below:
            return matrix
        made = below[0]
        for part in below[1 : len(below) - last]:
            made = made[..., None, :] * part
        made = made @ matrix
        return (made @ x.backend.xp.matrix_transpose(below[-1]))[..., None] if last else made

    return columns


def moved(x: Any, tree: DimensionTree, memory_limit: int | None = None) -> tuple[Any, float]:
    """``x`` with all terms that have a tree on this one, and a bound of what that lost, relative to the terms.

    Raises:
        ValueError: if ranks between the trees are too large.
    """
    from tnrank.factorizations import FactorizationSum, HierarchicalTucker
    from tnrank.factorizations._nodes._change_tree import change_tree

    made, lost = [], 0.0
    for _, term in (terms := terms_of(x)):
        own = tree_of(term)
        if own is None or own == tree:
            made.append(term)
            continue
        found = frames(term, own)
        share = term.backend.xp.exp(found.log_norm / len(found.arrays))
        spread = {node: array * share for node, array in found.arrays.items()}
        changed = change_tree(own, spread, tree, memory_limit=memory_limit)
        lost = max(lost, changed.relative_error_bound)
        made.append(HierarchicalTucker._of_nodes(tree, changed.nodes))
    return (made[0] if len(made) == 1 else FactorizationSum(made, [weight for weight, _ in terms])), lost


def log_norm(x: Any, tree: DimensionTree) -> float:
    """The logarithm of the norm of one term."""
    found = components(x, tree)
    value = x.log_norm() if found is None else spectra(found, "qr", ()).log_norm
    return float(x.backend.to_numpy(value))


def cancellation(x: Any, tree: DimensionTree, total: float) -> float:
    """The summed norms of the terms over the norm of their sum, ``exp(total)``; 1 for the zero tensor."""
    if total == -math.inf:
        return 1.0
    if len(terms_of(x)) == 1 or as_cp(x) is not None:
        found = components(x, tree)
        return 1.0 if found is None else spectra(found, "qr", ()).cancellation()
    logs = [log_norm(term, tree) + math.log(abs(weight)) for weight, term in terms_of(x) if weight != 0]
    return max(1.0, sum(math.exp(min(log - total, 700.0)) for log in logs))
