"""The rank-one recipe's numbers: the theorem's hypotheses, distances from the rank-one path, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.plots import RankOneLine, RankOnePanel, rank_one

Host = np.ndarray[Any, Any]
_SMALL = 1e-3
_REACHED = 1e-2
_APART = 0.1
_STAYS = 0.5
_EXACT = 1e-12
_HELD = 1e-6
_NEEDED = "leading norm over that of any other component"


@dataclass(frozen=True)
class Hypothesis:
    """One of the theorem's: ``measured`` is ``relation`` (">", "<" or ">=") than ``bound``."""

    what: str
    measured: float
    relation: str
    bound: float

    @property
    def holds(self) -> bool:
        """Whether it does; not for what is no number."""
        relations = {">": self.measured > self.bound, "<": self.measured < self.bound}
        return bool(relations.get(self.relation, self.measured >= self.bound))


def hypotheses(
    gradient: Host, values: Host, start: Sequence[Host], threshold: float, radius: float
) -> tuple[Hypothesis, ...]:
    """The theorem's hypotheses, the first component being the leading one.

    Args:
        gradient: ``(d_1, .., d_N)``, of the loss at zero.
        values: ``(M,)`` observed values.
        start: unscaled factors, ``(d_n, R)`` each.
        threshold: of the Huber loss.
        radius: of the reference sphere.

    Source: Razin, Maman & Cohen 2021 (trajectories of rank one under the Huber loss).
    """
    order = len(start)
    norms = np.stack([np.linalg.norm(a, axis=0) for a in start])
    smallest = float(np.abs(values).min())
    slope = -gradient
    for a, norm in zip(start, norms[:, 0], strict=True):
        slope = np.tensordot(a[:, 0] / norm, slope, 1)
    projection = float(slope)
    others = norms[:, 1:].max(initial=0.0)
    positive = projection > 0 and order > 2
    needed = (float(np.linalg.norm(gradient)) / projection) ** (1.0 / (order - 2)) if positive else np.inf
    return (
        Hypothesis("order", order, ">=", 3),
        Hypothesis("Huber threshold below the smallest observed |y|", threshold, "<", smallest),
        Hypothesis("unbalancedness of the start", float(np.ptp(norms**2, axis=0).max()), "<", _EXACT),
        Hypothesis("<-gradient at 0, leading direction>", projection, ">", 0.0),
        Hypothesis(_NEEDED, float(norms[:, 0].min() / others) if others > 0 else np.inf, ">", needed),
        Hypothesis("radius below smallest |y| - threshold", radius, "<", smallest - threshold),
    )


@dataclass(frozen=True)
class Followed:
    """A flow from one initial scale beside the rank-one flow.

    Attributes:
        scale: alpha.
        crossing: when the end tensor left the sphere, NaN if it did not.
        leading: the largest component at that moment.
        share: its share of the sum of the components' norms then.
        times: ``(K,)`` after the crossing.
        distances: ``(K,)`` from the rank-one trajectory, shares of the norm of the target.
        end: distance from the target at last.
        unbalancedness: at last.
        complete: whether the solver reached the prescribed time.
    """

    scale: float
    crossing: float
    leading: int
    share: float
    times: Host
    distances: Host
    end: float
    unbalancedness: float
    complete: bool

    @property
    def largest(self) -> float:
        """Distance over the prescribed time, infinite if it was not reached."""
        return float(self.distances.max()) if self.complete and len(self.distances) else np.inf


@dataclass(frozen=True)
class Followings:
    """Flows from one start at falling scales.

    Attributes:
        name: of the problem.
        order: N.
        control: whether the start violates the condition on the leading component.
        rank: of the target.
        hypotheses: measured.
        runs: of falling scales.
    """

    name: str
    order: int
    control: bool
    rank: int
    hypotheses: Sequence[Hypothesis]
    runs: Sequence[Followed]

    @property
    def largest(self) -> list[float]:
        """The largest distance at each scale."""
        return [one.largest for one in self.runs]

    @property
    def exponent(self) -> float:
        """Of the largest distance as a power of the scale, by least squares of logarithms; NaN if one is missing."""
        if not np.isfinite(self.largest).all():
            return float("nan")
        scales = np.log([one.scale for one in self.runs])
        return float(np.polyfit(scales, np.log(np.maximum(self.largest, 1e-300)), 1)[0])


def outcome(found: Sequence[Followings]) -> Outcome:
    """Figure, tables, checks and summary."""
    checks = [check for one in found for check in (_control(one) if one.control else _theorem(one))]
    return Outcome(
        {one.name: _plain(one) for one in found}, [_conditions(found), _distances(found)], checks, _figure(found)
    )


def _theorem(one: Followings) -> list[Check]:
    failed = [h.what for h in one.hypotheses if not h.holds]
    last, largest = one.runs[-1], one.largest
    worst = max(run.unbalancedness for run in one.runs)
    checks = [
        Check(
            f"{one.name}: every hypothesis of the theorem holds",
            f"{len(one.hypotheses) - len(failed)} of {len(one.hypotheses)}",
            not failed,
        ),
        Check(
            f"{one.name}: from every scale the flow leaves the sphere, the leading component largest, balance kept",
            f"{sum(run.leading == 0 for run in one.runs)} of {len(one.runs)}, unbalancedness {worst:.0e}",
            all(np.isfinite(run.crossing) and run.leading == 0 for run in one.runs) and worst < _HELD,
        ),
        Check(
            f"{one.name}: the smaller the scale the closer it follows the rank-one path, within {_SMALL:g} at last",
            f"{' > '.join(f'{value:.2g}' for value in largest)}; exponent {one.exponent:.2f}",
            all(b < a for a, b in pairwise(largest)) and largest[-1] < _SMALL,
        ),
    ]
    if one.rank == 1:
        checks.append(
            Check(
                f"{one.name}: at the smallest scale it reaches the target of rank one, within {_REACHED:.0%}",
                f"{last.end:.2g}",
                last.complete and last.end < _REACHED,
            )
        )
    return checks


def _control(one: Followings) -> list[Check]:
    failed = [h.what for h in one.hypotheses if not h.holds]
    largest = one.largest
    return [
        Check(
            f"{one.name}: the condition on the leading component fails, and no other",
            "fails: " + (", ".join(failed) or "none"),
            failed == [_NEEDED],
        ),
        Check(
            f"{one.name}: it does not follow a rank-one path, never within {_APART:g}, nor closer from smaller scales",
            f"{', '.join(f'{value:.2g}' for value in largest)}; exponent {one.exponent:.2f}",
            bool(np.isfinite(largest).all()) and min(largest) > _APART and largest[-1] > _STAYS * largest[0],
        ),
    ]


def _conditions(found: Sequence[Followings]) -> Table:
    rows = [
        (one.name, h.what, f"{h.measured:.4g}", f"{h.relation} {h.bound:.4g}", "yes" if h.holds else "NO")
        for one in found
        for h in one.hypotheses
    ]
    return Table("Hypotheses of the theorem", ("start", "hypothesis", "measured", "needed", "holds"), rows)


def _distances(found: Sequence[Followings]) -> Table:
    rows = [
        (
            one.name,
            f"{run.scale:g}",
            f"{run.crossing:.4g}",
            f"{run.leading + 1}",
            f"{run.share:.4f}",
            f"{run.distances[0]:.2e}" if len(run.distances) else "",
            f"{run.largest:.2e}",
            f"{run.end:.2e}",
        )
        for one in found
        for run in one.runs
    ]
    exponents = ", ".join(f"{one.name} {one.exponent:.2f} (order {one.order})" for one in found)
    note = f"Shares of the norm of the target. Exponents of the largest distance in the scale: {exponents}."
    columns = ("start", "scale", "leaves at", "largest", "its share", "at first", "at most", "to target")
    return Table("Distance from the rank-one trajectory", columns, rows, note)


def _figure(found: Sequence[Followings]) -> Any:
    panels = []
    for one in found:
        lines = [RankOneLine(run.scale, run.times, run.distances, run.largest) for run in one.runs]
        panels.append(RankOnePanel(one.name, lines, one.control))
    return rank_one(panels)


def _plain(one: Followings) -> dict[str, Any]:
    return {
        "hypotheses": [
            {"what": h.what, "measured": h.measured, "relation": h.relation, "bound": h.bound, "holds": h.holds}
            for h in one.hypotheses
        ],
        "scales": [run.scale for run in one.runs],
        "crossing_times": [run.crossing for run in one.runs],
        "largest_components": [run.leading + 1 for run in one.runs],
        "largest_distances": one.largest,
        "exponent": one.exponent,
        "target_distances": [run.end for run in one.runs],
        "unbalancedness": [run.unbalancedness for run in one.runs],
    }
