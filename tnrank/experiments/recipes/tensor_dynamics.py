"""Incremental learning in CP factorization: component norms at three initial scales, with three losses."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from tnrank.data import low_rank_tensor, observe
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Every, Part, Patience, Positive, Range, Seed, Several, Steps, TargetFile
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, Training, register
from tnrank.factorizations import CPFactorization
from tnrank.plots.painters import Figure, Line, lines, panels, staircase
from tnrank.ranks import onsets, separated
from tnrank.training import CompletionResult, GroupRMSProp, L1Loss, SmoothL1Loss, SquaredLoss, Stop, recorders

if TYPE_CHECKING:
    from tnrank.training import Loss

_TITLES = {"l2": "l2 loss", "l1": "l1 loss", "huber": "Huber loss"}
_RISEN, _SETTLED, _RECOVERED = 0.01, 0.8, 0.1

# std -> (onsets, final norms, final error) with the l2 loss, read off the published figure
_PUBLISHED: dict[float, tuple[str, str, str]] = {
    5e-2: ("no plateaus", "", "0.08"),
    1e-2: ("1,100 .. 5,800", "", "0.03"),
    5e-3: ("4,200  5,300  7,000  9,800  11,200", "0.60  0.59  0.40  0.31  0.21", "0.003"),
}


@register
@dataclass(frozen=True, kw_only=True)
class TensorDynamics(Recipe):
    """Completion of a tensor of order 4 from a fifth of its entries by a CP factorization, from small weights.

    Attributes:
        target: file of a tensor in place of the random one; what is claimed of its rank is left out then.
        dimension: of the modes; the model has ``dimension ** 3`` components, enough for any tensor.
        target_rank: components of the target, whose norm is 1.
        observed: observed entries; a third of all if not given, as in the quick preset.
        stds: standard deviations of the initial weights.
        losses: ``l2``, ``l1`` or ``huber``.
        huber_beta: of :class:`tnrank.SmoothL1Loss`, the published code's Huber loss.
        steps: the most steps of each run.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps.
        stop_loss: a run is done when its loss is below that of equal residuals with this square at more than
            ``stop_patience`` checks in a row.
        stop_patience: how many such checks in a row are not enough; a check is due every 25 steps.
        onset_share: a component sets in when its norm exceeds this share of the final largest one.

    The paper preset's sizes, scales and stop rule are the published ones. What a greedy run finds depends on the
    target, that is on the seed: see the page of this recipe.

    Source: Razin, Maman & Cohen 2021, Fig. 1 and App.
    """

    name: ClassVar[str] = "tensor-dynamics"
    title: ClassVar[str] = "components of a CP factorization appear one at a time, the more so the smaller the start"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            **{"seed": 2, "dimension": 7, "target_rank": 3, "steps": 6000},
            **{"losses": ("l2",), "stop_loss": 1e-7, "stop_patience": 20},
        },
        "paper": {"observed": 2000},
    }
    draws: ClassVar[bool] = True

    target: TargetFile = None
    dimension: Annotated[int, Range(2, 1000)] = 10
    target_rank: Count = 5
    observed: Count | None = None
    stds: Annotated[tuple[Positive, ...], Several(once=True)] = (5e-2, 1e-2, 5e-3)
    losses: Annotated[tuple[Literal["l2", "l1", "huber"], ...], Several(once=True)] = ("l2", "l1", "huber")
    huber_beta: Positive = 5e-3
    steps: Steps = 30_000
    learning_rate: Positive = 1e-2
    record_every: Every = 25
    stop_loss: Positive = 1e-8
    stop_patience: Patience = 50
    onset_share: Part = 0.1
    seed: Seed = 5

    def check(self) -> None:
        if self.target is None:
            self._observed((self.dimension,) * 4)

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        target = self._target()
        found = []
        for loss in self.losses:
            for std in sorted(self.stds, reverse=True):
                result = yield self._training(target, loss, std)
                found.append(_Measured(loss, std, result, self.onset_share))
        rank = self.target_rank if self.target is None else None
        summary = {m.name: m.summary() for m in found}
        return Outcome(summary, [_table(found, self)], _checks(found, self.losses, rank), partial(_figure, found))

    def _target(self) -> np.ndarray[Any, Any]:
        if self.target is None:
            return low_rank_tensor((self.dimension,) * 4, self.target_rank, norm=1.0, seed=self.seed)
        found = kit.read_target(self.target)
        return np.asarray(found / np.linalg.norm(found))

    def _observed(self, shape: Sequence[int]) -> int:
        return kit.count_observed(self.observed, shape, 1 / 3, self.target or "the target")

    def _training(self, target: np.ndarray[Any, Any], loss: str, std: float) -> Training:
        shape, every = target.shape, self.record_every
        losses: dict[str, Loss] = {"l2": SquaredLoss(), "l1": L1Loss(), "huber": SmoothL1Loss(self.huber_beta)}
        # The published rule is on the mean squared error: the loss of residuals all as large as its root.
        level = {"l2": self.stop_loss, "l1": self.stop_loss**0.5, "huber": self.stop_loss / (2 * self.huber_beta)}
        return Training(
            f"{loss}-std{std:g}",
            CPFactorization.random(shape, std=std, seed=self.seed, backend=self.backend, dtype=self.dtype),
            *observe(target, self._observed(shape), seed=self.seed),
            loss=losses[loss],
            optimizer=GroupRMSProp(self.learning_rate),
            steps=self.steps,
            stop=Stop(level[loss], self.stop_patience, every=25),
            record=[recorders.Loss(every), recorders.Error(target, every=every), recorders.ComponentNorms(10, every)],
        )


class _Measured:
    """One run: the largest component norms ``(K, 10)`` and relative errors ``(K,)`` at its recorded steps."""

    def __init__(self, loss: str, std: float, result: CompletionResult, share: float) -> None:
        trace = result.history["component_norms"]
        self.loss, self.std, self.result, self.name = loss, std, result, f"{loss}, std {std:g}"
        self.steps, self.norms, self.errors = trace.steps, trace.values, result.history["error"].values
        self.onsets = onsets(self.steps, self.norms, share)
        self.risen = int((self.norms[-1] > _RISEN * self.norms[-1].max()).sum())
        # The error at the lowest recorded training loss.
        self.best_error = float(self.errors[np.argmin(result.history["loss"].values)])
        at = np.searchsorted(self.steps, self.onsets)
        # The share of its final norm that each component has when the next one sets in.
        self.settled = [float(self.norms[next_, k] / self.norms[-1, k]) for k, next_ in enumerate(at[1:])]

    def summary(self) -> dict[str, Any]:
        return {
            **{name: getattr(self.result, name) for name in ("status", "steps")},
            "seconds": round(self.result.seconds, 2),
            "loss": self.result.loss,
            "relative_error": float(self.errors[-1]),
            "relative_error_at_lowest_loss": self.best_error,
            "onsets": self.onsets,
            "settled_at_next_onset": self.settled,
            "final_norms": self.norms[-1],
            "above_one_percent": self.risen,
        }


def _table(found: Sequence[_Measured], recipe: TensorDynamics) -> Table:
    rows: list[tuple[str, ...]] = []
    for m in found:
        paper = _PUBLISHED.get(m.std, ("", "", "")) if m.loss == "l2" else ("", "", "")
        norms = kit.told(m.norms[-1][: max(m.risen, 1)], ".2f")
        rows += [
            (m.name, "onsets", kit.told(m.onsets, none="no step"), paper[0]),
            ("", "final norms", norms, paper[1]),
            ("", "final error", f"{m.errors[-1]:.2g}", paper[2]),
            ("", "error at lowest loss", f"{m.best_error:.2g}", ""),
            ("", "steps, loss", kit.told_end(m.result), ""),
        ]
    note = f"An onset is the first recorded step above {100 * recipe.onset_share:g} % of the final largest norm."
    width = 4 if recipe.preset == "paper" and recipe.target is None else 3
    if width == 4:
        note += " The published target was another: numbers and magnitudes compare, single steps do not."
    columns = ("run", "quantity", "measured", "published")[:width]
    return Table("Component norms and errors", columns, [row[:width] for row in rows], note)


def _checks(found: Sequence[_Measured], losses: Sequence[str], rank: int | None) -> list[Check]:
    checks = []
    for loss in losses:
        runs = [m for m in found if m.loss == loss]
        # From the smallest weights, plateaus of the other losses may be longer than the steps given to them.
        done = runs if loss == "l2" else [m for m in runs if m.result.status == "converged"] or runs[-1:]
        checks += _one_at_a_time(done[-1], rank, plateaus=loss == "l2")
        if len(runs) > 1:
            first = runs[0]
            least = min(first.settled, default=1.0)
            claim = f"{first.name}: no such plateaus, a component sets in while the one before grows"
            checks.append(Check(claim, f"with {100 * least:.3g} % of its final norm", least < _SETTLED))
            if rank is not None:
                claim = f"{first.name}: more than {rank} components end above 1 % of the largest"
                checks.append(Check(claim, f"{first.risen}", first.risen > rank))
            errors = [m.best_error for m in done]
            claim = f"{loss}: the error at the lowest loss falls with the initial scale, to a tenth or less"
            measured = "  ".join(f"{m.best_error:.1e} (std {m.std:g})" for m in done)
            checks.append(Check(claim, measured, kit.falls(errors) and errors[-1] <= _RECOVERED * errors[0]))
    return checks


def _one_at_a_time(m: _Measured, rank: int | None, plateaus: bool) -> list[Check]:
    count = m.risen if rank is None else rank
    claim = f"{m.name}: exactly {rank} components end above 1 % of the largest, as many as the target has"
    checks = [] if rank is None else [Check(claim, f"{m.risen}", m.risen == rank)]
    least = min(m.settled, default=0.0)
    claim = f"{m.name}: they appear one at a time, apart by 5 % of the last onset"
    measured = f"at {kit.told(m.onsets, none='no step')}"
    if plateaus:
        claim += f", each when the one before has {100 * _SETTLED:g} % of its final norm or more"
        measured += f", with {100 * least:.3g} % or more" if m.settled else ", and no other after it"
    apart = len(m.onsets) == count == len(separated(m.onsets)) and kit.rises(m.onsets)
    return [*checks, Check(claim, measured, apart and (not plateaus or least >= _SETTLED))]


def _figure(found: Sequence[_Measured]) -> Figure:
    """Component norms, one row a loss and one column an initial scale, above the errors of each column."""
    losses = list(dict.fromkeys(m.loss for m in found))
    rows = [[m for m in found if m.loss == loss] for loss in losses]
    figure, axes = panels(len(rows) + 1, len(rows[0]), height=2.9)
    for row, runs in zip(axes, rows, strict=False):
        for panel, m in zip(row, runs, strict=True):
            title = f"{_TITLES[m.loss]}, std {m.std:g}: component norms"
            staircase(panel, m.steps, m.norms, title, "component norm", m.onsets)
    for column, panel in enumerate(axes[-1]):
        runs = [row[column] for row in rows]
        errors = [Line(m.steps, m.errors, _TITLES[m.loss], k) for k, m in enumerate(runs)]
        errors = errors if len(rows) > 1 else [Line(runs[0].steps, runs[0].errors, color="ink")]
        lines(panel, errors, "Reconstruction error", "iterations", "relative error")
        panel.set(xlim=(0, max(int(m.steps[-1]) for m in runs)), ylim=(0, None))
    return figure
