"""Real images that need no download."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank.data._extra import require


def digits() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The handwritten digits that scikit-learn ships: real images, no download.

    Returns:
        Images of shape ``(1797, 8, 8)``, float64 in [0, 1], and their labels 0 .. 9 of shape ``(1797,)``.

    Raises:
        ImportError: if scikit-learn is not installed.

    Source: Alpaydin & Kaynak 1998, UCI optical recognition of handwritten digits (test set).

    Example:
        >>> from tnrank.data import digits
        >>> images, labels = digits()
        >>> images.shape, images.max(), labels[:3]
        ((1797, 8, 8), np.float64(1.0), array([0, 1, 2]))
    """
    found = require("sklearn.datasets", "scikit-learn", "the digit images").load_digits()
    return np.asarray(found.images, dtype=np.float64) / 16.0, np.asarray(found.target, dtype=np.int64)
