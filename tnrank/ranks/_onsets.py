"""When singular values or component norms set in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._backend import host_array
from tnrank._check import shown
from tnrank._explained import explained


@explained
def onsets(steps: Any, values: Any, share: float = 0.1) -> list[int]:
    """The first recorded step at which the k-th largest value exceeds ``share`` of the final largest one.

    Args:
        steps: ``(K,)`` recorded steps.
        values: ``(K, top)``, descending in each row.
        share: of the largest value of the last row, in (0, 1).

    Returns:
        One step for k = 1, 2, .. as long as the k-th value ends above that level.

    Raises:
        ValueError: if the shapes do not fit or ``share`` is out of range.

    Source: the definition behind the staircases of Razin, Maman & Cohen 2021, Fig. 1 and 2022, Fig. 2.

    Example:
        >>> from tnrank.ranks import onsets
        >>> onsets([0, 10, 20, 30], [[0, 0, 0], [5, 0, 0], [9, 4, 0], [10, 8, 0]])
        [10, 20]
    """
    steps, values = host_array(steps, "steps"), host_array(values, "values")
    if steps.ndim != 1 or steps.dtype.kind not in "iuf" or values.dtype.kind not in "iufb":
        raise TypeError(f"steps are numbers (K,) and values numbers (K, top), got {shown(steps)} and {shown(values)}")
    if values.ndim != 2 or len(values) != len(steps) or not len(steps):
        raise ValueError(f"got {len(steps)} steps and values of shape {values.shape}: needed (steps, top)")
    if not 0 < share < 1:
        raise ValueError(f"share is a part of the largest value between 0 and 1, got {share}")
    level = share * values[-1].max(initial=0.0)
    found = []
    for k in range(values.shape[1]):
        if not values[-1, k] > level:
            break
        found.append(int(steps[np.argmax(values[:, k] > level)]))
    return found


@explained
def separated(found: Sequence[int], gap: float = 0.05) -> list[int]:
    """The onsets that come after the separated one before by at least ``gap`` of the last onset.

    Example:
        >>> from tnrank.ranks import separated
        >>> separated([300, 11000, 11500, 17000])
        [300, 11000, 17000]
    """
    kept: list[int] = []
    found = sorted(found)
    for onset in found:
        if not kept or onset - kept[-1] >= max(gap * found[-1], 1):
            kept.append(onset)
    return kept
