"""The claims of the tensor-completion recipe, each computed from its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tnrank.experiments._outcome import Check
from tnrank.experiments._recipes._tensor_completion_runs import Baseline, Continued, Fitted, quartiles

if TYPE_CHECKING:
    from tnrank.experiments._recipes._tensor_completion import TensorCompletion

_REPETITIONS = 10
_ACCURATE, _ACCURATE_4 = 1e-5, 5e-5
_REBOUND = 100.0
_FEW_3, _FEW_4 = 100, 1000
"""From how many observations on the claims about smaller initial weights and about order 4 are made."""


def checks_of(
    recipe: TensorCompletion, fitted: Sequence[Fitted], baselines: Sequence[Baseline], continued: Continued | None
) -> list[Check]:
    small, large, count = min(recipe.stds), max(recipe.stds), recipe.claim_count
    checks = list[Check]()
    if 3 in recipe.orders:
        where = f"order 3, {count} observations, std {small:g}"
        chosen = [f for f in fitted if (f.order, f.count, f.std) == (3, count, small)]
        median = quartiles(f.error for f in chosen)[1]
        ranks = sorted({f.cp_rank for f in chosen})
        reached = sum(f.reached for f in chosen)
        checks += [
            Check(
                f"{where}: the median error of {_REPETITIONS} repetitions or more is under {_ACCURATE:g}",
                f"{median:.1e} of {len(chosen)}; {reached} reached a loss of {recipe.stop_loss:g}",
                len(chosen) >= _REPETITIONS and median < _ACCURATE,
            ),
            Check(
                f"{where}: all have the CP rank of the target",
                f"CP rank {', '.join(map(str, ranks)) or 'not measured'}",
                ranks == [recipe.target_rank],
            ),
            _rebounds(where, continued),
        ]
        several = small < large
        if several:
            checks.append(_smaller_is_better(recipe, fitted))
    for order in recipe.orders:
        checks.append(_beats_zeros(recipe, order, fitted, baselines))
    if 4 in recipe.orders:
        checks.append(_order_4(recipe, fitted))
    return checks


def _rebounds(where: str, continued: Continued | None) -> Check:
    claim = f"{where}: training on past the lowest loss makes the median error {_REBOUND:g} times larger or more"
    if continued is None:
        return Check(claim, "not measured", False)
    lowest, end = float(np.median(continued.at_lowest)), float(np.median(continued.errors[:, -1]))
    told = f"{lowest:.1e} at the lowest loss, {end:.1e} at step {int(continued.steps[-1]):,}"
    return Check(claim, told, lowest < _ACCURATE and end >= _REBOUND * lowest)


def _medians(fitted: Sequence[Fitted], order: int, std: float, least: int) -> dict[int, float]:
    chosen = [f for f in fitted if (f.order, f.std) == (order, std) and f.count >= least]
    return {
        count: quartiles(f.error for f in chosen if f.count == count)[1] for count in sorted({f.count for f in chosen})
    }


def _smaller_is_better(recipe: TensorCompletion, fitted: Sequence[Fitted]) -> Check:
    small, large = min(recipe.stds), max(recipe.stds)
    a, b = _medians(fitted, 3, small, _FEW_3), _medians(fitted, 3, large, _FEW_3)
    factors = [b[count] / a[count] for count in a]
    return Check(
        f"order 3, from {_FEW_3} observations on: std {small:g} has a lower median error than std {large:g}",
        f"by factors of {min(factors):.1f} to {max(factors):.0f}" if factors else "not measured",
        bool(factors) and min(factors) > 1,
    )


def _beats_zeros(
    recipe: TensorCompletion, order: int, fitted: Sequence[Fitted], baselines: Sequence[Baseline]
) -> Check:
    """Between few entries, from which nothing can be told, and all of them."""
    least, most = (_FEW_3 if order == 3 else _FEW_4), 0.9 * recipe.dimension**order
    small = min(recipe.stds)
    counts = sorted({b.count for b in baselines if b.order == order and least <= b.count <= most})
    told, holds = [], bool(counts)
    for count in counts:
        ours = [f for f in fitted if (f.order, f.count, f.std) == (order, count, small)]
        zeros = [b for b in baselines if (b.order, b.count) == (order, count)]
        errors = quartiles(f.error for f in ours)[1], quartiles(b.error for b in zeros)[1]
        ranks = quartiles(f.cp_rank for f in ours)[1], quartiles(b.cp_rank for b in zeros)[1]
        told.append((errors[1] / errors[0], ranks))
        holds = holds and errors[0] < 0.1 * errors[1] and ranks[0] < ranks[1]
    measured = "not measured"
    if told:
        factor, (own, other) = min(told, key=lambda one: one[0])
        measured = f"at least {factor:.0f} times lower; CP rank {own:g} against {other:g} there"
    claim = f"order {order}, from {least:,} observations on: error below a tenth of zero-filling's, and a lower CP rank"
    return Check(claim, measured, holds)


def _order_4(recipe: TensorCompletion, fitted: Sequence[Fitted]) -> Check:
    small = min(recipe.stds)
    medians = _medians(fitted, 4, small, _FEW_4)
    ranks = [f.cp_rank for f in fitted if (f.order, f.std) == (4, small) and f.count >= _FEW_4]
    worst = max(medians.values(), default=np.nan)
    return Check(
        f"order 4, from {_FEW_4:,} observations on, std {small:g}: median errors under {_ACCURATE_4:g} and the CP rank "
        "of the target",
        f"at most {worst:.1e}; CP ranks {', '.join(map(str, sorted(set(ranks)))) or 'not measured'}",
        worst < _ACCURATE_4 and set(ranks) == {recipe.target_rank},
    )
