"""What is observed of a tensor: entries, or rank-one measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._typing import Array

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
