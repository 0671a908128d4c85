"""The sweeps of a cross approximation one after another, until held-out points and ranks agree."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations._cross._evaluations import Evaluations, OutOfBudgetError
from tnrank.factorizations._cross._search import relative_errors, worst_points
from tnrank.factorizations._cross._sweeps import Sweeper
from tnrank.factorizations._cross._tree import NumberedTree
from tnrank.factorizations._draw import check_dimensions
from tnrank.factorizations._entries import checked_indices
from tnrank.linalg import check_rtol, eps_of

Host = np.ndarray[Any, Any]
Status = Literal["converged", "budget", "max_rank", "sweeps"]

_FLOOR = 64.0  # times eps of the values: the smallest tolerance that their rounding leaves
_QUIET = 2  # sweeps in which no rank may grow before the ranks count as settled
_SAMPLES = 100  # fresh points of each kind a sweep, where the error is looked for
_PEAK = 10.0  # times rtol: the largest error, relative to the value, that counts as small
_SHARE = 1e3  # of rtol is the least tolerance of a node
_PARTS = 8.0  # of atol is the least error that counts as a rank
_STEP = 4  # by which the ranks may grow in a sweep while the first pivots are chosen
_LOST = 0.5  # error with which a search has seen nothing of the tensor
_STARTS = 4  # of the given points, around which the error is looked for after every sweep


class CrossInfo(NamedTuple):
    """What a cross approximation came to; ``history`` has the evaluations and the error after every sweep."""

    error: float
    max_error: float
    evaluations: int
    status: Status
    history: tuple[tuple[int, float], ...]
    test_points: Host
    test_values: Host
    largest: float
    tolerance: float
    """``rtol``, or ``atol`` relative to the values where that is more."""


@dataclass
class _Best:
    """The approximation of least error so far."""

    error: float
    max_error: float
    arrays: list[Host]


def cross_to_nodes(
    function: Callable[[Host], Any],
    shape: Sequence[int],
    tree: DimensionTree,
    *,
    rtol: float = 1e-8,
    max_rank: int | None = None,
    budget: int = 1_000_000,
    seed: int = 0,
    start: Any = None,
    test_points: int = 500,
    sweeps: int = 30,
    batch_size: int | None = None,
    atol: float = 0.0,
) -> tuple[dict[Node, Host], CrossInfo]:
    """Frames and transfer tensors from values of a function; arguments as in :func:`cross_approximation`."""
    shape = check_dimensions(shape)
    if tree.order != len(shape):
        raise ValueError(f"the tree has {tree.order} modes and the shape {shape} has {len(shape)}")
    rtol = _checked_rtol(rtol)
    budget, tests, sweeps = _count("budget", budget), _count("test_points", test_points), _count("sweeps", sweeps)
    limit = np.iinfo(np.int64).max if max_rank is None else _count("max_rank", max_rank)
    batch_size = None if batch_size is None else _count("batch_size", batch_size)
    if not (np.isrealobj(atol) and 0 <= atol < np.inf):
        raise ValueError(f"atol is the size of differences that mean nothing, 0 or more, got {atol!r}")
    starts = checked_indices(np.zeros((0, len(shape)), np.int64) if start is None else start, shape)

    numbered = NumberedTree(tree, shape)
    evaluations = Evaluations(function, shape, budget, batch_size, seed)
    rng = np.random.default_rng([seed, 0])
    sweeper = Sweeper(evaluations, numbered, rng, float(atol))
    if numbered.log_size <= np.log2(min(tests, budget)):
        points = np.indices(shape).reshape(len(shape), -1).T.astype(evaluations.index_dtype)
    else:
        points = sweeper.random_points(min(tests, max(1, budget // 4)))
    values = evaluations.values(points)
    _check_floor(rtol, evaluations.coarsest)
    goal = rtol
    if atol and (scale := _root_mean_square(values) or evaluations.largest):
        goal = max(rtol, min(float(atol) / scale, 1.0))

    best = _zero(numbered, values, evaluations)
    history: list[tuple[int, float]] = []
    try:
        status = _search(sweeper, rng, rtol, goal, int(limit), sweeps, starts, points, values, best, history)
        if status == "sweeps" and evaluations.largest and best.error > _LOST:
            # A tensor that is zero almost everywhere is found from where it is not: once more, from the largest value
            # met. Nothing is evaluated twice.
            starts = np.concatenate([evaluations.extremes[0][1][None], starts])
            again = Sweeper(evaluations, numbered, rng, float(atol))
            status = _search(again, rng, rtol, goal, int(limit), sweeps, starts, points, values, best, history)
    except OutOfBudgetError:
        status = "budget"
    arrays = [array.astype(evaluations.dtype) for array in _even(best.arrays)]
    info = CrossInfo(
        best.error,
        best.max_error,
        evaluations.count,
        status,
        tuple(history),
        points,
        values.astype(evaluations.dtype),
        evaluations.largest,
        goal,
    )
    return dict(zip(tree.nodes, arrays, strict=True)), info


def _search(
    sweeper: Sweeper,
    rng: np.random.Generator,
    rtol: float,
    goal: float,
    max_rank: int,
    sweeps: int,
    starts: Host,
    tests: Host,
    values: Host,
    best: _Best,
    history: list[tuple[int, float]],
) -> Status:
    """Sweep until errors are within ``goal`` and no rank grows; ``best`` and ``history`` are kept up to date."""
    evaluations, numbered, atol = sweeper.evaluations, sweeper.tree, sweeper.atol
    fresh = sweeper.random_points(_SAMPLES)
    starts = starts.astype(fresh.dtype)
    fresh = np.concatenate([starts, fresh])
    sweeper.add_points(fresh[[int(np.argmax(abs(evaluations.values(fresh))))]])
    # Ranks grow in steps, from one on, so that there is an approximation whenever the budget ends. Pivots stay, and
    # what they cost is spent once.
    sweeper.sweep(rtol, 1, first=True)
    sweeper.add_points(starts)
    error = _measure(sweeper, tests, values, best, history, goal)
    # Where terms cancel, half of the digits may be lost: there, a small error need not mean a missing pivot.
    news = min(max(_PEAK * goal, 10 * eps_of("float64") ** 0.5), 0.1)
    limit, growing, tolerance, quiet, missed, met = 1, True, rtol, 0, 0, False
    for _ in range(sweeps):
        if growing:
            limit = min(_STEP * limit, max_rank)
            sweeper.sweep(rtol, limit)
            growing = sweeper.capped and limit < max_rank
            grown = True
        else:
            missed = 0 if met else missed + 1
            # Once the errors are small, only what stands out is news: the rest may be rounding.
            grown = sweeper.sweep(tolerance, max_rank, max(1, missed), news if met else None)
        previous, error = error, _measure(sweeper, tests, values, best, history, goal)
        if growing:
            continue
        around = np.stack([*starts[:_STARTS], *(point for _, point in evaluations.extremes)])
        places = [sweeper.random_points(_SAMPLES), sweeper.nearby_points(_SAMPLES)]
        fresh = np.concatenate([*places, sweeper.points_around(around, _SAMPLES)])
        scale = _root_mean_square(values) or evaluations.largest
        worst, score = worst_points(evaluations, numbered, sweeper.arrays, fresh, around, scale, goal, rng)
        sweeper.add_points(worst)
        met = error <= goal
        quiet = 0 if grown else quiet + 1
        # A single point may be off for its rounding errors alone, and then new pivots do not help.
        if met and quiet >= (_QUIET if score <= news else 2 * _QUIET):
            return "converged"
        if not met and quiet >= _QUIET and sweeper.capped:
            return "max_rank"
        if not met and error > previous / 2:
            # Errors of all nodes add up: each has to be smaller.
            tolerance = max(tolerance / 4, rtol / _SHARE, _FLOOR * eps_of("float64"))
            sweeper.atol = max(sweeper.atol / 2, atol / _PARTS)
    return "sweeps"


def _measure(
    sweeper: Sweeper, tests: Host, values: Host, best: _Best, history: list[tuple[int, float]], goal: float
) -> float:
    found = sweeper.tree.entries(sweeper.arrays, tests)
    error, most = relative_errors(found, values, sweeper.evaluations.largest)
    history.append((sweeper.evaluations.count, error))
    # Later pivots know more of the function, so that among good approximations the last one is kept.
    if error <= max(goal, best.error):
        best.error, best.max_error, best.arrays = error, most, list(sweeper.arrays)
    return error


def _zero(numbered: NumberedTree, values: Host, evaluations: Evaluations) -> _Best:
    arrays = [
        np.zeros((*([1] * len(below) or [numbered.shape[modes[0]]]), 1))
        for below, modes in zip(numbered.children, numbered.modes, strict=True)
    ]
    return _Best(*relative_errors(np.zeros(len(values)), values, evaluations.largest), arrays)


def _even(arrays: Sequence[Host]) -> list[Host]:
    """The root, whose entries may be huge or tiny, near one, and a share of its scale in every array."""
    power = int(np.frexp(abs(arrays[-1]).max(initial=0.0))[1])
    share = 2.0 ** (power / len(arrays))
    root = np.ldexp(1.0, -power // 2) * arrays[-1][..., 0] * np.ldexp(1.0, -power - (-power // 2))
    return [array * share for array in (*arrays[:-1], root)]


def _checked_rtol(rtol: float) -> float:
    checked = check_rtol(rtol)
    if checked is None:
        raise TypeError("rtol is a number in (0, 1): cross approximation needs a tolerance to aim at, such as 1e-8")
    _check_floor(checked, "float64")
    return checked


def _check_floor(rtol: float, dtype: str) -> None:
    floor = _FLOOR * eps_of(dtype)
    if rtol < floor:
        raise ValueError(
            f"rtol {rtol:.3g} is below {floor:.3g}, what rounding leaves of {dtype} values: raise rtol"
            + ("" if dtype == "float64" else ", or compute the function in float64")
        )


def _count(name: str, value: Any) -> int:
    try:
        found = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number from 1 on, got {value!r}") from None
    if found < 1:
        raise ValueError(f"{name} is a whole number from 1 on, got {value!r}")
    return found


def _root_mean_square(values: Host) -> float:
    top = float(abs(values).max(initial=0.0))
    return top * float(np.sqrt((abs(values / top) ** 2).mean())) if top else 0.0
