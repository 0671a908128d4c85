"""The numbers of the recipe local-components: bounds beside distances, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.factorizations import HierarchicalTucker
from tnrank.plots import NearLowRankPanel, local_components
from tnrank.ranks import hierarchical_rank
from tnrank.theory import prune_components
from tnrank.training import CompletionResult

Host = np.ndarray[Any, Any]
_ROUNDING = 100
"""What distances may be off by, in units of rounding of the norm."""
_NEAR = 0.05
_CLOSER = 0.01
_APART = 0.1
_FIT = 0.1


@dataclass(frozen=True)
class Measured:
    """One run; arrays over its recorded steps, all distances divided by the norm of the end tensor.

    Attributes:
        std: initial standard deviation.
        seed: of start, target and observations.
        result: of the run.
        steps: ``(T,)``.
        theorem: number kept -> ``(T,)``, the theorem's e.
        bound: likewise, the sum that it simplifies.
        pruned: likewise, the distance to the factorization with the largest components alone.
        lower: likewise, a lower bound of the distance to all tensors of that rank.
        snapshots: ``(S,)``, the steps at which the end tensor was kept.
        truncated: number kept -> ``(S,)``, the distance to the hierarchical SVD of that rank.
        ranks: number kept -> the largest rank on the tree of the pruned factorization at the end.
    """

    std: float
    seed: int
    result: CompletionResult
    steps: Host
    theorem: Mapping[int, Host]
    bound: Mapping[int, Host]
    pruned: Mapping[int, Host]
    lower: Mapping[int, Host]
    snapshots: Host
    truncated: Mapping[int, Host]
    ranks: Mapping[int, int]

    @classmethod
    def of(cls, std: float, seed: int, result: CompletionResult, kept: Sequence[int]) -> Measured:
        """Measure a run."""
        trace, history = result.history["near_low_rank"], result.history
        size = np.asarray(trace.values["norm", 0], np.float64)
        given = {name: {k: trace.values[name, k] / size for k in kept} for name in ("theorem", "bound", "pruned")}
        spectra = {modes: np.asarray(s, np.float64) for modes, s in history["singular_values"].values.items()}
        lower = {
            # Eckart & Young at each node: no tensor of that rank is nearer.
            k: np.max([np.sqrt((s[:, k:] ** 2).sum(axis=1)) for s in spectra.values()], axis=0) / size
            for k in kept
        }
        x = result.factorization.to("numpy", dtype="float64")
        ends = history["end_tensor"]
        truncated = {
            k: np.asarray([_truncation(np.asarray(e, np.float64), x.tree, k) for e in ends.values]) for k in kept
        }
        # Relative to the tolerance of single precision, in which the weights may be.
        ranks = {k: max(hierarchical_rank(prune_components(x, k), rtol=1e-10).values()) for k in kept}
        return cls(
            std, seed, result, trace.steps, **given, lower=lower, snapshots=ends.steps, truncated=truncated, ranks=ranks
        )

    @property
    def error(self) -> float:
        """The reconstruction error at the end."""
        return float(self.result.history["error"].values[-1])

    def order_broken(self) -> float:
        """By how much ``lower <= pruned <= bound <= theorem`` fails at worst, and what holds for the truncation.

        The hierarchical SVD is within sqrt(2N - 3) of the best, and so of the pruned one.
        """
        worst = 0.0
        at = np.searchsorted(self.steps, self.snapshots)
        factor = sqrt(2 * self.result.factorization.ndim - 3)
        for k, pruned in self.pruned.items():
            pairs = [(self.lower[k], pruned), (pruned, self.bound[k]), (self.bound[k], self.theorem[k])]
            pairs += [(self.lower[k][at], self.truncated[k]), (self.truncated[k], factor * pruned[at])]
            for less, more in pairs:
                worst = max(worst, float(np.max((less - more) / np.maximum(more, 1.0))))
        return worst


def outcome(runs: Sequence[Measured], rank: int) -> Outcome:
    """Figure, tables, checks and summary."""
    stds = sorted({run.std for run in runs}, reverse=True)
    few = max(runs[0].theorem)
    tables = [_ends(runs, stds, few), _kept([run for run in runs if run.std == stds[-1]])]
    summary = {
        f"std{run.std:g}-{run.seed}": {
            "steps": run.result.steps,
            "loss": run.result.loss,
            "relative_error": run.error,
            "theorem": {str(k): v[-1] for k, v in run.theorem.items()},
            "bound": {str(k): v[-1] for k, v in run.bound.items()},
            "pruned": {str(k): v[-1] for k, v in run.pruned.items()},
            "truncated": {str(k): v[-1] for k, v in run.truncated.items()},
            "lower": {str(k): v[-1] for k, v in run.lower.items()},
        }
        for run in runs
    }
    return Outcome(summary, tables, _checks(runs, stds, rank, few), _figure(runs, stds, few))


def _checks(runs: Sequence[Measured], stds: Sequence[float], rank: int, few: int) -> list[Check]:
    broken = max(run.order_broken() for run in runs)
    rounding = _ROUNDING * float(np.finfo(runs[0].result.factorization.dtype).eps)
    moments = sum(len(run.steps) * len(run.pruned) for run in runs)
    ranked = all(found <= k for run in runs for k, found in run.ranks.items())
    medians = [float(np.median([run.theorem[few][-1] for run in runs if run.std == std])) for std in stds]
    last = [run for run in runs if run.std == stds[-1]]
    first = [run for run in runs if run.std == stds[0]]
    near, pruned = ([getattr(run, name)[few][-1] for run in last] for name in ("theorem", "pruned"))
    fewer = min((run.lower[rank - 1][-1] for run in last if rank > 1), default=1.0)
    misfit = max(sqrt(run.result.loss) for run in last)
    return [
        Check(
            "at every recorded step: no tensor is nearer than the lower bound, the pruned one is within the bound, and "
            "the bound within the theorem's e",
            f"{moments:,} times; broken by {broken:.0e} of the norm at most",
            bool(broken < rounding),
        ),
        Check(
            "with R' components kept, ranks on the tree are at most R'",
            "at the end of every run",
            ranked,
        ),
        Check(
            f"the smaller the initial weights, the nearer the theorem places the end to {few} local components a node",
            ", ".join(f"{value:.2g}" for value in medians) + f" for std {', '.join(f'{std:g}' for std in stds)}",
            all(a > b for a, b in pairwise(medians)),
        ),
        Check(
            f"smallest std: {few} local components a node carry the tensor, within {_NEAR:.0%} by the theorem and "
            f"{_CLOSER:.0%} in fact; observed entries are met to {_FIT:.0%}",
            f"{max(near):.2%}, {max(pruned):.2%}, misfit {misfit:.1%} at most",
            bool(max(near) < _NEAR and max(pruned) < _CLOSER and misfit < _FIT),
        ),
        Check(
            f"rank {rank - 1} would not do: no such tensor is within {_APART:.0%}",
            f"at least {fewer:.0%} away",
            bool(fewer > _APART),
        ),
        Check(
            "control: from the largest weights the theorem says nothing, its e exceeds the norm",
            f"{min(run.theorem[few][-1] for run in first):.2g} times the norm or more",
            bool(min(run.theorem[few][-1] for run in first) > 1),
        ),
    ]


def _ends(runs: Sequence[Measured], stds: Sequence[float], few: int) -> Table:
    rows = []
    for std in stds:
        own = [run for run in runs if run.std == std]
        ends = [
            np.median([values[few][-1] for values in given])
            for given in (
                [run.theorem for run in own],
                [run.bound for run in own],
                [run.pruned for run in own],
                [run.truncated for run in own],
                [run.lower for run in own],
            )
        ]
        tight = np.median([run.theorem[few][-1] / run.pruned[few][-1] for run in own])
        rows.append(
            (f"{std:g}", *(f"{x:.1e}" for x in ends), f"{tight:.1f}", f"{np.median([r.error for r in own]):.1e}")
        )
    columns = ("std", "theorem", "its sum", "pruned", "truncated", "at least", "theorem / pruned", "error")
    note = (
        f"Distances to tensors of hierarchical rank {few}, relative to the norm, medians of the seeds. Pruned: the "
        f"{few} largest local components a node are kept. Truncated: hierarchical SVD. At least: by singular values."
    )
    return Table("At the end, by initial standard deviation", columns, rows, note)


def _kept(own: Sequence[Measured]) -> Table:
    rows = []
    for k in own[0].pruned:
        cells = [
            f"{np.median([getattr(run, name)[k][-1] for run in own]):.1e}"
            for name in ("theorem", "bound", "pruned", "truncated", "lower")
        ]
        rows.append((f"{k}", *cells))
    columns = ("kept", "theorem", "its sum", "pruned", "truncated", "at least")
    return Table(f"At the end for std {own[0].std:g}, by the number of local components kept", columns, rows)


def _figure(runs: Sequence[Measured], stds: Sequence[float], few: int) -> Any:
    run = next(run for run in runs if run.std == stds[-1])
    trace = run.result.history["component_norms"]
    node = run.result.factorization.tree.interior[0]
    names = ("theorem", "bound", "pruned", "lower")
    during = {name: getattr(run, name)[few] for name in names}
    by_std = {
        name: np.asarray([np.median([getattr(r, name)[few][-1] for r in runs if r.std == std]) for std in stds])
        for name in (*names, "truncated")
    }
    panel = NearLowRankPanel(
        steps=trace.steps,
        norms=trace.values[node],
        node=str(node),
        during=during,
        snapshots=run.snapshots,
        truncated=run.truncated[few],
        stds=np.asarray(stds),
        by_std=by_std,
        rank=few,
        std=run.std,
    )
    return local_components(panel)


def _truncation(end: Host, tree: Any, rank: int) -> float:
    cut = HierarchicalTucker.from_dense(end, tree, max_rank=rank).to_dense()
    return float(np.linalg.norm(end - np.asarray(cut)) / np.linalg.norm(end))
