"""An end matrix split evenly into the layers of a matrix factorization, whole or truncated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._backend import backend_of, get_backend, host_svd
from tnrank._check import whole_number
from tnrank._scale import not_finite, over, peak, unit_of
from tnrank._typing import Array
from tnrank.factorizations import _hsvd
from tnrank.factorizations._arrays import checked_arrays, measurable, rounding_of
from tnrank.factorizations._whole import is_whole
from tnrank.linalg import choose_method, default_rtol

HostArray = np.ndarray[Any, Any]


class _Decomposed(NamedTuple):
    """``unit * u @ diag(s) @ vh`` on the host, in double precision; the unit is a power of two, or NaN."""

    u: HostArray
    s: HostArray
    vh: HostArray
    unit: float

    @classmethod
    def of(cls, end: Array) -> _Decomposed:
        numpy, host = get_backend("numpy"), np.asarray(backend_of(end).to_numpy(end))
        wide = host.astype(np.promote_types(host.dtype, np.float64))
        unit = unit_of(peak(wide, numpy), numpy)
        if np.isnan(unit):
            raise ValueError(
                f"the end matrix leaves the range of {host.dtype}: divide each layer by a number of its size"
            )
        u, s, vh = host_svd(over(wide, unit, numpy))
        return cls(u, s, vh, float(unit))

    def layers(self, chain: Sequence[int], like: Array, dtype: str) -> list[Array]:
        """Balanced layers of sizes ``chain``, on the device of ``like``: as many singular values as they can hold."""
        depth, kept = len(chain) - 1, min(len(self.s), *chain)
        root = self.s[:kept] ** (1 / depth) * self.unit ** (1 / depth)
        layers = []
        for k, (rows, columns) in enumerate(pairwise(chain)):
            layer = np.zeros((rows, columns), self.u.dtype)
            if k == 0:
                layer[:, :kept] = self.u[:, :kept] * root
            elif k == depth - 1:
                layer[:kept, :] = root[:, None] * self.vh[:kept]
            else:
                layer[range(kept), range(kept)] = root
            layers.append(_placed(layer, like, dtype))
        return layers


def split_evenly(end: Array, chain: Sequence[int]) -> list[Array]:
    """Balanced layers of sizes ``chain`` whose product is ``end`` (of rank at most the smallest size)."""
    if len(chain) == 2:
        return [end]
    return _Decomposed.of(end).layers(chain, end, backend_of(end).dtype_of(end))


def truncated_layers(matrix: Array, rank: int | None, rtol: float | None, depth: int) -> list[Array]:
    """See :meth:`tnrank.MatrixFactorization.from_dense`."""
    matrix = checked_arrays([matrix], lambda: ["matrix"])[0]
    backend = backend_of(matrix)
    given, sides = backend.dtype_of(matrix), tuple(int(side) for side in matrix.shape)
    if len(sides) != 2 or 0 in sides:
        raise ValueError(f"got an array of shape {sides}, needed a matrix (m, n) with m and n from 1 on")
    if rank is not None and rtol is not None:
        raise ValueError(f"got rank={rank} and rtol={rtol}, needed one of the two")
    if rank is not None:
        sizes = f"{sides[0]} x {sides[1]}"
        rank = whole_number(rank, f"rank, the hidden size of the factorization of a {sizes} matrix,", 1, min(sides))
    if not bool(backend.xp.all(backend.xp.isfinite(matrix))):
        raise not_finite(matrix, backend, "of the matrix ", "fill them in first, for example with tnrank.fill_missing")
    wide = measurable(given, backend)
    if wide != given:
        matrix = backend.xp.astype(matrix, getattr(backend.xp, wide))
    choose_method("qr", rtol, wide)
    decomposed = _Decomposed.of(matrix)
    if rank is None:
        rtol = max(rounding_of(given), default_rtol(sides, wide)) if rtol is None else rtol
        rank = _hsvd.kept_count(decomposed.s, rtol * float(np.linalg.norm(decomposed.s)), None)
    dtype = wide if is_whole(given) else given
    if depth > 1:
        return decomposed.layers([sides[0], *[rank] * (depth - 1), sides[1]], matrix, dtype)
    if rank == min(sides):
        return [matrix if dtype == wide else backend.xp.astype(matrix, getattr(backend.xp, dtype))]
    product = (decomposed.u[:, :rank] * decomposed.s[:rank]) @ decomposed.vh[:rank]
    return [_placed(product * decomposed.unit, matrix, dtype)]


def _placed(host: HostArray, like: Array, dtype: str) -> Array:
    """A host array beside ``like``; in two steps, because NumPy computes in no half precision but holds it."""
    backend = backend_of(like)
    wide = backend.asarray(host, measurable(dtype, backend), default_or_named_device(like))
    return wide if measurable(dtype, backend) == dtype else backend.xp.astype(wide, getattr(backend.xp, dtype))
