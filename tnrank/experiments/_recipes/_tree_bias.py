"""Hierarchical factorization is biased towards low rank on its own tree, whatever the target's tree."""

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
from tnrank.experiments._recipe import Recipe, nearest, register
from tnrank.experiments._recipes import _tree_bias_report as report
from tnrank.experiments._recipes._tree_bias_report import PAIRS, Pair, in_order
from tnrank.factorizations import HierarchicalFactorization
from tnrank.training import GroupRMSProp, RankOneMeasurements, Stop, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

_OBSERVATIONS = ("entries", "rank-one")
_TREES = {"balanced": ((0, 1), (2, 3)), "linear": (((0, 1), 2), 3)}
"""Trees with the node {0,1}; the others follow by exchanging modes."""
HostArray = np.ndarray[Any, Any]


@register
@dataclass(frozen=True, kw_only=True)
class TreeBias(Recipe):
    """Ranks of the matricizations on and off the tree that a tensor of order 4 is completed on.

    First the published experiment: a target that has low rank on the balanced tree is completed on that tree.
    Then targets that have low rank on each of the three balanced trees over four modes are completed on each of
    the three, and on linear trees: what is a matter of the target, and what of the model?

    Attributes:
        htf_size: dimension of the modes in the published experiment; so for the next five.
        htf_rank: local components of each node of the target.
        htf_width: those of the model.
        htf_std: standard deviation of the initial weights.
        htf_steps: the most steps.
        htf_every: distance of the recorded steps.
        size: dimension of the modes in the comparison of trees; so for the next five.
        rank: of the targets on their tree.
        width: local components of each node of the models.
        std: standard deviation of the initial weights.
        steps: the most steps.
        seeds: runs of every model on every target, with other targets, observations and initial weights.
        observations: ``"entries"``, or ``"rank-one"``: inner products with outer products of Gaussian vectors.
        observed_share: observations, as a share of the number of entries.
        learning_rate: of GroupRMSProp.
        stop_loss: a model is done when its loss is below this at more than ``stop_patience`` checks in a row.
        stop_patience: see above; a check is due every 25 steps.

    The end tensor grows like std^7 width^1.5: at width 48, the published 1e-2 would stay at the origin.

    Source: Razin, Maman & Cohen 2022, Sec. 4 and App. (settings of Fig. 2).
    """

    name: ClassVar[str] = "tree-bias"
    title: ClassVar[str] = "low rank on the model's tree, not off it"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {"htf_width": 512, "htf_std": 1e-2, "htf_steps": 32_000, "seeds": 5, "steps": 10_000},
        }
    )

    seed: int = 1
    htf_size: int = 8
    htf_rank: int = 5
    htf_width: int = 48
    htf_std: float = 4e-2
    htf_steps: int = 15_000
    htf_every: int = 50
    size: int = 6
    rank: int = 3
    width: int = 24
    std: float = 5e-2
    steps: int = 6_000
    seeds: int = 1
    observations: str = "entries"
    observed_share: float = 0.5
    learning_rate: float = 1e-2
    stop_loss: float = 5e-5
    stop_patience: int = 100

    @explained
    def __post_init__(self) -> None:
        if self.observations not in _OBSERVATIONS:
            raise ValueError(f"unknown observations {self.observations!r}{nearest(self.observations, _OBSERVATIONS)}")
        if not 0 < self.observed_share <= 1:
            raise ValueError(f"observed_share lies above 0 and is at most 1, got {self.observed_share}")
        for field in ("htf_size", "htf_rank", "htf_width", "htf_steps", "htf_every", "rank", "width", "steps", "seeds"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is at least 1, got {getattr(self, field)}")
        if not 1 <= self.rank <= self.size:
            raise ValueError(f"rank lies in 1 .. size = {self.size}, got {self.rank}")

    def execute(self, journal: Journal) -> Outcome:
        published = self._published(journal)
        compared = [run for kind in _TREES for run in self._compare(journal, kind)]
        return report.outcome(published, compared, self.htf_rank)

    def target(self, seed: int, pair: Pair) -> HostArray:
        """A tensor of mean square 1 and equally important components, of rank ``rank`` on the tree with ``pair``."""
        generator = np.random.default_rng([seed, pair[1]])

        def draw(matrix: Any) -> HostArray:
            if matrix.shape[1] == 1:
                return np.linspace(1.0, 0.5, len(matrix))[:, None]
            return np.asarray(np.linalg.qr(generator.standard_normal(matrix.shape))[0])

        drawn = HierarchicalFactorization.random((self.size,) * 4, width=self.rank, seed=0, dtype="float64").map(draw)
        return np.transpose(_unit(drawn.to_dense()), np.argsort(in_order(pair)))

    def observed(self, target: HostArray, seed: int) -> tuple[Any, HostArray]:
        """What is observed of a target: indices or measurements, and values."""
        count = max(1, int(self.observed_share * target.size))
        if self.observations == "entries":
            indices, values = observe(target, count, seed=seed)
            return indices, values
        generator = make_generator(seed)
        # An outer product then has mean squared norm 1, as a single entry has.
        scale = target.size ** (-1 / (2 * target.ndim))
        vectors = [scale * generator.standard_normal((count, d)) for d in target.shape]
        return RankOneMeasurements(vectors), np.einsum("abcd,ma,mb,mc,md->m", target, *vectors, optimize=True)

    def _published(self, journal: Journal) -> report.Published:
        shape = (self.htf_size,) * 4
        target = _unit(HierarchicalFactorization.random(shape, width=self.htf_rank, seed=self.seed).to_dense())
        options: dict[str, Any] = {"seed": self.seed, "backend": self.backend, "dtype": self.dtype}
        start = HierarchicalFactorization.random(shape, width=self.htf_width, std=self.htf_std, **options)
        every = self.htf_every
        result = journal.train(
            "htf",
            start,
            *self.observed(target, self.seed),
            record=[
                recorders.Loss(every),
                recorders.Error(target, every=every),
                recorders.ComponentNorms(top=15, every=every),
                recorders.SingularValues(top=30, modes=((0, 2),), every=every),
            ],
            steps=self.htf_steps,
            **self._training,
        )
        return report.Published.of(result, target)

    def _compare(self, journal: Journal, kind: str) -> list[report.Compared]:
        """Every target on every tree of a kind: one compiled run, because the trees differ in the order of modes."""
        names, starts, seen, record, given = [], [], [], [], []
        for k in range(self.seeds):
            seed = 1000 * self.seed + k
            for of in PAIRS:
                target = self.target(seed, of)
                for on in PAIRS:
                    turned = np.transpose(target, in_order(on))
                    names.append(f"{kind}-{_text(on)}-target-{_text(of)}-{k}")
                    options: dict[str, Any] = {"seed": 100 * seed + on[1], "backend": self.backend, "dtype": self.dtype}
                    starts.append(
                        HierarchicalFactorization.random(
                            turned.shape, tree=_TREES[kind], width=self.width, std=self.std, **options
                        )
                    )
                    seen.append(self.observed(turned, 10 * seed + of[1]))
                    record.append([recorders.Loss(100), recorders.Error(turned, every=100)])
                    given.append((of, on, target))
        results = journal.train(
            names,
            starts,
            [indices for indices, _ in seen],
            [values for _, values in seen],
            record=record,
            steps=self.steps,
            save=False,
            **self._training,
        )
        return [
            report.Compared.of(kind, of, on, start, result, target)
            for (of, on, target), start, result in zip(given, starts, results, strict=True)
        ]

    @property
    def _training(self) -> dict[str, Any]:
        stop = Stop(self.stop_loss, self.stop_patience, every=25)
        return {"optimizer": GroupRMSProp(self.learning_rate), "stop": stop}


def _unit(tensor: Any) -> HostArray:
    found: HostArray = np.asarray(tensor, np.float64)
    unit: HostArray = found / np.sqrt(np.mean(found**2))
    return unit


def _text(pair: Pair) -> str:
    return "".join(map(str, pair))
