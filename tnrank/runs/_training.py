"""What somebody wants trained: one call of ``tnrank.complete``, described."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tnrank._check import instance, sequence, shown
from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.runs._fitting import Fitting
from tnrank.training import complete, fit

if TYPE_CHECKING:
    from tnrank.training import Loss, Stop
    from tnrank.training.recorders import Recorder

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Training:
    """A call of :func:`tnrank.complete` that a recipe yields: whoever drives it trains, alone or beside other runs.

    ``result = yield Training("cp", x, indices, values, ..)`` gives a CompletionResult, and a list of them if ``names``
    and ``starts`` are lists. What is recorded streams into the run folder's ``metrics.csv``.

    Attributes:
        names: column of the metrics and name of the saved factorization; a list of them for several runs.
        starts: where to start; a list of equally structured factorizations for several runs, which train together.
        indices: as for ``complete``; so are all attributes up to ``callback``, with the same defaults.
        values: observed values.
        callback: also called after what was recorded has been flushed; a training with one has a call of its own.
        save: write ``NAME.safetensors`` at the end.
        metrics: whether all that is recorded goes into ``metrics.csv``; else its owner writes what it wants of the
            histories there, by :meth:`Journal.record`.
        checkpoint: seconds between checkpoints, from which an interrupted run goes on; ``None`` for none.

    Raises:
        TypeError: for names that are no text.
        ValueError: if there are not as many names as starts.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.experiments import Training
        >>> x = tnrank.CPFactorization.random((2, 2), 1, seed=0)
        >>> Training("cp", x, np.argwhere(np.ones((2, 2))), np.ones(4), steps=5)
        Training(cp: CPFactorization, 5 steps)
    """

    names: str | Sequence[str]
    starts: Factorization | Sequence[Factorization]
    indices: Any
    values: Any
    loss: Loss | None = None
    optimizer: Any = None
    steps: int = 10_000
    stop: Stop | float | None = None
    record: Iterable[Recorder] | Iterable[Iterable[Recorder]] = ()
    on_record: Callable[[str, int, Any, int], None] | None = None
    callback: Callable[[int, float], bool | None] | None = None
    save: bool = True
    metrics: bool = True
    checkpoint: float | None = 60.0

    @explained
    def __post_init__(self) -> None:
        if not self.several:
            instance(self.names, "names of Training", str, "the name of the run; a list of names for a list of starts")
            return
        names = sequence(self.names, "names of Training", "names, one for each of the starts")
        for name in names:
            instance(name, "each of the names of Training", str, "text")
        starts = sequence(self.starts, "starts of Training", "factorizations")
        if len(names) != len(starts):
            raise ValueError(f"got {len(names)} names for {len(starts)} runs: needed one for each")
        object.__setattr__(self, "names", tuple(names))
        object.__setattr__(self, "starts", tuple(starts))

    @property
    def several(self) -> bool:
        """Whether several runs train together, and the result is a list."""
        return not isinstance(self.starts, Factorization)

    @property
    def models(self) -> list[str]:
        """The names as a list."""
        return [self.names] if isinstance(self.names, str) else list(self.names)

    @property
    def title(self) -> str:
        """The names in short."""
        models = self.models
        return models[0] if len(models) == 1 else f"{models[0]} and {len(models) - 1} more"

    @property
    def options(self) -> dict[str, Any]:
        """What ``complete`` is called with besides data and recorders."""
        return {"loss": self.loss, "optimizer": self.optimizer, "steps": self.steps, "stop": self.stop}

    @property
    def alone(self) -> bool:
        """Whether it has a call of its own, whatever trains beside it."""
        return self.callback is not None

    def carry_out(self, **how: Any) -> Any:
        """The result, or the list of results."""
        return complete(self.starts, self.indices, self.values, record=self.record, **self.options, **how)

    def __repr__(self) -> str:
        first = self.starts if isinstance(self.starts, Factorization) else (*self.starts, None)[0]
        return f"{type(self).__name__}({self.title}: {type(first).__name__}, {self._length})"

    @property
    def _length(self) -> str:
        return f"{self.steps:,} steps"


@dataclass(frozen=True, eq=False, repr=False)
class SampleTraining(Training):
    """A call of :func:`tnrank.fit` that a recipe yields; ``indices`` are its features, and ``values`` its targets.

    ``result = yield SampleTraining("cp", x, features, targets, epochs=40)`` gives a FitResult, or a list of them.

    Attributes:
        epochs: as for ``fit``, in place of ``steps``; so are the others, with the same defaults.
        batch: samples of a step.
        seed: of the batches.
        validation: features and targets whose loss is recorded after every epoch.
        patience: epochs without a lower validation loss that end a run.

    Example:
        >>> import numpy as np, tnrank
        >>> from tnrank.experiments import SampleTraining
        >>> x = tnrank.CPFactorization.random((2, 2), 1, seed=0)
        >>> SampleTraining("cp", x, np.zeros((4, 2), int), np.ones(4), epochs=5)
        SampleTraining(cp: CPFactorization, 5 epochs)
    """

    epochs: int = 40
    batch: int = 500
    seed: int = 0
    validation: tuple[Any, Any] | None = None
    patience: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("epochs", "batch", "seed", "validation", "patience")}
        return {"loss": self.loss, "optimizer": self.optimizer, "stop": self.stop, **given}

    @property
    def alone(self) -> bool:
        return True

    def carry_out(self, **how: Any) -> Any:
        return fit(self.starts, self.indices, self.values, record=self.record, **self.options, **how)

    @property
    def _length(self) -> str:
        return f"{self.epochs:,} epochs"


Asked: TypeAlias = Training | Fitting
"""What generators yield."""


def drive(work: Generator[Asked, Any, _T], train: Callable[[Any], Any], whose: str = "the generator") -> _T:
    """Carry out what a generator asks for, until it returns.

    Args:
        work: yields Trainings (or Fittings) and gets their results.
        train: gives the result of one; what it raises is raised where it was asked for.
        whose: for the message if something else is yielded.

    Raises:
        TypeError: if something else is yielded.
    """
    trainings = only_trainings(work, whose)
    try:
        asked = next(trainings)
        while True:
            try:
                answer = train(asked)
            except BaseException as error:
                asked = trainings.throw(error)
            else:
                asked = trainings.send(answer)
    except StopIteration as end:
        value: _T = end.value
        return value


def only_trainings(work: Generator[Any, Any, _T], whose: str) -> Generator[Asked, Any, _T]:
    """``work``, which gets a TypeError where it yields something else than what can be trained."""
    advance: Callable[[Any], Any] = work.send
    answer: Any = None
    while True:
        try:
            asked = advance(answer)
        except StopIteration as end:
            value: _T = end.value
            return value
        if isinstance(asked, (Training, Fitting)):
            try:
                advance, answer = work.send, (yield asked)
            except BaseException as error:
                advance, answer = work.throw, error
        else:
            told = f"{whose} yielded {shown(asked)}, needed Training(names, starts, indices, values) or Fitting"
            advance, answer = work.throw, TypeError(told)
