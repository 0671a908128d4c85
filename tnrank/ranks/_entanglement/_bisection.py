"""Spectral bisection: a complete weighted graph cut into two parts of given sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

NDArray = np.ndarray[Any, Any]

_DENSE = 400
"""Vertices from which on Lanczos iterations are faster than a dense eigensolver."""
_WEAKEST = 1e-3
"""Share of the mean weight that joins all vertices: a graph that falls apart has one Fiedler vector all the same."""
_TRIED = 32
"""Vertices of each side of which the best pair is exchanged."""
_LEAST_GAIN = 1e-9
"""Share of the largest gain that an exchange must have, above rounding."""


def bisect(weights: NDArray, first: int) -> tuple[NDArray, NDArray]:
    """The vertices of both parts, ascending; the first has ``first`` of them.

    They are sorted by the Fiedler vector, the second eigenvector of the Laplacian: entries that are far apart belong to
    vertices that are weakly joined. Then pairs of vertices change sides as long as that lightens the cut, which
    separates groups that the vector does not tell apart.

    Args:
        weights: symmetric, not negative, zero on the diagonal, ``(n, n)``; n >= 2.
        first: from 1 to n - 1.
    """
    vector = _fiedler(weights)
    # Of a vector and its negative, the one with which the first vertices come first: no eigensolver decides.
    if np.arange(len(vector)) @ vector < 0:
        vector = -vector
    order = np.argsort(vector, kind="stable")
    options = [order] if 2 * first == len(order) else [order, order[::-1]]
    sides = []
    for option in options:
        inside = np.zeros(len(order), bool)
        inside[option[:first]] = True
        sides.append(_exchanged(weights, inside))
    inside = min(sides, key=lambda side: weights[side][:, ~side].sum())
    return np.flatnonzero(inside), np.flatnonzero(~inside)


def _exchanged(weights: NDArray, inside: NDArray) -> NDArray:
    """The sides after exchanges of one vertex each, the best first (Kernighan & Lin 1970, without their detours)."""
    inside = inside.copy()
    signs = np.where(inside, 1.0, -1.0)
    # What a vertex gains by changing sides: its weight to the other side less that to its own.
    gains = -signs * (weights @ signs)
    for _ in range(len(signs)):
        one, other = _best(gains, inside), _best(gains, ~inside)
        pairs = gains[one][:, None] + gains[other] - 2 * weights[np.ix_(one, other)]
        k, m = np.unravel_index(int(pairs.argmax()), pairs.shape)
        if pairs[k, m] <= _LEAST_GAIN * abs(gains).max():
            break
        for vertex in (one[k], other[m]):
            inside[vertex] = not inside[vertex]
            gains += 2 * weights[vertex] * np.where(inside, -1.0, 1.0) * (1 if inside[vertex] else -1)
            gains[vertex] = -gains[vertex]
    return inside


def _best(gains: NDArray, where: NDArray) -> NDArray:
    """The vertices on one side that gain most."""
    vertices = np.flatnonzero(where)
    if len(vertices) <= _TRIED:
        return vertices
    return vertices[np.argpartition(gains[vertices], -_TRIED)[-_TRIED:]]


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
