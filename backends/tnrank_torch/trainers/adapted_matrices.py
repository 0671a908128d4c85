"""Adapters of several linear layers that learn planted changes of their weights from some of the entries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tnrank import effective_rank
from tnrank_torch.nn import AdaptedLayer, adapt
from tnrank_torch.trainers._adapters import components_of, start_like_lora
from tnrank_torch.trainers._minibatches import Host, MinibatchTrainer, drawn
from tnrank_torch.trainers._perceptron import optimizer_named


class AdaptedMatrices(MinibatchTrainer):
    """Linear layers with adapters; mean squared error of the entries that are seen, all of them in each step.

    Args:
        weights: ``(L, m, n)``, of the layers.
        changes: ``(L, m, n)``, that are planted.
        seen: ``(L, m, n)``, true for the entries that are seen.
        optimizer: settings of :func:`optimizer_named`.
        adapter: settings of :func:`tnrank_torch.nn.adapt`.
        lora_scale: start the adapters as LoRA does, with A times this number; as ``adapter`` says if ``None``.
        tolerance: components count whose singular value is above this share of the largest one of their layer.
        seed: of the initial weights.
        dtype: of all weights.
    """

    def __init__(
        self,
        weights: Host,
        changes: Host,
        seen: Host,
        optimizer: Mapping[str, Any],
        adapter: Mapping[str, Any],
        lora_scale: float | None,
        tolerance: float,
        seed: int,
        dtype: str,
    ) -> None:
        def build() -> nn.Module:
            count, outputs, inputs = weights.shape
            model = nn.Sequential(*(nn.Linear(inputs, outputs, bias=False) for _ in range(count)))
            for layer, weight in zip(model, weights, strict=True):
                layer.weight.data = torch.as_tensor(np.array(weight))
            adapt(model, "*", seed=seed, **adapter)
            if lora_scale is not None:
                start_like_lora(model, lora_scale)
            return model

        self.changes, self.seen, self.tolerance = changes, seen, tolerance
        self._targets = torch.as_tensor(weights + changes).to(getattr(torch, dtype))
        self._share = torch.as_tensor(seen / seen.sum()).to(getattr(torch, dtype))
        model = drawn(build, seed, dtype)
        self.layers = [module for module in model.modules() if isinstance(module, AdaptedLayer)]
        super().__init__(model, optimizer_named(**optimizer)(model.parameters()), [torch.zeros(1)], 1, seed)

    def loss(self, *rows: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the entries that are seen."""
        weights = torch.stack([layer.weight for layer in self.layers])
        return ((weights - self._targets).square() * self._share).sum()

    def measure(self) -> Mapping[str, Any]:
        """``loss``; of each layer the ``effective_rank`` of its change, its ``components``, and ``unseen_error``.

        The latter is the error of the change on entries that are not seen, relative to their norm.
        """
        with torch.no_grad():
            loss = float(self.loss())
        learned = [layer.change.weight.detach().double() for layer in self.layers]
        _, components = components_of(learned, self.tolerance)
        hidden, found = ~self.seen, np.stack([change.cpu().numpy() for change in learned])
        missed = [np.linalg.norm((a - b)[at]) for a, b, at in zip(found, self.changes, hidden, strict=True)]
        sizes = [np.linalg.norm(b[at]) for b, at in zip(self.changes, hidden, strict=True)]
        return {
            "loss": loss,
            "effective_rank": effective_rank(torch.stack(learned)).cpu().numpy(),
            "components": np.array(components),
            "unseen_error": np.array(missed) / np.array(sizes),
        }

    def spectra(self) -> Host:
        """``(L, min(m, n))``, the singular values of the changes, descending."""
        return np.stack(components_of([layer.change.weight for layer in self.layers], self.tolerance)[0])


def make(**settings: Any) -> AdaptedMatrices:
    """Layers with what is planted in them; see :class:`AdaptedMatrices`."""
    return AdaptedMatrices(**settings)
