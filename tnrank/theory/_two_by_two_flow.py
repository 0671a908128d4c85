"""Exact balanced gradient flow of the 2 x 2 problem, in variables that rounding cannot spoil."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tnrank.theory._two_by_two import TwoByTwo

HostArray = np.ndarray[Any, Any]
Vector = Sequence[float]
Event = Callable[[float, Vector], float]


@dataclass(frozen=True)
class BalancedFlow:
    """The flow where it passed the losses asked for, M of them.

    Attributes:
        loss: ``(M,)``.
        time: ``(M,)``, effective time.
        w: ``(M, 2, 2)``, end matrices.
        log_det: ``(M,)``, log |det W|, which may be far below what a float can hold as a determinant.
        singular_values: ``(M, 2)``, the smaller one 0 where it underflows.
        effective_rank: ``(M,)``.
    """

    loss: HostArray
    time: HostArray
    w: HostArray
    log_det: HostArray
    singular_values: HostArray
    effective_rank: HostArray


_MOST_CALLS = 100_000
"""Evaluations of one phase; flows that arrive take some thousand."""


def rates(problem: TwoByTwo, depth: int, w: Vector, log_det: float) -> tuple[float, float, float, float, float]:
    """d/dt of W11, W12, W21, W22 and log |det W| at the end matrix ``w = (W11, W12, W21, W22)`` of balanced layers.

    In the singular basis of W, dW/dt has the entries -(U^T G V)_rs sum_j s_r^(2(j-1)/L) s_s^(2(L-j)/L). U and V are
    rotations found in closed form from the two conformal halves of W, and the smaller singular value from log_det.
    """
    w11, w12, w21, w22 = w
    g12, g21, g22 = w12 - problem.w12, w21 - problem.w21, w22 - problem.w22
    even, odd = math.hypot(w11 + w22, w21 - w12) / 2, math.hypot(w11 - w22, w21 + w12) / 2
    turn, mirror = math.atan2(w21 - w12, w11 + w22), math.atan2(w21 + w12, w11 - w22)
    large = even + odd
    # W = R(left) diag(s1, +-s2) R(right)
    left, right = (mirror + turn) / 2, (turn - mirror) / 2
    cl, sl, cr, sr = math.cos(left), math.sin(left), math.cos(right), math.sin(right)
    # U^T G V with G = [[0, g12], [g21, g22]], U = [[cl, -sl], [sl, cl]], V = [[cr, sr], [-sr, cr]]
    top1, top2 = sl * g21, cl * g12 + sl * g22
    low1, low2 = cl * g21, -sl * g12 + cl * g22
    p11, p12 = top1 * cr - top2 * sr, top1 * sr + top2 * cr
    p21, p22 = low1 * cr - low2 * sr, low1 * sr + low2 * cr
    log_large = math.log(large)
    log_small = min(log_det - log_large, log_large)
    a, b = math.exp(2 * log_large / depth), math.exp(2 * log_small / depth)
    mixed = sum(a**j * b ** (depth - 1 - j) for j in range(depth))
    m11, m12, m21, m22 = (
        -depth * a ** (depth - 1) * p11,
        -mixed * p12,
        -mixed * p21,
        -depth * b ** (depth - 1) * p22,
    )
    # U M V^T
    u11, u12 = cl * m11 - sl * m21, cl * m12 - sl * m22
    u21, u22 = sl * m11 + cl * m21, sl * m12 + cl * m22
    growth = -depth * (
        math.exp((1 - 2 / depth) * log_large) * p11 + problem.sign * math.exp((1 - 2 / depth) * log_small) * p22
    )
    return u11 * cr + u12 * sr, -u11 * sr + u12 * cr, u21 * cr + u22 * sr, -u21 * sr + u22 * cr, growth


def integrate(
    problem: TwoByTwo, depth: int, start: Any, losses: Sequence[float], rtol: float, max_time: float
) -> BalancedFlow:
    """See :meth:`tnrank.theory.TwoByTwo.balanced_flow`."""
    w = np.asarray(start, np.float64)
    wanted = [float(loss) for loss in losses]
    if not hasattr(depth, "__index__") or isinstance(depth, bool) or depth < 2:
        raise ValueError(f"the depth is a whole number from 2 on, got {depth!r}: at depth 1 the entry never moves")
    if w.shape != (2, 2):
        raise ValueError(f"the start is an end matrix of shape (2, 2), got {w.shape}")
    det = float(w[0, 0] * w[1, 1] - w[0, 1] * w[1, 0])
    if not det * problem.sign > 0:
        raise ValueError(
            f"the start has determinant {det:.3g}, needed one of sign {problem.sign:+d}: problem.start(scale)"
        )
    if not wanted or any(not a > b for a, b in pairwise(wanted)) or not 0 < wanted[0] < problem.loss(w):
        raise ValueError(f"losses decrease, from below that of the start, {problem.loss(w):.3g}; got {wanted}")
    if not wanted[-1] > 0:
        raise ValueError(f"losses are above 0, got {wanted[-1]}")

    sign, tiny = problem.sign, 1e-12 * float(abs(w).max())

    def first(_: float, y: Vector) -> tuple[float, ...]:
        return rates(problem, depth, y[:4], y[4])

    def settled(_: float, y: Vector) -> float:
        return min(y[1] * math.copysign(1, problem.w12), y[2] * math.copysign(1, problem.w21)) - tiny

    def whole(y: Vector) -> tuple[float, float, float, float]:
        return (sign * math.exp(y[3]) + y[0] * y[1]) / y[2], y[0], y[1], y[2]

    def second(_: float, y: Vector) -> tuple[float, ...]:
        return rates(problem, depth, whole(y), y[3])[1:]

    def passing(level: float, skipped: int) -> Event:
        # Logarithms, because losses span many decades.
        def event(_: float, y: Vector) -> float:
            gaps = (y[skipped] - problem.w12, y[skipped + 1] - problem.w21, y[skipped + 2] - problem.w22)
            return math.log(max(0.5 * sum(g * g for g in gaps), 1e-300) / level)

        return event

    # W11 = (det + W12 W21) / W22 needs W22 away from 0, which holds once W12 and W21 have the signs of their targets.
    # Until then W11 is a variable of its own.
    state, time = [*w.ravel().tolist(), math.log(abs(det))], 0.0
    found: list[tuple[float, tuple[float, ...]]] = []
    if settled(0.0, state) < 0:
        scale = [*[1e-4 * rtol * float(abs(w).max())] * 4, rtol]
        run = _solve(first, state, rtol, scale, (0.0, max_time), [*(passing(v, 1) for v in wanted), settled])
        found = [
            (float(t[0]), tuple(y[0])) for t, y in zip(run.t_events[:-1], run.y_events[:-1], strict=True) if len(t)
        ]
        if not len(run.t_events[-1]):
            return _collect(problem, found)
        time, state = float(run.t_events[-1][0]), run.y_events[-1][0].tolist()
    size, left = max(abs(v) for v in state[:4]), wanted[len(found) :]
    scale = [*[1e-4 * rtol * size] * 3, rtol]
    run = _solve(second, state[1:], rtol, scale, (time, max_time), [passing(level, 0) for level in left])
    for t, y in zip(run.t_events, run.y_events, strict=True):
        if len(t):
            found.append((float(t[0]), (*whole(y[0].tolist()), float(y[0][3]))))
    return _collect(problem, found)


def _solve(fn: Any, start: Any, rtol: float, atol: Any, span: tuple[float, float], events: list[Any]) -> Any:
    from scipy.integrate import solve_ivp

    calls = 0

    def counted(time: float, y: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > _MOST_CALLS:
            raise RuntimeError(
                f"the flow has not reached its losses by time {time:.3g}, and goes nowhere: W22 may have the wrong "
                "sign from the start, which it then keeps; give max_time= for those that it reaches"
            )
        return fn(time, y)

    # The last two: the last loss, and the end of the first phase where there is one.
    for event in events[-2:] if len(start) == 5 else events[-1:]:
        event.terminal = True
    # LSODA takes no infinite interval.
    end = span[1] if math.isfinite(span[1]) else 1e15
    run = solve_ivp(counted, (span[0], end), start, method="LSODA", rtol=rtol, atol=atol, events=events)
    if run.status < 0:
        raise RuntimeError(f"the ODE solver stopped at time {run.t[-1]:.6g}: {run.message}; try a larger rtol")
    return run


def _collect(problem: TwoByTwo, found: list[tuple[float, tuple[float, ...]]]) -> BalancedFlow:
    from tnrank.ranks import effective_rank_of

    rows = np.asarray([state for _, state in found], np.float64).reshape(-1, 5)
    w, log_det = rows[:, :4].reshape(-1, 2, 2), rows[:, 4]
    large = (np.hypot(w[:, 0, 0] + w[:, 1, 1], w[:, 1, 0] - w[:, 0, 1])) / 2
    large = large + np.hypot(w[:, 0, 0] - w[:, 1, 1], w[:, 1, 0] + w[:, 0, 1]) / 2
    values = np.stack([large, np.exp(log_det - np.log(large))], axis=-1)
    loss = np.asarray([problem.loss(matrix) for matrix in w])
    return BalancedFlow(
        loss, np.asarray([time for time, _ in found]), w, log_det, values, np.asarray(effective_rank_of(values))
    )
