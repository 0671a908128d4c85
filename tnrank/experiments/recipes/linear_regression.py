"""Gradient descent on underdetermined least squares: which solution it finds, and the ridge path beside it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from tnrank._backend import host_svd, host_svdvals
from tnrank._check import generator
from tnrank._memory import check_fits
from tnrank.experiments.fields import Count, NonNegative, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, Training, register
from tnrank.factorizations import MatrixFactorization
from tnrank.plots.painters import Figure, Line, lines, panels
from tnrank.theory import minimum_l2, ridge_path
from tnrank.training import CompletionResult, GradientDescent, RankOneMeasurements, SquaredLoss, recorders

_RECORDS = 120
_PROBES = (0.99, 1.01)  # learning rates of the probes of stability, as shares of the limit
# How well a probe's factor a step agrees with |1 - rate lambda_max|: other directions have died out by then.
_GROWTH = 1e-6


@register
@dataclass(frozen=True, kw_only=True)
class LinearRegression(Recipe):
    """Gradient descent on ``||A w - y||^2 / 2`` with fewer measurements than unknowns.

    The linear model is a matrix factorization of depth 1, ``(dimension, 1)``, with rank-one measurements.

    Attributes:
        measurements: rows of A.
        dimension: unknowns; more than there are measurements.
        noise: standard deviation of the noise in y, whose signal has about 1.
        start: standard deviation of the entries of the start that is not zero.
        learning_rate: of gradient descent; below the stability limit 2 / lambda_max(A^T A).
        steps: of the descents from zero and from the random start.
        probe_steps: of the two descents at 0.99 and 1.01 of the limit.

    A has N(0, 1 / dimension) entries, the true weights are N(0, 1). No published run stands behind the settings: the
    statements are exact, and measured against the closed forms.

    Source: Zhang et al. 2017, Sec. 5 (descent from zero finds the solution of least l2 norm); Ali, Kolter & Tibshirani
    2019 (early stopping and ridge regression; the comparison in the figure is their Fig. 1).
    """

    name: ClassVar[str] = "linear-regression"
    title: ClassVar[str] = "gradient descent from zero finds the least-squares solution of least l2 norm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {"measurements": 100, "dimension": 400}}
    draws: ClassVar[bool] = True

    dtype: str = "float64"
    measurements: Count = 20
    dimension: Count = 60
    noise: NonNegative = 0.5
    start: NonNegative = 1.0
    learning_rate: float = 0.1
    steps: Steps = 6_000
    probe_steps: Steps = 1_000

    def check(self) -> None:
        if self.measurements >= self.dimension:
            raise ValueError(
                f"got {self.measurements} measurements of {self.dimension} unknowns: needed fewer than unknowns, since "
                "the solution is unique otherwise"
            )
        check_fits(self.measurements * self.dimension, "the measurements", "fewer, or a smaller dimension")
        limit = self.stability_limit
        if not 0 < self.learning_rate < limit:
            raise ValueError(
                f"learning_rate={self.learning_rate:g} is not between 0 and the stability limit 2 / lambda_max(A^T A) "
                f"= {limit:.6g} of this problem, past which gradient descent diverges: give a smaller one"
            )

    @property
    def stability_limit(self) -> float:
        """``2 / lambda_max(A^T A)``: gradient descent converges below it and diverges past it."""
        return float(2 / np.linalg.norm(self.problem().A, 2) ** 2)

    def problem(self) -> Problem:
        """The measurements, drawn from the seed."""
        draw = generator(self.seed)
        A = draw.standard_normal((self.measurements, self.dimension)) / np.sqrt(self.dimension)
        truth = draw.standard_normal(self.dimension)
        y = A @ truth + self.noise * draw.standard_normal(self.measurements)
        return Problem(A, y, truth, self.start * draw.standard_normal(self.dimension))

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        problem, limit = self.problem(), self.stability_limit
        zero, probes = np.zeros(self.dimension), []
        starts = {"from_zero": zero, "from_start": problem.start}
        descents = yield self._training(problem, starts, self.learning_rate, self.steps)
        for share in _PROBES:
            probe, rate = {f"rate_{share:g}": zero}, share * limit
            probes += yield self._training(problem, probe, rate, self.probe_steps, save=False)
        return outcome(problem, self.learning_rate, descents, _PROBES, probes)

    def _training(
        self, problem: Problem, starts: Mapping[str, HostArray], rate: float, steps: int, save: bool = True
    ) -> Training:
        # About as dense at the start on a logarithmic axis as at the end, and 0.
        at = [0, *sorted({round(step) for step in np.geomspace(1, steps, _RECORDS)})]
        return Training(
            list(starts),
            [MatrixFactorization([w[:, None]]).to(self.backend, dtype=self.dtype) for w in starts.values()],
            RankOneMeasurements([problem.A, np.ones((len(problem.A), 1))]),
            problem.y,
            loss=SquaredLoss("half_sum"),
            optimizer=GradientDescent(rate),
            steps=steps,
            record=[recorders.Loss(at=at), recorders.Function("weights", lambda x: x.to_dense()[:, 0], at=at)],
            save=save,
        )


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
        return np.asarray(host_svdvals(self.A) ** 2)

    def projection(self, start: HostArray) -> HostArray:
        """The solution nearest to ``start``."""
        return np.asarray(start + minimum_l2(self.A, self.y - self.A @ start))

    def descent(self, start: HostArray, rate: float, steps: HostArray) -> HostArray:
        """Gradient descent in closed form, ``(K, d)``: each singular direction shrinks on its own."""
        _, s, Vh = host_svd(self.A)
        limit = self.projection(start)
        left = (1 - rate * s**2) ** np.asarray(steps)[:, None]
        return np.asarray(limit + (left * (Vh @ (start - limit))) @ Vh)


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


Results = Sequence[CompletionResult]


def outcome(problem: Problem, rate: float, descents: Results, shares: Sequence[float], probes: Results) -> Outcome:
    """Of descents from zero and from ``problem.start``, and of probes at shares of the stability limit."""
    (steps, zero), (moved_steps, moved) = (_recorded(result, "weights") for result in descents)
    solution, projection = problem.projection(0 * problem.start), problem.projection(problem.start)
    scale = float(np.linalg.norm(solution))
    curvatures, size = problem.curvatures, np.linalg.norm(problem.truth)
    condition = curvatures[0] / curvatures[-1]
    to_solution, to_projection = _norms(zero - solution) / scale, _norms(moved - projection) / scale
    away = _norms(moved - solution) / scale
    started = steps > 0
    times, descent = rate * steps[started], zero[started]
    ridge = ridge_path(problem.A, problem.y, 1 / times)
    gaps, ratios = _norms(descent - ridge) / scale, _norms(descent) / _norms(ridge)
    gap_bound, ratio_bound = path_bounds(rate * curvatures[0])
    losses = {f"{share:g}": _recorded(probe, "loss") for share, probe in zip(shares, probes, strict=True)}
    summary: dict[str, Any] = {
        "stability_limit": 2 / curvatures[0],
        "learning_rate": rate,
        "condition": condition,
        # A gradient is known to eps relative to A's norms, which the flattest direction magnifies.
        "rounding": 10 * float(np.finfo(descents[0].factorization.dtype).eps) * condition,
        "from_zero": {
            "distance_to_least_l2": to_solution[-1],
            "from_closed_form": float(_norms(zero - problem.descent(0 * problem.start, rate, steps)).max()) / scale,
        },
        "from_a_random_start": {"distance_to_projection": to_projection[-1], "distance_to_least_l2": float(away[-1])},
        "ridge": {
            "largest_gap": gaps.max(),
            "gap_bound": gap_bound,
            "norm_ratios": [ratios.min(), ratios.max()],
            "ratio_bound": ratio_bound,
            "descent_error": float(_norms(descent - problem.truth).min() / size),
            "ridge_error": float(_norms(ridge - problem.truth).min() / size),
            "solution_error": float(np.linalg.norm(solution - problem.truth) / size),
        },
        "probes": {share: _factor(*recorded) for share, recorded in losses.items()},
    }
    distances = [
        Line(steps, to_solution, "from zero, to the least l2 norm"),
        Line(moved_steps, to_projection, "random start, to its projection"),
        Line(moved_steps, away, "random start, to the least l2 norm"),
    ]
    length = _norms(descent)[-1] or 1.0
    paths = [
        Line(times, _norms(descent) / length, "norm, descent at time t"),
        Line(times, _norms(ridge) / length, "norm, ridge at 1 / t", style="--"),
        Line(times, gaps, "distance of the two"),
        Line(times, np.full(len(times), gap_bound), f"its bound, {gap_bound:.3f}", "quiet", ":", width=1.0),
    ]
    at_limit = [Line(k, loss / (loss[0] or 1.0), f"{share} of the limit") for share, (k, loss) in losses.items()]
    checks = _checks(summary, [abs(1 - 2 * share) for share in shares])
    return Outcome(summary, _tables(summary), checks, partial(_figure, distances, paths, at_limit))


def _recorded(result: CompletionResult, name: str) -> tuple[HostArray, HostArray]:
    trace = result.history[name]
    return trace.steps, np.asarray(trace.values, np.float64)


def _norms(rows: HostArray) -> HostArray:
    return np.asarray(np.linalg.norm(rows, axis=1))


def _factor(steps: HostArray, losses: HostArray) -> float:
    """By how much the residual changed a step, in the last recorded stretch."""
    if len(steps) < 2 or not losses[-1] > 0 or not losses[-2] > 0:
        return float("nan")
    return float((losses[-1] / losses[-2]) ** (0.5 / (steps[-1] - steps[-2])))


def _tables(found: Mapping[str, Any]) -> list[Table]:
    zero, moved, ridge = found["from_zero"], found["from_a_random_start"], found["ridge"]
    least = f"{zero['distance_to_least_l2']:.1e}"
    far = (f"{moved['distance_to_projection']:.1e}", f"{moved['distance_to_least_l2']:.3g}")
    ends = [("zero", least, least), ("random", *far)]
    limit = (
        f"Distances relative to the least norm. Stability limit 2 / lambda_max = {found['stability_limit']:.6g}, "
        f"learning rate {found['learning_rate']:g}."
    )
    low, high = ridge["norm_ratios"]
    paths = [
        ("largest gap over the solution's norm", f"{ridge['largest_gap']:.4f}", f"{ridge['gap_bound']:.4f}"),
        ("largest ratio of norms", f"{high:.4f}", f"{ridge['ratio_bound']:.4f}"),
        ("smallest ratio of norms", f"{low:.4f}", "1"),
        ("least error on the way: descent", f"{ridge['descent_error']:.4f}", ""),
        ("least error on the way: ridge", f"{ridge['ridge_error']:.4f}", ""),
        ("error of the least-norm solution", f"{ridge['solution_error']:.4f}", ""),
    ]
    truth = "Errors are distances to the true weights, relative to their norm."
    return [
        Table("Where descent ends", ("start", "to the start's projection", "to the least l2 norm"), ends, limit),
        Table("Descent at time t beside ridge regression at penalty 1 / t", ("", "measured", "bound"), paths, truth),
    ]


def _checks(found: Mapping[str, Any], expected: Sequence[float]) -> list[Check]:
    small, ridge = found["rounding"], found["ridge"]
    zero, moved = found["from_zero"], found["from_a_random_start"]
    comparable = 2 * found["learning_rate"] < found["stability_limit"]
    low, high = ridge["norm_ratios"]
    within = ridge["largest_gap"] <= ridge["gap_bound"] and 1 <= low <= high <= ridge["ratio_bound"]
    factors, told = found["probes"], f"gap {ridge['largest_gap']:.3f}, ratio {low:.3f} to {high:.3f}"
    if not comparable:
        told = "the learning rate is too large to compare: below 1 / lambda_max it can be"
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
            told,
            bool(comparable and within),
        ),
        Check(
            "the residual shrinks just below the stability limit and grows just past it, by |1 - rate lambda_max| a "
            "step",
            "  ".join(f"{share}: {factor:.6f}" for share, factor in factors.items()),
            all(abs(a - b) <= _GROWTH for a, b in zip(factors.values(), expected, strict=True)),
        ),
    ]


def _figure(distances: Sequence[Line], paths: Sequence[Line], probes: Sequence[Line]) -> Figure:
    """Distances to solutions, descent beside the ridge path, and descents close to the stability limit."""
    figure, ((first, second, third),) = panels(1, 3, 4.2, 3.5)
    lines(first, distances, "Distance to a solution", "steps", "distance / least norm", "y", "lower left")
    first.set_xscale("symlog", linthresh=1)
    x, y = "time t = rate x steps", "relative to the least norm"
    lines(second, paths, "Descent beside the ridge path", x, y, "x", "center right")
    second.set_ylim(0, 1.05)
    lines(third, probes, "Learning rates at the stability limit", "steps", "loss / initial loss", "y", "upper left")
    for panel in (first, third):
        panel.set_xlim(0, None)
    return figure
