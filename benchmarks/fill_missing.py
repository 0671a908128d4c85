"""``tnrank.fill_missing`` against the same trainings called by hand: what scaling, splitting and measuring add."""

from __future__ import annotations

from statistics import median
from time import process_time
from typing import Any

import numpy as np

import tnrank
from tnrank.completion import Incomplete, Settings, filling
from tnrank.data import low_rank_tensor
from tnrank.runs import drive
from tnrank.training import recorders

_AT_MOST = 1.1
_STEPS = {"numpy": 4000, "torch": 3000, "jax": 5000}
_ROUNDS = 5


def _by_hand(asked: Any, record: Any = None) -> Any:
    given = asked.record if record is None else record
    return tnrank.complete(asked.starts, asked.indices, asked.values, record=given, **asked.options)


def _fresh(record: Any) -> list[Any]:
    """The same recorders anew, as a call by hand makes them: JAX compiles for new ones."""
    loss, *errors = record
    made: list[Any] = [recorders.Loss(loss.every)]
    for one in errors:
        made.append(recorders.HeldOutError(one.indices, one.values, every=one.every))
        made[-1].name = one.name
    return made


def run(report: Any) -> None:
    array = low_rank_tensor((24, 20, 16), rank=3, seed=0)
    mask = np.random.default_rng(0).random(array.shape) < 0.4
    for backend, steps in _STEPS.items():
        if backend not in tnrank.available_backends():
            continue
        calls: list[Any] = []

        def kept(asked: Any, calls: list[Any] = calls) -> Any:
            calls.append(asked)
            return _by_hand(asked)

        drive(filling(Incomplete.of(array, mask), Settings(backend=backend, steps=steps)), kept)
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(_ROUNDS):
            for which in (0, 1) if turn % 2 else (1, 0):
                # CPU time counts: a busy neighbor core must not change the ratio.
                began = process_time()
                if which:
                    given = _fresh(calls[0].record)
                    for asked in calls:
                        _by_hand(asked, given)
                else:
                    tnrank.fill_missing(array, mask, backend=backend, steps=steps)
                times[which].append(process_time() - began)
        what = f"{steps:,} steps, {len(calls)} trainings, {backend}"
        report.compare("fill_missing 24 x 20 x 16", what, median(times[0]), median(times[1]), at_most=_AT_MOST)
