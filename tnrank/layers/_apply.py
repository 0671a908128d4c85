"""Weights applied to inputs along a contraction plan: batches of vectors, and rows looked up in an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod, sqrt
from typing import Any

from tnrank._alike import zeros
from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.layers._format import WeightFormat
from tnrank.network import ContractionPlan, Network

Plans = tuple[tuple[float, ContractionPlan], ...]
"""Orders of contraction, each with the number of rows up to which it is the cheapest."""

_ROWS = (1, 8, 64, 512, 4096)
_INPUT = "x"
_ROW = "row"


@lru_cache(maxsize=1024)
def plans_of(weight: WeightFormat) -> Plans:
    """The plans of a weight: few rows go through the tensors, for many the dense weight may be built first.

    A plan has the index ``"row"``, whose size varies from call to call.
    """
    network = _lookup_network(weight) if weight.kind == "embedding" else _linear_network(weight)
    sizes = {label: size for label, size in weight.sizes.items() if label in network.indices}
    found: list[tuple[float, ContractionPlan]] = []
    for rows in _ROWS:
        plan = network.plan({**sizes, _ROW: rows}, varying=(_ROW,))
        if found and found[-1][1].path == plan.path:
            continue
        if found:
            # Between two numbers of rows with different orders, the change is put in the geometric middle.
            before = found[-1][1].sizes[_ROW]
            found[-1] = (sqrt(before * rows), found[-1][1])
        found.append((float("inf"), plan))
    return tuple(found)


def plan_for(plans: Plans, rows: int) -> ContractionPlan:
    """The cheapest plan for so many rows."""
    for most, plan in plans:
        if rows <= most:
            return plan
    raise AssertionError("the last plan is for any number")


def multiplications_of_row(weight: WeightFormat) -> int:
    """Scalar multiplications for one input in a batch of 64, what is built for all of them included."""
    rows = 64
    plan = plan_for(plans_of(weight), rows)
    return round(plan.network.plan({**plan.sizes, _ROW: rows}, varying=(_ROW,)).flops / rows)


def apply_linear(weight: WeightFormat, plan: ContractionPlan, arrays: Mapping[str, Array], x: Array) -> Array:
    """``x @ W.T`` of inputs ``(rows, inputs)``; gives ``(rows, outputs)``."""
    backend, layout = backend_of(x), weight.layout
    outputs, inputs = weight.sides
    if prod(layout.columns) > inputs:
        x = _filled(x, prod(layout.columns) - inputs)
    y = plan({_INPUT: backend.reshape(x, (-1, *layout.columns)), **arrays})
    y = backend.reshape(y, (-1, prod(layout.rows)))
    return y if prod(layout.rows) == outputs else y[:, :outputs]


def apply_lookup(weight: WeightFormat, plan: ContractionPlan, arrays: Mapping[str, Array], indices: Array) -> Array:
    """Rows of the embedding at ``indices`` ``(rows,)``; gives ``(rows, features)``. The table is never built."""
    layout = weight.layout
    backend = backend_of(next(iter(arrays.values())))
    digits: dict[Any, Array] = {}
    for label, size in reversed(list(zip(layout.ins, layout.columns, strict=True))):
        digits[label] = indices % size if label != layout.ins[0] else indices
        indices = indices // size
    rows = {}
    for name, part in weight.parts.items():
        # Only the mode that is looked up goes to the front: (i, ..) to (row, ..).
        axis = next((k for k, label in enumerate(part.labels) if label in digits), None)
        rows[name] = arrays[name] if axis is None else backend.take(arrays[name], digits[part.labels[axis]], axis)
    y = backend.reshape(plan(rows), (-1, prod(layout.rows)))
    features, _ = weight.sides
    return y if prod(layout.rows) == features else y[:, :features]


def _filled(x: Array, count: int) -> Array:
    return backend_of(x).xp.concat([x, zeros(x, (x.shape[0], count))], axis=1)


@lru_cache(maxsize=1024)
def _linear_network(weight: WeightFormat) -> Network:
    layout = weight.layout
    tensors = {_INPUT: (_ROW, *layout.ins), **{name: part.labels for name, part in weight.parts.items()}}
    return Network(tensors, (_ROW, *layout.outs))


@lru_cache(maxsize=1024)
def _lookup_network(weight: WeightFormat) -> Network:
    layout = weight.layout
    tensors = {
        name: tuple(_ROW if label in layout.ins else label for label in part.labels)
        for name, part in weight.parts.items()
    }
    return Network(tensors, (_ROW, *layout.outs))
