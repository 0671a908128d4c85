"""The minimum cut of a tensor network between two groups of its modes bounds the rank of that matricization."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import log, prod
from typing import Any

import numpy as np

from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.linalg import check_modes
from tnrank.network import Network

_CAPACITY = 2**30


@dataclass(frozen=True)
class MinCut:
    """A cut of a network: the indices that it goes through, their sizes, and the product of the sizes."""

    labels: tuple[Any, ...]
    sizes: tuple[int, ...]

    @property
    def bound(self) -> int:
        """The rank of the matricization is at most this."""
        return prod(self.sizes)

    def __str__(self) -> str:
        through = ", ".join(f"{label!r} ({size})" for label, size in zip(self.labels, self.sizes, strict=True))
        return f"rank at most {self.bound}, by a cut through {through or 'nothing'}"


@explained
def min_cut(x: Factorization | Network, modes: Iterable[int], sizes: Mapping[Any, int] | None = None) -> MinCut:
    """The cut of least size that separates some modes of a network from all others, a hyperindex being cut once.

    For networks of trained or random arrays without shared weights the rank is equal to the bound almost everywhere,
    if all sizes are powers of one number; with shared weights the bound holds, and may not be reached. Capacities
    are rounded to about six digits: between cuts closer than that either may be found, and its bound holds exactly.

    Args:
        x: a factorization, or a network.
        modes: positions of its output indices on one side.
        sizes: the size of every index, for a network.

    Raises:
        TypeError: if ``x`` is neither a factorization nor a network.
        ValueError: if modes do not exist, are all modes or none, or a size is missing.

    Source: Levine, Yakira, Cohen & Shashua 2018, Thm. 1; Cui, Freedman, Sattath, Stong & Minton 2016 (powers).

    Example:
        >>> import tnrank
        >>> from tnrank.circuits import min_cut
        >>> x = tnrank.HierarchicalFactorization.random((4,) * 8, tnrank.DimensionTree.balanced(8), width=3, seed=0)
        >>> min_cut(x, (0, 1, 2, 3)).bound, min_cut(x, (0, 2, 4, 6)).bound, tnrank.separation_rank(x, (0, 2, 4, 6))
        (3, 81, 81)
    """
    network, known = _read(x, sizes)
    output = network.output
    inside = check_modes(modes, tuple(known[label] for label in output))
    source_labels = {output[mode] for mode in inside}
    labels = list(network.indices)
    number = {label: k for k, label in enumerate(labels)}
    tensors = list(network.tensors)
    # Each index is an edge between two vertices of its own; what it touches is joined to both without a limit.
    enter, leave, first = 2, 2 + len(labels), 2 + 2 * len(labels)
    scale = _CAPACITY / (1 + sum(log(known[label]) for label in labels))
    capacity = [max(1, int(scale * log(known[label]))) if known[label] > 1 else 0 for label in labels]
    unlimited = min(2**31 - 1, sum(capacity) + 1)
    rows, columns, limits = [], [], []

    def join(a: int, b: int, limit: int) -> None:
        rows.append(a)
        columns.append(b)
        limits.append(limit)

    for k, limit in enumerate(capacity):
        join(enter + k, leave + k, limit)
    for t, name in enumerate(tensors):
        for label in dict.fromkeys(network.tensors[name]):
            join(first + t, enter + number[label], unlimited)
            join(leave + number[label], first + t, unlimited)
    for label in output:
        if label in source_labels:
            join(0, enter + number[label], unlimited)
        else:
            join(leave + number[label], 1, unlimited)
    reached = _reached(rows, columns, limits, first + len(tensors))
    cut = [label for k, label in enumerate(labels) if reached[enter + k] and not reached[leave + k]]
    cut = [label for label in cut if known[label] > 1]
    return MinCut(tuple(cut), tuple(known[label] for label in cut))


def _read(x: Factorization | Network, sizes: Mapping[Any, int] | None) -> tuple[Network, dict[Any, int]]:
    if isinstance(x, Factorization):
        return x.network, x.network.sizes_of_shapes({name: a.shape for name, a in x.arrays.items()})
    if not isinstance(x, Network):
        fix = ": separation_report takes a Circuit" if type(x).__name__ == "Circuit" else ""
        raise TypeError(
            f"got {type(x).__name__}, needed a factorization, or a Network with the sizes of its indices{fix}"
        )
    missing = [label for label in x.indices if label not in (sizes or {})]
    if missing:
        raise ValueError(f"no size for the index {missing[0]!r}: give sizes={{label: size}} for every index")
    return x, {label: int((sizes or {})[label]) for label in x.indices}


def _reached(rows: list[int], columns: list[int], limits: list[int], count: int) -> Any:
    """Vertices that a maximum flow from vertex 0 to vertex 1 leaves within reach of vertex 0."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    graph = csr_array((np.array(limits, np.int32), (rows, columns)), shape=(count, count))
    left = graph - maximum_flow(graph, 0, 1).flow
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    reached = np.zeros(count, bool)
    reached[breadth_first_order(left, 0, return_predecessors=False)] = True
    return reached
