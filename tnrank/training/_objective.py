"""The loss of a factorization on observations, with its gradient by one sweep back over the contraction plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.factorizations._entries import EntryPlan
from tnrank.network import ContractionPlan, Network
from tnrank.training._losses import Loss
from tnrank.training._observations import RankOneMeasurements, checked_entries, checked_values

_ENTRY = ("entry",)


@dataclass(frozen=True)
class Objective:
    """How the loss is computed; hashable, so that equal problems share one compiled program.

    ``way`` is ``"dense"`` (the whole end tensor is contracted and the observed entries weigh in), ``"rows"`` (one row
    a mode and entry) or ``"sensing"`` (rank-one measurements). What is observed is passed as ``data``.
    """

    way: str
    plan: ContractionPlan
    loss: Loss
    count: int
    gather: Any = field(default=None, compare=False)

    def value_and_gradient(self, backend: Backend, values: Sequence[Array], data: Any) -> tuple[Array, list[Array]]:
        """The loss and its gradient with respect to every array."""
        xp, program = backend.xp, self.plan._program
        given = list(values)
        constant: frozenset[int] = frozenset()
        if self.way == "rows":
            gathered = self.gather.gather(backend, values, data["positions"])
            given = [gathered[name] for name in self.plan.network.tensors]
        elif self.way == "sensing":
            given += data["vectors"]
            constant = frozenset(range(len(values), len(given)))
        kept = program.run_and_keep(backend, given)
        loss, cotangent = self.loss.weighted(kept[-1] - data["values"], data["weights"], xp)
        pulled = program.pull_back(backend, kept, cotangent, constant)
        if self.way == "rows":
            named = dict(zip(self.plan.network.tensors, pulled, strict=True))
            return loss, self.gather.scatter(backend, named, values, data["positions"])
        return loss, pulled[: len(values)]


def make_objective(
    x: Factorization, indices: Any, values: Any, loss: Loss
) -> tuple[Objective, dict[str, Any]]:
    """The objective of ``complete`` and its data on the backend, dtype and device of ``x``.

    Raises:
        ValueError: see :func:`tnrank.complete`.
    """
    if isinstance(indices, RankOneMeasurements):
        return _sensing(x, indices, values, loss)
    found, numbers = checked_entries(indices, values, x.shape)
    entries = EntryPlan(x.network, x._sizes, found)
    count = len(found)
    if entries.dense:
        # Dense weights in place of a gather: a scatter would be the slowest part of a step, and repeated entries add up.
        size = prod(x.shape)
        weights = np.bincount(entries.linear, minlength=size).reshape(x.shape) * loss.weight(count)
        target = np.zeros(size)
        target[entries.linear] = numbers
        data = {"values": _put(x, target.reshape(x.shape)), "weights": _put(x, weights)}
        return Objective("dense", entries.whole, loss, count), data
    assert entries.rows is not None
    data = {
        "values": _put(x, numbers),
        "weights": _put(x, np.full(count, loss.weight(count))),
        "positions": entries.positions(x.backend, _device(x)),
    }
    return Objective("rows", entries.rows, loss, count, entries), data


def _sensing(
    x: Factorization, measured: RankOneMeasurements, values: Any, loss: Loss
) -> tuple[Objective, dict[str, Any]]:
    if measured.shape != x.shape:
        raise ValueError(f"the measurements are of a tensor of shape {measured.shape}, the factorization has {x.shape}")
    count = len(measured)
    numbers = checked_values(values, count)
    tensors = dict(x.network.tensors)
    for mode, label in enumerate(x.network.output):
        tensors[f"measurement {mode}"] = (_ENTRY, label)
    network = Network(tensors, (_ENTRY,))
    data = {
        "values": _put(x, numbers),
        "weights": _put(x, np.full(count, loss.weight(count))),
        "vectors": [_put(x, v) for v in measured.vectors],
    }
    return Objective("sensing", network.plan({**x._sizes, _ENTRY: count}), loss, count), data


def _put(x: Factorization, array: np.ndarray[Any, Any]) -> Array:
    return x.backend.asarray(np.asarray(array, np.float64 if x.dtype == "float64" else np.float32), x.dtype, _device(x))


def _device(x: Factorization) -> Any:
    return None if x.device == x.backend.devices()[0] else x.device
