"""Incremental learning in CP factorization: component norms at three initial scales, with three losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from tnrank._explained import explained
from tnrank.data import low_rank_tensor, observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, nearest, register
from tnrank.experiments._recipes import _tensor_dynamics_report as report
from tnrank.factorizations import CPFactorization
from tnrank.training import GroupRMSProp, L1Loss, SmoothL1Loss, SquaredLoss, Stop, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal
    from tnrank.training import Loss

_LOSSES = ("l2", "l1", "huber")


@register
@dataclass(frozen=True, kw_only=True)
class TensorDynamics(Recipe):
    """Completion of a tensor of order 4 from a fifth of its entries by a CP factorization, from small weights.

    Attributes:
        dimension: of the modes; the model has ``dimension ** 3`` components, enough for any tensor.
        target_rank: components of the target, whose norm is 1.
        observed: observed entries.
        stds: standard deviations of the initial weights.
        losses: ``l2``, ``l1`` or ``huber``.
        huber_beta: of :class:`tnrank.SmoothL1Loss`, the published code's Huber loss.
        steps: the most steps of each run.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps.
        stop_loss: a run is done when its loss is below that of equal residuals with this square at more than
            ``stop_patience`` checks in a row.
        stop_patience: see above; a check is due every 25 steps.
        onset_share: a component sets in when its norm exceeds this share of the final largest one.

    The paper preset's sizes, scales and stop rule are the published ones. What a greedy run finds depends on the
    target, that is on the seed: see the page of this recipe.

    Source: Razin, Maman & Cohen 2021, Fig. 1 and App.
    """

    name: ClassVar[str] = "tensor-dynamics"
    title: ClassVar[str] = "components of a CP factorization appear one at a time, the more so the smaller the start"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {
                **{"seed": 2, "dimension": 7, "target_rank": 3, "observed": 800, "steps": 6000},
                **{"losses": ("l2",), "stop_loss": 1e-7, "stop_patience": 20},
            },
            "paper": {},
        }
    )

    seed: int = 5
    dimension: int = 10
    target_rank: int = 5
    observed: int = 2000
    stds: tuple[float, ...] = (5e-2, 1e-2, 5e-3)
    losses: tuple[str, ...] = _LOSSES
    huber_beta: float = 5e-3
    steps: int = 30_000
    learning_rate: float = 1e-2
    record_every: int = 25
    stop_loss: float = 1e-8
    stop_patience: int = 50
    onset_share: float = 0.1

    @explained
    def __post_init__(self) -> None:
        for loss in self.losses:
            if loss not in _LOSSES:
                raise ValueError(f"unknown loss {loss!r}{nearest(loss, _LOSSES)}")
        if not self.losses or len(set(self.losses)) != len(self.losses):
            raise ValueError(f"losses are one or more of {', '.join(_LOSSES)}, each once, got {self.losses}")
        if not self.stds or min(self.stds) <= 0 or len(set(self.stds)) != len(self.stds):
            raise ValueError(f"stds are one or more positive numbers, each once, got {self.stds}")
        if self.dimension < 2 or self.target_rank < 1:
            raise ValueError(
                f"needed dimension from 2 on and target_rank from 1 on, got {self.dimension} and {self.target_rank}"
            )
        if not 1 <= self.observed <= self.dimension**4:
            raise ValueError(f"observed lies in 1 .. {self.dimension**4}, got {self.observed}")
        if not self.stop_loss > 0:
            raise ValueError(f"stop_loss is a positive number, got {self.stop_loss}")
        self._loss("huber")

    def execute(self, journal: Journal) -> Outcome:
        found = [self._train(journal, loss, std) for loss in self.losses for std in sorted(self.stds, reverse=True)]
        return report.outcome(found, self)

    def _loss(self, name: str) -> Loss:
        losses: dict[str, Loss] = {"l2": SquaredLoss(), "l1": L1Loss(), "huber": SmoothL1Loss(self.huber_beta)}
        return losses[name]

    def _stop(self, name: str) -> Stop:
        """The published rule is on the mean squared error: the loss of residuals all as large as its root."""
        level = {"l2": self.stop_loss, "l1": self.stop_loss**0.5, "huber": self.stop_loss / (2 * self.huber_beta)}
        return Stop(level[name], self.stop_patience, every=25)

    def _train(self, journal: Journal, loss: str, std: float) -> report.Measured:
        shape, every = (self.dimension,) * 4, self.record_every
        target = low_rank_tensor(shape, self.target_rank, norm=1.0, seed=self.seed)
        indices, values = observe(target, self.observed, seed=self.seed)
        start = CPFactorization.random(shape, std=std, seed=self.seed, backend=self.backend, dtype=self.dtype)
        result = journal.train(
            f"{loss}-std{std:g}",
            start,
            indices,
            values,
            loss=self._loss(loss),
            optimizer=GroupRMSProp(self.learning_rate),
            steps=self.steps,
            stop=self._stop(loss),
            record=[recorders.Loss(every), recorders.Error(target, every=every), recorders.ComponentNorms(10, every)],
        )
        return report.Measured.of(loss, std, result, self.onset_share)
