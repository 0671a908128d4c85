"""A rank scan: CP fits with 1, 2, .. components, and what tells how many a tensor has."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tnrank._explained import explained
from tnrank.factorizations import CPFactorization
from tnrank.factorizations._cp_fit._als import HostArray
from tnrank.factorizations._cp_fit._dense import read_options, scan_dense
from tnrank.linalg import eps_of
from tnrank.ranks._certified._border_bounds import matricization_bounds
from tnrank.ranks._certified._target import Bound, Target
from tnrank.ranks._core_consistency import core_consistency
from tnrank.ranks._input import read_tensor


@dataclass(frozen=True)
class ScannedRank:
    """What a rank scan found for one number of components."""

    rank: int
    error: float
    """Relative error of the best fit found."""
    error_floor: float
    """Relative error that no fit of this rank gets below, from the singular values of the matricizations."""
    core_consistency: float
    """In percent: see :func:`tnrank.ranks.core_consistency`."""
    largest: float
    """The largest component norm, relative to the tensor's: above 1, components cancel."""
    diverging: bool
    """Border-rank behavior: components grow without end while they cancel."""


@dataclass(frozen=True)
class RankScan:
    """What :func:`rank_scan` found. ``print`` shows a table, :meth:`to_dict` gives data for JSON."""

    given: str
    shape: tuple[int, ...]
    dtype: str
    bound: Bound
    """The largest rank of a matricization: no exact fit has fewer components."""
    ranks: tuple[ScannedRank, ...]
    fits: tuple[CPFactorization, ...] = field(repr=False, compare=False)
    """The best fit of each rank, on the tensor's backend."""

    @property
    def lower(self) -> int:
        """The lower bound of the tensor rank, to rounding."""
        return self.bound.value

    def to_dict(self) -> dict[str, Any]:
        """The scan as numbers, strings, lists and dictionaries, ready for ``json.dumps``; without the fits."""
        return {
            "given": self.given,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "lower": self.lower,
            "bound": self.bound.name,
            "ranks": [asdict(entry) for entry in self.ranks],
        }

    def __str__(self) -> str:
        given = "tensor" if self.given == "array" else self.given
        rows = [("rank", "relative error", "none below", "core consistency", "largest component", "")]
        for entry in self.ranks:
            rows.append(
                (
                    str(entry.rank),
                    f"{entry.error:.2e}",
                    f"{entry.error_floor:.2e}",
                    f"{entry.core_consistency:.1f}" if entry.core_consistency > -1e4 else "below -10000",
                    f"{entry.largest:.2g}" if entry.largest < 1000 else f"{entry.largest:.0e}",
                    "diverging" if entry.diverging else "",
                )
            )
        widths = [max(len(row[k]) for row in rows) for k in range(6)]
        lines = [
            f"rank scan of a {given}, shape {' x '.join(map(str, self.shape))}, {self.dtype}",
            f"an exact fit has {self.lower} components or more: {self.bound.name}",
            "",
            *("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows),
        ]
        if any(entry.diverging for entry in self.ranks):
            lines += ["", "diverging: components grow without end and cancel (border-rank behavior)"]
        return "\n".join(lines)


@explained
def rank_scan(
    tensor: Any,
    max_rank: int,
    *,
    starts: int = 8,
    steps: int = 500,
    tol: float = 1e-8,
    seed: int = 0,
    progress: bool | Callable[[str], None] = False,
) -> RankScan:
    """Fit CP factorizations with 1 to ``max_rank`` components, each from the one before and from fresh starts.

    Args:
        tensor: array ``(d_1, .., d_N)`` of any backend, N >= 2, or a factorization.
        max_rank: the most components.
        starts: see :meth:`tnrank.CPFactorization.from_dense`; likewise the others.
        steps: see there.
        tol: see there.
        seed: see there.
        progress: see there.

    Returns:
        A :class:`RankScan`: for each rank the relative error, which never grows with the rank, what no fit gets
        below, the core consistency and whether components diverge; :func:`tnrank.plots.rank_scan` draws it.

    Raises:
        TypeError: if ``max_rank`` is no whole number.
        ValueError: for a ``max_rank`` below 1, a tensor of order 0 or 1, an empty mode or entries that are not
            finite.

    Source: Bro & Kiers 2003.

    Example:
        >>> import tnrank
        >>> tensor = tnrank.CPFactorization.random((6, 7, 8), rank=2, seed=1).to_dense()
        >>> scan = tnrank.ranks.rank_scan(tensor, 3)
        >>> scan.lower, [entry.error < 1e-12 for entry in scan.ranks]
        (2, [False, True, True])
    """
    try:
        max_rank = operator.index(max_rank)
    except TypeError:
        raise TypeError(
            f"max_rank is one number, the most components, got {max_rank!r}: all ranks from 1 on are fitted, "
            "as in rank_scan(tensor, 6)"
        ) from None
    if max_rank < 1:
        raise ValueError(f"max_rank is a number of components, at least 1, got {max_rank}")
    options = read_options(starts, steps, tol, seed, progress)
    found = read_tensor(tensor)
    host: HostArray = np.asarray(found.backend.to_numpy(found.scaled()[0]))
    target = Target(host.astype(np.promote_types(host.dtype, np.float64)), None, 1, "complex", eps_of(found.dtype))
    bound, _ = matricization_bounds(target, seed)
    scanned, fits = list[ScannedRank](), list[CPFactorization]()
    for fit, floor, factors in scan_dense(found.array, max_rank, options):
        fits.append(CPFactorization(factors))
        consistency = core_consistency(found.array, fits[-1])
        scanned.append(ScannedRank(fit.rank, fit.error, floor, consistency, fit.largest, fit.diverging))
    shape = tuple(int(d) for d in found.array.shape)
    return RankScan(found.given, shape, found.dtype, bound, tuple(scanned), tuple(fits))
