"""What is observed of a tensor: entries, or rank-one measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank import _check
from tnrank._backend import plain_array
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.factorizations._observed import checked_entries, checked_values

HostArray = np.ndarray[Any, Any]


class RankOneMeasurements:
    """Measurements ``y_m = <W, outer(v_1[m], .., v_N[m])>`` in place of the indices of ``complete``.

    Args:
        vectors: N arrays ``(M, d_n)``; row m of each makes the m-th measurement.

    Raises:
        ValueError: if the numbers of rows differ, there are none, or entries are masked or not finite.
        TypeError: if the vectors are not arrays of real numbers.

    Source: Razin et al. 2022, App. (tensor sensing with rank-one measurements).

    Example:
        >>> import numpy as np, tnrank
        >>> tnrank.RankOneMeasurements([np.ones((100, 4)), np.ones((100, 5))])
        RankOneMeasurements(100 of a 4 x 5 tensor)
    """

    @explained
    def __init__(self, vectors: Sequence[Array]) -> None:
        given = _check.sequence(vectors, "RankOneMeasurements(vectors)", "arrays, one (M, d_n) for each mode")
        self.vectors = tuple(_real_vectors(v, mode) for mode, v in enumerate(given))
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


Observations = tuple[HostArray | RankOneMeasurements, HostArray]
"""What is observed in one run, checked: indices ``(M, N)`` or measurements, and M values."""


def _real_vectors(given: Any, mode: int) -> HostArray:
    array, backend = plain_array(given)
    if not backend.dtype_of(array).startswith(("float", "bfloat", "int", "uint", "bool")):
        raise TypeError(f"the vectors of mode {mode} are real numbers, got dtype {backend.dtype_of(array)}")
    return np.asarray(backend.to_numpy(array))


def has_own(indices: Any) -> bool:
    """Whether ``indices`` are those of several runs: a list of index arrays, or of measurements."""
    if not isinstance(indices, (list, tuple)) or not indices:
        return False
    first = indices[0]
    if isinstance(first, RankOneMeasurements):
        return True
    if hasattr(first, "ndim"):
        return bool(first.ndim == 2)
    # Rows of one run's indices hold numbers, an index array of one of several runs holds rows.
    return (
        isinstance(first, (list, tuple)) and bool(first) and (isinstance(first[0], (list, tuple)) or _is_row(first[0]))
    )


def _is_row(given: Any) -> bool:
    return getattr(given, "ndim", 0) == 1


def checked_observations(x: Factorization, indices: Any, values: Any, runs: int | None = None) -> list[Observations]:
    """What is observed in all runs alike, or one for each of ``runs`` if they have observations of their own.

    Raises:
        ValueError: see :func:`tnrank.complete`.
        TypeError: likewise.
    """
    if runs is None or not has_own(indices):
        return [_checked(x, indices, values)]
    own_values = _check.sequence(
        list(values) if getattr(values, "ndim", 0) else values, "values", "values, one array for each run"
    )
    if not len(indices) == len(own_values) == runs:
        raise ValueError(
            f"got observations of {len(indices)} runs and values of {len(own_values)} for {runs} factorizations: "
            "needed one list of indices and one of values for each"
        )
    if len({isinstance(one, RankOneMeasurements) for one in indices}) > 1:
        raise TypeError("some runs have measurements and some have entries: train them in calls of their own")
    return [_checked(x, one, numbers) for one, numbers in zip(indices, own_values, strict=True)]


def _checked(x: Factorization, indices: Any, values: Any) -> Observations:
    if not isinstance(indices, RankOneMeasurements):
        return checked_entries(indices, values, x.shape)
    if indices.shape != x.shape:
        raise ValueError(f"the measurements are of a tensor of shape {indices.shape}, the factorization has {x.shape}")
    return indices, checked_values(values, len(indices))
