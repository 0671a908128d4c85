"""Checks of what a training is called with: every wrong argument is named before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tnrank import _check
from tnrank.factorizations import Factorization
from tnrank.training._loop import Stop
from tnrank.training._losses import Loss
from tnrank.training._recorder import Recorder

_MOST_STEPS = 2**31 - 2
"""Compiled loops count steps in int32."""


def check_start(x: Any, loss: Any, what: str) -> None:
    """Refuse what is no factorization of finite real numbers, or no loss.

    Raises:
        TypeError: if it is none.
        ValueError: if a weight is NaN or infinite; its array is named.
    """
    _check.instance(
        x,
        f"what {what} starts from",
        Factorization,
        "one factorization such as tnrank.CPFactorization.random((8, 8, 8))",
    )
    check_loss(loss)
    _check_weights(x, "")


def check_loss(loss: Any) -> Loss:
    """``loss`` if it is one.

    Raises:
        TypeError: if it is something else.
    """
    return _check.instance(loss, "loss", Loss, "a loss such as tnrank.SquaredLoss() or tnrank.CrossEntropyLoss()")


def _check_weights(x: Factorization, which: str) -> None:
    dtype = x.dtype
    if not dtype.startswith(("float", "bfloat")):
        raise TypeError(f"training is for real dtypes, got {dtype}: x.to(dtype='float64')")
    for name, array in x.arrays.items():
        if not (finite := np.isfinite(x.backend.to_numpy(array))).all():
            raise ValueError(
                f"{int(finite.size - finite.sum())} of {finite.size} weights in the array {name!r} of the initial "
                f"factorization{which} are NaN or infinite: start from finite ones, x.replace({{{name!r}: array}})"
            )


def check_given(given: list[Any], what: str = "complete") -> None:
    """Refuse factorizations that cannot train, or not together.

    Raises:
        TypeError: if there is none, or they are not of real numbers.
        ValueError: if they differ in structure, or weights are NaN or infinite.
    """
    if not given or not all(isinstance(one, Factorization) for one in given):
        raise TypeError(
            f"{what} starts from a factorization or a sequence of them, such as "
            "tnrank.CPFactorization.random((8, 8, 8), std=1e-3)"
        )
    first = given[0]
    for number, one in enumerate(given):
        same = type(one) is type(first) and one._static == first._static
        shapes = [a.shape for a in one._values] == [a.shape for a in first._values]
        if not (same and shapes and one.backend is first.backend and one.dtype == first.dtype):
            raise ValueError(
                f"factorization {number} is not structured like the first: got {one._title()}, needed "
                f"{first._title()}; train it in a call of its own"
            )
        _check_weights(one, f" {number}" if len(given) > 1 else "")


def checked_stop(stop: Any) -> Stop:
    """``stop`` as a rule: itself, a loss below which to stop, or never.

    Raises:
        TypeError: if it is something else.
        ValueError: for a loss that is negative, NaN or infinite.
    """
    if stop is None:
        return Stop()
    if isinstance(stop, Stop):
        return stop
    if isinstance(stop, bool) or not isinstance(stop, (int, float, np.integer, np.floating)):
        raise TypeError(f"stop is a number or tnrank.Stop(loss=1e-8), got {_check.shown(stop)}")
    return Stop(loss=float(stop))


def check_options(steps: Any, progress: Any, callback: Any, on_record: Any) -> None:
    """Refuse the other keywords of ``complete`` if they are of a wrong kind.

    Raises:
        TypeError: if one is.
        ValueError: for a negative number of steps, or too many.
    """
    _check.whole_number(steps, "steps", 0, _MOST_STEPS)
    if not isinstance(progress, (bool, np.bool)) and not callable(progress):
        raise TypeError(f"progress is True, False or a function of a line of text, got {_check.shown(progress)}")
    for name, function, arguments in (
        ("callback", callback, "(step, loss)"),
        ("on_record", on_record, "(name, step, value, run)"),
    ):
        if function is not None and not callable(function):
            raise TypeError(f"{name} is a function of {arguments}, got {_check.shown(function)}")


def recorders_of_runs(record: Any, runs: int, several: bool) -> list[tuple[Any, ...]]:
    """The recorders of all runs, or one tuple of them a run."""
    if isinstance(record, Recorder):
        raise TypeError(f"record is a sequence of recorders, got one: record=[{record!r}]")
    found = _check.sequence(record, "record", "recorders from tnrank.training.recorders, such as Loss(every=25)")
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


def check_recorders(recorders: Iterable[Any]) -> None:
    """Refuse what is no recorder, and two of one name.

    Raises:
        TypeError: for something else.
        ValueError: for a name that occurs twice.
    """
    seen: set[str] = set()
    for recorder in recorders:
        if not isinstance(recorder, Recorder):
            raise TypeError(
                f"got the recorder {recorder!r}: needed one of tnrank.training.recorders, such as Loss(every=25)"
            )
        if recorder.name in seen:
            raise ValueError(f"two recorders are called {recorder.name!r}: give one another name (recorder.name = ..)")
        seen.add(recorder.name)


def sequence_of(x: Any) -> tuple[list[Any], bool]:
    """The factorizations to start from, and whether a sequence of them was given."""
    if isinstance(x, Factorization):
        return [x], False
    if not isinstance(x, (list, tuple)) and (hasattr(x, "dtype") or not isinstance(x, Iterable)):
        return [], True
    return list(x), True
