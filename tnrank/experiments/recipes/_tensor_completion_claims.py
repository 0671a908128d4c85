"""The CP rank that completion experiments report: the fewest components found to fit a tensor closely enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._check import generator
from tnrank.factorizations._cp_fit import _starts
from tnrank.factorizations._cp_fit._als import HostArray, als

_SWEEPS, _ROUNDS = 50, 6
_SLOW = 1e-4
"""A start is given up when a sweep lowers its error by less than this share."""


def fewest_components(tensor: Any, tolerance: float = 1e-6, seed: int = 0) -> int:
    """The fewest components of a CP fit by alternating least squares whose mean squared entry error is small enough.

    It counts up from the least that the singular values of the matricizations allow; each fit begins where the last
    one ended, with one more component for what that left, and then at random. So nothing is assumed about fits of
    other ranks, and the result is an upper bound that a longer search may lower.

    Args:
        tensor: ``(d_1, .., d_N)``, N >= 3, finite.
        tolerance: of the mean squared error, absolute.
        seed: of the random starts.

    Returns:
        0 for a tensor whose own mean square is below the tolerance.

    Source: Razin & Cohen 2020, App. (the measure of tensor rank).
    """
    dense = np.asarray(tensor, np.float64)
    norm = float(np.linalg.norm(dense))
    allowed = np.sqrt(tolerance * dense.size)
    if norm < allowed:
        return 0
    unit, target = dense / norm, float(allowed / norm)
    rng = generator(seed)
    most = int(dense.size // max(dense.shape))
    rank = min(most, max(1, int(np.argmax(_starts.error_floors(unit) <= target))))
    factors = _starts.singular_vectors(rng, unit, rank)
    # Any tensor is a sum of that many of its fibers.
    while rank < most:
        factors, error = _fit(unit, factors, target)
        if error <= target or _fit(unit, _starts.random(rng, unit, rank), target)[1] <= target:
            break
        rank += 1
        factors = _starts.extended(rng, unit, factors, rank)
    return rank


def _fit(tensor: HostArray, factors: list[HostArray], target: float) -> tuple[list[HostArray], float]:
    """Sweeps until the error is below the target, or falls no more."""
    error = np.inf
    for _ in range(_ROUNDS):
        before = error
        factors, error = als(tensor, factors, _SWEEPS, _SLOW)
        if error <= target or error > (1 - _SLOW) * before:
            break
    return factors, error
