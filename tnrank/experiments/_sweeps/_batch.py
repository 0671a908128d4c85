"""Trainings of several runs in one compiled call, which go on together or apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tnrank._files import write_atomically
from tnrank.runs import FittingJob, Job
from tnrank.training import Checkpoint, SavedRuns, complete, recorders
from tnrank.training._observations import has_own

NAMES = ".json"
"""Ends the name of the file that says which runs a batch has, beside the folder of its checkpoints."""


class Trainer:
    """Carries out jobs: those that agree in structure train in one call, the rest one by one.

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

    def carry_out(self, jobs: Sequence[Job | FittingJob]) -> None:
        """Give each job its results, or the error that it ended with."""
        self.check()
        batches: list[tuple[Any, list[Job]]] = []
        for job in jobs:
            if isinstance(job, FittingJob):
                self._train_alone(job)
                continue
            apart = job.training.alone or "vmap" not in _starts(job)[0].backend.capabilities
            # A callback may end its run, and would end the others.
            structure = None if apart else _structure(job)
            same = [batch for known, batch in batches if known is not None and _equal(known, structure)]
            if same and not apart:
                same[0].append(job)
            else:
                batches.append((structure, [job]))
        for _, batch in batches:
            self._train(batch)

    def clear(self) -> None:
        """Remove the checkpoints of batches whose runs are all complete."""
        for folder in self.used:
            remove_batch(folder)

    def _train(self, batch: list[Job]) -> None:
        # What was saved together, or alone, goes on so.
        known = self._known()
        sources = [self._source(job, known) for job in batch]
        for source in dict.fromkeys(sources):
            self._train_from(source, [job for job, own in zip(batch, sources, strict=True) if own == source])

    def _train_from(self, source: Path | None, batch: list[Job]) -> None:
        if len(batch) == 1 and source in (None, _alone(batch[0])):
            self._train_alone(batch[0])
            return
        if self._train_together(source, batch):
            return
        sound = [job for job in batch if self._begins(job)]
        counts = {_counts(job) for job in sound}
        if len(sound) < len(batch) and sound:
            self._train(sound)
        elif len(counts) > 1:
            # Perhaps it was that: large end tensors need as many observations in each run.
            for count in sorted(counts):
                self._train([job for job in sound if _counts(job) == count])
        else:
            for job in sound:
                self._train_alone(job)

    def _train_alone(self, job: Job | FittingJob) -> None:
        self.calls.append(len(job.training.models) if isinstance(job, Job) else 1)
        with _errors_of(job):
            job.train_alone(self._shown(1), self.check)
            if isinstance(job, Job):
                _stop_if_interrupted([job])

    def _begins(self, job: Job) -> bool:
        """Whether a training gets to its first step; if not, the error is its own."""
        asked = job.training
        options = {**asked.options, "steps": 0}
        with _errors_of(job):
            complete(asked.starts, asked.indices, asked.values, record=asked.record, **options)
        return job.error is None

    def _train_together(self, source: Path | None, batch: list[Job]) -> bool:
        """Whether it could be done; ``source`` is where they go on."""
        owner = [(job, run) for job in batch for run in range(len(job.training.models))]
        told = False

        def on_record(name: str, step: int, value: Any, run: int) -> None:
            nonlocal told
            told = True
            job, own = owner[run]
            if job.error is None:
                # What the recipe's own function raises is this run's error alone, and ends no other.
                with _errors_of(job):
                    job.on_record(name, step, value, own)

        def callback(step: int, loss: float) -> bool:
            self.check()
            for job in batch:
                with _errors_of(job):
                    job.callback(step, loss)
            return all(job.error is not None for job in batch)

        checkpoint = self._checkpoint(batch)
        resume: Any = checkpoint is not None
        if checkpoint is not None and source is not None and source != checkpoint.folder:
            names = _read_names(source)
            resume = SavedRuns(source, [k for job in batch for k, name in enumerate(names) if name == self._name(job)])
        own = [_of_each_run(job) for job in batch]
        try:
            results = complete(
                [x for job in batch for x in _starts(job)],
                [one for indices, _, _ in own for one in indices],
                [one for _, values, _ in own for one in values],
                record=[one for _, _, record in own for one in record],
                on_record=on_record,
                callback=callback,
                progress=self._shown(len(batch)),
                checkpoint=checkpoint,
                resume=resume,
                **batch[0].training.options,
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
                for job in batch:
                    job.error = error
                return True
            if source is None:
                # One by one, and the error is raised in the run that it belongs to.
                return False
            # Perhaps it was the checkpoint.
            self.unfit.add(source)
            self._train(batch)
            return True
        self.calls.append(len(owner))
        for job in batch:
            count = len(job.training.models)
            job.found, results = results[:count], results[count:]
        _stop_if_interrupted(batch)
        return True

    def _name(self, job: Job) -> str:
        folder = _alone(job)
        return "" if folder is None else folder.relative_to(self.folder.parent).as_posix()

    def _checkpoint(self, batch: Sequence[Job]) -> Checkpoint | None:
        first = batch[0].checkpoint
        if first is None:
            return None
        # The name says whose trainings they are, and the file beside it which run is whose.
        names = [self._name(job) for job in batch for _ in job.training.models]
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

    def _source(self, job: Job, known: Mapping[str, tuple[int, int, Path]]) -> Path | None:
        """The folder from which a training goes on."""
        alone = _alone(job)
        if alone is None:
            return None
        step, _, together = known.get(self._name(job), (-1, 0, None))
        own = Checkpoint(alone).steps()
        return alone if own and own[-1] >= step else together

    def _shown(self, count: int) -> Any:
        progress = self.progress
        return False if progress is None else lambda line: progress(f"{count} together, {line}")


class _errors_of:  # read as a word: with _errors_of(job)
    """A block whose errors are those of a job; Ctrl-C is nobody's."""

    def __init__(self, job: Job | FittingJob) -> None:
        self.job = job

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        self.job.error = self.job.error or error
        return True


def remove_batch(folder: Path) -> None:
    """Remove the checkpoints of a batch."""
    _remove(Checkpoint(folder))
    with suppress(OSError):
        folder.with_suffix(NAMES).unlink()


def _starts(job: Job) -> list[Any]:
    return list(job.training.starts) if job.training.several else [job.training.starts]


def _of_each_run(job: Job) -> tuple[list[Any], list[Any], list[tuple[Any, ...]]]:
    """Observed positions, values and recorders of each run of a job."""
    asked, count = job.training, len(job.training.models)
    own = asked.several and has_own(asked.indices)
    record: list[Any] = [tuple(one) if isinstance(one, (list, tuple)) else one for one in asked.record]
    nested = asked.several and bool(record) and all(isinstance(one, tuple) for one in record)
    return (
        list(asked.indices) if own else [asked.indices] * count,
        list(asked.values) if own else [asked.values] * count,
        record if nested else [tuple(record)] * count,
    )


def _structure(job: Job) -> tuple[Any, ...]:
    """What has to agree for two trainings to be one batch; numbers of observations aside."""
    first = _starts(job)[0]
    indices, _, record = _of_each_run(job)
    kinds = {type(one).__name__ if hasattr(one, "vectors") else "entries" for one in indices}
    shapes = tuple(tuple(a.shape) for a in first._values)
    what = (type(first), first._static, shapes, first.dtype, first.backend.name, first.device)
    # What functions measure is looked at run by run, and what is held out is data.
    told = tuple((r.name, type(r) if isinstance(r, _OWN) else r, r.every, r.at) for r in record[0])
    return (*what, sorted(kinds), told, job.training.options, job.checkpoint is None)


_OWN = (recorders.HeldOutError, recorders.Function)
"""Recorders that may be each run's own."""


def _counts(job: Job) -> tuple[int, ...]:
    """Numbers of observations."""
    return tuple(len(one) for one in _of_each_run(job)[0])


def _alone(job: Job) -> Path | None:
    """Where a training is saved if it trains alone."""
    return None if job.checkpoint is None else Path(job.checkpoint.folder)


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


def _stop_if_interrupted(batch: Sequence[Job]) -> None:
    """What was saved at Ctrl-C is handed out; nothing else shall begin."""
    if any(result.status == "interrupted" for job in batch for result in job.found):
        raise KeyboardInterrupt


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (TypeError, ValueError):  # options that cannot be compared, arrays say
        return False
