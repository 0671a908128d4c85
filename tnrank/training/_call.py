"""What a training was called with besides data, and sequences that train one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tnrank.factorizations import Factorization
from tnrank.training._checkpoint import Keeper
from tnrank.training._checkpoint_folder import Checkpoint, SavedRuns, held
from tnrank.training._loop import Problem, Stop, runner
from tnrank.training._losses import Loss
from tnrank.training._optimizers import of_run
from tnrank.training._run import Run

Result = TypeVar("Result", bound=Any)


@dataclass(frozen=True)
class Call:
    """What ``complete`` or ``fit`` was called with, besides data."""

    loss: Loss
    optimizer: Any
    """As it was given."""
    resolved: Any
    steps: int
    stop: Stop
    progress: Any
    callback: Any
    on_record: Any
    checkpoint: Checkpoint | None
    resume: Any

    def driver(
        self,
        problem: Problem,
        given: list[Factorization],
        recorders: list[tuple[Any, ...]],
        data: Any,
        course: Any = None,
    ) -> Run:
        """What trains some factorizations."""
        keeping = self.checkpoint is not None or self.resume
        keeper = Keeper(self.checkpoint, self.resume, self.optimizer) if keeping else None
        told = self.progress, self.callback, self.on_record
        return Run(runner(problem), given, recorders, data, self.steps, *told, keeper, course)


def one_by_one(call: Call, runs: int, train: Callable[[Call, int], Result]) -> list[Result]:
    """Train a sequence one after the other; ``train`` gives the result of one run."""
    done: list[Result] = []
    ended: Result | None = None
    with held(call.checkpoint):
        for run in range(runs):
            own = replace(
                call,
                resolved=of_run(call.resolved, run, runs),
                optimizer=of_run(call.optimizer, run, runs),
                on_record=_with_run(call.on_record, run),
                checkpoint=None,
                resume=False,
            )
            if ended is None:
                result = train(replace(own, **_kept(call.checkpoint, call.resume, run)), run)
                ended = result if result.status in ("stopped", "interrupted") else None
            else:
                # What ends one run ends the sequence: the rest stays as it was given.
                result = train(replace(own, steps=0, callback=None), run)
                result = replace(result, status=ended.status, message=ended.message)
            done.append(result)
    return done


def _with_run(on_record: Callable[[str, int, Any, int], None] | None, run: int) -> Any:
    """``on_record`` for one factorization of a sequence that trains one after the other."""
    if on_record is None:
        return None
    return lambda name, step, value, _: on_record(name, step, value, run)


def _kept(checkpoint: Checkpoint | None, resume: Any, run: int) -> dict[str, Any]:
    """Where one run of a sequence that trains one after the other is kept."""
    found: dict[str, Any] = {}
    if checkpoint is not None:
        found["checkpoint"] = replace(checkpoint, folder=Path(checkpoint.folder) / f"run-{run}")
    name = f"run-{resume.runs[run] if isinstance(resume, SavedRuns) else run}"
    if isinstance(resume, SavedRuns):
        resume = resume.folder
    if resume is True or (resume and (Path(resume) / name).is_dir()):
        found["resume"] = resume if resume is True else Path(resume) / name
    elif resume and not run and not any(Path(resume).glob("run-*")):
        raise FileNotFoundError(f"{resume} holds no checkpoint: leave resume out to begin anew")
    return found
