"""A compact convolutional network, and the same one whose layers are expanded into three each, without activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from tnrank_torch.trainers._classifier import Classifier
from tnrank_torch.trainers._minibatches import outputs


class ExpandedNetwork(Classifier):
    """A classifier that also compares itself with the compact network that it collapses to."""

    def measure(self) -> Mapping[str, Any]:
        """Accuracies; ``collapse_error``, the largest difference of outputs for test images over the largest output;
        ``parameters`` and ``collapsed_parameters``.
        """
        layers: Any = self.model
        compact = nn.Sequential(*(collapsed(layer) for layer in layers))
        expected, found = outputs(self.model, self.test[0]), outputs(compact, self.test[0])
        return {
            **super().measure(),
            "collapse_error": float((found - expected).abs().max() / expected.abs().max()),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "collapsed_parameters": sum(parameter.numel() for parameter in compact.parameters()),
        }


def make(channels: Sequence[int], hidden: int, expansion: int, learning_rate: float, **data: Any) -> ExpandedNetwork:
    """Convolutions of 3 x 3 with stride 2 and ReLU, a hidden linear layer, a linear layer; Adam, cross-entropy.

    Args:
        channels: of the convolutions.
        hidden: width of the hidden linear layer.
        expansion: r; each layer from m to n becomes three, m to r m, r m to r n, r n to n; 0 leaves the compact ones.
        learning_rate: of Adam.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """
    side = data["images"].shape[1:3]
    build = partial(network, side, channels, hidden, int(data["labels"].max()) + 1, expansion)
    return ExpandedNetwork(build, partial(torch.optim.Adam, lr=learning_rate), **data)


def network(side: Sequence[int], channels: Sequence[int], hidden: int, classes: int, expansion: int) -> nn.Sequential:
    """The network, for images of one channel."""
    layers: list[nn.Module] = []
    places = list(side)
    for before, after in zip((1, *channels), channels, strict=False):
        layers += [convolution(before, after, expansion), nn.ReLU()]
        places = [-(-size // 2) for size in places]
    flat = channels[-1] * places[0] * places[1]
    return nn.Sequential(
        *layers, nn.Flatten(), linear(flat, hidden, expansion), nn.ReLU(), linear(hidden, classes, expansion)
    )


def convolution(before: int, after: int, expansion: int) -> nn.Module:
    """3 x 3 with stride 2, or the three that it is expanded into; a bias at the end alone, so that they collapse."""
    if not expansion:
        return nn.Conv2d(before, after, 3, stride=2, padding=1)
    return nn.Sequential(
        nn.Conv2d(before, expansion * before, 1, bias=False),
        nn.Conv2d(expansion * before, expansion * after, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(expansion * after, after, 1),
    )


def linear(before: int, after: int, expansion: int) -> nn.Module:
    """A linear layer, or the three that it is expanded into."""
    if not expansion:
        return nn.Linear(before, after)
    return nn.Sequential(
        nn.Linear(before, expansion * before, bias=False),
        nn.Linear(expansion * before, expansion * after, bias=False),
        nn.Linear(expansion * after, after),
    )


@torch.no_grad()
def collapsed(layer: nn.Module) -> nn.Module:
    """The one layer that computes what the three do; another module as it is."""
    if not isinstance(layer, nn.Sequential):
        return layer
    first, second, third = (module for module in layer if isinstance(module, (nn.Conv2d, nn.Linear)))
    if isinstance(second, nn.Linear):
        found: nn.Conv2d | nn.Linear = nn.Linear(first.weight.shape[1], third.weight.shape[0])
        weight = third.weight @ second.weight @ first.weight
    else:
        found = nn.Conv2d(first.weight.shape[1], third.weight.shape[0], 3, stride=2, padding=1)
        weight = torch.einsum("os,sthw,ti->oihw", third.weight.flatten(1), second.weight, first.weight.flatten(1))
    found.weight, found.bias = nn.Parameter(weight), third.bias
    return found
