"""Measured growth of components and singular values against the rates that theory predicts."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from tnrank.data import observe
from tnrank.experiments.fields import Every, Part, Positive, Range, Seeds, Several, Share, Steps
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, Training, register
from tnrank.experiments.recipes import _dynamics_law_lines as of
from tnrank.experiments.recipes._dynamics_law_lines import FAMILIES, Case, Host, Measured
from tnrank.plots.painters import Axes, Figure, Line, panels, points_and_law
from tnrank.training import GradientDescent, GroupRMSProp, gradient_flow, rates_of, recorders

_HALF_WIDTH, _DEVIATION, _FACTOR, _FLOW = 0.02, 0.01, 0.05, 1e-4
_FLOW_TIMES, _MOST_POINTS = 401, 40
_Lines = Sequence[Measured]


@register
@dataclass(frozen=True, kw_only=True)
class DynamicsLaw(Recipe):
    """Completion of small tensors from balanced small weights, with every predicted rate beside the measured one.

    Attributes:
        mf_depths: depths L of the 10 x 10 matrix factorizations; their singular values follow 2 - 2/L.
        cp_orders: orders N of the CP factorizations, from 3 to 6; their components follow 2 - 2/N.
        weighted_orders: orders N of the CP factorizations with a weight a component: 2 - 2/(N + 1).
        htf_arities: leaves under each of the two nodes below the root: K is that plus 1, at the root 3.
        seeds: random targets, observations and starts of each factorization; their points are fitted together.
        start: the largest component norm, or singular value, of the initial weights.
        lopsided: in the control one tensor of the first index is scaled by this, the others back.
        observed: share of the entries that are observed.
        learning_rate: of GroupRMSProp, the length of its steps.
        steps: updates of every run with GroupRMSProp.
        record_every: distance of the recorded pairs of steps.
        descent_rate: learning rate of the plain gradient descent that is compared with half of it, and with the flow.
        descent_start: the largest component norm, or singular value, of the initial weights of gradient descent.
        descent_steps: updates of plain gradient descent at ``descent_rate``.
        confidence: of the intervals of the exponents.

    The problems are so small that NumPy is faster than a compiled program, which is why it is the default here. Double
    precision is needed: a rate is the difference of two norms that are one step apart.

    Source: Arora et al. 2019, Theorem 3; Razin, Maman & Cohen 2021, Theorem 1; 2022, Theorem 1.
    """

    name: ClassVar[str] = "dynamics-law"
    title: ClassVar[str] = "measured against predicted rates; exponents 2 - 2/K fitted from data for MF, CP and HTF"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"mf_depths": (2, 3, 4, 5), "cp_orders": (3, 4, 5, 6), "weighted_orders": (3, 4)},
            **{"htf_arities": (2, 3, 4), "seeds": 5, "learning_rate": 1e-3, "steps": 12_000, "record_every": 60},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "numpy"
    dtype: str = "float64"
    mf_depths: Annotated[tuple[Annotated[int, Range(2, 12)], ...], Several()] = (2, 3, 4)
    cp_orders: Annotated[tuple[Annotated[int, Range(3, 6)], ...], Several()] = (3, 4, 5)
    weighted_orders: tuple[Annotated[int, Range(3, 6)], ...] = (3,)
    htf_arities: Annotated[tuple[Annotated[int, Range(2, 4)], ...], Several()] = (2, 3)
    seeds: Seeds = 2
    start: Positive = 1e-3
    lopsided: Positive = 30.0
    observed: Share = 0.5
    learning_rate: Positive = 4e-3
    steps: Steps = 2000
    record_every: Every = 40
    descent_rate: Positive = 0.05
    descent_start: Positive = 0.3
    descent_steps: Steps = 200
    confidence: Part = 0.95

    def check(self) -> None:
        if self.dtype != "float64":
            raise ValueError(f"rates, differences of norms one step apart, need dtype float64, got {self.dtype}")

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        cases = [
            *map(of.matrix_case, self.mf_depths),
            *(of.cp_case(order, False) for order in self.cp_orders),
            *(of.cp_case(order, True) for order in self.weighted_orders),
            *map(of.hierarchical_case, self.htf_arities),
        ]
        # One of each family stands for it in the controls: K = 3 where it is among those asked for.
        chosen = [
            of.matrix_case(3 if 3 in self.mf_depths else self.mf_depths[0]),
            of.cp_case(self.cp_orders[0], False),
            of.hierarchical_case(self.htf_arities[0]),
        ]
        balanced = yield from self._train(cases, "balanced")
        unbalanced = yield from self._train(chosen, "unbalanced")
        lopsided = yield from self._train(chosen, "lopsided")
        descents = []
        for case in chosen:
            descents.append((yield from self._descend(case)))
        return _outcome(balanced, unbalanced, lopsided, descents)

    def _train(self, cases: Sequence[Case], kind: str) -> Generator[Training, Any, list[Measured]]:
        """The runs of all seeds from one kind of start; one result an index."""
        found, seeds = [], range(self.seed, self.seed + self.seeds)
        for case in cases:
            singular = case.family == "mf" and kind != "unbalanced"
            lopsided = self.lopsided if kind == "lopsided" else 1.0
            starts = [case.start(seed, self.start, kind != "unbalanced", lopsided) for seed in seeds]
            indices, values = zip(*(self._observe(case, seed) for seed in seeds), strict=True)
            record = recorders.SingularValueRates if singular else recorders.Rates
            results = yield Training(
                [f"{case.name}-{kind}-{seed}" for seed in seeds],
                [x.to(self.backend, dtype=self.dtype) for x in starts],
                *(list(indices), list(values)),
                record=[record(every=self.record_every), recorders.Unbalancedness(every=self.record_every)],
                optimizer=GroupRMSProp(self.learning_rate),
                steps=self.steps,
                save=False,
            )
            traces = [result.history["singular_value_rates" if singular else "rates"] for result in results]
            drifts = [result.history["unbalancedness"] for result in results]
            orders = case.orders
            if case.family == "mf" and not singular:
                orders = dict.fromkeys((index for index, name in traces[0].values if name == "exact"), 2)
            elif kind == "lopsided":
                orders = dict(list(orders.items())[:1])
            for index, order in orders.items():
                rates = [rates_of(trace, index) for trace in traces]
                at = [d.values[np.searchsorted(d.steps, r.steps)] for d, r in zip(drifts, rates, strict=True)]
                found.append(Measured(case, index, order, rates, at, kind == "balanced", self.confidence))
        return found

    def _descend(self, case: Case) -> Generator[Training, Any, Descent]:
        """Plain gradient descent at two rates from one start, and the flow that they approach."""
        x = case.start(self.seed, self.descent_start).to(self.backend, dtype=self.dtype)
        indices, values = self._observe(case, self.seed)
        record = recorders.SingularValueRates if case.family == "mf" else recorders.Rates
        every = max(1, self.descent_steps // 10)
        histories = []
        for parts in (1, 2):
            result = yield Training(
                *(f"{case.name}-descent-{parts}", x, indices, values),
                record=[record(every=parts * every)],
                optimizer=GradientDescent(self.descent_rate / parts),
                steps=parts * self.descent_steps,
                save=False,
            )
            histories.append(result.history)
        # Close times, for a rate is the derivative of a spline through them.
        times = np.linspace(0.0, self.descent_rate * self.descent_steps, _FLOW_TIMES)
        histories.append(gradient_flow(x, indices, values, times=times, record=[record()]).history)
        traces = [next(iter(history.values())) for history in histories]
        whole, half, flow = (of.mean_deviation([rates_of(t, index) for index in case.orders]) for t in traces)
        return Descent(case, self.descent_rate, whole, half, flow)

    def _observe(self, case: Case, seed: int) -> tuple[Any, Any]:
        # Another seed than that of the start, whose numbers would be those of the target.
        target = case.target(seed + 1000)
        return observe(target, max(1, round(self.observed * target.size)), seed=seed)


class Descent(NamedTuple):
    """Mean deviations of measured from exact rates: of gradient descent at a rate, at half of it, and of the flow."""

    case: Case
    learning_rate: float
    rate: float
    half: float
    flow: float


def _outcome(balanced: _Lines, unbalanced: _Lines, lopsided: _Lines, found: Sequence[Descent]) -> Outcome:
    summary = {
        "exponents": {m.title: _plain(m) for m in balanced},
        "unbalanced": {m.title: {"largest_excess": _top(m.excess()), "bounds_ratio": m.gap()} for m in unbalanced},
        "lopsided": {m.title: _plain(m) for m in lopsided},
        "descent": {d.case.name: {"rate": d.rate, "half": d.half, "flow": d.flow} for d in found},
    }
    controls = (unbalanced, lopsided, found)
    tables = [_exponents(balanced), *_controls(*controls)]
    return Outcome(summary, tables, _checks(balanced, *controls), partial(_figure, balanced, lopsided))


def _plain(m: Measured) -> dict[str, Any]:
    found: dict[str, Any] = {"order": m.order, "law": m.law, "drift": m.drift}
    if m.fit is not None:
        found |= {name: getattr(m.fit, name) for name in ("exponent", "low", "high", "prefactor")}
        found |= {"points": m.fit.count, "median_deviation": float(np.median(m.deviation()))}
    return found


def _checks(balanced: _Lines, unbalanced: _Lines, lopsided: _Lines, found: Sequence[Descent]) -> list[Check]:
    laws = []
    for family, name in FAMILIES.items():
        own = [m for m in balanced if m.case.family == family]
        good = [m.fit is not None and m.fit.contains(m.law) and m.fit.half_width < _HALF_WIDTH for m in own]
        widest = max((m.fit.half_width for m in own if m.fit is not None), default=np.inf)
        exponent = "2 - 2/L" if family == "mf" else "2 - 2/K at every index"
        claim = f"{name}: the fitted exponent's interval contains {exponent}, half-width below {_HALF_WIDTH}"
        laws.append(Check(claim, f"{sum(good)} of {len(own)}, half-widths up to {widest:.1e}", all(good)))
    others = [m.excludes(m.order - 1) and m.excludes(m.order + 1) for m in balanced]
    factor = max(abs(m.fit.prefactor / m.order - 1) if m.fit else np.inf for m in balanced)
    predicted = f"measured rates are the predicted ones: median deviations below {_DEVIATION:.0%}"
    deviation = max(float(np.median(m.deviation())) if len(m.groups) else np.inf for m in balanced)
    between = f"unbalanced starts: rates lie between the bounds, within {_DEVIATION:.0%} of themselves"
    excess, gap = max(_top(m.excess()) for m in unbalanced), max(m.gap() for m in unbalanced)
    outside = f"outside by {excess:.2%} at most; bounds {gap:.3g} apart"
    off = all(m.excludes(m.order) for m in lopsided)
    exponents = ", ".join(f"{m.fit.exponent:.2f} for K = {m.order}" if m.fit else "none" for m in lopsided)
    ratios = [d.rate / d.half for d in found]
    halved = "by " + ", ".join(f"{ratio:.3f}" for ratio in ratios)
    near = all(abs(ratio - 2) < 0.2 for ratio in ratios)
    flow = max(d.flow for d in found)
    neither = f"{sum(others)} of {len(others)} contain neither"
    return [
        *laws,
        Check("no interval contains the exponent of K - 1 or K + 1", neither, all(others)),
        Check(f"the factor in front is K, within {_FACTOR:.0%}", f"off by {factor:.2%} at most", factor < _FACTOR),
        Check(predicted, f"{deviation:.2%} at most", deviation < _DEVIATION),
        Check(between, outside, excess < _DEVIATION and gap > 1 + _DEVIATION),
        Check("control: from a lopsided start no interval contains 2 - 2/K", exponents, off),
        Check("deviations halve with the step of gradient descent, within 10 %", halved, near),
        Check(f"gradient flow has the predicted rates to {_FLOW:g}", f"{flow:.1e} at most", flow < _FLOW),
    ]


def _exponents(balanced: _Lines) -> Table:
    rows = []
    for m in balanced:
        sigma, fit, fitted = m.points("norms"), m.fit, ("", "", "0")
        if fit is not None:
            fitted = (f"{fit.low:.4f} to {fit.high:.4f}", f"{fit.prefactor:.3f}", f"{fit.count:,}")
        reach = f"{sigma.min():.0e} to {sigma.max():.0e}" if len(sigma) else ""
        rows.append((m.title, f"{m.order}", f"{m.law:.4f}", *fitted, reach, _median(m.deviation()), f"{m.drift:.0e}"))
    columns = ("model", "K", "2 - 2/K", "fitted", "factor", "points", "norms", "deviation", "unbalanced")
    note = (
        f"Intervals of {balanced[0].confidence:.0%}, spanning fits at both ends of every step; points of one component "
        "of one seed are taken as one draw. Factor: K in theory. Deviation: median of |measured / exact - 1|. "
        "Unbalanced: at the end."
    )
    return Table("Exponents of log(rate / gamma) against log(sigma), balanced starts", columns, rows, note)


def _controls(unbalanced: _Lines, lopsided: _Lines, found: Sequence[Descent]) -> list[Table]:
    bounds, controls = [], []
    for m in unbalanced:
        between = f"{np.mean(m.excess() == 0):.1%}" if len(m.groups) else ""
        deviations = (_median(m.deviation()), _median(m.deviation("balanced")))
        bounds.append((m.title, f"{m.order}", f"{m.gap():.3g}", between, f"{_top(m.excess()):.1e}", *deviations))
    for m in lopsided:
        fitted = f"{m.fit.low:.3f} to {m.fit.high:.3f}" if m.fit else ""
        exponents = (f"{m.law:.4f}", f"{2 - 2 / (m.order - 1):.4f}")
        controls.append((m.title, f"{m.order}", *exponents, fitted, _median(m.deviation())))
    steps = [(d.case.title, f"{d.learning_rate:g}", *(f"{x:.1e}" for x in d[2:])) for d in found]
    note = "A tensor that is much larger than the others hardly moves, and the component grows as if it met K - 1."
    columns = ("model", "K", "upper / lower", "between", "outside by", "from exact", "from balanced")
    laws = ("model", "K", "2 - 2/K", "2 - 2/(K-1)", "fitted", "from exact")
    rates = ("model", "rate", "deviation", "at half the rate", "of the flow")
    return [
        Table("Gaussian starts, not balanced: rates and their bounds", columns, bounds),
        Table("Control: one of the K tensors scaled up, the others down", laws, controls, note),
        Table("Gradient descent, and gradient flow", rates, steps),
    ]


def _top(values: Host) -> float:
    return float(values.max()) if len(values) else float("inf")


def _median(values: Host) -> str:
    return f"{np.median(values):.1e}" if len(values) else ""


def _figure(balanced: _Lines, lopsided: _Lines) -> Figure:
    """Rate over projection against norm on the lines K sigma^(2 - 2/K), one panel a family and one of a control."""
    figure, axes = panels(2, 2, width=4.4, height=3.3)
    for panel, (family, name) in zip(axes.flat, FAMILIES.items(), strict=False):
        own = [m for m in balanced if m.case.family == family]
        label, letter = ("singular value", "L") if family == "mf" else ("component norm", "K")
        _draw(panel, own, f"{name[0].upper()}{name[1:]}", f"{label} $\\sigma$", letter)
    m = next(m for m in lopsided if m.case.family == "cp")
    _draw(axes[1, 1], [m], f"Control: {m.case.title}, lopsided", "component norm $\\sigma$", "K", below=True)
    return figure


def _draw(axes: Axes, found: _Lines, title: str, label: str, letter: str, below: bool = False) -> None:
    """One color a K; with ``below`` also the line of K - 1."""
    measured, laws = [], []
    for color, order in enumerate(sorted({m.order for m in found})):
        own = [m for m in found if m.order == order]
        sigma = np.concatenate([m.points("norms") for m in own])
        ratio = np.concatenate([m.points("measured") / m.points("projection") for m in own])
        good = (sigma > 0) & (ratio > 0)
        if not good.any():
            continue
        along = np.argsort(sigma[good], kind="stable")
        sigma, ratio = sigma[good][along], ratio[good][along]
        reach = np.geomspace(sigma[0], sigma[-1], 50)
        text = f"{letter} = {order}: ${order}\\,\\sigma{_power(order)}$"
        laws.append(Line(reach, order * reach ** (2 - 2 / order), text, color, width=1.1))
        # Evenly along the axis: most points are where the component has settled.
        marks = np.geomspace(sigma[0], sigma[-1], _MOST_POINTS)
        kept = np.unique(np.searchsorted(sigma, marks).clip(0, len(sigma) - 1))
        measured.append(Line(sigma[kept], ratio[kept], color=color))
        if below:
            # The line of K - 1 through the first points: its factor is that of the large tensor.
            power, first = 2 - 2 / (order - 1), kept[: max(1, len(kept) // 8)]
            level = np.median(ratio[first] / sigma[first] ** power)
            text = f"as {letter} = {order - 1}: $\\propto\\sigma{_power(order - 1)}$"
            laws.append(Line(reach, level * reach**power, text, "ink", "--", width=1.1))
    points_and_law(axes, measured, laws, title, label, "measured $(d\\sigma/d\\tau)\\,/\\,\\gamma$", "upper left")
    axes.minorticks_off()


def _power(order: int) -> str:
    """The exponent 2 - 2/K as a fraction, for mathtext."""
    return "" if order == 2 else f"^{{{Fraction(2 * order - 2, order)}}}"
