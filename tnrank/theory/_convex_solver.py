"""Minimal nuclear norm by cvxpy: a general solver, for comparison and for small problems."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from tnrank.theory._nuclear_norm import NuclearNormResult, certified, infeasible
from tnrank.theory._observed import Constraints, GivenEntries, GivenMeasurements

HostArray = np.ndarray[Any, Any]


def by_cvxpy(constraints: Constraints, psd: bool, rtol: float) -> NuclearNormResult:
    """The problem of ``douglas_rachford`` as a semidefinite program, with the certificate computed here.

    Source: Fazel 2002; Recht, Fazel & Parrilo 2010, *Guaranteed minimum-rank solutions of linear matrix equations*.
    """
    cvxpy = _cvxpy()
    if not constraints.least.any():
        return NuclearNormResult(constraints.least, 0.0, 0.0, 0.0, 0, "converged", "all observations are zero")
    size = float(np.linalg.norm(constraints.least, 2))
    W = cvxpy.Variable(constraints.least.shape, PSD=True) if psd else cvxpy.Variable(constraints.least.shape)
    equation = _equation(cvxpy, constraints, W, size)
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.trace(W) if psd else cvxpy.normNuc(W)), [equation])
    problem.solve(solver=cvxpy.CLARABEL)
    iterations = int(problem.solver_stats.num_iters or 0)
    if problem.status == cvxpy.INFEASIBLE:
        return infeasible(constraints.least, iterations)
    if W.value is None:
        raise RuntimeError(f"cvxpy found no solution, its status is {problem.status!r}; use the default solver")
    dual = -_dual(constraints, equation.dual_value)
    matrix = constraints.project(W.value * size)
    return certified(constraints, matrix, (dual + dual.T) / 2 if psd else dual, psd, rtol, iterations)


def _cvxpy() -> Any:
    try:
        return import_module("cvxpy")
    except ImportError as error:
        raise ImportError(
            "solver='cvxpy' needs cvxpy, which is not installed: pip install \"tnrank[convex]\""
        ) from error


def _equation(cvxpy: Any, constraints: Constraints, W: Any, size: float) -> Any:
    if isinstance(constraints, GivenEntries):
        return W[constraints.mask] == constraints.least[constraints.mask] / size
    assert isinstance(constraints, GivenMeasurements)
    return constraints.basis @ cvxpy.vec(W, order="C") == constraints.coordinates / size


def _dual(constraints: Constraints, multipliers: HostArray) -> HostArray:
    if isinstance(constraints, GivenEntries):
        dual = np.zeros(constraints.mask.shape)
        dual[constraints.mask] = multipliers
        return dual
    assert isinstance(constraints, GivenMeasurements)
    found: HostArray = (multipliers @ constraints.basis).reshape(constraints.shape)
    return found
