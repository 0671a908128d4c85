"""Spectral bisection: a complete weighted graph cut into two parts of given sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

NDArray = np.ndarray[Any, Any]

_DENSE = 400
"""Vertices from which on Lanczos iterations are faster than a dense eigensolver."""
_WEAKEST = 1e-3
"""Share of the mean weight that joins all vertices: a graph that falls apart has one Fiedler vector all the same."""


def bisect(weights: NDArray, first: int) -> tuple[NDArray, NDArray]:
    """The vertices of both parts, ascending; the first has ``first`` of them.

    They are sorted by the Fiedler vector, the second eigenvector of the Laplacian: entries that are far apart belong to
    vertices that are weakly joined.

    Args:
        weights: symmetric, not negative, zero on the diagonal, ``(n, n)``; n >= 2.
        first: from 1 to n - 1.
    """
    vector = _fiedler(weights)
    # Of a vector and its negative, the one with which the first vertices come first: no eigensolver decides.
    if np.arange(len(vector)) @ vector < 0:
        vector = -vector
    order = np.argsort(vector, kind="stable")
    options = [(order[:first], order[first:])]
    if 2 * first != len(order):
        options.append((order[::-1][:first], order[::-1][first:]))
    one, other = min(options, key=lambda parts: weights[np.ix_(*parts)].sum())
    return np.sort(one), np.sort(other)


def _fiedler(weights: NDArray) -> NDArray:
    count = len(weights)
    joined = _WEAKEST * weights.sum() / count**2
    degrees = weights.sum(axis=1) + joined * count
    if not joined:
        return np.arange(count, dtype=np.float64)
    if count < _DENSE:
        from scipy.linalg import eigh

        laplacian = np.diag(degrees) - weights - joined
        vectors = eigh(laplacian, subset_by_index=[1, 1], check_finite=False)[1]
        return np.asarray(vectors[:, 0])
    from scipy.sparse.linalg import LinearOperator, eigsh

    # The Laplacian turned over, so that its smallest eigenvalues are the largest, and without the constant vector.
    top = 2 * degrees.max()

    def turned(x: NDArray) -> NDArray:
        x = x.reshape(-1)
        x = x - x.mean()
        y = (top - degrees) * x + weights @ x
        centered: NDArray = y - y.mean()
        return centered

    start = np.linspace(-1.0, 1.0, count)
    operator = LinearOperator((count, count), matvec=turned, dtype=np.float64)
    # Vertices are only sorted by it: 1e-6 is plenty.
    vectors = eigsh(operator, k=1, which="LA", v0=start, tol=1e-6, maxiter=100_000, ncv=min(count, 40))[1]
    return np.asarray(vectors[:, 0])
