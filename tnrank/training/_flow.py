"""Gradient flow: the limit of gradient descent with infinitely small steps, by an adaptive solver."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tnrank._backend import get_backend
from tnrank._by_node import by_node
from tnrank._check import real_number, whole_number
from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.factorizations._observed import checked_numbers
from tnrank.training._arguments import check_start, recorders_of_runs
from tnrank.training._loop import Problem, Stop, indices_key, runner
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._objective import make_objective
from tnrank.training._ode import integrate
from tnrank.training._result import on_leaves
from tnrank.training.recorders import Recorder

_POINTS = 101
_FLOORS = {"float32": 1e-5, "float64": 1e-13}
"""What rounding leaves of a relative tolerance."""


@dataclass(frozen=True)
class FlowTrace:
    """What one recorder saw along a flow: ``values[k]`` was measured at the flow time ``times[k]``.

    ``values`` is an array ``(K, ..)``, or a dictionary of such, one a node.
    """

    times: np.ndarray[Any, Any]
    values: Any

    def __len__(self) -> int:
        return len(self.times)

    def __repr__(self) -> str:
        if isinstance(self.values, Mapping):
            return (
                f"FlowTrace({len(self)} times, {{{', '.join(f'{k}: {v.shape[1:]}' for k, v in self.values.items())}}})"
            )
        return f"FlowTrace({len(self)} times, each {self.values.shape[1:]})"


@dataclass(frozen=True)
class FlowResult:
    """The end of a gradient flow.

    Attributes:
        factorization: at the last time.
        history: recorder's name -> FlowTrace.
        status: ``"times"`` (all were reached) or ``"failed"``, on the result that a :class:`FlowFailed` carries.
        time: the last time that was reached.
        steps: of the solver.
        loss: of ``factorization``.
        seconds: wall-clock time, compilation included.
        message: the status in words.
    """

    factorization: Any
    history: dict[str, FlowTrace]
    status: str
    time: float
    steps: int
    loss: float
    seconds: float
    message: str

    def __repr__(self) -> str:
        return (
            f"FlowResult({self.status}: {self.message}; time {self.time:g} in {self.steps:,} steps and "
            f"{self.seconds:.1f} s, loss {self.loss:.3e}; history: {', '.join(self.history) or 'none'})"
        )


class FlowFailed(RuntimeError):
    """The solver stopped before the last time.

    Attributes:
        result: the FlowResult up to the last of the ``times`` that was reached.
    """

    def __init__(self, message: str, result: FlowResult) -> None:
        super().__init__(message)
        self.result = result


@explained
def gradient_flow(
    x: Factorization,
    indices: Any,
    values: Any,
    *,
    loss: Loss | None = None,
    times: Any = None,
    until: float | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    record: Iterable[Recorder] = (),
    max_steps: int = 100_000,
) -> FlowResult:
    """Follow ``d theta / d tau = -gradient`` of the loss, theta being all arrays of a factorization.

    An explicit Runge-Kutta method of order 8 with adaptive steps: diffrax's on JAX, compiled, SciPy's elsewhere.

    Args:
        x: where to start, of dtype float64 (or float32 with a tolerance that it can keep).
        indices: ``(M, N)`` observed positions, or :class:`tnrank.RankOneMeasurements`.
        values: ``(M,)`` observed values.
        loss: ``SquaredLoss()`` if not given.
        times: ``(K,)`` increasing flow times, 0 or more, at which ``record`` measures.
        until: in place of ``times``: 101 evenly spaced ones from 0 to here.
        rtol: the error of a step, relative to each weight.
        atol: what is added to that.
        record: recorders from :mod:`tnrank.training.recorders`; each measures at every one of the times, whatever its
            ``every`` and ``at`` say. ``LearningRate`` has nothing to tell.
        max_steps: the most steps of the solver.

    Returns:
        A FlowResult.

    Raises:
        FlowFailed: if the solver needs more than ``max_steps`` steps, or steps too small to be told from none, as at
            the kink of an L1 loss; what was reached is in its ``result``.
        ValueError: as for :func:`tnrank.complete`; for times that do not increase from 0 on; for an rtol that the
            dtype cannot keep.
        TypeError: for weights that are no real floating-point numbers, and for something that is no loss.

    Source: Arora, Cohen & Hazan 2018, Thm. 1 (the flow, and what it conserves); Razin et al. 2022, Sec. 3.

    Example:
        >>> import numpy as np, tnrank
        >>> x = tnrank.MatrixFactorization([np.full((1, 1), 0.1)] * 2)
        >>> loss = tnrank.SquaredLoss(reduction="half_sum")
        >>> result = tnrank.training.gradient_flow(x, [[0, 0]], [1.0], loss=loss, times=[0, 1, 3])
        >>> s = 0.01 * np.exp(6) / (1 + 0.01 * (np.exp(6) - 1))
        >>> print(f"{float(result.factorization.to_dense()[0, 0]):.9f} {s:.9f}")
        0.802957153 0.802957153
    """
    began = time.perf_counter()
    loss = SquaredLoss() if loss is None else loss
    recorders = recorders_of_runs(record, 1, False)[0]
    _check(x, loss, rtol, atol, max_steps)
    wanted = _times(times, until)
    objective, data = make_objective(x, indices, values, loss)
    key = indices_key(objective, recorders)
    program = _program(
        Problem(x.backend.name, type(x), x._static, objective, None, Stop(), recorders, False, indices=key)
    )
    recorded = tuple(recorder.data(x) for recorder in recorders)
    start = tuple(x.backend.stop_gradient(v) for v in x._values)
    # What diverges is told below, and by the solver; NumPy's warnings on the way would only repeat it.
    with np.errstate(over="ignore", invalid="ignore"):
        first = float(x.backend.to_numpy(program.measure(start, data)["loss"]))
    if not np.isfinite(first):
        raise ValueError(
            f"the loss of the initial factorization is {first}: start from smaller weights or a wider dtype"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        states, steps, why = integrate(x.backend, program.slope, start, wanted, data, rtol, atol, int(max_steps))
    rows: list[Any] = []
    last = first
    for when, state in zip(wanted, states, strict=False):
        measured = {**program.measure(state, data), "time": when}
        last = float(x.backend.to_numpy(measured["loss"]))
        rows.append([on_leaves(_host(x), value) for value in program.record(measured, data, recorded)])
    reached = float(wanted[len(states) - 1]) if states else 0.0
    history = {r.name: _trace(wanted[: len(rows)], [row[k] for row in rows]) for k, r in enumerate(recorders) if rows}
    result = FlowResult(
        x._make(x._static, states[-1] if states else start, validate=False),
        history,
        "failed" if why else "times",
        reached,
        steps,
        last,
        time.perf_counter() - began,
        why or f"reached time {reached:g}",
    )
    if why:
        raise FlowFailed(
            f"gradient flow got to time {reached:g} of {wanted[-1]:g}, where the loss is {last:.3e}: {why}. "
            f"Needed: an earlier end, a larger rtol than {rtol:g}, max_steps above {max_steps:,}, or a smooth loss "
            "(HuberLoss, not L1Loss); error.result holds what was reached",
            result,
        )
    return result


class _Program:
    """The compiled functions of one problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.backend = problem, get_backend(problem.backend)
        self.runner = runner(problem)
        self.measure = self.backend.jit(self._measure)
        self.record = self.runner.record

    def slope(self, values: Any, data: Any) -> tuple[Any, ...]:
        return tuple(-g for g in self.problem.objective.value_and_gradient(self.backend, values, data)[1])

    def _measure(self, values: Any, data: Any) -> dict[str, Any]:
        loss, _, end = self.problem.objective.value_and_gradient(self.backend, values, data)
        return {"values": values, "loss": loss, "end": end, "inner": ()}


@lru_cache(maxsize=64)
def _program(problem: Problem) -> _Program:
    return _Program(problem)


def _check(x: Any, loss: Any, rtol: float, atol: float, max_steps: int) -> None:
    if not isinstance(x, Factorization):
        raise TypeError(
            f"gradient_flow starts from one factorization, got {type(x).__name__}: "
            "[gradient_flow(x, ..) for x in several] for more"
        )
    if x.dtype not in _FLOORS:
        raise TypeError(f"gradient flow is for float64 (or float32) weights, got {x.dtype}: x.to(dtype='float64')")
    check_start(x, loss, "gradient_flow")
    real_number(rtol, "rtol")
    real_number(atol, "atol", 0)
    whole_number(max_steps, "max_steps", 1)
    if not rtol >= _FLOORS[x.dtype]:
        raise ValueError(
            f"got rtol={rtol}: {x.dtype} keeps {_FLOORS[x.dtype]:g} at best"
            + (", x.to(dtype='float64') allows less" if x.dtype == "float32" else "")
        )
    if not rtol < 1:
        raise ValueError(f"got rtol={rtol}: needed a tolerance below 1")


def _times(times: Any, until: float | None) -> np.ndarray[Any, Any]:
    if (times is None) == (until is None):
        raise ValueError("gradient_flow needs either times=[0, 1, 10] or until=10.0")
    if times is None:
        assert until is not None
        return np.linspace(0.0, real_number(until, "until", 0, above=True), _POINTS)
    found = checked_numbers(times, "times")
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all() or found[0] < 0 or (np.diff(found) <= 0).any():
        raise ValueError(f"times are increasing numbers from 0 on, got {times!r}")
    return found


def _host(x: Factorization) -> Any:
    return lambda a: np.asarray(x.backend.to_numpy(a) if hasattr(a, "shape") else a)


def _trace(times: np.ndarray[Any, Any], rows: list[Any]) -> FlowTrace:
    if isinstance(rows[0], Mapping):
        return FlowTrace(times, by_node({key: np.stack([row[key] for row in rows]) for key in rows[0]}))
    return FlowTrace(times, np.stack(rows))
