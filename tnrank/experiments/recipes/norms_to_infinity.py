"""Completion of a matrix in which every norm goes to infinity while the rank falls."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank.experiments.fields import Count, Positive, Range, Seeds, Several, Steps
from tnrank.experiments.kit import Journal, Outcome, Recipe, Table, Training, register
from tnrank.experiments.recipes import _norms_runs as claims
from tnrank.experiments.recipes._norms_runs import Flow, Measured, Plan, balanced_plan, random_layers, step_limit
from tnrank.factorizations import Factorization, MatrixFactorization
from tnrank.plots.painters import Axes, Figure, Line, color_of, legend, lines, panels
from tnrank.theory import NuclearNormResult, TwoByTwo, minimum_nuclear_norm
from tnrank.training import GradientDescent, SquaredLoss, recorders

_PROBLEM = TwoByTwo()
_PERTURBED = (-2.0, 0.5)
"""W12 and W21 of the family with W22 = e: their product is -1, so W11 must reach -1 / e."""
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

_Runs = Sequence[Measured]
_Flows = Sequence[Flow]
_Training = Generator[Training, Any, list[Measured]]
_Several = Annotated[tuple[Positive, ...], Several()]
_Level = Annotated[float, Range(above=0, below=0.5)]


@register
@dataclass(frozen=True, kw_only=True)
class NormsToInfinity(Recipe):
    """A 2 x 2 matrix whose entry (0, 0) is not observed: as the loss falls it grows without bound, as |1 / W22|.

    Deep matrix factorization by gradient descent, four runs of each depth: two scales of the start, each with layers
    drawn at random and with balanced ones. Every start has a positive determinant. Beside it the exact flow of balanced
    layers, down to determinants that no floating-point number holds; observations that bound the entry; a start of
    negative determinant, whose entry stays; the solution of minimal nuclear norm; and a larger matrix.

    Attributes:
        depths: numbers of layers of the four runs.
        stds: standard deviations of the END matrix at the start, at depths 2 and 3: the larger first.
        learning_rates: of the runs with ``stds``; runs with bounded entries take the first.
        deep_stds: standard deviations of the END matrix at the start, from depth 4 on.
        deep_learning_rates: of the runs with ``deep_stds``.
        stop_loss: where the four runs, and those of the larger matrix, are done.
        steps: the most steps of any run.
        perturbations: values of the observed W22 that bound the entry; trained at depth 3, with W12 = -2, W21 = 0.5.
        flow_perturbations: values of the observed W22 for which only the exact flow is integrated.
        bounded_stop_loss: where the runs with bounded entries are done.
        size: d of the larger matrix, d x d at depth 3: observed are ones at (0, 1), (1, 0) and on the diagonal from
            (2, 2) on, and zeros elsewhere but at (0, 0).
        size_std: standard deviation of the larger END matrix at the start.
        seeds: how many draws of the starts: seed, seed + 1, ..
        marks: recorded steps, about evenly spaced in log(step).

    A step must stay below 2 |W11|^(2/L - 2), or gradient descent does not get to where W11 is that large: learning
    rates beyond that are refused.

    The theorem is about balanced layers. Of starts at random a few keep the sign of their determinant down to a loss of
    1e-4; the default seed is one at which both the depth 3 and the depth 4 run from the smaller scale do.

    Source: Razin & Cohen 2020, Sec. 3 and 5.1 (Fig. 1), App. (perturbed observations, larger matrices).
    """

    name: ClassVar[str] = "norms-to-infinity"
    title: ClassVar[str] = "every norm goes to infinity while the rank falls to one"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            **{"depths": (2, 3), "stop_loss": 1e-3, "steps": 400_000},
            **{"perturbations": (0.1, 0.5), "marks": 1000},
        },
        "paper": {},
    }
    draws: ClassVar[bool] = True

    seed: int = 529
    dtype: str = "float64"
    depths: Annotated[tuple[Annotated[int, Range(2, 1000)], ...], Several()] = (2, 3, 4)
    stds: _Several = (1e-5, 1e-6)
    learning_rates: _Several = (6e-3, 3e-3)
    deep_stds: _Several = (1e-3, 1e-4)
    deep_learning_rates: _Several = (3e-3, 1.5e-3)
    stop_loss: _Level = 1e-4
    steps: Steps = 5_000_000
    perturbations: tuple[Positive, ...] = (0.05, 0.1, 0.5)
    flow_perturbations: tuple[Positive, ...] = (0.01, 0.05, 0.1, 0.5)
    bounded_stop_loss: _Level = 1e-8
    size: Annotated[int, Range(3, 10**6, "arrays of that size do not fit into memory")] = 3
    size_std: Positive = 1e-5
    seeds: Seeds = 1
    marks: Count = 2000

    def check(self) -> None:
        for depth, (stds, rates) in {3: ("stds", "learning_rates"), 4: ("deep_stds", "deep_learning_rates")}.items():
            found, with_rates = self.scales(depth)
            if len(found) != len(with_rates):
                raise ValueError(f"{stds} and {rates} are as many numbers, got {found} and {with_rates}")
        at_the_end = (1 / np.sqrt(2 * self.stop_loss), f"a loss of {self.stop_loss:g}")
        needed = [(depth, max(self.scales(depth)[1]), *at_the_end) for depth in {*self.depths, 3}]
        needed += [(3, self.learning_rates[0], 1 / e, f"W22 = {e:g}") for e in self.perturbations]
        for depth, rate, largest, where in needed:
            limit, reached = step_limit(depth, largest), (2 / rate) ** (depth / (2 * depth - 2))
            if rate > limit:
                raise ValueError(
                    f"the learning rate {rate:g} is past the stability limit {limit:.3g} of depth {depth} at {where}; "
                    f"there |W11| is {largest:.3g}, and it would stall near {reached:.3g}; needed a rate below that, "
                    f"or a loss above {0.5 / reached**2:.2g}"
                )

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        runs = []
        for depth in self.depths:
            runs += yield from self.four(depth)
        *bounded, control = yield from self._bounded()
        larger = yield from self._larger()
        depths, common = sorted({2, *self.depths}), (3, self.stds[0], self.seed, self.bounded_stop_loss)
        flows = [Flow(_PROBLEM, d, self.scales(d)[0][0], self.seed, self.stop_loss) for d in depths]
        perturbed = [Flow(TwoByTwo(*_PERTURBED, e), *common) for e in self.flow_perturbations]
        convex = minimum_nuclear_norm((2, 2), *_observed(_PROBLEM))
        checks = [
            *(check for depth in self.depths if depth > 2 for check in claims.law(depth, runs, self.stop_loss)),
            claims.exact(flows[0]),
            claims.lower_bound(runs),
            *claims.bounded_entries(bounded, perturbed, self.bounded_stop_loss),
            claims.stays(control, self.bounded_stop_loss),
            claims.convex_stays(convex),
            claims.larger_law(larger),
        ]
        summary = {
            "runs": {run.plan.name: _summary(run) for run in (*runs, *bounded, control, larger)},
            "sign_changes": [run.plan.name for run in runs if not run.keeps_sign],
            "exact_flow": {
                f"depth {f.depth}": {"loss": f.loss, "w11": f.entry, "log_det": f.found.log_det} for f in flows
            },
            "minimal_nuclear_norm": {"w11": float(convex.matrix[0, 0]), "nuclear_norm": convex.objective},
        }
        tables = [_run_table(runs), _flow_table(flows), _bounded_table(bounded, perturbed, control, convex)]
        return Outcome(summary, tables, checks, partial(self._figure, runs, flows, bounded, perturbed, control, larger))

    def four(self, depth: int) -> _Training:
        """Runs of one depth: each scale with layers at random and balanced."""
        plans = []
        for seed in range(self.seed, self.seed + self.seeds):
            for k, (std, rate) in enumerate(zip(*self.scales(depth), strict=True)):
                label = f"depth-{depth}-{{}}-{std:g}" + (f"-seed-{seed}" if self.seeds > 1 else "")
                layers = random_layers(2, depth, std, (seed, depth, k))
                plans.append(Plan(label.format("random"), layers, _PROBLEM, std, rate, False))
                plans.append(balanced_plan(label.format("balanced"), _PROBLEM, std, rate, seed, depth=depth))
        return (yield from self._train(plans, [_observed(_PROBLEM)] * len(plans), self.stop_loss))

    def _bounded(self) -> _Training:
        """Runs whose entry is bounded: perturbed observations, and at last a start of negative determinant."""
        common = (self.stds[0], self.learning_rates[0], self.seed)
        problems = [TwoByTwo(*_PERTURBED, e) for e in self.perturbations]
        plans = [balanced_plan(f"perturbed-{one.w22:g}", one, *common, sign=one.sign) for one in problems]
        plans.append(balanced_plan("negative-determinant", _PROBLEM, *common, sign=-1))
        return (yield from self._train(plans, [_observed(p.problem) for p in plans], self.bounded_stop_loss))

    def _larger(self) -> Generator[Training, Any, Measured]:
        d, target = self.size, np.eye(self.size)
        target[:2, :2] = [[0, 1], [1, 0]]
        indices = np.argwhere(np.arange(d * d).reshape(d, d) > 0)
        plan = balanced_plan(f"size-{d}", _PROBLEM, self.size_std, self.learning_rates[0], self.seed, size=d)
        return (yield from self._train([plan], [(indices, target[tuple(indices.T)])], self.stop_loss))[0]

    def _train(self, plans: Sequence[Plan], observed: Sequence[Any], stop: float) -> _Training:
        """All runs in one batch; one after the other where the backend has none."""
        starts = [MatrixFactorization(plan.layers).to(self.backend, dtype=self.dtype) for plan in plans]
        marks = np.unique(np.geomspace(min(100, self.steps), self.steps, self.marks).astype(np.int64)).tolist()
        record = [recorders.Loss(at=[0, *marks]), recorders.Function("end", _end, at=[0, *marks])]
        options: dict[str, Any] = {"loss": SquaredLoss("half_sum"), "steps": self.steps, "stop": stop, "record": record}
        names, rates = [plan.name for plan in plans], [plan.rate for plan in plans]
        indices, values = ([pair[k] for pair in observed] for k in (0, 1))
        if "vmap" in starts[0].backend.capabilities:
            results = yield Training(names, starts, indices, values, optimizer=GradientDescent(rates), **options)
        else:
            results = []
            for name, start, where, what, rate in zip(names, starts, indices, values, rates, strict=True):
                results.append((yield Training(name, start, where, what, optimizer=GradientDescent(rate), **options)))
        found = []
        for plan, result in zip(plans, results, strict=True):
            loss, end = result.history["loss"].values, result.history["end"].values
            recorded = (np.asarray(values, np.float64) for values in (loss, end["matrix"], end["determinant"]))
            found.append(Measured(plan, result.status, result.steps, *recorded))
        return found

    def _figure(
        self, runs: _Runs, flows: _Flows, bounded: _Runs, perturbed: _Flows, control: Measured, larger: Measured
    ) -> Figure:
        """The unobserved entry against the loss, which falls from left to right, as in Razin & Cohen 2020, Fig. 1."""
        figure, grid = panels(-(-(len(self.depths) + 3) // 3), 3, 3.7, 3.2)
        places = iter(grid.ravel())
        for depth in self.depths:
            here = _curves([run for run in runs if run.plan.depth == depth])
            rings = [_rings(flow, "exact balanced flow", "ink") for flow in flows if flow.depth == depth]
            _draw(next(places), f"depth {depth}", [*here, *rings], self.stop_loss)
        d = larger.matrix.shape[1]
        _draw(next(places), f"{d} x {d}, depth 3", _curves([larger]), self.stop_loss)

        axes, family = next(places), list(dict.fromkeys((*self.flow_perturbations, *self.perturbations)))
        curves = [Line(r.loss, r.entry, f"W22 = {r.problem.w22:g}", family.index(r.problem.w22)) for r in bounded]
        for flow in perturbed:
            e, trained = flow.problem.w22, flow.problem.w22 in self.perturbations
            curves.append(_rings(flow, "" if trained else f"W22 = {e:g}", family.index(e)))
            axes.axhline(1 / e, color=color_of(family.index(e)), linewidth=0.7, zorder=1)
        _draw(axes, "perturbed: W12 = -2, W21 = 0.5", curves)
        curves = _curves([control], "balanced, negative determinant")
        _draw(next(places), "start of negative determinant", curves, self.bounded_stop_loss)
        for axes in places:
            axes.remove()
        return figure

    def scales(self, depth: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Standard deviations and learning rates of a depth."""
        return (self.stds, self.learning_rates) if depth < 4 else (self.deep_stds, self.deep_learning_rates)


def _observed(problem: TwoByTwo) -> tuple[Any, Any]:
    return np.asarray([[0, 1], [1, 0], [1, 1]]), np.asarray([problem.w12, problem.w21, problem.w22])


def _end(x: Factorization) -> dict[str, Any]:
    """End matrix and its determinant, as the product of the layers' determinants, of which rounding spares the sign."""
    xp = x.backend.xp
    return {"matrix": x.to_dense(), "determinant": xp.prod(xp.linalg.det(xp.stack(list(x._values))))}


def _summary(run: Measured) -> dict[str, Any]:
    plan, singular = run.plan, run.singular_values[-1]
    return {
        **{"depth": plan.depth, "balanced": plan.balanced, "std": plan.std, "learning_rate": plan.rate},
        **{"status": run.status, "steps": run.steps, "loss": float(run.loss[-1]), "w11": float(run.matrix[-1, 0, 0])},
        "w11_at": {f"{level:g}": run.at(level) for level in _MARKS},
        **{"determinant_keeps_its_sign": run.keeps_sign, "loss_at_sign_change": run.crossing},
        "effective_rank": float(run.effective_rank[-1]),
        **{"nuclear_norm": float(singular.sum()), "frobenius_norm": float(np.linalg.norm(singular))},
    }


def _run_table(runs: _Runs) -> Table:
    rows = []
    for run in runs:
        plan = run.plan
        start = f"{'balanced' if plan.balanced else 'random'} {plan.std:g}"
        on_the_curve = f"{_PUBLISHED_CURVE}; 70" if plan.depth > 2 else ""
        published = _PUBLISHED.get((plan.depth, plan.std, plan.balanced), on_the_curve)
        sign = "stays" if run.keeps_sign else f"lost at {run.crossing:.1e}"
        marks = ", ".join(f"{run.at(level):.3g}" for level in _MARKS if run.loss[-1] < level)
        rows.append((str(plan.depth), start, f"{run.steps:,}", marks, f"{run.entry[-1]:.3g}", published, sign))
    columns = ("depth", "start", "steps", "at 1.3e-2, 1.3e-3, 1.3e-4", "end", "published", "det > 0")
    note = (
        "|W11| where the loss passes 1.3e-2, .. and at the end. Runs that lose the sign of their determinant are the "
        "control: they may flatten. At depth 2 balanced runs lose it to rounding, not to the flow."
    )
    return Table("Unobserved entry", columns, rows, note)


def _flow_table(flows: _Flows) -> Table:
    rows = []
    for flow in flows:
        for k in np.flatnonzero(flow.loss < 0.05)[::8]:
            loss, entry, log_det = flow.loss[k], flow.entry[k], flow.found.log_det[k]
            law = entry * np.sqrt(2 * loss)
            rows.append((str(flow.depth), f"{loss:.1e}", f"{entry:.4g}", f"{law:.4f}", f"{log_det:,.1f}"))
    return Table("Exact balanced flow", ("depth", "loss", "|W11|", "|W11| sqrt(2 loss)", "log det"), rows)


def _bounded_table(bounded: _Runs, flows: _Flows, control: Measured, convex: NuclearNormResult) -> Table:
    trained = {run.problem.w22: f"{run.entry[-1]:.3f}" for run in bounded}
    exact = {flow.problem.w22: f"{flow.entry[-1]:.3f}" for flow in flows if len(flow.entry)}
    rows = [
        (f"W12 = -2, W21 = 0.5, W22 = {e:g}", trained.get(e, ""), exact.get(e, ""), f"{1 / e:g}")
        for e in sorted({*trained, *exact})
    ]
    rows.append(("start of negative determinant", f"{control.entry[-1]:.3f}", "", "converges"))
    rows.append(("minimal nuclear norm", f"{abs(convex.matrix[0, 0]):.3f}", "", "0"))
    columns = ("problem", "trained", "exact flow", "published")
    return Table("Where the entry is bounded: |W11| at the end", columns, rows)


def _curves(runs: _Runs, name: str = "") -> list[Line]:
    """Runs under a law, which coincide: they show as bands of decreasing width, on top those that lose the sign."""
    kept, lost = [], []
    for k, run in enumerate(runs):
        label = name or f"{'balanced' if run.plan.balanced else 'random'}, {run.plan.std:g}"
        if run.keeps_sign:
            kept.append(Line(run.loss, run.entry, label, k, width=1.4 + 0.9 * (len(runs) - 1 - k)))
        else:
            lost.append(Line(run.loss, run.entry, f"{label} (sign lost)", k, "--"))
    return kept + lost


def _rings(flow: Flow, label: str, color: int | str) -> Line:
    return Line(flow.loss[::4], flow.entry[::4], label, color, "", "o", hollow=True)


def _draw(axes: Axes, title: str, drawn: list[Line], last: float | None = None) -> None:
    """One panel, with the lower bound down to a loss of ``last``."""
    lowest, top = np.concatenate([line.x for line in drawn]).min(), np.concatenate([line.y for line in drawn]).max()
    if last is not None:
        losses = np.geomspace(0.45, last, 200)
        bound = np.asarray([_PROBLEM.entry_lower_bound(float(loss)) for loss in losses])
        axes.fill_between(losses, np.where(bound > 0, bound, np.nan), 1e-9, color="#E3E6EA", zorder=1, linewidth=0)
        drawn = [Line(losses, bound, "lower bound, det > 0", "quiet", width=1.2), *drawn]
    lines(axes, drawn, title, "loss", "|unobserved entry|", "xy", None)
    axes.set(xlim=(1.2, 0.8 * lowest), ylim=(max(1e-2, 1e-4 * top), 2.0 * top))
    legend(axes, fontsize=7, handlelength=1.8)
