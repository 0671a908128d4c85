"""Sums and products of tensors in a tree format."""

from __future__ import annotations

from typing import Any, Self

from tnrank.factorizations._base import Factorization
from tnrank.factorizations._nodes._modes import entrywise_product, sum_of_nodes
from tnrank.factorizations._tree_core import TreeCore


class TreeArithmetic(TreeCore):
    """``+``, ``-``, ``*`` and ``/``; exact, so that ranks add and multiply until :meth:`truncate`."""

    __slots__ = ()

    def __add__(self, other: Any) -> Self:
        """The sum, exactly: ranks add. :meth:`truncate` makes them small again; for many terms: ``truncate_sum``."""
        if not isinstance(other, TreeCore):
            return NotImplemented
        self._check_same(other, "sum")
        return self._of_nodes(self.tree, sum_of_nodes(self.tree, self.nodes, other.nodes))

    def __sub__(self, other: Any) -> Self:
        return self + -other if isinstance(other, TreeArithmetic) else NotImplemented

    def __neg__(self) -> Self:
        return self * -1.0

    def __mul__(self, other: Any) -> Self:
        """A number times the tensor, or the entrywise product of two: ranks multiply, exactly.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.HierarchicalTucker.random((3,) * 4, rank=2, seed=0)
            >>> bool(np.allclose((x * x).to_dense(), x.to_dense() ** 2))
            True
        """
        if isinstance(other, TreeCore):
            self._check_same(other, "entrywise product")
            return self._of_nodes(self.tree, entrywise_product(self.tree, self.nodes, other.nodes))
        if isinstance(other, Factorization) or len(getattr(other, "shape", ())):
            return NotImplemented
        root = self.tree.root
        return self._of_nodes(self.tree, {**self.nodes, root: self.nodes[root] * other})

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Self:
        return NotImplemented if isinstance(number, Factorization) else self * (1 / number)

    def _check_same(self, other: TreeCore, what: str) -> None:
        if self.tree != other.tree or self.shape != other.shape:
            raise ValueError(
                f"{what} of {self._title()} on {self.tree!r} and {other._title()} on {other.tree!r}: needed equal "
                "shapes and trees: x.change_tree(tree) brings one onto another"
            )
