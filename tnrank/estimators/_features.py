"""Features of numbers: what a factorization multiplies at each mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._check import shown
from tnrank.circuits import CosSin, OneHot, Representation

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scaled:
    """``(1, z)`` with ``z = (x - mean) / scale`` of the samples that were fitted; any real number.

    Attributes:
        mean: ``(N,)``.
        scale: ``(N,)``: the standard deviation, but at least an eighth of the range, so that rare values do not become
            large numbers; 1 where a feature is constant.
    """

    mean: Host
    scale: Host

    @classmethod
    def of(cls, x: Host) -> Scaled:
        """Of the samples to fit."""
        mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), np.ptp(x, axis=0) / 8)
        return cls(mean, np.where(scale > 1e-12 * np.maximum(1, abs(mean)), scale, 1.0))

    def __call__(self, x: Host) -> Host:
        z = (x - self.mean) / self.scale
        return np.stack([np.ones_like(z), z], axis=-1)

    @property
    def size(self) -> int:
        """Features of a number."""
        return 2

    @property
    def ones(self) -> Host:
        """Coefficients of features that make 1."""
        return np.array([1.0, 0.0])


@dataclass(frozen=True)
class States:
    """Whole numbers as states of one-hot features.

    Attributes:
        size: how many states there are.
    """

    size: int

    @classmethod
    def of(cls, x: Host, size: int | None = None) -> States:
        """Of the samples to fit: as many states as there are, unless it is said.

        Raises:
            ValueError: for numbers that are not whole, or out of range.
        """
        found = cls(int(x.max()) + 1 if size is None else size)
        found(x)
        return found

    def __call__(self, x: Host) -> Host:
        whole = np.rint(x)
        if (wrong := np.argwhere((whole != x) | (x < 0) | (x >= self.size))).size:
            m, n = (int(k) for k in wrong[0])
            raise ValueError(
                f"the feature {n} of sample {m} is {x[m, n]:g}: states are whole numbers 0 .. {self.size - 1}; for "
                "other numbers leave representation out, or round gray levels by tnrank.data.states(images)"
            )
        return whole.astype(np.int32)

    @property
    def ones(self) -> Host:
        """Coefficients of features that make 1."""
        return np.ones(self.size)


@dataclass(frozen=True)
class Represented:
    """A representation of a circuit, of numbers in its range.

    Attributes:
        representation: such as ``tnrank.circuits.CosSin()``.
    """

    representation: Representation

    def __call__(self, x: Host) -> Host:
        low, high = float(x.min()), float(x.max())
        if isinstance(self.representation, CosSin) and (low < 0 or high > 1):
            raise ValueError(
                f"features are {low:g} .. {high:g}, and CosSin() needs numbers in [0, 1]: divide gray levels by 255, "
                "scale with sklearn.preprocessing.MinMaxScaler(clip=True), or leave representation out"
            )
        found = np.asarray(self.representation({}, x[:, :, None]))
        # Products over hundreds of features stay near 1.
        return found / found.sum(axis=-1, keepdims=True) if isinstance(self.representation, CosSin) else found

    @property
    def size(self) -> int:
        """Features of a number."""
        return self.representation.features

    @property
    def ones(self) -> Host:
        """Coefficients of features that make 1, or nearly so."""
        return np.asarray(self.representation.ones()).reshape(-1)


def features_for(representation: Any, x: Host) -> Any:
    """What makes features of samples like ``x``.

    Raises:
        TypeError: for no representation, or one with weights of its own.
    """
    if representation is None or (isinstance(representation, str) and representation == "scaled"):
        return Scaled.of(x)
    if isinstance(representation, str) and representation == "states":
        return States.of(x)
    if isinstance(representation, OneHot):
        return States.of(x, representation.features)
    if isinstance(representation, Representation) and not representation.shapes:
        return Represented(representation)
    raise TypeError(
        f"representation is 'scaled', 'states' or a representation without weights such as tnrank.circuits.CosSin(), "
        f"got {shown(representation)}"
    )
