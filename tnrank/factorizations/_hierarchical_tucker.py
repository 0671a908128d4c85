"""Hierarchical Tucker: a frame a leaf and a transfer tensor an interior node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tnrank._backend import plain_array
from tnrank._by_node import ByNode
from tnrank._check import instance, whole_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._arrays import checked_arrays
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._cp import CPFactorization
from tnrank.factorizations._draw import check_dimensions, draw
from tnrank.factorizations._nodes._convert import as_tree, dense_to_nodes, to_nodes
from tnrank.factorizations._nodes._cutoff import Cutoff, MaxRank, PerNode
from tnrank.factorizations._tree_format import TreeFormat
from tnrank.network import Network

if TYPE_CHECKING:
    from tnrank.factorizations._cross._approximation import CrossApproximation


class HierarchicalTucker(TreeFormat):
    """A tensor in the hierarchical Tucker format on a dimension tree.

    Args:
        tree: a DimensionTree, k-ary, ragged, unary nodes allowed, or nested tuples.
        leaves: mode -> frame ``(d_n, k)``.
        transfers: interior Node, or its tuple of modes where that is unique -> transfer tensor ``(k_c1, .., k_cm, k)``
            for its children c in the order of the tree; the root's is ``(k_c1, .., k_cm)``.

    Raises:
        ValueError: if an array is missing, or its sizes do not fit its neighbors; node and sizes are named.

    Source: Hackbusch & Kuehn 2009; Grasedyck 2010.

    Example:
        >>> import tnrank
        >>> tnrank.HierarchicalTucker.random((8,) * 4, rank=3, seed=0)
        HierarchicalTucker of order 4: 8 x 8 x 8 x 8, 159 parameters, float64, numpy
          {0,1,2,3}  3 x 3
          ├── {0,1}  3 x 3 x 3
          │   ├── {0}  8 x 3
          │   └── {1}  8 x 3
          └── {2,3}  3 x 3 x 3
              ├── {2}  8 x 3
              └── {3}  8 x 3
    """

    __slots__ = ()
    kind: ClassVar[str] = "hierarchical tucker"

    @explained
    def __init__(
        self, tree: DimensionTree | Sequence[Any], leaves: Mapping[Any, Array], transfers: Mapping[Any, Array]
    ) -> None:
        tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        instance(leaves, "leaves", Mapping, "a mapping {mode: frame}")
        instance(transfers, "transfers", Mapping, "a mapping {node: transfer tensor}")
        found: dict[Node, Array] = {}
        keys = [*map(_leaf, leaves), *transfers]
        arrays = checked_arrays([*leaves.values(), *transfers.values()], lambda: list(map(str, keys)))
        for key, array in zip(keys, arrays, strict=True):
            node = _node(tree, key)
            axes = 2 if not node.height else len(tree.children(node)) + (node != tree.root)
            if len(array.shape) != axes:
                raise ValueError(f"the array of node {node} has shape {tuple(array.shape)}: needed {axes} axes")
            found[node] = array
        missing = [node for node in tree.nodes if node not in found]
        if missing:
            raise ValueError(f"no array for the node {missing[0]!r}: {len(tree.nodes)} nodes, got {len(found)}")
        for node in tree.interior:
            for axis, child in enumerate(tree.children(node)):
                if found[child].shape[-1] != found[node].shape[axis]:
                    raise ValueError(
                        f"node {child} has rank {found[child].shape[-1]} (its last axis) and axis {axis} of its parent "
                        f"{node} has size {found[node].shape[axis]}: needed the same"
                    )
        self._fill(tree, [found[node] for node in tree.nodes])

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _tree_network(static)

    @classmethod
    def _of_nodes(cls, tree: DimensionTree, arrays: Mapping[Node, Array]) -> Self:
        return cls._make(tree, [arrays[node] for node in tree.nodes])

    @classmethod
    @explained
    def random(
        cls,
        shape: Sequence[int],
        tree: DimensionTree | Sequence[Any] | None = None,
        rank: int | Mapping[Any, int] = 5,
        *,
        std: float = 1.0,
        mean: float = 0.0,
        init: str = "normal",
        seed: int | None = 0,
        backend: str = "numpy",
        dtype: str | None = None,
        device: Any = None,
    ) -> Self:
        """Random arrays: ``rank`` at every node but the root, one or ``{node: rank}``; else as for the other classes.

        Raises:
            ValueError: if the tree has another order than the shape, or a rank is missing or below 1.
        """
        d = check_dimensions(shape)
        tree = DimensionTree.balanced(len(d)) if tree is None else tree
        tree = tree if isinstance(tree, DimensionTree) else DimensionTree(tree)
        if tree.order != len(d):
            raise ValueError(f"the tree has {tree.order} modes and the shape {d} has {len(d)}")
        ranks = (
            {_node(tree, key): whole_number(value, f"rank[{key}]", 1) for key, value in rank.items()}
            if isinstance(rank, Mapping)
            else dict.fromkeys(tree.nodes, whole_number(rank, "rank", 1))
        )
        shapes = []
        for node in tree.nodes:
            inner = (d[node.modes[0]],) if not node.height else tuple(ranks.get(c, 0) for c in tree.children(node))
            full = inner if node == tree.root else (*inner, ranks.get(node, 0))
            if min(full) < 1:
                raise ValueError(f"node {node!r} or a child of it has no rank from 1 on: got {rank!r}")
            shapes.append(full)
        return cls._make(tree, draw(shapes, std, mean, init, seed, backend, dtype, device))

    @classmethod
    @explained
    def from_dense(
        cls,
        tensor: Array,
        tree: DimensionTree | Sequence[Any] | None = None,
        rtol: PerNode = None,
        max_rank: MaxRank = None,
        method: str = "auto",
        *,
        atol: PerNode = None,
        direction: str = "leaves to root",
    ) -> Self:
        """The hierarchical SVD of a dense tensor, each step on what the steps before left.

        Args:
            tensor: array of order 2 or more.
            tree: ``DimensionTree.balanced(N)`` if not given.
            rtol: bounds ``||tensor - result|| / ||tensor||``; ``None`` is max(sides) * eps. A mapping {node: rtol}
                gives each named node its own share, and keeps all but zeros elsewhere.
            max_rank: the most columns of any frame, {node: columns}, or one number a node but the root in the order of
                :attr:`ranks`; with it the error may exceed ``rtol``.
            method: ``"qr"`` (LQ, accurate to eps), ``"gram"`` (faster, to sqrt(eps)), ``"auto"`` by the tolerance, or
                ``"randomized"`` (sketches of matrices with sides above 256, for large leaves of low rank, to a
                tolerance).
            atol: bounds ``||tensor - result||``, or {node: share}; with ``rtol`` too, the looser of the two holds.
            direction: ``"leaves to root"``, which is fast, or ``"root to leaves"``, which decomposes the matricization
                at the root first and is for tensors with few columns there.

        Raises:
            ValueError: for NaN or infinite entries, another order than the tree's, an empty mode, ``rtol`` outside
                [0, 1) or below the method's floor.

        Source: Grasedyck 2010, Sec. 3.

        Example:
            >>> import numpy as np, tnrank
            >>> total = sum(np.ogrid[:5, :5, :5, :5]) * 1.0
            >>> x = tnrank.HierarchicalTucker.from_dense(total, rtol=1e-10)
            >>> max(x.ranks.values()), bool(abs(x.to_dense() - total).max() < 1e-9)
            (2, True)
        """
        tensor = plain_array(tensor)[0]
        tree = as_tree(tree, tuple(tensor.shape))

        def cutoff(norm: float) -> Cutoff:
            return Cutoff(tree, tree.nodes, rtol, atol, max_rank, norm, cls._in_order(tree))

        return cls._of_nodes(tree, dense_to_nodes(tensor, tree, cutoff, method, direction=direction))

    @classmethod
    @explained
    def from_factorization(
        cls,
        x: Factorization,
        tree: DimensionTree | None = None,
        rtol: PerNode = None,
        max_rank: MaxRank = None,
    ) -> Self:
        """Another factorization in this format: exactly, or truncated if ``rtol`` or ``max_rank`` is given.

        Exactly, the ranks are the numbers of components; truncated, no array of that size is ever formed.

        Args:
            x: a MatrixFactorization, a CPFactorization or Tucker (on any ``tree``, the balanced one if not given), a
                HierarchicalFactorization without classes or another tree format (on its own tree, or brought to
                another by :meth:`change_tree`).
            tree: see above.
            rtol: see :meth:`truncate`.
            max_rank: see :meth:`truncate`.

        Raises:
            TypeError: for a factorization with classes.
            ValueError: if the tree has other modes.

        Example:
            >>> import tnrank
            >>> cp = tnrank.CPFactorization.random((3, 4, 5, 6), rank=2, seed=0)
            >>> x = tnrank.HierarchicalTucker.from_factorization(cp)
            >>> bool(abs(x.to_dense() - cp.to_dense()).max() < 1e-12)
            True
        """
        instance(x, "x", Factorization, f"a factorization; {cls.__name__}.from_dense(array) takes an array")
        x = x._measurable()
        own = getattr(x, "tree", None)
        wanted = tree if isinstance(tree, DimensionTree) or tree is None else DimensionTree(tree)
        exact = rtol is None and max_rank is None
        if not exact and (isinstance(x, CPFactorization) or (own is not None and wanted in (None, own))):
            cut: Self = cls.truncate_sum([x], wanted, rtol, max_rank).tensor
            return cut
        made = cls._of_nodes(*to_nodes(x, wanted))
        if exact:
            return made
        short: Self = made.truncate(rtol, max_rank).tensor
        return short

    @classmethod
    @explained
    def from_function(
        cls,
        function: Callable[[Any], Any],
        shape: Sequence[int],
        tree: DimensionTree | Sequence[Any] | None = None,
        rtol: float = 1e-8,
        max_rank: int | None = None,
        budget: int = 1_000_000,
        seed: int = 0,
        **options: Any,
    ) -> CrossApproximation:
        """A tensor from values of a function of its indices: :func:`tnrank.factorizations.cross_approximation`.

        Args:
            function: index array ``(M, N)`` -> values ``(M,)``; it is called with many indices at once.
            shape: ``(d_1, .., d_N)``.
            tree: ``DimensionTree.balanced(N)`` if not given.
            rtol: the error that held-out points are to show.
            max_rank: the most columns of any frame.
            budget: the most values that may be asked for.
            seed: of the held-out points and of the search.
            options: see :func:`tnrank.factorizations.cross_approximation`.

        Returns:
            A ``CrossApproximation``: the tensor, its error on held-out points, evaluations, status.

        Example:
            >>> import numpy as np, tnrank
            >>> found = tnrank.HierarchicalTucker.from_function(lambda k: np.sin(k.sum(axis=1)), (10,) * 20)
            >>> found.status, set(found.ranks.values()), found.error < 1e-10
            ('converged', {2}, True)
        """
        from tnrank.factorizations._cross._approximation import cross_approximation

        return cross_approximation(function, shape, tree, rtol, max_rank, budget, seed, **options)

    @property
    def tree(self) -> DimensionTree:
        """The dimension tree."""
        tree: DimensionTree = self._static
        return tree

    @property
    def nodes(self) -> ByNode[Array]:
        """Node -> frame or transfer tensor, leaves first."""
        return ByNode(zip(self.tree.nodes, self._values, strict=True))

    def _details(self) -> list[str]:
        if len(self._values) > 40:
            return [f"{self.tree!r}, ranks up to {max(self.ranks.values())}"]
        shapes = {node: " x ".join(map(str, a.shape)) for node, a in self.nodes.items()}
        return self.tree.draw(lambda node: shapes[node]).splitlines()

    def _static_to_json(self) -> Any:
        return self.tree.text

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return DimensionTree.from_text(content)


def _node(tree: DimensionTree, key: Any) -> Node:
    try:
        return tree.node(key)
    except KeyError as error:
        raise ValueError(error.args[0]) from None


def _leaf(key: Any) -> Node:
    if isinstance(key, Node):
        return key
    mode = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    return Node((whole_number(mode, "the key of a leaf, its mode,"),), 0)


@lru_cache(maxsize=256)
def _tree_network(tree: DimensionTree) -> Network:
    used: dict[str, int] = {}
    names: dict[Node, str] = {}
    for node in tree.nodes:
        text = f"leaf {node.modes[0]}" if not node.height else str(node)
        names[node] = text + "'" * used.get(text, 0)
        used[text] = used.get(text, 0) + 1
    tensors = {}
    for node in tree.nodes:
        inner = [f"i{node.modes[0]}"] if not node.height else [f"k{names[c]}" for c in tree.children(node)]
        tensors[names[node]] = tuple(inner if node == tree.root else [*inner, f"k{names[node]}"])
    return Network(tensors, [f"i{n}" for n in range(tree.order)])
