"""The greedy recipe's numbers: how far a flow stays from the greedy path, at every initial scale, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipes._flow_paths import Path, distances_to, path_distance, plateaus
from tnrank.plots import GreedyLine, GreedyPanel, greedy_paths

Host = np.ndarray[Any, Any]
_FITTED = 1e-4
_VISITED = 0.05
_NEARER = 0.75
_CONTROL = 4.0
_STOP = 0.1
_MISSED = 0.25
_RANK = 1e-2
"""Singular values below this share of the largest do not count: a saddle is reached only nearly."""


@dataclass(frozen=True)
class Saddle:
    """A stationary point of greedy learning.

    Attributes:
        what: what was added to get here.
        gamma: <-gradient, unit direction> of that, at the saddle before.
        tensor: the end tensor.
        loss: there.
        slope: norm of the gradient that is left.
    """

    what: str
    gamma: float
    tensor: Host
    loss: float
    slope: float

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of the matricization of every mode."""
        modes = range(self.tensor.ndim)
        found = [np.moveaxis(self.tensor, k, 0).reshape(self.tensor.shape[k], -1) for k in modes]
        return tuple(int(np.linalg.matrix_rank(matrix, rtol=_RANK)) for matrix in found)


@dataclass(frozen=True)
class Greedy:
    """Saddles from zero on, and the end tensors on the way, ``(K, size)``."""

    saddles: tuple[Saddle, ...]
    points: Host

    @property
    def size(self) -> float:
        """The norm of the last tensor, which distances are relative to."""
        return float(np.linalg.norm(self.saddles[-1].tensor)) or 1.0

    def distances(self, points: Host) -> Host:
        """``(K, saddles)`` relative distances."""
        return np.stack([np.linalg.norm(points - s.tensor.ravel(), axis=1) for s in self.saddles], axis=1) / self.size


@dataclass(frozen=True)
class Descent:
    """Gradient flow from one initial scale, beside the greedy path.

    Attributes:
        scale: alpha.
        path: of the flow.
        nearest: how close it comes to each greedy saddle but zero, relative.
        apart: Hausdorff distance of the two paths, relative.
        end: distance of the ends, relative.
        stops: ``(which saddle, distance)`` of the nearest greedy saddle wherever the flow slows down.
        apart_whole: from the greedy path of whole rank-one tensors, if that was asked for.
    """

    scale: float
    path: Path
    nearest: tuple[float, ...]
    apart: float
    end: float
    stops: tuple[tuple[int, float], ...]
    apart_whole: float | None

    @classmethod
    def of(cls, scale: float, path: Path, greedy: Greedy, whole: Greedy | None) -> Descent:
        """Measure one."""
        distances = greedy.distances(path.points)
        targets = np.stack([saddle.tensor.ravel() for saddle in greedy.saddles[1:]])
        stops = [(int(distances[k].argmin()), float(distances[k].min())) for k in plateaus(path)]
        return cls(
            scale,
            path,
            tuple(float(d) / greedy.size for d in distances_to(targets, path.points)),
            path_distance(path.points, greedy.points) / greedy.size,
            float(distances[-1, -1]),
            tuple(stops),
            None if whole is None else path_distance(path.points, whole.points) / whole.size,
        )

    @property
    def visited(self) -> float:
        """The largest distance at which it passes a greedy saddle."""
        return max(self.nearest, default=np.inf)


@dataclass(frozen=True)
class Compared:
    """One model: its greedy path, flows from small weights and the control from large ones.

    Attributes:
        name: of the model.
        components: of the target, as many as greedy learning should need.
        greedy: its path.
        whole: that of whole rank-one tensors, if that was asked for.
        descents: from falling scales.
        control: from a large one.
    """

    name: str
    components: int
    greedy: Greedy
    whole: Greedy | None
    descents: Sequence[Descent]
    control: Descent

    @property
    def exponent(self) -> float:
        """Of the distance of the paths as a power of the scale, by least squares of logarithms."""
        scales = np.log([d.scale for d in self.descents])
        apart = np.log([max(d.apart, 1e-300) for d in self.descents])
        return float(np.polyfit(scales, apart, 1)[0])


def outcome(found: Sequence[Compared]) -> Outcome:
    """Figure, tables, checks and summary."""
    checks = [check for one in found for check in _checks(one)]
    summary = {one.name: _plain(one) for one in found}
    return Outcome(summary, [_distances(found), _saddles(found)], checks, greedy_paths([_panel(one) for one in found]))


def _checks(one: Compared) -> list[Check]:
    saddles = one.greedy.saddles
    left = saddles[-1].loss / saddles[0].loss
    ranks = [saddle.ranks for saddle in saddles]
    steady = all(0 <= b - a <= 1 for low, high in pairwise(ranks) for a, b in zip(low, high, strict=True))
    visited = [d.visited for d in one.descents]
    apart = [d.apart for d in one.descents]
    smallest, control = one.descents[-1], one.control
    inner = list(range(1, one.components))
    worst = max((distance for _, distance in smallest.stops), default=0.0)
    return [
        Check(
            f"{one.name}: greedy learning fits in {one.components} steps, ranks rising by at most 1 in each",
            f"{len(saddles) - 1} steps, loss falls to {left:.0e} of the first",
            len(saddles) - 1 == one.components and left < _FITTED and steady,
        ),
        Check(
            f"{one.name}: the smaller the scale the closer it passes the greedy saddles, within {_VISITED:.0%} at last",
            " > ".join(f"{value:.2g}" for value in visited),
            all(b < a for a, b in pairwise(visited)) and visited[-1] < _VISITED,
        ),
        Check(
            f"{one.name}: its path nears the greedy one by a quarter or more, {_CONTROL:g} times nearer than control",
            f"{' > '.join(f'{value:.2g}' for value in apart)}, control {control.apart:.2g}",
            apart[-1] < _NEARER * apart[0] and apart[-1] < control.apart / _CONTROL,
        ),
        Check(
            f"{one.name}: at the smallest scale it stops at the greedy saddles in turn, and nowhere else",
            f"at {_words(smallest.stops)}, off by {worst:.2g} at most",
            [which for which, _ in smallest.stops] == inner and worst < _STOP,
        ),
        Check(
            f"{one.name}: control: from scale {control.scale:g} it misses a saddle by {_MISSED:.0%} and stops at none",
            f"misses by {control.visited:.2g}, stops at {_words(control.stops)}",
            control.visited > _MISSED and not control.stops,
        ),
    ]


def _distances(found: Sequence[Compared]) -> Table:
    rows = [
        (
            one.name,
            f"{d.scale:g}" + (" (control)" if d is one.control else ""),
            f"{d.visited:.4f}",
            f"{d.apart:.4f}",
            "" if d.apart_whole is None else f"{d.apart_whole:.4f}",
            f"{d.end:.4f}",
            _words(d.stops),
            f"{d.path.times[-1]:.3g}",
        )
        for one in found
        for d in (*one.descents, one.control)
    ]
    note = "Shares of the norm of the last greedy tensor. Exponents of path distance in the scale: " + ", ".join(
        f"{one.name} {one.exponent:.2f}" for one in found
    )
    columns = ("model", "scale", "saddles", "paths", "whole", "ends", "stops", "time")
    return Table("Distance of gradient flow from greedy learning", columns, rows, f"{note}.")


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


def _panel(one: Compared) -> GreedyPanel:
    greedy = one.greedy
    lines = [
        GreedyLine(d.scale, d.path.travelled[1:] / greedy.size, d.path.slopes, d.apart, d.visited)
        for d in (*one.descents, one.control)
    ]
    where = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(greedy.points, axis=0), axis=1))]) / greedy.size
    at = [float(where[np.linalg.norm(greedy.points - s.tensor.ravel(), axis=1).argmin()]) for s in greedy.saddles[1:]]
    return GreedyPanel(one.name, lines, at)


def _plain(one: Compared) -> dict[str, Any]:
    return {
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


def _words(stops: Sequence[tuple[int, float]]) -> str:
    return ", ".join(f"{which}" for which, _ in stops) or "none"
