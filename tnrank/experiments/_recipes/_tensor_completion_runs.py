"""What the tensor-completion recipe measures of its runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Fitted:
    """One trained factorization: the lowest loss and the error there, and the CP rank of the end tensor."""

    order: int
    count: int
    std: float
    seed: int
    reached: bool
    steps: int
    lowest_step: int
    loss: float
    error: float
    cp_rank: int


@dataclass(frozen=True)
class Baseline:
    """The observed entries and zeros elsewhere; the CP rank where it was measured."""

    order: int
    count: int
    seed: int
    error: float
    cp_rank: int | None


@dataclass(frozen=True)
class Continued:
    """Losses and errors ``(runs, K)`` of runs without a stop rule."""

    steps: Any
    losses: Any
    errors: Any

    @property
    def at_lowest(self) -> Any:
        """The error of each run at its lowest loss."""
        return self.errors[np.arange(len(self.errors)), np.argmin(self.losses, axis=1)]


def quartiles(numbers: Iterable[float | None]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; NaN of nothing."""
    found = [float(n) for n in numbers if n is not None]
    if not found:
        return (np.nan,) * 3
    low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)
