"""Paths of gradient flow in the space of end tensors: recorded where they move, measured by their distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.experiments.kit import Journal
from tnrank.factorizations import Factorization
from tnrank.training import FlowFailed, Loss, gradient_flow, recorders

Host = np.ndarray[Any, Any]
_PASSES = 6
_TIME_SHARE = 0.25
_RESOLVED = 2.5
"""Over the number of recorded times: the largest jump of a flow, as a share of the norm of what is observed."""
_PROMINENCE = 0.5
_SHADES = ("#9CC9E8", "#6AAEDB", "#3E8EC4", "#1B5E9E", "#08306B")
_RECORD = (recorders.Loss(), recorders.Function("end", lambda x: x.to_dense()))


@dataclass(frozen=True)
class Path:
    """A flow: ``(K,)`` times and losses, flat end tensors ``(K, size)``, and the factorization at last.

    It is ``cut`` if the solver ran out of steps before the last time.
    """

    times: Host
    losses: Host
    points: Host
    end: Any
    cut: bool = False

    @property
    def slopes(self) -> Host:
        """``(K - 1,)`` norms of the gradient: along a flow its square is the rate at which the loss falls."""
        fall, lasted = -np.diff(self.losses), np.diff(self.times)
        return np.sqrt(np.maximum(fall, 0.0) / np.where(lasted > 0, lasted, np.inf))

    @classmethod
    def joined(cls, parts: Sequence[Path]) -> Path:
        """Flows one after the other."""
        offsets = np.cumsum([0.0, *(part.times[-1] for part in parts[:-1])])
        times = np.concatenate([part.times + t for part, t in zip(parts, offsets, strict=True)])
        losses, points = (np.concatenate([getattr(part, name) for part in parts]) for name in ("losses", "points"))
        return cls(times, losses, points, parts[-1].end, parts[-1].cut)


@dataclass(frozen=True)
class Observed:
    """A problem: which entries, with which loss, and how flows are integrated, always in float64.

    At most ``steps`` of the solver; an integration has always as many recorded ``points``, to be compiled once.
    """

    indices: Host
    values: Host
    loss: Loss
    steps: int
    rtol: float = 1e-8
    points: int = 64
    backend: str = "numpy"

    def flow(self, x: Factorization, until: float) -> Path:
        """From ``x`` for a time, recorded densely where the end tensor moves."""
        path = self.at(x, np.linspace(0.0, until, self.points))
        for _ in range(_PASSES - 1):
            jumps = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
            if path.cut or jumps.max(initial=0.0) <= _RESOLVED / self.points * np.linalg.norm(self.values):
                break
            path = self.at(x, _where_it_moves(path))
        return path

    def gradient(self, tensor: Host) -> Host:
        """Of the loss with respect to the end tensor, zero where nothing is observed."""
        where = tuple(self.indices.T)
        found = np.zeros(tensor.shape)
        found[where] = self.loss.weight(len(self.values)) * self.loss.terms(tensor[where] - self.values, np)[1]
        return found

    def at(self, x: Factorization, times: Host) -> Path:
        """From ``x``, recorded at given times; a flow that ran out of steps ends at the last one it reached."""
        x, cut = x.to(self.backend, dtype="float64"), False
        options: dict[str, Any] = {"loss": self.loss, "rtol": self.rtol, "max_steps": self.steps, "record": _RECORD}
        try:
            result = gradient_flow(x, self.indices, self.values, times=times, **options)
        except FlowFailed as error:
            result, cut = error.result, True
        if not result.history:
            dense = np.asarray(x.backend.to_numpy(x.to_dense()), np.float64).reshape(1, -1)
            return Path(np.zeros(1), np.full(1, result.loss), dense, x, True)
        losses, ends = (np.asarray(result.history[name].values, np.float64) for name in ("loss", "end"))
        return Path(result.history["loss"].times, losses, ends.reshape(len(losses), -1), result.factorization, cut)


def _where_it_moves(path: Path) -> Host:
    """As many times, at equal distances along the path, a share of them along time."""
    moved = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
    share = moved / (moved.sum() or 1.0) + _TIME_SHARE * np.diff(path.times) / path.times[-1]
    length = np.concatenate([[0.0], np.cumsum(share)])
    times = np.interp(np.linspace(0.0, length[-1], len(length)), length, path.times)
    times[0], times[-1] = 0.0, path.times[-1]
    return np.asarray(times)


def note(journal: Journal, model: str, **series: Host) -> None:
    """Record quantities that were measured at the same moments."""
    for k, values in enumerate(zip(*series.values(), strict=True)):
        for name, value in zip(series, values, strict=True):
            journal.record(model, k, name, value)
    journal.flush()


def shades(count: int) -> list[str]:
    """Blues for falling scales, the smallest the darkest."""
    return [_SHADES[round(k * (len(_SHADES) - 1) / max(1, count - 1))] for k in range(count)]


def travelled(points: Host) -> Host:
    """``(K,)`` lengths of a path up to each of its points."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def distances_to(points: Host, polyline: Host) -> Host:
    """The distance of each point to a polyline, ``(len(points),)``."""
    if len(polyline) == 1:
        return np.asarray(np.linalg.norm(points - polyline[0], axis=1))
    start, step = polyline[:-1], np.diff(polyline, axis=0)
    squared = np.einsum("kd,kd->k", step, step)
    found = np.empty(len(points))
    for k, point in enumerate(points):
        share = np.einsum("kd,kd->k", point - start, step) / np.where(squared > 0, squared, 1.0)
        nearest = start + share.clip(0.0, 1.0)[:, None] * step
        found[k] = np.linalg.norm(nearest - point, axis=1).min()
    return found


def path_distance(a: Host, b: Host) -> float:
    """The Hausdorff distance of two polylines: no point of either is further from the other."""
    a, b = _thinned(a), _thinned(b)
    return float(max(distances_to(a, b).max(), distances_to(b, a).max()))


def _thinned(points: Host, count: int = 300) -> Host:
    """At most about ``count`` of the points, at equal distances along their path, the ends included."""
    length = travelled(points)
    wanted = np.searchsorted(length, np.linspace(0.0, length[-1], count)).clip(0, len(points) - 1)
    return np.asarray(points[np.unique([0, *wanted, len(points) - 1])])


def exponent(scales: Sequence[float], distances: Sequence[float]) -> float:
    """Of distances as a power of the scale, by least squares of logarithms; NaN if one is infinite."""
    if not np.isfinite(distances).all():
        return float("nan")
    return float(np.polyfit(np.log(scales), np.log(np.maximum(distances, 1e-300)), 1)[0])


def plateaus(path: Path) -> list[int]:
    """Where a flow is close to a saddle: local minima of the gradient's norm, as positions on the path.

    A minimum counts if the norm rises by a factor of 3 or more on either side before it falls below it again. The start
    and the end are none.
    """
    from scipy.signal import find_peaks

    # What the loss cannot resolve is no fall; joined flows repeat a time.
    kept = np.flatnonzero(-np.diff(path.losses) > 1e-13 * path.losses[0])
    dips, _ = find_peaks(-np.log10(path.slopes[kept]), prominence=_PROMINENCE)
    return [int(kept[k]) for k in dips]
