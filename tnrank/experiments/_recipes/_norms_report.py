"""The norms-to-infinity recipe's numbers: what was measured, beside what was published, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank.experiments._outcome import Outcome, Table
from tnrank.experiments._recipes._norms_checks import Flow, checks_of, exact_flow
from tnrank.experiments._recipes._norms_runs import Measured
from tnrank.plots import NormCurve, NormPanel, norms_to_infinity
from tnrank.theory import NuclearNormResult, TwoByTwo, minimum_nuclear_norm

if TYPE_CHECKING:
    from tnrank.experiments._recipes._norms_to_infinity import NormsToInfinity

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
    checks = checks_of(recipe, runs, bounded, control, larger, flows, perturbed, convex)
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
    exact = {flow.problem.w22: f"{flow.entry[-1]:.3f}" for flow in flows if len(flow.entry)}
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
