"""Gradient flow of CP factorization follows a trajectory of rank one, once it has left the origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank.experiments.fields import NonNegative, Part, Positive, Range, Several, Share, Steps
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, falls, register
from tnrank.experiments.recipes._flow_paths import Host, exponent, note, shades
from tnrank.experiments.recipes._rank_one_problems import NEEDED, Hypothesis, Problem, hypotheses, outer, problem_of
from tnrank.factorizations import CPFactorization
from tnrank.plots.painters import MARKERS, Figure, Line, legend, lines, panels

_LATER = 1.1
"""A flow crosses the sphere before the time at which its leading component alone, not turning, would be infinite."""
_PIECES = 24
_SMALL = 1e-3
_REACHED = 1e-2
_APART = 0.1
_STAYS = 0.5
_HELD = 1e-6
_FLOOR = 1e-12
_EMPTY = (1e-6, 1.0)
"""Limits of a panel in which no flow got anywhere."""

_Scales = Annotated[tuple[Positive, ...], Several(2, "falling")]
_MEMORY = "arrays of that size do not fit into memory"


@register
@dataclass(frozen=True, kw_only=True)
class RankOne(Recipe):
    """The theorem on rank-one trajectories, hypothesis by hypothesis, beside a start that violates one.

    Component vectors start at alpha times balanced ones. When the end tensor leaves a sphere around zero, the gradient
    flow of a single component starts there, and both go on for a prescribed time.

    Attributes:
        orders: of the tensors.
        size: every dimension, even.
        components: of the CP factorization.
        scales: initial scales alpha at order 3.
        fourth_scales: initial scales at order 4 and above, where a start of alpha waits as long as 1 / alpha^2.
        observed_share: of the entries of the target of rank one; of that of rank two both blocks are.
        threshold_share: Huber threshold over the smallest observed |y|.
        radius_share: radius of the sphere over what the theorem leaves: smallest |y| - threshold.
        margin: how far the leading norm is above its bound, as a factor.
        tilt: of the leading direction, away from the signs of the target; the part orthogonal to them.
        span: prescribed time after the crossing, over the number of observations (the loss is their mean).
        points: recorded times after the crossing.
        steps: the most solver steps of one flow.

    Source: Razin, Maman & Cohen 2021 (trajectories of rank one under the Huber loss).
    """

    name: ClassVar[str] = "rank-one"
    title: ClassVar[str] = "CP factorization from small weights follows a rank-one trajectory"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"orders": (3, 4), "components": 10, "scales": (0.2, 0.1, 0.05, 0.025, 0.0125)},
            **{"fourth_scales": (0.4, 0.3, 0.2, 0.15, 0.1)},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "numpy"
    dtype: str = "float64"
    orders: Annotated[tuple[Annotated[int, Range(3, 1000, _MEMORY)], ...], Several()] = (3,)
    size: Annotated[int, Range(2, 10**6, _MEMORY)] = 6
    components: Annotated[int, Range(2, 10**6, _MEMORY)] = 6
    scales: _Scales = (0.2, 0.1, 0.05, 0.025)
    fourth_scales: _Scales = (0.4, 0.3, 0.2, 0.15)
    observed_share: Share = 0.7
    threshold_share: Part = 0.5
    radius_share: Part = 0.5
    margin: Annotated[float, Range(above=1)] = 1.25
    tilt: NonNegative = 0.3
    span: Positive = 8.0
    points: Annotated[int, Range(16, 10**6, _MEMORY)] = 96
    steps: Steps = 100_000

    def check(self) -> None:
        if self.size % 2:
            raise ValueError(f"size, of two equal blocks, is even, got {self.size}")
        if self.dtype != "float64":
            raise ValueError(f"distances between flows need dtype float64, got {self.dtype}")

    def execute(self, journal: Journal) -> Outcome:
        problems = [problem_of(self, order, rank) for order in self.orders for rank in (1, 2)]
        return _outcome([self._follow(journal, problem, start) for problem in problems for start in problem.starts])

    def _follow(self, journal: Journal, problem: Problem, which: str) -> Followings:
        name, start, order = problem.name + which, problem.starts[which], problem.target.ndim
        runs = []
        for scale in self.scales if order == 3 else self.fourth_scales:
            journal.say(f"{name}: initial scale {scale:g}")
            run, end = follow(problem, start, scale, self.span)
            runs.append(run)
            note(journal, f"{name}, scale {scale:g}", flow_time=run.times, distance=run.distances)
        journal.save(name.replace(", ", "-").replace(" ", "-"), end)
        return Followings(name, order, bool(which), problem.rank, hypotheses(problem, start), runs)


@dataclass(frozen=True)
class Followed:
    """A flow from one initial scale beside the rank-one flow; distances are shares of the norm of the target.

    At ``crossing`` (NaN if it never did) the end tensor left the sphere, the ``leading`` component the largest, with a
    ``share`` of the sum of all norms; ``times`` are from then on. ``end`` is the distance from the target at last.
    """

    scale: float
    crossing: float
    leading: int
    share: float
    times: Host = field(default_factory=lambda: np.zeros(0))
    distances: Host = field(default_factory=lambda: np.zeros(0))
    end: float = np.inf
    unbalancedness: float = 0.0
    complete: bool = False

    @property
    def largest(self) -> float:
        """Distance over the prescribed time, infinite if that was not reached."""
        return float(self.distances.max()) if self.complete and len(self.distances) else np.inf


def follow(problem: Problem, start: Sequence[Host], scale: float, span: float) -> tuple[Followed, CPFactorization]:
    """The flow from a scaled start beside that of its leading component, and where it ends."""
    observed, target = problem.observed, problem.target
    crossing, x = _leave(problem, CPFactorization([scale * a for a in start]))
    factors = [np.asarray(a) for a in x.to("numpy").factors]
    norms = np.prod([np.linalg.norm(a, axis=0) for a in factors], axis=0)
    leading = int(norms.argmax())
    found = Followed(scale, crossing, leading, float(norms[leading] / norms.sum()))
    if not np.isfinite(crossing):
        return found, x
    vectors, length = [a[:, leading : leading + 1] for a in factors], problem.radius ** (1.0 / target.ndim)
    alone = CPFactorization([length * v / np.linalg.norm(v) for v in vectors])
    # Most of the way is gone early, where the distance has its peak.
    times = span * len(observed.values) * np.linspace(0.0, 1.0, observed.points) ** 2
    paths = [observed.at(each, times) for each in (x, alone)]
    count, size, end = min(len(path.times) for path in paths), float(np.linalg.norm(target)), paths[0].end
    points, line_points = (path.points[:count] for path in paths)
    squares = [np.linalg.norm(np.asarray(a), axis=0) ** 2 for a in end.to("numpy").factors]
    found = replace(
        found,
        times=paths[0].times[:count],
        distances=np.linalg.norm(points - line_points, axis=1) / size,
        end=float(np.linalg.norm(points[-1] - target.ravel())) / size,
        unbalancedness=float(np.ptp(squares, axis=0).max()),
        complete=not any(path.cut for path in paths),
    )
    return found, end


def _leave(problem: Problem, x: CPFactorization) -> tuple[float, CPFactorization]:
    """The time at which the end tensor crosses the sphere, NaN if it does not, and the factorization then."""
    from scipy.optimize import brentq

    order = problem.target.ndim
    vectors = [np.asarray(a)[:, 0] for a in x.factors]
    norm = float(np.linalg.norm(vectors[0]))
    projection = float(np.sum(-problem.gradient * outer([v / norm for v in vectors])))

    def beyond(later: float) -> float:
        return float(np.linalg.norm(problem.observed.at(x, np.array([later])).points[-1])) - problem.radius

    if projection <= 0 or beyond(0.0) >= 0:
        return float("nan"), x
    piece = _LATER / ((order - 2) * projection * norm ** (order - 2)) / _PIECES
    for k in range(_PIECES):
        path = problem.observed.at(x, np.array([piece]))
        if path.cut:
            break
        if np.linalg.norm(path.points[-1]) > problem.radius:
            later = float(brentq(beyond, 0.0, piece, xtol=1e-13 * piece, rtol=1e-13))
            return k * piece + later, problem.observed.at(x, np.array([later])).end
        x = path.end
    return float("nan"), x


@dataclass(frozen=True)
class Followings:
    """Flows from one start, which may be a control, at falling scales; ``rank`` is that of the target."""

    name: str
    order: int
    control: bool
    rank: int
    hypotheses: Sequence[Hypothesis]
    runs: Sequence[Followed]

    @property
    def largest(self) -> list[float]:
        return [run.largest for run in self.runs]

    @property
    def exponent(self) -> float:
        return exponent([run.scale for run in self.runs], self.largest)


def _outcome(found: Sequence[Followings]) -> Outcome:
    summary = {
        one.name: {
            "hypotheses": [{**asdict(h), "holds": h.holds} for h in one.hypotheses],
            "scales": [run.scale for run in one.runs],
            "crossing_times": [run.crossing for run in one.runs],
            "largest_components": [run.leading + 1 for run in one.runs],
            "largest_distances": one.largest,
            "exponent": one.exponent,
            "target_distances": [run.end for run in one.runs],
            "unbalancedness": [run.unbalancedness for run in one.runs],
        }
        for one in found
    }
    checks = [check for one in found for check in (_control(one) if one.control else _theorem(one))]
    return Outcome(summary, [_conditions(found), _distances(found)], checks, partial(_figure, found))


def _theorem(one: Followings) -> list[Check]:
    holding, count, largest = sum(h.holds for h in one.hypotheses), len(one.hypotheses), one.largest
    every = Check(f"{one.name}: every hypothesis of the theorem holds", f"{holding} of {count}", holding == count)

    claim = f"{one.name}: from every scale the flow leaves the sphere, the leading component largest, balance kept"
    worst, leads = max(run.unbalancedness for run in one.runs), [run.leading == 0 for run in one.runs]
    left = all(leads) and all(np.isfinite(run.crossing) for run in one.runs)
    leaves = Check(claim, f"{sum(leads)} of {len(leads)}, unbalancedness {worst:.0e}", left and worst < _HELD)

    claim = f"{one.name}: the smaller the scale the closer it follows the rank-one path, within {_SMALL:g} at last"
    measured = f"{' > '.join(f'{value:.2g}' for value in largest)}; exponent {one.exponent:.2f}"
    checks = [every, leaves, Check(claim, measured, falls(largest) and largest[-1] < _SMALL)]
    if one.rank == 1:
        claim, last = f"{one.name}: at the smallest scale it reaches the target of rank one", one.runs[-1]
        reached = last.complete and last.end < _REACHED
        checks.append(Check(f"{claim}, within {_REACHED:.0%}", f"{last.end:.2g}", reached))
    return checks


def _control(one: Followings) -> list[Check]:
    failed, largest = [h.what for h in one.hypotheses if not h.holds], one.largest
    claim = f"{one.name}: the condition on the leading component fails, and no other"
    fails = Check(claim, f"fails: {', '.join(failed) or 'none'}", failed == [NEEDED])
    claim = f"{one.name}: it does not follow a rank-one path, never within {_APART:g}, nor closer from smaller scales"
    measured = f"{', '.join(f'{value:.2g}' for value in largest)}; exponent {one.exponent:.2f}"
    far = bool(np.isfinite(largest).all()) and min(largest) > _APART and largest[-1] > _STAYS * largest[0]
    return [fails, Check(claim, measured, far)]


def _conditions(found: Sequence[Followings]) -> Table:
    rows = [
        (one.name, h.what, f"{h.measured:.4g}", f"{h.relation} {h.bound:.4g}", "yes" if h.holds else "NO")
        for one in found
        for h in one.hypotheses
    ]
    return Table("Hypotheses of the theorem", ("start", "hypothesis", "measured", "needed", "holds"), rows)


def _distances(found: Sequence[Followings]) -> Table:
    rows = []
    for one in found:
        for run in one.runs:
            crossed = (f"{run.crossing:.4g}", f"{run.leading + 1}", f"{run.share:.4f}")
            first = f"{run.distances[0]:.2e}" if len(run.distances) else ""
            rows.append((one.name, f"{run.scale:g}", *crossed, first, f"{run.largest:.2e}", f"{run.end:.2e}"))
    exponents = ", ".join(f"{one.name} {one.exponent:.2f} (order {one.order})" for one in found)
    note = f"Shares of the norm of the target. Exponents of the largest distance in the scale: {exponents}."
    columns = ("start", "scale", "leaves at", "largest", "its share", "at first", "at most", "to target")
    return Table("Distance from the rank-one trajectory", columns, rows, note)


def _figure(found: Sequence[Followings]) -> Figure:
    """On the left the distance along the flows of two blocks and their control, on the right its largest value."""
    figure, axes = panels(1, 2, 4.8, 4.3)
    left, right = axes[0]
    # They differ in nothing but the start.
    shown, control = found[1:3]
    drawn = []
    for one in (shown, control):
        for k, (run, shade) in enumerate(zip(one.runs, shades(len(one.runs)), strict=True)):
            look = ("" if k else "control", 1, "--") if one.control else (f"{run.scale:g}", shade, "-")
            drawn.append(Line(run.times, np.maximum(run.distances, _FLOOR), *look))
    title = f"Along the flow: {shown.name}"
    lines(left, drawn, title, "time after leaving the sphere", "distance / norm of target", "y", None)
    low, high = left.get_ylim() if any(len(line.x) for line in drawn) else _EMPTY
    left.set_ylim(low, high * (high / low) ** 0.22)
    small: dict[str, Any] = {"title_fontsize": 7.5, "fontsize": 7.5, "columnspacing": 1.0, "handlelength": 1.5}
    legend(left, "upper center", title="initial scale", ncols=min(len(shown.runs) + 1, 6), **small)

    drawn = []
    for is_control, colors in ((False, (0, 2, 3, 5, 6, 7)), (True, (1, 4))):
        for k, one in enumerate(each for each in found if each.control == is_control):
            good = {run.scale: run.largest for run in one.runs if 0 < run.largest < np.inf}
            color, style, marker = colors[k % len(colors)], "--" if is_control else "-", MARKERS[k % len(MARKERS)]
            drawn.append(Line([*good], [*good.values()], one.name, color, style, marker, hollow=is_control))
    title = "Largest distance from the rank-one path"
    lines(right, drawn, title, "initial scale", "share of the target's norm", "xy", None)
    if not any(len(line.x) for line in drawn):
        right.set_ylim(_EMPTY)
    ticks = sorted({run.scale for one in found for run in one.runs})
    right.set(xlim=(ticks[0] / 1.15, ticks[-1] * 1.15))
    right.set_xticks(ticks, labels=[f"{value:g}" for value in ticks])
    # The lines rise to the right, below the controls.
    legend(right, "upper left", bbox_to_anchor=(0.0, 0.92))
    for panel in (left, right):
        panel.minorticks_off()
    return figure
