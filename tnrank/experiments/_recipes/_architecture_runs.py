"""Training of one architecture on several problems at once, and the ranks of its grid tensors on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank.experiments._recipes._architectures import Architecture, features, grid
from tnrank.linalg import matricize
from tnrank.ranks import effective_rank
from tnrank.training import Optimizer
from tnrank.training._optimizers import Context, batched_update

Host = np.ndarray[Any, Any]
Modes = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """A target, and which of its entries are observed.

    Attributes:
        target: ``(M, .., M)``, of mean square 1.
        observed: positions in the flat target.
    """

    target: Host
    observed: Host

    def unobserved_error(self, tensor: Host) -> float:
        """The error on the other entries, relative to the target there."""
        rest = np.ones(self.target.size, bool)
        rest[self.observed] = False
        wanted = self.target.ravel()[rest]
        return float(np.linalg.norm(tensor.ravel()[rest] - wanted) / np.linalg.norm(wanted))


class Trainer:
    """Runs of one architecture that differ in problem and initial weights, in one batch.

    ``forward`` and the optimizer's update are those of one run; the backend's ``vmap`` makes them those of all, and
    its ``jit`` a loop of updates one program.
    """

    def __init__(
        self,
        model: Architecture,
        problems: Sequence[Problem],
        weights: Sequence[Sequence[Host]],
        optimizer: Optimizer,
        backend: Backend,
        dtype: str,
    ) -> None:
        self.model, self.backend, self.runs = model, backend, len(problems)
        inputs = features(grid(model.order, model.size), model.size)

        def on_device(x: Host) -> Any:
            return backend.asarray(x.astype(dtype), dtype)

        self.grid = on_device(inputs)
        self.data = (
            on_device(np.stack([inputs[p.observed] for p in problems])),
            on_device(np.stack([p.target.ravel()[p.observed] for p in problems])),
        )
        values = tuple(on_device(np.stack(arrays)) for arrays in zip(*weights, strict=True))
        context = Context(backend, lambda x: x)
        self.state = (values, backend.vmap(lambda given: optimizer.init(given, context))(values))
        update = batched_update(optimizer, context)
        # Runs share nothing, so that the gradient of the sum of their losses is that of each.
        gradient = backend.value_and_grad(lambda given, *data: backend.xp.sum(self._losses(given, *data)))

        def advance(state: Any, count: Any, data: Any) -> Any:
            def one(carried: Any) -> Any:
                (given, inner), left = carried
                _, slopes = gradient(given, *data)
                return update(slopes, inner, given), left - 1

            return backend.while_loop(lambda carried: carried[1] > 0, one, (state, count))[0]

        self._advance = backend.jit(advance)
        self._losses_of = backend.jit(self._losses)
        self._tensors_of = backend.jit(
            lambda given, inputs: self._each(lambda weights: model.forward(weights, inputs), given)
        )

    def _each(self, fn: Callable[..., Any], *batched: Any) -> Any:
        """``fn`` of every run, stacked."""
        if "jit" in self.backend.capabilities:
            return self.backend.vmap(fn)(*batched)
        # Without a compiler a batch saves little, and not every operation of a framework has a batched form.
        rows = [fn(*(_row(argument, run) for argument in batched)) for run in range(self.runs)]
        return self.backend.xp.stack(rows)

    def _losses(self, weights: Any, inputs: Any, targets: Any) -> Any:
        """The mean squared error of each run."""
        xp = self.backend.xp
        return self._each(lambda w, x, y: xp.mean((self.model.forward(w, x) - y) ** 2), weights, inputs, targets)

    def advance(self, steps: int) -> None:
        """Update all runs ``steps`` times."""
        if steps:
            self.state = self._advance(self.state, self.backend.xp.asarray(steps), self.data)

    @property
    def weights(self) -> tuple[Any, ...]:
        """Arrays with a leading axis of runs."""
        values: tuple[Any, ...] = self.state[0]
        return values

    @property
    def losses(self) -> Host:
        """``(runs,)`` mean squared errors on the observed entries."""
        return np.asarray(self.backend.to_numpy(self._losses_of(self.weights, *self.data)), np.float64)

    @property
    def tensors(self) -> Host:
        """``(runs, M, .., M)`` grid tensors."""
        flat = self.backend.to_numpy(self._tensors_of(self.weights, self.grid))
        shape = (self.runs, *(self.model.size,) * self.model.order)
        return np.asarray(flat, np.float64).reshape(shape)


def _row(batched: Any, run: int) -> Any:
    return tuple(part[run] for part in batched) if isinstance(batched, tuple) else batched[run]


@dataclass(frozen=True)
class Recorded:
    """What was measured along the runs of one architecture.

    Attributes:
        steps: ``(K,)``.
        losses: ``(runs, K)`` mean squared errors on the observed entries.
        errors: ``(runs, K)`` relative errors on the others.
        ranks: modes -> ``(runs, K)`` effective ranks of that matricization.
        weights: at the end, with a leading axis of runs.
    """

    steps: Host
    losses: Host
    errors: Host
    ranks: dict[Modes, Host]
    weights: tuple[Any, ...]


def effective_ranks(tensors: Host, modes: Modes) -> Host:
    """``(runs,)`` effective ranks of one matricization of ``(runs, M, .., M)``."""
    return np.asarray(effective_rank(np.stack([matricize(t, modes) for t in tensors])), np.float64)


def record(
    trainer: Trainer,
    problems: Sequence[Problem],
    partitions: Sequence[Modes],
    steps: int,
    every: int,
    on_mark: Callable[[int, Host, Host, dict[Modes, Host]], None],
) -> Recorded:
    """Train, and measure every ``every`` steps; ``on_mark`` gets step, losses, errors and ranks.

    Raises:
        ValueError: if a loss is not finite.
    """
    marks = sorted({*range(0, steps, every), steps})
    rows: list[tuple[Host, Host, dict[Modes, Host]]] = []
    position = 0
    for mark in marks:
        trainer.advance(mark - position)
        position = mark
        losses, tensors = trainer.losses, trainer.tensors
        if not np.isfinite(losses).all():
            raise ValueError(
                f"{trainer.model.name}: the loss is not finite after step {mark:,}: "
                "use a lower learning rate (--set learning_rate=..)"
            )
        errors = np.asarray([p.unobserved_error(t) for p, t in zip(problems, tensors, strict=True)])
        ranks = {modes: effective_ranks(tensors, modes) for modes in partitions}
        rows.append((losses, errors, ranks))
        on_mark(mark, losses, errors, ranks)
    return Recorded(
        np.asarray(marks),
        np.stack([row[0] for row in rows], axis=1),
        np.stack([row[1] for row in rows], axis=1),
        {modes: np.stack([row[2][modes] for row in rows], axis=1) for modes in partitions},
        trainer.weights,
    )
