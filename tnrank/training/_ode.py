"""Ordinary differential equations for backends without a solver of their own: SciPy's, on the host."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import Backend


def integrate(
    backend: Backend,
    fn: Callable[..., Any],
    state: Any,
    times: np.ndarray[Any, Any],
    data: Any,
    rtol: float,
    atol: float,
    max_steps: int,
) -> tuple[list[Any], int, str]:
    """What :meth:`tnrank.Backend.odeint` gives, by Dormand and Prince's method of order 8."""
    if "odeint" in backend.capabilities:
        return backend.odeint(fn, state, times, data, rtol, atol, max_steps)
    from scipy.integrate import DOP853

    dtype, device = backend.dtype_of(state[0]), backend.device_of(state[0])
    shapes = [tuple(a.shape) for a in state]
    cuts = np.cumsum([prod(shape) for shape in shapes])[:-1]

    def unpacked(y: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        parts = [part.reshape(shape) for part, shape in zip(np.split(y, cuts), shapes, strict=True)]
        return tuple(backend.asarray(part, dtype, device) for part in parts)

    def packed(arrays: Any) -> np.ndarray[Any, Any]:
        return np.concatenate([np.asarray(backend.to_numpy(a), np.float64).ravel() for a in arrays])

    def slope(t: float, y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return packed(fn(unpacked(y), data))

    y, now, step, count = packed(state), 0.0, None, 0
    states: list[Any] = []
    for then in times:
        # Every time is the end of a step: the solver's interpolation between steps is less accurate than the steps.
        if then > now:
            first = None if step is None else min(step, then - now)
            solver = DOP853(slope, now, y, float(then), rtol=rtol, atol=atol, first_step=first)
            while solver.status == "running":
                if count == max_steps:
                    return states, count, f"{count:,} steps were not enough"
                step = solver.h_abs
                message = solver.step()
                count += 1
            if solver.status == "failed":
                return states, count, "the steps became too small" if "spacing" in str(message) else str(message)
            # The last step may be cut short: the one before tells the scale of the next interval, too.
            y, now, step = solver.y, float(then), max(step or 0.0, solver.h_abs)
        states.append(unpacked(y))
    return states, count, ""
