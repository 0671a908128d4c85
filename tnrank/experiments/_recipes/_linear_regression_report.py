"""The linear-regression recipe's numbers: trained weights beside closed forms, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.plots import Descent, Probe, linear_regression
from tnrank.theory import minimum_l2, ridge_path
from tnrank.training import CompletionResult

HostArray = np.ndarray[Any, Any]

_GROWTH = 1e-6
"""How well a probe's factor a step agrees with ``|1 - rate lambda_max|``: other directions have died out by then."""


@dataclass(frozen=True, eq=False)
class Problem:
    """``A`` (n, d), ``y`` (n,), the true weights and the start that is not zero, both (d,)."""

    A: HostArray
    y: HostArray
    truth: HostArray
    start: HostArray

    @property
    def curvatures(self) -> HostArray:
        """The nonzero eigenvalues of A^T A, descending."""
        values: HostArray = np.linalg.svd(self.A, compute_uv=False) ** 2
        return values

    def projection(self, start: HostArray) -> HostArray:
        """The solution nearest to ``start``."""
        nearest: HostArray = start + minimum_l2(self.A, self.y - self.A @ start)
        return nearest

    def descent(self, start: HostArray, rate: float, steps: HostArray) -> HostArray:
        """Gradient descent in closed form, ``(K, d)``: each singular direction shrinks on its own."""
        _, s, Vh = np.linalg.svd(self.A, full_matrices=False)
        limit = self.projection(start)
        left = (1 - rate * s**2) ** np.asarray(steps)[:, None]
        path: HostArray = limit + (left * (Vh @ (start - limit))) @ Vh
        return path


def spread_steps(steps: int, count: int) -> list[int]:
    """About ``count`` recorded steps, as dense at the start on a logarithmic axis as at the end, and 0."""
    return [0, *sorted({round(step) for step in np.geomspace(1, steps, count)})]


def path_bounds(step: float) -> tuple[float, float]:
    """How far descent at time t is from ridge regression at penalty 1 / t, for ``step = rate lambda_max`` below 1.

    Returns:
        The gap of the weights over the norm of the solution, and the ratio of the weights' norms (at least 1). In the
        limit of gradient flow, 0.2036 and 1.2985.

    In a direction of curvature s descent has gone ``1 - (1 - rate s)^k`` of the way and ridge ``x / (1 + x)``,
    ``x = k rate s``; and ``(1 - u)^(1 / u)`` falls with u, so that ``u = step`` is the worst.
    """
    if not 0 < step < 1:
        return 0.0, 1.0
    x = np.geomspace(1e-6, 1e3, 100_001)
    left = (1 - step) ** (x / step)
    return float((1 / (1 + x) - left).max()), float(((1 - left) * (1 + x) / x).max())


@dataclass(frozen=True, eq=False)
class Paths:
    """Descent from zero beside ridge regression at the penalties 1 / time."""

    times: HostArray
    descent: HostArray
    ridge: HostArray
    solution: HostArray

    @property
    def gaps(self) -> HostArray:
        """Their distances over the norm of the solution."""
        found: HostArray = _norms(self.descent - self.ridge) / np.linalg.norm(self.solution)
        return found

    @property
    def ratios(self) -> HostArray:
        """The norms of descent over those of ridge regression."""
        found: HostArray = _norms(self.descent) / _norms(self.ridge)
        return found


def outcome(
    problem: Problem,
    rate: float,
    descents: Sequence[CompletionResult],
    shares: Sequence[float],
    probes: Sequence[CompletionResult],
) -> Outcome:
    """Figure, tables, checks and summary; descents from zero and from ``problem.start``, probes of stability."""
    zero, moved = (_history(result) for result in descents)
    solution, projection = problem.projection(0 * problem.start), problem.projection(problem.start)
    exact = problem.descent(0 * problem.start, rate, zero[0])
    scale = float(np.linalg.norm(solution))
    curvatures = problem.curvatures
    # A gradient is known to eps relative to A's norms, which the flattest direction magnifies.
    rounding = 10 * float(np.finfo(descents[0].factorization.dtype).eps) * curvatures[0] / curvatures[-1]
    to_solution, to_projection = _norms(zero[1] - solution) / scale, _norms(moved[1] - projection) / scale
    away = float(np.linalg.norm(moved[1][-1] - solution)) / scale
    started = zero[0] > 0
    times = rate * zero[0][started]
    paths = Paths(times, zero[1][started], ridge_path(problem.A, problem.y, 1 / times), solution)
    gap, ratio = path_bounds(rate * curvatures[0])
    factors = [_factor(probe) for probe in probes]
    summary = {
        "stability_limit": 2 / curvatures[0],
        "learning_rate": rate,
        "condition": curvatures[0] / curvatures[-1],
        "rounding": rounding,
        "from_zero": {"distance_to_least_l2": to_solution[-1], "from_closed_form": _farthest(zero[1], exact) / scale},
        "from_a_random_start": {"distance_to_projection": to_projection[-1], "distance_to_least_l2": away},
        "ridge": {
            "largest_gap": paths.gaps.max(),
            "gap_bound": gap,
            "norm_ratios": [paths.ratios.min(), paths.ratios.max()],
            "ratio_bound": ratio,
            **_errors(problem, paths),
        },
        "probes": {f"{share:g}": factor for share, factor in zip(shares, factors, strict=True)},
    }
    drawn = [
        Descent("from zero, to the least l2 norm", zero[0], to_solution),
        Descent("random start, to its projection", moved[0], to_projection),
        Descent("random start, to the least l2 norm", moved[0], _norms(moved[1] - solution) / scale),
    ]
    shown = [Probe(share, *_losses(probe)) for share, probe in zip(shares, probes, strict=True)]
    figure = linear_regression(drawn, times, _norms(paths.descent), _norms(paths.ridge), paths.gaps, gap, shown)
    tables = [_solutions(summary), _paths_table(summary)]
    return Outcome(summary, tables, _checks(summary, shares, problem), figure)


def _checks(found: dict[str, Any], shares: Sequence[float], problem: Problem) -> list[Check]:
    small, ridge = found["rounding"], found["ridge"]
    zero, moved = found["from_zero"], found["from_a_random_start"]
    comparable = found["learning_rate"] * problem.curvatures[0] < 1
    low, high = ridge["norm_ratios"]
    expected = [abs(1 - 2 * share) for share in shares]
    factors = list(found["probes"].values())
    return [
        Check(
            f"from zero, the distance to the solution of least l2 norm falls to rounding ({small:.0e})",
            f"{zero['distance_to_least_l2']:.1e} of its norm",
            bool(zero["distance_to_least_l2"] <= small),
        ),
        Check(
            "from a random start, descent finds the start's projection on the solutions, not the least norm",
            f"{moved['distance_to_projection']:.1e} from the projection, {moved['distance_to_least_l2']:.2f} from the "
            "least norm",
            bool(moved["distance_to_projection"] <= small < 1e-3 * moved["distance_to_least_l2"]),
        ),
        Check(
            "descent follows its closed form at every recorded step",
            f"within {zero['from_closed_form']:.1e}",
            bool(zero["from_closed_form"] <= small),
        ),
        Check(
            f"descent at time t is within {ridge['gap_bound']:.3f} of ridge regression at penalty 1 / t, relative to "
            f"the solution, and at most {ridge['ratio_bound']:.3f} times as long, never shorter",
            f"gap {ridge['largest_gap']:.3f}, ratio {low:.3f} to {high:.3f}"
            if comparable
            else "the learning rate is too large to compare: below 1 / lambda_max it can be",
            bool(
                comparable and ridge["largest_gap"] <= ridge["gap_bound"] and 1 <= low <= high <= ridge["ratio_bound"]
            ),
        ),
        Check(
            "the residual shrinks just below the stability limit and grows just past it, by |1 - rate lambda_max| a "
            "step",
            "  ".join(f"{share:g}: {factor:.6f}" for share, factor in zip(shares, factors, strict=True)),
            all(abs(a - b) <= _GROWTH for a, b in zip(factors, expected, strict=True)),
        ),
    ]


def _solutions(found: dict[str, Any]) -> Table:
    zero, moved = found["from_zero"], found["from_a_random_start"]
    rows = [
        ("zero", f"{zero['distance_to_least_l2']:.1e}", f"{zero['distance_to_least_l2']:.1e}"),
        ("random", f"{moved['distance_to_projection']:.1e}", f"{moved['distance_to_least_l2']:.3g}"),
    ]
    note = (
        f"Distances relative to the least norm. Stability limit 2 / lambda_max = {found['stability_limit']:.6g}, "
        f"learning rate {found['learning_rate']:g}."
    )
    return Table("Where descent ends", ("start", "to the start's projection", "to the least l2 norm"), rows, note)


def _paths_table(found: dict[str, Any]) -> Table:
    ridge = found["ridge"]
    low, high = ridge["norm_ratios"]
    rows = [
        ("largest gap over the solution's norm", f"{ridge['largest_gap']:.4f}", f"{ridge['gap_bound']:.4f}"),
        ("largest ratio of norms", f"{high:.4f}", f"{ridge['ratio_bound']:.4f}"),
        ("smallest ratio of norms", f"{low:.4f}", "1"),
        ("least error on the way: descent", f"{ridge['descent_error']:.4f}", ""),
        ("least error on the way: ridge", f"{ridge['ridge_error']:.4f}", ""),
        ("error of the least-norm solution", f"{ridge['solution_error']:.4f}", ""),
    ]
    note = "Errors are distances to the true weights, relative to their norm."
    return Table("Descent at time t beside ridge regression at penalty 1 / t", ("", "measured", "bound"), rows, note)


def _errors(problem: Problem, paths: Paths) -> dict[str, float]:
    size = np.linalg.norm(problem.truth)
    return {
        "descent_error": float(_norms(paths.descent - problem.truth).min() / size),
        "ridge_error": float(_norms(paths.ridge - problem.truth).min() / size),
        "solution_error": float(np.linalg.norm(paths.solution - problem.truth) / size),
    }


def _factor(probe: CompletionResult) -> float:
    """By how much the residual changed a step, in the last recorded stretch."""
    steps, losses = _losses(probe)
    if len(steps) < 2 or not losses[-1] > 0 or not losses[-2] > 0:
        return float("nan")
    return float((losses[-1] / losses[-2]) ** (0.5 / (steps[-1] - steps[-2])))


def _losses(result: CompletionResult) -> tuple[HostArray, HostArray]:
    trace = result.history["loss"]
    return trace.steps, np.asarray(trace.values, np.float64)


def _history(result: CompletionResult) -> tuple[HostArray, HostArray]:
    trace = result.history["weights"]
    return trace.steps, np.asarray(trace.values, np.float64)


def _norms(rows: HostArray) -> HostArray:
    found: HostArray = np.linalg.norm(rows, axis=1)
    return found


def _farthest(a: HostArray, b: HostArray) -> float:
    return float(_norms(a - b).max())
