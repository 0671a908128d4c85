"""The analogy recipe's numbers: fitted exponents, minimized ranks, the page and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.linalg import matricize
from tnrank.plots import AnalogyRow, analogy, analogy_page
from tnrank.ranks import effective_rank
from tnrank.theory import ExponentFit, fit_exponent
from tnrank.training import CompletionResult, rates_of

_ORDER = 3
"""K of all three rows: depth 3, order 3, two children and the parent."""
_THEORY = 2 - 2 / _ORDER
_RISEN = 0.01
_CLOSE = 0.01
"""How near a fitted exponent is to the theory's: the error of a finite learning rate is smaller."""
_TEXTS = {
    "mf": ("Matrix factorization", "singular values", "depth", "matrix rank"),
    "cp": ("Tensor (CP) factorization", "component norms", "order", "tensor rank"),
    "htf": ("Hierarchical factorization", "local component norms", "children + 1", "hierarchical tensor rank"),
}


@dataclass(frozen=True)
class Measured:
    """One row; ``ranks``: what is ranked -> effective rank of the model and of the target."""

    model: str
    result: CompletionResult
    steps: Any
    values: Any
    norms: Any
    ratios: Any
    fit: ExponentFit
    error: float
    ranks: dict[str, tuple[float, float]]

    @property
    def risen(self) -> int:
        """How many components end above 1 % of the largest."""
        final = self.values[-1]
        return int((final > _RISEN * final.max(initial=0.0)).sum())


def measure(model: str, result: CompletionResult, rates_name: str, target: Any) -> Measured:
    """A run's curves, the exponent of its growing components, and its ranks at the end.

    A run too short for anything to grow has no exponent: its fit is not a number, and its claim fails.
    """
    trace = result.history["component_norms"]
    x = result.factorization
    values = trace.values[x.tree.root] if isinstance(trace.values, dict) else trace.values
    rates = rates_of(result.history[rates_name])
    growing = _growing(rates.norms) & (rates.measured > 0) & (rates.projection > 0)
    norms, found, gamma = rates.norms[growing], rates.measured[growing], rates.projection[growing]
    dense = np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)
    error = float(np.linalg.norm(dense - target) / np.linalg.norm(target))
    known = len(norms) >= 3 and np.ptp(norms) > 0
    fit = fit_exponent(norms, found, gamma) if known else ExponentFit(np.nan, np.nan, np.nan, np.nan, len(norms))
    return Measured(
        model, result, trace.steps, values, norms, found / gamma, fit, error, _ranks(model, x, dense, target)
    )


def _known(m: Measured) -> bool:
    return not np.isnan(m.fit.exponent)


def _growing(norms: Any) -> Any:
    """Where a component is on its way up: from 1 % of the largest to nine tenths of its own highest norm."""
    peak = norms.max(0)
    arrived = np.cumsum(norms >= 0.9 * peak, axis=0) > 0
    return (norms > _RISEN * norms.max()) & ~arrived


def _ranks(model: str, x: Any, dense: Any, target: Any) -> dict[str, tuple[float, float]]:
    if model == "htf":
        groups = sorted({node.modes for node in x.tree.nodes if len(node.modes) < x.ndim}, key=lambda m: (len(m), m))
    else:
        groups = [(mode,) for mode in range(1 if model == "mf" else x.ndim)]
    return {
        "{" + ",".join(map(str, modes)) + "}": (
            float(effective_rank(matricize(dense, modes))),
            float(effective_rank(matricize(target, modes))),
        )
        for modes in groups
    }


def outcome(rows: Sequence[Measured]) -> Outcome:
    """Table, page, figure, checks and summary."""
    drawn = [_row(m) for m in rows]
    page = analogy_page(drawn).encode()
    return Outcome(
        {m.model: _summary(m) for m in rows}, [_table(rows)], _checks(rows), analogy(drawn), {"analogy.html": page}
    )


def _row(m: Measured) -> AnalogyRow:
    title, quantity, what, rank = _TEXTS[m.model]
    recorded, there = m.values.shape[1], _components(m)
    count = f"{m.risen} or more of {there}" if m.risen == recorded < there else f"{m.risen} of {there}"
    told = [f"{count} {'singular values' if m.model == 'mf' else 'components'} end above 1 %"]
    worst = max(m.ranks, key=lambda group: m.ranks[group][0])
    told.append(f"largest effective rank {m.ranks[worst][0]:.2f}, the target's {m.ranks[worst][1]:.2f}")
    told.append(f"relative error {m.error:.1e}")
    return AnalogyRow(
        title=title,
        quantity=quantity,
        order=_ORDER,
        order_name=f"K = {what} = {_ORDER}",
        steps=m.steps,
        values=m.values,
        norms=m.norms,
        ratios=m.ratios,
        exponent=m.fit.exponent,
        interval=(m.fit.low, m.fit.high),
        rank=rank,
        measured=told,
    )


def _components(m: Measured) -> int:
    x = m.result.factorization
    if m.model == "mf":
        return int(min(x.shape))
    norms = x.component_norms()
    return len(norms[x.tree.root] if isinstance(norms, dict) else norms)


def _summary(m: Measured) -> dict[str, Any]:
    return {
        "status": m.result.status,
        "steps": m.result.steps,
        "loss": m.result.loss,
        "relative_error": m.error,
        "exponent": m.fit.exponent,
        "exponent_interval": [m.fit.low, m.fit.high],
        "prefactor": m.fit.prefactor,
        "points": m.fit.count,
        "above_one_percent": m.risen,
        "final_values": m.values[-1],
        "effective_ranks": {group: {"model": a, "target": b} for group, (a, b) in m.ranks.items()},
    }


def _table(rows: Sequence[Measured]) -> Table:
    cells = []
    for m in rows:
        title, quantity, _, rank = _TEXTS[m.model]
        fitted = f"{m.fit.exponent:.4f} +- {m.fit.half_width:.4f}" if _known(m) else "nothing grew"
        cells.append((title, quantity, fitted, f"{m.fit.prefactor:.2f}", f"{_THEORY:.4f}", rank, f"{m.risen}"))
    columns = ("factorization", "quantity", "exponent", "factor K", "theory", "minimized rank", "risen")
    note = (
        f"d sigma / d tau = K sigma^(2 - 2/K) gamma, here K = {_ORDER} in all rows; fitted to the components that are "
        "growing. The interval is that of the regression, without the error of a finite learning rate."
    )
    return Table("The analogy", columns, cells, note)


def _checks(rows: Sequence[Measured]) -> list[Check]:
    found = []
    for m in rows:
        name = m.model.upper()
        found.append(
            Check(
                f"{name}: the exponent is {_THEORY:.4f}, and K is {_ORDER}",
                f"{m.fit.exponent:.4f}, {m.fit.prefactor:.3f}"
                if _known(m)
                else f"nothing grew that an exponent could be fitted to (points: {m.fit.count}): give more steps",
                abs(m.fit.exponent - _THEORY) < _CLOSE and abs(m.fit.prefactor / _ORDER - 1) < 0.05,
            )
        )
        apart = {group: abs(a / b - 1) for group, (a, b) in m.ranks.items()}
        worst = max(apart, key=lambda group: apart[group])
        a, b = m.ranks[worst]
        found.append(
            Check(
                f"{name}: effective ranks are within 10 % of the target's",
                f"worst at {worst}: {a:.2f} against {b:.2f}",
                apart[worst] <= 0.1,
            )
        )
    return found
