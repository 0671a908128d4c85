"""Slices without an observation: training leaves their weights where they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tnrank.training._observations import Observations, RankOneMeasurements

Unobserved = Mapping[int, np.ndarray[Any, Any]]
"""Mode -> the slices of it without an observation, ascending; a mode whose slices all have one is left out."""

_NAMED_SLICES, _NAMED_MODES, _NAMED_RUNS = 4, 3, 3


def unobserved_slices(observations: Observations, shape: Sequence[int]) -> dict[int, np.ndarray[Any, Any]]:
    """The slices of a tensor of ``shape`` in which nothing is observed, by mode.

    A measurement sees a slice if its vector of that mode is not 0 there, and it is not 0 altogether.
    """
    indices, _ = observations
    if isinstance(indices, RankOneMeasurements):
        nonzero = [vectors != 0 for vectors in indices.vectors]
        informative = np.all([mask.any(axis=1) for mask in nonzero], axis=0)
        masks = [mask[informative].any(axis=0) for mask in nonzero]
    else:
        masks = [np.zeros(size, bool) for size in shape]
        for mode, mask in enumerate(masks):
            mask[indices[:, mode]] = True
    return {mode: np.flatnonzero(~mask) for mode, mask in enumerate(masks) if not mask.all()}


def told(unobserved: Unobserved, order: int) -> str:
    """Modes and slices in words, a few of each: ``"row 3 and columns 0, 5"``."""
    parts = []
    for mode, slices in list(unobserved.items())[:_NAMED_MODES]:
        listed = ", ".join(map(str, slices[:_NAMED_SLICES].tolist()))
        if len(slices) > _NAMED_SLICES:
            listed += f", .. ({len(slices):,} in all)"
        several = "s" if len(slices) > 1 else ""
        if order == 2:
            parts.append(f"{('row', 'column')[mode]}{several} {listed}")
        else:
            parts.append(f"slice{several} {listed} of mode {mode}")
    if len(unobserved) > _NAMED_MODES:
        parts.append(f"slices of {len(unobserved) - _NAMED_MODES} more modes")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def warning_of(runs: Sequence[Unobserved], order: int) -> str:
    """The warning of a training; ``runs`` has one item if all runs share their observations. Empty for none."""
    concerned = [(run, unobserved) for run, unobserved in enumerate(runs) if unobserved]
    if not concerned:
        return ""
    if len(runs) == 1:
        where = told(concerned[0][1], order)
    else:
        where = "; ".join(f"run {run}: {told(unobserved, order)}" for run, unobserved in concerned[:_NAMED_RUNS])
        if len(concerned) > _NAMED_RUNS:
            where += f"; and slices of {len(concerned) - _NAMED_RUNS} more runs"
    return (
        f"nothing is observed in {where}: training leaves the weights of such a slice where they started, so its "
        "entries are no prediction (CompletionResult.unobserved lists the slices)"
    )
