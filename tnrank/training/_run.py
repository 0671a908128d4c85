"""Driving a training loop from the host: chunks of steps, what they record, and how a run ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from operator import itemgetter
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank.factorizations import Factorization
from tnrank.training._checkpoint import Keeper, Saved
from tnrank.training._loop import Runner, State
from tnrank.training._progress import Progress
from tnrank.training._result import CompletionResult, on_leaves, stacked, trace_of
from tnrank.training.recorders import Recorder

_MARKS = 64
"""Recorded steps in one compiled call."""
_CHUNK_SECONDS = 0.5
"""How often a run comes back to the host for progress and Ctrl-C."""


class Run:
    """Drives a runner from mark to mark and gathers what it records."""

    def __init__(
        self,
        runner: Runner,
        given: list[Factorization],
        recorders: Sequence[tuple[Recorder, ...]],
        data: Any,
        steps: int,
        progress: Any,
        callback: Callable[[int, float], bool | None] | None,
        on_record: Callable[[str, int, Any, int], None] | None,
        keeper: Keeper | None = None,
        course: Any = None,
    ) -> None:
        self.keeper, self.course = keeper, course
        self.began, self.spent = time.perf_counter(), 0.0
        self.runner, self.given, self.data, self.steps = runner, given, data, int(steps)
        self.backend: Backend = runner.backend
        self.recorders = recorders[0]
        self.progress, self.callback = Progress(self.steps, progress), callback
        self.on_record = on_record
        self.recorded = self._recorded(recorders)
        self.compiled = "scan" in self.backend.capabilities
        self.failed: dict[int, int] = {}
        """Run -> the step at which its loss was not finite."""
        self.rows: list[list[list[tuple[int, Any]]]] = [[[] for _ in self.recorders] for _ in given]

    def _recorded(self, recorders: Sequence[tuple[Recorder, ...]]) -> Any:
        """What recorders need, on the device; of several runs with recorders of their own, stacked."""
        found = [tuple(r.data(x) for r in own) for x, own in zip(self.given, recorders, strict=False)]
        return stacked(found, self.backend.xp) if self.runner.problem.own_recorders else found[0]

    @property
    def batched(self) -> bool:
        """Whether several runs share one loop."""
        return self.runner.problem.batched

    @property
    def seconds(self) -> float:
        """Wall-clock time, with that of the run that this one continues."""
        return self.spent + time.perf_counter() - self.began

    def finish(self) -> list[CompletionResult]:
        """Train until all runs are done; one result a run."""
        # Divergence is reported by the status; NumPy's warnings on the way would only repeat it.
        with self.keeper or nullcontext(), np.errstate(over="ignore", invalid="ignore"):
            return self._go()

    def _go(self) -> list[CompletionResult]:
        state = self.runner.start(self._values(), self.data)
        losses = self._host(state["loss"])
        if self.course is not None:
            state = self.course.started(self, state)
        if not np.isfinite(losses).all():
            bad = int(np.argmin(np.isfinite(losses)))
            raise ValueError(
                f"the loss of the initial factorization{f' {bad}' if self.batched else ''} is {losses[bad]}: "
                "start from smaller weights or a wider dtype"
            )
        status = "steps"
        position, chunk = -1, 1
        whole = True
        keeper = self.keeper
        if keeper is not None and (saved := keeper.load(self, state)) is not None:
            state, position = saved.state, saved.position
            self._continue(saved)
        try:
            while position < self.steps:
                if position >= 0 and not self._host(self.runner.running(state, self.steps)).any():
                    break
                # Short chunks first, so that neither compilation nor a slow step delays Ctrl-C.
                marks = self._next_marks(position, chunk)
                if self.course is not None:
                    self.data = self.course.of_chunk(self.data, position)
                if keeper is not None:
                    keeper.before_chunk(self, state, position)
                started, whole = time.perf_counter(), False
                new = self._chunk(state, marks)
                self._host(new["count"])
                spent, done = time.perf_counter() - started, marks[-1] - position
                chunk = max(1, min(int(done * _CHUNK_SECONDS / max(spent, 1e-9)), 4 * max(chunk, done)))
                counts, losses = self._host(new["count"]), self._host(new["loss"])
                finite = losses[np.isfinite(losses)]
                step, level = int(counts.max()), float(np.median(finite)) if len(finite) else float("nan")
                self.progress.update(step, level)
                if not np.isfinite(losses).all():
                    new = self._last_good(state, new)
                if self.course is not None:
                    new = self.course.after_chunk(self, new, marks[-1])
                state, position, whole = new, marks[-1], True
                if keeper is not None:
                    keeper.after_chunk(self, state, position)
                if self.callback is not None and self.callback(step, level):
                    status = "stopped"
                    break
        except KeyboardInterrupt:
            status = "interrupted"
            self._forget(position)
        finally:
            self.progress.close()
        if keeper is not None:
            keeper.save(self, state, position, broken=not whole)
        if self.course is not None:
            state = self.course.ended(self, state)
        return self._results(state, status, self.seconds)

    def _values(self) -> tuple[Any, ...]:
        """What is trained, along a leading axis of runs if there are several."""
        backend, objective = self.backend, self.runner.problem.objective
        packed = [objective.pack([backend.stop_gradient(v) for v in x._values], backend.xp) for x in self.given]
        return tuple(backend.xp.stack(arrays) for arrays in zip(*packed, strict=True)) if self.batched else packed[0]

    def _forget(self, position: int) -> None:
        """Drop what a chunk noted that did not come to its end."""
        self.failed = {run: step for run, step in self.failed.items() if step <= position}
        self.rows = [[[row for row in rows if row[0] <= position] for rows in one] for one in self.rows]

    def _continue(self, saved: Saved) -> None:
        """Take over what an earlier run recorded, and tell it again."""
        self.rows, self.failed, self.spent = saved.rows, saved.failed, saved.seconds
        self.progress.last = (self.began, saved.position)
        told = [
            (step, number, run, value)
            for run, rows in enumerate(self.rows)
            for number, found in enumerate(rows)
            for step, value in found
        ]
        if self.on_record is not None:
            for step, number, run, value in sorted(told, key=itemgetter(0, 1, 2)):
                self.on_record(self.recorders[number].name, step, value, run)

    def _next_marks(self, position: int, chunk: int) -> list[int]:
        """The next recorded steps within ``chunk`` steps, and the end of the chunk."""
        end = min(max(position, 0) + chunk, self.steps)
        if self.keeper is not None:
            end = self.keeper.limit(position, end)
        if self.course is not None:
            end = self.course.limit(position, end)
        found: set[int] = set()
        for recorder in self.recorders:
            found.update(recorder.between(position + 1, end, self.steps))
        marks = sorted(found)[:_MARKS]
        return marks if len(marks) == _MARKS or (marks and marks[-1] == end) else [*marks, end]

    def _chunk(self, state: State, marks: list[int]) -> State:
        """Go through the marks and keep what was recorded at them."""
        due = [[recorder.due(mark, self.steps) for recorder in self.recorders] for mark in marks]
        xp = self.backend.xp
        if not self.compiled:
            state, rows = self.runner.advance(state, list(zip(marks, due, strict=True)), self.data, self.recorded)
            for k, (count, values) in enumerate(rows):
                self._keep(marks[k], due[k], count, [on_leaves(self._array, value) for value in values])
            return state
        # Compiled programs have one number of marks: the rest repeats the last one and records nothing.
        missing = _MARKS - len(marks)
        steps = np.asarray(marks + [marks[-1]] * missing, np.int32)
        flags = np.asarray(due + [[False] * len(self.recorders)] * missing, bool).reshape(_MARKS, -1)
        state, (counts, columns) = self.runner.advance(
            state, (xp.asarray(steps), xp.asarray(flags)), self.data, self.recorded
        )
        if self.recorders:
            counts = self._array(counts)
            columns = [on_leaves(self._array, column) for column in columns]
            for k, mark in enumerate(marks):
                self._keep(mark, due[k], counts[k], [on_leaves(itemgetter(k), c) for c in columns])
        return state

    def _keep(self, mark: int, due: list[bool], count: Any, values: list[Any]) -> None:
        """Sort what was recorded at a mark by run; a run that stopped before it has nothing there."""
        counts = self._host(count)
        for number, recorder in enumerate(self.recorders):
            if not due[number]:
                continue
            for run in range(len(self.given)):
                if counts[run] == mark:
                    own = self._own(values[number], run)
                    self.rows[run][number].append((mark, own))
                    if self.on_record is not None:
                        self.on_record(recorder.name, mark, own, run)

    def _own(self, value: Any, run: int) -> Any:
        """What belongs to one run."""
        return on_leaves(itemgetter(run), value) if self.batched else value

    def _last_good(self, before: State, state: State) -> State:
        """Put runs whose loss is not finite back to their last values with a finite loss."""
        counts, losses = self._host(state["count"]), self._host(state["loss"])
        bad = np.asarray([not np.isfinite(x) and k not in self.failed for k, x in enumerate(losses)])
        if not bad.any():
            return state
        for run in np.flatnonzero(bad):
            self.failed[int(run)] = int(counts[run])
            for rows in self.rows[run]:
                while rows and rows[-1][0] >= counts[run]:
                    rows.pop()
        if self.runner.keeps_previous:
            if not self.batched:
                return {**state, "values": state["previous"]}
            return {
                **state,
                "values": self.runner.chosen(
                    self.backend.asarray(bad, device=self.given[0].device), state["previous"], state["values"]
                ),
            }
        # Compiled loops keep no previous values, which would cost every step a copy: run the last chunk again.
        until = np.where(bad, counts - 1, counts).astype(np.int32)
        again = self.runner.forward(before, self.backend.xp.asarray(until if self.batched else until[0]), self.data)
        return {**state, "values": again["values"]}

    def _results(self, state: State, status: str, seconds: float) -> list[CompletionResult]:
        problem = self.runner.problem
        failed = self.failed
        if failed:
            state = {**state, **self.runner.measure(state["values"], state["count"], self.data)}
        counts = self._host(state["count"])
        losses, below = self._host(state["loss"]), self._host(state["below"])
        final = self.runner.record(state, self.data, self.recorded) if self.recorders else ()
        results = []
        for run in range(len(self.given)):
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
                    rows.append((count, self._own(on_leaves(self._array, final[r]), run)))
                history[recorder.name] = trace_of(rows)
            factorization = self._factorization(state, run)
            results.append(CompletionResult(factorization, history, name, count, float(losses[run]), seconds, message))
        return results

    def _factorization(self, state: State, run: int) -> Factorization:
        problem = self.runner.problem
        values = [v[run] for v in state["values"]] if self.batched else state["values"]
        made: Factorization = problem.kind._make(problem.static, problem.objective.unpack(values), validate=False)
        return made

    def _host(self, x: Any) -> np.ndarray[Any, Any]:
        return np.atleast_1d(self._array(x))

    def _array(self, x: Any) -> np.ndarray[Any, Any]:
        return np.asarray(self.backend.to_numpy(x) if hasattr(x, "shape") else x)
