"""Training on samples of high order, in batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tnrank._check import shown, whole_number
from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.training._arguments import (
    check_given,
    check_loss,
    check_options,
    checked_stop,
    recorders_of_runs,
    sequence_of,
)
from tnrank.training._call import Call, one_by_one
from tnrank.training._checkpoint_folder import Checkpoint, SavedRuns, check_kept
from tnrank.training._loop import Problem, Stop, columns
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._optimizers import Adam, evaluates, resolve
from tnrank.training._samples._data import Features, check_features, checked_targets, floating, put, read_features
from tnrank.training._samples._epochs import Epochs
from tnrank.training._samples._fit_result import FitResult, fit_result
from tnrank.training._samples._objective import SampleObjective, scores_of
from tnrank.training._samples._recorder import SampleLoss
from tnrank.training.recorders import Recorder


@explained
def fit(
    x: Any,
    features: Any,
    targets: Any,
    *,
    loss: Loss | None = None,
    optimizer: Any = None,
    epochs: int = 40,
    batch: int = 500,
    shuffle: bool = True,
    seed: int = 0,
    validation: tuple[Any, Any] | None = None,
    patience: int | None = None,
    record: Iterable[Recorder] | Iterable[Iterable[Recorder]] = (),
    stop: Stop | float | None = None,
    progress: bool | Callable[[str], None] = False,
    callback: Callable[[int, float], bool | None] | None = None,
    on_record: Callable[[str, int, Any, int], None] | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool | str | os.PathLike[str] | SavedRuns = False,
) -> Any:
    """Fit a factorization to samples: features at each mode and a target, in batches.

    The score of a sample with features ``f_1, .., f_N`` is ``<W, outer(f_1, .., f_N)>``, where W is the end tensor.
    One-hot features make it an entry of W, so that this is completion, of tensors of any order and from batches. CP and
    hierarchical factorizations of order 784 take a few milliseconds a step.

    Args:
        x: the factorization to start from, of order N, or of N + 1 for several scores a sample: the last mode has no
            features then, and its entries are the scores. Or a sequence of equally structured ones, which train
            together on JAX and PyTorch and one after the other on NumPy.
        features: whole numbers ``(M, N)``, the states of one-hot features; or vectors ``(M, N, d)``, or N arrays
            ``(M, d_n)``.
        targets: ``(M,)``, or ``(M, C)`` for C scores; whole numbers ``(M,)`` for ``CrossEntropyLoss``. Of a sequence of
            S factorizations also ``(S, M)``, or a list: targets of their own.
        loss: ``SquaredLoss()`` if not given; ``LogisticLoss()`` and ``CrossEntropyLoss()`` are for classes.
        optimizer: ``Adam(1e-3)`` if not given; see :func:`tnrank.complete`.
        epochs: how often all samples are seen.
        batch: samples of a step; the last batch of an epoch may be smaller.
        shuffle: whether batches are drawn anew in every epoch; else samples stay in their order.
        seed: of these draws. Each epoch's order depends on the seed and its number alone.
        validation: features and targets whose loss is recorded after every epoch, as ``"validation_loss"``.
        patience: end a run after so many epochs without a lower validation loss, and give back the values that had the
            lowest.
        record: see :func:`tnrank.complete`; steps are updates. ``recorders.Loss`` is the loss of the next batch.
        stop: a :class:`tnrank.Stop`, or the loss of a batch below which to stop at once.
        progress: see :func:`tnrank.complete`, as for the rest.
        callback: ``callback(step, loss)``.
        on_record: ``on_record(name, step, value, run)``.
        checkpoint: where to save the run on its way.
        resume: go on from there, bit for bit; ``epochs`` may grow.

    Warns ``UserWarning`` if all scores are 0 or beyond all measure at the end: products of N factors have left the
    range near 1.

    Returns:
        A FitResult; a list of them for a sequence.

    Raises:
        ValueError: for features that x has no modes for, targets of another number, NaN, or ``patience`` without
            ``validation``.
        TypeError: for factorizations that are not of real numbers, or arguments of another kind.

    Source: Razin, Maman & Cohen 2021, App. (fitting images by CP factorizations of order 784).

    Example:
        >>> import numpy as np, tnrank
        >>> features = np.random.default_rng(0).integers(0, 2, (200, 30))
        >>> targets = features[:, 3] * features[:, 7] * 1.0
        >>> x = tnrank.CPFactorization.random((2,) * 30, rank=2, init="mean_one", std=0.1)
        >>> result = tnrank.fit(x, features, targets, optimizer=tnrank.Adam(2e-2), epochs=60, batch=50)
        >>> result.status, result.loss < 0.01
        ('steps', True)
    """
    given, several = sequence_of(x)
    check_given(given, "fit")
    first, runs = given[0], len(given) if several else None
    loss = check_loss(SquaredLoss() if loss is None else loss)
    optimizer = Adam() if optimizer is None else optimizer
    read = read_features(features)
    check_features(first, read)
    numbers = checked_targets(first, read, targets, loss, runs)
    batch = min(whole_number(batch, "batch", 1), len(read))
    steps = -(-len(read) // batch)
    check_options(steps * whole_number(epochs, "epochs"), progress, callback, on_record)
    check_kept(checkpoint, resume, runs)
    per_run = recorders_of_runs(record, len(given), several)
    if patience is not None and validation is None:
        raise ValueError(f"got patience={patience} without validation: validation=(features, targets)")
    if patience is not None:
        whole_number(patience, "patience", 1)
    if validation is not None:
        kept = SampleLoss(*_pair(validation), loss=loss, name="validation_loss", every=steps)
        per_run = [(*one, kept) for one in per_run]
    resolved = resolve(optimizer, first.backend)
    if several and evaluates(resolved):
        raise TypeError(f"{type(resolved).__name__} evaluates the loss itself: fit one factorization a call with it")
    call = Call(
        *(loss, optimizer, resolved, steps * epochs, checked_stop(stop)),
        *(progress, callback, on_record, checkpoint, resume),
    )
    order = whole_number(seed, "seed") if shuffle else None
    samples = _Samples(read, numbers, batch, steps, order, patience)

    def alone(own: Call, run: int) -> FitResult:
        mine = replace(samples, targets=numbers[run % len(numbers)][None])
        return _together(own, [given[run]], [per_run[run % len(per_run)]], mine, False)[0]

    if several and "vmap" not in first.backend.capabilities:
        return one_by_one(call, len(given), alone)
    results = _together(call, given, per_run, samples, several)
    return results if several else results[0]


@dataclass(frozen=True)
class _Samples:
    """What is fitted, checked, and how it is seen."""

    features: Features
    targets: np.ndarray[Any, Any]
    batch: int
    steps: int
    """Of an epoch."""
    seed: int | None
    patience: int | None


def _pair(validation: Any) -> tuple[Any, Any]:
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError(f"validation is a pair (features, targets), got {shown(validation)}")
    return validation[0], validation[1]


def _together(
    call: Call, given: list[Factorization], recorders: list[tuple[Any, ...]], samples: _Samples, several: bool
) -> list[FitResult]:
    """Train one factorization, or ``several`` in one batched run."""
    first, read = given[0], samples.features
    way = scores_of(first, read.modes, read.coded, samples.batch, len(given))
    objective = SampleObjective(way, call.loss, several, samples.steps, read.several(first))
    course = Epochs(
        lambda array: put(first, array),
        *(len(read), samples.batch, samples.seed),
        *(len(recorders[0]) - 1, samples.patience),
    )
    weights = np.zeros((samples.steps, samples.batch))
    for step, size in enumerate(course.sizes()):
        weights[step, :size] = call.loss.weight(int(size))
    data = {
        "inputs": tuple(put(first, a) for a in way.inputs(read)),
        "targets": put(first, samples.targets),
        "weights": put(first, floating(first, weights)),
    }
    columns_ = columns(recorders)
    structure = first.backend.name, type(first), first._static
    problem = Problem(*structure, objective, call.resolved, call.stop, columns_, several, len(recorders) > 1)
    driver = call.driver(problem, given, recorders, course.of_chunk(data, -1), course)
    return [
        fit_result(
            *(one, samples.features, samples.targets[run % len(samples.targets)], call.loss, samples.steps),
            samples.patience if course.gave_up[run] else None,
        )
        for run, one in enumerate(driver.finish())
    ]
