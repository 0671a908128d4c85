"""Completion and sensing by gradient descent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack, overload

import numpy as np

from tnrank._explained import explained
from tnrank._warn import warn
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
from tnrank.training._loop import Problem, Stop, columns, indices_key
from tnrank.training._losses import Loss, SquaredLoss
from tnrank.training._objective import objective_of
from tnrank.training._observations import Observations, checked_observations
from tnrank.training._optimizers import GroupRMSProp, resolve
from tnrank.training._result import CompletionResult
from tnrank.training._stability import unstable
from tnrank.training._unobserved import unobserved_slices, warning_of
from tnrank.training.recorders import Recorder


class Options(TypedDict, total=False):
    """The keywords of :func:`complete`."""

    loss: Loss | None
    optimizer: Any
    steps: int
    record: Iterable[Recorder] | Iterable[Iterable[Recorder]]
    stop: Stop | float | None
    progress: bool | Callable[[str], None]
    callback: Callable[[int, float], bool | None] | None
    on_record: Callable[[str, int, Any, int], None] | None
    checkpoint: Checkpoint | None
    resume: bool | str | os.PathLike[str] | SavedRuns


@overload
def complete(x: Factorization, indices: Any, values: Any, **options: Unpack[Options]) -> CompletionResult: ...
@overload
def complete(
    x: Sequence[Factorization], indices: Any, values: Any, **options: Unpack[Options]
) -> list[CompletionResult]: ...
@explained
def complete(
    x: Any,
    indices: Any,
    values: Any,
    *,
    loss: Loss | None = None,
    optimizer: Any = None,
    steps: int = 10_000,
    record: Iterable[Recorder] | Iterable[Iterable[Recorder]] = (),
    stop: Stop | float | None = None,
    progress: bool | Callable[[str], None] = False,
    callback: Callable[[int, float], bool | None] | None = None,
    on_record: Callable[[str, int, Any, int], None] | None = None,
    checkpoint: Checkpoint | None = None,
    resume: bool | str | os.PathLike[str] | SavedRuns = False,
) -> Any:
    """Fit a factorization to observed entries, or to rank-one measurements, by full-batch gradient descent.

    Args:
        x: the factorization to start from, or a sequence of equally structured ones: they train in one batched run
            on JAX and PyTorch, finished ones frozen, and one after the other on NumPy.
        indices: ``(M, N)`` observed positions, or :class:`tnrank.RankOneMeasurements`; a list of them, one a run, if
            the runs have observations of their own (as many each, unless the end tensor is small).
        values: ``(M,)`` observed values, or a list of them as well.
        loss: ``SquaredLoss()`` if not given.
        optimizer: ``GroupRMSProp(1e-2)`` if not given; an optax transformation on JAX, a ``torch.optim`` class or a
            function of the parameters on torch. Line searches and other methods that evaluate the loss themselves get
            it: optax's as ``value``, ``grad``, ``value_fn`` and ``grad_fn``, torch's as a closure. A step is one call
            of them, however often they evaluate the loss; in a batch each run has its own.
        steps: the most updates.
        record: recorders from :mod:`tnrank.training.recorders`; or one list of them a run, alike but for their data.
        stop: a :class:`tnrank.Stop`, or the loss below which to stop at once.
        progress: show a line with rate, loss and time left, or call a function with it.
        callback: ``callback(step, loss)`` about twice a second; ``True`` stops the run.
        on_record: ``on_record(name, step, value, run)`` with every measurement as soon as it is on the host, before
            the callback: what a killed run shall leave behind is written here. A resumed run first tells what it had
            recorded before.
        checkpoint: a :class:`tnrank.training.Checkpoint`: where to save the run on its way, and how often.
        resume: ``True`` to go on from the last whole checkpoint in that folder, if there is one; or another folder,
            which must hold one; or :class:`tnrank.training.SavedRuns`, to go on with some of the runs that were saved
            together. On the same backend the result is that of a run that was never interrupted, bit for
            bit. ``x`` and all else are given as they were; ``steps`` may grow.

    Returns:
        A CompletionResult; a list of them for a sequence.

    Warns:
        UserWarning: if nothing is observed in a slice (row, column) of some mode. Its entries stay what the initial
            weights make of them; ``result.unobserved`` lists the slices.

    Raises:
        ValueError: for no observations, an entry out of range or observed twice with different values, NaN or masked
            entries among the values or NaN among the weights, factorizations of different structure, or a checkpoint
            of another run.
        FileExistsError: if the folder of ``checkpoint`` holds an earlier run and ``resume`` is not ``True``.
        BlockingIOError: if another process trains there.
        TypeError: for factorizations that are not of real numbers, an optimizer that the backend does not have or that
            cannot train dense arrays, or an argument of another kind.

    Example:
        >>> import numpy as np, tnrank
        >>> target = np.outer([1.0, 2.0, 3.0], [1.0, -1.0])
        >>> indices = np.argwhere(np.ones((3, 2)))
        >>> x = tnrank.MatrixFactorization.random((3, 2), depth=2, std=0.1, seed=0)
        >>> result = tnrank.complete(x, indices, target[tuple(indices.T)], steps=2000, stop=1e-6)
        >>> result.status
        'converged'
    """
    given, several = sequence_of(x)
    check_given(given)
    loss = check_loss(SquaredLoss() if loss is None else loss)
    optimizer = GroupRMSProp() if optimizer is None else optimizer
    stop = checked_stop(stop)
    check_options(steps, progress, callback, on_record)
    check_kept(checkpoint, resume, len(given) if several else None)
    per_run = recorders_of_runs(record, len(given), several)
    first = given[0]
    resolved = resolve(optimizer, first.backend)
    observations = checked_observations(first, indices, values, len(given) if several else None)
    unobserved = [unobserved_slices(one, first.shape) for one in observations]
    if steps and (message := warning_of(unobserved, first.ndim)):
        warn(message)
    call = Call(loss, optimizer, resolved, int(steps), stop, progress, callback, on_record, checkpoint, resume)

    def alone(own: Call, run: int) -> CompletionResult:
        seen, record = [observations[run % len(observations)]], [per_run[run % len(per_run)]]
        return _together(own, [given[run]], seen, record, False)[0]

    if several and "vmap" not in first.backend.capabilities:
        results = one_by_one(call, len(given), alone)
    else:
        results = _together(call, given, observations, per_run, several)
    results = [replace(one, unobserved=unobserved[k % len(unobserved)]) for k, one in enumerate(results)]
    return results if several else results[0]


def _together(
    call: Call,
    given: list[Factorization],
    observations: list[Observations],
    recorders: list[tuple[Any, ...]],
    several: bool,
) -> list[CompletionResult]:
    """Train one factorization, or ``several`` in one batched run."""
    first = given[0]
    objective, data = objective_of(first, observations, call.loss, len(given) if several else None)
    problem = Problem(
        first.backend.name,
        type(first),
        first._static,
        objective,
        call.resolved,
        call.stop,
        columns(recorders),
        several,
        len(recorders) > 1,
        indices_key(objective, recorders[0]),
    )
    driver = call.driver(problem, given, recorders, data)
    results = driver.finish()
    for run in driver.failed:
        seen = observations[run % len(observations)]
        with np.errstate(over="ignore", invalid="ignore"):
            told = unstable(call.resolved, run, given[run], *seen, call.loss)
        results[run] = replace(results[run], message=results[run].message + told)
    return results
