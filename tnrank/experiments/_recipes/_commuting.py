"""Commuting measurements of a positive semidefinite matrix, whose solution of least nuclear norm is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tnrank._check import generator
from tnrank._typing import Array
from tnrank.factorizations import MatrixFactorization
from tnrank.training import Loss, RankOneMeasurements

HostArray = np.ndarray[Any, Any]

_MARGIN = 0.5
"""How far the certificate stays from the measurements' other eigenvalues."""


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
        found: HostArray = (self.basis * self.diagonal) @ self.basis.T
        return found

    @property
    def matrices(self) -> HostArray:
        """The measurements as matrices, ``(n, d, d)``."""
        found: HostArray = np.einsum("nj,aj,bj->nab", self.mixing, self.basis, self.basis)
        return found

    @property
    def values(self) -> HostArray:
        """What is measured, ``(n,)``."""
        found: HostArray = self.mixing @ self.diagonal
        return found

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

    @cached_property
    def _matrix(self) -> HostArray:
        return np.asarray(self.rows)

    def weight(self, count: int) -> float:
        return 1.0

    def weighted(self, residual: Array, weights: Array, xp: Any, axes: Any = None) -> tuple[Array, Array]:
        rows = xp.asarray(self._matrix, dtype=residual.dtype)
        combined = residual @ rows.T
        return xp.sum(combined * combined, axis=axes) / 2, combined @ rows


def asymmetry(x: MatrixFactorization) -> float:
    """``||U - V^T|| / ||U||`` of the layers U and V."""
    first, second = (np.asarray(x.backend.to_numpy(a), np.float64) for a in x.layers)
    return float(np.linalg.norm(first - second.T) / np.linalg.norm(first))
