"""Gradient descent on underdetermined least squares: which solution it finds, and the ridge path beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._check import generator
from tnrank._explained import explained
from tnrank._memory import check_fits
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _linear_regression_report as report
from tnrank.factorizations import MatrixFactorization
from tnrank.training import GradientDescent, RankOneMeasurements, SquaredLoss, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal
    from tnrank.training import CompletionResult

_RECORDS = 120
_PROBES = (0.99, 1.01)
"""Learning rates of the probes of stability, as shares of the limit."""


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
        steps: of both descents.
        probe_steps: of the two descents at 0.99 and 1.01 of the limit.

    A has N(0, 1 / dimension) entries, the true weights are N(0, 1). No published run stands behind the settings: the
    statements are exact, and measured against the closed forms.

    Source: Zhang et al. 2017, Sec. 5 (descent from zero finds the solution of least l2 norm); Ali, Kolter & Tibshirani
    2019 (early stopping and ridge regression).
    """

    name: ClassVar[str] = "linear-regression"
    title: ClassVar[str] = "gradient descent from zero finds the least-squares solution of least l2 norm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {"quick": {}, "paper": {"measurements": 100, "dimension": 400}}
    )

    dtype: str = "float64"
    measurements: int = 20
    dimension: int = 60
    noise: float = 0.5
    start: float = 1.0
    learning_rate: float = 0.1
    steps: int = 6_000
    probe_steps: int = 1_000

    @explained
    def __post_init__(self) -> None:
        if not 1 <= self.measurements < self.dimension:
            raise ValueError(
                f"got {self.measurements} measurements of {self.dimension} unknowns: needed at least 1, and fewer "
                "than unknowns, since the solution is unique otherwise"
            )
        check_fits(self.measurements * self.dimension, "the measurements", "fewer, or a smaller dimension")
        for field in ("noise", "start"):
            if not 0 <= getattr(self, field) < np.inf:
                raise ValueError(f"{field} is a standard deviation of at least 0, got {getattr(self, field)}")
        for field in ("steps", "probe_steps"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is a whole number from 1 on, got {getattr(self, field)}")
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

    def problem(self) -> report.Problem:
        """The measurements, drawn from the seed."""
        draw = generator(self.seed)
        A = draw.standard_normal((self.measurements, self.dimension)) / np.sqrt(self.dimension)
        truth = draw.standard_normal(self.dimension)
        y = A @ truth + self.noise * draw.standard_normal(self.measurements)
        return report.Problem(A, y, truth, self.start * draw.standard_normal(self.dimension))

    def execute(self, journal: Journal) -> Outcome:
        problem = self.problem()
        zero = np.zeros(self.dimension)
        descents = self._train(journal, problem, ("from_zero", "from_start"), (zero, problem.start), self.learning_rate)
        limit = self.stability_limit
        probes = [self._probe(journal, problem, share, share * limit) for share in _PROBES]
        return report.outcome(problem, self.learning_rate, descents, _PROBES, probes)

    def _probe(self, journal: Journal, problem: report.Problem, share: float, rate: float) -> CompletionResult:
        """Descent from zero with a rate close to the limit."""
        start = (np.zeros(self.dimension),)
        return self._train(journal, problem, (f"rate_{share:g}",), start, rate, steps=self.probe_steps, save=False)[0]

    def _train(
        self,
        journal: Journal,
        problem: report.Problem,
        names: tuple[str, ...],
        starts: tuple[Any, ...],
        rate: float,
        **options: Any,
    ) -> list[CompletionResult]:
        options = {"steps": self.steps, **options}
        at = report.spread_steps(options["steps"], _RECORDS)
        return journal.train(
            names,
            [MatrixFactorization([start[:, None]]).to(self.backend, dtype=self.dtype) for start in starts],
            RankOneMeasurements([problem.A, np.ones((len(problem.A), 1))]),
            problem.y,
            loss=SquaredLoss("half_sum"),
            optimizer=GradientDescent(rate),
            record=[recorders.Loss(at=at), recorders.Function("weights", _weights, at=at)],
            **options,
        )


def _weights(x: Any) -> Any:
    return x.layers[0][:, 0]
