"""Greedy low-rank learning, from saddle to saddle, beside gradient flow from small weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._check import generator as make_generator
from tnrank._explained import explained
from tnrank.data import observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _greedy_report as report
from tnrank.experiments._recipes._flow_paths import TIMES, Observed, Path
from tnrank.experiments._recipes._greedy_steps import directions
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.theory import escape_time
from tnrank.training import SquaredLoss

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

Host = np.ndarray[Any, Any]
_CHUNKS = 40
_LONGER = 2.0
_ONWARD = 0.3
"""A flow that is not over goes on for this share of the time that it took so far."""
_STILL = 1e-5
"""A flow has reached a saddle when its gradient is below this share of what it was on the way."""
_DONE = 1e-5
"""A flow is over when its loss is below this share of the loss of zero."""


@register
@dataclass(frozen=True, kw_only=True)
class GreedyLowRank(Recipe):
    """Gradient flow from small weights beside greedy low-rank learning, for matrix, CP and hierarchical factorization.

    Greedy learning goes from saddle to saddle: it starts at zero, takes the best rank-one direction of the negative
    gradient, follows the flow from there to the next stationary point, and so on. A hierarchical factorization takes
    the best new local component, or with ``whole`` a rank-one tensor with a component at every node.

    Attributes:
        depths: of the matrix factorizations.
        matrix_size: rows and columns of their target.
        tensor_size: every dimension of the tensors of order 3.
        cp_rank: components of the CP factorization.
        htf_width: local components of every interior node of the hierarchical one.
        matrix_values: singular values of the matrix.
        cp_values: norms of the orthogonal components of the CP target.
        htf_values: root weights of the hierarchical target, whose other matrices have orthonormal columns.
        scales: descending initial scales alpha: balanced random weights, of component vectors of norm about 1, times
            alpha.
        shallow_scales: those of depth 2, which needs smaller ones.
        htf_scales: those of the hierarchical factorization, which waits as long as 1 / alpha^3.
        large: the scale of the control.
        step_size: the norm of the vectors with which greedy learning leaves a saddle.
        observed_share: of the entries.
        most_saddles: greedy learning ends there.
        whole: also measure the greedy path of whole rank-one tensors for the hierarchical factorization.
        points: recorded times of one piece of a flow.
        steps: the most solver steps of one flow.

    Source: Li, Luo & Lyu 2021 (matrices); Razin, Maman & Cohen 2021 and 2022 for what a component is.
    """

    name: ClassVar[str] = "greedy-low-rank"
    title: ClassVar[str] = "gradient flow from small weights follows greedy low-rank learning"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {
                "scales": (0.3, 0.1, 0.03, 0.01),
                "htf_scales": (0.3, 0.1, 0.05, 0.03),
                "shallow_scales": (1e-1, 1e-2, 1e-4, 1e-6, 1e-8),
                "whole": True,
                "points": 160,
            },
        }
    )

    dtype: str = "float64"
    depths: tuple[int, ...] = (2, 3)
    matrix_size: int = 10
    tensor_size: int = 5
    cp_rank: int = 25
    htf_width: int = 16
    matrix_values: tuple[float, ...] = (4.0, 2.0, 1.0)
    cp_values: tuple[float, ...] = (3.0, 2.0, 1.0)
    htf_values: tuple[float, ...] = (2.0, 1.0)
    scales: tuple[float, ...] = (0.3, 0.1, 0.03)
    htf_scales: tuple[float, ...] = (0.3, 0.1, 0.05)
    shallow_scales: tuple[float, ...] = (1e-1, 1e-3, 1e-6)
    large: float = 1.0
    step_size: float = 1e-2
    observed_share: float = 0.9
    most_saddles: int = 8
    whole: bool = False
    points: int = TIMES
    steps: int = 300_000

    @explained
    def __post_init__(self) -> None:
        for field in ("scales", "shallow_scales", "htf_scales"):
            scales = getattr(self, field)
            if len(scales) < 2 or min(scales) <= 0 or any(np.diff(scales) >= 0):
                raise ValueError(f"{field} are two or more positive numbers, falling, got {scales}")
            if not self.large > max(scales):
                raise ValueError(f"large, the scale of the control, is above all {field}, got {self.large}")
        for field, most in (
            ("matrix_values", self.matrix_size),
            ("cp_values", self.tensor_size),
            ("htf_values", self.tensor_size),
        ):
            values = getattr(self, field)
            if not 1 <= len(values) <= most or min(values) <= 0:
                raise ValueError(f"{field} are 1 to {most} positive numbers, got {values}")
        if self.dtype != "float64":
            raise ValueError(f"distances to saddles need dtype float64, got {self.dtype}")
        if not self.depths or min(self.depths) < 2:
            raise ValueError(f"depths are from 2 on, got {self.depths}")
        if not 0 < self.observed_share <= 1:
            raise ValueError(f"observed_share lies in (0, 1], got {self.observed_share}")
        if not 0 < self.step_size < 1:
            raise ValueError(f"step_size lies between 0 and 1, got {self.step_size}")
        if self.points < 16:
            raise ValueError(f"points is at least 16, got {self.points}")
        for field in ("cp_rank", "htf_width", "most_saddles", "steps"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is at least 1, got {getattr(self, field)}")

    def execute(self, journal: Journal) -> Outcome:
        models = [(f"MF depth {depth}", self.matrix(depth)) for depth in self.depths]
        models += [("CP", self.cp()), ("HTF", self.htf())]
        found = [self._compare(journal, name, *problem) for name, problem in models]
        return report.outcome(found)

    def matrix(self, depth: int) -> tuple[Host, Factorization]:
        """Target and unscaled start of a matrix factorization."""
        generator = make_generator(self.seed)
        d = self.matrix_size
        u, v = (_orthonormal(generator, d, len(self.matrix_values)) for _ in range(2))
        start = MatrixFactorization.random((d, d), depth, std=d**-0.5, balanced=True, seed=self.seed)
        return (u * self.matrix_values) @ v.T, start

    def cp(self) -> tuple[Host, Factorization]:
        """Those of a CP factorization."""
        generator = make_generator(self.seed)
        d, count = self.tensor_size, len(self.cp_values)
        factors = [_orthonormal(generator, d, count) for _ in range(3)]
        target = CPFactorization([factors[0] * self.cp_values, *factors[1:]]).to_dense()
        start = CPFactorization.random((d,) * 3, self.cp_rank, std=d**-0.5, balanced=True, seed=self.seed)
        return np.asarray(target), start

    def htf(self) -> tuple[Host, Factorization]:
        """Those of a hierarchical factorization."""
        generator = make_generator(self.seed)
        d, count = self.tensor_size, len(self.htf_values)

        def draw(matrix: Host) -> Host:
            return (
                np.asarray(self.htf_values)[:, None] if matrix.shape[1] == 1 else _orthonormal(generator, *matrix.shape)
            )

        shape = (d,) * 3
        target = HierarchicalFactorization.random(shape, width=count, seed=self.seed).map(draw).to_dense()
        options: dict[str, Any] = {"std": d**-0.5, "balanced": True, "seed": self.seed}
        return np.asarray(target), HierarchicalFactorization.random(shape, width=self.htf_width, **options)

    def _compare(self, journal: Journal, name: str, target: Host, start: Factorization) -> report.Compared:
        count = max(1, round(self.observed_share * target.size))
        indices, values = observe(target, count, seed=self.seed)
        problem = Observed(
            indices, np.asarray(values), SquaredLoss(reduction="half_sum"), self.steps, points=self.points
        )
        journal.say(f"{name}: greedy")
        greedy = self._greedy(problem, start, whole=False)
        hierarchical = isinstance(start, HierarchicalFactorization)
        whole = self._greedy(problem, start, whole=True) if self.whole and hierarchical else None
        scales = self.htf_scales if hierarchical else self.scales
        if len(start.arrays) == 2:
            scales = self.shallow_scales
        descents = []
        for scale in (*scales, self.large):
            journal.say(f"{name}: initial scale {scale:g}")
            path = self._descend(problem, start, scale, greedy)
            descents.append(report.Descent.of(scale, path, greedy, whole))
            for k in range(len(path.times)):
                label = f"{name}, scale {scale:g}"
                journal.folder.record(label, k, "effective_time", path.times[k])
                journal.folder.record(label, k, "loss", path.losses[k])
            journal.folder.flush()
        path.end.save(journal.folder.partial / f"{name.lower().replace(' ', '-')}.safetensors")
        return report.Compared(name, self._components(start), greedy, whole, descents[:-1], descents[-1])

    def _greedy(self, problem: Observed, start: Factorization, whole: bool) -> report.Greedy:
        x = start.map(np.zeros_like)
        saddles = [report.Saddle("zero", 0.0, np.zeros(x.shape), 0.5 * float(problem.values @ problem.values), 0.0)]
        paths: list[Path] = []
        while len(saddles) <= self.most_saddles and saddles[-1].loss > _DONE * saddles[0].loss:
            gradient = problem.gradient(saddles[-1].tensor)
            best = directions(x, gradient, whole)[0]
            if best.gamma <= 1e-4 * np.linalg.norm(problem.values):
                break
            path = self._settle(problem, self._on_backend(best.add(self.step_size)), best.gamma, best.degree)
            paths.append(path)
            x = path.end.to("numpy")
            tensor = path.points[-1].reshape(x.shape)
            saddles.append(report.Saddle(best.what, best.gamma, tensor, float(path.losses[-1]), path.end_slope))
            if path.cut:
                break
        points = np.concatenate([np.zeros((1, start.to_dense().size)), *(p.points for p in paths)])
        return report.Greedy(tuple(saddles), points)

    def _settle(self, problem: Observed, x: Factorization, gamma: float, degree: int) -> Path:
        """From beside a saddle to the next one."""
        parts = [problem.flow(x, escape_time(self.step_size**degree, 1.0, degree, gamma))]
        until = 10.0 / gamma
        for _ in range(_CHUNKS):
            parts.append(problem.flow(parts[-1].end, until))
            path = Path.joined(parts)
            if path.cut or path.end_slope < _STILL * path.slopes.max(initial=0.0):
                break
            until *= _LONGER
        return path

    def _descend(self, problem: Observed, start: Factorization, scale: float, greedy: report.Greedy) -> Path:
        x = self._on_backend(start.map(lambda a: a * scale))
        degree = len(start.arrays)
        gamma = greedy.saddles[1].gamma
        until = max(0.5 * escape_time(min(scale, 0.5) ** degree, 1.0, degree, gamma), 1.0 / gamma)
        shortest = 2.0 / min(saddle.gamma for saddle in greedy.saddles[1:])
        parts: list[Path] = []
        for _ in range(_CHUNKS):
            parts.append(problem.flow(parts[-1].end if parts else x, until))
            last = parts[-1]
            if last.losses[-1] < _DONE * greedy.saddles[0].loss or last.cut:
                break
            until = max(shortest, _ONWARD * sum(part.times[-1] for part in parts))
        return Path.joined(parts)

    def _components(self, x: Factorization) -> int:
        """Of the target: the first of a hierarchical one is at every node, each of the others at one node."""
        if isinstance(x, HierarchicalFactorization):
            return 1 + (len(self.htf_values) - 1) * len(x.tree.interior)
        return len(self.matrix_values if isinstance(x, MatrixFactorization) else self.cp_values)

    def _on_backend(self, x: Factorization) -> Factorization:
        return x.to(self.backend, dtype=self.dtype)


def _orthonormal(generator: Any, rows: int, columns: int) -> Host:
    return np.asarray(np.linalg.qr(generator.standard_normal((rows, columns)))[0])
