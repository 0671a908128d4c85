"""Witnesses of upper bounds: CP factorizations by regularized Levenberg-Marquardt, and rational ones among them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tnrank.factorizations._cp_fit._als import component_norms
from tnrank.factorizations._cp_fit._fit import PATHS, SIZES
from tnrank.factorizations._cp_fit._lm import descend, gram_of_jacobian, split
from tnrank.factorizations._cp_fit._starts import eigenvectors, random
from tnrank.ranks._certified._exact import Matrix, outer_sum, to_fractions

SOLVED = 1e-11
"""The relative residual below which a CP factorization counts as equal to the tensor."""
_STARTS, _STEPS = 24, 300
_LARGEST = 1e4  # of component norms relative to the tensor's, in a witness
_CANDIDATES = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0)
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


def fit(tensor: Matrix, rank: int, rng: np.random.Generator, starts: int = _STARTS, tolerance: float = SOLVED) -> Fit:
    """The best of several starts; the first that solves ends the search."""
    scale = float(np.linalg.norm(tensor))
    unit, best = tensor / scale, None
    for start in range(-1, starts):
        factors = eigenvectors(rng, unit, rank) if start < 0 else random(rng, unit, rank, SIZES[start % 4])
        if factors is None:
            continue
        for weight in PATHS[start % 4] if start >= 0 else (0.0,):
            factors, residual = descend(unit, factors, None, weight, _STEPS if weight == 0 else 60)
        largest = float(component_norms(factors).max())
        residual = max(residual, float(np.finfo(np.float64).eps) * largest)  # of components that cancel
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
        if _is_isolated(split(x, shapes), mask):
            break  # nothing can be moved to another number
        distance = np.abs(x[:, None] - np.array(_CANDIDATES)) + np.array([0, 0.1, 0.1, 0.4, 0.4, 0.6, 0.6])
        near = np.abs(x[:, None] - np.array(_CANDIDATES)).min(axis=1) < 1e-9
        distance[near] -= 10  # such entries cost nothing
        distance[failed | ~mask[:, None]] = np.inf
        place, which = np.unravel_index(int(np.argmin(distance)), distance.shape)
        if not np.isfinite(distance[place, which]):
            break
        y, trial = x.copy(), mask.copy()
        y[place], trial[place] = _CANDIDATES[int(which)], False
        solved, residual = descend(tensor / norm, _scaled_last(split(y, shapes), 1 / norm), trial, 0.0, 60)
        solved = _scaled_last(solved, norm)
        z = np.concatenate([f.ravel() for f in solved])
        if residual <= SOLVED and np.abs(z).max() < 50:
            x, mask = z, trial
        else:
            failed[place, which] = True
    for limit in (8, 64, 1024):
        exact = [to_fractions(f) for f in split(x, shapes)]
        for f in exact:
            f[...] = np.vectorize(lambda q, limit=limit: q.limit_denominator(limit), otypes=[object])(f)
        if is_witness(integers, scale, exact):
            return exact
    return None


def is_witness(integers: Matrix, scale: int, factors: list[Matrix]) -> bool:
    """Whether exact factors sum to the tensor ``integers / scale``, without rounding."""
    return bool(np.all(outer_sum(factors) * Fraction(scale) == integers))


def _is_isolated(factors: list[Matrix], free: Matrix) -> bool:
    """Whether a solution has no others near it, as far as first derivatives tell."""
    gram = gram_of_jacobian(factors)[np.ix_(free, free)]
    values = np.linalg.eigvalsh(gram) if gram.size else np.ones(1)
    return bool(values[0] > 1e-10 * values[-1])


def _scaled_last(factors: list[Matrix], by: float) -> list[Matrix]:
    return [*factors[:-1], factors[-1] * by]
