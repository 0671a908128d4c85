"""The search for a witness: coordinates that suit it, ranks from the lower bound up, and proofs where there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tnrank._backend import host_svd
from tnrank.factorizations._cp_fit._fit import Options, fit_rank
from tnrank.factorizations._cp_fit._lm import descend, step_cost
from tnrank.factorizations._cp_fit._long_modes import long_modes, with_short
from tnrank.factorizations._cp_fit._starts import fibers
from tnrank.ranks._certified import _witness
from tnrank.ranks._certified._check import relative_residual, upper_proof
from tnrank.ranks._certified._exact import Matrix, exact_core, pivots_modulo, random_primes, row_reduce, to_fractions
from tnrank.ranks._certified._lattice import finer_core, short_core
from tnrank.ranks._certified._target import Bound, Target

_REACH = 8
_STEP_COST, _RANK_COST = 2e8, 1e10
_FRACTION_SIDE = 48
_EXACT_CORE = 1024
_ATTEMPTS = 3

Diverging = tuple[int, float, float] | None
"""Border-rank behavior: the components, the residual they reach and the largest, relative to the tensor."""


@dataclass(frozen=True)
class _Core:
    """The tensor as a smaller one and a basis ``(d_n, k_n)`` for each mode."""

    values: Matrix
    bases: list[Matrix]
    integers: Matrix | None
    """Whole numbers, this core times a scale; the bases are fractions then."""

    def whole(self, factors: list[Matrix]) -> list[Matrix]:
        """Factors of the tensor from those of the core; of floats, floats."""
        exact = factors[0].dtype == object or self.integers is None
        bases = self.bases if exact else [u.astype(np.float64) for u in self.bases]
        return [u @ f for u, f in zip(bases, factors, strict=True)]


def search(
    target: Target, bounds: tuple[Bound, ...], max_rank: int | None, seed: int
) -> tuple[list[Matrix], Diverging]:
    """Factors of a witness (of type ``Fraction`` if it is exact), and border-rank behavior below it."""
    shape = target.values.shape
    modes = long_modes(shape)
    sides = [shape[mode] for mode in modes]
    integers = None if target.integers is None else target.integers.reshape(sides)
    small = replace(target, values=target.values.reshape(sides), integers=integers)
    found, diverging = _search_long(small, bounds, max_rank, seed)
    return with_short(found, shape), diverging


def _search_long(
    target: Target, bounds: tuple[Bound, ...], max_rank: int | None, seed: int
) -> tuple[list[Matrix], Diverging]:
    lower = max(bound.value for bound in bounds)
    proven = max((bound.value for bound in bounds if bound.exact), default=0)
    border_lower = max(bound.value for bound in bounds if bound.kind == "border")
    if target.values.ndim == 2:
        return _matrix_factors(target), None
    tolerance = max(_witness.SOLVED, 10 * target.eps)
    if target.integers is None:
        fallback = fibers(target.values)
    else:
        fallback = [to_fractions(f) for f in fibers(to_fractions(target.integers) / target.scale)]
    core, diverging = _compress(target), None
    shape, size = core.values.shape, core.values.size
    most = fallback[0].shape[1] - 1
    generic = -(-size // (sum(shape) - len(shape) + 1)) + 1
    ranks = [*range(max(border_lower, 1), min(most, lower + _REACH if max_rank is None else max_rank) + 1)]
    if max_rank is None and ranks and ranks[-1] < generic <= most:
        ranks.append(generic)
    for rank in ranks:
        cost = step_cost(shape, rank)
        if cost > _STEP_COST:
            tried = rank <= lower and core.integers is None
            large = _large_fit(core.values, max(lower, 1), tolerance, seed) if tried else None
            return (fallback if large is None else core.whole(large)), diverging
        if rank < lower and diverging is not None:
            continue
        starts = int(np.clip(_RANK_COST / (300 * cost), 2, 24 if rank >= lower else 4))
        floats: list[Matrix] | None = None
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng([seed, rank, attempt])
            best = _fit(core.values, target, rank, rng, starts, tolerance)
            if best.diverging and diverging is None:
                diverging = rank, best.residual, best.largest
            if rank < proven or not best.solved:
                break
            if core.integers is None:
                return core.whole(best.factors), diverging
            rational = _witness.rationalize(core.values, core.integers, target.scale, best.factors)
            if rational is not None:
                return core.whole(rational), diverging
            floats = _to_rounding(target, core.whole(best.factors), tolerance) if floats is None else floats
            if attempt == _ATTEMPTS - 2 and (floats is None or not upper_proof(target, floats)):
                core = _finer(target, core)
        if floats is not None:
            return floats, diverging
    return fallback, diverging


def _to_rounding(target: Target, factors: list[Matrix], tolerance: float) -> list[Matrix] | None:
    """Factors near these that are the tensor to rounding: long bases enlarge what a core does not show."""
    if relative_residual(target.values, factors) <= tolerance:
        return factors
    core = _orthonormal(target)
    size = float(np.linalg.norm(core.values))
    share = size ** (-1 / core.values.ndim)
    start = [u.conj().T @ f * share for u, f in zip(core.bases, factors, strict=True)]
    if not all(np.all(np.isfinite(f)) for f in start):
        return None
    found, _ = descend(core.values / size, start, None, 0.0, 100)
    factors = core.whole([f / share for f in found])
    return factors if relative_residual(target.values, factors) <= tolerance else None


def _large_fit(core: Matrix, rank: int, tolerance: float, seed: int) -> list[Matrix] | None:
    """A witness with as many components as the lower bound, of a core too large for the search."""
    size = float(np.linalg.norm(core))
    found = fit_rank(core / size, rank, Options(starts=2, seed=seed))
    if found.error > tolerance or found.diverging:
        return None
    return [f * size ** (1 / core.ndim) for f in found.factors]


def _fit(
    core: Matrix, target: Target, rank: int, rng: np.random.Generator, starts: int, tolerance: float
) -> _witness.Fit:
    best = _witness.fit(core, rank, rng, starts, tolerance)
    if target.field == "complex" and not np.iscomplexobj(core) and not best.solved:
        best = _witness.fit(core.astype(np.complex128), rank, rng, starts, tolerance)
    return best


def _compress(target: Target) -> _Core:
    """Short coordinates, exactly, where that is small, else orthonormal ones."""
    if target.integers is not None:
        core, bases = exact_core(target.integers)
        if core.size <= _EXACT_CORE:
            return _exact(target, *short_core(core, bases))
    return _orthonormal(target)


def _finer(target: Target, core: _Core) -> _Core:
    assert core.integers is not None
    return _exact(target, *finer_core(core.integers, core.bases))


def _exact(target: Target, integers: Matrix, bases: list[Matrix]) -> _Core:
    return _Core((to_fractions(integers) / target.scale).astype(np.float64), bases, integers)


def _orthonormal(target: Target) -> _Core:
    core, bases = target.values, list[Matrix]()
    for mode, d in enumerate(core.shape):
        rows = np.moveaxis(target.values, mode, 0).reshape(d, -1)
        u, s, _ = host_svd(rows)
        u = u[:, : max(1, int(np.sum(s > 10 * max(rows.shape) * target.eps * s[0])))]
        core = np.moveaxis(np.tensordot(u.conj().T, core, axes=(1, mode)), 0, mode)
        bases.append(u)
    return _Core(core, bases, None)


def _matrix_factors(target: Target) -> list[Matrix]:
    """A matrix is its independent columns times the reduced rows, exactly; or by singular values."""
    if target.integers is not None and max(target.values.shape) <= _FRACTION_SIDE:
        pivots = pivots_modulo(target.integers, random_primes(0)[0])
        reduced, exact = row_reduce(target.integers)
        if exact == pivots:
            return [to_fractions(target.integers[:, pivots]) / target.scale, reduced[: len(pivots)].T]
    u, s, vt = host_svd(target.values)
    rank = int(np.sum(s > 10 * max(target.values.shape) * target.eps * s[0])) if s[0] > 0 else 0
    return [u[:, :rank] * s[:rank], vt[:rank].T]
