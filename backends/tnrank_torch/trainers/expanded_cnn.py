"""A small convolutional network whose layers are expanded into linear chains while it trains, and collapsed after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from tnrank_torch.trainers._classifier import Classifier
from tnrank_torch.trainers._minibatches import outputs


class ExpandedCNN(Classifier):
    """A network with or without expanded layers; :meth:`collapse` is the compact one that computes the same."""

    def measure(self) -> Mapping[str, Any]:
        """Accuracies, and how far the outputs of the collapsed network are from its own on test images.

        ``collapse_error`` is the largest difference over the largest output.
        """
        images, _ = self.test
        own, other = outputs(self.model, images), outputs(self.collapse(), images)
        return {**super().measure(), "collapse_error": float((own - other).abs().max() / own.abs().max())}

    def collapse(self) -> nn.Sequential:
        """The network with one layer in place of each chain."""
        parts = self.model.children()
        return nn.Sequential(*(collapsed(part) if isinstance(part, nn.Sequential) else part for part in parts))

    def sizes(self) -> dict[str, int]:
        """Number of parameters, ``trained`` and ``collapsed``."""
        both = {"trained": self.model, "collapsed": self.collapse()}
        return {name: sum(p.numel() for p in model.parameters()) for name, model in both.items()}


def expanded_convolution(before: int, after: int, rate: int) -> nn.Sequential:
    """1 x 1, 3 x 3 with stride 2, 1 x 1; only the last has a bias.

    A bias of the first would be missing where the second pads with zeros: no single convolution could do the same.
    """
    wide, narrow = rate * before, rate * after
    first = nn.Conv2d(before, wide, 1, bias=False)
    middle = nn.Conv2d(wide, narrow, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(first, middle, nn.Conv2d(narrow, after, 1))


def expanded_linear(before: int, after: int, rate: int) -> nn.Sequential:
    """Three linear layers; only the last has a bias."""
    wide, narrow = rate * before, rate * after
    first, middle = nn.Linear(before, wide, bias=False), nn.Linear(wide, narrow, bias=False)
    return nn.Sequential(first, middle, nn.Linear(narrow, after))


def collapsed(chain: nn.Sequential) -> nn.Module:
    """The one layer that computes the same as a chain of three."""
    weights = dict(chain.named_parameters())
    first, middle, last = (weights[f"{k}.weight"].detach().double() for k in range(3))
    bias, dtype = weights["2.bias"].detach(), weights["0.weight"].dtype
    single: nn.Conv2d | nn.Linear
    if isinstance(chain[1], nn.Conv2d):
        kernel = torch.einsum("oq,qpyx,pi->oiyx", last[:, :, 0, 0], middle, first[:, :, 0, 0])
        options: dict[str, Any] = {"stride": chain[1].stride, "padding": chain[1].padding, "dtype": dtype}
        single = nn.Conv2d(first.shape[1], last.shape[0], middle.shape[-1], **options)
    else:
        kernel = last @ middle @ first
        single = nn.Linear(first.shape[1], last.shape[0], dtype=dtype)
    with torch.no_grad():
        single.weight.copy_(kernel)
        assert single.bias is not None
        single.bias.copy_(bias)
    return single


def network(channels: Sequence[int], classes: int, rate: int) -> nn.Sequential:
    """Convolutions of 3 x 3 with stride 2 and ReLU, the mean over locations, a linear layer.

    Args:
        channels: of the convolutions.
        classes: number of scores.
        rate: how many times wider the chains are inside than outside; 0 for single layers.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise((1, *channels)):
        single = partial(nn.Conv2d, before, after, 3, stride=2, padding=1)
        layers += [expanded_convolution(before, after, rate) if rate else single(), nn.ReLU()]
    linear = expanded_linear(channels[-1], classes, rate) if rate else nn.Linear(channels[-1], classes)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def make(channels: Sequence[int], rate: int, learning_rate: float, **data: Any) -> ExpandedCNN:
    """A network with its data.

    Args:
        channels: of the convolutions.
        rate: how many times wider the chains are inside than outside; 0 for single layers.
        learning_rate: of Adam.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """
    build = partial(network, channels, int(data["labels"].max()) + 1, rate)
    return ExpandedCNN(build, partial(torch.optim.Adam, lr=learning_rate), **data)
