"""Multilayer perceptrons on images, and the optimizers that recipes name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from tnrank_torch.nn import GroupRMSProp
from tnrank_torch.trainers._classifier import Optimizer
from tnrank_torch.trainers._minibatches import Host


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them, for images of as many pixels as the first width: layers 1, 3, 5, .."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def widths_for(images: Host, labels: Host, hidden: Sequence[int]) -> tuple[int, ...]:
    """Pixels of an image, hidden widths, number of classes."""
    pixels = 1
    for side in images.shape[1:]:
        pixels *= side
    return (pixels, *hidden, int(labels.max()) + 1)


def optimizer_named(name: str, learning_rate: float, momentum: float = 0.0) -> Optimizer:
    """What makes an optimizer of parameters.

    Args:
        name: ``"adam"``, ``"sgd"`` or ``"group-rmsprop"``.
        learning_rate: of it.
        momentum: of ``"sgd"``.
    """
    made: dict[str, Optimizer] = {
        "adam": partial(torch.optim.Adam, lr=learning_rate),
        "sgd": partial(torch.optim.SGD, lr=learning_rate, momentum=momentum),
        "group-rmsprop": partial(GroupRMSProp, lr=learning_rate),
    }
    return made[name]
