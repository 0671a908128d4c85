"""Minimal Schatten norm completion by iteratively reweighted least squares."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import host_svdvals
from tnrank.theory._anderson import AndersonMixing
from tnrank.theory._observed import GivenEntries

HostArray = np.ndarray[Any, Any]

_SHRINK = 0.3
_MEMORY = 15
_CHANGE = 0.1
"""Below p = 1 the smoothing shrinks once a step is this much smaller than it."""
_LAST_SMOOTHING = {"convex": 1e-8, "local": 1e-7}
"""Relative to the spectral norm of the zero fill. Weights are as badly conditioned as its power p - 2."""


@dataclass(frozen=True, eq=False)
class SchattenResult:
    """A completion of small Schatten norm.

    Attributes:
        matrix: ``(m, n)``, float64 on the host; it has the given entries.
        p: of the norm.
        objective: the Schatten p-norm of ``matrix``, a quasi-norm below p = 1.
        gap: ``objective`` minus the value of a feasible point of the dual problem, for p of at least 1; NaN below,
            where the problem is not convex.
        smoothing: the last epsilon: singular values far below it were not told from zero.
        change: the relative length of the last step.
        iterations: weighted least-squares problems solved.
        status: ``"converged"`` (a small gap; below p = 1 a small last step at the last epsilon) or ``"iterations"``.
        message: the status in words.
    """

    matrix: HostArray
    p: float
    objective: float
    gap: float
    smoothing: float
    change: float
    iterations: int
    status: str
    message: str

    def __repr__(self) -> str:
        m, n = self.matrix.shape
        return (
            f"SchattenResult({self.status}: {self.message}; {m} x {n}, p = {self.p:g}, objective {self.objective:.9g}, "
            f"smoothing {self.smoothing:.1e}, {self.iterations:,} iterations)"
        )


def reweighted(given: GivenEntries, p: float, rtol: float, max_iterations: int) -> SchattenResult:
    """Minimal Schatten p-norm among the matrices with the given entries; a stationary point below p = 1.

    Source: Mohan & Fazel 2012, *Iterative reweighted algorithms for matrix rank minimization*; Fornasier, Rauhut & Ward
    2011, *Low-rank matrix recovery via iteratively reweighted least squares minimization*.
    """
    size = float(np.linalg.norm(given.least, 2))
    if size == 0:
        message = "all observations are zero"
        return SchattenResult(given.least, p, 0.0, 0.0 if p >= 1 else math.nan, 0.0, 0.0, 0, "converged", message)
    turned = given.least.shape[1] > given.least.shape[0]
    # the weights stand on the shorter side
    mask, target = (given.mask.T, given.least.T) if turned else (given.mask, given.least)
    state = _Reweighting(mask, target / size, p, rtol)
    done = False
    while not done and state.iterations < max_iterations:
        done = state.advance()
    gap = state.gap * state.objective * size if p >= 1 else math.nan
    reached = f"relative gap {state.gap:.1e}" if p >= 1 else f"relative change {state.change:.1e}, a local solution"
    if not done:
        reached += f", asked for {rtol:.1e}"
    matrix = state.solution.T if turned else state.solution
    status = "converged" if done else "iterations"
    objective, smoothing = state.objective * size, state.smoothing * size
    return SchattenResult(matrix * size, p, objective, gap, smoothing, state.change, state.iterations, status, reached)


class _Reweighting:
    """One run on a problem of spectral norm 1, with at least as many rows as columns."""

    def __init__(self, mask: HostArray, target: HostArray, p: float, rtol: float) -> None:
        self.target, self.mask, self.p, self.rtol = target, mask, p, rtol
        self.observed = [np.flatnonzero(row) for row in mask]
        self.point = self.solution = target
        self.smoothing, self.iterations, self.bound = 1.0, 0, 0.0
        self.change = self.gap = math.inf
        self.last = _LAST_SMOOTHING["convex" if p >= 1 else "local"]
        self.mixing = AndersonMixing(_MEMORY)
        self.fallback: HostArray | None = None
        self.smoothed = math.inf

    @property
    def objective(self) -> float:
        """The norm of the solution."""
        return _schatten(self.solution, self.p)

    def advance(self) -> bool:
        """One weighted problem; whether that was the last."""
        values, Q = np.linalg.eigh(self.point.T @ self.point)
        squares = np.maximum(values, 0) + self.smoothing**2
        smoothed = float((squares ** (self.p / 2)).sum())
        if self.fallback is not None and smoothed > self.smoothed:
            # plain steps never raise the smoothed objective, so that the mixed one is taken back
            self._restart(self.fallback)
            return False
        self.iterations += 1
        self.solution, dual = self._solve((Q * squares ** (1 - self.p / 2)) @ Q.T)
        residual = self.solution - self.point
        self.change = float(np.linalg.norm(residual) / np.linalg.norm(self.solution))
        if self._is_solved(smoothed, dual):
            if self._is_done():
                return True
            if self.smoothing > self.last:
                self.smoothing = max(_SHRINK * self.smoothing, self.last)
                self._restart(self.solution)
                return False
        self.smoothed = smoothed
        self._step(residual)
        return False

    def _restart(self, point: HostArray) -> None:
        self.point, self.fallback, self.smoothed = point, None, math.inf
        self.mixing.forget()

    def _step(self, residual: HostArray) -> None:
        self.mixing.add(self.solution, residual)
        mixed = self.mixing.next()
        self.point, self.fallback = self.solution, None
        if mixed is not None:
            self.point, self.fallback = np.where(self.mask, self.target, mixed.reshape(self.point.shape)), self.solution

    def _solve(self, inverse_weights: HostArray) -> tuple[HostArray, HostArray]:
        """Each row x of least ``x W x^T`` with its given entries, and the multipliers of these."""
        found, dual = np.zeros_like(self.target), np.zeros_like(self.target)
        for row, columns in enumerate(self.observed):
            if len(columns):
                given = self.target[row, columns]
                multipliers = np.linalg.solve(inverse_weights[np.ix_(columns, columns)], given)
                dual[row, columns] = multipliers
                found[row] = inverse_weights[:, columns] @ multipliers
                found[row, columns] = given
        return found, dual

    def _is_solved(self, smoothed: float, dual: HostArray) -> bool:
        """Whether the problem at this smoothing is solved as well as the smoothing lets it matter."""
        if self.p < 1:
            return self.change < _CHANGE * self.smoothing
        norm = self.objective
        conjugate = self.p / (self.p - 1) if self.p > 1 else math.inf
        self.bound = max(self.bound, float((dual * self.target).sum()) / _schatten(dual, conjugate))
        self.gap = (norm - self.bound) / norm
        return bool(self.gap <= max(self.rtol, smoothed ** (1 / self.p) / norm - 1))

    def _is_done(self) -> bool:
        if self.p >= 1:
            return self.gap <= self.rtol
        return self.smoothing <= self.last and self.change <= self.rtol


def _schatten(W: HostArray, p: float) -> float:
    s = host_svdvals(W)
    top = float(s[0])
    return top if math.isinf(p) or top == 0 else top * float(((s / top) ** p).sum()) ** (1 / p)
