"""A tensor train operator on dense vectors: the network, and an order of contraction that works through the cores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import Any

from tnrank._backend import traced_as_constant
from tnrank._typing import Array, Label
from tnrank.factorizations._network_factorization import NetworkFactorization
from tnrank.factorizations._whole import is_whole
from tnrank.network import Network, contract

Path = tuple[tuple[int, int], ...]
_MOVED = 32.0
"""Multiplications that take as long as to read or write one element of a permuted array; measured at 2^20 columns."""
_LONGEST = 12
"""The most cores that are merged before they meet the vector."""


@traced_as_constant
def keep_network(network: Network, kind: str) -> str:
    """Make the network of an operator on a vector (``"applied"``) or of its trace, keep it as an attribute of
    ``network``, and return the name of that.

    Compilers that trace Python read attributes, and cannot take an object that comes out of a search.
    """
    name = f"operator {kind}"
    if name not in network.__dict__:
        network.__dict__[name] = _applied(network) if kind == "applied" else _traced(network)
    return name


def _applied(network: Network) -> Network:
    columns = tuple(label for label in network.output if str(label).startswith("i"))
    rows = tuple(label for label in network.output if str(label).startswith("o"))
    return Network({**network.tensors, "operand": (*columns, "batch")}, (*rows, "batch"))


def _traced(network: Network) -> Network:
    def row(label: Label) -> Label:
        text = str(label)
        return f"o{text[1:]}" if text.startswith("i") else label

    return Network({name: tuple(map(row, labels)) for name, labels in network.tensors.items()}, ())


def evaluated(network: Network, values: Sequence[Array], dtype: str, path: Path | None = None) -> Array:
    """The contraction of arrays of one dtype; of integers the exact result, or an error."""
    if is_whole(dtype):
        return NetworkFactorization(network, values).to_dense()
    arrays: dict[str, Any] = dict(zip(network.tensors, values, strict=True))
    return contract(network, arrays, optimize="auto" if path is None else path)


@traced_as_constant
def order(rows: tuple[int, ...], columns: tuple[int, ...], ranks: tuple[int, ...], batch: int) -> Path:
    """The path, in opt_einsum's form, that contracts the cores with an operand, which comes last.

    Neighboring cores are merged into blocks, and the blocks applied from the first to the last. The blocks are the
    cheapest, by multiplications and moved elements; all cores together, which are the matrix, are none.
    """
    return _order(rows, columns, ranks, batch)


@lru_cache(maxsize=256)
def _order(rows: tuple[int, ...], columns: tuple[int, ...], ranks: tuple[int, ...], batch: int) -> Path:
    count = len(rows)
    left, operand, made = list(range(count + 1)), count, count + 1
    path = []

    def step(first: int, second: int) -> int:
        nonlocal made
        path.append((left.index(first), left.index(second)))
        left.remove(first)
        left.remove(second)
        left.append(made)
        made += 1
        return made - 1

    for start, end in _blocks(rows, columns, ranks, batch):
        block = start
        for core in range(start + 1, end):
            block = step(block, core)
        operand = step(block, operand)
    return tuple(path)


def _blocks(
    rows: Sequence[int], columns: Sequence[int], ranks: Sequence[int], batch: int
) -> tuple[tuple[int, int], ...]:
    """The cheapest division of the cores into neighbors, each from ``start`` to before ``end``; ``ranks`` are d + 1."""
    count = len(rows)
    before, after = [float(batch)], [1.0]
    for size in rows:
        before.append(before[-1] * size)
    for size in reversed(columns):
        after.append(after[-1] * size)
    least: list[tuple[float, tuple[tuple[int, int], ...]]] = [(0.0, ())]
    for end in range(1, count + 1):
        best: tuple[float, tuple[tuple[int, int], ...]] = (inf, ())
        merging = 0.0
        for start in range(end - 1, max(-1, end - 1 - _LONGEST), -1):
            m, n = _product(rows[start:end]), _product(columns[start:end])
            elements = ranks[start] * m * n * ranks[end]
            # What is merged grows at its left end here, which costs the same for equal cores.
            merging += elements * ranks[start + 1] if start < end - 1 else 0.0
            if start == 0 and end == count > 1:
                continue
            others = before[start] * after[count - end]
            moved = others * (ranks[start] * n + m * ranks[end]) + elements
            work = least[start][0] + merging + others * elements + _MOVED * moved
            if work < best[0]:
                best = work, (*least[start][1], (start, end))
        least.append(best)
    return least[count][1]


def _product(sizes: Sequence[int]) -> float:
    found = 1.0
    for size in sizes:
        found *= size
    return found
