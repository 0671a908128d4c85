"""The numbers of the recipe dynamics-law: fitted exponents, bounds, controls, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipes._law_cases import FAMILIES
from tnrank.experiments._recipes._law_lines import Descent, Line, Runs
from tnrank.plots import LawPanel, LawPoints, dynamics_law
from tnrank.theory import ExponentFit

Host = np.ndarray[Any, Any]
_HALF_WIDTH = 0.02
_DEVIATION = 0.01
_PREFACTOR = 0.05
_FLOW = 1e-4


def outcome(runs: Runs, confidence: float) -> Outcome:
    """Figure, tables, checks and summary."""
    fits = [(line, line.interval(confidence)) for line in runs.balanced]
    controls = [(line, line.interval(confidence)) for line in runs.lopsided]
    tables = [_exponents(fits, confidence), _bounds(runs.unbalanced), _controls(controls), _steps(runs.descent)]
    checks = [*_laws(fits), *_more(runs, fits, controls)]
    summary = {
        "exponents": {line.title: _plain(line, fit) for line, fit in fits},
        "unbalanced": {
            line.title: {"largest_excess": _top(line.excess()), "bounds_ratio": line.gap()} for line in runs.unbalanced
        },
        "lopsided": {line.title: _plain(line, fit) for line, fit in controls},
        "descent": {
            d.case.name: dict(zip(("rate", "half", "flow"), d.deviations(), strict=True)) for d in runs.descent
        },
    }
    return Outcome(summary, tables, checks, dynamics_law(_panels(runs)))


def _laws(fits: Sequence[tuple[Line, ExponentFit | None]]) -> list[Check]:
    checks = []
    for family, name in FAMILIES.items():
        own = [(line, fit) for line, fit in fits if line.case.family == family]
        good = [fit is not None and fit.contains(line.law) and fit.half_width < _HALF_WIDTH for line, fit in own]
        widest = max((fit.half_width for _, fit in own if fit is not None), default=np.inf)
        exponent = "2 - 2/L" if family == "mf" else "2 - 2/K at every index"
        checks.append(
            Check(
                f"{name}: the fitted exponent's interval contains {exponent}, half-width below {_HALF_WIDTH}",
                f"{sum(good)} of {len(own)}, half-widths up to {widest:.1e}",
                all(good),
            )
        )
    return checks


def _more(
    runs: Runs, fits: Sequence[tuple[Line, ExponentFit | None]], controls: Sequence[tuple[Line, ExponentFit | None]]
) -> list[Check]:
    others = [
        fit is not None and not any(fit.contains(2 - 2 / K) for K in (line.order - 1, line.order + 1))
        for line, fit in fits
    ]
    prefactors = [abs(fit.prefactor / line.order - 1) if fit else np.inf for line, fit in fits]
    deviations = [float(np.median(line.deviation())) if len(line.groups) else np.inf for line in runs.balanced]
    excess = [_top(line.excess()) for line in runs.unbalanced]
    off = [fit is not None and not fit.contains(line.law) for line, fit in controls]
    ratios = [d.deviations()[0] / d.deviations()[1] for d in runs.descent]
    flows = [d.deviations()[2] for d in runs.descent]
    return [
        Check(
            "no interval contains the exponent of K - 1 or K + 1",
            f"{sum(others)} of {len(others)} contain neither",
            all(others),
        ),
        Check(
            f"the factor in front is K, within {_PREFACTOR:.0%}",
            f"off by {max(prefactors):.2%} at most",
            max(prefactors) < _PREFACTOR,
        ),
        Check(
            f"measured rates are the predicted ones: median deviations below {_DEVIATION:.0%}",
            f"{max(deviations):.2%} at most",
            max(deviations) < _DEVIATION,
        ),
        Check(
            f"unbalanced starts: rates lie between the bounds, within {_DEVIATION:.0%} of themselves",
            f"outside by {max(excess):.2%} at most; bounds {max(line.gap() for line in runs.unbalanced):.3g} apart",
            max(excess) < _DEVIATION and max(line.gap() for line in runs.unbalanced) > 1 + _DEVIATION,
        ),
        Check(
            "control: from a lopsided start no interval contains 2 - 2/K",
            ", ".join(f"{fit.exponent:.2f} for K = {line.order}" if fit else "none" for line, fit in controls),
            all(off),
        ),
        Check(
            "deviations halve with the step of gradient descent, within 10 %",
            "by " + ", ".join(f"{ratio:.3f}" for ratio in ratios),
            all(abs(ratio - 2) < 0.2 for ratio in ratios),
        ),
        Check(
            f"gradient flow has the predicted rates to {_FLOW:g}",
            f"{max(flows):.1e} at most",
            max(flows) < _FLOW,
        ),
    ]


def _exponents(fits: Sequence[tuple[Line, ExponentFit | None]], confidence: float) -> Table:
    rows = []
    for line, fit in fits:
        sigma = line.points("norms")
        reach = f"{sigma.min():.0e} to {sigma.max():.0e}" if len(sigma) else ""
        shown = (f"{fit.low:.4f} to {fit.high:.4f}", f"{fit.prefactor:.3f}", f"{fit.count:,}") if fit else ("", "", "0")
        rows.append(
            (
                line.title,
                f"{line.order}",
                f"{line.law:.4f}",
                *shown,
                reach,
                _median(line.deviation()),
                f"{line.drift:.0e}",
            )
        )
    columns = ("model", "K", "2 - 2/K", "fitted", "factor", "points", "norms", "deviation", "unbalanced")
    note = (
        f"Intervals of {confidence:.0%}, spanning fits at both ends of every step; points of one component of one seed "
        "are taken as one draw. Factor: K in theory. Deviation: median of |measured / exact - 1|. Unbalanced: at the "
        "end."
    )
    return Table("Exponents of log(rate / gamma) against log(sigma), balanced starts", columns, rows, note)


def _bounds(lines: Sequence[Line]) -> Table:
    rows = [
        (
            line.title,
            f"{line.order}",
            f"{line.gap():.3g}",
            f"{np.mean(line.excess() == 0):.1%}" if len(line.groups) else "",
            f"{_top(line.excess()):.1e}",
            _median(line.deviation()),
            _median(line.deviation("balanced")),
        )
        for line in lines
    ]
    columns = ("model", "K", "upper / lower", "between", "outside by", "from exact", "from balanced")
    return Table("Gaussian starts, not balanced: rates and their bounds", columns, rows)


def _controls(controls: Sequence[tuple[Line, ExponentFit | None]]) -> Table:
    rows = [
        (
            line.title,
            f"{line.order}",
            f"{line.law:.4f}",
            f"{2 - 2 / (line.order - 1):.4f}",
            f"{fit.low:.3f} to {fit.high:.3f}" if fit else "",
            _median(line.deviation()),
        )
        for line, fit in controls
    ]
    note = "A tensor that is much larger than the others hardly moves, and the component grows as if it met K - 1."
    columns = ("model", "K", "2 - 2/K", "2 - 2/(K-1)", "fitted", "from exact")
    return Table("Control: one of the K tensors scaled up, the others down", columns, rows, note)


def _steps(found: Sequence[Descent]) -> Table:
    rows = [(d.case.title, f"{d.rate:g}", *(f"{x:.1e}" for x in d.deviations())) for d in found]
    columns = ("model", "rate", "deviation", "at half the rate", "of the flow")
    return Table("Gradient descent, and gradient flow", columns, rows)


def _panels(runs: Runs) -> list[LawPanel]:
    panels = []
    for family, name in FAMILIES.items():
        lines = [line for line in runs.balanced if line.case.family == family]
        title = f"{name[0].upper()}{name[1:]}"
        label = "singular value" if family == "mf" else "component norm"
        letter = "L" if family == "mf" else "K"
        orders = sorted({line.order for line in lines})
        points = [_gathered([line for line in lines if line.order == order], order) for order in orders]
        panels.append(LawPanel(title, points, f"{label} $\\sigma$", letter))
    line = next((line for line in runs.lopsided if line.case.family == "cp"), runs.lopsided[0])
    control = [_gathered([line], line.order)]
    panels.append(
        LawPanel(f"Control: {line.case.title}, lopsided", control, "component norm $\\sigma$", "K", below=True)
    )
    return panels


def _gathered(lines: Sequence[Line], order: int) -> LawPoints:
    sigma = np.concatenate([line.points("norms") for line in lines])
    ratio = np.concatenate([line.points("measured") / line.points("projection") for line in lines])
    return LawPoints(order, sigma, ratio)


def _plain(line: Line, fit: ExponentFit | None) -> dict[str, Any]:
    found: dict[str, Any] = {"order": line.order, "law": line.law, "drift": line.drift}
    if fit is not None:
        found |= {"exponent": fit.exponent, "low": fit.low, "high": fit.high, "prefactor": fit.prefactor}
        found |= {"points": fit.count, "median_deviation": float(np.median(line.deviation()))}
    return found


def _top(values: Host) -> float:
    return float(values.max()) if len(values) else float("inf")


def _median(values: Host) -> str:
    return f"{np.median(values):.1e}" if len(values) else ""
