"""Minimal nuclear norm on an affine set: Douglas-Rachford splitting that stops by a duality gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import host_svd
from tnrank.theory._anderson import AndersonMixing
from tnrank.theory._observed import Constraints

HostArray = np.ndarray[Any, Any]

_STEP = 0.1
"""The proximal step, relative to the spectral norm of the least-norm solution: measured, good within a factor of 3."""
_MEMORY = 20
_CHECK_EVERY = 10
_UNBOUNDED = 1e8
"""A dual value this many times the norm of the least-norm solution counts as proof that no psd solution exists."""
_NOISE = 1e-9
"""Dual values below this share of what they could be are taken for rounding, and give the bound 0."""


@dataclass(frozen=True, eq=False)
class NuclearNormResult:
    """A matrix of minimal nuclear norm, with its certificate.

    Attributes:
        matrix: ``(m, n)``, float64 on the host; it meets the observations to rounding.
        objective: its nuclear norm; its trace when positive semidefinite matrices were asked for.
        gap: ``objective`` minus the value of a feasible point of the dual problem: no solution is smaller than
            ``objective - gap``. Infinite where there is no solution.
        residual: minus the least eigenvalue of ``matrix`` where that is negative, for positive semidefinite problems.
        iterations: of the solver.
        status: ``"converged"``, ``"iterations"`` (ended before that: the budget was used up, or cvxpy is less exact) or
            ``"infeasible"`` (no positive semidefinite matrix meets the observations).
        message: the status in words.
    """

    matrix: HostArray
    objective: float
    gap: float
    residual: float
    iterations: int
    status: str
    message: str

    def __repr__(self) -> str:
        m, n = self.matrix.shape
        return (
            f"NuclearNormResult({self.status}: {self.message}; {m} x {n}, objective {self.objective:.9g}, "
            f"gap {self.gap:.1e}, {self.iterations:,} iterations)"
        )


def douglas_rachford(constraints: Constraints, psd: bool, rtol: float, max_iterations: int) -> NuclearNormResult:
    """Minimal nuclear norm, or trace over positive semidefinite matrices, among the matrices of ``constraints``.

    Source: Eckstein & Bertsekas 1992; Fu, Zhang & Boyd 2020, *Anderson accelerated Douglas-Rachford splitting* (here a
    mixed step is taken back when it lengthens the residual).
    """
    size = float(np.linalg.norm(constraints.least, 2))
    if size == 0:
        return NuclearNormResult(constraints.least, 0.0, 0.0, 0.0, 0, "converged", "all observations are zero")
    step = _STEP * size
    shrink = _shrink_eigenvalues if psd else _shrink_singular_values
    point = constraints.least
    mixing = AndersonMixing(_MEMORY)
    fallback, allowed = None, np.inf
    for iteration in range(1, max_iterations + 1):
        low = shrink(point, step)
        feasible = constraints.project(2 * low - point)
        residual = feasible - low
        length = float(np.linalg.norm(residual))
        if iteration % _CHECK_EVERY == 1 or iteration == max_iterations:
            found = certified(constraints, feasible, (point - low) / step, psd, rtol, iteration)
            if found.status == "converged":
                return found
            if psd and _dual_value(constraints.span(residual), feasible, psd=True) > _UNBOUNDED * size:
                return infeasible(feasible, iteration)
        if fallback is not None and length > allowed:
            # plain steps never lengthen the residual
            point, fallback = fallback, None
            mixing.forget()
            continue
        mixing.add(point + residual, residual)
        mixed = mixing.next()
        if mixed is None:
            point, fallback = point + residual, None
        else:
            point, fallback, allowed = mixed.reshape(residual.shape), point + residual, length
    return found


def certified(
    constraints: Constraints, matrix: HostArray, dual: HostArray, psd: bool, rtol: float, iterations: int
) -> NuclearNormResult:
    """``matrix``, which meets the constraints, beside the bound that the dual variable ``dual`` gives."""
    objective = float(np.trace(matrix)) if psd else float(np.linalg.norm(matrix, "nuc"))
    gap = objective - _dual_value(constraints.span(dual), matrix, psd)
    residual = max(0.0, -float(np.linalg.eigvalsh(matrix)[0])) if psd else 0.0
    done = abs(gap) <= rtol * abs(objective) and residual <= rtol * float(np.linalg.norm(matrix, 2))
    message = f"relative gap {abs(gap) / max(abs(objective), np.finfo(float).tiny):.1e}"
    if residual:
        message += f", least eigenvalue {-residual:.1e}"
    if not done:
        message += f", asked for {rtol:.1e}"
    status = "converged" if done else "iterations"
    return NuclearNormResult(matrix, objective, gap, residual, iterations, status, message)


def infeasible(matrix: HostArray, iterations: int) -> NuclearNormResult:
    """No positive semidefinite matrix meets the constraints."""
    message = "no positive semidefinite matrix meets the observations"
    least = max(0.0, -float(np.linalg.eigvalsh(matrix)[0]))
    trace = float(np.trace(matrix))
    return NuclearNormResult(matrix, trace, float("inf"), least, iterations, "infeasible", message)


def _shrink_singular_values(W: HostArray, step: float) -> HostArray:
    U, s, Vh = host_svd(W)
    kept: HostArray = (U * np.maximum(s - step, 0)) @ Vh
    return kept


def _shrink_eigenvalues(W: HostArray, step: float) -> HostArray:
    values, Q = np.linalg.eigh((W + W.T) / 2)
    kept: HostArray = (Q * np.maximum(values - step, 0)) @ Q.T
    return kept


def _dual_value(dual: HostArray, matrix: HostArray, psd: bool) -> float:
    """The lower bound that ``dual`` gives, scaled until it is just feasible.

    ``<dual, W>`` is the same for all W that meet the constraints, as ``dual`` is in the span of the measurements.
    """
    largest = float(np.linalg.eigvalsh(dual)[-1] if psd else np.linalg.norm(dual, 2))
    value = float((dual * matrix).sum())
    if value <= _NOISE * float(np.linalg.norm(dual)) * float(np.linalg.norm(matrix)):
        return 0.0
    return value / largest if largest > 0 else float("inf")
