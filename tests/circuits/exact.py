"""Ranks of networks of random whole numbers modulo a prime: no rounding, and generic but for one in a billion."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

import tnrank

PRIME = 2**31 - 1


def exact_rank(network: tnrank.Network, arrays: dict[str, Any], modes: tuple[int, ...]) -> int:
    """The rank of a matricization of the contracted network, over the field of PRIME elements."""
    number = {label: k for k, label in enumerate(network.indices)}
    operands: list[Any] = []
    for name, labels in network.tensors.items():
        operands += [np.asarray(arrays[name]).astype(object), [number[label] for label in labels]]
    tensor = np.einsum(*operands, [number[label] for label in network.output]) % PRIME
    rest = [m for m in range(tensor.ndim) if m not in modes]
    rows = prod(tensor.shape[m] for m in modes)
    return _rank(tensor.transpose(*modes, *rest).reshape(rows, -1).astype(np.int64))


def whole_numbers(network: tnrank.Network, sizes: dict[Any, int], seed: int) -> dict[str, Any]:
    """A random array for each tensor."""
    rng = np.random.default_rng(seed)
    return {n: rng.integers(1, PRIME, [sizes[x] for x in labels]) for n, labels in network.tensors.items()}


def _rank(matrix: Any) -> int:
    """By elimination."""
    found = 0
    for column in range(matrix.shape[1]):
        below = np.flatnonzero(matrix[found:, column])
        if not below.size:
            continue
        matrix[[found, found + below[0]]] = matrix[[found + below[0], found]]
        matrix[found] = matrix[found] * pow(int(matrix[found, column]), -1, PRIME) % PRIME
        for row in range(found + 1, len(matrix)):
            matrix[row] = (matrix[row] - matrix[row, column] * matrix[found]) % PRIME
        found += 1
        if found == len(matrix):
            break
    return found
