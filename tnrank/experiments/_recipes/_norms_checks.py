"""The claims of the norms-to-infinity recipe, computed from its runs and the exact flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments._outcome import Check
from tnrank.experiments._recipes._norms_runs import Measured
from tnrank.experiments._recipes._norms_starts import end_matrix
from tnrank.theory import NuclearNormResult, TwoByTwo

if TYPE_CHECKING:
    from tnrank.experiments._recipes._norms_to_infinity import NormsToInfinity
    from tnrank.theory import BalancedFlow

_LOW = 1e-2
"""The loss below which the laws are tested."""
_BAND = (0.97, 1.01)
_CLOSE = 0.02
_LONGEST = 1e7
"""Time of an exact flow, many times what those take that arrive: from some starts W22 gets the wrong sign for good."""


@dataclass(frozen=True, eq=False)
class Flow:
    """The exact balanced flow of one problem at one depth."""

    depth: int
    problem: TwoByTwo
    found: BalancedFlow

    @property
    def entry(self) -> Any:
        """|W11|."""
        return abs(self.found.w[:, 0, 0])


def exact_flow(problem: TwoByTwo, depth: int, std: float, seed: int, last: float) -> Flow:
    """From the same start as the balanced run, down to the loss ``last``."""
    start = end_matrix(2, std, seed, problem.sign)
    losses = np.geomspace(0.4, last, 60)
    reached = losses[losses < problem.loss(start)].tolist()
    return Flow(depth, problem, problem.balanced_flow(depth, start, reached, max_time=_LONGEST))


def checks_of(
    recipe: NormsToInfinity,
    runs: Sequence[Measured],
    bounded: Sequence[Measured],
    control: Measured,
    larger: Measured,
    flows: Sequence[Flow],
    perturbed: Sequence[Flow],
    convex: NuclearNormResult,
) -> list[Check]:
    """All claims; the first of ``flows`` is that of depth 2."""
    return [
        *(check for depth in recipe.depths if depth > 2 for check in _law(recipe, depth, runs)),
        _exact(flows[0]),
        _lower_bound(runs),
        *_bounded_entries(bounded, perturbed, recipe.bounded_stop_loss),
        _stays(control, recipe.bounded_stop_loss),
        _convex_stays(convex),
        _larger_law(larger),
    ]


def _wanted(recipe: NormsToInfinity, depth: int, runs: Sequence[Measured]) -> tuple[list[Measured], int]:
    """The runs that the law is tested on, balanced ones first, and how many of them started at random."""
    here = [run for run in runs if run.plan.depth == depth]
    smallest = min(recipe.scales(depth)[0])
    balanced = [run for run in here if run.plan.balanced]
    random = [run for run in here if not run.plan.balanced and run.plan.std == smallest and run.keeps_sign]
    return balanced + random, len(random)


def _law(recipe: NormsToInfinity, depth: int, runs: Sequence[Measured]) -> list[Check]:
    wanted, random = _wanted(recipe, depth, runs)
    found = np.concatenate([run.products(_LOW) for run in wanted])
    reached = all(run.loss[-1] < min(_LOW, 1.01 * recipe.stop_loss) for run in wanted)
    ranks = np.concatenate([run.effective_rank[run.loss < _LOW] for run in wanted])
    positive = [run.keeps_sign for run in wanted]
    whose = f"the balanced runs and the {'one' if random == 1 else random} from small weights at random"
    return [
        Check(
            f"depth {depth}: the determinant stays positive if balanced, and from small random weights",
            f"{sum(positive)} of {len(positive)} runs, {random} of them from random weights",
            all(positive) and random > 0,
        ),
        Check(
            f"depth {depth}: |W11| sqrt(2 loss) is in [{_BAND[0]}, {_BAND[1]}] below a loss of {_LOW:g}",
            f"{_range(found)} in {whose}, to a loss of {max(run.loss[-1] for run in wanted):.1e}",
            reached and bool(len(found)) and _BAND[0] <= found.min() and found.max() <= _BAND[1],
        ),
        Check(
            f"depth {depth}: the effective rank is within 0.01 of 1 there",
            f"at most {ranks.max(initial=0.0):.5f}",
            reached and bool(len(ranks)) and bool((abs(ranks - 1) <= 0.01).all()),
        ),
    ]


def _exact(flow: Flow) -> Check:
    low = flow.found.loss < _LOW
    found = flow.entry[low] * np.sqrt(2 * flow.found.loss[low])
    return Check(
        f"depth {flow.depth}, exact balanced flow: the same band, and the effective rank within 0.01 of 1",
        f"{_range(found)}, log det down to {flow.found.log_det.min():,.0f}",
        bool(len(found))
        and _BAND[0] <= found.min()
        and found.max() <= _BAND[1]
        and bool((abs(flow.found.effective_rank[low] - 1) <= 0.01).all()),
    )


def _lower_bound(runs: Sequence[Measured]) -> Check:
    """Theory's bound holds step by step, for whatever start, as long as the determinant is positive."""
    margins = [
        entry / bound
        for run in runs
        for entry, loss, det in zip(run.entry, run.loss, run.determinant, strict=True)
        if det > 0 and (bound := run.plan.problem.entry_lower_bound(float(loss))) > 0
    ]
    least = min(margins, default=float("nan"))
    return Check(
        "no run with a positive determinant is below the lower bound (1 - s)^2 / s of |W11|, s = sqrt(2 loss)",
        f"at least {least:.4f} of it at {len(margins):,} recorded steps",
        bool(margins) and least >= 1,
    )


def _bounded_entries(bounded: Sequence[Measured], flows: Sequence[Flow], last: float) -> list[Check]:
    trained = {run.plan.problem.w22: run.entry[-1] * run.plan.problem.w22 for run in bounded}
    exact = {flow.problem.w22: float(flow.entry[-1]) * flow.problem.w22 for flow in flows if len(flow.entry)}
    arrived = (
        all(run.loss[-1] < 1.01 * last for run in bounded),
        all(len(flow.entry) and flow.found.loss[-1] < 1.01 * last for flow in flows),
    )
    found = []
    for what, shares, done in (("gradient descent", trained, arrived[0]), ("the exact flow", exact, arrived[1])):
        if shares:
            found.append(
                Check(
                    f"perturbed observations, {what}: |W11| ends within {_CLOSE:.0%} of |W12 W21 / W22|",
                    ", ".join(f"{share / e:.2f} of {1 / e:g}" for e, share in shares.items()),
                    done and all(abs(share - 1) <= _CLOSE for share in shares.values()),
                )
            )
    return found


def _stays(control: Measured, last: float) -> Check:
    before, end = control.at(1e-4), float(control.entry[-1])
    return Check(
        "control, a start of negative determinant: |W11| changes by less than 2 % below a loss of 1e-4",
        f"{before:.2f} to {end:.2f} at a loss of {control.loss[-1]:.1e}",
        control.keeps_sign and control.loss[-1] < 1.01 * last and abs(end / before - 1) < 0.02,
    )


def _convex_stays(convex: NuclearNormResult) -> Check:
    return Check(
        "the solution of minimal nuclear norm has W11 = 0 and nuclear norm 2",
        f"W11 = {convex.matrix[0, 0]:.1e}, nuclear norm {convex.objective:.9f}, duality gap {convex.gap:.1e}",
        bool(abs(convex.matrix[0, 0]) < 1e-6 and abs(convex.objective - 2) < 1e-6),
    )


def _larger_law(run: Measured) -> Check:
    found, d = run.products(_LOW), run.matrix.shape[1]
    return Check(
        f"{d} x {d}: |W11| sqrt(2 loss) is in the same band, the determinant stays positive",
        f"{_range(found)}, to a loss of {run.loss[-1]:.1e}; smallest singular value {run.singular_values[-1, -1]:.1e}",
        run.keeps_sign and bool(len(found)) and _BAND[0] <= found.min() and found.max() <= _BAND[1],
    )


def _range(found: Any) -> str:
    return f"{found.min():.4f} to {found.max():.4f}" if len(found) else "never there"
