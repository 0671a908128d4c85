"""Samples as they are given, checked: features at each mode, and targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import plain_array
from tnrank.factorizations import Factorization
from tnrank.training._losses import CrossEntropyLoss, Loss

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Samples:
    """Checked samples.

    Attributes:
        features: states ``(M, N)``, or vectors ``(M, N, d)``.
        targets: ``(1 or S, M)``, or ``(1, M, C)``.
        coded: whether features are states.
        modes: N.
    """

    features: Host
    targets: Host
    coded: bool
    modes: int
    x: Factorization

    def __len__(self) -> int:
        return len(self.features)

    def floating(self, array: Host) -> Host:
        """In the precision of the factorization."""
        return array.astype(np.float64 if self.x.dtype == "float64" else np.float32)

    def put(self, array: Host) -> Any:
        """On the backend and device of the factorization."""
        backend = self.x.backend
        device = None if self.x.device == backend.devices()[0] else self.x.device
        return backend.asarray(np.asarray(array, order="C"), None, device)


def checked_samples(x: Factorization, features: Any, targets: Any, runs: int | None, loss: Loss) -> Samples:
    host = features if isinstance(features, np.ndarray) else np.asarray(plain_array(features)[1].to_numpy(features))
    coded = host.dtype.kind in "uib"
    modes = host.shape[1]
    floating = np.float64 if x.dtype == "float64" else np.float32
    given = np.asarray(targets)
    whole = isinstance(loss, CrossEntropyLoss)
    given = given.astype(np.int32 if whole else floating)
    if given.ndim == 1 or (modes < x.ndim and not whole):
        given = given[None]
    return Samples(host if coded else host.astype(floating), given, coded, modes, x)
