"""The norms-to-infinity recipe's numbers: what was measured, beside what was published, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipes._norms_runs import Measured
from tnrank.experiments._recipes._norms_starts import end_matrix
from tnrank.plots import NormCurve, NormPanel, norms_to_infinity
from tnrank.theory import NuclearNormResult, TwoByTwo, minimum_nuclear_norm

if TYPE_CHECKING:
    from tnrank.experiments._recipes._norms_to_infinity import NormsToInfinity
    from tnrank.theory import BalancedFlow

_LOW = 1e-2
"""The loss below which the laws are tested."""
_BAND = (0.97, 1.01)
_MARKS = (1.3e-2, 1.3e-3, 1.3e-4)
# |W11| at the end of the runs of the published figure: smaller and larger scale, at random and balanced
_PUBLISHED = {
    (2, 1e-5, False): "0.7",
    (2, 1e-5, True): "6.9",
    (2, 1e-6, False): "1.2",
    (2, 1e-6, True): "7.2",
    (3, 1e-5, False): "43",
    (4, 1e-3, False): "57 to 59",
}
_PUBLISHED_CURVE = "6.05, 19.5, 62"
_CLOSE = 0.02


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
    return Flow(depth, problem, problem.balanced_flow(depth, start, losses[losses < problem.loss(start)].tolist()))


def outcome(
    recipe: NormsToInfinity, runs: Sequence[Measured], bounded: Sequence[Measured], control: Measured, larger: Measured
) -> Outcome:
    """Figure, tables, checks and summary."""
    problem, std, seed = TwoByTwo(), recipe.stds[0], recipe.seed
    depths = sorted({2, *recipe.depths})
    flows = [exact_flow(problem, d, recipe.scales(d)[0][0], seed, recipe.stop_loss) for d in depths]
    perturbed = [
        exact_flow(TwoByTwo(-2.0, 0.5, e), 3, std, seed, recipe.bounded_stop_loss) for e in recipe.flow_perturbations
    ]
    observed = ([[0, 1], [1, 0], [1, 1]], [problem.w12, problem.w21, problem.w22])
    convex = minimum_nuclear_norm((2, 2), *observed)
    changed = [run.plan.name for run in runs if not run.keeps_sign]
    checks = [
        *(check for depth in recipe.depths if depth > 2 for check in _law(recipe, depth, runs)),
        _exact(flows[0]),
        _lower_bound(runs),
        *_bounded_entries(bounded, perturbed, recipe.bounded_stop_loss),
        _stays(control, recipe.bounded_stop_loss),
        _convex_stays(convex),
        _larger_law(larger),
    ]
    everything = [*runs, *bounded, control, larger]
    summary = {
        "runs": {run.plan.name: _summary(run) for run in everything},
        "sign_changes": changed,
        "exact_flow": {
            f"depth {f.depth}": {"loss": f.found.loss, "w11": f.entry, "log_det": f.found.log_det} for f in flows
        },
        "minimal_nuclear_norm": {"w11": float(convex.matrix[0, 0]), "nuclear_norm": convex.objective},
    }
    tables = [_run_table(runs), _flow_table(flows), _bounded_table(bounded, perturbed, control, convex)]
    return Outcome(summary, tables, checks, _figure(recipe, runs, flows, bounded, perturbed, control, larger))


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
    exact = {flow.problem.w22: float(flow.entry[-1]) * flow.problem.w22 for flow in flows}
    done = all(run.loss[-1] < 1.01 * last for run in bounded) and all(f.found.loss[-1] < 1.01 * last for f in flows)
    found = []
    for what, shares in (("gradient descent", trained), ("the exact flow", exact)):
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


def _summary(run: Measured) -> dict[str, Any]:
    return {
        "depth": run.plan.depth,
        "balanced": run.plan.balanced,
        "std": run.plan.std,
        "learning_rate": run.plan.rate,
        "status": run.status,
        "steps": run.steps,
        "loss": float(run.loss[-1]),
        "w11": float(run.matrix[-1, 0, 0]),
        "w11_at": {f"{level:g}": run.at(level) for level in _MARKS},
        "determinant_keeps_its_sign": run.keeps_sign,
        "loss_at_sign_change": run.crossing,
        "effective_rank": float(run.effective_rank[-1]),
        "nuclear_norm": float(run.singular_values[-1].sum()),
        "frobenius_norm": float(np.linalg.norm(run.singular_values[-1])),
    }


def _run_table(runs: Sequence[Measured]) -> Table:
    rows = []
    for run in runs:
        plan = run.plan
        start = f"{'balanced' if plan.balanced else 'random'} {plan.std:g}"
        follows = plan.depth > 2 and (plan.depth, plan.std, plan.balanced) not in _PUBLISHED
        published = f"{_PUBLISHED_CURVE}; 70" if follows else _PUBLISHED.get((plan.depth, plan.std, plan.balanced), "")
        sign = "stays" if run.keeps_sign else f"lost at {run.crossing:.1e}"
        marks = ", ".join(f"{run.at(level):.3g}" for level in _MARKS if run.loss[-1] < level)
        rows.append((str(plan.depth), start, f"{run.steps:,}", marks, f"{run.entry[-1]:.3g}", published, sign))
    columns = ("depth", "start", "steps", "at 1.3e-2, 1.3e-3, 1.3e-4", "end", "published", "det > 0")
    note = (
        "|W11| where the loss passes 1.3e-2, .. and at the end. Runs that lose the sign of their determinant are the "
        "control: they may flatten. At depth 2 balanced runs lose it to rounding, not to the flow."
    )
    return Table("Unobserved entry", columns, rows, note)


def _flow_table(flows: Sequence[Flow]) -> Table:
    rows = []
    for flow in flows:
        for k in np.flatnonzero(flow.found.loss < 0.05)[::8]:
            loss, entry = flow.found.loss[k], flow.entry[k]
            law = entry * np.sqrt(2 * loss)
            rows.append((str(flow.depth), f"{loss:.1e}", f"{entry:.4g}", f"{law:.4f}", f"{flow.found.log_det[k]:,.1f}"))
    return Table("Exact balanced flow", ("depth", "loss", "|W11|", "|W11| sqrt(2 loss)", "log det"), rows)


def _bounded_table(
    bounded: Sequence[Measured], flows: Sequence[Flow], control: Measured, convex: NuclearNormResult
) -> Table:
    trained = {run.plan.problem.w22: f"{run.entry[-1]:.3f}" for run in bounded}
    exact = {flow.problem.w22: f"{flow.entry[-1]:.3f}" for flow in flows}
    rows = [
        (f"W12 = -2, W21 = 0.5, W22 = {e:g}", trained.get(e, ""), exact.get(e, ""), f"{1 / e:g}")
        for e in sorted({*trained, *exact})
    ]
    rows.append(("start of negative determinant", f"{control.entry[-1]:.3f}", "", "converges"))
    rows.append(("minimal nuclear norm", f"{abs(convex.matrix[0, 0]):.3f}", "", "0"))
    return Table(
        "Where the entry is bounded: |W11| at the end", ("problem", "trained", "exact flow", "published"), rows
    )


def _figure(
    recipe: NormsToInfinity,
    runs: Sequence[Measured],
    flows: Sequence[Flow],
    bounded: Sequence[Measured],
    perturbed: Sequence[Flow],
    control: Measured,
    larger: Measured,
) -> Any:
    law = _bound(TwoByTwo(), recipe.stop_loss)
    panels = []
    for depth in recipe.depths:
        curves = [NormCurve(f.found.loss, f.entry, "exact balanced flow", "exact") for f in flows if f.depth == depth]
        for run in runs:
            if run.plan.depth == depth:
                label = f"{'balanced' if run.plan.balanced else 'random'}, {run.plan.std:g}"
                curves.append(NormCurve(run.loss, run.entry, label, "kept" if run.keeps_sign else "lost"))
        panels.append(NormPanel(f"depth {depth}", curves, law))
    curves = [NormCurve(larger.loss, larger.entry, f"balanced, {larger.plan.std:g}")]
    d = larger.matrix.shape[1]
    panels.append(NormPanel(f"{d} x {d}, depth 3", curves, law))
    curves = [
        NormCurve(f.found.loss, f.entry, f"W22 = {f.problem.w22:g}", "exact", 1 / f.problem.w22) for f in perturbed
    ]
    curves += [NormCurve(run.loss, run.entry, f"W22 = {run.plan.problem.w22:g}") for run in bounded]
    panels.append(NormPanel("perturbed: W12 = -2, W21 = 0.5", curves))
    curves = [NormCurve(control.loss, control.entry, "balanced, negative determinant")]
    panels.append(NormPanel("start of negative determinant", curves, _bound(TwoByTwo(), recipe.bounded_stop_loss)))
    return norms_to_infinity(panels)


def _bound(problem: TwoByTwo, last: float) -> tuple[Any, Any]:
    losses = np.geomspace(0.45, last, 200)
    return losses, np.asarray([problem.entry_lower_bound(float(loss)) for loss in losses])


def _range(found: Any) -> str:
    return f"{found.min():.4f} to {found.max():.4f}" if len(found) else "never there"
