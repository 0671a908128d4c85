"""A small convolutional network on images of one channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from tnrank_torch.trainers._classifier import Classifier


def make(channels: Sequence[int], learning_rate: float, **data: Any) -> Classifier:
    """Convolutions of 3 x 3 with stride 2 and ReLU, the mean over locations, a linear layer; Adam, cross-entropy.

    Args:
        channels: of the convolutions.
        learning_rate: of Adam.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """
    build = partial(network, channels, int(data["labels"].max()) + 1)
    return Classifier(build, partial(torch.optim.Adam, lr=learning_rate), **data)


def network(channels: Sequence[int], classes: int) -> nn.Sequential:
    """The network, for images of one channel."""
    layers: list[nn.Module] = []
    for before, after in zip((1, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels[-1], classes))
