"""Commuting measurements of a matrix whose solution of least nuclear norm is known: what training finds from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._check import generator
from tnrank._typing import Array
from tnrank.experiments.kit import Check, HostArray, Table, end_tensor, falls, median, relative_error
from tnrank.factorizations import MatrixFactorization
from tnrank.ranks import effective_rank, schatten_norm
from tnrank.theory import minimum_nuclear_norm_sensing
from tnrank.training import CompletionResult, Loss, RankOneMeasurements

_MARGIN = 0.5  # how far the certificate stays from the measurements' other eigenvalues
_REACHED = 1e-3
_SYMMETRIC = 100  # times eps: how symmetric the layers stay


@dataclass(frozen=True, eq=False)
class Commuting:
    """Measurements ``<A_i, X>``, ``A_i = sum_j mixing[i, j] q_j q_j^T`` with the columns q_j of ``basis``.

    They commute: all are diagonal in the basis, and see of X only the diagonal there.

    Attributes:
        basis: ``(d, d)`` orthogonal.
        mixing: ``(n, d)``.
        diagonal: ``(d,)``, that of the solution of least nuclear norm among the positive semidefinite ones.
    """

    basis: HostArray
    mixing: HostArray
    diagonal: HostArray

    @classmethod
    def planted(cls, size: int, measurements: int, rank: int, seed: int) -> Commuting:
        """A solution of norm 1 and a rank, with the dual certificate that makes it that of least nuclear norm.

        A combination of the ``A_i`` has eigenvalue 1 where the solution's are positive, and at most 1/2 elsewhere: no
        other diagonal with the same measurements has so small a sum. There are solutions of lower rank and the same
        nuclear norm: ``v v^T`` with the roots of the diagonal as coordinates of v.
        """
        draw = generator(seed)
        basis = np.linalg.qr(draw.standard_normal((size, size)))[0]
        mixing = draw.standard_normal((measurements, size)) / np.sqrt(measurements)
        certificate = draw.standard_normal(measurements)
        certificate /= np.linalg.norm(certificate)
        given = certificate @ mixing
        wanted = np.minimum(given, 1 - _MARGIN)
        wanted[:rank] = 1.0
        mixing += np.outer(certificate, wanted - given)
        diagonal = np.zeros(size)
        diagonal[:rank] = draw.uniform(0.5, 1.5, rank)
        return cls(basis, mixing, diagonal / np.linalg.norm(diagonal))

    @property
    def solution(self) -> HostArray:
        """The planted matrix, ``(d, d)``."""
        return np.asarray((self.basis * self.diagonal) @ self.basis.T)

    @property
    def matrices(self) -> HostArray:
        """The measurements as matrices, ``(n, d, d)``."""
        return np.asarray(np.einsum("nj,aj,bj->nab", self.mixing, self.basis, self.basis))

    @property
    def values(self) -> HostArray:
        """What is measured, ``(n,)``."""
        return np.asarray(self.mixing @ self.diagonal)

    def observations(self) -> tuple[RankOneMeasurements, HostArray, Combined]:
        """What training takes: rank-one measurements ``q_j^T X q_j``, their values, and the loss that combines them."""
        loss = Combined(tuple(map(tuple, self.mixing.tolist())))
        return RankOneMeasurements([self.basis.T, self.basis.T]), self.diagonal, loss

    def start(self, scale: float, seed: int) -> MatrixFactorization:
        """``U U^T``, a multiple of the identity of norm ``scale``; U is orthogonal and knows nothing of the basis."""
        size = len(self.basis)
        U = np.linalg.qr(generator(seed).standard_normal((size, size)))[0]
        U *= np.sqrt(scale / np.sqrt(size))
        return MatrixFactorization([U, U.T])


@dataclass(frozen=True)
class Combined(Loss):
    """``||rows r||^2 / 2`` of the residuals r: squared errors of combinations of the measurements.

    Rank-one measurements with this loss are measurements by matrices of any rank: the combined residual i is
    ``sum_j rows[i][j] (<q_j q_j^T, X> - y_j)``, so that of the ``y_j`` only their combinations are used.
    """

    rows: tuple[tuple[float, ...], ...]

    def weight(self, count: int) -> float:
        return 1.0

    def weighted(self, residual: Array, weights: Array, xp: Any, axes: Any = None) -> tuple[Array, Array]:
        rows = xp.asarray(np.asarray(self.rows), dtype=residual.dtype)
        combined = residual @ rows.T
        return xp.sum(combined * combined, axis=axes) / 2, combined @ rows


def asymmetry(x: MatrixFactorization) -> float:
    """``||U - V^T|| / ||U||`` of the layers U and V."""
    first, second = (np.asarray(x.backend.to_numpy(a), np.float64) for a in x.layers)
    return float(np.linalg.norm(first - second.T) / np.linalg.norm(first))


def sensed(problem: Commuting, scale: float, seed: int, result: CompletionResult) -> dict[str, Any]:
    """A symmetric factorization at the end, beside the solution of least nuclear norm, relative to it."""
    least = minimum_nuclear_norm_sensing(problem.matrices, problem.values, psd=True)
    x: Any = result.factorization
    end = end_tensor(x)
    return {
        "scale": scale,
        "seed": seed,
        "distance": relative_error(end, least.matrix),
        "excess": float(schatten_norm(end, 1)) / least.objective - 1,
        "effective_rank": float(effective_rank(end)),
        "asymmetry": asymmetry(x),
        "planted_distance": float(np.linalg.norm(least.matrix - problem.solution)),
        **{name: getattr(result, name) for name in ("loss", "steps", "status")},
    }


def sensing_table(found: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for scale in dict.fromkeys(one["scale"] for one in found):
        own = [one for one in found if one["scale"] == scale]
        cells = [f"{max(one[name] for one in own):.1e}" for name in ("distance", "excess", "asymmetry", "loss")]
        steps = max(one["steps"] for one in own)
        rows.append((f"{scale:g}", *cells, f"{median(own, 'effective_rank'):.2f}", f"{steps:,}"))
    columns = ("scale", "distance", "norm above the least", "asymmetry", "loss", "effective rank", "steps")
    note = "The largest over the targets (ranks: medians), relative to the solution of least nuclear norm."
    return Table("Commuting measurements: symmetric factorization of depth 2", columns, rows, note)


def sensing_checks(found: Sequence[Mapping[str, Any]], eps: float) -> list[Check]:
    scales = sorted({one["scale"] for one in found}, reverse=True)
    worst = [max(one["distance"] for one in found if one["scale"] == scale) for scale in scales]
    excess = max(abs(one["excess"]) for one in found if one["scale"] == scales[-1])
    apart = max(one["asymmetry"] for one in found)
    return [
        Check(
            "commuting measurements: a factorization that starts as U U^T stays symmetric, to rounding "
            f"({_SYMMETRIC * eps:.0e})",
            f"the layers differ by {apart:.1e} of their norm",
            apart <= _SYMMETRIC * eps,
        ),
        Check(
            f"commuting measurements: from scale {scales[-1]:g} it ends within {_REACHED:g} of the solution of least "
            "nuclear norm, and its norm does, for every target",
            f"distance {worst[-1]:.1e}, norm {excess:.1e}",
            worst[-1] <= _REACHED and excess <= _REACHED,
        ),
        Check(
            "commuting measurements: the distance falls as the scale does",
            "  ".join(f"{scale:g}: {distance:.1e}" for scale, distance in zip(scales, worst, strict=True)),
            falls(worst),
        ),
    ]
