"""A perceptron each of whose layers is a product of several, and the effective rank of what it makes of images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import sqrt
from typing import Any

import torch
from torch import nn

from tnrank import effective_rank
from tnrank_torch.trainers._classifier import Classifier
from tnrank_torch.trainers._minibatches import outputs


class DeepPerceptron(Classifier):
    """A classifier that also measures ranks, of its embeddings of the test images and of a weight multiplied out."""

    def measure(self) -> Mapping[str, Any]:
        """Accuracies; ``gram_rank`` and ``gram_rank_relu``, the effective rank of the Gram matrix of the embeddings
        before and after the last ReLU, their mean subtracted; ``weight_rank``, that of the second weight.
        """
        layers: Any = self.model
        before = outputs(layers[:-2], self.test[0]).double()
        return {
            **super().measure(),
            "gram_rank": _gram_rank(before),
            "gram_rank_relu": _gram_rank(before.relu()),
            "weight_rank": float(effective_rank(multiplied_out(layers[3]))),
        }


def _gram_rank(embeddings: torch.Tensor) -> float:
    centered = embeddings - embeddings.mean(dim=0)
    # It has the nonzero eigenvalues of the Gram matrix of the samples.
    return float(effective_rank(centered.T @ centered))


def multiplied_out(layers: nn.Sequential) -> torch.Tensor:
    """The one weight ``(outputs, inputs)`` of linear layers in a row, in double precision."""
    weight: Any = None
    for layer in layers:
        factor: Any = layer.weight
        factor = factor.detach().double()
        weight = factor if weight is None else factor @ weight
    found: torch.Tensor = weight
    return found


def make(width: int, depth: int, learning_rate: float, **data: Any) -> DeepPerceptron:
    """Two hidden layers with ReLU and a linear one, each a product of ``depth`` matrices; Adam, cross-entropy.

    Args:
        width: of the hidden layers.
        depth: matrices in place of each weight.
        learning_rate: of Adam.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """
    pixels = int(data["images"][0].size)
    build = partial(network, pixels, width, int(data["labels"].max()) + 1, depth)
    return DeepPerceptron(build, partial(torch.optim.Adam, lr=learning_rate), **data)


def network(pixels: int, width: int, classes: int, depth: int) -> nn.Sequential:
    """The perceptron; its last module makes scores of embeddings."""
    hidden = [product(pixels, width, depth, sqrt(2)), nn.ReLU(), product(width, width, depth, sqrt(2)), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, product(width, classes, depth, 1.0))


def product(inputs: int, outputs: int, depth: int, gain: float) -> nn.Sequential:
    """A linear map as a product of matrices.

    Entries of the last matrix start with the variance gain^2 over its inputs, those of the others with 1 over theirs.
    """
    layers = []
    for k in range(depth):
        layer = nn.Linear(inputs if k == 0 else outputs, outputs, bias=k == depth - 1)
        nn.init.normal_(layer.weight, std=(gain if k == depth - 1 else 1.0) / sqrt(layer.in_features))
        layers.append(layer)
    return nn.Sequential(*layers)
