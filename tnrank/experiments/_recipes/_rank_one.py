"""Gradient flow of CP factorization follows a trajectory of rank one, once it has left the origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._check import generator as make_generator
from tnrank._explained import explained
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _rank_one_report as report
from tnrank.experiments._recipes._flow_paths import Observed, Path
from tnrank.factorizations import CPFactorization
from tnrank.training import HuberLoss

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

Host = np.ndarray[Any, Any]
_LATER = 1.1
"""A flow crosses the sphere before the time at which its leading component alone, not turning, would be infinite."""
_PIECES = 24
_ACCURACY = 1e-9


@dataclass(frozen=True)
class _Problem:
    name: str
    target: Host
    observed: Observed
    threshold: float
    radius: float
    starts: Mapping[str, list[Host]]


@register
@dataclass(frozen=True, kw_only=True)
class RankOne(Recipe):
    """The theorem on rank-one trajectories, hypothesis by hypothesis, beside a start that violates one.

    Component vectors start at alpha times balanced ones. When the end tensor leaves a sphere around zero, the gradient
    flow of a single component starts there, and both go on for a prescribed time.

    Attributes:
        orders: of the tensors.
        size: every dimension, even.
        components: of the CP factorization.
        scales: descending initial scales alpha.
        fourth_scales: those of order 4 and above, where a start of alpha waits as long as 1 / alpha^2.
        observed_share: of the entries of the target of rank one; of that of rank two both blocks are.
        threshold_share: Huber threshold over the smallest observed |y|.
        radius_share: radius of the sphere over what the theorem leaves: smallest |y| - threshold.
        margin: how far the leading norm is above its bound, as a factor.
        tilt: of the leading direction, away from the signs of the target; the part orthogonal to them.
        span: prescribed time after the crossing, over the number of observations (the loss is their mean).
        points: recorded times after the crossing.
        steps: the most solver steps of one flow.

    Source: Razin, Maman & Cohen 2021 (trajectories of rank one under the Huber loss).
    """

    name: ClassVar[str] = "rank-one"
    title: ClassVar[str] = "CP factorization from small weights follows a rank-one trajectory"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {
                "orders": (3, 4),
                "scales": (0.2, 0.1, 0.05, 0.025, 0.0125),
                "fourth_scales": (0.4, 0.3, 0.2, 0.15, 0.1),
                "components": 10,
            },
        }
    )

    backend: str = "numpy"
    dtype: str = "float64"
    orders: tuple[int, ...] = (3,)
    size: int = 6
    components: int = 6
    scales: tuple[float, ...] = (0.2, 0.1, 0.05, 0.025)
    fourth_scales: tuple[float, ...] = (0.4, 0.3, 0.2, 0.15)
    observed_share: float = 0.7
    threshold_share: float = 0.5
    radius_share: float = 0.5
    margin: float = 1.25
    tilt: float = 0.3
    span: float = 8.0
    points: int = 96
    steps: int = 100_000

    @explained
    def __post_init__(self) -> None:
        if not self.orders or min(self.orders) < 3:
            raise ValueError(f"the theorem is for orders from 3 on, got {self.orders}")
        if self.size < 2 or self.size % 2:
            raise ValueError(f"size, of two equal blocks, is even and positive, got {self.size}")
        if self.components < 2:
            raise ValueError(f"components is at least 2, got {self.components}")
        for field in ("scales", "fourth_scales"):
            scales = getattr(self, field)
            if len(scales) < 2 or min(scales) <= 0 or any(np.diff(scales) >= 0):
                raise ValueError(f"{field} are two or more positive numbers, falling, got {scales}")
        for field in ("threshold_share", "radius_share"):
            if not 0 < getattr(self, field) < 1:
                raise ValueError(f"{field} lies between 0 and 1, got {getattr(self, field)}")
        if not 0 < self.observed_share <= 1:
            raise ValueError(f"observed_share lies in (0, 1], got {self.observed_share}")
        if not self.margin > 1:
            raise ValueError(f"margin is above 1, got {self.margin}: the theorem needs more than its bound")
        if not (0 <= self.tilt < np.inf and 0 < self.span < np.inf):
            raise ValueError(f"tilt is 0 or more and span positive, got {self.tilt} and {self.span}")
        if self.dtype != "float64":
            raise ValueError(f"distances between flows need dtype float64, got {self.dtype}")
        if self.points < 16 or self.steps < 1:
            raise ValueError(f"points is at least 16 and steps at least 1, got {self.points} and {self.steps}")

    def execute(self, journal: Journal) -> Outcome:
        return report.outcome(
            [
                self._follow(journal, problem, start)
                for order in self.orders
                for problem in (self.line(order), self.blocks(order))
                for start in problem.starts
            ]
        )

    def line(self, order: int) -> _Problem:
        """A target of rank one, some of its entries observed, and the theorem's start."""
        generator = make_generator(self.seed)
        vectors = [_signed(generator, self.size) for _ in range(order)]
        target = _outer(vectors)
        count = max(1, round(self.observed_share * target.size))
        chosen = np.sort(generator.choice(target.size, count, replace=False))
        indices = np.stack(np.unravel_index(chosen, target.shape), axis=1)
        return self._problem(f"order {order}, rank one", generator, target, indices, [np.sign(v) for v in vectors])

    def blocks(self, order: int) -> _Problem:
        """A target of two blocks of rank one and equal signs; beside the theorem's start one that prefers neither."""
        generator = make_generator(self.seed + 1)
        half = self.size // 2
        first = [_signed(generator, half) for _ in range(order)]
        second = [np.sign(v) * np.abs(_signed(generator, half)) for v in first]
        target = _outer([np.pad(v, (0, half)) for v in first]) + _outer([np.pad(v, (half, 0)) for v in second])
        signs = [np.pad(np.sign(v), (0, half)) for v in first]
        return self._problem(f"order {order}, two blocks", generator, target, np.argwhere(target != 0), signs, True)

    def _problem(
        self, name: str, generator: Any, target: Host, indices: Host, signs: list[Host], control: bool = False
    ) -> _Problem:
        values = target[tuple(indices.T)]
        smallest = float(np.abs(values).min())
        threshold = self.threshold_share * smallest
        observed = Observed(indices, values, HuberLoss(delta=threshold), self.steps, rtol=_ACCURACY, points=self.points)
        gradient = observed.gradient(np.zeros(target.shape))
        leading = [_tilted(generator, sign, self.tilt) for sign in signs]
        projection = float(np.sum(-gradient * _outer(leading)))
        order = target.ndim
        needed = (float(np.linalg.norm(gradient)) / projection) ** (1.0 / (order - 2)) if projection > 0 else 1.0
        others = [_directions(generator, self.size, self.components - 1) / (self.margin * needed) for _ in signs]
        start = [np.column_stack([u, rest]) for u, rest in zip(leading, others, strict=True)]
        starts = {"": start}
        if control:
            # The gradient near zero is the same in both blocks, so that neither of the two components leads.
            twins = [np.roll(u, self.size // 2) for u in leading]
            starts[", control"] = [
                np.column_stack([a[:, :1], twin, a[:, 2:]]) for a, twin in zip(start, twins, strict=True)
            ]
        radius = self.radius_share * (smallest - threshold)
        return _Problem(name, target, observed, threshold, radius, starts)

    def _follow(self, journal: Journal, problem: _Problem, which: str) -> report.Followings:
        name, start, order = problem.name + which, problem.starts[which], problem.target.ndim
        gradient = problem.observed.gradient(np.zeros(problem.target.shape))
        found = report.hypotheses(gradient, problem.observed.values, start, problem.threshold, problem.radius)
        runs = []
        for scale in self.scales if order == 3 else self.fourth_scales:
            journal.say(f"{name}: initial scale {scale:g}")
            run, end = self._run(problem, start, scale)
            runs.append(run)
            label = f"{name}, scale {scale:g}"
            for k, (when, distance) in enumerate(zip(run.times, run.distances, strict=True)):
                journal.folder.record(label, k, "flow_time", when)
                journal.folder.record(label, k, "distance", distance)
            journal.folder.flush()
        end.save(journal.folder.partial / f"{name.replace(', ', '-').replace(' ', '-')}.safetensors")
        rank = 1 if "rank one" in problem.name else 2
        return report.Followings(name, order, bool(which), rank, found, runs)

    def _run(self, problem: _Problem, start: list[Host], scale: float) -> tuple[report.Followed, Any]:
        observed, target = problem.observed, problem.target
        x = self._on_backend([scale * a for a in start])
        crossing, x, left = self._leave(problem, x)
        factors = [np.asarray(a) for a in x.to("numpy").factors]
        norms = np.prod([np.linalg.norm(a, axis=0) for a in factors], axis=0)
        leading = int(norms.argmax())
        empty = report.Followed(
            scale, crossing, leading, float(norms[leading] / norms.sum()), np.zeros(0), np.zeros(0), np.inf, 0.0, False
        )
        if not left:
            return empty, x
        vectors = [a[:, leading : leading + 1] for a in factors]
        length = problem.radius ** (1.0 / target.ndim)
        alone = self._on_backend([length * v / np.linalg.norm(v) for v in vectors])
        # Most of the way is gone early, where the distance has its peak.
        times = self.span * len(observed.values) * np.linspace(0.0, 1.0, self.points) ** 2
        paths = [observed.at(each, times) for each in (x, alone)]
        return _followed(empty, paths, target), paths[0].end

    def _leave(self, problem: _Problem, x: CPFactorization) -> tuple[float, CPFactorization, bool]:
        """The time at which the end tensor crosses the sphere, the factorization then, and whether it does."""
        from scipy.optimize import brentq

        observed, order = problem.observed, problem.target.ndim
        vectors = [np.asarray(a)[:, 0] for a in x.to("numpy").factors]
        gradient = observed.gradient(np.zeros(problem.target.shape))
        norm = float(np.linalg.norm(vectors[0]))
        projection = float(np.sum(-gradient * _outer([v / norm for v in vectors])))
        if projection <= 0:
            return float("nan"), x, False
        piece = _LATER / ((order - 2) * projection * norm ** (order - 2)) / _PIECES

        def beyond(later: float) -> float:
            return float(np.linalg.norm(_later(observed, x, later).points[-1])) - problem.radius

        if beyond(0.0) >= 0:
            return float("nan"), x, False
        for k in range(_PIECES):
            path = _later(observed, x, piece)
            if path.cut:
                break
            if np.linalg.norm(path.points[-1]) > problem.radius:
                later = float(brentq(beyond, 0.0, piece, xtol=1e-13 * piece, rtol=1e-13))
                return k * piece + later, _later(observed, x, later).end, True
            x = path.end
        return float("nan"), x, False

    def _on_backend(self, factors: list[Host]) -> CPFactorization:
        return CPFactorization(factors).to(self.backend, dtype=self.dtype)


def _later(observed: Observed, x: CPFactorization, later: float) -> Path:
    return observed.at(x, np.array([later]))


def _followed(found: report.Followed, paths: list[Path], target: Host) -> report.Followed:
    """What two paths, of the whole and of one component, have to do with each other."""
    count = min(len(path.times) for path in paths)
    whole, alone = (path.points[:count] for path in paths)
    size = float(np.linalg.norm(target))
    squares = [np.linalg.norm(np.asarray(a), axis=0) ** 2 for a in paths[0].end.to("numpy").factors]
    return replace(
        found,
        times=paths[0].times[:count],
        distances=np.linalg.norm(whole - alone, axis=1) / size,
        end=float(np.linalg.norm(whole[-1] - target.ravel())) / size,
        unbalancedness=float(np.ptp(squares, axis=0).max()),
        complete=not any(path.cut for path in paths),
    )


def _signed(generator: Any, size: int) -> Host:
    return np.asarray(generator.choice([-1.0, 1.0], size) * generator.uniform(0.8, 1.25, size))


def _directions(generator: Any, size: int, count: int) -> Host:
    found = generator.standard_normal((size, count))
    return np.asarray(found / np.linalg.norm(found, axis=0))


def _tilted(generator: Any, sign: Host, tilt: float) -> Host:
    unit = sign / np.linalg.norm(sign)
    aside = generator.standard_normal(len(sign))
    aside -= (aside @ unit) * unit
    found = unit + tilt * aside / (np.linalg.norm(aside) or 1.0)
    return np.asarray(found / np.linalg.norm(found))


def _outer(vectors: list[Host]) -> Host:
    found = np.ones(())
    for v in vectors:
        found = np.multiply.outer(found, v)
    return np.asarray(found)
