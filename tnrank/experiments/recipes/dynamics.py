"""Incremental learning in matrix, CP and hierarchical factorization: the three-panel figure."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np

from tnrank._backend import host_svdvals
from tnrank.data import low_rank_matrix, low_rank_tensor, observe
from tnrank.dimension_tree import DimensionTree
from tnrank.experiments import kit
from tnrank.experiments.fields import Count, Every, NonNegative, Part, Patience, Positive, Seed, Steps, TargetFile
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, Training, told
from tnrank.factorizations import CPFactorization, HierarchicalFactorization, MatrixFactorization
from tnrank.linalg import matricize
from tnrank.plots.painters import Figure, panels, staircase
from tnrank.training import CompletionResult, GroupRMSProp, Stop, recorders

_TITLES = {
    "mf": ("Matrix factorization: singular values", "singular value"),
    "cp": ("CP factorization: component norms", "component norm"),
    "htf": ("Hierarchical factorization: local components", "local component norm at the root"),
}
# (onsets, final values) read off the published figure
_PUBLISHED = {
    "mf": ((100, 1150, 2350, 3000, 4450), (36.4, 32.0, 28.3, 23.3, 20.2)),
    "cp": ((150, 1200, 2300, 4750, 6100), (37.2, 36.3, 24.2, 21.6, 17.5)),
    "htf": ((10100, 13100, 15300, 19900, 30000), (9.5, 5.5, 2.6, 1.5, 0.9)),
}
_RANK = 5
_TOP = 15
_RISEN = 0.01
"""A value has risen when it passed this share of the largest final one."""
_ORIGIN = 10.0
"""A local component has left the initial scale when its norm passed this many times the largest initial one."""
_RESTING = 1e-3
_CLOSE = 0.1

Modes = tuple[int, ...]


@kit.register
@dataclass(frozen=True, kw_only=True)
class Dynamics(Recipe):
    """Completion of targets of rank 5 from half of their 4096 entries, starting from small weights.

    Attributes:
        target: file of a matrix or tensor in place of the random targets; of a matrix, the matrix factorization is
            trained, of a tensor the other two; it is scaled to entries of mean square 1.
        mf_std: standard deviation of the initial weights of the matrix factorization, 64 x 64 of depth 3.
        cp_std: standard deviation of the initial weights of the CP factorization, 16 x 16 x 16 with 256 components.
        htf_std: standard deviation of the initial weights of the hierarchical factorization, 8 x 8 x 8 x 8 on the
            perfect binary tree.
        htf_width: local components of each interior node of the hierarchical factorization.
        mf_steps: the most steps of the matrix factorization.
        cp_steps: the most steps of the CP factorization.
        htf_steps: the most steps of the hierarchical factorization.
        observed: observed entries; half of all if not given, 2,048 of 4,096 as published.
        learning_rate: of GroupRMSProp.
        record_every: distance of the recorded steps; spectra of matricizations are recorded every eight of them.
        stop_loss: a model is done when its loss is below this at more than ``stop_patience`` checks in a row.
        stop_patience: how many such checks in a row are not enough; a check is due every 25 steps.
        onset_share: a value sets in when it exceeds this share of the final largest one.

    The targets' sizes, the stop rule, and the scales, widths and budgets of the paper preset are the published ones. A
    hierarchical factorization of width 64 needs larger initial weights than one of width 512: its end tensor
    grows like std^7 width^1.5, and with the published 1e-2 it would not leave the origin.

    Source: Razin, Maman & Cohen 2022, Fig. 2.
    """

    name: ClassVar[str] = "dynamics"
    title: ClassVar[str] = "singular values and component norms of MF, CP and HTF appear one after the other"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {
            **{"htf_std": 1e-2, "htf_width": 512},
            **{"mf_steps": 500_000, "cp_steps": 500_000, "htf_steps": 500_000},
        },
    }
    draws: ClassVar[bool] = True

    target: TargetFile = None
    seed: Seed = 1
    mf_std: NonNegative = 1e-3
    cp_std: NonNegative = 1e-3
    htf_std: NonNegative = 3e-2
    htf_width: Count = 64
    mf_steps: Steps = 20_000
    cp_steps: Steps = 20_000
    htf_steps: Steps = 50_000
    observed: Count | None = None
    learning_rate: Positive = 1e-2
    record_every: Every = 25
    stop_loss: NonNegative = 5e-5
    stop_patience: Patience = 100
    onset_share: Part = 0.1

    def execute(self, journal: Journal) -> Generator[Training, Any, Outcome]:
        found = []
        for model, target in self.targets().items():
            result = yield self.training(model, target)
            found.append(_Measured(model, result, target, self.onset_share))
        tables, checks = [_table(found, self)], []
        for m in found:
            tables += _tables_of_tree(m) if m.model == "htf" else []
            checks += (_hierarchical if m.model == "htf" else _incremental)(m, self)
        return Outcome({m.model: m.summary for m in found}, tables, checks, partial(_figure, found))

    def targets(self) -> dict[str, np.ndarray[Any, Any]]:
        """Model -> its target, with entries of mean square 1."""
        if self.target is not None:
            target = kit.read_target(self.target)
            target = target * (target.size**0.5 / np.linalg.norm(target))
            return dict.fromkeys(("mf",) if target.ndim == 2 else ("cp", "htf"), target)
        drawn = np.asarray(HierarchicalFactorization.random((8,) * 4, width=_RANK, seed=self.seed).to_dense())
        return {
            "mf": low_rank_matrix((64, 64), _RANK, seed=self.seed),
            "cp": low_rank_tensor((16, 16, 16), _RANK, seed=self.seed),
            "htf": drawn * (64.0 / float(np.linalg.norm(drawn))),
        }

    def training(self, model: str, target: np.ndarray[Any, Any]) -> Training:
        """How a model is trained."""
        shape, every = target.shape, self.record_every
        options: dict[str, Any] = {"std": getattr(self, f"{model}_std"), "seed": self.seed}
        options |= {"backend": self.backend, "dtype": self.dtype}
        record: list[Any] = [recorders.Loss(every), recorders.Error(target, every=every)]
        record.append(recorders.ComponentNorms(_TOP, every))
        start: Any
        if model == "mf":
            start = MatrixFactorization.random(shape, depth=3, hidden=min(shape), **options)
        elif model == "cp":
            start = CPFactorization.random(shape, min(256, prod(shape) // max(shape)), **options)
        else:
            start = HierarchicalFactorization.random(shape, width=self.htf_width, **options)
            record.append(recorders.Function("root_components", _largest_at_root, every=every))
            # One matricization off the tree: the bias is towards the rank of those on it. Six decompositions at every
            # record would cost a third of a narrow factorization's run.
            if off := _groups(start.tree)[1][:1]:
                record.append(recorders.SingularValues(top=_TOP, modes=off, every=8 * every))
        return Training(
            model,
            start,
            *observe(
                target, kit.count_observed(self.observed, shape, 0.5, self.target or "the target"), seed=self.seed
            ),
            optimizer=GroupRMSProp(self.learning_rate),
            steps=getattr(self, f"{model}_steps"),
            stop=Stop(self.stop_loss, self.stop_patience, every=25),
            record=record,
        )


def _largest_at_root(x: Any) -> Any:
    return x.backend.xp.argsort(-x.component_norms()[x.tree.root])[:_TOP]


def _groups(tree: DimensionTree) -> tuple[tuple[Modes, ...], tuple[Modes, ...]]:
    """The modes of matricizations on the tree, and of those of the first and another mode that are not."""
    nodes = {node.modes for node in tree.nodes}
    # The matricization of the root's last child is the transpose of the first one's.
    on = tuple(node.modes for node in tree.nodes if node not in (tree.root, tree.children(tree.root)[-1]))
    pairs = [((0, k), tuple(j for j in range(1, tree.order) if j != k)) for k in range(1, tree.order)]
    return on, tuple(pair for pair, others in pairs if pair not in nodes and others not in nodes)


class _Measured:
    """One model at the end of its run: the largest singular values or norms ``(K, top)`` at its recorded steps."""

    def __init__(self, model: str, result: CompletionResult, target: np.ndarray[Any, Any], share: float) -> None:
        x: Any = result.factorization
        trace = result.history["component_norms"]
        self.model, self.name, self.result = model, model.upper(), result
        self.steps, self.values = trace.steps, trace.values
        self.root: dict[str, Any] = {}
        self.on: tuple[Modes, ...] = tuple((k,) for k in range(1 if model == "mf" else target.ndim))
        off: tuple[Modes, ...] = ()
        if model == "htf":
            self.values = trace.values[x.tree.root]
            self.split: Modes = x.tree.children(x.tree.root)[0].modes
            singular = host_svdvals(matricize(target, self.split))
            self.root = _at_root(x, trace.steps, self.values, result.history["root_components"].values, singular)
            self.on, off = _groups(x.tree)
        self.error, self.ranks = kit.beside_target(x, target, (*self.on, *off))
        self.onsets = kit.onsets(self.steps, self.values, share)
        self.final = self.values[-1]
        self.risen = int((self.final > _RISEN * self.final.max(initial=0.0)).sum())
        self.summary = {
            **{"status": result.status, "steps": result.steps, "seconds": round(result.seconds, 2)},
            **{"loss": result.loss, "relative_error": self.error, "onsets": self.onsets, "final_values": self.final},
            "above_one_percent": self.risen,
            "effective_ranks": {modes: {"model": a, "target": b} for modes, (a, b) in self.ranks.items()},
            **({"root": self.root} if self.root else {}),
        }


def _at_root(x: Any, steps: Any, values: Any, numbers: Any, singular: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Which local components at the root rose, when, and how large they end, in order of final norms.

    ``values (K, top)`` are the largest norms at each step, ``numbers`` say whose they are. ``left`` is how many left
    the initial scale, with those that rose; ``resting`` the largest final norm of the others over the largest of all.
    """
    steps, values, numbers = np.asarray(steps), np.asarray(values, np.float64), np.asarray(numbers).astype(int)
    final = np.asarray(x.backend.to_numpy(x.component_norms()[x.tree.root]), np.float64)
    largest = final.max(initial=0.0)
    scale = _ORIGIN * values[0].max(initial=0.0)
    level = max(_RISEN * largest, scale)
    risen = np.unique(numbers[values > level])
    # Sorted norms hide a component that overtakes another: each is followed by its number.
    order = risen[np.argsort(-final[risen])]
    left = np.unique(numbers[values > scale])
    shown = max(len(order), min(_TOP, int((singular > 1e-10 * singular[0]).sum())))
    return {
        "onsets": [int(steps[((numbers == c) & (values > level)).any(axis=1).argmax()]) for c in order],
        "finals": [float(v) for v in final[order]],
        "left": len(left),
        "resting": float(np.delete(final, left).max(initial=0.0) / largest) if largest else 0.0,
        "target_singular_values": singular[:shown],
    }


def _table(found: Sequence[_Measured], recipe: Dynamics) -> Table:
    rows: list[tuple[str, ...]] = []
    for m in found:
        steps, finals = _PUBLISHED[m.model]
        rows += [
            (m.name, "onsets", told(m.onsets, none=""), told(steps)),
            ("", "final values", _short(m.final[: max(m.risen, 1)]), _short(finals)),
            ("", "steps, loss", kit.told_end(m.result), ""),
            ("", "relative error", f"{m.error:.1e}", ""),
        ]
    note = f"An onset is the first recorded step above {100 * recipe.onset_share:g} % of the final largest value."
    columns = ("model", "quantity", "measured", "published")[: 4 if recipe.target is None else 3]
    if recipe.target is None:
        note += " The published runs had other random targets: numbers and magnitudes compare, single steps do not."
        if recipe.preset != "paper":
            note += " The published HTF has width 512 and std 1e-2: its steps do not compare at all."
    return Table("Onsets and final values", columns, [row[: len(columns)] for row in rows], note)


def _tables_of_tree(m: _Measured) -> list[Table]:
    root, singular = m.root, m.root["target_singular_values"]
    cells = [(f"{onset:,}", _short([norm])) for onset, norm in zip(root["onsets"], root["finals"], strict=True)]
    cells += [("", "")] * (len(singular) - len(cells))
    rows: list[tuple[str, ...]] = [(f"{k + 1}", *cell, _short(singular[k : k + 1])) for k, cell in enumerate(cells)]
    note = (
        f"Listed by final norm is what passed {100 * _RISEN:g} % of the largest final norm and {_ORIGIN:g} times the "
        f"largest initial one, and when. {root['left']} passed the second; the others end at {root['resting']:.1e} of "
        "the largest or less."
    )
    title = f"Local components at the root, beside the target's matricization {kit.braces(m.split)}"
    table = Table(title, ("", "rises at", "final norm", "singular value of the target"), rows, note)
    rows = [
        (kit.braces(modes), "on" if modes in m.on else "off", f"{a:.2f}", f"{b:.2f}")
        for modes, (a, b) in m.ranks.items()
    ]
    columns = ("matricization", "tree", "measured", "target")
    return [table, Table("Effective ranks of the hierarchical factorization", columns, rows)]


def _incremental(m: _Measured, recipe: Dynamics) -> list[Check]:
    what = "singular values" if m.model == "mf" else "component norms"
    measured = f"at {told(m.onsets, none='no step')}"
    if recipe.target is not None:
        claim = f"{m.name}: two or more {what} set in, strictly one after the other"
        return [Check(claim, measured, len(m.onsets) > 1 and kit.rises(m.onsets))]
    ordered = len(m.onsets) >= _RANK and kit.rises(m.onsets[:_RANK])
    return [
        Check(f"{m.name}: exactly {_RANK} {what} end above 1 % of the largest", f"{m.risen}", m.risen == _RANK),
        Check(f"{m.name}: the {_RANK} appear strictly one after the other", measured, ordered),
    ]


def _hierarchical(m: _Measured, recipe: Dynamics) -> list[Check]:
    known, apart, root = recipe.target is None, kit.separated(m.onsets), m.root
    measured = f"{len(apart)}, at {told(apart, none='no step')}"
    claim = "HTF: two or more onsets at the root, apart by 5 % of the last one or more"
    checks = [Check(claim, f"{measured}, of {len(m.onsets)}", 1 < len(m.onsets) == len(apart))]
    if known:
        claim = "HTF: at least 3 onsets at the root, apart by 5 % of the last one or more"
        checks = [Check(claim, measured, len(apart) >= 3), _ranks_on_tree(m)]
    if recipe.preset != "paper":
        return checks
    # At the published width and scale, the steps are far apart.
    claim = "HTF: the run ends by the published stop rule"
    measured = f"{m.result.status} after {m.result.steps:,} steps, loss {m.result.loss:.1e}"
    checks.append(Check(claim, measured, m.result.status == "converged"))
    many, least = ("4 or more components", 4) if known else ("components", 1)
    claim = f"HTF: {many} at the root rise strictly one at a time, in order of final size"
    measured = f"at {told(root['onsets'], none='no step')}, to {_short(root['finals']) or 'nothing'}"
    checks.append(Check(claim, measured, len(root["onsets"]) >= least and kit.rises(root["onsets"])))
    claim = "HTF: components at the root that never left the initial scale end under 1e-3 of the largest"
    measured = f"{root['resting']:.1e}; {root['left']} left it"
    return [*checks, Check(claim, measured, root["left"] > 0 and root["resting"] < _RESTING)]


def _ranks_on_tree(m: _Measured) -> Check:
    on_tree = [m.ranks[modes] for modes in m.on]
    a, b = max((pair for pair in on_tree if pair[1]), key=lambda pair: abs(pair[0] / pair[1] - 1))
    largest = max(model for model, _ in on_tree)
    claim = f"HTF: effective ranks on the tree are at most about {_RANK}, and within 10 % of the target's"
    measured = f"at most {largest:.2f}; worst {a:.2f} against {b:.2f}"
    return Check(claim, measured, abs(a / b - 1) <= _CLOSE and largest <= _RANK * (1 + _CLOSE))


def _short(numbers: Sequence[float]) -> str:
    return "  ".join(f"{n:.1f}" if n >= 2 else f"{n:.2f}" if n >= 0.1 else f"{n:.1g}" for n in numbers)


def _figure(found: Sequence[_Measured]) -> Figure:
    """One panel a model: its singular values or component norms against iterations."""
    figure, axes = panels(1, len(found))
    for panel, m in zip(axes[0], found, strict=True):
        staircase(panel, m.steps, m.values, *_TITLES[m.model], m.onsets)
    return figure
