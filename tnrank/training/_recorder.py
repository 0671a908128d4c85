"""The base of all recorders: when one is due, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._check import sequence, whole_number
from tnrank._explained import explained
from tnrank.factorizations import Factorization


class Recorder:
    """Base of all recorders.

    Args:
        every: the distance of the recorded steps; step 0 and the last are recorded too.
        at: explicit steps instead.
    """

    name = "recorder"
    takes_end_gradient = True
    """Whether ``measure`` calls ``facts["end_gradient"]``. If not, say so: runs on other entries then share a compiled
    program."""

    @explained
    def __init__(self, every: int = 25, at: Sequence[int] | None = None) -> None:
        what = type(self).__name__
        self.every = whole_number(every, f"every of {what}", 1 if at is None else 0)
        self.at = None
        if at is not None:
            given = at.tolist() if isinstance(at, np.ndarray) else at
            steps = sequence(given, f"at of {what}", "steps, whole numbers such as [0, 100]")
            self.at = tuple(sorted({whole_number(step, f"a step in at of {what}") for step in steps}))

    def due(self, step: int, last: int) -> bool:
        """Whether ``step`` is recorded in a run that ends at ``last``."""
        return step == last or (step % self.every == 0 if self.at is None else step in self.at)

    def between(self, first: int, end: int, last: int) -> Sequence[int]:
        """The recorded steps from ``first`` to ``end``."""
        if self.at is None:
            found: Sequence[int] = range(-(-first // self.every) * self.every, end + 1, self.every)
        else:
            found = [k for k in self.at if first <= k <= end]
        return [*found, last] if end == last else found

    @property
    def key(self) -> Any:
        """What ``measure`` depends on besides ``data``: recorders of one key share a compiled program."""
        return ()

    def alike(self, other: Recorder) -> bool:
        """Whether ``measure`` is that of ``other`` but for ``data``: of runs that train together, one measures all."""
        return self == other

    def data(self, x: Factorization) -> Any:
        """Arrays that ``measure`` needs, on the backend of ``x``."""
        return ()

    def measure(self, x: Factorization, facts: dict[str, Any], data: Any) -> Any:
        """The recorded array of ``x``.

        ``facts`` has the ``loss`` at ``x``; the ``rate`` of the last update; the effective ``time``, the sum of all
        rates so far; where the loop formed it to get the loss, the ``end`` tensor; and ``end_gradient``, a function
        without arguments: the gradient of the loss with respect to the end tensor, dense or ``(indices, values)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no measure: a recorder defines measure(x, facts, data)")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Recorder) and self.key == other.key

    def __hash__(self) -> int:
        return hash((type(self), self.key))

    def __repr__(self) -> str:
        when = f"every={self.every}" if self.at is None else f"at={self.at}"
        return f"{type(self).__name__}({when})"
