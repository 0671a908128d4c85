"""What is measured of completed tensors, and claimed: the fewest components that fit them, quartiles, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import generator
from tnrank.experiments.kit import Check
from tnrank.factorizations._cp_fit import _starts
from tnrank.factorizations._cp_fit._als import HostArray, als

if TYPE_CHECKING:
    from tnrank.experiments.recipes.tensor_completion import TensorCompletion

Found = Sequence[Mapping[str, Any]]
"""Trained factorizations and baselines, the latter with :data:`ZEROS` as their ``std``."""
ZEROS = "zeros"

_SWEEPS, _ROUNDS = 50, 6
_SLOW = 1e-4  # a start is given up when a sweep lowers its error by less than this share

_REPETITIONS, _REBOUND = 10, 100.0
_ACCURATE = {3: 1e-5, 4: 5e-5}  # order -> what median errors are under
_FEW = {3: 100, 4: 1000}  # order -> from how many observations on claims about several numbers of them are made


def fewest_components(tensor: Any, tolerance: float = 1e-6, seed: int = 0) -> int:
    """The fewest components of a CP fit by alternating least squares whose mean squared entry error is small enough.

    It counts up from the least that the singular values of the matricizations allow; each fit begins where the last
    one ended, with one more component for what that left, and then at random. So nothing is assumed about fits of
    other ranks, and the result is an upper bound that a longer search may lower.

    Args:
        tensor: ``(d_1, .., d_N)``, N >= 3, finite.
        tolerance: of the mean squared error, absolute.
        seed: of the random starts.

    Returns:
        0 for a tensor whose own mean square is below the tolerance.

    Source: Razin & Cohen 2020, App. (the measure of tensor rank).
    """
    dense = np.asarray(tensor, np.float64)
    norm = float(np.linalg.norm(dense))
    allowed = np.sqrt(tolerance * dense.size)
    if norm < allowed:
        return 0
    unit, target = dense / norm, float(allowed / norm)
    rng = generator(seed)
    most = int(dense.size // max(dense.shape))
    rank = min(most, max(1, int(np.argmax(_starts.error_floors(unit) <= target))))
    factors = _starts.singular_vectors(rng, unit, rank)
    # Any tensor is a sum of that many of its fibers.
    while rank < most:
        factors, error = _fit(unit, factors, target)
        if error <= target or _fit(unit, _starts.random(rng, unit, rank), target)[1] <= target:
            break
        rank += 1
        factors = _starts.extended(rng, unit, factors, rank)
    return rank


def _fit(tensor: HostArray, factors: list[HostArray], target: float) -> tuple[list[HostArray], float]:
    """Sweeps until the error is below the target, or falls no more."""
    error = np.inf
    for _ in range(_ROUNDS):
        before = error
        factors, error = als(tensor, factors, _SWEEPS, _SLOW)
        if error <= target or error > (1 - _SLOW) * before:
            break
    return factors, error


def measured(found: Found, quantity: str, **of: Any) -> list[Any]:
    """Of all that is ``of``, where it was measured."""
    return [one[quantity] for one in found if of.items() <= one.items() and one[quantity] is not None]


def counts_of(found: Found, order: int) -> list[int]:
    """Numbers of observed entries at an order."""
    return sorted({*measured(found, "count", order=order)})


def quartiles(found: Found, quantity: str, **of: Any) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile; NaN of nothing."""
    low, middle, high = np.quantile(measured(found, quantity, **of) or [np.nan], (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def rebound(continued: Mapping[str, Any]) -> tuple[float, float]:
    """Median errors at the lowest loss of each run, and at its end."""
    errors, at = continued["error"], np.argmin(continued["loss"], axis=1)
    return float(np.median(errors[np.arange(len(errors)), at])), float(np.median(errors[:, -1]))


def claims(recipe: TensorCompletion, found: Found, continued: Mapping[str, Any] | None) -> list[Check]:
    checks = _recovers(recipe, found, continued) if 3 in recipe.orders else []
    if 3 in recipe.orders and min(recipe.stds) < max(recipe.stds):
        checks.append(_smaller_is_better(recipe, found))
    checks += [_beats_zeros(recipe, found, order) for order in recipe.orders]
    return [*checks, _order_4(recipe, found)] if 4 in recipe.orders else checks


def _recovers(recipe: TensorCompletion, found: Found, continued: Mapping[str, Any] | None) -> list[Check]:
    small, count = min(recipe.stds), recipe.claim_count
    where, cell = f"order 3, {count} observations, std {small:g}", {"order": 3, "count": count, "std": small}
    median, repetitions = quartiles(found, "error", **cell)[1], len(measured(found, "error", **cell))
    ranks, reached = sorted({*measured(found, "cp_rank", **cell)}), sum(measured(found, "reached", **cell))
    checks = [
        Check(
            f"{where}: the median error of {_REPETITIONS} repetitions or more is under {_ACCURATE[3]:g}",
            f"{median:.1e} of {repetitions}; {reached} reached a loss of {recipe.stop_loss:g}",
            repetitions >= _REPETITIONS and median < _ACCURATE[3],
        ),
        Check(
            f"{where}: all have the CP rank of the target",
            f"CP rank {', '.join(map(str, ranks)) or 'not measured'}",
            ranks == [recipe.target_rank],
        ),
    ]
    claim = f"{where}: training on past the lowest loss makes the median error {_REBOUND:g} times larger or more"
    if continued is None:
        return [*checks, Check(claim, "not measured", False)]
    lowest, end = rebound(continued)
    told = f"{lowest:.1e} at the lowest loss, {end:.1e} at step {int(continued['steps'][-1]):,}"
    return [*checks, Check(claim, told, lowest < _ACCURATE[3] and end >= _REBOUND * lowest)]


def _medians(found: Found, order: int, std: float) -> list[float]:
    counts = [count for count in counts_of(found, order) if count >= _FEW[order]]
    return [quartiles(found, "error", order=order, std=std, count=count)[1] for count in counts]


def _smaller_is_better(recipe: TensorCompletion, found: Found) -> Check:
    small, large = min(recipe.stds), max(recipe.stds)
    factors = [b / a for a, b in zip(*(_medians(found, 3, std) for std in (small, large)), strict=True)]
    return Check(
        f"order 3, from {_FEW[3]} observations on: std {small:g} has a lower median error than std {large:g}",
        f"by factors of {min(factors):.1f} to {max(factors):.0f}" if factors else "not measured",
        bool(factors) and min(factors) > 1,
    )


def _beats_zeros(recipe: TensorCompletion, found: Found, order: int) -> Check:
    """Between few entries, from which nothing can be told, and all of them."""
    counts = [n for n in counts_of(found, order) if _FEW[order] <= n <= 0.9 * recipe.dimension**order]
    shown, holds = [], bool(counts)
    for count in counts:
        cells = [{"order": order, "count": count, "std": std} for std in (min(recipe.stds), ZEROS)]
        errors, ranks = ([quartiles(found, what, **cell)[1] for cell in cells] for what in ("error", "cp_rank"))
        shown.append((errors[1] / errors[0], ranks))
        holds = holds and errors[0] < 0.1 * errors[1] and ranks[0] < ranks[1]
    told = "not measured"
    if shown:
        factor, (own, other) = min(shown, key=lambda one: one[0])
        told = f"at least {factor:.0f} times lower; CP rank {own:g} against {other:g} there"
    what = f"from {_FEW[order]:,} observations on: error below a tenth of zero-filling's, and a lower CP rank"
    return Check(f"order {order}, {what}", told, holds)


def _order_4(recipe: TensorCompletion, found: Found) -> Check:
    small, many = min(recipe.stds), [one for one in found if one["count"] >= _FEW[4]]
    ranks = sorted({*measured(many, "cp_rank", order=4, std=small)})
    worst = max(_medians(found, 4, small), default=np.nan)
    return Check(
        f"order 4, from {_FEW[4]:,} observations on, std {small:g}: median errors under {_ACCURATE[4]:g} and the CP "
        "rank of the target",
        f"at most {worst:.1e}; CP ranks {', '.join(map(str, ranks)) or 'not measured'}",
        worst < _ACCURATE[4] and ranks == [recipe.target_rank],
    )
