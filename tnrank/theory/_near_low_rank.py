"""How near a hierarchical factorization with small local components is to low hierarchical rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add, mul
from typing import TYPE_CHECKING, Any

from tnrank._by_node import ByNode
from tnrank._explained import explained
from tnrank._typing import Array

if TYPE_CHECKING:
    from tnrank.dimension_tree import Node
    from tnrank.factorizations import HierarchicalFactorization


@dataclass(frozen=True)
class NearLowRank:
    """Bounds of the distance to the tensors of hierarchical rank ``kept``, in the Frobenius norm.

    Attributes:
        theorem: the e of the theorem, a scalar array.
        bound: the sum over the nodes that e is the simple form of, never larger.
        tails: interior node -> the sum of the norms of the local components that are not kept.
    """

    theorem: Array
    bound: Array
    tails: ByNode[Array]


@explained
def near_low_rank_bound(x: HierarchicalFactorization, kept: int | Mapping[Any, int]) -> NearLowRank:
    """How far, at most, the end tensor is from one that the largest local components alone make.

    Keep the R'_v largest local components of every interior node v. The others change the end tensor by at most

        sum_v tail_v * prod_{u not v, no child of v} ||W_u||  <=  e = (T - N) max_v tail_v B^(T - 1 - C(v)),

    with tail_v the sum of their norms at v, B the largest norm of a matrix, T the number of nodes, N that of the modes
    and C(v) that of the children of v. What is left has matricizations of rank at most R' of the parent, for all nodes.
    So local components near zero mean a tensor near low hierarchical rank; :func:`prune_components` gives it.

    Args:
        x: a hierarchical factorization.
        kept: R', at least 1: one number for all interior nodes, or a number a node, all of those not named.

    Raises:
        ValueError: for a node that is not in the tree or a leaf, or a number below 1.
        TypeError: if ``x`` is not a HierarchicalFactorization.

    Source: Razin, Maman & Cohen 2022, Sec. 4 (local components and hierarchical tensor rank).

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.theory import near_low_rank_bound, prune_components
        >>> x = tnrank.HierarchicalFactorization.random((3,) * 4, width=4, seed=0)
        >>> found = near_low_rank_bound(x, 2)
        >>> actual = np.linalg.norm(x.to_dense() - prune_components(x, 2).to_dense())
        >>> bool(actual <= found.bound <= found.theorem)
        True
    """
    counts = _counts(x, kept)
    tree, xp = x.tree, x.backend.xp
    norms, matrices = x.component_norms(), x.matrices
    sizes = {node: xp.linalg.vector_norm(matrix) for node, matrix in matrices.items()}
    largest = reduce(xp.maximum, sizes.values())
    tails, terms, simple = {}, [], []
    for node in tree.interior:
        tails[node] = xp.abs(xp.sum(xp.sort(-norms[node])[counts[node] :]))
        family = {node, *tree.children(node)}
        others = [size for other, size in sizes.items() if other not in family]
        terms.append(reduce(mul, others, tails[node]))
        simple.append(tails[node] * largest ** len(others))
    return NearLowRank(len(terms) * reduce(xp.maximum, simple), reduce(add, terms), ByNode(tails))


@explained
def prune_components(x: HierarchicalFactorization, kept: int | Mapping[Any, int]) -> HierarchicalFactorization:
    """The factorization with only the largest local components of every interior node.

    Args:
        x: a hierarchical factorization.
        kept: as for :func:`near_low_rank_bound`. Where several components have the same norm, the first are kept.

    Returns:
        A narrower one; the rank of its matricization at a node is at most the number kept at the parent.

    Raises:
        ValueError: as for :func:`near_low_rank_bound`.
        TypeError: likewise.

    Source: Razin, Maman & Cohen 2022, Sec. 4.

    Example:
        >>> import tnrank
        >>> from tnrank.theory import prune_components
        >>> x = tnrank.HierarchicalFactorization.random((3,) * 4, width=6, seed=0)
        >>> list(tnrank.hierarchical_rank(prune_components(x, {(0, 1): 2, (0, 1, 2, 3): 1})).values())
        [2, 2, 3, 3, 1, 1]
    """
    counts = _counts(x, kept)
    backend, tree = x.backend, x.tree
    chosen = {
        node: backend.xp.argsort(-norms, stable=True)[: counts[node]] for node, norms in x.component_norms().items()
    }
    found = {}
    for node, matrix in x.matrices.items():
        parent = tree.parent(node)
        if node.height:
            matrix = backend.take(matrix, chosen[node], 0)
        found[node] = matrix if parent is None else backend.take(matrix, chosen[parent], 1)
    return x._make(x._static, [found[node] for node in tree.nodes])


def _counts(x: Any, kept: Any) -> dict[Node, int]:
    """How many components are kept at each interior node."""
    if not hasattr(x, "matrices") or not hasattr(x, "tree"):
        raise TypeError(
            f"got a {type(x).__name__}, needed a HierarchicalFactorization: its nodes have local components"
        )
    widths = {node: x.matrices[node].shape[0] for node in x.tree.interior}
    wanted = dict.fromkeys(widths, kept) if not isinstance(kept, Mapping) else dict(widths)
    if isinstance(kept, Mapping):
        for key, value in kept.items():
            try:
                node = x.tree.node(key)
            except KeyError as error:
                raise ValueError(error.args[0]) from None
            if node not in widths:
                raise ValueError(f"kept has a number for {node}, but {node} is a leaf: it has no local components")
            wanted[node] = value
    for node, value in wanted.items():
        if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
            raise ValueError(f"kept is a whole number from 1 on at every node, got {value!r} at {node}")
    return {node: min(int(value), widths[node]) for node, value in wanted.items()}
