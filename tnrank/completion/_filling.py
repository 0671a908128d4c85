"""Filling in, as a generator of trainings: the command and :func:`tnrank.fill_missing` drive the same one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from math import sqrt
from typing import Any

import numpy as np

from tnrank.completion._best_step import BestStep
from tnrank.completion._filled import Filled
from tnrank.completion._incomplete import Incomplete
from tnrank.completion._settings import Settings, norm_of
from tnrank.completion._split import Split, split_observed
from tnrank.runs import Training
from tnrank.training import CompletionResult, GroupRMSProp, Trace, recorders

NDArray = np.ndarray[Any, Any]

_RECORDS = 400
_RANGE = {"float32": 1e30, "float64": 1e150}
"""How far from 1, in both directions, entries may be, so that they and their products are numbers."""


def filling(given: Incomplete, settings: Settings) -> Generator[Training, Any, Filled]:
    """Fit the observed entries of an array, and take the missing ones from the fit.

    Yields a Training called ``fit``, and one called ``refit`` that ends at the best step if that was not the last one.
    Their losses and recorded errors are those of the scaled array; what is returned is of the array itself.

    Args:
        given: what is to be completed.
        settings: how.

    Returns:
        A Filled, whose array is float64 and on the host.

    Raises:
        ValueError: if there is nothing to learn from, or the model or its tree is not for that order.

    Example:
        >>> import numpy as np
        >>> from tnrank.completion import Incomplete, Settings, filling
        >>> given = Incomplete.of(np.where(np.eye(8), np.nan, 1.0))
        >>> next(filling(given, Settings(rank=2)))
        Training(fit: MatrixFactorization, 10,000 steps)
    """
    shape = given.array.shape
    split = split_observed(given.array, given.missing, settings.hold_out, settings.seed)
    offset = float(split.train_values.mean()) if settings.center else 0.0
    scale = _level(split.train_values - offset, settings) * sqrt(given.array.size) / norm_of(shape)
    start = settings.start(shape)
    best = BestStep(settings.steps)
    record = _recorders(split, offset, scale, settings.steps)
    values = (split.train_values - offset) / scale

    def training(name: str, steps: int, **watched: Any) -> Training:
        optimizer = GroupRMSProp(settings.learning_rate)
        given = {"optimizer": optimizer, "steps": steps, "record": record, "save": False, **watched}
        return Training(name, start, split.train, values, **given)

    result = first = yield training("fit", settings.steps, callback=best.callback, on_record=best.on_record)
    step = best.choose(result)
    status, stopped, seconds = result.status, best.reason, result.seconds
    if status == "interrupted":
        stopped = result.message
    elif step < result.steps:
        # Training is deterministic: going to the best step again costs less than keeping all weights.
        again = yield training("refit", step)
        seconds += again.seconds
        if again.status == "interrupted":
            status, stopped = again.status, f"{again.message}, on the way to step {step:,} again"
        else:
            result = again
    # The arrays share the scale evenly, so that the factorization is of the array itself.
    share = scale ** (1 / len(start.arrays))
    fitted = result.factorization.map(lambda a: a * share)
    dense = np.asarray(fitted.backend.to_numpy(fitted.to_dense()), np.float64) + offset
    unobserved, held_out_wholly, unlearned = _not_learned(given.missing, first.unobserved)
    return Filled(
        array=np.where(given.missing, dense, given.array),
        factorization=fitted,
        offset=offset,
        **split.errors(dense),
        missing=int(given.missing.sum()),
        observed=int((~given.missing).sum()),
        held_out=len(split.test),
        unobserved=unobserved,
        held_out_wholly=held_out_wholly,
        unlearned=unlearned,
        training_loss=result.loss * scale**2,
        steps=result.steps,
        status=status,
        stopped=stopped,
        seconds=seconds,
        history=_history(first, scale, best.end),
    )


def _level(values: NDArray, settings: Settings) -> float:
    """The root mean square of what is trained on.

    Raises:
        ValueError: if it is 0, or some entry is beyond what the dtype can train.
    """
    largest, limit = float(np.abs(values).max()), _RANGE[settings.dtype]
    if settings.center and np.ptp(values) == 0:
        raise ValueError(
            "all observed entries are equal, there is nothing to learn from: center=False trains on them, and "
            "numpy.where(missing, their_value, array) puts it everywhere"
        )
    if largest == 0:
        raise ValueError(
            "all observed entries are 0, there is nothing to learn from: numpy.where(missing, 0, array) "
            "puts 0 everywhere"
        )
    if not 1 / limit <= largest <= limit:
        wider = "dtype='float64', or " if settings.dtype == "float32" and 1e-150 <= largest <= 1e150 else ""
        raise ValueError(
            f"the largest observed entry is {largest:.1g} from {'the mean' if settings.center else '0'}, and training "
            f"in {settings.dtype} needs it in {1 / limit:g} .. {limit:g}: {wider}array / {largest:.0e}"
        )
    return float(np.sqrt(np.mean(values**2)))


def _recorders(split: Split, offset: float, scale: float, steps: int) -> list[Any]:
    every = max(1, steps // _RECORDS)
    record: list[Any] = [recorders.Loss(every)]
    for name, indices, values in split.held_out():
        recorder = recorders.HeldOutError(indices, (values - offset) / scale, every=every)
        recorder.name = name
        record.append(recorder)
    return record


def _history(result: CompletionResult, scale: float, end: int | None) -> dict[str, Trace]:
    """What was recorded, of the array itself, up to where the rule ended the fit."""
    found = {}
    for name, trace in result.history.items():
        kept = np.ones(len(trace), bool) if end is None else trace.steps <= end
        values = np.asarray(trace.values, np.float64)[kept]
        found[name] = Trace(trace.steps[kept], values * (scale**2 if name == "loss" else scale))
    return found


def _not_learned(
    missing: NDArray, untrained: Mapping[int, NDArray]
) -> tuple[dict[int, NDArray], dict[int, NDArray], int]:
    """Slices without an observation, those whose observations are all held out, and the missing entries in both."""
    unobserved: dict[int, NDArray] = {}
    held_out: dict[int, NDArray] = {}
    inside = np.zeros(missing.shape, bool)
    for mode, slices in untrained.items():
        across = np.moveaxis(missing, mode, 0)[slices]
        empty = across.reshape(len(slices), -1).all(axis=1)
        np.moveaxis(inside, mode, 0)[slices] = True
        for found, chosen in ((unobserved, slices[empty]), (held_out, slices[~empty])):
            if len(chosen):
                found[mode] = chosen
    return unobserved, held_out, int((inside & missing).sum())
