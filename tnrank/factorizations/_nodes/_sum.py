"""Orthonormal frames of a sum of tensors: neither block-diagonal nor superdiagonal transfer tensors are formed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from tnrank._backend import backend_of
from tnrank._scale import nonzero, norm, over, peak, unit_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._hierarchical import HierarchicalFactorization
from tnrank.factorizations._hsvd._frames import along

Columns = Callable[[Node, Sequence[Array]], Array]
"""(node, what its children carry ``(q_c, k_c)``) -> the node's columns ``(q_c1, .., q_cm, k)``; ``(d_n, k)`` at leaves.
The root has one column."""


def orthogonalize_sum(tree: DimensionTree, terms: Sequence[Columns]) -> tuple[dict[Node, Array], Array, Array]:
    """Orthonormal frames of ``sum(terms)``, whose root has norm 1 or 0, the log of the norm, and the condition.

    The condition is the sum of the terms' norms over the norm of the sum: what rounding errors are multiplied by.

    The frames of all terms stand side by side and are orthogonalized together, so that what cancels in the sum is
    small at the root and not in any frame. Each term carries its own scale, a logarithm.

    Source: Kressner & Tobler 2014, Sec. 3 (addition in htucker), with triangular factors in place of Gramians.
    """
    found: dict[Node, Array] = {}
    carried: dict[Node, list[Array]] = {}
    logs: list[Any] = [0.0] * len(terms)
    for node in tree.nodes:
        below = [carried.pop(child) for child in tree.children(node)]
        blocks = []
        for k, columns in enumerate(terms):
            block = columns(node, [parts[k] for parts in below])
            backend = backend_of(block)
            xp, largest = backend.xp, peak(block, backend)
            scale = unit_of(largest, backend)
            # A zero term has no scale that others would have to stand beside.
            logs[k] = xp.where(largest == 0, -xp.inf, logs[k] + xp.log(scale))
            blocks.append(over(block, scale, backend))
        if node == tree.root:
            break
        widths = [block.shape[-1] for block in blocks]
        stacked = blocks[0] if len(blocks) == 1 else xp.concat(blocks, axis=-1)
        shape = tuple(stacked.shape)
        q, r = xp.linalg.qr(xp.reshape(stacked, (prod(shape[:-1]), shape[-1])))
        found[node] = xp.reshape(q, (*shape[:-1], q.shape[1]))
        starts = [sum(widths[:k]) for k in range(len(widths))]
        carried[node] = [r[:, start : start + width] for start, width in zip(starts, widths, strict=True)]
    most = logs[0]
    for log in logs[1:]:
        most = xp.maximum(most, log)
    most = xp.where(most == -xp.inf, xp.zeros_like(most), most)
    roots = [block[..., 0] * xp.exp(log - most) for block, log in zip(blocks, logs, strict=True)]
    root: Any = sum(roots)
    sizes: Any = sum(norm(term, backend) for term in roots)
    size = norm(root, backend)
    safe = nonzero(size, backend)
    return {**found, tree.root: root / safe}, xp.where(size == 0, -xp.inf, most + xp.log(safe)), sizes / safe


def columns_of(x: Any, tree: DimensionTree) -> Columns:
    """How ``x`` rises through ``tree``: a tensor in a tree format or a hierarchical factorization on it, or any CP.

    Raises:
        ValueError: if ``x`` lives on another tree.
        TypeError: for other factorizations.
    """
    if isinstance(x, CPFactorization):
        if x.ndim != tree.order:
            raise ValueError(f"the tree has {tree.order} modes and the factorization {x.shape} has {x.ndim}")
        return lambda node, below: _cp_columns(x, tree, node, below)
    own = getattr(x, "tree", None)
    if isinstance(x, Factorization) and own is not None:
        if own != tree:
            raise ValueError(f"a {type(x).__name__} on {own!r}, needed {tree!r}: use change_tree first")
        if isinstance(x, HierarchicalFactorization):
            if x.ndim != tree.order:
                raise TypeError("a factorization with classes has one tensor a class: take one class first")
            return lambda node, below: _local_columns(x, tree, node, below)
        nodes = x.nodes  # type: ignore[attr-defined]
        return lambda node, below: _transfer_columns(nodes, tree, node, below)
    raise TypeError(f"got {type(x).__name__}, needed a CP or hierarchical factorization or a tree format")


def _transfer_columns(nodes: dict[Node, Array], tree: DimensionTree, node: Node, below: Sequence[Array]) -> Array:
    array = nodes[node]
    xp = backend_of(array).xp
    for axis, part in enumerate(below):
        array = along(xp, array, part, axis)
    return array[..., None] if node == tree.root else array


def _cp_columns(x: CPFactorization, tree: DimensionTree, node: Node, below: Sequence[Array]) -> Array:
    if not below:
        return x.factors[node.modes[0]]
    product = _columnwise(below)
    if node != tree.root:
        return product
    xp = x.backend.xp
    return (xp.sum(product, axis=-1) if x.weights is None else product @ x.weights)[..., None]


def _local_columns(x: HierarchicalFactorization, tree: DimensionTree, node: Node, below: Sequence[Array]) -> Array:
    matrix = x.matrices[node]
    return _columnwise(below) @ matrix if below else matrix


def _columnwise(parts: Sequence[Array]) -> Array:
    """``out[a, .., b, r] = parts[0][a, r] .. parts[-1][b, r]``."""
    made = parts[0]
    for part in parts[1:]:
        made = made[..., None, :] * part
    return made
