"""What a tensor train operator is as a tensor: modes, a dimension tree, sums and entrywise products."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import Any, Self

from tnrank._by_node import ByNode
from tnrank._check import whole_number
from tnrank._typing import Array, Shape
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _operator_cores
from tnrank.factorizations._base import Factorization
from tnrank.factorizations._operator_dense import merged, unmerged
from tnrank.factorizations._tensor_train import TensorTrain
from tnrank.factorizations._tree_arithmetic import TreeArithmetic
from tnrank.factorizations._tree_core import TreeCore
from tnrank.factorizations._whole import check_product, check_sum
from tnrank.network import Network


class OperatorTree(TreeArithmetic):
    """Cores ``(r_k, m_k, n_k, r_k+1)`` on the tree ``((0, d), ((1, d+1), ..))``; the static part is d."""

    __slots__ = ()

    @classmethod
    def _network_of(cls, static: Any) -> Network:
        return _operator_cores.chain_of_cores(static)

    @classmethod
    def _of_four_axes(cls, cores: Sequence[Array]) -> Self:
        return cls._make(len(cores), _operator_cores.without_ends(cores))

    def _with_cores(self, cores: Sequence[Array]) -> Self:
        """As many cores of any sizes; the network is kept, because compilers that trace Python cannot make one."""
        return self._with(_operator_cores.without_ends(cores))

    @property
    def cores(self) -> tuple[Array, ...]:
        """The cores, all with four axes ``(r_k, m_k, n_k, r_k+1)``."""
        return tuple(_operator_cores.with_four_axes(self._values))

    @property
    def tt_ranks(self) -> tuple[int, ...]:
        """The d - 1 ranks between the cores."""
        return tuple(int(core.shape[0]) for core in self._values[1:])

    @property
    def row_shape(self) -> Shape:
        """``(m_1, .., m_d)``."""
        return self.shape[: len(self._values)]

    @property
    def column_shape(self) -> Shape:
        """``(n_1, .., n_d)``."""
        return self.shape[len(self._values) :]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """The numbers of rows and of columns."""
        return prod(self.row_shape), prod(self.column_shape)

    @property
    def tree(self) -> DimensionTree:
        """``((0, d), ((1, d+1), (.., (d-1, 2d-1))))``."""
        return _operator_cores.tree_of_cores(len(self._values))

    @property
    def nodes(self) -> ByNode[Array]:
        """The same tensor in the hierarchical Tucker layout."""
        return _operator_cores.nodes_from_cores(self._values)

    @classmethod
    def _of_nodes(cls, tree: DimensionTree, arrays: Mapping[Node, Array]) -> Self:
        count = tree.order // 2
        return cls._make(count, _operator_cores.cores_from_nodes(arrays, count))

    # Sums and products as of trains over pairs of modes: the identities of the tree layout would grow with them.
    def _sum_with(self, other: TreeCore) -> Self:
        same = self._alike(other)
        if len(self._values) == 1:
            check_sum(self._values[0], same._values[0])
            return self._with([self._values[0] + same._values[0]])
        return self._as_one(lambda a, b: a._sum_with(b), same)

    def _product_with(self, other: TreeCore) -> Self:
        same = self._alike(other)
        if len(self._values) == 1:
            check_product(self._values[0], same._values[0])
            return self._with([self._values[0] * same._values[0]])
        return self._as_one(lambda a, b: a._product_with(b), same)

    def _as_one(self, combine: Callable[[TensorTrain, TensorTrain], TensorTrain], other: Self) -> Self:
        made = combine(merged(self._values), merged(other._values))
        return self._with(unmerged(made, self.row_shape, self.column_shape))

    def _at_root(self, change: Callable[[Array], Array]) -> Self:
        first = change(self._values[0])
        x = self if first.dtype == self._values[0].dtype else self._converted(first.dtype)
        return self._with([first, *x._values[1:]])

    def _alike(self, other: TreeCore) -> Self:
        return other if isinstance(other, type(self)) else self._of_nodes(other.tree, other.nodes)

    @classmethod
    def _reduced(cls, tree: DimensionTree) -> Collection[Node]:
        return cls._in_order(tree)

    @classmethod
    def _in_order(cls, tree: DimensionTree) -> Sequence[Node]:
        """The nodes of the cores from k on: one a rank."""
        return [node.rest for node in _operator_cores.nodes_of_cores(tree.order // 2)[1:]]

    @classmethod
    def _default_tree(cls, order: int) -> DimensionTree:
        if order % 2 or not order:
            raise ValueError(f"a {cls.__name__} has a row mode for each column mode, got a tensor of order {order}")
        return _operator_cores.tree_of_cores(order // 2)

    @classmethod
    def _tree_of_sum(cls, terms: Sequence[Factorization], tree: DimensionTree | None) -> DimensionTree:
        own = cls._default_tree(terms[0].ndim)
        if tree not in (None, own):
            raise ValueError(
                f"a {cls.__name__} has the tree {own!r}, got {tree!r}: use HierarchicalTucker.truncate_sum"
            )
        return own

    def _details(self) -> list[str]:
        rows, columns, ranks = self.row_shape, self.column_shape, self.tt_ranks
        text = _operator_cores.size_text
        lines = [f"{text(rows)} x {text(columns)}: rows {_listed(rows)}, columns {_listed(columns)}"]
        if ranks:
            more = f", .. up to {max(ranks)}" if len(ranks) > 12 else ""
            lines.append("ranks " + ", ".join(map(str, ranks[:12])) + more)
        return lines

    def _static_to_json(self) -> Any:
        return self._static

    @classmethod
    def _static_from_json(cls, content: Any) -> Any:
        return whole_number(content, "its number of cores", 1)


def _listed(shape: Shape) -> str:
    return " x ".join(map(str, shape[:8])) + (" x .." if len(shape) > 8 else "")
