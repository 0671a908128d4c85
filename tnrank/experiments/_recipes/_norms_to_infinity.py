"""Completion of a matrix in which every norm goes to infinity while the rank falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _norms_report as report
from tnrank.experiments._recipes._norms_runs import Measured, Plan, measure_end, step_limit
from tnrank.experiments._recipes._norms_starts import balanced_layers, end_matrix, random_layers
from tnrank.factorizations import MatrixFactorization
from tnrank.theory import TwoByTwo
from tnrank.training import GradientDescent, SquaredLoss, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

HostArray = np.ndarray[Any, Any]

_PROBLEM = TwoByTwo()
_PERTURBED = (-2.0, 0.5)
"""W12 and W21 of the family with W22 = e: their product is -1, so W11 must reach -1 / e."""


@register
@dataclass(frozen=True, kw_only=True)
class NormsToInfinity(Recipe):
    """A 2 x 2 matrix whose entry (0, 0) is not observed: as the loss falls it grows without bound, as |1 / W22|.

    Deep matrix factorization by gradient descent, four runs of each depth: two scales of the start, each with layers
    drawn at random and with balanced ones. Every start has a positive determinant. Beside it the exact flow of balanced
    layers, down to determinants that no floating-point number holds; observations that bound the entry; a start of
    negative determinant, whose entry stays; the solution of minimal nuclear norm; and a larger matrix.

    Attributes:
        depths: numbers of layers of the four runs.
        stds: standard deviations of the END matrix at the start, at depths 2 and 3: the larger first.
        learning_rates: with these; also of the runs with bounded entries, which take the first.
        deep_stds: the same from depth 4 on.
        deep_learning_rates: the same from depth 4 on.
        stop_loss: where the four runs, and those of the larger matrix, are done.
        steps: the most steps of any run.
        perturbations: values of the observed W22 that bound the entry; trained at depth 3, with W12 = -2, W21 = 0.5.
        flow_perturbations: those for which only the exact flow is integrated.
        bounded_stop_loss: where the runs with bounded entries are done.
        size: d of the larger matrix, d x d at depth 3: observed are ones at (0, 1), (1, 0) and on the diagonal from
            (2, 2) on, and zeros elsewhere but at (0, 0).
        size_std: standard deviation of its END matrix at the start.
        seeds: how many draws of the starts: seed, seed + 1, ..
        marks: recorded steps, about evenly spaced in log(step).

    A step must stay below 2 |W11|^(2/L - 2), or gradient descent does not get to where W11 is that large: learning
    rates beyond that are refused.

    The theorem is about balanced layers. Of starts at random a few keep the sign of their determinant down to a loss of
    1e-4; the default seed is one at which both the depth 3 and the depth 4 run from the smaller scale do.

    Source: Razin & Cohen 2020, Sec. 3 and 5.1 (Fig. 1), App. (perturbed observations, larger matrices).
    """

    name: ClassVar[str] = "norms-to-infinity"
    title: ClassVar[str] = "every norm goes to infinity while the rank falls to one"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {
                "depths": (2, 3),
                "stop_loss": 1e-3,
                "steps": 400_000,
                "perturbations": (0.1, 0.5),
                "marks": 1000,
            },
            "paper": {},
        }
    )

    seed: int = 529
    dtype: str = "float64"
    depths: tuple[int, ...] = (2, 3, 4)
    stds: tuple[float, ...] = (1e-5, 1e-6)
    learning_rates: tuple[float, ...] = (6e-3, 3e-3)
    deep_stds: tuple[float, ...] = (1e-3, 1e-4)
    deep_learning_rates: tuple[float, ...] = (3e-3, 1.5e-3)
    stop_loss: float = 1e-4
    steps: int = 5_000_000
    perturbations: tuple[float, ...] = (0.05, 0.1, 0.5)
    flow_perturbations: tuple[float, ...] = (0.01, 0.05, 0.1, 0.5)
    bounded_stop_loss: float = 1e-8
    size: int = 3
    size_std: float = 1e-5
    seeds: int = 1
    marks: int = 2000

    @explained
    def __post_init__(self) -> None:
        for field in ("steps", "seeds", "marks"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is at least 1, got {getattr(self, field)}")
        if not self.depths or min(self.depths) < 2:
            raise ValueError(f"depths are from 2 on, got {self.depths}: at depth 1 the unobserved entry never moves")
        if self.size < 3:
            raise ValueError(f"size is the side of the larger matrix, from 3 on, got {self.size}")
        if any(not e > 0 for e in (*self.perturbations, *self.flow_perturbations)):
            raise ValueError(f"perturbations are above 0, got {self.perturbations} and {self.flow_perturbations}")
        for field in ("stop_loss", "bounded_stop_loss"):
            if not 0 < getattr(self, field) < 0.5:
                raise ValueError(f"{field} lies between 0 and 0.5, got {getattr(self, field)}")
        for stds, rates in (("stds", "learning_rates"), ("deep_stds", "deep_learning_rates")):
            scales = getattr(self, stds)
            if not scales or len(scales) != len(getattr(self, rates)) or min(scales) <= 0:
                raise ValueError(
                    f"{stds} and {rates} are as many positive numbers, got {scales} and {getattr(self, rates)}"
                )
        largest = 1 / np.sqrt(2 * self.stop_loss)
        for depth in {*self.depths, 3}:
            self._check_stable(depth, max(self.scales(depth)[1]), largest, f"a loss of {self.stop_loss:g}")
        for e in self.perturbations:
            self._check_stable(3, self.learning_rates[0], 1 / e, f"W22 = {e:g}")

    def execute(self, journal: Journal) -> Outcome:
        runs = [run for depth in self.depths for run in self._four(journal, depth)]
        bounded, control = self._bounded(journal)
        return report.outcome(self, runs, bounded, control, self._larger(journal))

    @property
    def draws(self) -> range:
        """The seeds."""
        return range(self.seed, self.seed + self.seeds)

    def _four(self, journal: Journal, depth: int) -> list[Measured]:
        """Runs of one depth: each scale with layers at random and balanced."""
        plans = []
        for seed in self.draws:
            for k, (std, rate) in enumerate(zip(*self.scales(depth), strict=True)):
                label = f"depth-{depth}-{{}}-{std:g}" + (f"-seed-{seed}" if self.seeds > 1 else "")
                layers = random_layers(2, depth, std, (seed, depth, k))
                plans.append(Plan(label.format("random"), layers, _PROBLEM, std, rate, False))
                layers = balanced_layers(end_matrix(2, std, seed), depth)
                plans.append(Plan(label.format("balanced"), layers, _PROBLEM, std, rate, True))
        return self._train(journal, plans, [_observed(_PROBLEM)] * len(plans), self.stop_loss)

    def _bounded(self, journal: Journal) -> tuple[list[Measured], Measured]:
        """Runs whose entry is bounded: perturbed observations, and a start of negative determinant."""
        std, rate = self.stds[0], self.learning_rates[0]
        plans = []
        for e in self.perturbations:
            problem = TwoByTwo(*_PERTURBED, e)
            layers = balanced_layers(end_matrix(2, std, self.seed, problem.sign), 3)
            plans.append(Plan(f"perturbed-{e:g}", layers, problem, std, rate, True))
        layers = balanced_layers(end_matrix(2, std, self.seed, -1), 3)
        plans.append(Plan("negative-determinant", layers, _PROBLEM, std, rate, True))
        found = self._train(journal, plans, [_observed(plan.problem) for plan in plans], self.bounded_stop_loss)
        return found[:-1], found[-1]

    def _larger(self, journal: Journal) -> Measured:
        """The larger matrix."""
        d = self.size
        target = np.eye(d)
        target[:2, :2] = [[0, 1], [1, 0]]
        indices = np.argwhere(np.arange(d * d).reshape(d, d) > 0)
        layers = balanced_layers(end_matrix(d, self.size_std, self.seed), 3)
        plan = Plan(f"size-{d}", layers, _PROBLEM, self.size_std, self.learning_rates[0], True)
        return self._train(journal, [plan], [(indices, target[tuple(indices.T)])], self.stop_loss)[0]

    def _train(self, journal: Journal, plans: Sequence[Plan], observed: Sequence[Any], stop: float) -> list[Measured]:
        """All runs in one batch; one after the other where the backend has none."""
        starts = [MatrixFactorization(plan.layers).to(self.backend, dtype=self.dtype) for plan in plans]
        marks = np.unique(np.geomspace(min(100, self.steps), self.steps, self.marks).astype(np.int64)).tolist()
        options: dict[str, Any] = {
            "loss": SquaredLoss("half_sum"),
            "steps": self.steps,
            "stop": stop,
            "record": [recorders.Loss(at=[0, *marks]), recorders.Function("end", measure_end, at=[0, *marks])],
        }
        names, rates = [plan.name for plan in plans], [plan.rate for plan in plans]
        indices, values = [pair[0] for pair in observed], [pair[1] for pair in observed]
        if "vmap" in starts[0].backend.capabilities:
            results = journal.train(names, starts, indices, values, optimizer=GradientDescent(rates), **options)
        else:
            given = zip(names, starts, indices, values, rates, strict=True)
            results = [journal.train(*one, optimizer=GradientDescent(rate), **options) for *one, rate in given]
        return [Measured.of(plan, result) for plan, result in zip(plans, results, strict=True)]

    def scales(self, depth: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Standard deviations and learning rates of a depth."""
        return (self.stds, self.learning_rates) if depth < 4 else (self.deep_stds, self.deep_learning_rates)

    def _check_stable(self, depth: int, rate: float, largest: float, where: str) -> None:
        limit = step_limit(depth, largest)
        if rate > limit:
            reached = (2 / rate) ** (depth / (2 * depth - 2))
            raise ValueError(
                f"the learning rate {rate:g} is past the stability limit {limit:.3g} of depth {depth} at {where}; "
                f"there |W11| is {largest:.3g}, and it would stall near {reached:.3g}; needed a rate below that, or a "
                f"loss above {0.5 / reached**2:.2g}"
            )


def _observed(problem: TwoByTwo) -> tuple[HostArray, HostArray]:
    return np.asarray([[0, 1], [1, 0], [1, 1]]), np.asarray([problem.w12, problem.w21, problem.w22])
