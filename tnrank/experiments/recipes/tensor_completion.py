"""Tensor completion by CP factorization: error and CP rank against the number of observations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank.data import low_rank_tensor, observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _tensor_completion_report as report
from tnrank.experiments._recipes._cp_rank import fewest_components
from tnrank.experiments._recipes._tensor_completion_runs import Baseline, Continued, Fitted
from tnrank.factorizations import CPFactorization
from tnrank.training import Checkpoint, GroupRMSProp, Stop, complete, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

_LEFT_ORIGIN = 0.01
"""The share of the first loss below which a run is past the plateau at the origin."""
_WRITTEN_EVERY = 100


@register
@dataclass(frozen=True, kw_only=True)
class TensorCompletion(Recipe):
    """Completion of tensors of low CP rank from few entries, beside filling in zeros.

    Each repetition has a target, an order in which its entries become known, and initial weights of its own. The CP
    factorizations have ``dimension ** (order - 1)`` components, enough for any tensor.

    Attributes:
        orders: of the targets, 3 or 4 or both.
        dimension: of every mode.
        target_rank: CP rank of the targets, whose norm is 1.
        counts: numbers of observed entries at order 3.
        order4_counts: those at order 4.
        stds: standard deviations of the initial weights.
        seeds: repetitions at order 3: seed, seed + 1, ..
        order4_seeds: repetitions at order 4.
        steps: the most steps at order 3.
        order4_steps: the most steps at order 4, where small weights take long to leave the origin.
        continued_steps: of the runs that go on past the lowest loss.
        claim_count: the number of observed entries, at order 3, that the claims are about.
        learning_rate: of GroupRMSProp.
        stop_loss: a run is done at the first step whose loss is below this.
        patience: runs that train together end when each is done or has left the origin and not lowered its loss for
            so many steps.
        rank_tolerance: mean squared entry error of the CP fit that the CP rank is read off.
        baseline_seeds: repetitions in which the CP rank of the baseline is measured, which takes longer than training.

    Source: Razin & Cohen 2020, Sec. 4.2 and App.
    """

    name: ClassVar[str] = "tensor-completion"
    title: ClassVar[str] = "gradient descent on CP factorizations completes tensors of low rank from few entries"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {"counts": (50, 100, 200, 300, 400), "steps": 1500, "continued_steps": 2500, "baseline_seeds": 1},
            "paper": {
                "orders": (3, 4),
                "counts": (50, 100, 150, 200, 250, 300, 350, 400, 450, 511),
                "order4_counts": (100, 500, 1000, 2000, 3000, 4095),
            },
        }
    )

    orders: tuple[int, ...] = (3,)
    dimension: int = 8
    target_rank: int = 1
    counts: tuple[int, ...] = (50, 100, 200, 300, 400)
    order4_counts: tuple[int, ...] = (100, 500, 1000, 2000)
    stds: tuple[float, ...] = (1e-2, 1e-3)
    seeds: int = 10
    order4_seeds: int = 5
    steps: int = 3000
    order4_steps: int = 50_000
    continued_steps: int = 3000
    claim_count: int = 300
    learning_rate: float = 1e-2
    stop_loss: float = 1e-14
    patience: int = 2000
    rank_tolerance: float = 1e-6
    baseline_seeds: int = 5

    @explained
    def __post_init__(self) -> None:
        if not self.orders or not set(self.orders) <= {3, 4} or len(set(self.orders)) != len(self.orders):
            raise ValueError(f"orders are 3 or 4 or both, got {self.orders}")
        for field in ("dimension", "target_rank", "seeds", "order4_seeds", "baseline_seeds", "patience"):
            least = 2 if field == "dimension" else 1
            if getattr(self, field) < least:
                raise ValueError(f"the field {field} is a whole number from {least} on, got {getattr(self, field)}")
        if not self.stds or min(self.stds) <= 0:
            raise ValueError(f"stds are one or more positive numbers, got {self.stds}")
        for order in self.orders:
            counts, size = self._counts(order), self.dimension**order
            if not counts or min(counts) < 1 or max(counts) > size:
                raise ValueError(f"numbers of observed entries at order {order} lie in 1 .. {size}, got {counts}")

    def _counts(self, order: int) -> tuple[int, ...]:
        return self.counts if order == 3 else self.order4_counts

    def _repetitions(self, order: int) -> range:
        return range(self.seed, self.seed + (self.seeds if order == 3 else self.order4_seeds))

    def execute(self, journal: Journal) -> Outcome:
        fitted = [one for batch in self._batches() for one in self._fit(journal, batch)]
        baselines = [one for order in self.orders for one in self._baselines(journal, order)]
        return report.outcome(self, fitted, baselines, self._continue(journal))

    def _batches(self) -> Iterator[list[tuple[int, int, float, int]]]:
        """(order, count, std, seed) of the runs that train together."""
        for order in self.orders:
            if order == 3:
                yield list(product([3], self.counts, self.stds, self._repetitions(3)))
                continue
            # Steps are dear there, and runs of one kind end at about the same one.
            for count, std in product(self.order4_counts, self.stds):
                yield list(product([order], [count], [std], self._repetitions(order)))

    def _target(self, order: int, seed: int) -> np.ndarray[Any, Any]:
        return low_rank_tensor((self.dimension,) * order, self.target_rank, norm=1.0, seed=seed)

    def _train(self, journal: Journal, keys: Sequence[tuple[int, int, float, int]], steps: int, stop: Stop) -> Any:
        """Results whose histories have the loss and the error at every step; few of these are written."""
        starts, indices, values, record = [], [], [], []
        for order, count, std, seed in keys:
            target = self._target(order, seed)
            found = observe(target, count, seed=seed)
            indices.append(found[0])
            values.append(found[1])
            options: dict[str, Any] = {"seed": seed, "backend": self.backend, "dtype": self.dtype}
            starts.append(CPFactorization.random(target.shape, std=std, **options))
            record.append([recorders.Loss(1), recorders.Error(target, every=1)])
        first = _name(*keys[0]) + ("" if stop.loss else "-continued")
        title = first if len(keys) == 1 else f"{first} and {len(keys) - 1} more"
        journal.say(f"{title}: preparing")
        settled = _Settled(len(keys), self.stop_loss, self.patience)
        results = complete(
            starts,
            indices,
            values,
            record=record,
            optimizer=GroupRMSProp(self.learning_rate),
            steps=steps,
            stop=stop,
            progress=(lambda line: journal.say(f"{title}: {line}")) if journal.progress else False,
            on_record=settled.see if stop.loss else None,
            callback=settled.ends if stop.loss else None,
            checkpoint=Checkpoint(journal.folder.checkpoints / first),
            resume=True,
        )
        if any(result.status == "interrupted" for result in results):
            raise KeyboardInterrupt
        for key, result in zip(keys, results, strict=True):
            name = _name(*key) + ("" if stop.loss else "-continued")
            for quantity, trace in result.history.items():
                last = len(trace) - 1
                for k in sorted({*range(0, last, _WRITTEN_EVERY), _lowest(result), last}):
                    journal.folder.record(name, int(trace.steps[k]), quantity, trace.values[k])
        journal.folder.flush()
        return results

    def _fit(self, journal: Journal, keys: Sequence[tuple[int, int, float, int]]) -> list[Fitted]:
        steps = self.steps if keys[0][0] == 3 else self.order4_steps
        results = self._train(journal, keys, steps, Stop(self.stop_loss, 0, every=1))
        journal.say(f"{_name(*keys[0])}: CP ranks")
        found = []
        for key, result in zip(keys, results, strict=True):
            x, k = result.factorization, _lowest(result)
            loss, error = result.history["loss"].values, result.history["error"].values
            rank = fewest_components(x.backend.to_numpy(x.to_dense()), self.rank_tolerance)
            reached = bool(loss[k] < self.stop_loss)
            found.append(Fitted(*key, reached, result.steps, k, float(loss[k]), float(error[k]), rank))
        return found

    def _baselines(self, journal: Journal, order: int) -> Iterator[Baseline]:
        """Observed entries, and zero elsewhere."""
        for count, (k, seed) in product(self._counts(order), enumerate(self._repetitions(order))):
            journal.say(f"zeros at order {order} with {count} entries: CP rank")
            target = self._target(order, seed)
            indices, values = observe(target, count, seed=seed)
            filled = np.zeros_like(target)
            filled[tuple(indices.T)] = values
            rank = fewest_components(filled, self.rank_tolerance) if k < self.baseline_seeds else None
            yield Baseline(order, count, seed, float(np.linalg.norm(filled - target)), rank)

    def _continue(self, journal: Journal) -> Continued | None:
        """The runs that the claims are about without a stop rule."""
        if 3 not in self.orders or self.claim_count not in self.counts:
            return None
        keys = list(product([3], [self.claim_count], [min(self.stds)], self._repetitions(3)))
        results = self._train(journal, keys, self.continued_steps, Stop())
        steps = min(len(result.history["loss"]) for result in results)
        traces = {
            name: np.stack([result.history[name].values[:steps] for result in results]) for name in ("loss", "error")
        }
        return Continued(results[0].history["loss"].steps[:steps], traces["loss"], traces["error"])


class _Settled:
    """When runs that train together may end: each is below the loss asked for, or has not lowered its own for long."""

    def __init__(self, runs: int, stop_loss: float, patience: int) -> None:
        self.first, self.lowest = np.full(runs, np.nan), np.full(runs, np.inf)
        self.at, self.now = np.zeros(runs, int), np.zeros(runs, int)
        self.stop_loss, self.patience = stop_loss, patience

    def see(self, name: str, step: int, value: Any, run: int) -> None:
        """Take a measurement in."""
        if name != "loss":
            return
        loss = float(value)
        if step == 0:
            self.first[run] = loss
        self.now[run] = step
        if loss < self.lowest[run]:
            self.lowest[run], self.at[run] = loss, step

    def ends(self, step: int, loss: float) -> bool:
        """Whether all runs are over."""
        stuck = (self.lowest < _LEFT_ORIGIN * self.first) & (self.now - self.at > self.patience)
        return bool(np.all((self.lowest < self.stop_loss) | stuck))


def _lowest(result: Any) -> int:
    """The step of the lowest loss."""
    return int(np.argmin(result.history["loss"].values))


def _name(order: int, count: int, std: float, seed: int) -> str:
    return f"order{order}-n{count}-std{std:g}-seed{seed}"
