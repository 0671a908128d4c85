"""Targets of low hierarchical rank whose components are equally important."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank.factorizations import HierarchicalFactorization

HostArray = np.ndarray[Any, Any]


def orthonormal_target(shape: tuple[int, ...], rank: int, generator: np.random.Generator) -> HostArray:
    """A tensor of mean square 1, of ``rank`` on the balanced tree: orthonormal factors, and 1 to 1/2 at the root."""

    def draw(matrix: Any) -> HostArray:
        if matrix.shape[1] == 1:
            return np.linspace(1.0, 0.5, len(matrix))[:, None]
        return np.asarray(np.linalg.qr(generator.standard_normal(matrix.shape))[0])

    x = HierarchicalFactorization.random(shape, width=rank, seed=0, dtype="float64")
    return unit(x.map(draw).to_dense())


def unit(tensor: Any) -> HostArray:
    """A tensor scaled to a mean square of 1."""
    found: HostArray = np.asarray(tensor, np.float64)
    scaled: HostArray = found / np.sqrt(np.mean(found**2))
    return scaled
