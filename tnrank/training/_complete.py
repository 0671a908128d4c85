"""Completion and sensing by gradient descent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from tnrank._backend import Backend
from tnrank.factorizations import Factorization
from tnrank.training._loop import Problem, Runner, State, Stop, runner
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._objective import make_objective
from tnrank.training._optimizers import GroupRMSProp, resolve
from tnrank.training._progress import Progress
from tnrank.training.recorders import Recorder

_MARKS = 64
"""Recorded steps in one compiled call."""
_CHUNK_SECONDS = 0.5
"""How often a run comes back to the host for progress and Ctrl-C."""


@dataclass(frozen=True)
class Trace:
    """What one recorder saw: ``values[k]`` was measured after ``steps[k]`` updates.

    ``values`` is an array ``(K, ..)``, or a dictionary of such, one a node.
    """

    steps: np.ndarray[Any, Any]
    values: Any

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        if isinstance(self.values, Mapping):
            return f"Trace({len(self)} steps, {{{', '.join(f'{k}: {v.shape[1:]}' for k, v in self.values.items())}}})"
        return f"Trace({len(self)} steps, each {self.values.shape[1:]})"


@dataclass(frozen=True)
class CompletionResult:
    """The end of a run.

    Attributes:
        factorization: the last one; after ``"nan"`` the last with a finite loss.
        history: recorder's name -> Trace.
        status: ``"steps"`` (all done), ``"converged"`` (the stop rule held), ``"nan"``, ``"stopped"`` (by the
            callback) or ``"interrupted"`` (Ctrl-C).
        steps: updates done.
        loss: the training loss of ``factorization``.
        seconds: wall-clock time, compilation included.
        message: the status in words.
    """

    factorization: Any
    history: dict[str, Trace]
    status: str
    steps: int
    loss: float
    seconds: float
    message: str

    def __repr__(self) -> str:
        return (
            f"CompletionResult({self.status}: {self.message}; {self.steps:,} steps in {self.seconds:.1f} s, "
            f"loss {self.loss:.3e}; history: {', '.join(self.history) or 'none'})"
        )


@overload
def complete(x: Factorization, indices: Any, values: Any, **options: Any) -> CompletionResult: ...
@overload
def complete(x: Sequence[Factorization], indices: Any, values: Any, **options: Any) -> list[CompletionResult]: ...
def complete(
    x: Any,
    indices: Any,
    values: Any,
    *,
    loss: Loss | None = None,
    optimizer: Any = None,
    steps: int = 10_000,
    record: Iterable[Recorder] = (),
    stop: Stop | float | None = None,
    progress: bool | Callable[[str], None] = False,
    callback: Callable[[int, float], bool | None] | None = None,
    on_record: Callable[[str, int, Any, int], None] | None = None,
) -> Any:
    """Fit a factorization to observed entries, or to rank-one measurements, by full-batch gradient descent.

    Args:
        x: the factorization to start from, or a sequence of equally structured ones: they train in one batched run
            on JAX and PyTorch, finished ones frozen, and one after the other on NumPy.
        indices: ``(M, N)`` observed positions, or :class:`tnrank.RankOneMeasurements`.
        values: ``(M,)`` observed values.
        loss: ``SquaredLoss()`` if not given.
        optimizer: ``GroupRMSProp(1e-2)`` if not given; an optax transformation on JAX, a ``torch.optim`` class or a
            function of the parameters on torch.
        steps: the most updates.
        record: recorders from :mod:`tnrank.training.recorders`.
        stop: a :class:`tnrank.Stop`, or the loss below which to stop at once.
        progress: show a line with rate, loss and time left, or call a function with it.
        callback: ``callback(step, loss)`` about twice a second; ``True`` stops the run.
        on_record: ``on_record(name, step, value, run)`` with every measurement as soon as it is on the host, before
            the callback: what a killed run shall leave behind is written here.

    Returns:
        A CompletionResult; a list of them for a sequence.

    Raises:
        ValueError: for no observations, an entry out of range or observed twice with different values, NaN among the
            values, or factorizations of different structure.
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
    given: list[Factorization] = list(x) if several else [x]
    _check_given(given)
    first = given[0]
    stop = Stop(loss=stop) if isinstance(stop, (int, float)) else stop or Stop()
    options = dict(loss=loss, optimizer=optimizer, steps=steps, record=record, stop=stop, progress=progress)
    if several and "vmap" not in first.backend.capabilities:
        options["record"] = tuple(record)
        done: list[CompletionResult] = []
        ended: CompletionResult | None = None
        for run, one in enumerate(given):
            told = _with_run(on_record, run)
            if ended is None:
                result = complete(one, indices, values, callback=callback, on_record=told, **options)
                ended = result if result.status in ("stopped", "interrupted") else None
            else:
                # What ends one run ends the sequence: the rest stays as it was given.
                result = complete(one, indices, values, on_record=told, **{**options, "steps": 0})
                result = replace(result, status=ended.status, message=ended.message)
            done.append(result)
        return done
    if steps < 0 or not hasattr(steps, "__index__"):
        raise ValueError(f"steps is a whole number from 0 on, got {steps!r}")
    objective, data = make_objective(
        first, indices, values, loss or SquaredLoss(), len(given) if several else None
    )
    recorders = tuple(record)
    _check_recorders(recorders)
    problem = Problem(
        first.backend.name,
        type(first),
        first._static,
        objective,
        resolve(optimizer if optimizer is not None else GroupRMSProp(), first.backend),
        stop,
        recorders,
        several,
    )
    run = _Run(runner(problem), given, recorders, data, steps, progress, callback, on_record)
    # Divergence is reported by the status; NumPy's warnings on the way would only repeat it.
    with np.errstate(over="ignore", invalid="ignore"):
        results = run.go()
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


def _check_recorders(recorders: tuple[Any, ...]) -> None:
    seen: set[str] = set()
    for recorder in recorders:
        if not isinstance(recorder, Recorder):
            raise TypeError(f"got the recorder {recorder!r}: needed one of tnrank.training.recorders, such as Loss(every=25)")
        if recorder.name in seen:
            raise ValueError(f"two recorders are called {recorder.name!r}: give one another name (recorder.name = ..)")
        seen.add(recorder.name)


class _Run:
    """Drives a runner from mark to mark and gathers what it records."""

    def __init__(
        self,
        runner: Runner,
        given: list[Factorization],
        recorders: tuple[Recorder, ...],
        data: Any,
        steps: int,
        progress: Any,
        callback: Callable[[int, float], bool | None] | None,
        on_record: Callable[[str, int, Any, int], None] | None,
    ) -> None:
        self.runner, self.given, self.data, self.steps = runner, given, data, int(steps)
        self.backend: Backend = runner.backend
        self.recorders = recorders
        self.progress, self.callback = Progress(self.steps, progress), callback
        self.on_record = on_record
        self.recorded = tuple(recorder.data(given[0]) for recorder in self.recorders)
        self.rows: list[list[list[tuple[int, Any]]]] = [[[] for _ in self.recorders] for _ in given]

    @property
    def batched(self) -> bool:
        return self.runner.problem.batched

    def go(self) -> list[CompletionResult]:
        began = time.perf_counter()
        stop = self.backend.stop_gradient
        if self.batched:
            stack = self.backend.xp.stack
            values = tuple(stack([stop(x._values[k]) for x in self.given]) for k in range(len(self.given[0]._values)))
        else:
            values = tuple(stop(v) for v in self.given[0]._values)
        state = self.runner.start(values, self.data)
        losses = self._host(state["loss"])
        if not np.isfinite(losses).all():
            bad = int(np.argmin(np.isfinite(losses)))
            raise ValueError(
                f"the loss of the initial factorization{f' {bad}' if self.batched else ''} is {losses[bad]}: start from "
                "smaller weights or a wider dtype"
            )
        status = "steps"
        position, chunk = -1, 1
        try:
            while position < self.steps:
                # Short chunks first, so that neither compilation nor a slow step delays Ctrl-C.
                marks = self._next_marks(position, chunk)
                started, before = time.perf_counter(), state
                state = self._chunk(state, marks)
                self._host(state["count"])
                spent, done = time.perf_counter() - started, marks[-1] - position
                position = marks[-1]
                chunk = max(1, min(int(done * _CHUNK_SECONDS / max(spent, 1e-9)), 4 * max(chunk, done)))
                counts, losses = self._host(state["count"]), self._host(state["loss"])
                finite = losses[np.isfinite(losses)]
                step, level = int(counts.max()), float(np.median(finite)) if len(finite) else float("nan")
                self.progress.update(step, level)
                if not np.isfinite(losses).all():
                    state = self._last_good(before, state)
                if self.callback is not None and self.callback(step, level):
                    status = "stopped"
                    break
                if not np.asarray(self._active(state)).any():
                    break
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            self.progress.close()
        return self._results(state, status, time.perf_counter() - began)

    def _next_marks(self, position: int, chunk: int) -> list[int]:
        """The next recorded steps within ``chunk`` steps, and the end of the chunk."""
        end = min(max(position, 0) + chunk, self.steps)
        found: set[int] = set()
        for recorder in self.recorders:
            found.update(recorder.between(position + 1, end, self.steps))
        marks = sorted(found)[:_MARKS]
        return marks if len(marks) == _MARKS or (marks and marks[-1] == end) else [*marks, end]

    def _chunk(self, state: State, marks: list[int]) -> State:
        due = [[recorder.due(mark, self.steps) for recorder in self.recorders] for mark in marks]
        if "scan" in self.backend.capabilities:
            missing = _MARKS - len(marks)
            xp = self.backend.xp
            table = (
                xp.asarray(np.asarray(marks + [marks[-1]] * missing, np.int32)),
                xp.asarray(np.asarray(due + [[False] * len(self.recorders)] * missing, bool).reshape(_MARKS, -1)),
            )
        else:
            table = list(zip(marks, due, strict=True))  # type: ignore[assignment]
        state, rows = self.runner.advance(state, table, self.data, self.recorded)
        self._keep(marks, due, rows)
        return state

    def _keep(self, marks: list[int], due: list[list[bool]], rows: Any) -> None:
        """Sort what a chunk recorded by run and recorder; a run that stopped before a mark has nothing there."""
        if not self.recorders:
            return
        if "scan" in self.backend.capabilities:
            counts = self._host(rows[0]).reshape(_MARKS, -1)
            columns = [_map(self.backend.to_numpy, column) for column in rows[1]]
            pick: Callable[[int, int], Any] = lambda k, r: _map(lambda a: a[k], columns[r])  # noqa: E731
        else:
            counts = np.stack([np.atleast_1d(self._host(row[0])) for row in rows])
            pick = lambda k, r: _map(self._array, rows[k][1][r])  # noqa: E731
        for k, mark in enumerate(marks):
            for r in range(len(self.recorders)):
                if not due[k][r]:
                    continue
                value = pick(k, r)
                for run in range(len(self.given)):
                    if counts[k, run] == mark:
                        own = _map(lambda a, run=run: a[run], value) if self.batched else value
                        self.rows[run][r].append((mark, own))
                        if self.on_record is not None:
                            self.on_record(self.recorders[r].name, mark, own, run)

    def _last_good(self, before: State, state: State) -> State:
        """Put runs whose loss is not finite back to their last values with a finite loss."""
        counts, losses = self._host(state["count"]), self._host(state["loss"])
        bad = ~np.isfinite(losses)
        for run in np.flatnonzero(bad):
            for rows in self.rows[run]:
                while rows and rows[-1][0] >= counts[run]:
                    rows.pop()
        self._failed = {int(run): int(counts[run]) for run in np.flatnonzero(bad)} | getattr(self, "_failed", {})
        if self.runner.keeps_previous:
            mask: Any = self.backend.xp.asarray(bad)
            if not self.batched:
                return {**state, "values": state["previous"]}
            picked = self.runner._select(mask, {**state, "values": state["previous"]}, state)
            return {**state, "values": picked["values"]}
        # Compiled loops keep no previous values, which would cost every step a copy: run the last chunk again.
        xp = self.backend.xp
        until = xp.asarray(np.where(bad, counts - 1, counts).astype(np.int32))
        goal = until if self.batched else until[0]
        again = self.backend.jit(self.runner._forward)(before, goal, self.data)
        return {**again, "loss": state["loss"], "count": state["count"]}

    def _results(self, state: State, status: str, seconds: float) -> list[CompletionResult]:
        problem = self.runner.problem
        failed: dict[int, int] = getattr(self, "_failed", {})
        if failed:
            state = {**state, **self.runner.measure(state["values"], self.data)}
        counts = self._host(state["count"])
        losses, below = self._host(state["loss"]), self._host(state["below"])
        final = self.runner.record(state, self.recorded) if self.recorders else ()
        results = []
        for run in range(len(self.given)):
            values = [v[run] for v in state["values"]] if self.batched else state["values"]
            count = failed[run] - 1 if run in failed else int(counts[run])
            if run in failed:
                name, message = "nan", f"the loss was not finite after step {failed[run]}; kept step {count}"
            elif below[run] > problem.stop.patience:
                name, message = "converged", f"loss below {problem.stop.loss:g}"
            else:
                name = status
                message = {
                    "steps": f"all {self.steps:,} steps done",
                    "stopped": "the callback asked to stop",
                    "interrupted": "interrupted by the keyboard",
                }[status]
            history = {}
            for r, recorder in enumerate(self.recorders):
                rows = self.rows[run][r]
                if not rows or rows[-1][0] != count:
                    value = _map(self._array, final[r])
                    rows.append((count, _map(lambda a, run=run: a[run], value) if self.batched else value))
                history[recorder.name] = _trace(rows)
            factorization = problem.kind._make(problem.static, values, validate=False)
            results.append(
                CompletionResult(factorization, history, name, count, float(losses[run]), seconds, message)
            )
        return results

    def _active(self, state: State) -> Any:
        until = self.steps
        return self._host(self.runner.running(state, until))

    def _host(self, x: Any) -> np.ndarray[Any, Any]:
        return np.atleast_1d(self._array(x))

    def _array(self, x: Any) -> np.ndarray[Any, Any]:
        return np.asarray(self.backend.to_numpy(x) if hasattr(x, "shape") else x)


def _with_run(on_record: Callable[[str, int, Any, int], None] | None, run: int) -> Any:
    """``on_record`` for one factorization of a sequence that trains one after the other."""
    if on_record is None:
        return None
    return lambda name, step, value, _: on_record(name, step, value, run)


def _map(fn: Callable[[Any], Any], value: Any) -> Any:
    return {key: fn(a) for key, a in value.items()} if isinstance(value, Mapping) else fn(value)


def _trace(rows: list[tuple[int, Any]]) -> Trace:
    steps = np.asarray([step for step, _ in rows], np.int64)
    if isinstance(rows[0][1], Mapping):
        return Trace(steps, {key: np.stack([row[key] for _, row in rows]) for key in rows[0][1]})
    return Trace(steps, np.stack([np.asarray(row) for _, row in rows]))
