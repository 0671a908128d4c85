"""Witnesses of upper bounds: CP factorizations by regularized Levenberg-Marquardt, and rational ones among them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

import numpy as np

from tnrank.ranks._exact import Matrix, outer_sum, to_fractions

SOLVED = 1e-11
"""The relative residual below which a CP factorization counts as equal to the tensor."""
_STARTS, _STEPS = 24, 300
_LARGEST = 1e4  # of component norms relative to the tensor's, in a witness
_CANDIDATES = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0)
_PATHS = ((1e-2, 1e-3, 1e-4, 1e-6, 0.0), (1e-4, 1e-6, 0.0), (1e-3, 1e-5, 0.0), (1e-6, 0.0))
_VARIABLES = 400  # above, no search for rational factors


@dataclass
class Fit:
    """Factors ``(d_n, r)``, their relative residual and the largest component norm relative to the tensor's."""

    factors: list[Matrix]
    residual: float
    largest: float
    tolerance: float = SOLVED

    @property
    def solved(self) -> bool:
        """Whether this is the tensor up to rounding, without cancelling components."""
        # Of W and its kin the best residual falls like 1 / largest^2: the looser the tolerance, the less is allowed.
        return self.residual <= self.tolerance and self.largest <= min(_LARGEST, max(2.0, 0.1 * self.tolerance**-0.5))

    @property
    def diverging(self) -> bool:
        """Border-rank behavior: close to the tensor only with ever larger components that cancel."""
        return not self.solved and self.residual < 1e-3 and self.largest > 10 and self.residual * self.largest < 1


def steps_cost(shape: tuple[int, ...], rank: int) -> float:
    """Operations of one step of :func:`fit`: the Gram matrix of the Jacobian and its solution."""
    variables = rank * sum(shape)
    return prod(shape) * variables**2 + variables**3


def fit(tensor: Matrix, rank: int, rng: np.random.Generator, starts: int = _STARTS, tolerance: float = SOLVED) -> Fit:
    """The best of several starts; the first that solves ends the search."""
    scale = float(np.linalg.norm(tensor))
    unit, best = tensor / scale, None
    for start in range(starts):
        factors = [_normal(rng, (d, rank), tensor.dtype) for d in tensor.shape]
        size = float(np.linalg.norm(outer_sum(factors)))
        # A path from heavy weights ends at small components, and often at cancelling ones: every other start is
        # larger and goes without.
        size /= (1.0, 3.0, 1.0, 30.0)[start % 4]
        factors = [f * size ** (-1 / tensor.ndim) for f in factors]
        for weight in _PATHS[start % 4]:
            steps = _STEPS if weight == 0 else 60
            factors, residual = descend(unit, factors, None, weight, steps)
        largest = float(prod(np.linalg.norm(f, axis=0) for f in factors).max())
        found = Fit([f * scale ** (1 / tensor.ndim) for f in factors], residual, largest, tolerance)
        if best is None or (found.solved, found.diverging, -found.residual) > (
            best.solved,
            best.diverging,
            -best.residual,
        ):
            best = found
        if best.solved:
            break
    assert best is not None
    return best


def descend(
    tensor: Matrix, factors: list[Matrix], free: Matrix | None, weight: float, steps: int
) -> tuple[list[Matrix], float]:
    """Levenberg-Marquardt on ``|tensor - sum_r outer(..)|^2 + weight |factors|^2``, over the free entries.

    Source: Nocedal & Wright 2006, Sec. 10.3; for CP, Tomasi & Bro 2006.
    """
    shapes = [f.shape for f in factors]
    x = np.concatenate([f.ravel() for f in factors])
    at = np.arange(x.size) if free is None else np.flatnonzero(free)
    damping, flat = 1e-2, tensor.ravel()
    rest = flat - outer_sum(factors).ravel()
    cost = _square(rest) + weight * _square(x[at])
    last = np.inf
    for step in range(steps):
        if _square(rest) < 1e-28 or not at.size or (step % 20 == 19 and cost > 0.999 * last):
            break
        last = cost if step % 20 == 19 else last
        jacobian = _jacobian(_split(x, shapes))[:, at]
        gram = jacobian.conj().T @ jacobian
        gradient = jacobian.conj().T @ rest - weight * x[at]
        for _ in range(12):
            try:
                change = np.linalg.solve(gram + (weight + damping) * np.eye(at.size), gradient)
            except np.linalg.LinAlgError:
                damping = max(damping * 4, 1e-16)
                continue
            y = x.copy()
            y[at] += change
            trial = flat - outer_sum(_split(y, shapes)).ravel()
            new = _square(trial) + weight * _square(y[at])
            if new < cost:
                x, rest, cost, damping = y, trial, new, max(damping / 5, 1e-18)
                break
            damping = max(damping * 4, 1e-16)
        else:
            break
    return _split(x, shapes), float(np.sqrt(_square(rest)))


def rationalize(tensor: Matrix, integers: Matrix, scale: int, factors: list[Matrix]) -> list[Matrix] | None:
    """Exact factors (of type ``Fraction``) near real ones, or ``None``.

    A solution is rarely isolated. Its entries are fixed to small numbers one by one, the nearest first, and the
    others solved for again, until all are rational; the result is compared with the tensor exactly.
    """
    if sum(f.size for f in factors) > _VARIABLES or any(np.iscomplexobj(f) for f in factors):
        return None
    norm = float(np.linalg.norm(tensor))
    factors = [f.copy() for f in factors]
    shapes = [f.shape for f in factors]
    free = [np.ones(shape, dtype=bool) for shape in shapes]
    for r in range(shapes[0][1]):
        for n in range(len(factors) - 1):  # the scales within a component are free: fix a largest entry to 1
            k = int(np.argmax(np.abs(factors[n][:, r])))
            factors[-1][:, r] *= factors[n][k, r]
            factors[n][:, r] /= factors[n][k, r]
            free[n][k, r] = False
    x, mask = np.concatenate([f.ravel() for f in factors]), np.concatenate([f.ravel() for f in free])
    failed = np.zeros((x.size, len(_CANDIDATES)), dtype=bool)
    for _ in range(6 * x.size):
        distance = np.abs(x[:, None] - np.array(_CANDIDATES)) + np.array([0, 0.1, 0.1, 0.4, 0.4, 0.6, 0.6])
        near = np.abs(x[:, None] - np.array(_CANDIDATES)).min(axis=1) < 1e-9
        distance[near] -= 10  # such entries cost nothing
        distance[failed | ~mask[:, None]] = np.inf
        place, which = np.unravel_index(int(np.argmin(distance)), distance.shape)
        if not np.isfinite(distance[place, which]):
            break
        y, trial = x.copy(), mask.copy()
        y[place], trial[place] = _CANDIDATES[int(which)], False
        solved, residual = descend(tensor / norm, _scaled_last(_split(y, shapes), 1 / norm), trial, 0.0, 60)
        solved = _scaled_last(solved, norm)
        z = np.concatenate([f.ravel() for f in solved])
        if residual <= SOLVED and np.abs(z).max() < 50:
            x, mask = z, trial
        else:
            failed[place, which] = True
    for limit in (8, 64, 1024):
        exact = [to_fractions(f) for f in _split(x, shapes)]
        for f in exact:
            f[...] = np.vectorize(lambda q, limit=limit: q.limit_denominator(limit), otypes=[object])(f)
        if is_witness(integers, scale, exact):
            return exact
    return None


def is_witness(integers: Matrix, scale: int, factors: list[Matrix]) -> bool:
    """Whether exact factors sum to the tensor ``integers / scale``, without rounding."""
    return bool(np.all(outer_sum(factors) * Fraction(scale) == integers))


def trivial_factors(tensor: Matrix) -> list[Matrix]:
    """Every tensor is the sum of its fibers times unit vectors: factors of at most size / longest mode components."""
    shape = tensor.shape
    long = int(np.argmax(shape))
    fibers = np.moveaxis(tensor, long, -1).reshape(-1, shape[long])
    used = np.flatnonzero(np.any(fibers != 0, axis=1))
    others = [k for k in range(len(shape)) if k != long]
    places = np.unravel_index(used, [shape[k] for k in others])
    factors: list[Matrix] = [np.zeros((0, 0))] * len(shape)
    factors[long] = fibers[used].T
    for k, place in zip(others, places, strict=True):
        factors[k] = (np.arange(shape[k])[:, None] == place).astype(tensor.dtype)
    return factors


def _jacobian(factors: list[Matrix]) -> Matrix:
    """Derivatives of the entries by those of the factors, shape ``(prod d, sum_n d_n r)``."""
    order, rank, blocks = len(factors), factors[0].shape[1], list[Matrix]()
    for n, factor in enumerate(factors):
        before, after = np.ones((1, rank), factor.dtype), np.ones((1, rank), factor.dtype)
        for k in range(n):
            before = (before[:, None] * factors[k]).reshape(-1, rank)
        for k in range(n + 1, order):
            after = (after[:, None] * factors[k]).reshape(-1, rank)
        d = factor.shape[0]
        block = np.zeros((len(before), d, len(after), d, rank), factor.dtype)
        diagonal = np.arange(d)
        block[:, diagonal, :, diagonal] = before[:, None] * after
        blocks.append(block.reshape(-1, d * rank))
    return np.concatenate(blocks, axis=1)


def _scaled_last(factors: list[Matrix], by: float) -> list[Matrix]:
    return [*factors[:-1], factors[-1] * by]


def _split(x: Matrix, shapes: list[tuple[int, ...]]) -> list[Matrix]:
    ends = np.cumsum([prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(x, ends), shapes, strict=True)]


def _square(x: Matrix) -> float:
    return float(np.vdot(x, x).real)


def _normal(rng: np.random.Generator, shape: tuple[int, int], dtype: np.dtype[np.generic]) -> Matrix:
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if dtype.kind == "c" else real
