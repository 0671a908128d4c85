"""Tensor (CP) rank: lower bounds of rank and border rank, a witness from above, and a certificate of both."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from tnrank.factorizations import CPFactorization
from tnrank.factorizations._cp_fit._fit import Options, fit_rank
from tnrank.factorizations._cp_fit._lm import step_cost
from tnrank.factorizations._cp_fit._starts import fibers
from tnrank.linalg import default_rtol
from tnrank.ranks._certified import _witness
from tnrank.ranks._certified._border_bounds import Bound, Target
from tnrank.ranks._certified._certificate import Certificate
from tnrank.ranks._certified._check import CheckedBound, relative_residual, upper_proof, witness_name
from tnrank.ranks._certified._exact import (
    Matrix,
    exact_core,
    integers_of,
    pivots_modulo,
    random_primes,
    row_reduce,
    to_fractions,
)
from tnrank.ranks._certified._rank_bounds import all_bounds
from tnrank.ranks._certified._show import bound_lines, headline
from tnrank.ranks._input import read_tensor

_REACH = 8
_STEP_COST, _RANK_COST = 2e8, 1e10
_FRACTION_SIDE = 48
_EXACT_CORE = 1024
_LARGEST = 1e100


@dataclass(frozen=True)
class TensorRank:
    """What :func:`tensor_rank` found: ``lower <= rank <= upper``. ``print`` shows a table."""

    shape: tuple[int, ...]
    field: str
    lower: int
    """The largest of all lower bounds."""
    border_lower: int
    """The largest of those that bound the border rank too."""
    border_upper: int
    """The fewest components that were seen to come close to the tensor; ``upper`` unless they diverge."""
    upper: int
    """The components of the witness."""
    witness: CPFactorization
    residual: float
    """Relative distance of the witness to the tensor; 0 for one that is exact."""
    exact: bool
    """Whether the best lower bound and the upper bound are proofs, free of rounding."""
    upper_proof: str
    """What proves the upper bound: a ``"rational"`` witness, a ``"real"`` one that exists near the float one, or ""."""
    bounds: tuple[Bound, ...]
    diverging: tuple[int, float, float] | None
    """Border-rank behavior: the components, the residual they reach and the largest, relative to the tensor."""
    certificate: Certificate = dataclasses.field(repr=False, compare=False)

    @property
    def settled(self) -> bool:
        """Whether the rank is known: the lower bound meets the witness."""
        return self.lower == self.upper

    @property
    def border_settled(self) -> bool:
        """Whether the border rank is known; numerically where :attr:`diverging` is not ``None``."""
        return self.border_lower == self.border_upper

    def __str__(self) -> str:
        border = f"{self.border_lower}" if self.border_settled else f"{self.border_lower} .. {self.border_upper}"
        below = any(b.exact and b.value == self.lower for b in self.bounds)
        checked = [
            CheckedBound(
                b.name,
                "border rank" if b.kind == "border" else "rank",
                "lower",
                b.value,
                "proven" if b.exact else "numerical",
                b.margin,
                b.reference,
            )
            for b in self.bounds
        ]
        above = "proven" if self.upper_proof else "numerical"
        name = witness_name(self.upper_proof, self.residual)
        checked.append(CheckedBound(name, "rank", "upper", self.upper, above, None, ""))
        lines = [
            headline(self.lower, self.upper, self.field, below, self.upper_proof, self.residual, border),
            f"shape {' x '.join(map(str, self.shape))}",
            "",
            *bound_lines(checked),
        ]
        if below and not self.upper_proof:
            lines += ["", "another start may lead to a witness that is a proof: tensor_rank(x, seed=1), 2, .."]
        if self.diverging is not None:
            r, residual, largest = self.diverging
            lines += [
                "",
                f"border-rank behavior: {r} components come within {residual:.0e} of the tensor while they grow to "
                f"{largest:.0f} times its norm and cancel",
            ]
        return "\n".join(lines)


def tensor_rank(x: Any, field: str = "real", max_rank: int | None = None, seed: int = 0) -> TensorRank:
    """Bound the tensor (CP) rank from below and above, with a certificate.

    Args:
        x: array of order N >= 2 of any backend, a factorization, or a NumPy array of ``Fraction`` objects.
        field: ``"real"`` or ``"complex"``: where the components may come from.
        max_rank: the most components to search a witness with; ``None`` is eight above the lower bound, and the
            generic rank. Without a witness the fibers of the tensor are one.
        seed: of primes, projections and starts.

    Returns:
        A :class:`TensorRank`. For integers and rationals with small denominators the lower bounds are proofs.

    Raises:
        TypeError: if ``x`` holds no numbers.
        ValueError: for another field, a complex tensor over the reals, a ``max_rank`` below 1, or ``x`` of order
            0 or 1, with an empty mode, an entry that is not finite or entries beyond 1e100.

    Source: Landsberg 2012, *Tensors: Geometry and Applications*; each bound names its own.

    Example:
        >>> import numpy as np, tnrank
        >>> w = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])
        >>> found = tnrank.tensor_rank(w)
        >>> found.lower, found.upper, found.border_lower, found.settled, found.exact
        (3, 3, 2, True, True)
    """
    if max_rank is not None and max_rank < 1:
        raise ValueError(f"max_rank is {max_rank}: needed at least 1 component, or None")
    target = _read(x, field)
    bounds = all_bounds(target, seed)
    lower = max(bound.value for bound in bounds)
    border_lower = max(bound.value for bound in bounds if bound.kind == "border")
    factors, diverging = _search(target, border_lower, lower, max_rank, seed)
    exact = factors[0].dtype == object
    floats = [f.astype(np.float64) for f in factors] if exact else factors
    residual = 0.0 if exact else relative_residual(target.values, floats)
    upper = int(factors[0].shape[1])
    above = upper_proof(target, factors)
    proof = any(bound.exact and bound.value == lower for bound in bounds)
    return TensorRank(
        shape=tuple(target.values.shape),
        field=field,
        lower=lower,
        border_lower=border_lower,
        border_upper=upper if diverging is None else min(upper, diverging[0]),
        upper=upper,
        witness=CPFactorization(floats),
        residual=residual,
        exact=bool(above) and proof,
        upper_proof=above,
        bounds=bounds,
        diverging=diverging,
        certificate=Certificate.of(target, bounds, factors, residual),
    )


def _read(x: Any, field: str) -> Target:
    if field not in ("real", "complex"):
        raise ValueError(f"field is {field!r}: needed 'real' or 'complex'")
    given = None
    if isinstance(x, np.ndarray) and x.dtype == object:
        try:
            given, x = integers_of(x), x.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise TypeError(f"got an array of objects that are no fractions ({error}): needed numbers") from None
    found = read_tensor(x)
    values = np.asarray(found.backend.to_numpy(found.array))
    if found.given == "array" and (raw := np.asarray(found.backend.to_numpy(x))).dtype.kind in "iub":
        values, given = raw, integers_of(raw)  # a default float of 32 bits would round them
    values = values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
    if np.iscomplexobj(values) and not np.any(values.imag):
        values = values.real.copy()
    if np.iscomplexobj(values) and field == "real":
        raise ValueError("got a complex tensor, whose rank over the reals is not defined: pass field='complex'")
    size = float(np.max(np.abs(values)))
    if size and not 1 / _LARGEST < size < _LARGEST:
        raise ValueError(
            f"the largest entry is {size:.0e} in absolute value, needed one between {1 / _LARGEST:.0e} and "
            f"{_LARGEST:.0e}: rescale the tensor, its rank stays"
        )
    if given is None:
        given = integers_of(values)
    if given is not None:
        return Target(values, given[0], given[1], field, float(np.finfo(np.float64).eps))
    return Target(values, None, 1, field, default_rtol((1, 1), found.dtype))


Diverging = tuple[int, float, float] | None


def _search(
    target: Target, border_lower: int, lower: int, max_rank: int | None, seed: int
) -> tuple[list[Matrix], Diverging]:
    """Factors of a witness (of type ``Fraction`` if it is exact), and border-rank behavior below it."""
    if target.values.ndim == 2:
        return _matrix_factors(target), None
    tolerance = max(_witness.SOLVED, 10 * target.eps)
    if target.integers is None:
        fallback = fibers(target.values)
    else:
        fallback = [to_fractions(f) for f in fibers(to_fractions(target.integers) / target.scale)]
    core, bases = _compress(target)
    inner = None if bases[0].dtype != object else integers_of(core)
    core = core.astype(np.float64) if inner is not None else core
    most = fallback[0].shape[1] - 1
    generic = -(-core.size // (sum(core.shape) - core.ndim + 1)) + 1
    ranks = [*range(max(border_lower, 1), min(most, lower + _REACH if max_rank is None else max_rank) + 1)]
    if max_rank is None and ranks and ranks[-1] < generic <= most:
        ranks.append(generic)
    diverging: Diverging = None
    for rank in ranks:
        cost = step_cost(core.shape, rank)
        if cost > _STEP_COST:
            large = _large_fit(core, max(lower, 1), tolerance, seed) if rank <= lower and inner is None else None
            return (fallback if large is None else [u @ f for u, f in zip(bases, large, strict=True)]), diverging
        if rank < lower and diverging is not None:
            continue
        starts = int(np.clip(_RANK_COST / (300 * cost), 2, 24 if rank >= lower else 4))
        for attempt in count():
            rng = np.random.default_rng([seed, rank, attempt])
            best = _fit(core, target, rank, rng, starts, tolerance)
            if best.diverging and diverging is None:
                diverging = rank, best.residual, best.largest
            if rank < lower or not best.solved:
                break
            if target.integers is None or inner is None:
                return [u @ f for u, f in zip(bases, best.factors, strict=True)], diverging
            rational = _witness.rationalize(core, *inner, best.factors)
            if rational is not None or attempt == 2:
                factors = best.factors if rational is None else rational
                bases = [u.astype(np.float64) for u in bases] if rational is None else bases
                return [u @ f for u, f in zip(bases, factors, strict=True)], diverging
    return fallback, diverging


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


def _compress(target: Target) -> tuple[Matrix, list[Matrix]]:
    """A core and bases: independent slices and fractions where that is exact and small, else orthonormal ones."""
    if target.integers is not None:
        core, bases = exact_core(target.integers)
        if core.size <= _EXACT_CORE:
            return to_fractions(core) / target.scale, bases
    core, bases = target.values, list[Matrix]()
    for mode, d in enumerate(core.shape):
        rows = np.moveaxis(target.values, mode, 0).reshape(d, -1)
        u, s, _ = np.linalg.svd(rows, full_matrices=False)
        u = u[:, : max(1, int(np.sum(s > 10 * max(rows.shape) * target.eps * s[0])))]
        core = np.moveaxis(np.tensordot(u.conj().T, core, axes=(1, mode)), 0, mode)
        bases.append(u)
    return core, bases


def _matrix_factors(target: Target) -> list[Matrix]:
    """A matrix is its independent columns times the reduced rows, exactly; or by singular values."""
    if target.integers is not None and max(target.values.shape) <= _FRACTION_SIDE:
        pivots = pivots_modulo(target.integers, random_primes(0)[0])
        reduced, exact = row_reduce(target.integers)
        if exact == pivots:
            return [to_fractions(target.integers[:, pivots]) / target.scale, reduced[: len(pivots)].T]
    u, s, vt = np.linalg.svd(target.values, full_matrices=False)
    rank = int(np.sum(s > 10 * max(target.values.shape) * target.eps * s[0])) if s[0] > 0 else 0
    return [u[:, :rank] * s[:rank], vt[:rank].T]
