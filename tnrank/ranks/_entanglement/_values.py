"""Values that the entanglement of data is defined for: features in [0, 1], labels of two classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import shown

NDArray = np.ndarray[Any, Any]

_SLACK = 1e-6
"""How far values that were scaled in single precision may lie outside [0, 1]."""
_LISTED = 3
"""Classes that an error message repeats."""


def rescaled(samples: NDArray, pixels: bool) -> NDArray:
    """The samples ``(M, N)`` brought to [0, 1]: pixels by the range of all, other features each by its own range.

    Features that are constant become 0.
    """
    axis = None if pixels else 0
    # Halves, since the largest numbers are further apart than numbers reach.
    low, high = samples.min(axis=axis) / 2, samples.max(axis=axis) / 2
    spread = high - low
    found: NDArray = (samples / 2 - low) / np.where(spread > 0, spread, 1.0)
    return np.clip(found, 0.0, 1.0)


def check_range(samples: NDArray, pixels: bool, was: str) -> NDArray:
    """The samples clipped to [0, 1], in which all of them must lie but for rounding."""
    low, high = float(samples.min()), float(samples.max())
    if low < -_SLACK or high > 1 + _SLACK:
        by_column = "pass rescale=True, which scales each column by its own range"
        if was.endswith("uint8"):
            fix = "pass X / 255" if pixels else f"pass X / 255 for pixels; for columns in different units {by_column}"
        elif pixels:
            fix = "pass rescale=True, which scales all pixels by their one range"
        else:
            fix = f"{by_column}; for pixels of an image give grid=(H, W), too, and they are scaled by one range"
        raise ValueError(f"X has entries from {low:.4g} to {high:.4g}, needed [0, 1]: {fix}")
    return np.clip(samples, 0.0, 1.0)


def read_labels(y: Any, count: int) -> NDArray | None:
    """The labels of two classes as -1 and +1: of the smaller and the larger number, or in the order of the words."""
    if y is None:
        return None
    given = isinstance(y, (list, tuple)) or (isinstance(y, np.ndarray) and y.dtype.kind in "USO")
    labels = np.asarray(y if given else backend_of(y).to_numpy(y))
    if labels.shape != (count,):
        fix = ": pass y.reshape(-1)" if labels.size == count else ""
        raise ValueError(f"y has shape {labels.shape}, needed ({count},), one label a sample{fix}")
    if labels.dtype.kind not in "biufUSO":
        raise ValueError(f"y has dtype {labels.dtype}, needed numbers, booleans or words")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        wrong = int((~np.isfinite(labels)).sum())
        raise ValueError(f"y has {wrong:,} labels that are NaN or infinite, needed none: leave those samples out")
    try:
        classes, which = np.unique(labels, return_inverse=True)
    except TypeError:
        raise ValueError(
            f"y has labels of types that cannot be compared, such as {shown(labels[0])}, needed numbers or words: "
            "pass y.astype(str)"
        ) from None
    if len(classes) == 1:
        raise ValueError(f"y has labels of one class ({_word(classes[0])}), needed two: leave y out")
    if len(classes) != 2:
        listed = ", ".join(map(_word, classes[:_LISTED])) + (", .." if len(classes) > _LISTED else "")
        raise ValueError(
            f"y has labels of {len(classes):,} classes ({listed}), needed two: pass y == {_word(classes[0])}, which "
            "tells one class from the others"
        )
    return np.where(which.reshape(-1) == 1, 1.0, -1.0)


def _word(label: Any) -> str:
    """A label as Python writes it, whole numbers without a decimal point."""
    if isinstance(label, np.generic):
        label = label.item()
    return str(int(label)) if isinstance(label, (bool, float)) and label == int(label) else shown(label)
