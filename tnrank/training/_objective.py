"""The loss of a factorization on observations, with its gradient by one sweep back over the contraction plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from operator import itemgetter
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.factorizations._entries import EntryPlan
from tnrank.network import ContractionPlan, Network
from tnrank.training._losses import Loss
from tnrank.training._observations import Observations, RankOneMeasurements, checked_observations

_ENTRY = ("entry",)
_RUN = ("run",)


@dataclass(frozen=True)
class Objective:
    """How the loss is computed; hashable, so that equal problems share one compiled program.

    A batch of runs is one more index, on every trained tensor and in the output: no transformation is needed.

    ``way`` is ``"dense"`` (the whole end tensor is contracted and the observed entries weigh in), ``"rows"`` (one row
    a mode and entry) or ``"sensing"`` (rank-one measurements). What is observed is passed as ``data``; ``own`` says
    that each run has observations of its own, on a leading axis of all that is in it.
    """

    way: str
    plan: ContractionPlan
    loss: Loss
    batched: bool
    entries: Any = field(default=None, compare=False)
    own: bool = False

    def pack(self, arrays: Sequence[Array], xp: Any) -> tuple[Array, ...]:
        """The arrays that are trained: those of the factorization."""
        return tuple(arrays)

    def unpack(self, values: Sequence[Array]) -> list[Array]:
        """The factorization's arrays, of those that are trained."""
        return list(values)

    def at(self, backend: Backend, data: Any, count: Any) -> Any:
        """What the step after ``count`` others sees of the data: everything."""
        return data

    def value_and_gradient(
        self, backend: Backend, values: Sequence[Array], data: Any
    ) -> tuple[Array, list[Array], tuple[Array, ...]]:
        """The loss, its gradient with respect to every array, and the end tensor where it was formed (else nothing)."""
        program = self.plan._program
        given = self._operands(backend, values, data)
        constant = frozenset(range(len(values), len(given)))
        kept = program.run_and_keep(backend, given)
        # Flat, because loops over many short axes are slow; a reshape of a contiguous result costs nothing.
        shape = tuple(kept[-1].shape)
        flat = (shape[0], -1) if self.batched else (-1,)
        found, axes = backend.reshape(kept[-1], flat), (1,) if self.batched else None
        loss, cotangent = self.loss.of(found, data["values"], data["weights"], backend.xp, axes)
        pulled = program.pull_back(backend, kept, backend.reshape(cotangent, shape), constant)
        if self.way == "rows":
            return loss, self._scatter(backend, pulled, values, data["positions"]), ()
        return loss, pulled[: len(values)], (kept[-1],) if self.way == "dense" else ()

    def value(self, backend: Backend, values: Sequence[Array], data: Any) -> Array:
        """The loss of one run, without its gradient."""
        found = self.plan._program.run_and_keep(backend, self._operands(backend, values, data))[-1]
        return self.loss.of(backend.reshape(found, (-1,)), data["values"], data["weights"], backend.xp)[0]

    @cached_property
    def of_one(self) -> Objective:
        """The objective of one run of a batch."""
        if not self.batched:
            return self
        network = self.plan.network
        tensors = {name: tuple(x for x in labels if x != _RUN) for name, labels in network.tensors.items()}
        sizes = {label: size for label, size in self.plan.sizes.items() if label != _RUN}
        plan = Network(tensors, tuple(x for x in network.output if x != _RUN)).plan(sizes)
        return replace(self, plan=plan, batched=False, own=False)

    def _operands(self, backend: Backend, values: Sequence[Array], data: Any) -> list[Array]:
        """What the plan contracts."""
        if self.way == "rows":
            return self._gather(backend, values, data["positions"])
        return [*values, *data["vectors"]] if self.way == "sensing" else list(values)

    def end_gradient(self, backend: Backend, values: Sequence[Array], end: Array | None, data: Any) -> Any:
        """The loss's gradient with respect to the end tensor of one run: dense, or ``(indices, values)``.

        Raises:
            ValueError: for measurements other than of entries.
        """
        if self.way == "dense" and end is not None:
            slope = self.loss.of(backend.reshape(end, (-1,)), data["values"], data["weights"], backend.xp)[1]
            return backend.reshape(slope, tuple(end.shape))
        if self.way != "rows" or self.own:
            what = "rank-one measurements" if self.way == "sensing" else "batched runs whose end tensors are too large"
            raise ValueError(f"the gradient of the end tensor is there for observed entries, not for {what}")
        found = self.entries.evaluate(backend, values, data["positions"])
        return self.entries.indices, self.loss.of(found, data["values"], data["weights"], backend.xp)[1]

    def _gather(self, backend: Backend, values: Sequence[Array], positions: Any) -> list[Array]:
        def one(arrays: Any, places: Any = positions) -> tuple[Array, ...]:
            return tuple(self.entries.gather(backend, arrays, places).values())

        if not self.batched:
            return list(one(values))
        return list(backend.vmap(one)(tuple(values), *((positions,) if self.own else ())))

    def _scatter(
        self, backend: Backend, pulled: Sequence[Array], values: Sequence[Array], positions: Any
    ) -> list[Array]:
        def one(gradients: Any, arrays: Any, places: Any = positions) -> tuple[Array, ...]:
            named = dict(zip(self.plan.network.tensors, gradients, strict=True))
            return tuple(self.entries.scatter(backend, named, arrays, places))

        fn = backend.vmap(one) if self.batched else one
        return list(fn(tuple(pulled), tuple(values), *((positions,) if self.own else ())))


@dataclass(frozen=True)
class LossFunction:
    """The loss of one run as a function of its arrays, for optimizers that evaluate it where they like."""

    objective: Objective
    backend: Backend
    data: Any

    def value(self, arrays: Sequence[Array]) -> Array:
        """The loss at ``arrays``."""
        return self.objective.value(self.backend, arrays, self.data)

    def value_and_gradient(self, arrays: Sequence[Array]) -> tuple[Array, tuple[Array, ...]]:
        """The loss at ``arrays`` and its gradient there."""
        loss, gradient, _ = self.objective.value_and_gradient(self.backend, arrays, self.data)
        return loss, tuple(gradient)


def on_arrays(fn: Callable[[Any], Any], value: Any) -> Any:
    """``fn`` of all arrays in nested dictionaries, tuples and lists."""
    if isinstance(value, Mapping):
        return {key: on_arrays(fn, item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        made = [on_arrays(fn, item) for item in value]
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return fn(value) if hasattr(value, "shape") else value


def of_run(data: Any, run: int) -> Any:
    """What belongs to one of several runs, which stand along the first axis of all arrays."""
    return on_arrays(itemgetter(run), data)


def make_objective(
    x: Factorization, indices: Any, values: Any, loss: Loss, runs: int | None = None
) -> tuple[Objective, dict[str, Any]]:
    """The objective of ``complete`` and its data on the backend, dtype and device of ``x``; ``runs`` of them at once.

    Raises:
        ValueError: see :func:`tnrank.complete`.
    """
    return objective_of(x, checked_observations(x, indices, values, runs), loss, runs)


def objective_of(
    x: Factorization, given: Sequence[Observations], loss: Loss, runs: int | None = None
) -> tuple[Objective, dict[str, Any]]:
    """As :func:`make_objective`, of observations that are checked.

    Raises:
        ValueError: if runs that train together have different numbers of observations, or for values that the loss is
            not for.
    """
    for _, numbers in given:
        loss.check_targets(np.asarray(numbers))
    own = len(given) > 1
    if isinstance(given[0][0], RankOneMeasurements):
        return _sensing(x, given, loss, runs, own)
    checked: Sequence[Any] = given
    counts = [len(found) for found, _ in checked]
    # What costs least for the run with the most entries is what all of them do.
    entries = [EntryPlan(x.network, x._sizes, found) for found, _ in checked]
    largest = entries[int(np.argmax(counts))]
    if largest.dense:
        # Dense weights in place of a gather: a scatter would be the slowest part of a step.
        size = prod(x.shape)
        weights, targets = np.zeros((2, len(given), size))
        for k, (_, numbers) in enumerate(checked):
            weights[k] = np.bincount(entries[k].linear, minlength=size) * loss.weight(counts[k])
            targets[k, entries[k].linear] = numbers
        data = {"values": _put(x, targets if own else targets[0]), "weights": _put(x, weights if own else weights[0])}
        plan = largest.whole if runs is None else _plan(x.network, x._sizes, runs)
        return Objective("dense", plan, loss, runs is not None, own=own), data
    count = _equal(counts)
    sizes = {**x._sizes, _ENTRY: count}
    plan = largest.rows if runs is None else _plan(largest.row_network, sizes, runs)
    positions = [one.positions(x.backend, _device(x)) for one in entries]
    data = {
        "values": _put(x, np.stack([numbers for _, numbers in checked]) if own else checked[0][1]),
        "weights": _put(x, np.full((len(given), count) if own else count, loss.weight(count))),
        "positions": {k: x.backend.xp.stack([p[k] for p in positions]) for k in positions[0]} if own else positions[0],
    }
    return Objective("rows", plan, loss, runs is not None, largest, own), data


def _equal(counts: Sequence[int]) -> int:
    if len(set(counts)) > 1:
        raise ValueError(
            f"runs that train together on {sorted(set(counts))} observations: needed equal numbers, unless the whole "
            "end tensor is small enough to be contracted; train them in calls of their own"
        )
    return counts[0]


def _plan(network: Network, sizes: Any, runs: int | None, shared: frozenset[str] = frozenset()) -> ContractionPlan:
    """A plan of ``network``; for ``runs`` at once, with their index on all tensors but the ``shared`` ones."""
    if runs is None:
        return network.plan(sizes)
    tensors = {name: labels if name in shared else (_RUN, *labels) for name, labels in network.tensors.items()}
    return Network(tensors, (_RUN, *network.output)).plan({**sizes, _RUN: runs})


def _sensing(
    x: Factorization, given: Sequence[Any], loss: Loss, runs: int | None, own: bool
) -> tuple[Objective, dict[str, Any]]:
    count = _equal([len(measured) for measured, _ in given])
    numbers = np.stack([values for _, values in given])
    vectors = {f"measurement {mode}": (_ENTRY, label) for mode, label in enumerate(x.network.output)}
    network = Network({**x.network.tensors, **vectors}, (_ENTRY,))
    plan = _plan(network, {**x._sizes, _ENTRY: count}, runs, frozenset() if own else frozenset(vectors))
    stacked = [np.stack(v) for v in zip(*(measured.vectors for measured, _ in given), strict=True)]
    data = {
        "values": _put(x, numbers if own else numbers[0]),
        "weights": _put(x, np.full((len(given), count) if own else count, loss.weight(count))),
        "vectors": [_put(x, v if own else v[0]) for v in stacked],
    }
    return Objective("sensing", plan, loss, runs is not None, own=own), data


def _put(x: Factorization, array: np.ndarray[Any, Any]) -> Array:
    return x.backend.asarray(np.asarray(array, np.float64 if x.dtype == "float64" else np.float32), x.dtype, _device(x))


def _device(x: Factorization) -> Any:
    return None if x.device == x.backend.devices()[0] else x.device
