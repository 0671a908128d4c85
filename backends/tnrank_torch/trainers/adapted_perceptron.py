"""A perceptron trained on images, all of it or by adapters of its hidden layers alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tnrank_torch.nn import AdaptedLayer, adapt, prune
from tnrank_torch.trainers._adapters import components_of, start_like_lora
from tnrank_torch.trainers._classifier import Classifier, accuracy
from tnrank_torch.trainers._minibatches import Host
from tnrank_torch.trainers._perceptron import optimizer_named, perceptron, widths_for


class AdaptedPerceptron(Classifier):
    """Images of one channel, hidden layers with ReLU, one score per class.

    Args:
        hidden: widths of the hidden layers.
        optimizer: settings of :func:`optimizer_named`.
        weights: the state of a trainer of the same widths to start from; new ones if ``None``.
        adapter: settings of :func:`tnrank_torch.nn.adapt` for the hidden layers, all else being frozen; all weights are
            trained if ``None``.
        lora_scale: start the adapters as LoRA does, with A times this number; as ``adapter`` says if ``None``.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """

    def __init__(
        self,
        hidden: Sequence[int],
        optimizer: Mapping[str, Any],
        weights: Mapping[str, Host] | None = None,
        adapter: Mapping[str, Any] | None = None,
        lora_scale: float | None = None,
        **data: Any,
    ) -> None:
        widths = widths_for(data["images"], data["labels"], hidden)

        def build() -> nn.Module:
            model = perceptron(widths).to(getattr(torch, data["dtype"]))  # weights keep their precision
            if weights is not None:
                names = model.state_dict()
                model.load_state_dict({name: torch.as_tensor(np.array(weights[f"model.{name}"])) for name in names})
            if adapter is not None:
                adapt(model, [str(1 + 2 * k) for k in range(len(hidden))], seed=data["seed"], **adapter)
            if lora_scale is not None:
                start_like_lora(model, lora_scale)
            return model

        super().__init__(build, optimizer_named(**optimizer), **data)

    def pruned(self, tolerance: float) -> dict[str, Any]:
        """The trained model after the superfluous components of its adapters were dropped; it stays as it is.

        Args:
            tolerance: components count whose singular value is above this share of the largest one of their layer.

        Returns:
            ``spectra``, one for each adapted layer, descending; ``components``, how many of each count;
            ``test_accuracy`` and ``pruned_accuracy``.
        """
        model = copy.deepcopy(self.model)
        layers = [module for module in model.modules() if isinstance(module, AdaptedLayer)]
        spectra, components = components_of([layer.change.weight for layer in layers], tolerance)
        before = accuracy(model, *self.test)
        for layer, count in zip(layers, components, strict=True):
            prune(layer, keep=max(count, 1))
        after = accuracy(model, *self.test)
        return {"spectra": spectra, "components": components, "test_accuracy": before, "pruned_accuracy": after}


def make(**settings: Any) -> AdaptedPerceptron:
    """A perceptron with its data; see :class:`AdaptedPerceptron`."""
    return AdaptedPerceptron(**settings)
