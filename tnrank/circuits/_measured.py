"""What a separation report is about: a network, the sizes of its indices, and the ranks of its tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import backend_of
from tnrank.circuits._circuit import Circuit
from tnrank.factorizations import Factorization
from tnrank.linalg import default_rtol, matricization_sides
from tnrank.network import Network, contract
from tnrank.ranks import separation_rank
from tnrank.ranks._input import DENSE_LIMIT, is_factorization, read_tree
from tnrank.ranks._routes import _choose

if TYPE_CHECKING:
    from tnrank._typing import Array


_DOUBLE = {"bfloat16": "float64", "float16": "float64", "float32": "float64", "complex64": "complex128"}


@dataclass(frozen=True)
class Source:
    """A network and the sizes of its indices; without arrays no rank can be measured."""

    given: str
    network: Network
    sizes: dict[Any, int]
    arrays: Mapping[str, Array] | None = None
    whole: Any = None
    """A factorization, a sum of some, or the array itself; ``None`` for a network, which is contracted."""
    tied: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(self.sizes[label] for label in self.network.output)

    @property
    def shared(self) -> bool:
        """Whether two tensors are one array."""
        arrays = list((self.arrays or {}).values())
        return self.tied or len({id(a) for a in arrays}) < len(arrays)

    def rank(self, modes: tuple[int, ...], rtol: float | None, limit: float | None) -> int | None:
        """The separation rank; ``None`` without arrays, over the limit, or if rounding is all that terms leave."""
        if self.arrays is None or (limit is not None and self._work(modes) > limit):
            return None
        if self.whole is not None:
            return separation_rank(self._exact, modes, rtol)
        dense, condition = self._dense
        if rtol is None:
            # Rounding adds up over all sums, and is relative to the terms, not to what is left of them.
            sums = sum(self.sizes.values()) + max(matricization_sides(self.shape, modes))
            dtype, backend = backend_of(dense).dtype_of(dense), backend_of(dense)
            whole = dtype.startswith(("int", "uint", "bool"))
            rtol = default_rtol((sums,), backend.default_dtype if whole else dtype) * condition
        return separation_rank(dense, modes, rtol) if rtol < 1 else None

    @cached_property
    def _exact(self) -> Any:
        """Weights in double precision: they are numbers, and ranks are not to depend on how they are stored."""
        if not isinstance(self.whole, Factorization):
            return self.whole
        double = _DOUBLE.get(self.whole.dtype)
        return self.whole if double is None else self.whole.to("numpy", double)

    def _work(self, modes: tuple[int, ...]) -> float:
        if is_factorization(self.whole):
            return _work_in_the_format(self.whole, modes)
        entries = prod(self.shape)
        return 4.0 * entries * min(matricization_sides(self.shape, modes)) if entries <= DENSE_LIMIT else float("inf")

    @cached_property
    def _dense(self) -> tuple[Array, float]:
        """The tensor of a network, and how much larger than it the terms are that cancel in it."""
        assert self.arrays is not None
        dense = contract(self.network, self.arrays)
        backend = backend_of(dense)
        # NumPy makes a scalar of the absolute value of an array of order 0.
        positive = {name: backend.xp.asarray(backend.xp.abs(a)) for name, a in self.arrays.items()}
        sizes = contract(self.network, positive)
        norm, whole = (float(np.linalg.norm(backend.to_numpy(a))) for a in (dense, sizes))
        return dense, max(1.0, whole / norm) if norm > 0 else 1.0


def _work_in_the_format(x: Any, modes: tuple[int, ...]) -> float:
    """Multiplications of the cheapest way that fits into memory."""
    shape = tuple(int(d) for d in x.shape)
    tree = read_tree(None, shape, getattr(x, "tree", None))
    routes = _choose._routes(x, shape, tree, [modes], "qr")
    return min((route.work for route in routes if route.largest <= DENSE_LIMIT), default=float("inf"))


def source_of(x: Any, weights: Any, sizes: Mapping[Any, int] | None) -> Source:
    """Read what :func:`tnrank.circuits.separation_report` was given.

    Raises:
        TypeError: if it is nothing that has separation ranks.
        ValueError: if weights are missing, superfluous or do not fit.
    """
    if isinstance(x, Circuit):
        return _of_circuit(x, weights)
    if isinstance(x, Network):
        return _of_network(x, weights, sizes)
    if weights is not None or sizes is not None:
        raise ValueError(f"weights and sizes belong to a Circuit or a Network, got a {type(x).__name__}")
    if isinstance(x, Factorization):
        return _of_factorization(x, f"a {type(x).__name__}")
    shape = getattr(x, "shape", None)
    if shape is None:
        known = "a factorization, a Circuit, a Network or an array"
        fix = ": give module.value()" if hasattr(x, "value") else ""
        raise TypeError(f"got {type(x).__name__}, needed {known}{fix}")
    labels = tuple(range(len(shape)))
    given = f"a {type(x).__name__}, bounds of its sides" if is_factorization(x) else "an array, bounds of its sides"
    sides = dict(zip(labels, map(int, shape), strict=True))
    return Source(given, Network({"tensor": labels}, labels), sides, {"tensor": x}, x)


def _of_factorization(x: Factorization, given: str) -> Source:
    arrays = x.arrays
    return Source(given, x.network, x.network.sizes_of_shapes({n: a.shape for n, a in arrays.items()}), arrays, x)


def _of_circuit(circuit: Circuit, weights: Sequence[Array] | None) -> Source:
    if weights is None:
        weights = [np.broadcast_to(np.zeros(()), shape) for shape in circuit.shapes]
        found = _of_factorization(circuit.to_factorization(weights), "a Circuit")
        tied = any(level.shared for level in circuit.levels)
        return Source("a Circuit", found.network, found.sizes, tied=tied)
    return _of_factorization(circuit.to_factorization(weights), "a Circuit")


def _of_network(network: Network, weights: Any, sizes: Mapping[Any, int] | None) -> Source:
    if weights is not None:
        return Source("a Network", network, dict(network.sizes(weights)), dict(weights))
    missing = [label for label in network.indices if label not in (sizes or {})]
    if missing:
        raise ValueError(
            f"no size for the index {missing[0]!r}: give sizes={{label: size}} for bounds, or weights={{name: array}} "
            "for ranks too"
        )
    return Source("a Network", network, {label: int((sizes or {})[label]) for label in network.indices})
