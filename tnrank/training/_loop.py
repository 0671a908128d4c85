"""The training loop, written once: the backend's loops make it one compiled program or plain Python.

A state holds the values, the loss and gradient at them, the optimizer's state and counters. The loop's condition looks
at the loss of the values that it would update, so that a run stops at the first values that fulfil the stop rule, and
recording the loss costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from tnrank._backend import Backend, get_backend
from tnrank._check import real_number, whole_number
from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.training._objective import LossFunction, Objective, of_run
from tnrank.training._optimizers import Context, Optimizer, batched_update, evaluates, is_stateful, learning_rate
from tnrank.training._result import stacked

State = dict[str, Any]

_EAGER = 50_000
"""Steps of small runs before a backend without compiled programs compiles their loop, which takes half a minute."""


@dataclass(frozen=True)
class Stop:
    """When a run is done before its steps are: the loss is below ``loss`` at more than ``patience`` checks in a row.

    ``every`` is the distance of the checks in steps.

    Example:
        >>> import tnrank
        >>> tnrank.Stop(loss=1e-8, patience=50, every=25)
        Stop(loss=1e-08, patience=50, every=25)
    """

    loss: float = 0.0
    patience: int = 0
    every: int = 1

    @explained
    def __post_init__(self) -> None:
        real_number(self.loss, "loss of Stop", 0)
        whole_number(self.patience, "patience of Stop")
        whole_number(self.every, "every of Stop", 1)


@dataclass(frozen=True)
class Problem:
    """Everything that the compiled program depends on besides array contents; hashable."""

    backend: str
    kind: type[Factorization]
    static: Any
    objective: Any
    """An Objective, or a SampleObjective."""
    optimizer: Any
    stop: Stop
    recorders: tuple[Any, ...]
    """Of all runs; where they measure in different ways, a tuple of one a run in place of one."""
    batched: bool
    own_recorders: bool = False
    """Whether each run has recorders of its own, whose data differ."""
    indices: str = ""
    """A checksum of the observed indices if the program holds them, see :func:`indices_key`."""


def columns(recorders: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """The recorders of :class:`Problem` for those of each run."""
    found = zip(*recorders, strict=True)
    return tuple(own[0] if all(own[0].alike(one) for one in own) else own for own in found)


def indices_key(objective: Objective, recorders: Sequence[Any]) -> str:
    """What tells the programs of problems apart that differ in the observed entries alone.

    Entries are data of a program, but a recorder that asks for the end tensor's gradient gets their indices as
    constants.
    """
    if objective.way != "rows" or not any(recorder.takes_end_gradient for recorder in recorders):
        return ""
    return hashlib.sha256(np.ascontiguousarray(objective.entries.indices).tobytes()).hexdigest()


class Runner:
    """The functions of one problem: ``start`` makes a state, ``advance`` moves it through a list of marks."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.backend: Backend = get_backend(problem.backend)
        compiled = "jit" in self.backend.capabilities
        # On the host a number is cheaper than a scalar array; inside a program or a batch it must stay an array.
        on_host = not compiled and not problem.batched
        self.context = Context(self.backend, _number if on_host else _same)
        self.on_host = on_host
        self.keeps_previous = not compiled
        own = isinstance(problem.optimizer, Optimizer)
        self.compiled_loop = self.backend.compiled_loop(self._alive, self._body) if problem.batched and own else None
        self.start = self.backend.jit(self._start)
        self.advance = self.backend.jit(self._advance)
        self.forward = self.backend.jit(self._forward)
        self.record = self.backend.jit(self._record_all)

    def measure(self, values: Sequence[Any], count: Any, data: Any) -> State:
        """Loss, gradient and end tensor at ``values``, which ``count`` updates led to."""
        objective = self.problem.objective
        loss, gradient, end = objective.value_and_gradient(self.backend, values, self._seen(count, data))
        return {"values": values, "loss": self.context.scalar(loss), "gradient": tuple(gradient), "end": end}

    def _seen(self, count: Any, data: Any) -> Any:
        """What the step after ``count`` others sees of the data; runs that train together are at the same step."""
        if self.problem.batched and not isinstance(count, int):
            count = self.backend.xp.max(count)
        return self.problem.objective.at(self.backend, data, count)

    def _start(self, values: tuple[Any, ...], data: Any) -> State:
        optimizer = self.problem.optimizer
        state = self.measure(values, 0, data)
        if self.problem.batched and hasattr(optimizer, "init_runs"):
            inner = optimizer.init_runs(values, self.context)
        elif self.problem.batched and not is_stateful(optimizer):
            inner = self.backend.vmap(lambda given: optimizer.init(given, self.context))(values)
        else:
            inner = optimizer.init(values, self.context)
        zero = 0 if self.on_host else self.backend.xp.asarray(0 * state["loss"], dtype=self.backend.xp.int32)
        state |= {"inner": inner, "count": zero, "below": zero, "time": self._no_time(state, values)}
        state["below"] = self._count_below(state)
        if self.keeps_previous:
            state["previous"] = values
        return state

    def _no_time(self, state: State, values: Sequence[Any]) -> Any:
        """Effective time 0 of every run, in at least single precision."""
        zero = self.context.zero(values[0])
        return zero + self.backend.xp.zeros_like(state["loss"], dtype=zero.dtype) if self.problem.batched else zero

    def _count_below(self, state: State) -> Any:
        stop = self.problem.stop
        low, due = state["loss"] < stop.loss, state["count"] % stop.every == 0
        if isinstance(low, bool):
            return state["below"] if not due else state["below"] + 1 if low else 0
        where = self.backend.xp.where
        return where(due, where(low, state["below"] + 1, 0 * state["below"]), state["below"])

    def running(self, state: State, until: Any) -> Any:
        """Whether a state shall be updated; an array of runs if batched."""
        finite = state["loss"] - state["loss"] == 0
        found = (state["count"] < until) & (state["below"] <= self.problem.stop.patience) & finite
        return found & (state["ended"] == 0) if "ended" in state else found

    def _step(self, state: State, data: Any) -> tuple[Any, Any]:
        """The next values, and the optimizer's state after them."""
        optimizer, context, batched = self.problem.optimizer, self.context, self.problem.batched
        given = state["gradient"], state["inner"], state["values"]
        update: Callable[..., Any]
        if not evaluates(optimizer):
            update = batched_update(optimizer, context) if batched else partial(_updated, optimizer, context)
            return update(*given)
        objective, data = self.problem.objective, self._seen(state["count"], data)

        def one(gradient: Any, inner: Any, values: Any, loss: Any, observed: Any = data) -> Any:
            function = LossFunction(objective.of_one, self.backend, observed)
            return optimizer.update(gradient, inner, values, context, loss, function)

        if batched and is_stateful(optimizer):

            def function_of(run: int) -> LossFunction:
                return LossFunction(objective.of_one, self.backend, of_run(data, run) if objective.own else data)

            active = self.running(state, np.iinfo(np.int32).max)
            return optimizer.update_runs(  # type: ignore[no-any-return]
                *given, state["loss"], active=active, context=context, function_of=function_of
            )
        update = self.backend.vmap(one) if batched else one
        return update(*given, state["loss"], *((data,) if batched and objective.own else ()))  # type: ignore[no-any-return]

    def _at(self, state: State, values: Any, inner: Any, data: Any) -> State:
        """The state after a step to ``values``."""
        count = state["count"] + 1
        new: State = {**state, **self.measure(values, count, data), "inner": inner, "count": count}
        new["below"] = self._count_below(new)
        new["time"] = state["time"] + learning_rate(self.problem.optimizer, inner)
        if self.keeps_previous:
            new["previous"] = state["values"]
        return new

    def _forward(self, state: State, until: Any, data: Any) -> State:
        """Update until ``until`` steps are done, or the run stops."""

        def alive(current: State) -> Any:
            return self._alive(current, until, data)

        def body(current: State) -> State:
            return self._body(current, until, data)

        end: State
        if self.compiled_loop is None or not self.compiled_loop.pays(state):
            end = self.backend.while_loop(alive, body, state)
            return end
        # Whether a step is compiled depends on its number alone, so that resumed runs round as they would have.
        early = min(int(until), _EAGER)
        end = self.backend.while_loop(
            lambda s: self._alive(s, early, data), lambda s: self._body(s, early, data), state
        )
        return self.compiled_loop(end, until, data) if int(until) > _EAGER else end

    def _alive(self, state: State, until: Any, data: Any) -> Any:
        """Whether any run shall be updated."""
        running = self.running(state, until)
        return self.backend.xp.any(running) if self.problem.batched else running

    def _body(self, old: State, until: Any, data: Any) -> State:
        """The state after one step of all runs that are not finished."""
        if not self.problem.batched:
            return self._at(old, *self._step(old, data), data)
        # A framework's optimizer may keep anything in its state; that of a finished run is never used again.
        # The loss says that a run diverged, also after its values were put back to the last good ones.
        chosen = {"count", "below", "time", "previous", "loss"} | (
            {"inner"} if isinstance(self.problem.optimizer, Optimizer) else set()
        )
        active = self.running(old, until)
        values, inner = self._step(old, data)
        # A finished run keeps its values, and with them what is measured there, without a choice of its own.
        new = self._at(old, self._pick(active, values, old["values"]), inner, data)
        return {name: self._pick(active, new[name], old[name]) if name in chosen else new[name] for name in new}

    def _pick(self, active: Any, new: Any, old: Any) -> Any:
        """Arrays of ``new`` for the active runs, of ``old`` for the finished ones."""
        xp = self.backend.xp
        if isinstance(new, tuple):
            return tuple(self._pick(active, a, b) for a, b in zip(new, old, strict=True))
        return xp.where(xp.reshape(active, (-1, *(1,) * (new.ndim - 1))), new, old)

    def chosen(self, which: Any, new: Any, old: Any) -> Any:
        """Values ``new`` of the runs in ``which``, ``old`` of the others."""
        if not self.problem.batched:
            return new if which else old
        return self._pick(which, new, old)

    def _advance(self, state: State, marks: Any, data: Any, recorded: Any) -> tuple[State, Any]:
        """Go from mark to mark; a mark is (step, which recorders are due)."""

        def segment(current: State, mark: Any) -> tuple[State, Any]:
            until, due = mark
            current = self._forward(current, until, data)
            rows = tuple(
                self.backend.cond(due[k], lambda s, k=k: self._record(k, s, data, recorded[k]), current)
                for k in range(len(self.problem.recorders))
            )
            return current, (current["count"], rows)

        return self.backend.scan(segment, state, marks)

    def _record_all(self, state: State, data: Any, recorded: Any) -> Any:
        return tuple(self._record(k, state, data, recorded[k]) for k in range(len(self.problem.recorders)))

    def _record(self, number: int, state: State, data: Any, recorded: Any) -> Any:
        measuring, problem = self.problem.recorders[number], self.problem
        objective, backend = problem.objective, self.backend
        facts = {"loss": state["loss"], "rate": learning_rate(problem.optimizer, state["inner"]), "time": state["time"]}
        if state["end"]:
            facts["end"] = state["end"][0]

        def one(
            values: Any, facts: Any, observed: Any = data, needed: Any = recorded, recorder: Any = measuring
        ) -> Any:
            x = problem.kind._make(problem.static, objective.unpack(values), validate=False)
            pull = partial(objective.end_gradient, backend, values, facts.get("end"), observed)
            return recorder.measure(x, {**facts, "end_gradient": pull}, needed)

        if not problem.batched:
            return one(state["values"], facts)
        if not hasattr(facts["rate"], "shape"):
            facts["rate"] = facts["rate"] + 0 * state["loss"]
        if isinstance(measuring, tuple):
            rows = [
                one(
                    *(of_run(state["values"], run), of_run(facts, run)),
                    *(of_run(data, run) if objective.own else data, of_run(recorded, run), recorder),
                )
                for run, recorder in enumerate(measuring)
            ]
            return stacked(rows, backend.xp)
        # What the runs share is left out of the map.
        if objective.own and problem.own_recorders:
            return backend.vmap(one)(state["values"], facts, data, recorded)
        if objective.own:
            return backend.vmap(lambda v, f, o: one(v, f, o))(state["values"], facts, data)
        if problem.own_recorders:
            return backend.vmap(lambda v, f, n: one(v, f, needed=n))(state["values"], facts, recorded)
        return backend.vmap(one)(state["values"], facts)


def _updated(optimizer: Any, context: Context, gradient: Any, inner: Any, values: Any) -> Any:
    return optimizer.update(gradient, inner, values, context)


def _number(x: Any) -> Any:
    return float(x)


def _same(x: Any) -> Any:
    return x


@lru_cache(maxsize=64)
def runner(problem: Problem) -> Runner:
    """The runner of a problem; equal problems share it, and with it what was compiled."""
    return Runner(problem)
