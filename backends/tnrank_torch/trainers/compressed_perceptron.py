"""A perceptron of one hidden layer, whose first weight is dense or factorized, trained and then pruned."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tnrank_torch.nn import FactorizedLinear, prune
from tnrank_torch.trainers._classifier import Classifier, accuracy
from tnrank_torch.trainers._perceptron import optimizer_named, perceptron, widths_for


class CompressedPerceptron(Classifier):
    """Images of one channel, hidden units with ReLU, one score per class.

    Args:
        hidden: number of hidden units.
        layer: settings of the first layer, a :class:`FactorizedLinear`; dense if ``None``.
        optimizer: settings of :func:`optimizer_named`.
        penalty: half of this number times the sum of the squared factors of the first layer is added to the loss.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """

    def __init__(
        self,
        hidden: int,
        layer: Mapping[str, Any] | None,
        optimizer: Mapping[str, Any],
        penalty: float = 0.0,
        **data: Any,
    ) -> None:
        widths = widths_for(data["images"], data["labels"], (hidden,))

        def build() -> nn.Module:
            model = perceptron(widths)
            if layer is not None:
                model[1] = FactorizedLinear(widths[0], hidden, seed=data["seed"], **layer)
            return model

        super().__init__(build, optimizer_named(**optimizer), **data)
        self.penalty = penalty

    def loss(self, *rows: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, and the penalty if there is one."""
        fit, first = super().loss(*rows), self.model[1]  # type: ignore[index]  # it is a Sequential
        if not self.penalty:
            return fit
        return fit + self.penalty / 2 * torch.stack([array.square().sum() for array in first.arrays.values()]).sum()

    def pruned(self, tolerance: float) -> dict[str, Any]:
        """The trained model after its superfluous components were dropped; it stays as it is.

        Args:
            tolerance: components count whose norm is above this share of the largest one at their inner index.

        Returns:
            ``norms``, {inner index: norms of its components, descending, relative to the weight's}; ``components``,
            how many of them count at the index where most do; ``parameters``, ``pruned_parameters`` and
            ``dense_parameters`` of the first weight; ``test_accuracy`` and ``pruned_accuracy``.
        """
        model = copy.deepcopy(self.model)
        layer: Any = model[1]  # type: ignore[index]  # it is a Sequential
        found: dict[str, Any] = {"test_accuracy": accuracy(model, *self.test)}
        if isinstance(layer, nn.Linear):
            count = layer.weight.numel()
            counts = dict.fromkeys(("parameters", "pruned_parameters", "dense_parameters"), count)
            return {**found, **counts, "pruned_accuracy": found["test_accuracy"], "components": 0, "norms": {}}
        norms = {str(label): values for label, values in copy.deepcopy(layer).prune(rtol=0.0)[0].items()}
        components = max(int((values > tolerance * values.max()).sum()) for values in norms.values())
        found |= {"norms": norms, "components": components, "parameters": layer.format.parameter_count}
        prune(model, keep=max(components, 1))
        found |= {"pruned_parameters": layer.format.parameter_count, "dense_parameters": layer.format.dense_count}
        return {**found, "pruned_accuracy": accuracy(model, *self.test)}


def make(**settings: Any) -> CompressedPerceptron:
    """A perceptron with its data; see :class:`CompressedPerceptron`."""
    return CompressedPerceptron(**settings)
