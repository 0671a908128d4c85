"""Checkpoints of training runs: which there are, which is whole, and what belongs to the run at hand."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._warn import warn
from tnrank.training._checkpoint_folder import (
    Checkpoint,
    SavedRuns,
    held,
    paths_of,
    prune,
    read_checkpoint,
    steps_of,
    write_checkpoint,
)
from tnrank.training._objective import of_run, on_arrays
from tnrank.training._optimizers import Optimizer, is_stateful
from tnrank.training._result import on_leaves
from tnrank.training._state_file import decode, digest, encode, to_bytes

if TYPE_CHECKING:
    from tnrank.training._loop import State
    from tnrank.training._run import Run

_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What a damaged checkpoint raises on its way back."""


@dataclass
class Saved:
    """What a checkpoint gives back to a run."""

    state: State
    position: int
    rows: list[list[list[tuple[int, Any]]]]
    failed: dict[int, int]
    seconds: float


class Keeper:
    """Saves one run, and finds its last whole checkpoint; entered, it holds the folder.

    ``optimizer`` is as it was given to ``complete``; ``resume`` is a folder, some runs of one, ``True`` for the
    checkpoint's own, or nothing.
    """

    def __init__(self, checkpoint: Checkpoint | None, resume: Any, optimizer: Any) -> None:
        if resume is True and checkpoint is None:
            raise ValueError("resume=True needs checkpoint=Checkpoint(folder); or give the folder, resume=folder")
        self.runs: Sequence[int] | None = None
        if isinstance(resume, SavedRuns):
            resume, self.runs = resume.folder, resume.runs
        self.checkpoint, self.optimizer = checkpoint, optimizer
        self.folder = Path(checkpoint.folder) if checkpoint is not None else None
        self.source = self.folder if resume is True else Path(resume) if resume else None
        self.needed = bool(resume) and resume is not True
        self.identity: dict[str, Any] = {}
        self.saved_at, self.saved_when = -1, self._now()
        self.safe: tuple[int, bytes, dict[str, Any]] | None = None
        self._held = held(checkpoint)

    def __enter__(self) -> Keeper:
        self._held.__enter__()
        try:
            self._refuse_earlier()
        except BaseException:
            self._held.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *raised: Any) -> None:
        self._held.__exit__(None, None, None)

    def _refuse_earlier(self) -> None:
        """Refuse a folder with checkpoints of another run than the one that goes on."""
        if self.folder is None:
            return
        other = self.source is None or self.source.resolve() != self.folder.resolve()
        if other and (found := steps_of(self.folder)):
            raise FileExistsError(
                f"{self.folder} holds checkpoints of an earlier run, up to step {found[-1]:,}: resume=True "
                "goes on from there, or choose another folder"
            )

    def _now(self) -> float:
        return time.perf_counter()

    def limit(self, position: int, end: int) -> int:
        """Where the chunk from ``position`` to ``end`` shall end instead, so that a checkpoint can follow."""
        if self.checkpoint is None or self.checkpoint.unit == "seconds":
            return end
        every = int(self.checkpoint.every)
        return min(end, (max(position, 0) // every + 1) * every)

    def load(self, run: Run, template: State) -> Saved | None:
        """The last whole checkpoint; ``template`` is a state of this run.

        Raises:
            FileNotFoundError: if a folder was given and holds none.
            ValueError: if none is whole, or they are of another run.
        """
        self.identity = _identity(run, self.optimizer)
        if self.source is None:
            return None
        if self.runs is not None and is_stateful(run.runner.problem.optimizer):
            raise ValueError(f"{_described(self.optimizer)} keeps the state of all runs together: resume all of them")
        steps = steps_of(self.source)
        if not steps and self.needed:
            raise FileNotFoundError(f"{self.source} holds no checkpoint: leave resume out to begin anew")
        for step in reversed(steps):
            try:
                content, arrays = read_checkpoint(self.source, step)
            except _DAMAGE as error:
                if isinstance(error, FileNotFoundError) and steps_of(self.source)[-1:] != steps[-1:]:
                    return self.load(run, template)  # it is another run's folder, which has gone on meanwhile
                self._skip(step, error)
                continue
            self._compare(self._chosen(content["identity"]))
            if content["position"] > run.steps:
                raise ValueError(
                    f"the checkpoint in {self.source} is at step {content['position']:,}, beyond steps={run.steps:,}"
                )
            try:
                saved = _restore(run, template, content, arrays, self.runs)
            except _DAMAGE as error:
                self._skip(step, error)
                continue
            self.saved_at = saved.position if self.source == self.folder else -1
            return saved
        if steps:
            raise ValueError(f"none of the {len(steps)} checkpoints in {self.source} is whole: begin anew elsewhere")
        return None

    def _skip(self, step: int, error: BaseException) -> None:
        path = paths_of(self.source or Path(), step)[0]
        warn(f"skipped the checkpoint {path}: {error}", RuntimeWarning)

    def _chosen(self, identity: dict[str, Any]) -> dict[str, Any]:
        """The identity of the runs that go on, of all that were saved."""
        if self.runs is None:
            return identity
        count = identity["number of runs"]
        if max(self.runs) >= count:
            has = f"{count} runs, 0 to {count - 1}, and none {max(self.runs)}" if count else "a run that trained alone"
            raise ValueError(f"the checkpoint in {self.source} has {has}: name others, or resume={str(self.source)!r}")
        own = {name: [found[k] for k in self.runs] for name, found in identity.items() if name in _OF_EACH_RUN}
        return {**identity, **own, "number of runs": len(self.runs)}

    def _compare(self, found: Mapping[str, Any]) -> None:
        here = json.loads(json.dumps(self.identity))
        wrong = [name for name in here if found.get(name) != here[name]]
        if wrong:
            told = "; ".join(
                _DIGESTS.get(name, f"its {name} is {_short(found.get(name))}, here {_short(here[name])}")
                for name in wrong
            )
            raise ValueError(
                f"the checkpoint in {self.source} is of another run: {told}. Call as that run was called, or leave "
                "resume out and begin anew in another folder"
            )

    def before_chunk(self, run: Run, state: State, position: int) -> None:
        """Keep a copy of what the next chunk changes in place, in case that it is interrupted."""
        if self.folder is not None and is_stateful(run.runner.problem.optimizer) and position >= 0:
            self.safe = (position, *self._packed(run, state, position))

    def after_chunk(self, run: Run, state: State, position: int) -> None:
        """Save if it is time."""
        if self.checkpoint is None:
            return
        every = self.checkpoint.every
        in_seconds = self.checkpoint.unit == "seconds"
        if self._now() - self.saved_when >= every if in_seconds else position % int(every) == 0:
            self.save(run, state, position)

    def save(self, run: Run, state: State, position: int, broken: bool = False) -> None:
        """Save now; ``broken`` says that a chunk was interrupted and ``state`` may be half new."""
        if self.folder is None or position < 0:
            return
        if broken and is_stateful(run.runner.problem.optimizer):
            if self.safe is None:
                return
            position, packed, content = self.safe
        elif position != self.saved_at:
            packed, content = self._packed(run, state, position)
        if position == self.saved_at:
            return
        assert self.checkpoint is not None
        try:
            write_checkpoint(self.folder, position, packed, content)
        except OSError as error:
            # A full disk shall not end a run of hours: its result is still to come.
            warn(
                f"the checkpoint of step {position:,} could not be written to {self.folder}: "
                f"{error.strerror or error}; training goes on",
                RuntimeWarning,
            )
            self.saved_when = self._now()
            return
        self.saved_at, self.saved_when = position, self._now()
        prune(self.folder, self.checkpoint.keep)

    def _packed(self, run: Run, state: State, position: int) -> tuple[bytes, dict[str, Any]]:
        arrays: dict[str, Any] = {}
        history = [[_history(rows, run, arrays) for rows in one] for one in run.rows]
        content = {
            "identity": self.identity,
            "position": position,
            "failed": [[k, step] for k, step in run.failed.items()],
            "seconds": run.seconds,
            "state": {name: encode(value, run.backend, arrays) for name, value in state.items()},
            "history": history,
        }
        return to_bytes(arrays), content


_OF_EACH_RUN = ("initial weights", "observations", "recorded targets")
"""What a checkpoint knows of each run."""


_DIGESTS = {
    "initial weights": "its initial weights are others",
    "observations": "its data, or the batches they come in, are others",
    "recorded targets": "what its recorders compare with is other",
}
"""What is compared by a hash."""


def _identity(run: Run, optimizer: Any) -> dict[str, Any]:
    """What must agree for a checkpoint to be of this run."""
    problem, first, backend, count = run.runner.problem, run.given[0], run.backend, len(run.given)

    def of_each(data: Any, own: bool, *more: Any) -> list[str]:
        if not own:
            return [digest([*more, data], backend)] * count
        return [digest([*more, of_run(data, k)], backend) for k in range(count)]

    return {
        "backend": backend.name,
        "factorization": first.kind,
        "structure": json.dumps(first._static_to_json()),
        "shapes": [list(a.shape) for a in first._values],
        "dtype": first.dtype,
        "device": first.device,
        "number of runs": count if run.batched else 0,
        "loss": repr(problem.objective.loss),
        "optimizer": _described(optimizer),
        "stop rule": repr(problem.stop),
        "recorders": [_told(recorder) for recorder in run.recorders],
        "initial weights": [digest(x._values, backend) for x in run.given],
        "observations": of_each(run.data, problem.objective.own, problem.objective.way),
        "recorded targets": of_each(run.recorded, problem.own_recorders),
    }


def _described(optimizer: Any) -> str:
    if isinstance(optimizer, Optimizer):
        return repr(optimizer)
    if isinstance(optimizer, functools.partial):
        given = [*map(repr, optimizer.args), *(f"{k}={v!r}" for k, v in sorted(optimizer.keywords.items()))]
        return f"{_described(optimizer.func)}({', '.join(given)})"
    kind = optimizer if hasattr(optimizer, "__qualname__") else type(optimizer)
    return f"{kind.__module__}.{kind.__qualname__}"


def _told(recorder: Any) -> str:
    plain = {k: v for k, v in vars(recorder).items() if v is None or isinstance(v, (bool, int, float, str))}
    return f"{recorder.name}: {recorder!r} {plain}"


def _history(rows: list[tuple[int, Any]], run: Run, arrays: dict[str, Any]) -> dict[str, Any]:
    """What one recorder saw in one run, stacked."""

    def put(values: list[Any]) -> Any:
        return encode(np.stack([np.asarray(v) for v in values]), run.backend, arrays)

    found: dict[str, Any] = {"steps": [step for step, _ in rows]}
    if rows and isinstance(rows[0][1], Mapping):
        found["nodes"] = [[repr(key), put([row[key] for _, row in rows])] for key in rows[0][1]]
    elif rows:
        found["values"] = put([row for _, row in rows])
    return found


def _restore(
    run: Run, template: State, content: Mapping[str, Any], arrays: Mapping[str, Any], runs: Sequence[int] | None
) -> Saved:
    stateful = is_stateful(run.runner.problem.optimizer)
    state = {
        name: decode(spec, run.backend, arrays, template[name], stateful and name == "inner")
        for name, spec in content["state"].items()
    }
    history, failed = content["history"], {int(k): int(step) for k, step in content["failed"]}
    if runs is not None:
        state = on_arrays(lambda array: run.backend.xp.stack([array[k] for k in runs]), state)
        history = [history[k] for k in runs]
        failed = {place: failed[k] for place, k in enumerate(runs) if k in failed}
    keys: list[dict[str, Any]] = [{} for _ in run.recorders]
    if any("nodes" in one for of_one in history for one in of_one):
        # Nodes are found again by what they print: the recorder measures once to name them.
        measured = run.runner.record(template, run.data, run.recorded)
        keys = [{repr(key): key for key in value} if isinstance(value, Mapping) else {} for value in measured]
    rows: list[list[list[tuple[int, Any]]]] = []
    for one in history:
        rows.append([])
        for recorder, saved, known in zip(run.recorders, one, keys, strict=True):
            values: Any = ()
            if "nodes" in saved:
                values = {known[told]: decode(spec, run.backend, arrays) for told, spec in saved["nodes"]}
            elif "values" in saved:
                values = decode(saved["values"], run.backend, arrays)
            steps = [(k, step) for k, step in enumerate(saved["steps"]) if recorder.due(step, run.steps)]
            rows[-1].append([(step, on_leaves(itemgetter(k), values)) for k, step in steps])
    return Saved(state, int(content["position"]), rows, failed, float(content["seconds"]))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
