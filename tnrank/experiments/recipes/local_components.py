"""Local components near zero bound the distance to low hierarchical rank, during training."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank.data import observe
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Every, Positive, Seeds, Several, Share, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, Training, register
from tnrank.factorizations import HierarchicalFactorization, HierarchicalTucker
from tnrank.plots.painters import Figure, Line, legend_below, lines, panels
from tnrank.ranks import hierarchical_rank
from tnrank.theory import near_low_rank_bound, prune_components
from tnrank.training import CompletionResult, GroupRMSProp, recorders

_ORDER = 4
_TRUNCATIONS = 8
# Near the origin gradients are far below the optimizer's default, which would only make the wait there longer.
_EPS = 1e-12
_ROUNDING = 100  # what distances may be off by, in units of rounding of the norm
_NEAR, _CLOSER, _APART, _FIT = 0.05, 0.01, 0.1, 0.1
_RISEN = 0.01  # the share of the largest final component norm above which a line of the figure is colored
_DISTANCES = ("theorem", "bound", "pruned", "truncated", "lower")


@register
@dataclass(frozen=True, kw_only=True)
class LocalComponentsRecipe(Recipe):
    """Training of a hierarchical factorization from several initial scales, on a target of low hierarchical rank.

    At every recorded step: the bounds of the distance to tensors of given rank, and the distance itself.

    Attributes:
        dim: dimension of each of the 4 modes.
        width: local components of each of the 3 interior nodes of the balanced tree.
        target_width: local components of each node of the target, which are its rank. Claims are about twice as many: a
            component may come in two parts, since nodes share their children's components and not only the spaces that
            these span.
        stds: standard deviations of the initial weights, from the largest to the smallest.
        seeds: random targets, observations and starts, each with every scale.
        observed: share of the entries that are observed.
        learning_rate: of GroupRMSProp.
        steps: updates of every run.
        record_every: distance of the recorded steps.

    Source: Razin, Maman & Cohen 2022, Sec. 4.
    """

    name: ClassVar[str] = "local-components"
    title: ClassVar[str] = "local components near zero bound the distance to low hierarchical rank"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"dim": 8, "width": 32, "stds": (0.1, 0.05, 0.025, 0.0125), "seeds": 5},
            **{"steps": 10_000, "record_every": 50},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "numpy"
    dtype: str = "float64"
    dim: Count = 5
    width: Count = 16
    target_width: Count = 2
    stds: Annotated[tuple[Positive, ...], Several(2, "falling")] = (0.2, 0.1, 0.05, 0.025)
    seeds: Seeds = 1
    observed: Share = 0.5
    learning_rate: Positive = 1e-2
    steps: Steps = 2000
    record_every: Every = 25

    def check(self) -> None:
        if self.target_width >= min(self.width, self.dim):
            raise ValueError(
                f"target_width is below width and dim, got {self.target_width}, {self.width} and {self.dim}: else "
                "every tensor has the target's rank"
            )

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        grid = [(std, seed) for std in self.stds for seed in range(self.seed, self.seed + self.seeds)]
        shape = (self.dim,) * _ORDER
        targets = {seed: self._target(shape, seed) for _, seed in grid}
        count = max(1, round(self.observed * prod(shape)))
        seen = {seed: observe(target, count, seed=seed) for seed, target in targets.items()}
        # From 1 to twice as many local components a node as the target has.
        kept, every = range(1, min(2 * self.target_width, self.width) + 1), self.record_every
        # Where the bounds are recorded too.
        snapshots = sorted({every * round(k * self.steps / _TRUNCATIONS / every) for k in range(_TRUNCATIONS + 1)})
        common = [
            recorders.Loss(every),
            recorders.ComponentNorms(top=None, every=every),
            recorders.SingularValues(top=None, every=every),
            # Made once: recorders of different runs are alike only if they measure by the same function.
            recorders.Function("near_low_rank", lambda x: _distances(x, kept), every=every),
            recorders.Function("end_tensor", lambda x: x.to_dense(), at=snapshots),
        ]
        options: dict[str, Any] = {"width": self.width, "backend": self.backend, "dtype": self.dtype}
        results = yield Training(
            [f"std{std:g}-{seed}" for std, seed in grid],
            [HierarchicalFactorization.random(shape, std=std, seed=seed, **options) for std, seed in grid],
            [seen[seed][0] for _, seed in grid],
            [seen[seed][1] for _, seed in grid],
            record=[[recorders.Error(targets[seed], every=every), *common] for _, seed in grid],
            optimizer=GroupRMSProp(self.learning_rate, eps=_EPS),
            steps=self.steps,
        )
        runs = [measure(std, seed, result, kept) for (std, seed), result in zip(grid, results, strict=True)]
        return outcome(runs, self.target_width)

    def _target(self, shape: tuple[int, ...], seed: int) -> HostArray:
        # Another seed than that of the start, whose numbers would be those of the target.
        drawn = HierarchicalFactorization.random(shape, width=self.target_width, seed=seed + 1000).to_dense()
        return np.asarray(drawn) * (sqrt(prod(shape)) / float(np.linalg.norm(drawn)))


def _distances(x: Any, kept: Sequence[int]) -> dict[tuple[str, int], Any]:
    """The bounds, and the distance to the factorization with the largest components alone, for each number kept."""
    dense, norm = x.to_dense(), x.backend.xp.linalg.vector_norm
    found = {("norm", 0): norm(dense)}
    for k in kept:
        bounds = near_low_rank_bound(x, k)
        found["theorem", k], found["bound", k] = bounds.theorem, bounds.bound
        found["pruned", k] = norm(dense - prune_components(x, k).to_dense())
    return found


@dataclass(frozen=True)
class Measured:
    """One run; all distances are divided by the norm of the end tensor.

    Attributes:
        steps: ``(T,)``.
        snapshots: ``(S,)``, the steps at which the end tensor was kept.
        distances: name -> number kept -> values: ``theorem`` (its e), ``bound`` (the sum that the theorem simplifies),
            ``pruned`` (to the factorization with the largest components alone) and ``lower`` (below the distance to
            all tensors of that rank) are ``(T,)``, ``truncated`` (to the hierarchical SVD of that rank) is ``(S,)``.
        ranks: number kept -> the largest rank on the tree of the pruned factorization at the end.
    """

    std: float
    seed: int
    result: CompletionResult
    steps: HostArray
    snapshots: HostArray
    distances: Mapping[str, Mapping[int, HostArray]]
    ranks: Mapping[int, int]

    def end(self, name: str, k: int) -> float:
        return float(self.distances[name][k][-1])

    def order_broken(self) -> float:
        """By how much ``lower <= pruned <= bound <= theorem`` fails at worst, and what holds for the truncation.

        The hierarchical SVD is within sqrt(2N - 3) of the best, and so of the pruned one.
        """
        at, factor = np.searchsorted(self.steps, self.snapshots), sqrt(2 * self.result.factorization.ndim - 3)
        pairs = []
        for k in self.ranks:
            theorem, bound, pruned, truncated, lower = (self.distances[name][k] for name in _DISTANCES)
            pairs += [(lower, pruned), (pruned, bound), (bound, theorem)]
            pairs += [(lower[at], truncated), (truncated, factor * pruned[at])]
        return max(0.0, *(float(np.max((less - more) / np.maximum(more, 1.0))) for less, more in pairs))


def measure(std: float, seed: int, result: CompletionResult, kept: Sequence[int]) -> Measured:
    """What a run has recorded."""
    history = result.history
    trace, ends = history["near_low_rank"], history["end_tensor"]
    size = np.asarray(trace.values["norm", 0], np.float64)
    spectra = [np.asarray(s, np.float64) for s in history["singular_values"].values.values()]
    tensors = [np.asarray(end, np.float64) for end in ends.values]
    x = result.factorization.to("numpy", dtype="float64")
    distances: dict[str, Mapping[int, HostArray]] = {
        **{name: {k: trace.values[name, k] / size for k in kept} for name in ("theorem", "bound", "pruned")},
        "truncated": {k: np.asarray([_truncation(end, x.tree, k) for end in tensors]) for k in kept},
        # Eckart & Young at each node: no tensor of that rank is nearer.
        "lower": {k: np.max([np.sqrt((s[:, k:] ** 2).sum(axis=1)) for s in spectra], axis=0) / size for k in kept},
    }
    # Relative to the tolerance of single precision, in which the weights may be.
    ranks = {k: max(hierarchical_rank(prune_components(x, k), rtol=1e-10).values()) for k in kept}
    return Measured(std, seed, result, trace.steps, ends.steps, distances, ranks)


def _truncation(end: HostArray, tree: Any, rank: int) -> float:
    return kit.relative_error(np.asarray(HierarchicalTucker.from_dense(end, tree, max_rank=rank).to_dense()), end)


def outcome(runs: Sequence[Measured], rank: int) -> Outcome:
    """Of runs on targets of the given rank; what is claimed is about the largest number of components kept."""
    few = max(runs[0].ranks)
    by_std = {std: [run for run in runs if run.std == std] for std in sorted({run.std for run in runs}, reverse=True)}
    summary = {}
    for run in runs:
        ends = {name: {str(k): run.end(name, k) for k in run.ranks} for name in _DISTANCES}
        reached = {"steps": run.result.steps, "loss": run.result.loss, "relative_error": _error(run)}
        summary[f"std{run.std:g}-{run.seed}"] = reached | ends
    return Outcome(summary, _tables(by_std, few), _checks(by_std, rank, few), partial(_figure, by_std, few))


def _error(run: Measured) -> float:
    return float(run.result.history["error"].values[-1])


def _median(runs: Sequence[Measured], name: str, k: int) -> float:
    return float(np.median([run.end(name, k) for run in runs]))


def _tables(by_std: Mapping[float, Sequence[Measured]], few: int) -> list[Table]:
    ends = []
    for std, runs in by_std.items():
        tight = np.median([run.end("theorem", few) / run.end("pruned", few) for run in runs])
        error = np.median([_error(run) for run in runs])
        distances = [f"{_median(runs, name, few):.1e}" for name in _DISTANCES]
        ends.append((f"{std:g}", *distances, f"{tight:.1f}", f"{error:.1e}"))
    std, last = list(by_std.items())[-1]
    kept = [(f"{k}", *(f"{_median(last, name, k):.1e}" for name in _DISTANCES)) for k in last[0].ranks]
    note = (
        f"Distances to tensors of hierarchical rank {few}, relative to the norm, medians of the seeds. Pruned: the "
        f"{few} largest local components a node are kept. Truncated: hierarchical SVD. At least: by singular values."
    )
    names = ("theorem", "its sum", "pruned", "truncated", "at least")
    title = f"At the end for std {std:g}, by the number of local components kept"
    return [
        Table("At the end, by initial standard deviation", ("std", *names, "theorem / pruned", "error"), ends, note),
        Table(title, ("kept", *names), kept),
    ]


def _checks(by_std: Mapping[float, Sequence[Measured]], rank: int, few: int) -> list[Check]:
    runs = [run for some in by_std.values() for run in some]
    first, *_, last = by_std.values()
    broken = max(run.order_broken() for run in runs)
    rounding = _ROUNDING * float(np.finfo(runs[0].result.factorization.dtype).eps)
    moments = sum(len(run.steps) * len(run.ranks) for run in runs)
    ranked = all(found <= k for run in runs for k, found in run.ranks.items())
    medians = [_median(some, "theorem", few) for some in by_std.values()]
    near, pruned = (max(run.end(name, few) for run in last) for name in ("theorem", "pruned"))
    fewer = min((run.end("lower", rank - 1) for run in last if rank > 1), default=1.0)
    away = f"at least {fewer:.0%} away"
    misfit = max(sqrt(run.result.loss) for run in last)
    vacuous = min(run.end("theorem", few) for run in first)
    return [
        Check(
            "at every recorded step: no tensor is nearer than the lower bound, the pruned one is within the bound, and "
            "the bound within the theorem's e",
            f"{moments:,} times; broken by {broken:.0e} of the norm at most",
            broken < rounding,
        ),
        Check("with R' components kept, ranks on the tree are at most R'", "at the end of every run", ranked),
        Check(
            f"the smaller the initial weights, the nearer the theorem places the end to {few} local components a node",
            ", ".join(f"{value:.2g}" for value in medians) + f" for std {', '.join(f'{std:g}' for std in by_std)}",
            kit.falls(medians),
        ),
        Check(
            f"smallest std: {few} local components a node carry the tensor, within {_NEAR:.0%} by the theorem and "
            f"{_CLOSER:.0%} in fact; observed entries are met to {_FIT:.0%}",
            f"{near:.2%}, {pruned:.2%}, misfit {misfit:.1%} at most",
            near < _NEAR and pruned < _CLOSER and misfit < _FIT,
        ),
        Check(f"rank {rank - 1} would not do: no such tensor is within {_APART:.0%}", away, fewer > _APART),
        Check(
            "control: from the largest weights the theorem says nothing, its e exceeds the norm",
            f"{vacuous:.2g} times the norm or more",
            vacuous > 1,
        ),
    ]


def _figure(by_std: Mapping[float, Sequence[Measured]], few: int) -> Figure:
    """Local component norms in training, distances to low rank then, and the same against the initial scale."""
    std, (run, *_) = list(by_std.items())[-1]
    figure, ((left, middle, right),) = panels(1, 3, 4.2, 3.7)
    trace, node = run.result.history["component_norms"], run.result.factorization.tree.interior[0]
    norms = np.asarray(trace.values[node], np.float64).T
    risen = norms[:, -1] > _RISEN * norms[:, -1].max(initial=0.0)
    # The first colors belong to the lines of the legend.
    colors = [k + 4 if up else "quiet" for k, up in enumerate(risen)]
    drawn = [Line(trace.steps, norms[k], color=colors[k]) for k in reversed(range(len(norms)))]
    lines(left, drawn, f"Local components at {node}, std {std:g}", "iterations", "local component norm", "y")
    labels = {"theorem": "theorem", "bound": "its sum", "pruned": "pruned: the largest kept"}
    labels["lower"] = "at least, by singular values"
    styles = {name: "--" if name == "lower" else "-" for name in labels}
    during = [Line(run.steps, run.distances[name][few], labels[name], style=styles[name]) for name in labels]
    truncated = run.distances["truncated"][few]
    during.append(Line(run.snapshots, truncated, "truncated hierarchical SVD", "ink", "", "o", hollow=True))
    distance = "distance / norm of the tensor"
    lines(middle, during, f"Distance to rank {few}, std {std:g}", "iterations", distance, "y", where=None)
    stds = list(by_std)
    at_end = {name: [_median(runs, name, few) for runs in by_std.values()] for name in _DISTANCES}
    ends = [Line(stds, at_end[name], style=styles[name], marker=".") for name in labels]
    ends.append(Line(stds, at_end["truncated"], "", "ink", "", "o", hollow=True))
    lines(right, ends, f"Distance to rank {few} at the end", "initial standard deviation", distance, "xy")
    right.set_xticks(stds, [f"{std:g}" for std in stds])
    right.minorticks_off()
    for panel in (left, middle):
        panel.set_xlim(0, max(1, int(run.steps[-1])))
    legend_below(figure, middle, columns=5)
    return figure
