"""Adapters that find their own rank: start, optimizer and depth, on planted changes and in a real fine-tuning."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from tnrank._backend import get_backend
from tnrank.experiments.fields import Count, Number, Part, Positive, Share, Steps
from tnrank.experiments.kit import HostArray, Journal, Outcome, Recipe, register
from tnrank.experiments.recipes._adapter_rank_claims import claims, figure, tables, without_spectra
from tnrank.experiments.recipes._image_sets import Name, gray_images
from tnrank.runs import Fitting


@dataclass(frozen=True)
class Adapter:
    """One way to start and train adapters.

    Attributes:
        title: in tables and figures.
        optimizer: ``"adam"`` or ``"group-rmsprop"``.
        depth: number of factors of a change.
        lora_scale: of LoRA's start, or ``None`` for the small balanced one.
    """

    title: str
    optimizer: str
    depth: int = 2
    lora_scale: float | None = None


@register
@dataclass(frozen=True, kw_only=True)
class AdapterRank(Recipe):
    """The rank that adapters find when more is offered than is needed.

    Planted: layers whose weights change by matrices of low rank; adapters see some of the entries of the changed
    weights. Fine-tuning: a perceptron is trained on one set of images, and its hidden layers are adapted to another, by
    Adam. Each from a small balanced start, and from LoRA's: one factor is zero, the other as PEFT draws it.

    Attributes:
        offered: the rank of all adapters.
        layers: with planted changes.
        size: each is size x size.
        planted: rank of the changes.
        change: their norm, relative to that of the weights.
        seen: share of the entries that are seen.
        start: norm of the small initial change, relative to that of the weight.
        lora_scale: by which LoRA's start is made smaller, in a run of its own.
        group_rate: learning rate of GroupRMSProp.
        adam_rate: of Adam.
        group_steps: updates by GroupRMSProp.
        adam_steps: by Adam.
        target: fine-tune from digits to digits turned by 90 degrees, or from MNIST to Fashion-MNIST.
        data_dir: the folder with the files; the environment variable ``TNRANK_DATA`` if not given.
        limit: images to train on, 0 for all.
        hidden: widths of the two hidden layers.
        tuning_start: as ``start``, in fine-tuning.
        first_steps: updates of all weights on the first images.
        tuning_steps: on the second ones.
        batch: images of a step.
        tolerance: components are used whose singular value is above this share of the largest one.

    Source: Hu et al. 2022 (LoRA); Arora, Cohen, Hu & Luo 2019 (small weights and depth); the comparison is ours.
    """

    name: ClassVar[str] = "adapter-rank"
    title: ClassVar[str] = "from a small balanced start, adapters find the rank that a change needs"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "fashion-mnist": {
            **{"target": "fashion-mnist", "limit": 3600, "hidden": (256, 256)},
            **{"first_steps": 360, "tuning_steps": 1080},
        },
    }
    draws: ClassVar[bool] = True

    backend: str = "torch"
    offered: Count = 64
    layers: Count = 8
    size: Count = 64
    planted: Count = 3
    change: Positive = 1.0
    seen: Part = 0.35
    start: Positive = 1e-4
    lora_scale: Positive = 0.05
    group_rate: Positive = 3e-2
    adam_rate: Positive = 1e-3
    group_steps: Steps = 1600
    adam_steps: Steps = 500
    target: Literal["turned-digits", "fashion-mnist"] = "turned-digits"
    data_dir: str | None = None
    limit: Number = 0
    hidden: tuple[Count, Count] = (128, 128)
    tuning_start: Positive = 1e-3
    first_steps: Steps = 360
    tuning_steps: Steps = 720
    batch: Count = 100
    tolerance: Share = 1e-2

    def adapters(self) -> dict[str, Adapter]:
        """Name -> how the planted changes are learned."""
        scaled = f"LoRA's start x {self.lora_scale:g}"
        found: dict[str, Adapter] = {}
        for optimizer, title in (("group-rmsprop", "GroupRMSProp"), ("adam", "Adam")):
            found |= {
                f"lora-{optimizer}": Adapter(f"LoRA's start, {title}", optimizer, 2, 1.0),
                f"scaled-{optimizer}": Adapter(f"{scaled}, {title}", optimizer, 2, self.lora_scale),
                f"small2-{optimizer}": Adapter(f"small balanced, depth 2, {title}", optimizer, 2),
                f"small3-{optimizer}": Adapter(f"small balanced, depth 3, {title}", optimizer, 3),
            }
        return found

    def execute(self, journal: Journal) -> Generator[Fitting, Any, Outcome]:
        planted = yield from self._learn_planted()
        tuned = yield from self._fine_tune()
        found = (planted, tuned)
        summary = {"planted": {name: without_spectra(one) for name, one in planted.items()}}
        summary |= {"tuned": {name: without_spectra(one) for name, one in tuned.items()}}
        return Outcome(summary, tables(self, *found), claims(self, *found), partial(figure, self, *found))

    def _learn_planted(self) -> Generator[Fitting, Any, dict[str, dict[str, Any]]]:
        """Name of an adapter -> last measurements, effective ranks at all steps, singular values."""
        found: dict[str, dict[str, Any]] = {}
        problem = self.problem()
        for name, adapter in self.adapters().items():
            steps = self.adam_steps if adapter.optimizer == "adam" else self.group_steps
            fitted = yield Fitting(name, self._planted_trainer(adapter, problem), steps, every=max(1, steps // 20))
            last = {quantity: values[-1] for quantity, values in fitted.history.items()}
            ranks = {"steps": fitted.steps, "effective_ranks": fitted.history["effective_rank"]}
            found[name] = {**last, **ranks, "spectra": fitted.trainer.spectra()}
        return found

    def _fine_tune(self) -> Generator[Fitting, Any, dict[str, dict[str, Any]]]:
        """Name of a model -> accuracies, and of adapters their singular values and components."""
        first, second = self.images("first"), self.images("second")
        trained = yield Fitting("first", self._perceptron(first), self.first_steps, every=self.first_steps)
        weights, every = trained.trainer.state(), max(1, self.tuning_steps // 10)
        whole = yield Fitting("whole", self._perceptron(second, weights), self.tuning_steps, every=every)
        before, *_, after = whole.history["test_accuracy"]
        found: dict[str, dict[str, Any]] = {"before": {"test_accuracy": before}, "whole": {"test_accuracy": after}}
        for name, adapter in self.tunings().items():
            trainer = self._perceptron(second, weights, adapter)
            fitted = yield Fitting(f"tuned-{name}", trainer, self.tuning_steps, every=every)
            found[name] = fitted.trainer.pruned(self.tolerance)
        return found

    def tunings(self) -> dict[str, Adapter]:
        """Name -> how the perceptron is adapted."""
        return {
            "lora": Adapter("LoRA's start", "adam", 2, 1.0),
            "small2": Adapter("small balanced, depth 2", "adam", 2),
            "small3": Adapter("small balanced, depth 3", "adam", 3),
        }

    def problem(self) -> dict[str, HostArray]:
        """Weights, planted changes ``(layers, size, size)``, and which entries are seen."""
        generator = np.random.default_rng(self.seed)
        shape = (self.layers, self.size, self.size)
        weights = generator.standard_normal(shape) / np.sqrt(self.size)
        left, right = (generator.standard_normal((self.layers, self.size, self.planted)) for _ in range(2))
        changes = left @ right.swapaxes(1, 2)
        norms = [np.linalg.norm(stack, axis=(1, 2), keepdims=True) for stack in (weights, changes)]
        return {
            "weights": weights,
            "changes": changes * (self.change * norms[0] / norms[1]),
            "seen": generator.random(shape) < self.seen,
        }

    def _planted_trainer(self, adapter: Adapter, problem: Mapping[str, HostArray]) -> Any:
        adam = adapter.optimizer == "adam"
        return get_backend(self.backend).trainer(
            "adapted_matrices",
            **problem,
            optimizer={"name": adapter.optimizer, "learning_rate": self.adam_rate if adam else self.group_rate},
            adapter={"rank": min(self.offered, self.size), "depth": adapter.depth, "start": self.start},
            lora_scale=adapter.lora_scale,
            tolerance=self.tolerance,
            seed=self.seed,
            dtype=self.dtype,
        )

    def _perceptron(
        self, data: Mapping[str, HostArray], weights: Mapping[str, HostArray] | None = None, how: Adapter | None = None
    ) -> Any:
        adapter = how and {"rank": self.offered, "depth": how.depth, "start": self.tuning_start}
        return get_backend(self.backend).trainer(
            "adapted_perceptron",
            hidden=self.hidden,
            optimizer={"name": "adam", "learning_rate": self.adam_rate},
            weights=weights,
            adapter=adapter,
            lora_scale=how and how.lora_scale,
            batch=self.batch,
            seed=self.seed,
            dtype=self.dtype,
            **data,
        )

    def images(self, kind: Literal["first", "second"]) -> dict[str, HostArray]:
        """Images and labels to train and to test on, of the first task or of the one that is adapted to."""
        turned = self.target == "turned-digits"
        name: Name = "digits" if turned else "mnist" if kind == "first" else "fashion-mnist"
        found: dict[str, HostArray] = {}
        splits: tuple[tuple[Literal["train", "test"], str, int], ...]
        splits = (("train", "", self.limit), ("test", "test_", 0))
        for split, prefix, limit in splits:
            pictures, labels = gray_images(name, split, self.data_dir, limit)
            found[f"{prefix}images"] = np.rot90(pictures, axes=(1, 2)) if turned and kind == "second" else pictures
            found[f"{prefix}labels"] = labels
        return found
