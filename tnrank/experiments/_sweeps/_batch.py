"""Trainings of several runs in one compiled call, which go on together or apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tnrank._files import write_atomically
from tnrank.experiments._runner import Journal
from tnrank.experiments._sweeps._threads import Asked
from tnrank.factorizations import Factorization
from tnrank.training import Checkpoint, SavedRuns, complete, recorders

NAMES = ".json"
"""Ends the name of the file that says which runs a batch has, beside the folder of its checkpoints."""


@dataclass
class Training:
    """One call of :func:`tnrank.complete` by one run; ``xs`` are its factorizations, often a single one."""

    xs: list[Factorization]
    several: bool
    indices: list[Any]
    values: list[Any]
    records: list[tuple[Any, ...]]
    options: dict[str, Any]
    on_record: Callable[[str, int, Any, int], None] | None
    callback: Callable[[int, float], bool | None] | None
    checkpoint: Checkpoint | None
    alone: bool
    given: tuple[Any, ...]
    error: BaseException | None = field(default=None)
    """What its own callbacks raised while it trained with others."""

    def guarded(self, fn: Callable[..., Any] | None, *args: Any) -> Any:
        """``fn(*args)``, whose error is this run's alone and ends no other."""
        if fn is None or self.error is not None:
            return None
        try:
            return fn(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.error = error
            return None

    def structure(self) -> tuple[Any, ...]:
        """What has to agree for two trainings to be one batch; numbers of observations aside."""
        first, rest = self.xs[0], {k: v for k, v in self.options.items() if k != "progress"}
        kinds = {type(one).__name__ if hasattr(one, "vectors") else "entries" for one in self.indices}
        shapes = tuple(tuple(a.shape) for a in first._values)
        what = (type(first), first._static, shapes, first.dtype, first.backend.name, first.device)
        told = tuple((r.name, _key(r), r.every, r.at) for r in self.records[0])
        return (*what, sorted(kinds), told, rest, self.checkpoint is None)

    def counts(self) -> tuple[int, ...]:
        """Numbers of observations."""
        return tuple(len(one) for one in self.indices)


def _key(recorder: Any) -> Any:
    # What is held out is data, though it makes each of these recorders its own.
    return type(recorder) if isinstance(recorder, recorders.HeldOutError) else recorder


class BatchJournal(Journal):
    """A journal whose trainings are asked for: somebody else carries them out, together with others."""

    def __init__(self, *args: Any, ask: Callable[[Training], Any]) -> None:
        super().__init__(*args)
        self._ask, self._alone = ask, False

    def train(self, *args: Any, **options: Any) -> Any:
        # A callback may end its run, and would end the others.
        self._alone = options.get("callback") is not None
        return super().train(*args, **options)

    def complete(self, x: Any, indices: Any, values: Any, **options: Any) -> Any:
        from tnrank.training._observations import has_own

        several = not isinstance(x, Factorization)
        xs = list(x) if several else [x]
        own = several and has_own(indices)
        record = [tuple(one) if isinstance(one, (list, tuple)) else one for one in options.pop("record", ())]
        nested = several and bool(record) and all(isinstance(one, tuple) for one in record)
        training = Training(
            xs,
            several,
            list(indices) if own else [indices] * len(xs),
            list(values) if own else [values] * len(xs),
            list(record) if nested else [tuple(record)] * len(xs),
            on_record=options.pop("on_record", None),
            callback=options.pop("callback", None),
            checkpoint=options.pop("checkpoint", None),
            options={k: v for k, v in options.items() if k != "resume"},
            alone=self._alone,
            given=(x, indices, values, record),
        )
        return self._ask(training)


class Trainer:
    """Answers runs that ask for trainings: those that agree in structure train in one call, the rest one by one.

    Args:
        folder: where checkpoints of batches stand.
        check: called about twice a second; raises KeyboardInterrupt where the sweep is over.
        progress: called with a line about twice a second.
    """

    def __init__(self, folder: Path, check: Callable[[], None], progress: Callable[[str], None] | None) -> None:
        self.folder, self.check, self.progress = folder, check, progress
        self.used: set[Path] = set()
        self.unfit: set[Path] = set()
        """Folders of checkpoints that some run could not go on from."""
        self.calls: list[int] = []
        """How many factorizations each call trained."""

    def answer(self, asked: list[Asked[Training]]) -> None:
        """Fill in what :func:`tnrank.complete` gives."""
        self.check()
        batches: list[tuple[Any, list[Asked[Training]]]] = []
        for one in asked:
            training = one.question
            if training.alone or "vmap" not in training.xs[0].backend.capabilities:
                batches.append((None, [one]))
                continue
            structure = training.structure()
            for known, batch in batches:
                if known is not None and _equal(known, structure):
                    batch.append(one)
                    break
            else:
                batches.append((structure, [one]))
        for _, batch in batches:
            self._train(batch)

    def _train(self, batch: list[Asked[Training]]) -> None:
        # What was saved together, or alone, goes on so.
        known = self._known()
        sources = [self._source(one.question, known) for one in batch]
        for source in dict.fromkeys(sources):
            self._train_from(source, [one for one, own in zip(batch, sources, strict=True) if own == source])

    def _train_from(self, source: Path | None, batch: list[Asked[Training]]) -> None:
        if len(batch) == 1 and source in (None, _folder_of(batch[0].question)):
            self._train_alone(batch[0])
            return
        if self._train_together(source, batch):
            return
        sound = [one for one in batch if self._begins(one)]
        if len(sound) < len(batch):
            if sound:
                self._train(sound)
            return
        counts = {one.question.counts() for one in batch}
        if len(counts) > 1:
            # Perhaps it was that: large end tensors need as many observations in each run.
            for count in sorted(counts):
                self._train([one for one in batch if one.question.counts() == count])
            return
        for one in batch:
            self._train_alone(one)

    def _train_alone(self, one: Asked[Training]) -> None:
        training = one.question

        def callback(step: int, loss: float) -> bool | None:
            self.check()
            return training.callback(step, loss) if training.callback is not None else None

        self.calls.append(len(training.xs))
        x, indices, values, record = training.given
        try:
            one.result = complete(
                x,
                indices,
                values,
                record=record,
                on_record=training.on_record,
                callback=callback,
                checkpoint=training.checkpoint,
                resume=training.checkpoint is not None,
                **self._shown(training.options, [training]),
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            one.error = error
            return
        _stop_if_interrupted(one)

    def _begins(self, one: Asked[Training]) -> bool:
        """Whether a training gets to its first step; if not, the error is its answer."""
        x, indices, values, record = one.question.given
        try:
            complete(x, indices, values, record=record, **{**one.question.options, "steps": 0, "progress": False})
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            one.error = error
            return False
        return True

    def _train_together(self, source: Path | None, batch: list[Asked[Training]]) -> bool:
        """Whether it could be done; ``source`` is where they go on."""
        trainings = [one.question for one in batch]
        owner = [(training, run) for training in trainings for run in range(len(training.xs))]
        told = False

        def on_record(name: str, step: int, value: Any, run: int) -> None:
            nonlocal told
            told = True
            training, own = owner[run]
            training.guarded(training.on_record, name, step, value, own)

        def callback(step: int, loss: float) -> bool:
            self.check()
            for training in trainings:
                training.guarded(training.callback, step, loss)
            return all(training.error is not None for training in trainings)

        checkpoint = self._checkpoint(trainings)
        resume: Any = checkpoint is not None
        if checkpoint is not None and source is not None and source != checkpoint.folder:
            names = _read_names(source)
            resume = SavedRuns(source, [k for t in trainings for k, name in enumerate(names) if name == self._name(t)])
        try:
            results = complete(
                [x for training in trainings for x in training.xs],
                [one for training in trainings for one in training.indices],
                [one for training in trainings for one in training.values],
                record=[one for training in trainings for one in training.records],
                on_record=on_record,
                callback=callback,
                checkpoint=checkpoint,
                resume=resume,
                **self._shown(trainings[0].options, trainings),
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A disk that fails is no reason to give up what it holds.
            of_disk = checkpoint is not None and isinstance(error, OSError) and str(checkpoint.folder) in str(error)
            if checkpoint is not None and not of_disk:
                _remove(checkpoint)
            if told or of_disk:
                # Nothing may be recorded twice.
                for one in batch:
                    one.error = error
                return True
            if source is None:
                # One by one, and the error is raised in the run that it belongs to.
                return False
            # Perhaps it was the checkpoint.
            self.unfit.add(source)
            self._train(batch)
            return True
        self.calls.append(len(owner))
        for one, training in zip(batch, trainings, strict=True):
            own, results = results[: len(training.xs)], results[len(training.xs) :]
            one.result, one.error = own if training.several else own[0], training.error
        _stop_if_interrupted(*batch)
        return True

    def _name(self, training: Training) -> str:
        folder = _folder_of(training)
        return "" if folder is None else folder.relative_to(self.folder.parent).as_posix()

    def _checkpoint(self, trainings: Sequence[Training]) -> Checkpoint | None:
        first = trainings[0].checkpoint
        if first is None:
            return None
        # The name says whose trainings they are, and the file beside it which run is whose.
        names = [self._name(training) for training in trainings for _ in training.xs]
        folder = self.folder / hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        self.used.add(folder)
        with suppress(OSError):  # without it the batch goes on as a whole only
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder.with_suffix(NAMES), json.dumps(names).encode())
        return replace(first, folder=folder)

    def _known(self) -> dict[str, tuple[int, int, Path]]:
        """Where each training, by name, came farthest together with others: step, minus their number, folder."""
        found: dict[str, tuple[int, int, Path]] = {}
        for path in self.folder.glob(f"*{NAMES}"):
            folder = path.with_suffix("")
            names, steps = _read_names(folder), Checkpoint(folder).steps()
            if steps and folder not in self.unfit:
                for name in names:
                    found[name] = max(found.get(name, (-1, 0, folder)), (steps[-1], -len(names), folder))
        return found

    def _source(self, training: Training, known: Mapping[str, tuple[int, int, Path]]) -> Path | None:
        """The folder from which a training goes on."""
        alone = _folder_of(training)
        if alone is None:
            return None
        step, _, together = known.get(self._name(training), (-1, 0, None))
        own = Checkpoint(alone).steps()
        return alone if own and own[-1] >= step else together

    def _shown(self, options: dict[str, Any], trainings: Sequence[Training]) -> dict[str, Any]:
        progress = self.progress
        if progress is None:
            return {**options, "progress": False}
        return {**options, "progress": lambda line: progress(f"{len(trainings)} together, {line}")}

    def clear(self) -> None:
        """Remove the checkpoints of batches whose runs are all complete."""
        for folder in self.used:
            remove_batch(folder)


def remove_batch(folder: Path) -> None:
    """Remove the checkpoints of a batch."""
    _remove(Checkpoint(folder))
    with suppress(OSError):
        folder.with_suffix(NAMES).unlink()


def _folder_of(training: Training) -> Path | None:
    """Where a training is saved if it trains alone."""
    return None if training.checkpoint is None else Path(training.checkpoint.folder)


def _read_names(folder: Path) -> list[str]:
    """The training that each run of a batch is of; none if that is not known."""
    try:
        names = json.loads(folder.with_suffix(NAMES).read_bytes())
    except (OSError, ValueError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _remove(checkpoint: Checkpoint) -> None:
    with suppress(OSError):
        checkpoint.remove()


def _stop_if_interrupted(*batch: Asked[Training]) -> None:
    """What was saved at Ctrl-C is handed out; nothing else shall begin."""
    results = [r for one in batch for r in (one.result if one.question.several else [one.result])]
    if any(result.status == "interrupted" for result in results):
        raise KeyboardInterrupt


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError):  # options that cannot be compared, arrays say
        return False
