"""The end of a run on samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._typing import Array
from tnrank._warn import warn
from tnrank.training._losses import Loss
from tnrank.training._result import CompletionResult, Trace
from tnrank.training._samples._data import Features
from tnrank.training._samples._predict import scores, scores_of_read

Host = np.ndarray[Any, Any]
_SMALL = 1e-6
"""Scores so small, relative to targets, are 0."""


@dataclass(frozen=True)
class FitResult:
    """The end of a run on samples.

    Attributes:
        factorization: the last one; with ``patience``, the one with the lowest validation loss.
        history: recorder's name -> Trace; ``validation_loss`` if there are samples for it.
        status: ``"steps"`` (all epochs done), ``"patience"``, ``"converged"`` (the stop rule held), ``"nan"``,
            ``"stopped"`` (by the callback) or ``"interrupted"`` (Ctrl-C).
        epochs: epochs done.
        steps: updates done.
        loss: the loss of ``factorization`` on all samples.
        seconds: wall-clock time, compilation included.
        message: the status in words.
    """

    factorization: Any
    history: dict[str, Trace]
    status: str
    epochs: float
    steps: int
    loss: float
    seconds: float
    message: str

    def scores(self, features: Any) -> Array:
        """The scores of other samples; see :func:`tnrank.scores`."""
        return scores(self.factorization, features)

    def __repr__(self) -> str:
        return (
            f"FitResult({self.status}: {self.message}; {self.epochs:g} epoch{'s' * (self.epochs != 1)} in "
            f"{self.seconds:.1f} s, "
            f"loss {self.loss:.3e}; history: {', '.join(self.history) or 'none'})"
        )


def fit_result(
    one: CompletionResult,
    features: Features,
    targets: Host,
    loss: Loss,
    steps: int,
    gave_up: int | None,
) -> FitResult:
    """What the loop ended with, on all samples; ``steps`` of an epoch, ``gave_up`` after so many epochs of patience."""
    found = np.asarray(one.factorization.backend.to_numpy(scores_of_read(one.factorization, features)), np.float64)
    if message := _out_of_range(found, targets, features.modes):
        warn(message)
    told = {"status": one.status, "message": one.message}
    if one.status == "steps" and gave_up is not None:
        told = {
            "status": "patience",
            "message": f"no lower validation loss for {gave_up} epoch{'s' if gave_up != 1 else ''}",
        }
    return FitResult(
        one.factorization,
        one.history,
        epochs=one.steps / steps,
        steps=one.steps,
        loss=_loss(found, targets, loss),
        seconds=one.seconds,
        **told,
    )


def _out_of_range(found: Host, targets: Host, modes: int) -> str | None:
    """A sentence on scores that say nothing, as products of many factors that are not near 1 do."""
    largest, wanted = abs(found).max(), abs(targets).max()
    if wanted and largest < _SMALL * wanted:
        return (
            f"all scores are 0 (at most {largest:.0e}), and nothing can be learned from there: products of {modes} "
            "factors leave the range near 1. Take a smaller learning rate, init='mean_one' or a smaller std"
        )
    if largest > max(1.0, wanted) / _SMALL:
        return (
            f"scores reach {largest:.0e}: products of {modes} factors leave the range near 1. Take init='mean_one', a "
            "smaller std, or features that sum to 1 at each mode"
        )
    return None


def _loss(found: Host, targets: Host, loss: Loss) -> float:
    """The loss on all samples, summed on the host."""
    count = len(found)
    weights = np.full(targets.shape[:1] + (1,) * (targets.ndim - 1), loss.weight(count))
    if targets.ndim > 1:
        weights = weights / found.shape[-1]
    with np.errstate(over="ignore", invalid="ignore"):
        return float(
            loss.of(found, targets if targets.dtype.kind == "i" else targets.astype(np.float64), weights, np)[0]
        )
