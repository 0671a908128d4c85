"""What somebody wants trained that is no factorization: a model of a framework, stepped from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tnrank._check import instance, shown, whole_number
from tnrank._explained import explained
from tnrank._files import write_atomically
from tnrank._reading import read_bytes, reading

if TYPE_CHECKING:
    from tnrank.runs._journal import Journal

_LOOK_SECONDS = 0.5


class Trainer(Protocol):
    """A model with its data and optimizer; :meth:`tnrank.Backend.trainer` makes those that stand with a backend."""

    def advance(self, steps: int) -> None:
        """Do so many updates."""

    def measure(self) -> Mapping[str, Any]:
        """Quantity -> number or array, of the model as it is."""

    def state(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """All that the next updates depend on, weights, moments and the place in the data, as arrays on the host."""

    def restore(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Be what ``state`` was taken of."""


@dataclass(frozen=True, eq=False)
class Fitting:
    """What a recipe yields to have a model of a framework trained: ``fitted = yield Fitting("cnn", trainer, 1000)``.

    Attributes:
        name: column of the metrics.
        trainer: a :class:`Trainer`.
        steps: how many updates.
        every: distance of the measurements; step 0 and the last are measured, too.
        checkpoint: seconds between checkpoints, from which an interrupted run goes on; ``None`` for none.

    Raises:
        TypeError: for a trainer that lacks a method.
        ValueError: for a number out of range.

    Example:
        >>> from tnrank.experiments import Fitting
        >>> Fitting("cnn", None, 100)
        Traceback (most recent call last):
        ...
        TypeError: trainer has the methods advance, measure, state and restore, got None
    """

    name: str
    trainer: Any
    steps: int
    every: int = 25
    checkpoint: float | None = 60.0

    @explained
    def __post_init__(self) -> None:
        instance(self.name, "name of Fitting", str, "text")
        if not all(callable(getattr(self.trainer, name, None)) for name in ("advance", "measure", "state", "restore")):
            raise TypeError(f"trainer has the methods advance, measure, state and restore, got {shown(self.trainer)}")
        whole_number(self.steps, "steps of Fitting", 0)
        whole_number(self.every, "every of Fitting", 1)

    @property
    def title(self) -> str:
        """The name."""
        return self.name


@dataclass(frozen=True)
class Fitted:
    """A model that was trained.

    Attributes:
        trainer: with the trained model.
        steps: ``(K,)`` at which it was measured.
        history: quantity -> values ``(K, ..)``.
    """

    trainer: Any
    steps: np.ndarray[Any, Any]
    history: dict[str, np.ndarray[Any, Any]]


class FittingJob:
    """A fitting under way, which trains in a call of its own.

    Attributes:
        found: the result, once it is there.
        error: what was raised in its place.
    """

    def __init__(self, journal: Journal, fitting: Fitting, file: Path | None) -> None:
        self.journal, self.fitting, self.file = journal, fitting, file
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.found: list[Fitted] = []
        self.error: BaseException | None = None

    def train_alone(self, progress: Any, look: Callable[[], None] | None = None) -> None:
        """Carry it out.

        Raises:
            KeyboardInterrupt: at Ctrl-C, after the last half second's state was saved.
        """
        asked, trainer = self.fitting, self.fitting.trainer
        step = self._restore()
        safe = (step, self._packed(step))
        looked = saved = time.monotonic()
        try:
            while True:
                if (step % asked.every == 0 or step == asked.steps) and (not self.rows or self.rows[-1][0] < step):
                    self._measure(step)
                if step == asked.steps:
                    break
                count = min(asked.every - step % asked.every, asked.steps - step)
                trainer.advance(count)
                step += count
                now = time.monotonic()
                if now - looked < _LOOK_SECONDS:
                    continue
                # Ctrl-C may leave the trainer half way: this is what can be gone on from.
                looked, safe = now, (step, self._packed(step))
                self.journal.flush()
                if progress:
                    progress(f"step {step:,} of {asked.steps:,}")
                if asked.checkpoint is not None and now - saved >= asked.checkpoint:
                    self._save(safe[1])
                    saved = now
                if look is not None:
                    look()
        except KeyboardInterrupt:
            self._save(safe[1])
            self.journal.flush()
            raise
        if self.file is not None and asked.steps:
            self._save(self._packed(step))  # a run that goes on finds this model trained
        names = dict.fromkeys(name for _, row in self.rows for name in row)
        history = {name: np.stack([row[name] for _, row in self.rows]) for name in names}
        self.found = [Fitted(trainer, np.asarray([step for step, _ in self.rows]), history)]

    def result(self) -> Fitted:
        """What the fitting gives to whoever asked for it."""
        if self.error is not None:
            raise self.error
        self.journal.flush()
        return self.found[0]

    def _measure(self, step: int) -> None:
        row = {name: np.array(value, np.float64) for name, value in self.fitting.trainer.measure().items()}
        self.rows.append((step, row))
        self._record(step, row)

    def _record(self, step: int, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            self.journal.record(self.fitting.name, step, name, value)

    def _packed(self, step: int) -> bytes:
        from safetensors.numpy import save

        told = [[at, {name: value.tolist() for name, value in row.items()}] for at, row in self.rows]
        arrays = {name: np.asarray(array, order="C") for name, array in self.fitting.trainer.state().items()}
        return save(arrays, {"step": str(step), "rows": json.dumps(told)})

    def _save(self, packed: bytes) -> None:
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, packed)

    def _restore(self) -> int:
        """The step of the checkpoint, whose state the trainer is given; 0 if there is none."""
        if self.file is None or not self.file.is_file():
            return 0
        from safetensors.numpy import load

        with reading(self.file, "is no checkpoint of a trainer") as file:
            packed = read_bytes(file)
            told = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])["__metadata__"]
            step, rows = int(told["step"]), json.loads(told["rows"])
            if step > self.fitting.steps:
                raise ValueError(f"it is at step {step:,}, beyond steps={self.fitting.steps:,}")
            self.fitting.trainer.restore(load(packed))
        self.rows = [(at, {name: np.asarray(value) for name, value in row.items()}) for at, row in rows]
        for at, row in self.rows:
            self._record(at, row)
        return step
