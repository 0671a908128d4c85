"""Starts of the norms-to-infinity recipe: layers of a scale and a sign of the determinant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._check import generator as make_generator
from tnrank.factorizations._matrix import split_evenly

HostArray = np.ndarray[Any, Any]


def layer_std(end_std: float, size: int, depth: int) -> float:
    """Standard deviation of the entries of layers whose product has entries of ``end_std``."""
    return float((end_std / size ** ((depth - 1) / 2)) ** (1 / depth))


def random_layers(size: int, depth: int, end_std: float, key: Sequence[int], sign: int = 1) -> list[HostArray]:
    """Gaussian layers, drawn until the determinant of their product has the sign."""
    generator = np.random.default_rng(list(key))
    while True:
        layers = generator.standard_normal((depth, size, size))
        if sign * np.prod(np.linalg.det(layers)) > 0:
            return list(layer_std(end_std, size, depth) * layers)


def end_matrix(size: int, std: float, seed: int, sign: int = 1) -> HostArray:
    """A Gaussian matrix, drawn until its determinant has the sign."""
    generator = make_generator(seed)
    while True:
        found = generator.standard_normal((size, size))
        if sign * np.linalg.det(found) > 0:
            return np.asarray(std * found)


def balanced_layers(end: HostArray, depth: int) -> list[HostArray]:
    """``U S^(1/L), S^(1/L), .., S^(1/L) V^T``; the sign of the determinant is that of ``end``."""
    return split_evenly(end, [len(end)] * (depth + 1))
