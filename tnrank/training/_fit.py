"""Training on samples of high order, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._explained import explained
from tnrank.factorizations import Factorization
from tnrank.training import recorders as known
from tnrank.training._arguments import check_given, check_loss, check_options, checked_stop, recorders_of_runs, sequence_of
from tnrank.training._checkpoint import Keeper
from tnrank.training._checkpoint_folder import Checkpoint, check_kept
from tnrank.training._loop import Problem, columns, runner
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._optimizers import Adam, resolve
from tnrank.training._result import Trace
from tnrank.training._run import Run
from tnrank.training._samples._data import Samples, checked_samples
from tnrank.training._samples._epochs import Epochs
from tnrank.training._samples._objective import SampleObjective, scores_of


@dataclass(frozen=True)
class FitResult:
    factorization: Any
    history: dict[str, Trace]
    status: str
    steps: int
    epochs: float
    loss: float
    seconds: float
    message: str


def fit(
    x: Any,
    features: Any,
    targets: Any,
    *,
    loss: Loss | None = None,
    optimizer: Any = None,
    epochs: int = 40,
    batch: int = 500,
    seed: int | None = 0,
    validation: tuple[Any, Any] | None = None,
    patience: int | None = None,
    record: Iterable[Any] = (),
    stop: Any = None,
    progress: Any = False,
    callback: Any = None,
    on_record: Any = None,
    checkpoint: Checkpoint | None = None,
    resume: Any = False,
) -> Any:
    given, several = sequence_of(x)
    check_given(given)
    loss = check_loss(SquaredLoss() if loss is None else loss)
    optimizer = Adam() if optimizer is None else optimizer
    stop = checked_stop(stop)
    first = given[0]
    samples = checked_samples(first, features, targets, len(given) if several else None, loss)
    batch = min(batch, len(samples))
    steps = -(-len(samples) // batch)
    check_options(steps * epochs, progress, callback, on_record)
    check_kept(checkpoint, resume, len(given) if several else None)
    per_run = recorders_of_runs(record, len(given), several)
    watched = None
    if validation is not None:
        own = known.SampleLoss(*validation, loss=loss, every=steps)
        watched = len(per_run[0])
        per_run = [(*one, own) for one in per_run]
    resolved = resolve(optimizer, first.backend)
    scores = scores_of(first, samples.modes, samples.coded, batch, len(given))
    objective = SampleObjective(scores, loss, several, steps, samples.modes < first.ndim)
    put = samples.put
    course = Epochs(put, len(samples), batch, epochs, seed, watched, patience)
    weights = np.zeros((steps, batch))
    for k, size in enumerate(course.sizes()):
        weights[k, :size] = loss.weight(int(size))
    data = course.of_chunk(
        {
            "inputs": tuple(put(a) for a in scores.inputs(samples.features)),
            "targets": put(samples.targets),
            "weights": put(samples.floating(weights)),
        },
        -1,
    )
    problem = Problem(
        first.backend.name, type(first), first._static, objective, resolved, stop, columns(per_run), several, len(per_run) > 1
    )
    keeper = Keeper(checkpoint, resume, optimizer) if checkpoint is not None or resume else None
    driver = Run(
        runner(problem), given, per_run, data, steps * epochs, progress, callback, on_record, keeper, course
    )
    with keeper or nullcontext(), np.errstate(over="ignore", invalid="ignore"):
        found = driver.go()
    results = [
        FitResult(r.factorization, r.history, r.status, r.steps, r.steps / steps, r.loss, r.seconds, r.message) for r in found
    ]
    return results if several else results[0]
