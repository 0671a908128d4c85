"""The greedy recipe's numbers: how far a flow stays from the greedy path, at every initial scale, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipes._flow_paths import Path, path_distance, plateaus

Host = np.ndarray[Any, Any]


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
        stops = [(int(distances[k].argmin()), float(distances[k].min())) for k in plateaus(path)]
        return cls(
            scale,
            path,
            tuple(float(d) for d in distances.min(axis=0)[1:]),
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
    """One model: its greedy path, flows from small weights and the control from large ones."""

    name: str
    shape: tuple[int, ...]
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
    tables = [_distances(found), *(_saddles(one) for one in found)]
    return Outcome({}, tables, [])


def _distances(found):
    rows = []
    for one in found:
        for d in (*one.descents, one.control):
            rows.append((one.name, f"{d.scale:g}", f"{d.apart:.4f}", f"{d.visited:.4f}", " ".join(f"{v:.4f}" for v in d.nearest), f"{d.end:.4f}", " ".join(f"{k}:{v:.3f}" for k,v in d.stops), "" if d.apart_whole is None else f"{d.apart_whole:.4f}", f"{d.path.losses[-1]:.1e} T={d.path.times[-1]:.3g} {d.path.steps}"))
        rows.append((one.name, "exponent", f"{one.exponent:.3f}"))
    return Table("Distances", ("model", "scale", "apart", "visited", "nearest", "end", "stops", "whole", ""), rows)

def _saddles(one):
    rows=[(s.what, f"{s.gamma:.3g}", f"{s.loss:.3g}", f"{s.slope:.1e}") for s in one.greedy.saddles]
    if one.whole: rows += [(s.what, f"{s.gamma:.3g}", f"{s.loss:.3g}", f"{s.slope:.1e}") for s in one.whole.saddles]
    return Table(one.name, ("","gamma", "loss","slope"), rows)
