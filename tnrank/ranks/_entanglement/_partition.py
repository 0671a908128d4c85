"""The spectrum of a data tensor across two groups of features, from Gram matrices of the samples alone."""

from __future__ import annotations

from typing import Any

import numpy as np

NDArray = np.ndarray[Any, Any]

_CHUNK = 16
"""Features whose cosines are multiplied before a logarithm is taken: 16 of the smallest, 6e-17, are 1e-260 still."""
_SMALL_PIVOT = 1e-15
"""Where the pivoted Cholesky decomposition of a Gram matrix stops: its diagonal is 1, and what is left is rounding."""


def rotations(X: NDArray, scale: float) -> NDArray:
    """The feature vectors ``(cos(pi t x), sin(pi t x))``, shape ``(N, M, 2)``."""
    angles = np.pi * scale * X.T
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def log_gram(vectors: NDArray, modes: Any) -> NDArray:
    """``log prod_n cos(pi t (x_in - x_jn))`` over the features in ``modes``, shape ``(M, M)``.

    A cosine is the inner product of two feature vectors, which have no negative entries, so that nothing cancels. One
    feature at a time needs no array of M x M x N, and a matrix product of inner size 2 takes a tenth of the time of
    M x M cosines.
    """
    samples = vectors.shape[1]
    total, cosines = np.zeros((samples, samples)), np.empty((samples, samples))
    for start in range(0, len(modes), _CHUNK):
        product = np.ones((samples, samples))
        for mode in modes[start : start + _CHUNK]:
            np.matmul(vectors[mode], vectors[mode].T, out=cosines)
            product *= cosines
        total += np.log(product, out=product)
    return total


def entanglement(log_inside: NDArray, log_all: NDArray, signs: NDArray | None) -> tuple[float, float]:
    """Entropy in nats and geometric entanglement across a group of features and all others.

    Args:
        log_inside: logarithm of the Gram matrix G_A of the group, ``(M, M)``.
        log_all: the same of all features: the rest has ``G_B = G_all / G_A``.
        signs: the labels -1 and +1, ``(M,)``, or ``None``.
    """
    outside = np.exp(log_all - log_inside)
    if signs is not None:
        outside *= signs[:, None] * signs
    p = np.maximum(_squares(np.exp(log_inside), outside), 0.0)
    p = np.sort(p / p.sum())
    p = p[p > 0]
    # The largest probability is left out of the sum, since 1 - p loses digits where it is close to 1.
    return float(abs((p * np.log(p)).sum())), float(np.sqrt(p[:-1].sum()))


def _squares(inside: NDArray, outside: NDArray) -> NDArray:
    """The squared singular values: eigenvalues of ``L^T G_B L`` for ``G_A = L L^T``."""
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(inside, lower=1)
    if not failed:
        # Half the work of two matrix products.
        reduced, failed = lapack.dsygst(outside, factor, itype=2, lower=1)
        if not failed:
            squares: NDArray = np.linalg.eigvalsh(reduced, UPLO="L")
            return squares
    # Few features, or samples that are equal: G_A is of low rank.
    factor, pivots, rank, _ = lapack.dpstrf(inside, lower=1, tol=_SMALL_PIVOT)
    thin = np.zeros((len(inside), rank))
    thin[pivots - 1] = np.tril(factor)[:, :rank]
    squares = np.linalg.eigvalsh(thin.T @ (outside @ thin))
    return squares
