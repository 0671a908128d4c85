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
_RUN = ("run",)


@dataclass(frozen=True)
class Objective:
    """How the loss is computed; hashable, so that equal problems share one compiled program.

    A batch of runs is one more index, on every trained tensor and in the output: no transformation is needed.

    ``way`` is ``"dense"`` (the whole end tensor is contracted and the observed entries weigh in), ``"rows"`` (one row
    a mode and entry) or ``"sensing"`` (rank-one measurements). What is observed is passed as ``data``.
    """

    way: str
    plan: ContractionPlan
    loss: Loss
    batched: bool
    entries: Any = field(default=None, compare=False)

    def value_and_gradient(
        self, backend: Backend, values: Sequence[Array], data: Any
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
        """The loss, its gradient with respect to every array, and the end tensor where it was formed (else nothing)."""
        program = self.plan._program
        given, constant = list(values), frozenset[int]()
        if self.way == "rows":
            given = self._gather(backend, values, data["positions"])
        elif self.way == "sensing":
            given += data["vectors"]
            constant = frozenset(range(len(values), len(given)))
        kept = program.run_and_keep(backend, given)
        # Flat, because loops over many short axes are slow; a reshape of a contiguous result costs nothing.
        shape = tuple(kept[-1].shape)
        flat = (shape[0], -1) if self.batched else (-1,)
        residual = backend.reshape(kept[-1], flat) - data["values"]
        axes = (1,) if self.batched else None
        loss, cotangent = self.loss.weighted(residual, data["weights"], backend.xp, axes)
        pulled = program.pull_back(backend, kept, backend.reshape(cotangent, shape), constant)
        if self.way == "rows":
            return loss, self._scatter(backend, pulled, values, data["positions"]), ()
        return loss, pulled[: len(values)], (kept[-1],) if self.way == "dense" else ()

    def _gather(self, backend: Backend, values: Sequence[Array], positions: Any) -> list[Array]:
        def one(arrays: Any) -> tuple[Array, ...]:
            return tuple(self.entries.gather(backend, arrays, positions).values())

        return list(backend.vmap(one)(tuple(values)) if self.batched else one(values))

    def _scatter(
        self, backend: Backend, pulled: Sequence[Array], values: Sequence[Array], positions: Any
    ) -> list[Array]:
        def one(gradients: Any, arrays: Any) -> tuple[Array, ...]:
            named = dict(zip(self.plan.network.tensors, gradients, strict=True))
            return tuple(self.entries.scatter(backend, named, arrays, positions))

        fn = backend.vmap(one) if self.batched else one
        return list(fn(tuple(pulled), tuple(values)))


def make_objective(
    x: Factorization, indices: Any, values: Any, loss: Loss, runs: int | None = None
) -> tuple[Objective, dict[str, Any]]:
    """The objective of ``complete`` and its data on the backend, dtype and device of ``x``; ``runs`` of them at once.

    Raises:
        ValueError: see :func:`tnrank.complete`.
    """
    if isinstance(indices, RankOneMeasurements):
        return _sensing(x, indices, values, loss, runs)
    found, numbers = checked_entries(indices, values, x.shape)
    entries = EntryPlan(x.network, x._sizes, found)
    count = len(found)
    if entries.dense:
        # Dense weights in place of a gather: a scatter would be the slowest part of a step.
        size = prod(x.shape)
        weights = np.bincount(entries.linear, minlength=size) * loss.weight(count)
        target = np.zeros(size)
        target[entries.linear] = numbers
        data = {"values": _put(x, target), "weights": _put(x, weights)}
        plan = entries.whole if runs is None else _plan(x.network, x._sizes, runs)
        return Objective("dense", plan, loss, runs is not None), data
    plan = entries.rows if runs is None else _plan(entries.row_network, {**x._sizes, _ENTRY: count}, runs)
    data = {
        "values": _put(x, numbers),
        "weights": _put(x, np.full(count, loss.weight(count))),
        "positions": entries.positions(x.backend, _device(x)),
    }
    return Objective("rows", plan, loss, runs is not None, entries), data


def _plan(network: Network, sizes: Any, runs: int | None, shared: frozenset[str] = frozenset()) -> ContractionPlan:
    """A plan of ``network``; for ``runs`` at once, with their index on all tensors but the ``shared`` ones."""
    if runs is None:
        return network.plan(sizes)
    tensors = {name: labels if name in shared else (_RUN, *labels) for name, labels in network.tensors.items()}
    return Network(tensors, (_RUN, *network.output)).plan({**sizes, _RUN: runs})


def _sensing(
    x: Factorization, measured: RankOneMeasurements, values: Any, loss: Loss, runs: int | None
) -> tuple[Objective, dict[str, Any]]:
    if measured.shape != x.shape:
        raise ValueError(f"the measurements are of a tensor of shape {measured.shape}, the factorization has {x.shape}")
    count = len(measured)
    numbers = checked_values(values, count)
    vectors = {f"measurement {mode}": (_ENTRY, label) for mode, label in enumerate(x.network.output)}
    network = Network({**x.network.tensors, **vectors}, (_ENTRY,))
    plan = _plan(network, {**x._sizes, _ENTRY: count}, runs, frozenset(vectors))
    data = {
        "values": _put(x, numbers),
        "weights": _put(x, np.full(count, loss.weight(count))),
        "vectors": [_put(x, v) for v in measured.vectors],
    }
    return Objective("sensing", plan, loss, runs is not None), data


def _put(x: Factorization, array: np.ndarray[Any, Any]) -> Array:
    return x.backend.asarray(np.asarray(array, np.float64 if x.dtype == "float64" else np.float32), x.dtype, _device(x))


def _device(x: Factorization) -> Any:
    return None if x.device == x.backend.devices()[0] else x.device
