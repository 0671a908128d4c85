"""The numbers of the recipe rank-of-architecture: tables, checks that can fail, and the figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.experiments._recipes._architecture_runs import Host, Modes, Recorded
from tnrank.experiments._recipes._architectures import Architecture
from tnrank.plots import ArchitecturePanel, architectures

SIDES = ("target", "mirrored")
_CLOSE = 0.1
_COMPLETED = 0.1
_LOW_BEFORE = 0.8
_COST = 3.0
_PREFERS = 1.1
_TREES = ("circuit", "relu-max", "relu-average")
_NO_TREE = ("mlp", "attention")


@dataclass(frozen=True)
class Targets:
    """The partitions, and the targets' effective ranks: modes -> ``(2 seeds,)``, targets first, then mirrored ones."""

    on_tree: tuple[Modes, ...]
    off_tree: tuple[Modes, ...]
    ranks: dict[Modes, Host]
    seeds: int

    def by_side(self, values: dict[Modes, Host], on: bool) -> Host:
        """``(2, seeds, ..)``: the mean over the partitions on or off the tree."""
        mean = np.mean([values[modes] for modes in (self.on_tree if on else self.off_tree)], axis=0)
        return np.asarray(mean.reshape(2, self.seeds, *mean.shape[1:]))


@dataclass(frozen=True)
class Measured:
    """One architecture: its runs, and the ranks of its ``(seeds,)`` initial weights of ordinary size."""

    model: Architecture
    recorded: Recorded
    random: dict[Modes, Host]


class Findings:
    """What is read off the runs of one architecture; arrays are ``(2, seeds)`` or ``(2, seeds, K)``."""

    def __init__(self, measured: Measured, targets: Targets) -> None:
        self.measured, self.targets = measured, targets
        self.name = measured.model.name
        recorded = measured.recorded
        self.on = targets.by_side(recorded.ranks, on=True)
        self.off = targets.by_side(recorded.ranks, on=False)
        self.losses = recorded.losses.reshape(self.on.shape)
        self.errors = recorded.errors.reshape(self.on.shape)
        halves = [modes for modes in targets.on_tree if 2 * len(modes) == measured.model.order]
        self.top = np.max([recorded.ranks[modes] for modes in halves])

    @cached_property
    def preference(self) -> Host:
        """``(seeds,)``: how many times the rank off the tree is that on it, geometric mean over training.

        It is a mean over the target and the mirrored one as well, whose own ratios cancel.
        """
        # A tensor of zeros has rank 0.
        ratio = np.log(np.maximum(self.off, 1.0)) - np.log(np.maximum(self.on, 1.0))
        return np.asarray(np.exp(ratio[:, :, 1:].mean(axis=(0, 2))))

    @cached_property
    def cost(self) -> Host:
        """``(seeds,)``: the error on unobserved entries of the mirrored target over that of the target."""
        return np.asarray(self.errors[1, :, -1] / self.errors[0, :, -1])

    @property
    def lowest(self) -> tuple[float, float]:
        """The least ranks on and off the tree after the start, on the target, mean over seeds."""
        return float(self.on[0, :, 1:].min(axis=1).mean()), float(self.off[0, :, 1:].min(axis=1).mean())

    @property
    def random(self) -> tuple[float, float]:
        """Ranks on and off the tree with weights of ordinary size, mean over seeds."""
        values, targets = self.measured.random, self.targets
        on, off = (np.mean([values[m] for m in group]) for group in (targets.on_tree, targets.off_tree))
        return float(on), float(off)

    def end(self, side: int) -> tuple[float, float]:
        """The last ranks on and off the tree, mean over seeds."""
        return float(self.on[side, :, -1].mean()), float(self.off[side, :, -1].mean())

    def summary(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {
            "parameters": self.measured.model.parameter_count,
            "effective_ranks": {
                "random_weights": self.random,
                "initial": (float(self.on[0, :, 0].mean()), float(self.off[0, :, 0].mean())),
                "lowest": self.lowest,
                **{
                    f"end_{which}": {"on": self.on[k, :, -1], "off": self.off[k, :, -1]}
                    for k, which in enumerate(SIDES)
                },
            },
            "loss": {which: self.losses[k, :, -1] for k, which in enumerate(SIDES)},
            "unobserved_error": {which: self.errors[k, :, -1] for k, which in enumerate(SIDES)},
            "preference": self.preference,
            "mirrored_cost": self.cost,
        }


def outcome(measured: Sequence[Measured], targets: Targets) -> Outcome:
    """Figure, tables, checks and summary."""
    found = {m.model.name: Findings(m, targets) for m in measured}
    on, off = targets.by_side(targets.ranks, on=True), targets.by_side(targets.ranks, on=False)
    panels = [
        ArchitecturePanel(f.measured.model.title, f.measured.recorded.steps, f.on, f.off, f.losses, f.errors)
        for f in found.values()
    ]
    summary: dict[str, Any] = {
        "on_tree": [_label(m) for m in targets.on_tree],
        "off_tree": [_label(m) for m in targets.off_tree],
        "targets": {which: {"on": on[k], "off": off[k]} for k, which in enumerate(SIDES)},
        **{name: f.summary() for name, f in found.items()},
    }
    figure = architectures(panels, on.mean(axis=1), off.mean(axis=1))
    return Outcome(summary, [_ranks(found, on, off, targets), _fits(found)], checks(found, on), figure)


def checks(found: dict[str, Findings], target_on: Host) -> list[Check]:
    """The claims; every one is about each seed on its own."""
    return [*_circuit(found, target_on), *_preferences(found)]


def _circuit(found: dict[str, Findings], target_on: Host) -> list[Check]:
    circuit = found["circuit"]
    gaps = np.abs(circuit.on[0, :, -1] / target_on[0] - 1)
    errors = circuit.errors[0, :, -1]
    before = circuit.on[0, :, 1:].min(axis=1) / circuit.on[0, :, -1]
    start = circuit.on[0, :, 0]
    others = {name: f for name, f in found.items() if name != "circuit"}
    rival = min(others, key=lambda name: (others[name].errors[0, :, -1] / errors).min())
    margin = (others[rival].errors[0, :, -1] / errors).min()
    return [
        Check(
            "circuit: the rank on its tree starts high, falls below that of the target, and rises to it",
            f"starts at {start.min():.1f} or more, lowest {before.max():.0%} of the last or less",
            bool((start > circuit.on[0, :, -1]).all() and (before < _LOW_BEFORE).all()),
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
            _listed(found, _NO_TREE, "cost"),
            all(bool((np.abs(np.log(found[name].cost)) < np.log(1.5)).all()) for name in _NO_TREE),
        ),
    ]


def _preferences(found: dict[str, Findings]) -> list[Check]:
    return [
        Check(
            "networks with a tree: ranks on it stay below those off it, whatever the target, by 10 % or more",
            _listed(found, _TREES, "preference"),
            all(bool((found[name].preference > _PREFERS).all()) for name in _TREES),
        ),
        Check(
            "models without a tree: ranks of both kinds are equal within 10 %",
            _listed(found, _NO_TREE, "preference"),
            all(bool((np.abs(np.log(found[name].preference)) < np.log(_PREFERS)).all()) for name in _NO_TREE),
        ),
        Check(
            "average pooling: the rank of the root's children is at most 2, by construction",
            f"{found['relu-average'].top:.3f} at most",
            bool(found["relu-average"].top < 2.01),
        ),
    ]


def _ranks(found: dict[str, Findings], on: Host, off: Host, targets: Targets) -> Table:
    rows = []
    for name, f in found.items():
        initial = (float(f.on[0, :, 0].mean()), float(f.off[0, :, 0].mean()))
        cells = [_pair(pair) for pair in (f.random, initial, f.lowest, f.end(0), f.end(1))]
        rows.append((name, *cells))
    rows.append(("(target)", "", "", "", _pair((on[0].mean(), off[0].mean())), _pair((on[1].mean(), off[1].mean()))))
    title = f"Effective ranks on | off the tree, means of {targets.seeds} seeds"
    note = (
        f"On the tree: {', '.join(map(_label, targets.on_tree))}; off it: {', '.join(map(_label, targets.off_tree))}. "
        "Random: weights of ordinary size. Small: the initial weights. Lowest: on the target, after the first step."
    )
    return Table(title, ("model", "random", "small", "lowest", "end", "end, mirrored"), rows, note)


def _fits(found: dict[str, Findings]) -> Table:
    rows = []
    for name, f in found.items():
        losses = [f"{np.exp(np.log(f.losses[k, :, -1]).mean()):.1e}" for k in range(2)]
        errors = [_range(f.errors[k, :, -1]) for k in range(2)]
        rows.append((name, f"{f.measured.model.parameter_count:,}", *losses, *errors, _range(f.preference)))
    columns = ("model", "weights", "loss", "mirrored", "unobserved error", "mirrored", "off / on")
    note = (
        "Unobserved error: relative to the target there. Off / on: ratio of the ranks over training, on both targets."
    )
    return Table("Fit, and preference for the tree", columns, rows, note)


def _listed(found: dict[str, Findings], names: Sequence[str], field: str) -> str:
    return ", ".join(f"{name} {_range(getattr(found[name], field))}" for name in names)


def _range(values: Host) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def _pair(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f} | {pair[1]:.2f}"


def _label(modes: Modes) -> str:
    return "{" + ",".join(map(str, modes)) + "}"
