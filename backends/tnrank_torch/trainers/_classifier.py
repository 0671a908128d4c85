"""Classifiers of images: cross-entropy, and accuracies on training and test images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from tnrank_torch.trainers._minibatches import Host, MinibatchTrainer, as_images, as_labels, drawn, outputs

Optimizer = Callable[[Any], torch.optim.Optimizer]


class Classifier(MinibatchTrainer):
    """A model of images whose outputs are one score per class.

    Args:
        build: makes the model; its initial weights are drawn by ``seed``.
        optimizer: makes the optimizer of given parameters.
        images: ``(M, H, W)`` or ``(M, H, W, C)`` to train on.
        labels: ``(M,)``, 0 .. C - 1.
        test_images: ``(T, H, W)`` or ``(T, H, W, C)``.
        test_labels: ``(T,)``.
        batch: images of a step; each epoch in another order.
        seed: of the initial weights and the orders.
        dtype: of the weights.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        optimizer: Optimizer,
        *,
        images: Host,
        labels: Host,
        test_images: Host,
        test_labels: Host,
        batch: int,
        seed: int,
        dtype: str,
    ) -> None:
        self.train = as_images(images, dtype), as_labels(labels)
        self.test = as_images(test_images, dtype), as_labels(test_labels)
        model = drawn(build, seed, dtype)
        super().__init__(model, optimizer(model.parameters()), self.train, batch, seed)

    def loss(self, *rows: torch.Tensor) -> torch.Tensor:
        """Cross-entropy."""
        images, labels = rows
        return nn.functional.cross_entropy(self.model(images), labels)

    def measure(self) -> Mapping[str, Any]:
        """``train_accuracy`` and ``test_accuracy``."""
        splits = (("train", self.train), ("test", self.test))
        return {f"{name}_accuracy": accuracy(self.model, *split) for name, split in splits}


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of images whose label has the highest score."""
    return float((outputs(model, images).argmax(dim=1) == labels).double().mean())
