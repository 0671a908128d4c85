"""Anderson mixing: the next point of a fixed-point iteration from the last few."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

HostArray = np.ndarray[Any, Any]

_RIDGE = 1e-12
"""Keeps the small system solvable when residuals are nearly collinear; relative to its trace."""


class AndersonMixing:
    """Extrapolates ``x -> x + residual(x)``; affine constraints that both meet hold for what comes out.

    Args:
        memory: how many earlier points are used.

    Source: Anderson 1965; Walker & Ni 2011, *Anderson acceleration for fixed-point iterations* (type II).
    """

    def __init__(self, memory: int) -> None:
        self._images: deque[HostArray] = deque(maxlen=memory + 1)
        self._residuals: deque[HostArray] = deque(maxlen=memory + 1)

    def forget(self) -> None:
        """Start anew."""
        self._images.clear()
        self._residuals.clear()

    def add(self, image: HostArray, residual: HostArray) -> None:
        """Remember ``image = x + residual``."""
        self._images.append(image.ravel())
        self._residuals.append(residual.ravel())

    def next(self) -> HostArray | None:
        """The combination of images whose residual would be least; ``None`` while there is nothing to combine."""
        if len(self._residuals) < 2:
            return None
        residuals = np.diff(np.stack(self._residuals), axis=0)
        gram = residuals @ residuals.T
        size = float(np.trace(gram))
        if not size > 0:
            return None
        right = residuals @ self._residuals[-1]
        weights = np.linalg.solve(gram + _RIDGE * size * np.eye(len(gram)), right)
        mixed: HostArray = self._images[-1] - weights @ np.diff(np.stack(self._images), axis=0)
        return mixed if np.isfinite(mixed).all() else None
