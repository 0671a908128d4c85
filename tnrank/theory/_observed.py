"""The affine sets that baselines look in: matrices with given entries, or with given measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tnrank._backend import host_svd
from tnrank._typing import Shape
from tnrank.factorizations._observed import check_repeated, checked_numbers

HostArray = np.ndarray[Any, Any]

_CONSISTENT = 1e-9
"""Measurements count as consistent when least squares leaves less than this, relative to their norm."""


class Constraints(Protocol):
    """The matrices that agree with what was observed."""

    least: HostArray
    """The one of least Frobenius norm."""

    def project(self, W: HostArray) -> HostArray:
        """The nearest matrix that agrees."""
        ...

    def span(self, W: HostArray) -> HostArray:
        """The nearest combination of measurement matrices: what a dual variable can be."""
        ...


class GivenEntries:
    """Matrices with given entries; ``psd`` mirrors them."""

    def __init__(self, shape: Shape, indices: HostArray, values: HostArray, psd: bool = False) -> None:
        self.mask = np.zeros(shape, bool)
        self.least = np.zeros(shape)
        if psd:
            indices, values = _mirrored(shape, indices, values)
        where = tuple(indices.T)
        self.mask[where] = True
        self.least[where] = values

    def project(self, W: HostArray) -> HostArray:
        return np.where(self.mask, self.least, W)

    def span(self, W: HostArray) -> HostArray:
        return np.where(self.mask, W, 0.0)


class GivenMeasurements:
    """Matrices ``W`` with ``<A_n, W> = y_n``; ``psd`` makes the measurement matrices symmetric."""

    def __init__(self, matrices: HostArray, values: HostArray, psd: bool = False) -> None:
        if psd:
            matrices = (matrices + np.swapaxes(matrices, 1, 2)) / 2
        self.shape = matrices.shape[1:]
        U, s, Vh = host_svd(matrices.reshape(len(matrices), -1))
        rank = int((s > max(len(matrices), Vh.shape[1]) * np.finfo(float).eps * s[0]).sum())
        self.basis = Vh[:rank]
        self.coordinates = U[:, :rank].T @ values / s[:rank]
        rest = float(np.linalg.norm(values - U[:, :rank] @ (s[:rank] * self.coordinates)))
        if rest > _CONSISTENT * float(np.linalg.norm(values)):
            raise ValueError(
                f"no {'symmetric ' * psd}matrix has these measurements: least squares leaves a residual of norm "
                f"{rest:.3g}; use minimum_l2 on the matrices as rows for a least-squares fit"
            )
        self.least = (self.coordinates @ self.basis).reshape(self.shape)

    def project(self, W: HostArray) -> HostArray:
        flat = W.ravel()
        nearest: HostArray = flat + (self.coordinates - self.basis @ flat) @ self.basis
        return nearest.reshape(self.shape)

    def span(self, W: HostArray) -> HostArray:
        nearest: HostArray = (self.basis @ W.ravel()) @ self.basis
        return nearest.reshape(self.shape)


def _mirrored(shape: Shape, indices: HostArray, values: HostArray) -> tuple[HostArray, HostArray]:
    count = len(indices)
    indices, values = np.concatenate([indices, indices[:, ::-1]]), np.concatenate([values, values])
    check_repeated(shape, indices, values, count)
    return indices, values


def checked_shape(shape: Sequence[int], order: int | None = None) -> Shape:
    """``shape`` as integers of at least 1.

    Raises:
        ValueError: if a size is not positive, or there are not ``order`` of them.
        TypeError: if they are not whole numbers.
    """
    sizes = tuple(shape)
    if not all(isinstance(d, (int, np.integer)) and not isinstance(d, bool) for d in sizes):
        raise TypeError(f"the sizes of a shape are whole numbers, got {sizes}")
    if not sizes or min(sizes) < 1:
        raise ValueError(f"the sizes of a shape are at least 1, and there is at least one of them, got {sizes}")
    if order is not None and len(sizes) != order:
        fix = "; for tensors there is zero_fill, and complete for their factorizations" if len(sizes) > order else ""
        raise ValueError(f"got the shape {sizes}, needed a matrix's (m, n){fix}")
    return tuple(int(d) for d in sizes)


def checked_measurements(matrices: Any, values: Any) -> tuple[HostArray, HostArray]:
    """Measurement matrices ``(n, m, k)`` and values ``(n,)``.

    Raises:
        ValueError: if the shapes are others, there are none, or entries are NaN or infinite.
    """
    found = checked_numbers(matrices, "entries of the measurement matrices")
    numbers = checked_numbers(values, "values")
    if found.ndim != 3 or not found.size:
        raise ValueError(f"measurement matrices have shape (n, m, k) with no size 0, got {found.shape}")
    if numbers.shape != (len(found),):
        raise ValueError(f"got values of shape {numbers.shape} for {len(found)} measurements: needed ({len(found)},)")
    if not found.any():
        raise ValueError("all measurement matrices are zero: nothing is measured")
    return found, numbers
