"""Which local components of a node rise during a run, when, and how large they end."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

RISEN = 0.01
"""A component has risen when it left the initial scale, and passed this share of the largest final norm."""
ORIGIN = 10.0
"""A component has left the initial scale when its norm passed this many times the largest initial one."""
TOP = 15


def largest_at_root(x: Any) -> Any:
    """The numbers of the ``TOP`` largest local components at the root of ``x``, in order of their norms."""
    return x.backend.xp.argsort(-x.component_norms()[x.tree.root])[:TOP]


@dataclass(frozen=True)
class Rises:
    """What became of the local components of one node.

    Attributes:
        onsets: the step at which each component that rose did so, in order of final norms.
        finals: their final norms, descending.
        left: how many left the initial scale, with those that rose.
        resting: the largest final norm of the others, divided by the largest of all.
    """

    onsets: list[int]
    finals: list[float]
    left: int
    resting: float

    @classmethod
    def of(cls, steps: Any, values: Any, numbers: Any, final: Any) -> Rises:
        """Follow components through recorded steps.

        Args:
            steps: ``(K,)``.
            values: ``(K, top)``, the largest norms at each step, descending.
            numbers: ``(K, top)``, whose norms they are.
            final: ``(R,)``, the norms of all components at the last step.
        """
        steps, values, final = np.asarray(steps), np.asarray(values, np.float64), np.asarray(final, np.float64)
        numbers = np.asarray(numbers).astype(int)
        largest = final.max(initial=0.0)
        scale = ORIGIN * values[0].max(initial=0.0)
        level = max(RISEN * largest, scale)
        risen = np.unique(numbers[values > level])
        # Sorted norms hide a component that overtakes another: each is followed by its number.
        order = risen[np.argsort(-final[risen])]
        found = [int(steps[((numbers == c) & (values > level)).any(axis=1).argmax()]) for c in order]
        left = np.unique(numbers[values > scale])
        others = np.delete(final, left)
        resting = float(others.max(initial=0.0) / largest) if largest else 0.0
        return cls(found, [float(v) for v in final[order]], len(left), resting)

    @property
    def in_turn(self) -> bool:
        """Whether components rose strictly one after the other, and the earlier one ended larger."""
        return all(a < b for a, b in pairwise(self.onsets))
