"""Sums and products of tensors in a tree format."""

from __future__ import annotations

from typing import Any, Self

from tnrank._backend import common_backend
from tnrank.factorizations._base import Factorization, listed
from tnrank.factorizations._nodes._modes import entrywise_product, sum_of_nodes
from tnrank.factorizations._tree_core import TreeCore


class TreeArithmetic(TreeCore):
    """``+``, ``-``, ``*`` and ``/``; exact, so that ranks add and multiply until :meth:`truncate`."""

    __slots__ = ()

    def __add__(self, other: Any) -> Self:
        """The sum, exactly: ranks add. :meth:`truncate` makes them small again; for many terms: ``truncate_sum``."""
        if not isinstance(other, TreeCore):
            raise _unlike(self, other, "+")
        self._check_same(other, "sum")
        return self._of_nodes(self.tree, sum_of_nodes(self.tree, self.nodes, other.nodes))

    def __radd__(self, other: Any) -> Self:
        # sum([x, y]) begins with the number 0.
        if isinstance(other, (int, float)) and other == 0:
            return self
        raise _unlike(self, other, "+")

    def __sub__(self, other: Any) -> Self:
        if not isinstance(other, TreeArithmetic):
            raise _unlike(self, other, "-")
        return self + -other

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
        if isinstance(other, (Factorization, list, tuple, str)) or len(getattr(other, "shape", ())):
            raise _unlike(self, other, "*")
        root = self.tree.root
        return self._of_nodes(self.tree, {**self.nodes, root: self.nodes[root] * other})

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Self:
        return NotImplemented if isinstance(number, Factorization) else self * (1 / number)

    def _check_same(self, other: TreeCore, what: str) -> None:
        what = f"{what} of a {type(self).__name__} and a {type(other).__name__}"
        if self.shape != other.shape:
            raise ValueError(f"{what} of shapes {listed(self.shape)} and {listed(other.shape)}: needed equal shapes")
        if self.tree != other.tree:
            raise ValueError(
                f"{what} on {self.tree!r} and {other.tree!r}: needed equal trees; "
                "tnrank.HierarchicalTucker.from_factorization(x, tree) brings each onto one"
            )
        common_backend([self._values[0], other._values[0]], lambda: ("the first", "the second"))


def _unlike(x: TreeCore, other: Any, sign: str) -> TypeError:
    name = type(x).__name__
    if isinstance(other, Factorization):
        return TypeError(
            f"{name} {sign} {type(other).__name__}: needed two of one format; {name}.from_factorization(y) converts, "
            "tnrank.factorizations.sum_of([x, y]) keeps both"
        )
    what = type(other).__name__
    return TypeError(
        f"{name} {sign} {what}: needed another {name}; {name}.from_dense(array) makes one, and x.to_dense() an array"
    )
