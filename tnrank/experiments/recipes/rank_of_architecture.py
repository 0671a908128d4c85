"""Which notion of rank is low for which architecture, while it learns from small weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from tnrank._backend import get_backend
from tnrank._check import generator as make_generator
from tnrank.circuits import Circuit
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Every, Order, Part, Positive, Range, Seeds, Steps
from tnrank.experiments.kit import Check, HostArray, Journal, Outcome, Recipe, Table, register
from tnrank.experiments.recipes import _rank_of_architecture_models as networks
from tnrank.experiments.recipes._rank_of_architecture_models import Architecture, Modes, Moment, Problem
from tnrank.plots.painters import COLORS, Figure, Line, legend, lines, panels
from tnrank.training import Adam, GroupRMSProp

Ranks = Mapping[Modes, HostArray]
Trees = tuple[tuple[Modes, ...], tuple[Modes, ...]]  # matricizations on the tree, and off it

_SIDES = ("target", "mirrored")
_CLOSE, _COMPLETED, _LOW_BEFORE, _COST, _PREFERS = 0.1, 0.1, 0.8, 3.0, 1.1
_TREES = ("circuit", "relu-max", "relu-average")
_NO_TREE = ("mlp", "attention")


@register
@dataclass(frozen=True, kw_only=True)
class RankOfArchitecture(Recipe):
    """Effective ranks of the grid tensors of five small networks that learn the same tensors.

    A convolutional arithmetic circuit, the same network with ReLUs and max or average pooling, a perceptron and an
    attention model complete a tensor of low hierarchical rank, from small initial weights. Every model also gets
    the mirrored tensor, whose modes are exchanged so that the rank is low on another tree instead: what a model does
    on both is a matter of its architecture, what changes is a matter of the target.

    Attributes:
        order: locations, a power of two from 4 on.
        size: templates of a location.
        rank: of the target on the tree.
        width: channels of the convolutional models and of the attention model; twice that in its hidden layer.
        hidden: units in each of the two layers of the perceptron.
        seeds: runs of each model on either target, with other targets, observed entries and initial weights.
        observed_share: observed entries, as a share of all.
        level: root mean square of the initial outputs; that of the target is 1.
        optimizer: ``"group-rmsprop"``, whose direction is the gradient's, or ``"adam"``.
        learning_rate: of the optimizer.
        steps: updates of every model.
        record_every: distance of the recorded steps.

    Source: the closing hypothesis of Razin, Maman & Cohen 2022, on networks of Cohen & Shashua 2016.
    """

    name: ClassVar[str] = "rank-of-architecture"
    title: ClassVar[str] = "which notion of rank is low for which network"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"size": 8, "seeds": 4, "steps": 3000, "record_every": 50, "level": 1e-3},
    }
    draws: ClassVar[bool] = True

    order: Order = 4
    size: Count = 6
    rank: Count = 3
    width: Annotated[int, Range(2, 10**6, "arrays of that size do not fit into memory")] = 16
    hidden: Count = 64
    seeds: Seeds = 2
    observed_share: Part = 0.5
    level: Positive = 3e-3
    optimizer: Literal["group-rmsprop", "adam"] = "group-rmsprop"
    learning_rate: Positive = 2e-2
    steps: Steps = 1200
    record_every: Every = 25

    def check(self) -> None:
        if self.order < 4 or self.order & (self.order - 1):
            raise ValueError(f"order is a power of two from 4 on, got {self.order}")
        if self.rank > self.size:
            raise ValueError(f"rank lies in 1 .. size = {self.size}, got {self.rank}")
        if self.width % 2:
            raise ValueError(f"width is even, for the two heads of the attention model, got {self.width}")

    @property
    def trees(self) -> Trees:
        """The matricizations on the circuit's tree, its interior nodes but the root, and those of the mirrored tree."""
        nodes = [node.modes for node in Circuit.deep(self.order, self.size, self.width).tree.nodes]
        on_tree = tuple(tuple(map(int, modes)) for modes in nodes if 1 < len(modes) < self.order)
        return on_tree, tuple(tuple(sorted(self._exchanged[mode] for mode in modes)) for modes in on_tree)

    @property
    def _exchanged(self) -> list[int]:
        """Modes of the two halves in turn: neighbors come far apart."""
        return [int(mode) for mode in np.arange(self.order).reshape(2, -1).T.ravel()]

    def problems(self, seed: int) -> tuple[Problem, Problem]:
        """The target of a seed, and the mirrored one."""
        generator = make_generator(seed)
        tensor = kit.orthonormal_target((self.size,) * self.order, self.rank, generator)
        count = max(1, int(self.observed_share * tensor.size))
        observed = generator.permutation(tensor.size)[:count]
        return Problem(tensor, observed), Problem(np.transpose(tensor, np.argsort(self._exchanged)), observed)

    def execute(self, journal: Journal) -> Outcome:
        backend = get_backend(self.backend)
        if "value_and_grad" not in backend.capabilities:
            raise ValueError(
                f"the {backend.name} backend does not differentiate networks: run this recipe with --backend jax or "
                "--backend torch"
            )
        seeds = range(1000 * self.seed, 1000 * self.seed + self.seeds)
        # Runs of the targets first, then those of the mirrored ones.
        problems = [problem for side in zip(*map(self.problems, seeds), strict=True) for problem in side]
        models = networks.architectures(self.order, self.size, self.width, self.hidden)
        found = {model.name: self._train(journal, model, problems, seeds) for model in models}
        tensors = np.stack([problem.target for problem in problems])
        ranks = {modes: networks.effective_ranks(tensors, modes) for modes in chain(*self.trees)}
        return _outcome(found, self.trees, ranks)

    def _train(
        self, journal: Journal, model: Architecture, problems: Sequence[Problem], seeds: Sequence[int]
    ) -> Findings:
        journal.say(f"{model.name}: preparing")
        drawn = [networks.small_weights(model, seed, self.level) for seed in seeds]
        inputs, shape = networks.grid_features(self.order, self.size), (self.size,) * self.order
        ordinary = np.stack([np.asarray(model.forward(weights, inputs)).reshape(shape) for weights, _ in drawn])
        optimizer = {"group-rmsprop": GroupRMSProp, "adam": Adam}[self.optimizer](self.learning_rate)
        backend, starts = get_backend(self.backend), [small for _, small in drawn] * 2
        trainer = networks.Trainer(model, problems, starts, optimizer, backend, self.dtype)
        partitions = list(chain(*self.trees))
        moments = []
        for moment in networks.record(trainer, partitions, self.steps, self.record_every):
            moments.append(moment)
            step, losses, errors, ranks = moment
            for side, which in enumerate(_SIDES):
                part = slice(side * self.seeds, (side + 1) * self.seeds)
                journal.record(model.name, step, f"loss, {which}", losses[part])
                journal.record(model.name, step, f"unobserved error, {which}", errors[part])
                journal.record(model.name, step, f"effective rank, {which}", {m: r[part] for m, r in ranks.items()})
            journal.flush()
            journal.say(f"{model.name}: step {step:,} of {self.steps:,}  loss {np.median(losses):.3e}")
        if model.circuit is not None and model.circuit.pooling == "product":
            journal.save(model.name, model.circuit.to_factorization([w[0] for w in trainer.weights]))
        random = {modes: networks.effective_ranks(ordinary, modes) for modes in partitions}
        return Findings(model, moments, random, self.trees)


def _by_side(values: Ranks, partitions: Sequence[Modes]) -> HostArray:
    """``(2, seeds, ..)``, targets and mirrored ones: the mean over partitions of ``(2 seeds, ..)``."""
    mean = np.mean([values[modes] for modes in partitions], axis=0)
    return np.asarray(mean.reshape(2, -1, *mean.shape[1:]))


class Findings:
    """What is read off the runs of one architecture; ``random`` are ranks with weights of ordinary size.

    Attributes:
        on: ``(2, seeds, K)`` effective ranks on the tree, of runs on the targets and on the mirrored ones.
        off: ``(2, seeds, K)`` those off the tree.
        losses: ``(2, seeds, K)`` mean squared errors on the observed entries.
        errors: ``(2, seeds, K)`` relative errors on the others.
        top: the largest rank at the children of the root.
        preference: ``(seeds,)``, how many times the rank off the tree is that on it, geometric mean over training. It
            is a mean over the target and the mirrored one as well, whose own ratios cancel.
        cost: ``(seeds,)``, the error on unobserved entries of the mirrored target over that of the target.
        pairs: names of moments -> ranks on and off the tree then, mean over seeds.
    """

    def __init__(self, model: Architecture, moments: Sequence[Moment], random: Ranks, trees: Trees) -> None:
        steps, losses, errors, found = zip(*moments, strict=True)
        self.model, self.steps = model, np.asarray(steps)
        ranks = {modes: np.stack([one[modes] for one in found], axis=1) for modes in chain(*trees)}
        self.on, self.off = (_by_side(ranks, tree) for tree in trees)
        self.losses, self.errors = (np.stack(x, axis=1).reshape(self.on.shape) for x in (losses, errors))
        self.top = np.max([ranks[modes] for modes in trees[0] if 2 * len(modes) == model.order])
        # A tensor of zeros has rank 0.
        ratio = np.log(np.maximum(self.off, 1.0)) - np.log(np.maximum(self.on, 1.0))
        self.preference = np.exp(ratio[:, :, 1:].mean(axis=(0, 2)))
        self.cost = self.errors[1, :, -1] / self.errors[0, :, -1]
        both = (self.on, self.off)
        self.pairs: dict[str, tuple[float, ...]] = {
            "random_weights": tuple(float(np.mean([random[m] for m in tree])) for tree in trees),
            "initial": tuple(float(x[0, :, 0].mean()) for x in both),
            "lowest": tuple(float(x[0, :, 1:].min(axis=1).mean()) for x in both),
            **{f"end_{which}": tuple(float(x[k, :, -1].mean()) for x in both) for k, which in enumerate(_SIDES)},
        }


def _outcome(found: Mapping[str, Findings], trees: Trees, targets: Ranks) -> Outcome:
    on, off = (_by_side(targets, tree) for tree in trees)
    on_names, off_names = (list(map(kit.braces, tree)) for tree in trees)
    ranks = [(name, *(f"{a:.2f} | {b:.2f}" for a, b in f.pairs.values())) for name, f in found.items()]
    ranks.append(("(target)", "", "", "", *(f"{a.mean():.2f} | {b.mean():.2f}" for a, b in zip(on, off, strict=True))))
    fits = []
    for name, f in found.items():
        losses = [f"{np.exp(np.log(loss[:, -1]).mean()):.1e}" for loss in f.losses]
        errors = [_range(error[:, -1]) for error in f.errors]
        fits.append((name, f"{f.model.parameter_count:,}", *losses, *errors, _range(f.preference)))
    title = f"Effective ranks on | off the tree, means of {on.shape[1]} seeds"
    note = (
        f"On the tree: {', '.join(on_names)}; off it: {', '.join(off_names)}. Random: weights of ordinary size. "
        "Small: the initial weights. Lowest: on the target, after the first step."
    )
    columns = ("model", "weights", "loss", "mirrored", "unobserved error", "mirrored", "off / on")
    fit_note = (
        "Unobserved error: relative to the target there. Off / on: ratio of the ranks over training, on both targets."
    )
    rank_table = Table(title, ("model", "random", "small", "lowest", "end", "end, mirrored"), ranks, note)
    tables = [rank_table, Table("Fit, and preference for the tree", columns, fits, fit_note)]
    summary: dict[str, Any] = {"on_tree": on_names, "off_tree": off_names}
    summary["targets"] = {which: {"on": on[k], "off": off[k]} for k, which in enumerate(_SIDES)}
    for name, f in found.items():
        ends = {f"end_{which}": {"on": f.on[k, :, -1], "off": f.off[k, :, -1]} for k, which in enumerate(_SIDES)}
        summary[name] = {
            "parameters": f.model.parameter_count,
            "effective_ranks": {**f.pairs, **ends},
            "loss": dict(zip(_SIDES, f.losses[:, :, -1], strict=True)),
            "unobserved_error": dict(zip(_SIDES, f.errors[:, :, -1], strict=True)),
            "preference": f.preference,
            "mirrored_cost": f.cost,
        }
    figure = partial(_figure, list(found.values()), on.mean(axis=1), off.mean(axis=1))
    return Outcome(summary, tables, checks(found, on), figure)


def _range(values: HostArray) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def checks(found: Mapping[str, Findings], target_on: HostArray) -> list[Check]:
    """The claims; every one is about each seed on its own."""

    def listed(names: Sequence[str], values: str) -> str:
        return ", ".join(f"{name} {_range(getattr(found[name], values))}" for name in names)

    def near_one(values: str, most: float) -> bool:
        return all(bool((np.abs(np.log(getattr(found[name], values))) < np.log(most)).all()) for name in _NO_TREE)

    circuit = found["circuit"]
    on, errors = circuit.on[0], circuit.errors[0, :, -1]
    high, top = on[:, 0], found["relu-average"].top
    gaps = np.abs(on[:, -1] / target_on[0] - 1)
    before = on[:, 1:].min(axis=1) / on[:, -1]
    margins = {name: (f.errors[0, :, -1] / errors).min() for name, f in found.items() if name != "circuit"}
    by_construction = "average pooling: the rank of the root's children is at most 2, by construction"
    rival, margin = min(margins.items(), key=lambda one: one[1])
    return [
        Check(
            "circuit: the rank on its tree starts high, falls below that of the target, and rises to it",
            f"starts at {high.min():.1f} or more, lowest {before.max():.0%} of the last or less",
            bool((high > on[:, -1]).all() and (before < _LOW_BEFORE).all()),
        ),
        Check(
            "circuit: that rank ends within 10 % of the target's, and unobserved entries are met to 10 %",
            f"off by {gaps.max():.1%} at most, errors {errors.max():.1%} at most",
            bool((gaps < _CLOSE).all() and (errors < _COMPLETED).all()),
        ),
        Check(
            "no other model meets them: errors are at least 3 times the circuit's",
            f"nearest: {rival}, {margin:.1f} times",
            bool(margin >= _COST),
        ),
        Check(
            "circuit: a target of low rank on another tree costs it at least 3 times the error",
            f"{circuit.cost.min():.1f} times or more",
            bool((circuit.cost >= _COST).all()),
        ),
        Check(
            "models without a tree: the other target costs them neither more nor less than 1.5 times the error",
            listed(_NO_TREE, "cost"),
            near_one("cost", 1.5),
        ),
        Check(
            "networks with a tree: ranks on it stay below those off it, whatever the target, by 10 % or more",
            listed(_TREES, "preference"),
            all(bool((found[name].preference > _PREFERS).all()) for name in _TREES),
        ),
        Check(
            "models without a tree: ranks of both kinds are equal within 10 %",
            listed(_NO_TREE, "preference"),
            near_one("preference", _PREFERS),
        ),
        Check(by_construction, f"{top:.3f} at most", bool(top < 2.01)),
    ]


def _figure(found: Sequence[Findings], target_on: HostArray, target_off: HostArray) -> Figure:
    """One column a network: effective ranks over training on either target, and the losses below."""
    figure, rows = panels(3, len(found), 2.6, 2.2, sharex="col", sharey="row")
    highest = max(1.15 * max(float(np.max([f.on, f.off])) for f in found), 2.0)
    lowest = 0.6 * min(float(f.losses.min()) for f in found)
    ticks = [2**k for k in range(int(np.log2(highest)) + 1)]
    names = ("low rank on the tree", "mirrored: low rank off it")
    for column, f in enumerate(found):
        last = int(f.steps[-1])
        for side, panel in enumerate(rows[:2, column]):
            drawn = []
            for values, target, color, name in ((f.off, target_off, 1, "off"), (f.on, target_on, 0, "on")):
                drawn.append(Line([0, last], [target[side]] * 2, f"target, {name}", color, "--", width=1.0))
                drawn += _runs(f.steps, values[side], color, f"{name} the tree", "-")
            ylabel = "" if column else f"effective rank\n{names[side]}"
            lines(panel, drawn, "" if side else f.model.title, "", ylabel, "y", where=None)
            panel.set_ylim(0.9, highest)
            panel.set_yticks(ticks, list(map(str, ticks)))
        drawn = []
        for values, color, name in ((f.losses, 2, "loss"), (f.errors, 3, "unobserved")):
            drawn += _runs(f.steps, values[0], color, name, "-")
            drawn += _runs(f.steps, values[1], color, f"{name}, mirrored", "--")
        lines(rows[2, column], drawn, "", "iterations", "" if column else "loss and unobserved error", "y", where=None)
        rows[2, column].set(xlim=(0, max(1, last)), ylim=(max(lowest, 1e-12), None))
        for panel in rows[:, column]:
            panel.minorticks_off()
    for row in (0, 2):
        legend(rows[row, -1], fontsize=7.5, handlelength=1.6)
    return figure


def _runs(steps: HostArray, values: HostArray, color: int, label: str, style: str) -> list[Line]:
    """Runs as thin and light lines, and their geometric mean."""
    thin = [Line(steps, run, color=COLORS[color] + "59", style=style, width=0.6) for run in values]
    mean = np.exp(np.log(np.maximum(values, 1e-30)).mean(axis=0))
    return [*(thin if len(values) > 1 else ()), Line(steps, mean, label, color, style)]
