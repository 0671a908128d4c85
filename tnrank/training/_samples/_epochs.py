"""Which samples each step of a run sees, and when the run stops for its validation loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tnrank.training._loop import State
    from tnrank.training._run import Run

_AHEAD, _ORDERED = 64, 2**20
"""The most epochs, and samples in them, whose order is drawn ahead; compiled programs are of one such number."""


class Epochs:
    """All samples in batches, epoch after epoch in another order; the last batch of an epoch may be smaller.

    Args:
        put: makes an array of the run's backend and device.
        samples: M.
        batch: B.
        seed: of the orders; ``None`` keeps the samples as they are.
        watched: which recorder gives the validation loss.
        patience: epochs without a lower validation loss that end a run; ``None`` for no such rule.
    """

    def __init__(
        self,
        put: Callable[[Any], Any],
        samples: int,
        batch: int,
        seed: int | None,
        watched: int | None = None,
        patience: int | None = None,
    ) -> None:
        self.put, self.samples, self.batch, self.seed = put, samples, batch, seed
        self.gave_up: Any = defaultdict(bool)
        self.steps = -(-samples // batch)
        self.window = max(2, min(_AHEAD, _ORDERED // samples))
        self.watched, self.patience = watched, patience
        self.first: int | None = None

    def order(self, epoch: int) -> np.ndarray[Any, Any]:
        """Samples of each step ``(steps, B)``; a last batch is filled up with any."""
        found = np.arange(self.samples)
        if self.seed is not None:
            found = np.random.default_rng([self.seed, epoch]).permutation(self.samples)
        return np.resize(found, (self.steps, self.batch)).astype(np.int32)

    def sizes(self) -> np.ndarray[Any, Any]:
        """How many samples each step sees."""
        return np.minimum(self.batch, self.samples - self.batch * np.arange(self.steps))

    def of_chunk(self, data: Any, position: int) -> Any:
        """The data with the orders of the epochs from ``position`` on."""
        first = max(position, 0) // self.steps
        if first == self.first:
            return data
        self.first = first
        # Also of epochs that will not be trained on: a checkpoint, which knows its data, may be given more of them.
        orders = np.stack([self.order(first + k) for k in range(self.window)])
        return {**data, "order": self.put(orders), "first": self.put(np.asarray(first, np.int32))}

    def limit(self, position: int, end: int) -> int:
        """Where a chunk shall end instead: the samples of its steps are ordered, and a watched run ends an epoch."""
        first = max(position, 0) // self.steps
        last = (first + self.window) * self.steps - 1
        return min(end, last if self.patience is None else (first + 1) * self.steps)

    def started(self, run: Run, state: State) -> State:
        """With the best values so far, if they are watched."""
        if self.patience is None:
            return state
        runs = np.zeros(len(run.given)) if run.batched else np.zeros(())
        none = {"ended": runs.astype(np.int32), "stale": runs.astype(np.int32), "lowest": runs + np.inf}
        return {**state, **{name: self.put(x) for name, x in none.items()}, "best": state["values"]}

    def after_chunk(self, run: Run, state: State, position: int) -> State:
        """Keep values with a lower validation loss, and end runs that have found none for long."""
        if self.patience is None or position % self.steps or self.watched is None:
            return state
        rows = [run.rows[k][self.watched][-1] for k in range(len(run.given))]
        here = np.asarray([step == position for step, _ in rows])
        losses = np.asarray([float(value) for _, value in rows])
        lowest, stale = (np.atleast_1d(run.backend.to_numpy(state[name])) for name in ("lowest", "stale"))
        better = here & (losses < lowest)
        lowest = np.where(better, losses, lowest)
        stale = np.where(better, 0, stale + here).astype(np.int32)
        ended = (stale >= self.patience).astype(np.int32)
        told = {"lowest": lowest, "stale": stale, "ended": ended}
        shape = (len(run.given),) if run.batched else ()
        best = state["best"]
        if better.any():
            best = run.runner.chosen(self.put(better) if run.batched else bool(better[0]), state["values"], best)
        return {**state, **{name: self.put(x.reshape(shape)) for name, x in told.items()}, "best": best}

    def ended(self, run: Run, state: State) -> State:
        """With the best values in place of the last."""
        if self.patience is None:
            return state
        self.gave_up = np.atleast_1d(run.backend.to_numpy(state["ended"]))
        return {**state, "values": state["best"]}
