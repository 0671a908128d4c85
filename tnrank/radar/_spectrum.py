"""The spectrum of one matrix and the numbers that are read off it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tnrank.ranks import effective_rank_of, stable_rank_of

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class MatrixSpectrum:
    """Norm and ranks of a matrix.

    Attributes:
        norm: Frobenius norm.
        rank: numerical rank.
        effective_rank: exponential of the entropy of the normalized singular values.
        stable_rank: squared Frobenius norm over squared spectral norm.
        compressed_rank: smallest rank with a relative Frobenius error of at most ``rtol``.
        singular_values: all of them, descending.
    """

    norm: float
    rank: int
    effective_rank: float
    stable_rank: float
    compressed_rank: int
    singular_values: tuple[float, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for ``json.dumps``."""
        return asdict(self) | {"singular_values": list(self.singular_values)}


def spectrum_of(values: Host, tolerance: float, rtol: float) -> MatrixSpectrum:
    """All singular values of a matrix, of which those up to ``tolerance`` times the largest count as zero."""
    s = values.astype(np.float64)
    return MatrixSpectrum(
        norm=math.hypot(*s),
        rank=int((s > tolerance * s[0]).sum()),
        effective_rank=float(effective_rank_of(s)),
        stable_rank=float(stable_rank_of(s)),
        compressed_rank=rank_within(s, rtol),
        singular_values=tuple(s.tolist()),
    )


def rank_within(s: Host, rtol: float) -> int:
    """The smallest rank whose best approximation has a relative Frobenius error of at most ``rtol``."""
    if not s[0] > 0:
        return 0
    shares = (s / s[0]) ** 2
    tails = np.append(np.cumsum(shares[::-1])[::-1], 0.0)
    return int(np.argmax(tails <= rtol**2 * tails[0]))
