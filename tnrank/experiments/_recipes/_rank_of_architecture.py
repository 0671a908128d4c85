"""Which notion of rank is low for which architecture, while it learns from small weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._backend import get_backend
from tnrank._check import generator as make_generator
from tnrank._explained import explained
from tnrank.circuits import Circuit
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, nearest, register
from tnrank.experiments._recipes import _architecture_report as report
from tnrank.experiments._recipes._architecture_runs import Host, Modes, Problem, Trainer, effective_ranks, record
from tnrank.experiments._recipes._architectures import (
    Architecture,
    Convolutional,
    architectures,
    features,
    grid,
    small_weights,
)
from tnrank.factorizations import HierarchicalFactorization
from tnrank.training import Adam, GroupRMSProp

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal

_OPTIMIZERS = {"group-rmsprop": GroupRMSProp, "adam": Adam}


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
        observed_share: of the entries.
        level: root mean square of the initial outputs; that of the target is 1.
        optimizer: ``"group-rmsprop"``, whose direction is the gradient's, or ``"adam"``.
        learning_rate: of it.
        steps: of every model.
        record_every: distance of the recorded steps.

    Source: the closing hypothesis of Razin, Maman & Cohen 2022, on networks of Cohen & Shashua 2016.
    """

    name: ClassVar[str] = "rank-of-architecture"
    title: ClassVar[str] = "which notion of rank is low for which network"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {},
            "paper": {"size": 8, "seeds": 4, "steps": 3000, "record_every": 50, "level": 1e-3},
        }
    )

    order: int = 4
    size: int = 6
    rank: int = 3
    width: int = 16
    hidden: int = 64
    seeds: int = 2
    observed_share: float = 0.5
    level: float = 3e-3
    optimizer: str = "group-rmsprop"
    learning_rate: float = 2e-2
    steps: int = 1200
    record_every: int = 25

    @explained
    def __post_init__(self) -> None:
        if self.optimizer not in _OPTIMIZERS:
            raise ValueError(f"unknown optimizer {self.optimizer!r}{nearest(self.optimizer, _OPTIMIZERS)}")
        if self.order < 4 or self.order & (self.order - 1):
            raise ValueError(f"order is a power of two from 4 on, got {self.order}")
        if not 1 <= self.rank <= self.size:
            raise ValueError(f"rank lies in 1 .. size = {self.size}, got {self.rank}")
        for field in ("hidden", "seeds", "steps", "record_every"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is at least 1, got {getattr(self, field)}")
        if self.width < 2 or self.width % 2:
            raise ValueError(f"width is even, for the two heads of the attention model, got {self.width}")
        if not 0 < self.observed_share < 1:
            raise ValueError(f"observed_share lies between 0 and 1, got {self.observed_share}")
        if not self.level > 0:
            raise ValueError(f"level is positive, got {self.level}")

    @property
    def on_tree(self) -> tuple[Modes, ...]:
        """The matricizations on the circuit's tree: its interior nodes but the root."""
        nodes = Circuit.deep(self.order, self.size, self.width).tree.nodes
        return tuple(tuple(map(int, node.modes)) for node in nodes if 1 < len(node.modes) < self.order)

    @property
    def off_tree(self) -> tuple[Modes, ...]:
        """Those of the mirrored tree."""
        exchanged = self._exchanged
        return tuple(tuple(sorted(exchanged[mode] for mode in modes)) for modes in self.on_tree)

    @property
    def _exchanged(self) -> list[int]:
        """Modes of the two halves in turn: neighbors come far apart."""
        return [int(mode) for mode in np.arange(self.order).reshape(2, -1).T.ravel()]

    def problems(self, seed: int) -> tuple[Problem, Problem]:
        """The target of a seed, and the mirrored one."""
        generator = make_generator(seed)
        shape = (self.size,) * self.order

        def draw(matrix: Any) -> Host:
            if matrix.shape[1] == 1:
                return np.linspace(1.0, 0.5, len(matrix))[:, None]
            return np.asarray(np.linalg.qr(generator.standard_normal(matrix.shape))[0])

        tensor = HierarchicalFactorization.random(shape, width=self.rank, seed=0, dtype="float64").map(draw).to_dense()
        tensor = np.asarray(tensor) / np.sqrt(np.mean(np.asarray(tensor) ** 2))
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
        seeds = [1000 * self.seed + k for k in range(self.seeds)]
        pairs = [self.problems(seed) for seed in seeds]
        # Runs of the target first, then those of the mirrored one.
        problems = [pair[side] for side in range(2) for pair in pairs]
        found = [
            self._train(journal, model, problems, seeds)
            for model in architectures(self.order, self.size, self.width, self.hidden)
        ]
        targets = {
            modes: effective_ranks(np.stack([p.target for p in problems]), modes)
            for modes in (*self.on_tree, *self.off_tree)
        }
        return report.outcome(found, report.Targets(self.on_tree, self.off_tree, targets, self.seeds))

    def _train(
        self, journal: Journal, model: Architecture, problems: Sequence[Problem], seeds: Sequence[int]
    ) -> report.Measured:
        journal.say(f"{model.name}: preparing")
        backend = get_backend(self.backend)
        drawn = [small_weights(model, seed, self.level) for seed in seeds]
        inputs = features(grid(self.order, self.size), self.size)
        shape = (self.size,) * self.order
        ordinary = np.stack([np.asarray(model.forward(weights, inputs)).reshape(shape) for weights, _ in drawn])
        optimizer = _OPTIMIZERS[self.optimizer](self.learning_rate)
        trainer = Trainer(model, problems, [small for _, small in drawn] * 2, optimizer, backend, self.dtype)
        partitions = (*self.on_tree, *self.off_tree)

        def keep(step: int, losses: Host, errors: Host, ranks: dict[Modes, Host]) -> None:
            for side, which in enumerate(report.SIDES):
                part = slice(side * self.seeds, (side + 1) * self.seeds)
                journal.folder.record(model.name, step, f"loss, {which}", losses[part])
                journal.folder.record(model.name, step, f"unobserved error, {which}", errors[part])
                journal.folder.record(
                    model.name, step, f"effective rank, {which}", {m: values[part] for m, values in ranks.items()}
                )
            journal.folder.flush()
            journal.say(f"{model.name}: step {step:,} of {self.steps:,}  loss {np.median(losses):.3e}")

        recorded = record(trainer, problems, partitions, self.steps, self.record_every, keep)
        if isinstance(model, Convolutional) and model.circuit.pooling == "product":
            x = model.circuit.to_factorization([w[0] for w in recorded.weights])
            x.save(journal.folder.partial / f"{model.name}.safetensors")
        random = {modes: effective_ranks(ordinary, modes) for modes in partitions}
        return report.Measured(model, recorded, random)
