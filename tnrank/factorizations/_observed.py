"""Observed numbers as people give them, checked: what every fit, theory or training, starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._backend import host_array
from tnrank.factorizations._entries import checked_indices, codes

HostArray = np.ndarray[Any, Any]


def checked_numbers(values: Any, what: str = "values") -> HostArray:
    """``values`` as finite float64 numbers on the host.

    Raises:
        TypeError: if they are not real numbers.
        ValueError: if some are NaN, infinite or masked.
    """
    found = host_array(values, what)
    if found.dtype.kind not in "fiub" and str(found.dtype) != "bfloat16":
        raise TypeError(f"{what} are real numbers, got dtype {found.dtype}")
    found = found.astype(np.float64)
    bad = ~np.isfinite(found)
    if bad.any():
        fix = ": leave unobserved entries out, indices[numpy.isfinite(values)]" if what == "values" else ""
        raise ValueError(
            f"{int(bad.sum())} of {found.size} {what} are NaN or infinite, the first at position "
            f"{int(np.argmax(bad))}{fix}"
        )
    return found


def checked_values(values: Any, count: int) -> HostArray:
    """Observed values as ``(M,)`` real numbers on the host.

    Raises:
        ValueError: if there are none, their number is another, or some are NaN or infinite.
        TypeError: if they are not real numbers.
    """
    if not count:
        raise ValueError("got no observations, needed at least one index and value")
    found = checked_numbers(values)
    if found.shape != (count,):
        raise ValueError(f"got values of shape {found.shape} for {count} observations: needed shape ({count},)")
    return found


def checked_entries(indices: Any, values: Any, shape: Sequence[int]) -> tuple[HostArray, HostArray]:
    """Indices ``(M, N)`` and values ``(M,)`` of observed entries.

    Raises:
        ValueError: for entries out of range, none at all, NaN, or an entry observed twice with different values.
    """
    found = checked_indices(indices, shape)
    numbers = checked_values(values, len(found))
    check_repeated(shape, found, numbers, len(found))
    return found, numbers


def check_repeated(shape: Sequence[int], indices: HostArray, values: HostArray, count: int) -> None:
    """Raise if an entry occurs with different values; those from ``count`` on are mirror images."""
    code = codes(indices, shape)
    order = np.argsort(code, kind="stable")
    again = np.flatnonzero((np.diff(code[order]) == 0) & (np.diff(values[order]) != 0))
    if len(again):
        first, second = int(order[again[0]]), int(order[again[0] + 1])
        mirrored = " (with its mirror image, as the matrix is to be symmetric)" if len(indices) > count else ""
        raise ValueError(
            f"the entry {tuple(int(k) for k in indices[second])} is observed twice with different values{mirrored}: "
            f"{values[first]:g} at position {first % count}, {values[second]:g} at {second % count}"
        )
