"""Hierarchical factorization is biased towards low rank on its own tree, whatever the target's tree."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from tnrank._backend import host_svdvals
from tnrank._check import generator as make_generator
from tnrank.data import observe
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Every, NonNegative, Patience, Positive, Seeds, Share, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, Training, register
from tnrank.experiments.recipes._tree_bias_runs import PAIRS, SAME, TREES, Comparison, Pair, effective_ranks, in_order
from tnrank.factorizations import HierarchicalFactorization
from tnrank.linalg import matricize
from tnrank.plots.painters import Figure, Line, heat, legend, lines, new_figure
from tnrank.training import CompletionResult, GroupRMSProp, RankOneMeasurements, Stop, recorders

_LARGE = 0.01
_ON, _OFF = (0, 1), (0, 2)


@register
@dataclass(frozen=True, kw_only=True)
class TreeBias(Recipe):
    """Ranks of the matricizations on and off the tree that a tensor of order 4 is completed on.

    First the published experiment: a target that has low rank on the balanced tree is completed on that tree.
    Then targets that have low rank on each of the three balanced trees over four modes are completed on each of
    the three, and on linear trees: what is a matter of the target, and what of the model?

    Attributes:
        htf_size: dimension of the modes in the published experiment.
        htf_rank: local components of each node of the target in the published experiment.
        htf_width: local components of each node of the model in the published experiment.
        htf_std: standard deviation of the initial weights in the published experiment.
        htf_steps: the most steps of the published experiment.
        htf_every: distance of the recorded steps of the published experiment.
        size: dimension of the modes in the comparison of trees.
        rank: of the targets on their tree, in the comparison of trees.
        width: local components of each node of the models in the comparison of trees.
        std: standard deviation of the initial weights in the comparison of trees.
        steps: the most steps of the comparison of trees.
        seeds: runs of every model on every target, with other targets, observations and initial weights.
        observations: ``"entries"``, or ``"rank-one"``: inner products with outer products of Gaussian vectors.
        observed_share: observations, as a share of the number of entries.
        learning_rate: of GroupRMSProp.
        stop_loss: a model is done when its loss is below this at more than ``stop_patience`` checks in a row.
        stop_patience: how many such checks in a row are not enough; a check is due every 25 steps.

    The end tensor grows like std^7 width^1.5: at width 48, the published 1e-2 would stay at the origin.

    Source: Razin, Maman & Cohen 2022, Sec. 4 and App. (settings of Fig. 2).
    """

    name: ClassVar[str] = "tree-bias"
    title: ClassVar[str] = "low rank on the model's tree, not off it"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"htf_width": 512, "htf_std": 1e-2, "htf_steps": 32_000, "seeds": 5, "steps": 10_000},
    }
    draws: ClassVar[bool] = True

    seed: int = 1
    htf_size: Count = 8
    htf_rank: Count = 5
    htf_width: Count = 48
    htf_std: Positive = 4e-2
    htf_steps: Steps = 15_000
    htf_every: Every = 50
    size: Count = 6
    rank: Count = 3
    width: Count = 24
    std: Positive = 5e-2
    steps: Steps = 6_000
    seeds: Seeds = 1
    observations: Literal["entries", "rank-one"] = "entries"
    observed_share: Share = 0.5
    learning_rate: Positive = 1e-2
    stop_loss: NonNegative = 5e-5
    stop_patience: Patience = 100

    def check(self) -> None:
        if self.rank > self.size:
            raise ValueError(f"rank lies in 1 .. size = {self.size}, got {self.rank}")

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        shape = (self.htf_size,) * 4
        target = kit.unit(HierarchicalFactorization.random(shape, width=self.htf_rank, seed=self.seed).to_dense())
        every = self.htf_every
        result = yield Training(
            "htf",
            self._start(shape, None, self.htf_width, self.htf_std, self.seed),
            *self.observed(target, self.seed),
            record=[
                recorders.Loss(every),
                recorders.Error(target, every=every),
                recorders.ComponentNorms(top=15, every=every),
                recorders.SingularValues(top=30, modes=((0, 2),), every=every),
            ],
            steps=self.htf_steps,
            **self._options,
        )
        runs: list[dict[str, Any]] = []
        for kind in TREES:
            runs += yield from self._compare(kind)
        return _outcome(result, target, Comparison(runs), self.htf_rank)

    def target(self, seed: int, pair: Pair) -> HostArray:
        """A tensor of mean square 1 and equally important components, of rank ``rank`` on the tree with ``pair``."""
        drawn = kit.orthonormal_target((self.size,) * 4, self.rank, np.random.default_rng([seed, pair[1]]))
        return np.transpose(drawn, np.argsort(in_order(pair)))

    def observed(self, target: HostArray, seed: int) -> tuple[Any, HostArray]:
        """What is observed of a target: indices or measurements, and values."""
        count = max(1, int(self.observed_share * target.size))
        if self.observations == "entries":
            return observe(target, count, seed=seed)
        generator = make_generator(seed)
        # An outer product then has mean squared norm 1, as a single entry has.
        scale = target.size ** (-1 / (2 * target.ndim))
        vectors = [scale * generator.standard_normal((count, d)) for d in target.shape]
        return RankOneMeasurements(vectors), np.einsum("abcd,ma,mb,mc,md->m", target, *vectors, optimize=True)

    def _compare(self, kind: str) -> Generator[Training, Any, list[dict[str, Any]]]:
        """Every target on every tree of a kind: one compiled run, because the trees differ in the order of modes."""
        names, starts, seen, record, given = [], [], [], [], []
        for k in range(self.seeds):
            seed = 1000 * self.seed + k
            for of in PAIRS:
                target = self.target(seed, of)
                for on in PAIRS:
                    turned = np.transpose(target, in_order(on))
                    names.append("{}-{}{}-target-{}{}-{}".format(kind, *on, *of, k))
                    starts.append(self._start(turned.shape, TREES[kind], self.width, self.std, 100 * seed + on[1]))
                    seen.append(self.observed(turned, 10 * seed + of[1]))
                    record.append([recorders.Loss(100), recorders.Error(turned, every=100)])
                    given.append((of, on, target))
        indices, values = zip(*seen, strict=True)
        results = yield Training(
            names, starts, list(indices), list(values), record=record, steps=self.steps, save=False, **self._options
        )
        found = []
        for (of, on, target), start, result in zip(given, starts, results, strict=True):
            # The model's modes are put back into the target's order.
            back = np.argsort(in_order(on))
            end, before = (np.transpose(kit.end_tensor(x), back) for x in (result.factorization, start))
            own, at_start, wanted = map(effective_ranks, (end, before, target))
            run = {"kind": kind, "target": of, "model": on, "relative_error": kit.relative_error(end, target)}
            run |= {"steps": result.steps, "loss": result.loss, "effective_rank_at_the_start": at_start[on]}
            run["effective_ranks"] = {pair: {"model": own[pair], "target": wanted[pair]} for pair in PAIRS}
            found.append(run)
        return found

    def _start(self, shape: tuple[int, ...], tree: Any, width: int, std: float, seed: int) -> HierarchicalFactorization:
        options: dict[str, Any] = {"seed": seed, "backend": self.backend, "dtype": self.dtype}
        return HierarchicalFactorization.random(shape, tree=tree, width=width, std=std, **options)

    @property
    def _options(self) -> dict[str, Any]:
        stop = Stop(self.stop_loss, self.stop_patience, every=25)
        return {"optimizer": GroupRMSProp(self.learning_rate), "stop": stop}


def _large(values: HostArray) -> int:
    return int((values > _LARGE * values.max(initial=0.0)).sum())


def _outcome(result: CompletionResult, target: HostArray, comparison: Comparison, rank: int) -> Outcome:
    end = kit.end_tensor(result.factorization)
    error = kit.relative_error(end, target)
    values = {pair: host_svdvals(matricize(end, pair)) for pair in PAIRS}
    large = {pair: _large(s) for pair, s in values.items()}
    of_target = {pair: _large(host_svdvals(matricize(target, pair))) for pair in PAIRS}
    published = {_ON: f"about {rank}", _OFF: f"up to {rank**2}", (0, 3): ""}
    rows = []
    for pair in PAIRS:
        counts = (str(large[pair]), published[pair], str(of_target[pair]))
        rows.append((kit.braces(pair), "on" if pair == _ON else "off", *counts, kit.told(values[pair][:6], ".3g")))
    columns = ("matricization", "tree", "large", "published", "target's", "first singular values")
    note = f"{result.steps:,} steps, loss {result.loss:.1e}, relative error {error:.1e}; large: above 1 %."
    table = Table("Large singular values of the hierarchical factorization", columns, rows, note)
    check = Check(
        f"on the tree at most {rank} singular values are above 1 % of the largest, off it at least twice as many",
        f"{large[_ON]} on, {large[_OFF]} off",
        2 <= large[_ON] <= rank and large[_OFF] >= 2 * large[_ON],
    )
    htf = {name: getattr(result, name) for name in ("status", "steps", "loss")} | {"relative_error": error}
    htf |= {"large_singular_values": large, "large_singular_values_of_the_target": of_target}
    summary, tables = {"htf": htf, "comparison": comparison.runs}, [table, *comparison.tables()]
    return Outcome(summary, tables, [check, *comparison.checks()], partial(_figure, result, comparison))


def _figure(result: CompletionResult, comparison: Comparison) -> Figure:
    """Local component norms and singular values against iterations; below, models against targets."""
    figure = new_figure(13.2, 6.2)
    rows_of_panels: Any = figure.subfigures(2, 1, height_ratios=(1, 1.08))
    above, below = rows_of_panels
    norms, values = result.history["component_norms"], result.history["singular_values"]
    tree = result.factorization.tree
    traces = [
        ("Local components, node {0,1}", norms.values[tree.node((0, 1))], "local component norm"),
        ("Local components, root", norms.values[tree.root], "local component norm"),
        ("Matricization on the tree, {0,1}", values.values[_ON], "singular value"),
        ("Matricization off the tree, {0,2}", values.values[_OFF], "singular value"),
    ]
    for panel, (title, rows, ylabel) in zip(above.subplots(1, 4), traces, strict=True):
        risen = _large(rows[-1])
        colors = [k if k < risen else "quiet" for k in range(rows.shape[1])]
        # The largest come last, over those that have not risen.
        drawn = [Line(norms.steps, rows[:, k], color=colors[k], width=1.4) for k in reversed(range(rows.shape[1]))]
        lines(panel, drawn, title, "iterations", ylabel)
        panel.set(xlim=(0, max(1, int(norms.steps[-1]))), ylim=(0, 1.16 * (float(rows.max(initial=0.0)) or 1.0)))
        panel.locator_params(axis="x", nbins=3)
        panel.text(0.97, 0.97, f"{risen} above 1 %", ha="right", va="top", fontsize=9, transform=panel.transAxes)
    left, right = below.subplots(1, 2, width_ratios=(1.55, 1))
    models = [f"{kind}\n{kit.braces(on)}" for kind, on in comparison.columns]
    title, ylabel = "Relative reconstruction error", "target of low rank on"
    heat(left, comparison.table, list(map(kit.braces, PAIRS)), models, title, "model's tree", ylabel)
    most = 1.08 * max(comparison.model.max(), comparison.target.max())
    ranks = [Line([0, most], [0, most], color="quiet")]
    for k, (color, marker) in enumerate(zip((0, 5, 1, 4), "osos", strict=True)):
        fits, on = (SAME if k < 2 else ~SAME)[:, :, None], (~SAME if k % 2 else SAME)
        name = f"{'right' if k < 2 else 'wrong'} tree, {'off' if k % 2 else 'on'} it"
        x, y = (of[:, fits & on].ravel() for of in (comparison.target, comparison.model))
        ranks.append(Line(x, y, name, color, "", marker))
    lines(right, ranks, "Effective ranks, balanced trees", "of the target", "of the model", where=None)
    right.set(xlim=(0, most), ylim=(0, most))
    legend(right, "center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.3)
    return figure
