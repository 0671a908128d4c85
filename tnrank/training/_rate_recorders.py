"""Recorders of the dynamics laws: predicted rates, and what the flow conserves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._check import sequence, whole_number
from tnrank._explained import explained
from tnrank._typing import Array, Label
from tnrank.factorizations import Factorization
from tnrank.theory import (
    conserved_quantities,
    inner_indices,
    local_components,
    predicted_rate,
    singular_value_rate,
    unbalancedness,
)
from tnrank.training._recorder import Recorder


class _Paired(Recorder):
    """Due at its steps and at the one after each, so that an increment lies beside every prediction."""

    def due(self, step: int, last: int) -> bool:
        return super().due(step, last) or (step > 0 and super().due(step - 1, last))

    def between(self, first: int, end: int, last: int) -> Sequence[int]:
        found = super().between(max(first - 1, 0), end, last)
        return sorted({k for step in found for k in (step, step + 1) if first <= k <= end})


class Rates(_Paired):
    """The growth of the components of an index that theory predicts: ``{(index, field): ..}``.

    Fields are those of :class:`tnrank.theory.Rates` but its order, each ``(R,)`` with components in the order of the
    index; and ``time`` and ``rate``, ``()``. They are recorded at each step t that is due and at t + 1, so that
    :func:`tnrank.training.rates_of` has the increment of the norms beside the prediction.

    Args:
        index: a label of the factorization's network, or a list of them; all inner ones if ``None`` (``"r"`` of CP,
            that of each interior node of a hierarchical factorization, the bonds of the others).
        components: positions of the components to keep; all if ``None``.
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.

    Source: Razin, Maman & Cohen 2021, Theorem 1; 2022, Theorem 1.
    """

    name = "rates"

    @explained
    def __init__(
        self,
        index: Label | Sequence[Label] | None = None,
        components: Sequence[int] | None = None,
        every: int = 25,
        at: Sequence[int] | None = None,
    ) -> None:
        super().__init__(every, at)
        self.index = tuple(index) if isinstance(index, (list, tuple)) else None if index is None else (index,)
        self.components = None
        if components is not None:
            given = components.tolist() if isinstance(components, np.ndarray) else components
            positions = sequence(given, "components of Rates", "positions, whole numbers such as [0, 1]")
            self.components = tuple(whole_number(k, "a component of Rates") for k in positions)

    @property
    def key(self) -> Any:
        return self.index, self.components is None

    def data(self, x: Factorization) -> Any:
        indices = _indices(x, self.index)
        if self.components is None:
            return ()
        least = min(len(local_components(x, index).norms) for index in indices)
        if not self.components or min(self.components) < 0 or max(self.components) >= least:
            raise ValueError(f"Rates of components {list(self.components)}: needed positions from 0 to {least - 1}")
        return x.backend.asarray(list(self.components), device=default_or_named_device(x._values[0]))

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        gradient, found = facts["end_gradient"](), {}
        for index in _indices(x, self.index):
            rates = predicted_rate(x, index, gradient)
            for field in fields(rates):
                if field.name != "order":
                    value = getattr(rates, field.name)
                    found[index, field.name] = value if self.components is None else x.backend.take(value, data, 0)
            found |= {(index, name): _scalar(rates.norms, facts[name]) for name in ("time", "rate")}
        return found


class SingularValueRates(_Paired):
    """The growth of the singular values of a matrix factorization that theory predicts: ``{field: ..}``.

    Fields are those of :class:`tnrank.theory.SingularValueRates` but its depth, each ``(min(m, n),)``, descending; and
    ``time`` and ``rate``, ``()``. Due in pairs of steps, as :class:`Rates` is.

    Source: Arora et al. 2019, Theorem 3.
    """

    name = "singular_value_rates"

    def data(self, x: Factorization) -> Any:
        if not hasattr(x, "layers"):
            raise TypeError(f"SingularValueRates is for a MatrixFactorization, got {x._title()}: record Rates")
        return ()

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        rates = singular_value_rate(x, facts["end_gradient"]())  # type: ignore[arg-type]
        found = {field.name: getattr(rates, field.name) for field in fields(rates) if field.name != "depth"}
        return found | {name: _scalar(rates.singular_values, facts[name]) for name in ("time", "rate")}


class Unbalancedness(Recorder):
    """The largest conserved quantity, ``()``, by :func:`tnrank.theory.unbalancedness`.

    Args:
        index: of one index of the network; of all if ``None``.
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.
    """

    name = "unbalancedness"
    takes_end_gradient = False

    @explained
    def __init__(self, index: Label | None = None, every: int = 25, at: Sequence[int] | None = None) -> None:
        super().__init__(every, at)
        self.index = index

    @property
    def key(self) -> Any:
        return self.index

    def data(self, x: Factorization) -> Any:
        _indices(x, None if self.index is None else (self.index,))
        return ()

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        return unbalancedness(x, self.index)


class ConservedQuantities(Recorder):
    """What gradient flow conserves: ``{(index, tensor, tensor'): ..}``, ``(R,)``, or ``(R, R)`` at a bond.

    See :func:`tnrank.theory.conserved_quantities`.

    Args:
        index: a label of the factorization's network, or a list of them; all inner ones if ``None``.
        every: see :class:`Recorder`.
        at: see :class:`Recorder`.
    """

    name = "conserved_quantities"
    takes_end_gradient = False

    @explained
    def __init__(
        self, index: Label | Sequence[Label] | None = None, every: int = 25, at: Sequence[int] | None = None
    ) -> None:
        super().__init__(every, at)
        self.index = tuple(index) if isinstance(index, (list, tuple)) else None if index is None else (index,)

    @property
    def key(self) -> Any:
        return self.index

    def data(self, x: Factorization) -> Any:
        _indices(x, self.index)
        return ()

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        return {
            (index, *pair): value
            for index in _indices(x, self.index)
            for pair, value in conserved_quantities(x, index).items()
        }


def _indices(x: Factorization, wanted: tuple[Label, ...] | None) -> tuple[Label, ...]:
    """The indices to look at, each known to the network."""
    found = inner_indices(x) if wanted is None else wanted
    if not found:
        raise ValueError(f"no index of {x._title()} is met by two tensors: there is nothing to record")
    for index in found:
        if wanted is not None:
            local_components(x, index)
    return found


def _scalar(like: Array, value: Any) -> Array:
    """``value`` as a scalar array beside ``like``, in its dtype."""
    return 0 * like[0] + value
