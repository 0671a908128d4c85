"""What a training run gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tnrank._by_node import by_node
from tnrank.training._unobserved import told


@dataclass(frozen=True)
class Trace:
    """What one recorder saw: ``values[k]`` was measured after ``steps[k]`` updates.

    ``values`` is an array ``(K, ..)``, or a dictionary of such, one a node.
    """

    steps: np.ndarray[Any, Any]
    values: Any

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        if isinstance(self.values, Mapping):
            return f"Trace({len(self)} steps, {{{', '.join(f'{k}: {v.shape[1:]}' for k, v in self.values.items())}}})"
        return f"Trace({len(self)} steps, each {self.values.shape[1:]})"


@dataclass(frozen=True)
class CompletionResult:
    """The end of a run.

    Attributes:
        factorization: the last one; after ``"nan"`` the last with a finite loss.
        history: recorder's name -> Trace.
        status: ``"steps"`` (all done), ``"converged"`` (the stop rule held), ``"nan"``, ``"stopped"`` (by the
            callback) or ``"interrupted"`` (Ctrl-C).
        steps: updates done.
        loss: the training loss of ``factorization``.
        seconds: wall-clock time, compilation included.
        message: the status in words.
        unobserved: mode -> the slices of it in which nothing was observed, ascending; a mode whose slices all have an
            observation is left out. The entries of these slices are what the initial weights make of them.
    """

    factorization: Any
    history: dict[str, Trace]
    status: str
    steps: int
    loss: float
    seconds: float
    message: str
    unobserved: Mapping[int, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __repr__(self) -> str:
        blind = f"; nothing observed in {told(self.unobserved, self.factorization.ndim)}" if self.unobserved else ""
        return (
            f"CompletionResult({self.status}: {self.message}; {self.steps:,} steps in {self.seconds:.1f} s, "
            f"loss {self.loss:.3e}; history: {', '.join(self.history) or 'none'}{blind})"
        )


def on_leaves(fn: Callable[[Any], Any], value: Any) -> Any:
    return {key: fn(a) for key, a in value.items()} if isinstance(value, Mapping) else fn(value)


def trace_of(rows: list[tuple[int, Any]]) -> Trace:
    steps = np.asarray([step for step, _ in rows], np.int64)
    if isinstance(rows[0][1], Mapping):
        return Trace(steps, by_node({key: np.stack([row[key] for _, row in rows]) for key in rows[0][1]}))
    return Trace(steps, np.stack([np.asarray(row) for _, row in rows]))


def stacked(values: Sequence[Any], xp: Any) -> Any:
    """Equally nested tuples and dictionaries of arrays as one, of arrays with a leading axis."""
    first = values[0]
    if isinstance(first, Mapping):
        return {key: stacked([value[key] for value in values], xp) for key in first}
    if isinstance(first, (tuple, list)):
        return tuple(stacked([value[k] for value in values], xp) for k in range(len(first)))
    return xp.stack(list(values))
