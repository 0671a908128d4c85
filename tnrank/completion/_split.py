"""Observed entries, split into those that train, that choose the step, and that measure the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._check import generator

NDArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Split:
    """Positions ``(M, N)`` of the three kinds, with the array that they index."""

    array: NDArray
    train: NDArray
    validation: NDArray
    test: NDArray

    def values(self, indices: NDArray) -> NDArray:
        """The observed values at ``indices``."""
        return np.asarray(self.array[tuple(indices.T)])

    @property
    def train_values(self) -> NDArray:
        """What is trained on."""
        return self.values(self.train)

    def held_out(self) -> list[tuple[str, NDArray, NDArray]]:
        """(name, positions, values) of the two held-out kinds; none if nothing is held out."""
        kinds = [("validation_error", self.validation), ("held_out_error", self.test)]
        return [(name, indices, self.values(indices)) for name, indices in kinds if len(indices)]

    def errors(self, dense: NDArray) -> dict[str, float]:
        """Root mean squared errors of ``dense``, and of the mean of the training entries."""
        found = {"observed_error": _rms(dense[tuple(self.train.T)] - self.train_values)}
        if len(self.test):
            values = self.values(self.test)
            found["held_out_error"] = _rms(dense[tuple(self.test.T)] - values)
            found["mean_predictor_error"] = _rms(values - self.train_values.mean())
            if found["mean_predictor_error"] > 0:
                found["variance_explained"] = 1 - (found["held_out_error"] / found["mean_predictor_error"]) ** 2
            else:
                found["variance_explained"] = 0.0
        return found


def split_observed(array: NDArray, missing: NDArray, hold_out: float, seed: int) -> Split:
    """Split the entries that are not missing, uniformly at random.

    Raises:
        ValueError: if too few entries are observed to hold any out.
    """
    observed = generator(seed).permutation(np.argwhere(~missing))
    count = round(hold_out * len(observed))
    if hold_out and (count < 2 or count == len(observed)):
        raise ValueError(
            f"holding {hold_out:.0%} of {len(observed)} observed entries out leaves {count} to test on and "
            f"{len(observed) - count} to train on: needed at least 2 and 1; hold_out=0 holds none out"
        )
    half = count // 2
    return Split(array, observed[count:], observed[:half], observed[half:count])


def _rms(x: NDArray) -> float:
    return float(np.sqrt(np.mean(x**2)))
