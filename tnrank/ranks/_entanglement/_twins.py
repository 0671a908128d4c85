"""Data that share something with given data and nothing else: what entanglement is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._check import generator

NDArray = np.ndarray[Any, Any]

SHUFFLED, INDEPENDENT, UNIFORM = TWINS = ("shuffled", "independent", "uniform")


def twin_of(X: NDArray, name: str, seed: int) -> NDArray:
    """A twin of the samples ``X``, shape ``(M, N)``.

    ``shuffled`` permutes the features, in all samples alike: the same values elsewhere; the report
    measures single features of it at the places of the natural ones. ``independent`` permutes each
    feature over the samples: the same distribution of each. ``uniform`` shares the shape alone, with values in [0, 1].
    """
    drawn = generator(seed, 1, TWINS.index(name))
    if name == SHUFFLED:
        return X[:, drawn.permutation(X.shape[1])]
    return np.asarray(drawn.permuted(X, axis=0) if name == INDEPENDENT else drawn.random(X.shape))
