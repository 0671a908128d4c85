"""What is observed of a tensor: entries, or rank-one measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.factorizations._entries import checked_indices

HostArray = np.ndarray[Any, Any]


class RankOneMeasurements:
    """Measurements ``y_m = <W, outer(v_1[m], .., v_N[m])>`` in place of the indices of ``complete``.

    Args:
        vectors: N arrays ``(M, d_n)``; row m of each makes the m-th measurement.

    Raises:
        ValueError: if the numbers of rows differ or there are none.

    Source: Razin et al. 2022, App. (tensor sensing with rank-one measurements).

    Example:
        >>> import numpy as np, tnrank
        >>> tnrank.RankOneMeasurements([np.ones((100, 4)), np.ones((100, 5))])
        RankOneMeasurements(100 of a 4 x 5 tensor)
    """

    def __init__(self, vectors: Sequence[Array]) -> None:
        self.vectors = tuple(np.asarray(backend_of(v).to_numpy(v)) for v in vectors)
        for mode, v in enumerate(self.vectors):
            if v.ndim != 2 or len(v) != len(self.vectors[0]):
                raise ValueError(
                    f"the vectors of mode {mode} have shape {v.shape}: needed (M, d_{mode + 1}) with "
                    f"M = {len(self.vectors[0])} as for mode 0"
                )
            if not np.isfinite(v).all():
                raise ValueError(
                    f"the vectors of mode {mode} have {int((~np.isfinite(v)).sum())} entries that are not finite"
                )
        if not self.vectors or not len(self.vectors[0]):
            raise ValueError("got no measurements, needed at least one")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the measured tensor."""
        return tuple(v.shape[1] for v in self.vectors)

    def __len__(self) -> int:
        return len(self.vectors[0])

    def __repr__(self) -> str:
        return f"RankOneMeasurements({len(self)} of a {' x '.join(map(str, self.shape))} tensor)"


def checked_values(values: Any, count: int) -> HostArray:
    """Observed values as ``(M,)`` real numbers on the host.

    Raises:
        ValueError: if there are none, their number is another, or some are NaN or infinite.
        TypeError: if they are not real numbers.
    """
    if hasattr(values, "shape") and not isinstance(values, np.ndarray):
        values = backend_of(values).to_numpy(values)
    found = np.asarray(values)
    if found.dtype.kind not in "fiub" and str(found.dtype) != "bfloat16":
        raise TypeError(f"values are real numbers, got dtype {found.dtype}")
    if not count:
        raise ValueError("got no observations, needed at least one index and value")
    if found.shape != (count,):
        raise ValueError(f"got values of shape {found.shape} for {count} observations: needed shape ({count},)")
    bad = ~np.isfinite(found.astype(np.float64))
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {count} values are NaN or infinite, the first at position {int(np.argmax(bad))}: "
            "leave unobserved entries out, indices[numpy.isfinite(values)]"
        )
    return found.astype(np.float64)


def checked_entries(indices: Any, values: Any, shape: Sequence[int]) -> tuple[HostArray, HostArray]:
    """Indices ``(M, N)`` and values ``(M,)`` of observed entries.

    Raises:
        ValueError: for entries out of range, none at all, NaN, or an entry observed twice with different values.
    """
    found = checked_indices(indices, shape)
    numbers = checked_values(values, len(found))
    linear = np.ravel_multi_index(tuple(found.T), tuple(shape))
    order = np.argsort(linear, kind="stable")
    again = np.flatnonzero((np.diff(linear[order]) == 0) & (np.diff(numbers[order]) != 0))
    if len(again):
        first, second = int(order[again[0]]), int(order[again[0] + 1])
        raise ValueError(
            f"the entry {tuple(int(k) for k in found[first])} is observed twice with "
            f"different values: {numbers[first]:g} at position {first}, {numbers[second]:g} at {second}"
        )
    return found, numbers
