"""The one way from anything that has ranks to its spectra: dense, or in the format, by cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._scale import nonzero, norm, on_host, quiet
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.linalg import accuracy_floor, choose_method, default_rtol
from tnrank.ranks._input import is_factorization, read_factorization, read_tensor, read_tree
from tnrank.ranks._routes._choose import Found, Modes, from_dense, from_factorization

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array, Shape

_GRAM_MARGIN = 10.0
"""Of the default tolerance over the floor of Gram matrices: rounding was seen up to 3.5 times the floor."""


class Measured(NamedTuple):
    """What was given."""

    shape: Shape
    dtype: str
    given: str
    backend: Backend


class Measurement:
    """Singular values of the matricizations of one tensor at some groups of modes."""

    def __init__(self, of: Measured, tree: DimensionTree, rtol: float | None, found: Found, method: str) -> None:
        self.shape, self.dtype, self.given, self.backend = of
        self.tree, self.rtol, self.found, self.method = tree, rtol, found, method

    def values(self, modes: Modes) -> Array:
        """Descending, shape ``(n,)``, divided by ``exp(log_unit)`` and by the unit of what was found."""
        return self.found.values[modes]

    @cached_property
    def log_unit(self) -> Array | None:
        """The logarithm of what :meth:`values` are divided by, a scalar array; ``None`` is 0."""
        return None if self.found.log_unit is None else self.found.log_unit()

    def absolute(self, modes: Modes) -> Array:
        """Singular values, infinite where they leave the range of floating-point numbers."""
        s, log_unit, xp = self.values(modes), self.log_unit, self.backend.xp
        with quiet(self.backend):
            s = s if self.found.unit is None else s * self.found.unit
        if log_unit is None:
            return s
        with np.errstate(over="ignore", under="ignore"):
            unit = xp.exp(log_unit)
        host = on_host(unit, self.backend)
        if host is None or (0 < host < np.inf):
            return s * unit
        # An infinite unit times a zero value is a zero value.
        return xp.where(s == 0, s, xp.full_like(s, float(host)))

    def relative(self, modes: Modes) -> Array:
        """Singular values over the norm of the tensor; zeros for the zero tensor."""
        s = self.values(modes)
        if self.log_unit is not None:
            return s
        # The squares of large and of small values leave the range of numbers.
        s = s / nonzero(self.backend.stop_gradient(s[0]), self.backend)
        return s / nonzero(norm(s, self.backend), self.backend)

    @cached_property
    def log_norm(self) -> float:
        """The logarithm of the Frobenius norm, -inf for the zero tensor."""
        if self.log_unit is not None:
            return float(self.backend.to_numpy(self.log_unit))
        size, unit = self._size
        return math.log(size) + math.log(unit) if size > 0 else -math.inf

    @cached_property
    def norm(self) -> float:
        """The Frobenius norm: infinite, or 0 for a tensor that is not, where it leaves the range of numbers."""
        if self.log_unit is not None:
            with np.errstate(over="ignore", under="ignore"):
                return float(np.exp(np.float64(self.log_norm)))
        size, unit = self._size
        return size * unit

    @cached_property
    def _size(self) -> tuple[float, float]:
        """The norm of the values, and the unit that they are divided by."""
        s = np.asarray(self.backend.to_numpy(next(iter(self.found.values.values()))), np.float64)
        size = float(s[0]) * float(np.linalg.norm(s / s[0])) if s[0] > 0 else 0.0
        return size, 1.0 if self.found.unit is None else float(self.backend.to_numpy(self.found.unit))

    @cached_property
    def condition(self) -> float:
        """How much larger than the tensor the terms are that cancel in it, at least 1."""
        return self.found.condition()

    def tolerance(self, modes: Modes) -> float:
        """The relative tolerance of this matricization; from 1 on where all that is left of a sum is rounding."""
        if self.rtol is not None:
            return self.rtol
        rtol = self.found.tolerance(default_rtol((self.found.side(modes),), self.dtype)) * self.condition
        if self.method != "gram":
            return rtol
        return max(rtol, default_of_gram(self.dtype) * (self.condition if self.found.by_components else 1.0))

    def rank(self, modes: Modes) -> int:
        """The numerical rank."""
        s = self.backend.to_numpy(self.values(modes))
        if s[0] != s[0]:
            raise ValueError(
                f"the singular values of the {self.given} at the modes {modes} are no numbers: products of its arrays "
                f"leave the range of {self.dtype}; divide them by numbers of their size first, or use float64"
            )
        return int((s > self.tolerance(modes) * s[0]).sum())


def default_of_gram(dtype: str) -> float:
    """The least default tolerance of values from Gram matrices: what lies below it may be rounding."""
    # Short floats are measured in single precision.
    return _GRAM_MARGIN * accuracy_floor("gram", "float32" if dtype in ("float16", "bfloat16") else dtype)


def measured_nodes(tree: DimensionTree) -> tuple[Node, ...]:
    """All nodes but the root, each group of modes once: of a unary node and its child, the child."""
    found: dict[Modes, Node] = {}
    for node in tree.nodes:  # children before parents
        if len(node.modes) < tree.order:
            found.setdefault(node.modes, node)
    return tuple(found.values())


def measure(
    x: Any,
    tree: Any = None,
    method: str = "auto",
    rtol: float | None = None,
    groups: Callable[[Shape, DimensionTree], Iterable[Modes]] | None = None,
) -> Measurement:
    """Measure ``x`` at groups of modes: those of the nodes of the tree, or ``groups(shape, tree)``."""
    if not is_factorization(x):
        dense = read_tensor(x)
        shape = tuple(dense.array.shape)
        tree = read_tree(tree, shape, dense.tree)
        wanted = _wanted(shape, tree, groups)
        chosen = choose_method(method, rtol, dense.dtype)
        found = from_dense(dense, wanted, chosen)
        return Measurement(Measured(shape, dense.dtype, dense.given, dense.backend), tree, rtol, found, chosen)
    shape, dtype = tuple(int(size) for size in x.shape), str(x.dtype)
    dtype = x.backend.default_dtype if dtype.startswith(("int", "uint", "bool")) else dtype
    x = read_factorization(x, shape)
    tree = read_tree(tree, shape, getattr(x, "tree", None))
    wanted, chosen = _wanted(shape, tree, groups), choose_method(method, rtol, dtype)
    found = from_factorization(x, shape, tree, wanted, chosen)
    return Measurement(Measured(shape, dtype, type(x).__name__, x.backend), tree, rtol, found, chosen)


def _wanted(shape: Shape, tree: DimensionTree, groups: Any) -> tuple[Modes, ...]:
    return tuple(groups(shape, tree)) if groups else tuple(node.modes for node in measured_nodes(tree))
