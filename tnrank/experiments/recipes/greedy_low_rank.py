"""Greedy low-rank learning, from saddle to saddle, beside gradient flow from small weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._check import generator as make_generator
from tnrank.data import observe
from tnrank.experiments.fields import Count, Part, Positive, Range, Several, Share, Steps
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, falls, register
from tnrank.experiments.recipes import _flow_paths as paths
from tnrank.experiments.recipes._flow_paths import Host, Observed, Path
from tnrank.experiments.recipes._greedy_steps import CHUNKS, DONE, Greedy, greedy_learning
from tnrank.factorizations import CPFactorization, Factorization, HierarchicalFactorization, MatrixFactorization
from tnrank.plots.painters import MARKERS, Axes, Figure, Line, legend, lines, new_figure
from tnrank.theory import escape_time
from tnrank.training import SquaredLoss

_ONWARD = 0.3
"""A flow that is not over goes on for this share of the time that it took so far."""
_FITTED = 1e-4
_VISITED = 0.05
_NEARER = 0.75
_CONTROL = 4.0
_STOP = 0.1
_MISSED = 0.25

_Scales = Annotated[tuple[Positive, ...], Several(2, "falling")]
_Values = Annotated[tuple[Positive, ...], Several()]


@register
@dataclass(frozen=True, kw_only=True)
class GreedyLowRank(Recipe):
    """Gradient flow from small weights beside greedy low-rank learning, for matrix, CP and hierarchical factorization.

    Greedy learning goes from saddle to saddle: it starts at zero, takes the best rank-one direction of the negative
    gradient, follows the flow from there to the next stationary point, and so on. A hierarchical factorization takes
    the best new local component, or with ``whole`` a rank-one tensor with a component at every node.

    Attributes:
        depths: of the matrix factorizations.
        matrix_size: rows and columns of their target.
        tensor_size: every dimension of the tensors of order 3.
        cp_rank: components of the CP factorization.
        htf_width: local components of every interior node of the hierarchical factorization.
        matrix_values: singular values of the matrix.
        cp_values: norms of the orthogonal components of the CP target.
        htf_values: root weights of the hierarchical target, whose other matrices have orthonormal columns.
        scales: initial scales alpha: balanced random weights, of component vectors of norm about 1, times alpha.
        shallow_scales: initial scales at depth 2, which needs smaller ones.
        htf_scales: initial scales of the hierarchical factorization, which waits as long as 1 / alpha^3.
        large: the initial scale of the control.
        step_size: the norm of the vectors with which greedy learning leaves a saddle.
        observed_share: of the entries.
        most_saddles: greedy learning ends there.
        whole: also measure the greedy path of whole rank-one tensors for the hierarchical factorization.
        points: recorded times of one piece of a flow.
        steps: the most solver steps of one flow.

    Source: Li, Luo & Lyu 2021 (matrices); Razin, Maman & Cohen 2021 and 2022 for what a component is.
    """

    name: ClassVar[str] = "greedy-low-rank"
    title: ClassVar[str] = "gradient flow from small weights follows greedy low-rank learning"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"scales": (0.3, 0.1, 0.03, 0.01), "htf_scales": (0.3, 0.1, 0.05, 0.03)},
            **{"shallow_scales": (1e-1, 1e-2, 1e-4, 1e-6, 1e-8), "whole": True, "points": 160},
        },
    }
    draws: ClassVar[bool] = True

    dtype: str = "float64"
    depths: Annotated[tuple[Annotated[int, Range(2, 1000)], ...], Several()] = (2, 3)
    matrix_size: Count = 10
    tensor_size: Count = 5
    cp_rank: Count = 25
    htf_width: Count = 16
    matrix_values: _Values = (4.0, 2.0, 1.0)
    cp_values: _Values = (3.0, 2.0, 1.0)
    htf_values: _Values = (2.0, 1.0)
    scales: _Scales = (0.3, 0.1, 0.03)
    htf_scales: _Scales = (0.3, 0.1, 0.05)
    shallow_scales: _Scales = (1e-1, 1e-3, 1e-6)
    large: Positive = 1.0
    step_size: Part = 1e-2
    observed_share: Share = 0.9
    most_saddles: Count = 8
    whole: bool = False
    points: Annotated[int, Range(16, 10**6, "paths of that length do not fit into memory")] = 64
    steps: Steps = 300_000

    def check(self) -> None:
        for field in ("scales", "shallow_scales", "htf_scales"):
            if not self.large > max(getattr(self, field)):
                raise ValueError(f"large, the scale of the control, is above all {field}, got {self.large}")
        sizes = {"matrix_values": self.matrix_size, "cp_values": self.tensor_size, "htf_values": self.tensor_size}
        for field, most in sizes.items():
            if len(getattr(self, field)) > most:
                raise ValueError(f"{field} are 1 to {most} positive numbers, got {getattr(self, field)}")
        if self.dtype != "float64":
            raise ValueError(f"distances to saddles need dtype float64, got {self.dtype}")

    def execute(self, journal: Journal) -> Outcome:
        return _outcome([self._compare(journal, *model) for model in self._models()])

    def _models(self) -> Iterator[tuple[str, Host, Factorization, int, Sequence[float]]]:
        """Name, target and unscaled start, components of the target, scales."""
        d, seed = self.matrix_size, self.seed
        generator = make_generator(seed)
        u, v = (_orthonormal(generator, d, len(self.matrix_values)) for _ in range(2))
        for depth in self.depths:
            start = MatrixFactorization.random((d, d), depth, std=d**-0.5, balanced=True, seed=seed)
            scales = self.shallow_scales if depth == 2 else self.scales
            yield f"MF depth {depth}", (u * self.matrix_values) @ v.T, start, len(self.matrix_values), scales

        shape, std = (self.tensor_size,) * 3, self.tensor_size**-0.5
        generator = make_generator(seed)
        first, *rest = (_orthonormal(generator, self.tensor_size, len(self.cp_values)) for _ in shape)
        target = CPFactorization([first * self.cp_values, *rest]).to_dense()
        cp = CPFactorization.random(shape, self.cp_rank, std=std, balanced=True, seed=seed)
        yield "CP", np.asarray(target), cp, len(self.cp_values), self.scales

        generator = make_generator(seed)
        weights = np.asarray(self.htf_values)[:, None]
        drawn = HierarchicalFactorization.random(shape, width=len(weights), seed=seed).map(
            lambda matrix: weights if matrix.shape[1] == 1 else _orthonormal(generator, *matrix.shape)
        )
        htf = HierarchicalFactorization.random(shape, width=self.htf_width, std=std, balanced=True, seed=seed)
        # The first component is at every node, each of the others at one node.
        components = 1 + (len(weights) - 1) * len(htf.tree.interior)
        yield "HTF", np.asarray(drawn.to_dense()), htf, components, self.htf_scales

    def _compare(
        self, journal: Journal, name: str, target: Host, start: Factorization, components: int, scales: Sequence[float]
    ) -> Compared:
        indices, values = observe(target, max(1, round(self.observed_share * target.size)), seed=self.seed)
        options: dict[str, Any] = {"steps": self.steps, "points": self.points, "backend": self.backend}
        problem = Observed(indices, np.asarray(values), SquaredLoss(reduction="half_sum"), **options)
        journal.say(f"{name}: greedy")
        learn = partial(greedy_learning, problem, start, self.step_size, self.most_saddles)
        greedy = learn()
        whole = learn(whole=True) if self.whole and name == "HTF" else None
        descents = []
        for scale in (*scales, self.large):
            journal.say(f"{name}: initial scale {scale:g}")
            path = _descend(problem, start.map(partial(np.multiply, scale)), scale, greedy)
            descents.append(Descent(scale, path, greedy, whole))
            paths.note(journal, f"{name}, scale {scale:g}", effective_time=path.times, loss=path.losses)
        journal.save(name.lower().replace(" ", "-"), path.end)
        return Compared(name, components, greedy, whole, descents[:-1], descents[-1])


def _descend(problem: Observed, x: Factorization, scale: float, greedy: Greedy) -> Path:
    degree, gammas = len(x.arrays), [saddle.gamma for saddle in greedy.saddles[1:]]
    until = max(0.5 * escape_time(min(scale, 0.5) ** degree, 1.0, degree, gammas[0]), 1.0 / gammas[0])
    parts: list[Path] = []
    for _ in range(CHUNKS):
        parts.append(problem.flow(parts[-1].end if parts else x, until))
        if parts[-1].losses[-1] < DONE * greedy.saddles[0].loss or parts[-1].cut:
            break
        until = max(2.0 / min(gammas), _ONWARD * sum(part.times[-1] for part in parts))
    return Path.joined(parts)


def _orthonormal(generator: Any, rows: int, columns: int) -> Host:
    return np.asarray(np.linalg.qr(generator.standard_normal((rows, columns)))[0])


class Descent:
    """Gradient flow from one initial scale; distances are shares of the norm of the last greedy tensor."""

    def __init__(self, scale: float, path: Path, greedy: Greedy, whole: Greedy | None) -> None:
        self.scale, self.path = scale, path
        saddles = np.stack([saddle.tensor.ravel() for saddle in greedy.saddles])
        distances = np.stack([np.linalg.norm(path.points - s, axis=1) for s in saddles], axis=1) / greedy.size
        self.visited = float(max(paths.distances_to(saddles[1:], path.points), default=np.inf)) / greedy.size
        """The largest distance at which it passes a greedy saddle."""
        self.apart = paths.path_distance(path.points, greedy.points) / greedy.size
        """Hausdorff distance from the greedy path; then from that of whole rank-one tensors, if that was asked for."""
        self.apart_whole = None if whole is None else paths.path_distance(path.points, whole.points) / whole.size
        self.end = float(distances[-1, -1])
        self.stops = [(int(distances[k].argmin()), float(distances[k].min())) for k in paths.plateaus(path)]
        """Which saddle is nearest wherever the flow slows down, and how far it is."""


@dataclass(frozen=True)
class Compared:
    """One model: greedy paths, flows from falling scales, and the control."""

    name: str
    components: int
    greedy: Greedy
    whole: Greedy | None
    descents: Sequence[Descent]
    control: Descent

    @property
    def flows(self) -> list[tuple[str, Descent]]:
        """With the control at last, and how they are called."""
        named = [(f"{d.scale:g}", d) for d in self.descents]
        return [*named, (f"{self.control.scale:g} (control)", self.control)]

    @property
    def exponent(self) -> float:
        """Of the distance of the paths as a power of the scale."""
        return paths.exponent([d.scale for d in self.descents], [d.apart for d in self.descents])


def _outcome(found: Sequence[Compared]) -> Outcome:
    summary = {
        one.name: {
            "scales": [d.scale for d in one.descents],
            "saddle_distances": [d.visited for d in one.descents],
            "path_distances": [d.apart for d in one.descents],
            "path_exponent": one.exponent,
            "stops": [[list(stop) for stop in d.stops] for d in one.descents],
            "control": {"scale": one.control.scale, "saddles": one.control.visited, "paths": one.control.apart},
            "greedy": [
                {"added": s.what, "gamma": s.gamma, "loss": s.loss, "ranks": list(s.ranks)} for s in one.greedy.saddles
            ],
        }
        for one in found
    }
    checks = [check for one in found for check in _checks(one)]
    return Outcome(summary, [_distances(found), _saddles(found)], checks, partial(_figure, found))


def _checks(one: Compared) -> list[Check]:
    name, saddles, flows, control = one.name, one.greedy.saddles, one.descents, one.control
    left = saddles[-1].loss / saddles[0].loss
    rises = [np.subtract(after.ranks, before.ranks) for before, after in pairwise(saddles)]
    steady = all(((rise >= 0) & (rise <= 1)).all() for rise in rises)
    claim = f"{name}: greedy learning fits in {one.components} steps, ranks rising by at most 1 in each"
    measured = f"{len(rises)} steps, loss falls to {left:.0e} of the first"
    fits = Check(claim, measured, len(rises) == one.components and left < _FITTED and steady)

    visited, apart = [d.visited for d in flows], [d.apart for d in flows]
    claim = f"{name}: the smaller the scale the closer it passes the greedy saddles, within {_VISITED:.0%} at last"
    passes = Check(claim, _falling(visited), falls(visited) and visited[-1] < _VISITED)

    claim = f"{name}: its path nears the greedy one by a quarter or more, {_CONTROL:g} times nearer than control"
    nearer = apart[-1] < _NEARER * apart[0] and apart[-1] < control.apart / _CONTROL
    nears = Check(claim, f"{_falling(apart)}, control {control.apart:.2g}", nearer)

    stops = flows[-1].stops
    worst = max((distance for _, distance in stops), default=0.0)
    in_turn = [which for which, _ in stops] == list(range(1, one.components)) and worst < _STOP
    claim = f"{name}: at the smallest scale it stops at the greedy saddles in turn, and nowhere else"
    stopping = Check(claim, f"at {_words(stops)}, off by {worst:.2g} at most", in_turn)

    claim = f"{name}: control: from scale {control.scale:g} it misses a saddle by {_MISSED:.0%} and stops at none"
    measured = f"misses by {control.visited:.2g}, stops at {_words(control.stops)}"
    return [fits, passes, nears, stopping, Check(claim, measured, control.visited > _MISSED and not control.stops)]


def _falling(values: Sequence[float]) -> str:
    return " > ".join(f"{value:.2g}" for value in values)


def _words(stops: Sequence[tuple[int, float]]) -> str:
    return ", ".join(f"{which}" for which, _ in stops) or "none"


def _distances(found: Sequence[Compared]) -> Table:
    rows = []
    for one in found:
        for scale, d in one.flows:
            whole = "" if d.apart_whole is None else f"{d.apart_whole:.4f}"
            apart = (f"{d.visited:.4f}", f"{d.apart:.4f}", whole, f"{d.end:.4f}")
            rows.append((one.name, scale, *apart, _words(d.stops), f"{d.path.times[-1]:.3g}"))
    exponents = ", ".join(f"{one.name} {one.exponent:.2f}" for one in found)
    note = f"Shares of the norm of the last greedy tensor. Exponents of path distance in the scale: {exponents}."
    columns = ("model", "scale", "saddles", "paths", "whole", "ends", "stops", "time")
    return Table("Distance of gradient flow from greedy learning", columns, rows, note)


def _saddles(found: Sequence[Compared]) -> Table:
    rows = []
    for one in found:
        for kind, greedy in (("", one.greedy), (", whole", one.whole)):
            for k, saddle in enumerate(greedy.saddles if greedy is not None else ()):
                ranks = " ".join(map(str, saddle.ranks))
                gamma = f"{saddle.gamma:.3g}" if k else ""
                rows.append((one.name + kind, f"{k}", saddle.what, gamma, ranks, f"{saddle.loss:.2e}"))
    note = "Gamma: <-gradient, unit direction> with which the saddle before was left. Ranks: of one mode each."
    return Table("Saddles of greedy learning", ("model", "saddle", "added", "gamma", "ranks", "loss"), rows, note)


def _figure(found: Sequence[Compared]) -> Figure:
    """Above, the gradient along each flow, with the greedy saddles; below, distances against the initial scale."""
    figure = new_figure(max(2.6 * len(found), 7.0), 6.2)
    grid = figure.add_gridspec(2, 2 * len(found))
    for k, one in enumerate(found):
        _along(figure.add_subplot(grid[0, 2 * k : 2 * k + 2]), one)
    below = (("visited", "Largest distance from a greedy saddle"), ("apart", "Distance of the paths"))
    for (what, title), where in zip(below, (grid[1, : len(found)], grid[1, len(found) :]), strict=True):
        drawn = []
        for k, one in enumerate(found):
            flows, marker = (one.control, *one.descents), MARKERS[k % len(MARKERS)]
            scales, shares = [d.scale for d in flows], [getattr(d, what) for d in flows]
            drawn.append(Line(scales, shares, one.name, k, marker=marker, width=1.2))
            drawn.append(Line(scales[:1], shares[:1], "", k, "", marker, hollow=True))
        axes, place = figure.add_subplot(where), "upper left" if what == "visited" else None
        lines(axes, drawn, title, "initial scale (hollow: control)", "share of the norm", "xy", place)
        axes.minorticks_off()
    return figure


def _along(axes: Axes, one: Compared) -> None:
    greedy, drawn = one.greedy, []
    colors: list[int | str] = [*paths.shades(len(one.descents)), 1]
    for (scale, d), color in zip(one.flows, colors, strict=True):
        moves = d.path.slopes > 0
        way = paths.travelled(d.path.points)[1:] / greedy.size
        drawn.append(Line(way[moves], d.path.slopes[moves], scale, color, width=1.2))
    lines(axes, drawn, one.name, "distance travelled / norm", "norm of the gradient", "y", None)
    way = paths.travelled(greedy.points) / greedy.size
    at = [way[np.linalg.norm(greedy.points - s.tensor.ravel(), axis=1).argmin()] for s in greedy.saddles[1:]]
    for place in at[:-1]:
        axes.axvline(place, color="#B4B9C0", linestyle="--", linewidth=1.0, zorder=1)
    axes.set(xlim=(0.0, 1.15 * at[-1] if at and at[-1] > 0 else 1.0), ylim=(1e-3, 12.0))
    axes.minorticks_off()
    legend(axes, "lower left", title="initial scale", title_fontsize=7, fontsize=7)
