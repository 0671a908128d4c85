"""Regularized Levenberg-Marquardt for CP, on the host; the Jacobian is never formed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from tnrank.factorizations._cp_fit._als import HostArray, compose, mttkrps

_ROUNDING = 1e-16


def step_cost(shape: Sequence[int], rank: int) -> float:
    """Operations of one step of :func:`descend`: the residual, its MTTKRPs and a linear system."""
    return 4.0 * prod(shape) * rank + (rank * sum(shape)) ** 3


def descend(
    tensor: HostArray,
    factors: Sequence[HostArray],
    free: HostArray | None,
    weight: float,
    steps: int,
    tol: float = 0.0,
) -> tuple[list[HostArray], float]:
    """Levenberg-Marquardt on ``||tensor - sum_r outer(..)||^2 + weight ||factors||^2``, over the free entries.

    Args:
        tensor: ``(d_1, .., d_N)`` of norm about 1.
        factors: ``(d_n, R)``, where to begin.
        free: ``(R sum(d),)``, nonzero where an entry of the factors one after another may move; ``None`` is all.
        weight: of the regularization, which keeps components small.
        steps: the most steps.
        tol: ends when a step lowers the cost by less than this share of it.

    Returns:
        Factors and the norm of the residual.

    Source: Nocedal & Wright 2006, Sec. 10.3; for CP, Tomasi & Bro 2006; the Gram matrix of the Jacobian by blocks,
        Phan, Tichavsky & Cichocki 2013, *Low complexity damped Gauss-Newton algorithms for CANDECOMP/PARAFAC*.
    """
    shapes = [f.shape for f in factors]
    x = np.concatenate([f.ravel() for f in factors])
    at = np.arange(x.size) if free is None else np.flatnonzero(free)
    damping, last = 1e-2, np.inf
    rest = tensor - compose(factors)
    cost = _square(rest) + weight * _square(x[at])
    for step in range(steps):
        if _square(rest) < 1e-28 or not at.size or (step % 20 == 19 and cost > 0.999 * last):
            break
        last = cost if step % 20 == 19 else last
        current = split(x, shapes)
        gram = gram_of_jacobian(current)
        gram = gram if free is None else gram[np.ix_(at, at)]
        gradient = _gradient(rest, current)[at] - weight * x[at]
        before = cost
        for _ in range(12):
            try:
                change = np.linalg.solve(gram + (weight + damping) * np.eye(at.size), gradient)
            except np.linalg.LinAlgError:
                damping = max(damping * 4, 1e-16)
                continue
            if float(np.vdot(change, gradient).real) <= _ROUNDING * cost:
                break  # the cost would not show it
            y = x.copy()
            y[at] += change
            trial = tensor - compose(split(y, shapes))
            new = _square(trial) + weight * _square(y[at])
            if new < cost:
                x, rest, cost, damping = y, trial, new, max(damping / 5, 1e-18)
                break
            damping = max(damping * 4, 1e-16)
        if before - cost <= tol * cost:
            break
    return split(x, shapes), float(np.sqrt(_square(rest)))


def gram_of_jacobian(factors: Sequence[HostArray]) -> HostArray:
    """``J^H J`` for the Jacobian J of the end tensor by the factors one after another, shape ``(V, V)``.

    Within a mode it is the Hadamard product of the other Gram matrices, times the identity; between two modes a
    product of entries with the Gram matrices of the rest.
    """
    rank = factors[0].shape[1]
    mode, without, unit = _layout(tuple(len(f) for f in factors))
    grams = np.array([f.conj().T @ f for f in factors])
    products = np.where(without, 1.0, grams).prod(axis=2)  # shape: (n, m, R, R)
    rows = np.concatenate(factors)
    left = products.transpose(0, 2, 1, 3)[mode] * rows[:, None, None, :]  # shape: (i, r, m, s)
    found = left.take(mode, axis=2)
    found *= rows.conj().T[None, :, :, None]  # shape: (i, r, j, s), right between two modes
    start = 0
    for n, factor in enumerate(factors):
        inside = slice(start, start + len(factor))
        found[inside, :, inside] = unit[inside, :, inside] * products[n, n][:, None]
        start += len(factor)
    return np.asarray(found.reshape(rows.shape[0] * rank, -1))


@lru_cache(maxsize=64)
def _layout(shape: tuple[int, ...]) -> tuple[HostArray, HostArray, HostArray]:
    """The mode of each row, the modes that blocks leave out, and the identity."""
    left_out = np.eye(len(shape), dtype=bool)
    without = left_out[:, None, :] | left_out[None, :, :]  # shape: (n, m, k)
    mode = np.repeat(np.arange(len(shape)), shape)
    return mode, without[..., None, None], np.eye(len(mode))[:, None, :, None]


def split(x: HostArray, shapes: Sequence[tuple[int, ...]]) -> list[HostArray]:
    """The factors of a vector that holds them one after another."""
    ends = np.cumsum([prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(x, ends), shapes, strict=True)]


def _gradient(rest: HostArray, factors: list[HostArray]) -> HostArray:
    found: dict[int, HostArray] = {}
    mttkrps(rest, factors, found.__setitem__)
    return np.concatenate([found[n].ravel() for n in range(len(factors))])


def _square(x: HostArray) -> float:
    return float(np.vdot(x, x).real)
