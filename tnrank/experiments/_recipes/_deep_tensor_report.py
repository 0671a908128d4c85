"""The deep-tensor recipe's numbers: effective ranks and errors against depth and initial scale, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from tnrank._backend import host_svdvals
from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.linalg import matricize
from tnrank.plots import DepthPanel, deep_tensor
from tnrank.ranks import effective_rank
from tnrank.training import CompletionResult

HostArray = np.ndarray[Any, Any]
PARTITIONS: Mapping[str, tuple[tuple[int, ...], ...]] = MappingProxyType(
    {"tucker": ((0,), (1,), (2,)), "tt": ((0,), (0, 1), (0, 1, 2))}
)
"""Model -> the matricizations whose ranks are its own: multilinear ranks, and those of the train."""
_TITLES = {"tucker": "Tucker", "tt": "Tensor train"}
_CLOSE = 0.15
_FIT = 1e-2
"""Of a mean square of 1."""
_LARGE = 2
"""How many of the largest initial scales are to show what depth does."""


@dataclass(frozen=True)
class Trained:
    """One model at the end of its run; effective ranks are means over its matricizations."""

    model: str
    depth: int
    scale: float
    error: float
    loss: float
    rank: float
    target_rank: float
    values: HostArray

    @classmethod
    def of(cls, model: str, depth: int, scale: float, result: CompletionResult, target: HostArray) -> Trained:
        """Measure the end of a run; ``values``: mean spectrum over the matricizations, the largest value being 1."""
        x = result.factorization
        dense = np.asarray(x.backend.to_numpy(x.to_dense()), np.float64)
        error = float(np.linalg.norm(dense - target) / np.linalg.norm(target))
        rank, wanted = mean_effective_rank(dense, model), mean_effective_rank(target, model)
        return cls(model, depth, scale, error, result.loss, rank, wanted, mean_spectrum(dense, model))


def mean_effective_rank(tensor: HostArray, model: str) -> float:
    """The mean of the effective ranks that belong to the model."""
    return float(np.mean([float(effective_rank(matricize(tensor, modes))) for modes in PARTITIONS[model]]))


def mean_spectrum(tensor: HostArray, model: str) -> HostArray:
    """The geometric mean of the singular values of the model's matricizations, each relative to the largest."""
    spectra = [host_svdvals(matricize(tensor, modes)) for modes in PARTITIONS[model]]
    count = min(len(s) for s in spectra)
    shares = [s[:count] / (s[0] or 1.0) for s in spectra]
    found: HostArray = np.exp(np.mean(np.log(np.maximum(shares, 1e-12)), axis=0))
    return found


@dataclass(frozen=True)
class Medians:
    """Medians over the seeds, ``(depths, scales)``, of one model."""

    model: str
    depths: tuple[int, ...]
    scales: tuple[float, ...]
    ranks: HostArray
    errors: HostArray
    losses: HostArray
    target_rank: float
    spectra: HostArray

    @classmethod
    def of(cls, runs: Sequence[Trained]) -> Medians:
        """Gather the runs of a model."""
        depths = tuple(sorted({run.depth for run in runs}))
        scales = tuple(sorted({run.scale for run in runs}))

        def medians(what: str) -> HostArray:
            return np.asarray(
                [
                    [
                        np.median([getattr(r, what) for r in runs if (r.depth, r.scale) == (depth, scale)], axis=0)
                        for scale in scales
                    ]
                    for depth in depths
                ]
            )

        wanted = float(np.median([run.target_rank for run in runs]))
        errors, losses = medians("error"), medians("loss")
        spectra = medians("values")[:, -1]
        return cls(runs[0].model, depths, scales, medians("rank"), errors, losses, wanted, spectra)


def outcome(found: Sequence[Trained]) -> Outcome:
    """Figure, tables, checks and summary."""
    models = [Medians.of([run for run in found if run.model == model]) for model in PARTITIONS]
    tables = [_table(m) for m in models]
    checks = [check for m in models for check in _checks(m)]
    panels = [
        DepthPanel(_TITLES[m.model], m.depths, m.scales, m.ranks, m.errors, m.spectra, m.target_rank) for m in models
    ]
    summary = {
        m.model: {
            "depths": m.depths,
            "scales": m.scales,
            "effective_ranks": m.ranks,
            "relative_errors": m.errors,
            "losses": m.losses,
            "effective_rank_of_the_target": m.target_rank,
        }
        for m in models
    }
    return Outcome(summary, tables, checks, deep_tensor(panels))


def _table(m: Medians) -> Table:
    rows = [
        (
            f"{depth}",
            f"{scale:g}",
            f"{m.ranks[k, j]:.2f}",
            f"{m.errors[k, j]:.3f}",
            f"{m.losses[k, j]:.0e}",
        )
        for k, depth in enumerate(m.depths)
        for j, scale in enumerate(m.scales)
    ]
    note = "Medians over the seeds; scales are norms of the initial end tensor as shares of the target's, which has "
    note += f"effective rank {m.target_rank:.2f}."
    columns = ("depth", "scale", "effective rank", "relative error", "loss")
    return Table(f"{_TITLES[m.model]}: ranks and errors", columns, rows, note)


def _checks(m: Medians) -> list[Check]:
    name, large = _TITLES[m.model], " and ".join(f"{scale:g}" for scale in m.scales[-_LARGE:])
    ranks, errors = m.ranks[:, -_LARGE:], m.errors[:, -_LARGE:]
    smallest = m.ranks[:, 0]
    worst = float(max(abs(smallest / m.target_rank - 1)))
    loss = float(m.losses.max())
    # Products of many small random matrices have low effective rank before they have learned anything.
    fit = loss <= _FIT
    checks = [
        Check(f"{name}: every model fits the observed entries to a loss of {_FIT:g}", f"at most {loss:.1e}", fit),
        Check(
            f"{name}: deeper models end with lower effective ranks than depth {m.depths[0]}, from {large}",
            _told(m, ranks),
            fit and bool((ranks[1:] < ranks[0]).all()),
        ),
        Check(
            f"{name}: deeper models end with lower errors than depth {m.depths[0]}, from {large}",
            _told(m, errors),
            fit and bool((errors[1:] < errors[0]).all()),
        ),
        Check(
            f"{name}: from {m.scales[0]:g}, every depth ends within {100 * _CLOSE:g} % of the target's effective rank, "
            f"and lower than from {m.scales[-1]:g}",
            f"at most {100 * worst:.0f} % off",
            worst <= _CLOSE and bool((smallest < m.ranks[:, -1]).all()),
        ),
    ]
    if m.model == "tucker":
        # With tensor trains, depths 2 and 3 come in either order, by the draw.
        arrived = ranks[1:] <= (1 + _CLOSE) * m.target_rank
        falls = fit and bool(((np.diff(ranks, axis=0) < 0) | arrived).all())
        checks.append(
            Check(
                f"{name}: the effective rank falls with every depth until it is within {100 * _CLOSE:g} % of the "
                f"target's, from {large}",
                _told(m, ranks),
                falls,
            )
        )
    return checks


def _told(m: Medians, values: HostArray) -> str:
    """One number a depth, for each of the largest scales."""
    rows = zip(m.scales[-_LARGE:], values.T, strict=True)
    return "; ".join(f"{scale:g}: " + ", ".join(f"{value:.3g}" for value in row) for scale, row in rows)
