"""CP fits of weights whose components stay of the weight's size, so that outputs lose no digits where they cancel."""

from __future__ import annotations

import warnings
from functools import reduce
from typing import Any

import numpy as np

from tnrank.factorizations import CPFactorization
from tnrank.layers._structures._structure import Host

_FIT: dict[str, Any] = {"starts": 2, "steps": 60, "tol": 1e-4}
"""A layer is trained afterwards: the search for the best fit ends early."""
_LARGE = 10.0
"""Norms of components, relative to the tensor's, beyond which they cancel."""
_RIDGE = 1e-4
"""Weight of the squared norms of the factors beside the squared error, both relative to the tensor's norm."""
_SWEEPS = 200


def fit_components(tensor: Host, rank: int | None, rtol: float | None) -> list[Host]:
    """CP factors ``(d_n, R)`` near a tensor: with ``rank`` components, or the fewest found within ``rtol``.

    Where the best fit found has components that grow and cancel (border-rank behavior), ridge regression goes on from
    it until they are small; the error hardly grows by it.

    Source: Uschmajew 2012 and Navasca, De Lathauwer & Kindermann 2008 (regularized alternating least squares).
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "border-rank", RuntimeWarning)
        x = CPFactorization.from_dense(tensor, rank, rtol, **_FIT)
    factors = [np.asarray(factor) for factor in x.factors]
    norm = float(np.linalg.norm(tensor))
    if rtol is not None or not norm or _largest(factors) <= _LARGE * norm:
        return factors
    unit = norm ** (1 / len(factors))
    small = _ridge(tensor / norm, [factor / unit for factor in factors])
    return [factor * unit for factor in small]


def _ridge(tensor: Host, factors: list[Host]) -> list[Host]:
    for _ in range(_SWEEPS):
        for mode in range(tensor.ndim):
            others = factors[:mode] + factors[mode + 1 :]
            gram = reduce(np.multiply, (factor.T @ factor for factor in others))
            sides = np.moveaxis(tensor, mode, 0).reshape(len(factors[mode]), -1) @ _khatri_rao(others)
            factors[mode] = np.linalg.solve(gram + _RIDGE * np.eye(len(gram)), sides.T).T
        factors = _balanced(factors)
        if _largest(factors) <= _LARGE:
            break
    return factors


def _khatri_rao(factors: list[Host]) -> Host:
    """Column-wise Kronecker products."""
    return reduce(lambda rows, factor: (rows[:, None] * factor).reshape(-1, rows.shape[1]), factors)


def _balanced(factors: list[Host]) -> list[Host]:
    """The same tensor, the vectors of each component scaled to equal norms."""
    lengths = np.stack([np.linalg.norm(factor, axis=0) for factor in factors])
    safe = np.where(lengths > 0, lengths, 1.0)
    scales = np.exp(np.mean(np.log(safe), axis=0)) / safe
    return [factor * scale for factor, scale in zip(factors, scales, strict=True)]


def _largest(factors: list[Host]) -> float:
    return float(np.max(np.prod([np.linalg.norm(factor, axis=0) for factor in factors], axis=0)))
