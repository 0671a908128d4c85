"""Measured growth of components and singular values against the rates that theory predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._explained import explained
from tnrank.data import observe
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes import _dynamics_law_report as report
from tnrank.experiments._recipes._law_cases import Case, cp_case, hierarchical_case, matrix_case
from tnrank.experiments._recipes._law_lines import Descent, Line, Runs
from tnrank.training import GradientDescent, GroupRMSProp, MeasuredRates, gradient_flow, rates_of, recorders

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal
    from tnrank.factorizations import Factorization

_FLOW_TIMES = 401


@register
@dataclass(frozen=True, kw_only=True)
class DynamicsLaw(Recipe):
    """Completion of small tensors from balanced small weights, with every predicted rate beside the measured one.

    Attributes:
        mf_depths: depths L of the 10 x 10 matrix factorizations; their singular values follow 2 - 2/L.
        cp_orders: orders N of the CP factorizations, from 3 to 6; their components follow 2 - 2/N.
        weighted_orders: of those with a weight a component: 2 - 2/(N + 1).
        htf_arities: leaves under each of the two nodes below the root: K is that plus 1, at the root 3.
        seeds: random targets, observations and starts of each; their points are fitted together.
        start: the largest component norm, or singular value, of the initial weights.
        lopsided: in the control one tensor of the first index is scaled by this, the others back.
        observed: share of the entries that are observed.
        learning_rate: of GroupRMSProp, the length of its steps.
        steps: updates of every run.
        record_every: distance of the recorded pairs of steps.
        descent_rate: learning rate of the plain gradient descent that is compared with half of it, and with the flow.
        descent_start: as ``start``, for these.
        descent_steps: updates at ``descent_rate``.
        confidence: of the intervals of the exponents.

    The problems are so small that NumPy is faster than a compiled program, which is why it is the default here. Double
    precision is needed: a rate is the difference of two norms that are one step apart.

    Source: Arora et al. 2019, Theorem 3; Razin, Maman & Cohen 2021, Theorem 1; 2022, Theorem 1.
    """

    name: ClassVar[str] = "dynamics-law"
    title: ClassVar[str] = "measured against predicted rates; exponents 2 - 2/K fitted from data for MF, CP and HTF"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {
                "mf_depths": (2, 3, 4, 5),
                "cp_orders": (3, 4, 5, 6),
                "weighted_orders": (3, 4),
                "htf_arities": (2, 3, 4),
                "seeds": 5,
                "learning_rate": 1e-3,
                "steps": 12_000,
                "record_every": 60,
            },
        }
    )

    backend: str = "numpy"
    dtype: str = "float64"
    mf_depths: tuple[int, ...] = (2, 3, 4)
    cp_orders: tuple[int, ...] = (3, 4, 5)
    weighted_orders: tuple[int, ...] = (3,)
    htf_arities: tuple[int, ...] = (2, 3)
    seeds: int = 2
    start: float = 1e-3
    lopsided: float = 30.0
    observed: float = 0.5
    learning_rate: float = 4e-3
    steps: int = 2000
    record_every: int = 40
    descent_rate: float = 0.05
    descent_start: float = 0.3
    descent_steps: int = 200
    confidence: float = 0.95

    @explained
    def __post_init__(self) -> None:
        for name, low, high in (
            ("mf_depths", 2, 12),
            ("cp_orders", 3, 6),
            ("weighted_orders", 3, 6),
            ("htf_arities", 2, 4),
        ):
            if not all(low <= value <= high for value in getattr(self, name)):
                raise ValueError(f"{name} are whole numbers from {low} to {high}, got {getattr(self, name)}")
        if not (self.mf_depths and self.cp_orders and self.htf_arities):
            raise ValueError("one of mf_depths, cp_orders and htf_arities is empty: needed one of each or more")
        for name in ("seeds", "steps", "record_every", "descent_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is a whole number from 1 on, got {getattr(self, name)}")
        for name in ("start", "lopsided", "learning_rate", "descent_rate", "descent_start"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is a positive number, got {getattr(self, name)}")
        if not 0 < self.observed <= 1 or not 0 < self.confidence < 1:
            raise ValueError(f"observed and confidence are shares of 1, got {self.observed} and {self.confidence}")

    def execute(self, journal: Journal) -> Outcome:
        cases = [
            *map(matrix_case, self.mf_depths),
            *(cp_case(order, False) for order in self.cp_orders),
            *(cp_case(order, True) for order in self.weighted_orders),
            *map(hierarchical_case, self.htf_arities),
        ]
        # One of each family stands for it in the controls: K = 3 where it is among those asked for.
        chosen = [
            matrix_case(3 if 3 in self.mf_depths else self.mf_depths[0]),
            cp_case(self.cp_orders[0], False),
            hierarchical_case(self.htf_arities[0]),
        ]
        found = Runs(
            balanced=[line for case in cases for line in self._train(journal, case, "balanced")],
            unbalanced=[line for case in chosen for line in self._train(journal, case, "unbalanced")],
            lopsided=[line for case in chosen for line in self._train(journal, case, "lopsided")],
            descent=[self._descend(journal, case) for case in chosen],
        )
        return report.outcome(found, self.confidence)

    def _train(self, journal: Journal, case: Case, kind: str) -> list[Line]:
        """The runs of all seeds from one kind of start; one line an index."""
        singular = case.family == "mf" and kind != "unbalanced"
        lopsided = self.lopsided if kind == "lopsided" else 1.0
        starts = [self._placed(case.start(seed, self.start, kind != "unbalanced", lopsided)) for seed in self._seeds]
        seen = [self._observe(case, seed) for seed in self._seeds]
        record = recorders.SingularValueRates if singular else recorders.Rates
        results = journal.train(
            [f"{case.name}-{kind}-{seed}" for seed in self._seeds],
            starts,
            [indices for indices, _ in seen],
            [values for _, values in seen],
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
            first = next(iter(orders))
            orders = {first: orders[first]}
        found = []
        for index, order in orders.items():
            rates = [rates_of(trace, index) for trace in traces]
            at = [d.values[np.searchsorted(d.steps, r.steps)] for d, r in zip(drifts, rates, strict=True)]
            found.append(Line(case, index, order, rates, at, kind == "balanced"))
        return found

    def _descend(self, journal: Journal, case: Case) -> Descent:
        """Plain gradient descent at two rates from one start, and the flow that they approach."""
        x, (indices, values) = self._placed(case.start(self.seed, self.descent_start)), self._observe(case, self.seed)
        record = recorders.SingularValueRates if case.family == "mf" else recorders.Rates
        every = max(1, self.descent_steps // 10)
        found: list[list[MeasuredRates]] = []
        for parts in (1, 2):
            result = journal.train(
                f"{case.name}-descent-{parts}",
                x,
                indices,
                values,
                record=[record(every=parts * every)],
                optimizer=GradientDescent(self.descent_rate / parts),
                steps=parts * self.descent_steps,
                save=False,
            )
            trace = next(iter(result.history.values()))
            found.append([rates_of(trace, index) for index in case.orders])
        # Close times, for a rate is the derivative of a spline through them.
        times = np.linspace(0.0, self.descent_rate * self.descent_steps, _FLOW_TIMES)
        flow = gradient_flow(x, indices, values, times=times, record=[record()])
        seen = next(iter(flow.history.values()))
        return Descent(case, self.descent_rate, found[0], found[1], [rates_of(seen, index) for index in case.orders])

    @property
    def _seeds(self) -> Sequence[int]:
        return range(self.seed, self.seed + self.seeds)

    def _placed(self, x: Factorization) -> Factorization:
        return x.to(self.backend, dtype=self.dtype)

    def _observe(self, case: Case, seed: int) -> tuple[Any, Any]:
        # Another seed than that of the start, whose numbers would be those of the target.
        target = case.target(seed + 1000)
        return observe(target, max(1, round(self.observed * target.size)), seed=seed)
