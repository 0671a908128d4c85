"""What a run of the norms-to-infinity recipe starts from, and what is measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import host_svdvals
from tnrank.factorizations import Factorization
from tnrank.ranks import effective_rank_of
from tnrank.theory import TwoByTwo
from tnrank.training import CompletionResult

HostArray = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Plan:
    """One run before it starts: ``std`` is that of the end matrix."""

    name: str
    layers: list[HostArray]
    problem: TwoByTwo
    std: float
    rate: float
    balanced: bool

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.layers)


def measure_end(x: Factorization) -> dict[str, Any]:
    """End matrix and its determinant, as the product of the layers' determinants, of which rounding spares the sign."""
    xp = x.backend.xp
    return {"matrix": x.to_dense(), "determinant": xp.prod(xp.linalg.det(xp.stack(list(x._values))))}


def step_limit(depth: int, entry: float) -> float:
    """The learning rate up to which gradient descent is stable where |W11| = ``entry`` is large: 2 |W11|^(2/L - 2)."""
    return float(2 * entry ** (2 / depth - 2))


@dataclass(frozen=True, eq=False)
class Measured:
    """A run as it was recorded, K steps.

    Attributes:
        plan: what it started from.
        status: that of the training result; so for ``steps``.
        steps: updates done.
        loss: ``(K,)``, half the sum of the squared residuals.
        matrix: ``(K, d, d)`` end matrices.
        determinant: ``(K,)``.
        singular_values: ``(K, d)``.
    """

    plan: Plan
    status: str
    steps: int
    loss: HostArray
    matrix: HostArray
    determinant: HostArray
    singular_values: HostArray

    @classmethod
    def of(cls, plan: Plan, result: CompletionResult) -> Measured:
        """Read the recorded traces."""
        loss, end = result.history["loss"].values, result.history["end"].values
        matrix, determinant = np.asarray(end["matrix"], np.float64), np.asarray(end["determinant"], np.float64)
        values = host_svdvals(matrix)
        # The smallest one from the determinant, where rounding would be larger than it.
        values[:, -1] = abs(determinant) / np.prod(values[:, :-1], axis=1)
        return cls(plan, result.status, result.steps, np.asarray(loss, np.float64), matrix, determinant, values)

    @property
    def entry(self) -> HostArray:
        """|W11|, ``(K,)``."""
        return np.asarray(abs(self.matrix[:, 0, 0]))

    @property
    def keeps_sign(self) -> bool:
        """Whether the determinant has the sign of the start at every recorded step."""
        return bool((self.determinant * self.determinant[0] > 0).all())

    @property
    def crossing(self) -> float:
        """The loss at the first recorded step whose determinant has another sign; NaN if there is none."""
        other = self.determinant * self.determinant[0] <= 0
        return float(self.loss[np.argmax(other)]) if other.any() else float("nan")

    @property
    def effective_rank(self) -> HostArray:
        """``(K,)``."""
        return np.asarray(effective_rank_of(self.singular_values))

    def products(self, below: float) -> HostArray:
        """|W11| sqrt(2 loss) at the recorded steps with a loss below ``below``."""
        low = self.loss < below
        return np.asarray(self.entry[low] * np.sqrt(2 * self.loss[low]))

    def at(self, level: float) -> float:
        """|W11| where the loss first passes ``level``, between recorded steps by a power law; NaN if it does not."""
        low = self.loss < level
        k = int(np.argmax(low))
        if not low.any() or k == 0:
            return float("nan")
        logs = np.log(self.loss[k - 1 : k + 1])
        share = (np.log(level) - logs[0]) / (logs[1] - logs[0])
        first, second = np.log(self.entry[k - 1 : k + 1])
        return float(np.exp(first + share * (second - first)))
