"""Completion and sensing by gradient descent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import numpy as np

from tnrank.factorizations import Factorization
from tnrank.training._checkpoint import Keeper
from tnrank.training._checkpoint_folder import Checkpoint, check_kept, held
from tnrank.training._loop import Problem, Stop, runner
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._objective import has_own, make_objective
from tnrank.training._optimizers import GroupRMSProp, resolve
from tnrank.training._result import CompletionResult
from tnrank.training._run import Run
from tnrank.training._stability import unstable
from tnrank.training.recorders import Recorder


class Options(TypedDict, total=False):
    """The keywords of :func:`complete`."""

    loss: Loss | None
    optimizer: Any
    steps: int
    record: Iterable[Recorder] | Iterable[Iterable[Recorder]]
    stop: Stop | float | None
    progress: bool | Callable[[str], None]
    callback: Callable[[int, float], bool | None] | None
    on_record: Callable[[str, int, Any, int], None] | None
    checkpoint: Checkpoint | None
    resume: bool | str | os.PathLike[str]


@overload
def complete(x: Factorization, indices: Any, values: Any, **options: Unpack[Options]) -> CompletionResult: ...
@overload
def complete(
    x: Sequence[Factorization], indices: Any, values: Any, **options: Unpack[Options]
) -> list[CompletionResult]: ...
def complete(
    x: Any,
    indices: Any,
    values: Any,
    *,
    loss: Loss | None = None,
    optimizer: Any = None,
    steps: int = 10_000,
    record: Iterable[Recorder] | Iterable[Iterable[Recorder]] = (),
    stop: Stop | float | None = None,
    progress: bool | Callable[[str], None] = False,
    callback: Callable[[int, float], bool | None] | None = None,
    on_record: Callable[[str, int, Any, int], None] | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool | str | os.PathLike[str] = False,
) -> Any:
    """Fit a factorization to observed entries, or to rank-one measurements, by full-batch gradient descent.

    Args:
        x: the factorization to start from, or a sequence of equally structured ones: they train in one batched run
            on JAX and PyTorch, finished ones frozen, and one after the other on NumPy.
        indices: ``(M, N)`` observed positions, or :class:`tnrank.RankOneMeasurements`; a list of them, one a run, if
            the runs have observations of their own (as many each, unless the end tensor is small).
        values: ``(M,)`` observed values, or a list of them as well.
        loss: ``SquaredLoss()`` if not given.
        optimizer: ``GroupRMSProp(1e-2)`` if not given; an optax transformation on JAX, a ``torch.optim`` class or a
            function of the parameters on torch.
        steps: the most updates.
        record: recorders from :mod:`tnrank.training.recorders`; or one list of them a run, alike but for their data.
        stop: a :class:`tnrank.Stop`, or the loss below which to stop at once.
        progress: show a line with rate, loss and time left, or call a function with it.
        callback: ``callback(step, loss)`` about twice a second; ``True`` stops the run.
        on_record: ``on_record(name, step, value, run)`` with every measurement as soon as it is on the host, before
            the callback: what a killed run shall leave behind is written here. A resumed run first tells what it had
            recorded before.
        checkpoint: a :class:`tnrank.training.Checkpoint`: where to save the run on its way, and how often.
        resume: ``True`` to go on from the last whole checkpoint in that folder, if there is one; or another folder,
            which must hold one. On the same backend the result is that of a run that was never interrupted, bit for
            bit. ``x`` and all else are given as they were; ``steps`` may grow.

    Returns:
        A CompletionResult; a list of them for a sequence.

    Raises:
        ValueError: for no observations, an entry out of range or observed twice with different values, NaN among the
            values, factorizations of different structure, or a checkpoint of another run.
        FileExistsError: if the folder of ``checkpoint`` holds an earlier run and ``resume`` is not ``True``.
        BlockingIOError: if another process trains there.
        TypeError: for complex factorizations, or an optimizer that the backend does not have.

    Example:
        >>> import numpy as np, tnrank
        >>> target = np.outer([1.0, 2.0, 3.0], [1.0, -1.0])
        >>> indices = np.argwhere(np.ones((3, 2)))
        >>> x = tnrank.MatrixFactorization.random((3, 2), depth=2, std=0.1, seed=0)
        >>> result = tnrank.complete(x, indices, target[tuple(indices.T)], steps=2000, stop=1e-6)
        >>> result.status
        'converged'
    """
    several = not isinstance(x, Factorization)
    given: list[Any] = [x] if not several else list(x) if isinstance(x, Iterable) else []
    _check_given(given)
    check_kept(checkpoint, resume)
    first = given[0]
    stop = Stop(loss=stop) if isinstance(stop, (int, float)) else stop or Stop()
    per_run = _recorders_of(record, len(given), several)
    options: dict[str, Any] = dict(loss=loss, optimizer=optimizer, steps=steps, stop=stop, progress=progress)
    if several and "vmap" not in first.backend.capabilities:
        done: list[CompletionResult] = []
        ended: CompletionResult | None = None
        with held(checkpoint):
            for run, one in enumerate(given):
                told = _with_run(on_record, run)
                seen = (indices[run], values[run]) if has_own(indices) else (indices, values)
                options["record"] = per_run[run % len(per_run)]
                if ended is None:
                    kept = {"callback": callback, **_of_run(checkpoint, resume, run)}
                    result = complete(one, seen[0], seen[1], on_record=told, **kept, **options)
                    ended = result if result.status in ("stopped", "interrupted") else None
                else:
                    # What ends one run ends the sequence: the rest stays as it was given.
                    result = complete(one, *seen, on_record=told, **{**options, "steps": 0})
                    result = replace(result, status=ended.status, message=ended.message)
                done.append(result)
        return done
    if not hasattr(steps, "__index__") or steps < 0:
        raise ValueError(f"steps is a whole number from 0 on, got {steps!r}")
    objective, data = make_objective(first, indices, values, loss or SquaredLoss(), len(given) if several else None)
    problem = Problem(
        first.backend.name,
        type(first),
        first._static,
        objective,
        resolve(optimizer if optimizer is not None else GroupRMSProp(), first.backend),
        stop,
        per_run[0],
        several,
        len(per_run) > 1,
    )
    keeper = Keeper(checkpoint, resume, optimizer or GroupRMSProp()) if checkpoint is not None or resume else None
    driver = Run(runner(problem), given, per_run, data, steps, progress, callback, on_record, keeper)
    # Divergence is reported by the status; NumPy's warnings on the way would only repeat it.
    with keeper or nullcontext(), np.errstate(over="ignore", invalid="ignore"):
        results = driver.go()
        for run in driver.failed:
            seen = (indices[run], values[run]) if has_own(indices) else (indices, values)
            told = unstable(problem.optimizer, run, given[run], *seen, objective.loss)
            results[run] = replace(results[run], message=results[run].message + told)
    return results if several else results[0]


def _check_given(given: list[Factorization]) -> None:
    if not given or not all(isinstance(one, Factorization) for one in given):
        raise TypeError(
            "complete starts from a factorization or a sequence of them, such as "
            "tnrank.CPFactorization.random((8, 8, 8), std=1e-3)"
        )
    first = given[0]
    if first.dtype.startswith("complex"):
        raise TypeError(f"training is for real dtypes, got {first.dtype}: x.to(dtype='float64')")
    for number, one in enumerate(given):
        same = type(one) is type(first) and one._static == first._static
        shapes = [a.shape for a in one._values] == [a.shape for a in first._values]
        if not (same and shapes and one.backend is first.backend and one.dtype == first.dtype):
            raise ValueError(
                f"factorization {number} is not structured like the first: got {one._title()}, needed "
                f"{first._title()}; train it in a call of its own"
            )


def _recorders_of(record: Any, runs: int, several: bool) -> list[tuple[Any, ...]]:
    """The recorders of all runs, or one tuple of them a run."""
    found = list(record)
    own = several and bool(found) and all(isinstance(one, (list, tuple)) for one in found)
    lists = [tuple(one) for one in found] if own else [tuple(found)]
    for one in lists:
        check_recorders(one)
    if own and len(lists) != runs:
        raise ValueError(f"got lists of recorders for {len(lists)} runs, needed one for each of {runs}, or one for all")
    for run, one in enumerate(lists):
        told = [(r.name, r.every, r.at, type(r)) for r in one]
        if told != [(r.name, r.every, r.at, type(r)) for r in lists[0]]:
            raise ValueError(
                f"the recorders of run {run} are {list(one)}, those of run 0 {list(lists[0])}: runs that train "
                "together record the same things at the same steps, and differ in the recorders' data alone"
            )
    return lists if runs > 1 else lists[:1]


def check_recorders(recorders: tuple[Any, ...]) -> None:
    seen: set[str] = set()
    for recorder in recorders:
        if not isinstance(recorder, Recorder):
            raise TypeError(
                f"got the recorder {recorder!r}: needed one of tnrank.training.recorders, such as Loss(every=25)"
            )
        if recorder.name in seen:
            raise ValueError(f"two recorders are called {recorder.name!r}: give one another name (recorder.name = ..)")
        seen.add(recorder.name)


def _with_run(on_record: Callable[[str, int, Any, int], None] | None, run: int) -> Any:
    """``on_record`` for one factorization of a sequence that trains one after the other."""
    if on_record is None:
        return None
    return lambda name, step, value, _: on_record(name, step, value, run)


def _of_run(checkpoint: Checkpoint | None, resume: Any, run: int) -> dict[str, Any]:
    """Where one run of a sequence that trains one after the other is kept."""
    name = f"run-{run}"
    found: dict[str, Any] = {}
    if checkpoint is not None:
        found["checkpoint"] = replace(checkpoint, folder=Path(checkpoint.folder) / name)
    if resume is True or (resume and (Path(resume) / name).is_dir()):
        found["resume"] = resume if resume is True else Path(resume) / name
    elif resume and not run:
        raise FileNotFoundError(f"{resume} holds no checkpoint: leave resume out to begin anew")
    return found
