"""Matrix completion by factorizations of depth 1 to 4 beside the nuclear norm, and both sides of the conjecture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank.data import low_rank_matrix, observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _matrix_completion_report as report
from tnrank.experiments._recipes._commuting import Commuting, asymmetry
from tnrank.factorizations import MatrixFactorization
from tnrank.theory import minimum_nuclear_norm, zero_fill
from tnrank.training import GradientDescent, GroupRMSProp, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

_GAP = 1e-4
"""Relative duality gap of the solutions of least nuclear norm."""
_STOP = 1e-14
"""Of the sensing loss, whose target has norm 1."""
_RECORDS = 100


@register
@dataclass(frozen=True, kw_only=True)
class MatrixCompletion(Recipe):
    """Completion of low-rank matrices, and of commuting measurements, by matrix factorizations from small weights.

    A *scale* is that of the initial end matrix relative to the target: the standard deviation of its entries where the
    target's mean square is 1, its norm where the target's norm is 1.

    Attributes:
        seeds: how many targets: seed, seed + 1, ..
        size: of the square targets.
        rank: of the targets.
        observed: numbers of observed entries.
        depths: of the factorizations, whose hidden sizes are full.
        scales: one a depth.
        learning_rate: of GroupRMSProp.
        steps: of a completion, at most.
        stop_loss: a completion is done when its mean squared error is below.
        few: a small number of observed entries.
        few_scales_2: scales of the factorizations of depth 2 on them.
        few_scales_3: those of depth 3.
        sensing_size: of the matrix with commuting measurements.
        sensing_rank: of their solution of least nuclear norm.
        measurements: how many.
        sensing_scales: scales of the symmetric factorizations of depth 2.
        sensing_rate: of gradient descent.
        sensing_steps: of a symmetric factorization, at most.

    The paper preset has the published size and rank, 100 x 100 and 5. Deeper factorizations start from larger scales,
    since they fit few observations slowly: of the quick size, from 1e-6, depth 4 has not fitted 192 entries after
    40,000 steps.

    Source: Gunasekar et al. 2017 (the conjecture, and its proof for commuting measurements); Arora et al. 2019, Figs. 1
    and 2; Razin & Cohen 2020 (the optimizer).
    """

    name: ClassVar[str] = "matrix-completion"
    title: ClassVar[str] = "matrix factorizations of depth 1 to 4 beside the least nuclear norm"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {
                "seeds": 3,
                "size": 100,
                "rank": 5,
                "observed": (1000, 1500, 2000, 2500, 3000, 4000, 6000),
                "few": 1000,
                "steps": 30_000,
                "sensing_size": 50,
                "sensing_rank": 5,
                "measurements": 20,
                "sensing_steps": 40_000,
            },
        }
    )

    seeds: int = 2
    size: int = 32
    rank: int = 3
    observed: tuple[int, ...] = (192, 256, 320, 384, 512, 768)
    depths: tuple[int, ...] = (1, 2, 3, 4)
    scales: tuple[float, ...] = (1e-6, 1e-6, 1e-4, 1e-4)
    learning_rate: float = 3e-3
    steps: int = 20_000
    stop_loss: float = 1e-5
    few: int = 192
    few_scales_2: tuple[float, ...] = (1e-2, 1e-4, 1e-6, 1e-8)
    few_scales_3: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5)
    sensing_size: int = 16
    sensing_rank: int = 3
    measurements: int = 8
    sensing_scales: tuple[float, ...] = (1e-2, 1e-4, 1e-6, 1e-8)
    sensing_rate: float = 0.05
    sensing_steps: int = 20_000

    @explained
    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds is how many targets, from 1 on, got {self.seeds}")
        if not 1 <= self.rank <= self.size:
            raise ValueError(f"a target of size {self.size} has a rank from 1 to {self.size}, got rank={self.rank}")
        for count in (*self.observed, self.few):
            if not 1 <= count <= self.size**2:
                raise ValueError(
                    f"a target of size {self.size} has {self.size**2} entries: observed and few lie in "
                    f"1 .. {self.size**2}, got {count}"
                )
        if len(self.scales) != len(self.depths) or not self.depths or min(self.depths) < 1:
            raise ValueError(
                f"depths are numbers of layers from 1 on, and scales one number for each: got depths={self.depths}, "
                f"scales={self.scales}"
            )
        if not {1, 2, 3} <= set(self.depths):
            raise ValueError(f"depths has 1, 2 and 3 in it, which the verdict compares, got {self.depths}")
        for field in ("observed", "few_scales_2", "few_scales_3", "sensing_scales"):
            if not getattr(self, field):
                raise ValueError(f"{field} is empty, needed at least one value")
        for field in ("scales", "few_scales_2", "few_scales_3", "sensing_scales"):
            if min(getattr(self, field)) <= 0:
                raise ValueError(f"{field} are positive numbers, got {getattr(self, field)}")
        if not 1 <= self.sensing_rank <= min(self.measurements, self.sensing_size):
            raise ValueError(
                f"got sensing_rank={self.sensing_rank} with {self.measurements} measurements of a matrix of size "
                f"{self.sensing_size}: needed at least 1, and at most either"
            )

    def execute(self, journal: Journal) -> Outcome:
        fits: list[report.Fit] = []
        few: list[report.Fit] = []
        sensed: list[report.Sensed] = []
        for seed in range(self.seed, self.seed + self.seeds):
            target = low_rank_matrix((self.size, self.size), self.rank, seed=seed)
            for count in self.observed:
                fits += self._completions(journal, target, count, seed)
            few += self._few(journal, target, seed)
            sensed += self._sensing(journal, seed)
        return report.outcome(fits, few, sensed, float(np.finfo(self.dtype).eps))

    def _completions(self, journal: Journal, target: Any, count: int, seed: int) -> list[report.Fit]:
        """The convex baselines, then one factorization a depth."""
        indices, values = observe(target, count, seed=seed)
        journal.say(f"least nuclear norm, {count} entries")
        least = minimum_nuclear_norm(target.shape, indices, values, rtol=_GAP).matrix
        filled = zero_fill(target.shape, indices, values)
        found = [
            report.Fit.of(report.NUCLEAR, count, seed, least, target),
            report.Fit.of(report.ZERO, count, seed, filled, target),
        ]
        for depth, scale in zip(self.depths, self.scales, strict=True):
            result = self._train(
                journal, f"depth_{depth}_{count}_seed_{seed}", depth, scale, (indices, values), target, seed
            )
            found.append(report.Fit.of(report.depth_name(depth), count, seed, _dense(result), target, scale, result))
        return found

    def _few(self, journal: Journal, target: Any, seed: int) -> list[report.Fit]:
        """Depth 2 and 3 on few observations, as the scale shrinks."""
        indices, values = observe(target, self.few, seed=seed)
        least = minimum_nuclear_norm(target.shape, indices, values, rtol=_GAP).matrix
        found = [report.Fit.of(report.NUCLEAR, self.few, seed, least, target)]
        for depth, scales in ((2, self.few_scales_2), (3, self.few_scales_3)):
            for scale in scales:
                name = f"few_depth_{depth}_scale_{scale:g}_seed_{seed}"
                result = self._train(journal, name, depth, scale, (indices, values), target, seed)
                made = report.Fit.of(report.depth_name(depth), self.few, seed, _dense(result), target, scale, result)
                found.append(made)
        return found

    def _train(self, journal: Journal, name: str, depth: int, scale: float, given: Any, target: Any, seed: int) -> Any:
        # Entries of a product of L layers with entries of deviation s have deviation s^L size^((L-1)/2).
        std = float((scale / self.size ** ((depth - 1) / 2)) ** (1 / depth))
        shape = (self.size, self.size)
        every = max(1, self.steps // _RECORDS)
        return journal.train(
            name,
            MatrixFactorization.random(shape, depth, std=std, seed=seed, backend=self.backend, dtype=self.dtype),
            *given,
            optimizer=GroupRMSProp(self.learning_rate),
            steps=self.steps,
            stop=self.stop_loss,
            record=[recorders.Loss(every), recorders.Error(target, every=every)],
            save=False,
        )

    def _sensing(self, journal: Journal, seed: int) -> list[report.Sensed]:
        """Symmetric factorizations of depth 2 on commuting measurements, one a scale."""
        problem = Commuting.planted(self.sensing_size, self.measurements, self.sensing_rank, seed)
        measured, values, loss = problem.observations()
        every = max(1, self.sensing_steps // _RECORDS)
        solution = problem.solution
        results = journal.train(
            [f"sensing_scale_{scale:g}_seed_{seed}" for scale in self.sensing_scales],
            [problem.start(scale, seed).to(self.backend, dtype=self.dtype) for scale in self.sensing_scales],
            measured,
            values,
            loss=loss,
            optimizer=GradientDescent(self.sensing_rate),
            steps=self.sensing_steps,
            stop=_STOP,
            record=[recorders.Loss(every), recorders.Error(solution, every=every)],
            save=False,
        )
        return [
            report.Sensed.of(problem, scale, seed, result, asymmetry(result.factorization))
            for scale, result in zip(self.sensing_scales, results, strict=True)
        ]


def _dense(result: Any) -> Any:
    x = result.factorization
    return np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)
