"""Sums and products of tensors in a tree format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from tnrank._backend import common_backend
from tnrank._typing import Array
from tnrank.factorizations._arrays import is_number, is_zero, scaled
from tnrank.factorizations._base import Factorization
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
        mine, theirs = self._matched(other)
        made: Self = mine._sum_with(theirs)
        return made

    def _matched(self, other: TreeCore) -> tuple[Any, Any]:
        """Both in their common dtype; integers in two formats as floating-point numbers, because one is converted."""
        if type(self) is not type(other):
            return self._measurable()._with_dtype_of(other._measurable())
        return self._with_dtype_of(other)

    def _sum_with(self, other: TreeCore) -> Self:
        return self._of_nodes(self.tree, sum_of_nodes(self.tree, self.nodes, other.nodes))

    def _product_with(self, other: TreeCore) -> Self:
        return self._of_nodes(self.tree, entrywise_product(self.tree, self.nodes, other.nodes))

    def __radd__(self, other: Any) -> Self:
        # sum([x, y]) begins with the number 0.
        if isinstance(other, (int, float)) and other == 0:
            return self
        raise _unlike(self, other, "+")

    def __sub__(self, other: Any) -> Self:
        if not isinstance(other, TreeArithmetic):
            raise _unlike(self, other, "-")
        mine, theirs = self._with_dtype_of(other)
        difference: Self = mine + -theirs
        return difference

    def __neg__(self) -> Self:
        if self.dtype == "bool":
            raise TypeError(f"a {type(self).__name__} of boolean arrays has no negative: x.to(dtype='float64') has")
        return self * -1

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
            mine, theirs = self._matched(other)
            made: Self = mine._product_with(theirs)
            return made
        if not is_number(other):
            raise _unlike(self, other, "*")
        return self._at_root(lambda root: scaled(root, other))

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Self:
        """The tensor over a number; integers become floating-point numbers, as those of arrays do.

        Raises:
            ZeroDivisionError: if the number is zero.
        """
        if not is_number(number):
            raise _unlike(self, number, "/")
        if is_zero(number):
            raise ZeroDivisionError(
                f"a {type(self).__name__} over 0 has no finite entries: needed a number other than 0"
            )
        return self._at_root(lambda root: root / number)

    def _at_root(self, change: Callable[[Array], Array]) -> Self:
        """The root's array changed, and all arrays in the dtype that it has then."""
        root = self.tree.root
        made = change(self.nodes[root])
        x = self if made.dtype == self._values[0].dtype else self._converted(made.dtype)
        return self._of_nodes(self.tree, {**x.nodes, root: made})

    def _check_same(self, other: TreeCore, what: str) -> None:
        what = f"{what} of a {type(self).__name__} and a {type(other).__name__}"
        if self.shape != other.shape:
            raise ValueError(f"{what} of shapes {_listed(self.shape)} and {_listed(other.shape)}: needed equal shapes")
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
    if sign == "/":
        return TypeError(f"{name} / {what}: needed a number; a reciprocal of each entry needs x.to_dense()")
    return TypeError(
        f"{name} {sign} {what}: needed another {name}; {name}.from_dense(array) makes one, and x.to_dense() an array"
    )


def _listed(shape: tuple[int, ...]) -> str:
    """A shape as text, shortened where it is long."""
    if len(shape) <= 8:
        return str(tuple(shape))
    return f"({', '.join(map(str, shape[:3]))}, .., {shape[-1]}) of order {len(shape)}"
