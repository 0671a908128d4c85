"""A weight and its inputs: vectors of a batch, or rows of an embedding, contracted along plans for any batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import inf, prod, sqrt
from typing import Any

from tnrank._alike import zeros
from tnrank._backend import backend_of
from tnrank._check import instance, shown, whole_number
from tnrank._typing import Array
from tnrank.layers._format import WeightFormat, checked_format
from tnrank.network import ContractionPlan, Network

_ROWS = (1, 8, 64, 512, 4096)
"""Numbers of rows for which plans are compared."""
_INPUT = "x"
_ROW = "row"


def plans_of(weight: WeightFormat) -> Plans:
    """The plans of a linear layer or an embedding, made once for a format and kept.

    Raises:
        TypeError: if ``weight`` is no format.
        ValueError: if it is that of a convolution, which has :func:`stages_of`.
    """
    return _kept(checked_format(weight))


@lru_cache(maxsize=1024)
def _kept(weight: WeightFormat) -> Plans:
    return Plans(weight)


class Plans:
    """How a weight meets its inputs: the cheapest order of contraction for each number of rows.

    Few rows go through the tensors one after the other; for many rows it may be cheaper to build the dense weight
    first. Make it with :func:`plans_of`.

    Attributes:
        weight: the format.
        orders: (number of rows up to which it is the cheapest, plan), ascending; the plan's index ``"row"`` may have
            any size.

    Example:
        >>> import numpy as np
        >>> from tnrank.layers import initial, plans_of, weight_format
        >>> weight = weight_format("linear", (10, 12), "tt", rank=2)
        >>> arrays = initial(weight, seed=0, backend="numpy", dtype="float64")
        >>> x = np.ones((5, 12))
        >>> bool(np.allclose(plans_of(weight).apply(arrays, x), x @ weight.dense(arrays).T))
        True
    """

    def __init__(self, weight: WeightFormat) -> None:
        self.weight, layout = checked_format(weight), weight.layout
        if weight.kind == "conv":
            raise ValueError("a convolution is a chain of stages, stages_of(weight, arrays): plans are for other kinds")
        self._looks_up = weight.kind == "embedding"
        network = _lookup_network(weight) if self._looks_up else _linear_network(weight)
        self.orders = _orders(network, {label: n for label, n in weight.sizes.items() if label in network.indices})
        outputs, inputs = weight.sides
        self._behind = () if self._looks_up else (inputs,)
        self._missing = prod(layout.columns) - inputs
        self._into = None if len(layout.columns) == 1 else (-1, *layout.columns)
        self._out = None if len(layout.rows) == 1 else (-1, prod(layout.rows))
        self._kept = None if prod(layout.rows) == outputs else outputs
        # Of the number of a row, each mode is one digit: (size of the mode, product of the sizes behind it).
        columns = layout.columns
        digits = {label: (columns[k], prod(columns[k + 1 :])) for k, label in enumerate(layout.ins)}
        self._looked_up = tuple(
            (name, axis, *digits[label])
            for name, part in weight.parts.items()
            for axis, label in enumerate(part.labels)
            if label in digits
        )

    def at(self, rows: int) -> ContractionPlan:
        """The cheapest plan for so many rows.

        Raises:
            TypeError: if it is no whole number.
        """
        if type(rows) is not int:
            rows = whole_number(rows, "rows, the number to plan for,")
        # The last plan is for any number.
        return next(plan for most, plan in self.orders if rows <= most)

    def apply(self, arrays: Mapping[str, Array], x: Array, rows: int | None = None) -> Array:
        """Outputs ``(rows, outputs)`` of the layer.

        Args:
            arrays: tensor name -> array.
            x: inputs ``(rows, inputs)`` of a linear layer; whole numbers ``(rows,)`` for an embedding, whose table is
                never built.
            rows: the number of rows to plan for, if ``x`` does not tell, as in a compiled program.

        Raises:
            ValueError: for missing tensors, or inputs of another shape.
            TypeError: if ``arrays`` is no mapping, or for two dtypes.
        """
        shape = getattr(x, "shape", None)
        if not isinstance(arrays, dict) or not isinstance(shape, tuple) or shape[1:] != self._behind or not shape:
            arrays = self._checked(arrays, x)
        plan = self.at(x.shape[0] if rows is None else rows)
        if self._looks_up:
            y = plan(self._rows(arrays, x))
        else:
            if self._missing:
                x = backend_of(x).xp.concat([x, zeros(x, (x.shape[0], self._missing))], axis=1)
            y = plan({_INPUT: x if self._into is None else backend_of(x).reshape(x, self._into), **arrays})
        if self._out is not None:
            y = backend_of(y).reshape(y, self._out)
        return y if self._kept is None else y[:, : self._kept]

    def _checked(self, arrays: Any, x: Any) -> dict[str, Array]:
        held: dict[str, Array] = dict(instance(arrays, "arrays", Mapping, "a mapping of arrays by tensor name"))
        shape = tuple(x.shape) if hasattr(x, "shape") else None
        if not shape or shape[1:] != self._behind:
            needed = "whole numbers (rows,)" if self._looks_up else f"inputs (rows, {self.weight.shape[1]})"
            raise ValueError(f"x is {shown(x)}, needed {needed}")
        return held

    def _rows(self, arrays: Mapping[str, Array], indices: Array) -> dict[str, Array]:
        """The tensors at the rows: only the mode that is looked up changes, (.., i, ..) to (.., row, ..)."""
        missing = [name for name in self.weight.parts if name not in arrays]
        if missing:
            raise ValueError(f"no array for the tensor {missing[0]!r}: needed {', '.join(self.weight.parts)}")
        found, whole = dict(arrays), prod(self.weight.layout.columns)
        for name, axis, size, behind in self._looked_up:
            digit = indices if behind == 1 else indices // behind
            digit = digit if size * behind == whole else digit % size
            found[name] = backend_of(found[name]).take(found[name], digit, axis)
        return found

    def flops_of_row(self) -> int:
        """Scalar multiplications for one input of a batch of 64, what is built for all of them included."""
        rows = 64
        plan = self.at(rows)
        return round(plan.network.plan({**plan.sizes, _ROW: rows}, varying=(_ROW,)).flops / rows)

    def __reduce__(self) -> Any:
        return plans_of, (self.weight,)

    def __repr__(self) -> str:
        return f"Plans({self.weight}: {len(self.orders)} orders)"


def _orders(network: Network, sizes: Mapping[Any, int]) -> tuple[tuple[float, ContractionPlan], ...]:
    found: list[tuple[float, ContractionPlan]] = []
    for rows in _ROWS:
        plan = network.plan({**sizes, _ROW: rows}, varying=(_ROW,))
        if found and found[-1][1].path == plan.path:
            continue
        if found:
            # Between two numbers of rows with different orders, the change is put in the geometric middle.
            before = found[-1][1].sizes[_ROW]
            found[-1] = (sqrt(before * rows), found[-1][1])
        found.append((inf, plan))
    return tuple(found)


def _linear_network(weight: WeightFormat) -> Network:
    layout = weight.layout
    tensors = {_INPUT: (_ROW, *layout.ins), **{name: part.labels for name, part in weight.parts.items()}}
    return Network(tensors, (_ROW, *layout.outs))


def _lookup_network(weight: WeightFormat) -> Network:
    layout = weight.layout
    tensors = {
        name: tuple(_ROW if label in layout.ins else label for label in part.labels)
        for name, part in weight.parts.items()
    }
    return Network(tensors, (_ROW, *layout.outs))
