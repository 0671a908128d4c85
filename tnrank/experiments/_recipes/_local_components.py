"""Local components near zero bound the distance to low hierarchical rank, during training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank.data import observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _local_components_report as report
from tnrank.factorizations import HierarchicalFactorization
from tnrank.theory import near_low_rank_bound, prune_components
from tnrank.training import GroupRMSProp, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

_ORDER = 4
_TRUNCATIONS = 8
_EPS = 1e-12
"""Near the origin gradients are far below the optimizer's default, which would only make the wait there longer."""


@register
@dataclass(frozen=True, kw_only=True)
class LocalComponentsRecipe(Recipe):
    """Training of a hierarchical factorization from several initial scales, on a target of low hierarchical rank.

    At every recorded step: the bounds of the distance to tensors of given rank, and the distance itself.

    Attributes:
        dim: dimension of each of the 4 modes.
        width: local components of each of the 3 interior nodes of the balanced tree.
        target_width: those of the target, whose rank this is. Claims are about twice as many: a component may come in
            two parts, since nodes share their children's components and not only the spaces that these span.
        stds: standard deviations of the initial weights, from the largest to the smallest.
        seeds: random targets, observations and starts, each with every scale.
        observed: share of the entries that are observed.
        learning_rate: of GroupRMSProp.
        steps: updates of every run.
        record_every: distance of the recorded steps.

    Source: Razin, Maman & Cohen 2022, Sec. 4.
    """

    name: ClassVar[str] = "local-components"
    title: ClassVar[str] = "local components near zero bound the distance to low hierarchical rank"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {
                "dim": 8,
                "width": 32,
                "stds": (0.1, 0.05, 0.025, 0.0125),
                "seeds": 5,
                "steps": 10_000,
                "record_every": 50,
            },
        }
    )

    backend: str = "numpy"
    dtype: str = "float64"
    dim: int = 5
    width: int = 16
    target_width: int = 2
    stds: tuple[float, ...] = (0.2, 0.1, 0.05, 0.025)
    seeds: int = 1
    observed: float = 0.5
    learning_rate: float = 1e-2
    steps: int = 2000
    record_every: int = 25

    @explained
    def __post_init__(self) -> None:
        for name in ("dim", "width", "target_width", "seeds", "steps", "record_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is a whole number from 1 on, got {getattr(self, name)}")
        if self.target_width >= min(self.width, self.dim):
            raise ValueError(
                f"target_width is below width and dim, got {self.target_width}, {self.width} and {self.dim}: else "
                "every tensor has the target's rank"
            )
        if len(self.stds) < 2 or not all(std > 0 for std in self.stds) or sorted(self.stds)[::-1] != list(self.stds):
            raise ValueError(f"stds are two positive numbers or more, falling, got {self.stds}")
        if not 0 < self.observed <= 1 or not self.learning_rate > 0:
            raise ValueError(
                f"observed is a share of 1 and learning_rate positive, got {self.observed} and {self.learning_rate}"
            )

    def execute(self, journal: Journal) -> Outcome:
        grid = [(std, seed) for std in self.stds for seed in range(self.seed, self.seed + self.seeds)]
        targets = {seed: self._target(seed) for _, seed in grid}
        count = max(1, round(self.observed * self.dim**_ORDER))
        seen = {seed: observe(target, count, seed=seed) for seed, target in targets.items()}
        every, kept = self.record_every, self.kept
        # Where the bounds are recorded too.
        snapshots = sorted({every * round(k * self.steps / _TRUNCATIONS / every) for k in range(_TRUNCATIONS + 1)})
        common = [
            recorders.Loss(every),
            recorders.ComponentNorms(top=None, every=every),
            recorders.SingularValues(top=None, every=every),
            # Made once: recorders of different runs are alike only if they measure by the same function.
            recorders.Function("near_low_rank", lambda x: _measured(x, kept), every=every),
            recorders.Function("end_tensor", lambda x: x.to_dense(), at=snapshots),
        ]
        results = journal.train(
            [f"std{std:g}-{seed}" for std, seed in grid],
            [self._start(std, seed) for std, seed in grid],
            [seen[seed][0] for _, seed in grid],
            [seen[seed][1] for _, seed in grid],
            record=[[recorders.Error(targets[seed], every=every), *common] for _, seed in grid],
            optimizer=GroupRMSProp(self.learning_rate, eps=_EPS),
            steps=self.steps,
        )
        runs = [report.Measured.of(std, seed, result, kept) for (std, seed), result in zip(grid, results, strict=True)]
        return report.outcome(runs, self.target_width)

    @property
    def kept(self) -> tuple[int, ...]:
        """How many local components a node are kept: from 1 to twice those of the target."""
        return tuple(range(1, min(2 * self.target_width, self.width) + 1))

    def _start(self, std: float, seed: int) -> HierarchicalFactorization:
        options: dict[str, Any] = {"seed": seed, "backend": self.backend, "dtype": self.dtype}
        return HierarchicalFactorization.random((self.dim,) * _ORDER, width=self.width, std=std, **options)

    def _target(self, seed: int) -> np.ndarray[Any, Any]:
        # Another seed than that of the start, whose numbers would be those of the target.
        shape = (self.dim,) * _ORDER
        drawn = np.asarray(
            HierarchicalFactorization.random(shape, width=self.target_width, seed=seed + 1000).to_dense()
        )
        return drawn * (sqrt(prod(shape)) / float(np.linalg.norm(drawn)))


def _measured(x: Any, kept: tuple[int, ...]) -> dict[tuple[str, int], Any]:
    """The bounds, and the distance to the factorization with the largest components alone, for each number kept."""
    dense, norm = x.to_dense(), x.backend.xp.linalg.vector_norm
    found = {("norm", 0): norm(dense)}
    for k in kept:
        bounds = near_low_rank_bound(x, k)
        found["theorem", k], found["bound", k] = bounds.theorem, bounds.bound
        found["pruned", k] = norm(dense - prune_components(x, k).to_dense())
    return found
