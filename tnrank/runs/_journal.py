"""What work in a run folder is done with: it trains models, records and saves them on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tnrank._explained import explained
from tnrank.runs._fitting import Fitting, FittingJob
from tnrank.runs._folder import RunFolder
from tnrank.runs._leftovers import TRAINER
from tnrank.runs._training import Training
from tnrank.training import Checkpoint, CompletionResult

if TYPE_CHECKING:
    from tnrank.factorizations import Factorization


class Journal:
    """The record of one run: lines of progress, ``metrics.csv`` and saved factorizations.

    Args:
        folder: where it is written.
        progress: called with lines.
    """

    @explained
    def __init__(self, folder: RunFolder, progress: Callable[[str], None] | None = None) -> None:
        self.folder, self.progress = folder, progress
        self._begun: Counter[str] = Counter()

    def say(self, line: str) -> None:
        """Show a line of progress."""
        if self.progress is not None:
            self.progress(line)

    def record(self, model: str, step: int, quantity: str, value: Any) -> None:
        """A measurement for ``metrics.csv``: a number, array or ``{node: array}``."""
        self.folder.record(model, step, quantity, value)

    def flush(self) -> None:
        """Give what was recorded to the system, so that it outlives this process."""
        self.folder.flush()

    def save(self, name: str, x: Factorization) -> None:
        """Write a factorization as ``NAME.safetensors``."""
        path = self.folder.partial / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        x.save(path)

    def train(self, asked: Training | Fitting) -> Any:
        """The result of one training, in a call of its own.

        Raises:
            KeyboardInterrupt: at Ctrl-C, after the factorizations and a checkpoint were saved.
        """
        job = self.begin(asked)
        self.say(f"{asked.title}: preparing")
        job.train_alone((lambda line: self.say(f"{asked.title}: {line}")) if self.progress else False)
        return job.result()

    def begin(self, asked: Training | Fitting) -> Job | FittingJob:
        """A training that is about to be carried out, here or beside others."""
        if asked.checkpoint is None:
            return FittingJob(self, asked, None) if isinstance(asked, Fitting) else Job(self, asked, None)
        # A resumed recipe trains the same models in the same order, and each finds its own checkpoints.
        self._begun[asked.title] += 1
        name = f"{asked.title.replace('/', '-').replace(' ', '-')}-{self._begun[asked.title]}"
        if isinstance(asked, Fitting):
            return FittingJob(self, asked, self.folder.checkpoints / f"{name}{TRAINER}")
        return Job(self, asked, Checkpoint(self.folder.checkpoints / name, every=asked.checkpoint))


class Job:
    """A training under way: its measurements go to a journal, its results come from whoever carries it out.

    Attributes:
        found: the results, one a run, once it is carried out.
        error: what was raised in its place.
    """

    def __init__(self, journal: Journal, training: Training, checkpoint: Checkpoint | None) -> None:
        self.journal, self.training, self.checkpoint = journal, training, checkpoint
        self.found: list[CompletionResult] = []
        self.error: BaseException | None = None
        self._written: dict[tuple[int, str], int] = {}

    def train_alone(self, progress: Any, look: Callable[[], None] | None = None) -> None:
        """Carry it out; ``look`` is called about twice a second."""
        asked = self.training

        def callback(step: int, loss: float) -> bool | None:
            if look is not None:
                look()
            return self.callback(step, loss)

        found: Any = asked.carry_out(
            on_record=self.on_record,
            callback=callback,
            progress=progress,
            checkpoint=self.checkpoint,
            resume=self.checkpoint is not None,
        )
        self.found = list(found) if asked.several else [found]

    def on_record(self, name: str, step: int, value: Any, run: int) -> None:
        """Note a measurement."""
        if self.training.metrics:
            self.journal.record(self.training.models[run], step, name, value)
            self._written[run, name] = step
        if self.training.on_record is not None:
            self.training.on_record(name, step, value, run)

    def callback(self, step: int, loss: float) -> bool | None:
        """Flush what was noted; whether the training shall stop."""
        self.journal.flush()
        return self.training.callback(step, loss) if self.training.callback is not None else None

    def result(self) -> Any:
        """What the training gives to whoever asked for it, recorded and saved.

        Raises:
            KeyboardInterrupt: if it was interrupted, after everything was saved.
        """
        if self.error is not None:
            raise self.error
        training = self.training
        interrupted = any(result.status == "interrupted" for result in self.found)
        for run, (model, result) in enumerate(zip(training.models, self.found, strict=True)):
            if training.metrics:
                self._last_rows(model, run, result)
            if training.save or interrupted:
                self.journal.save(model, result.factorization)
        self.journal.flush()
        if interrupted:
            raise KeyboardInterrupt
        return self.found if training.several else self.found[0]

    def _last_rows(self, model: str, run: int, result: CompletionResult) -> None:
        """Record what is only measured when a run is over: its last step, if it stopped between two marks."""
        for name, trace in result.history.items():
            if len(trace) and trace.steps[-1] > self._written.get((run, name), -1):
                values = trace.values
                last = {k: v[-1] for k, v in values.items()} if isinstance(values, Mapping) else values[-1]
                self.journal.record(model, int(trace.steps[-1]), name, last)
