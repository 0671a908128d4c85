"""A multilayer perceptron each of whose layers is a product of several linear layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from tnrank_torch.trainers._classifier import Classifier
from tnrank_torch.trainers._minibatches import outputs


class LinearChainMLP(Classifier):
    """A perceptron with ReLU whose layers are chains of linear ones; spectra of the collapsed one are measured."""

    def measure(self) -> Mapping[str, Any]:
        """Accuracies and two spectra, of the network with one layer in place of each chain.

        ``gram`` are the eigenvalues of the Gram matrix of the embeddings of test images, their mean taken off, and
        ``weight`` the singular values of the layer that gives the embeddings.
        """
        images, _ = self.test
        model = collapsed(self.model)
        embeddings = outputs(model[:-1], images).double()  # all but the layer that gives the scores
        gram = torch.linalg.svdvals(embeddings - embeddings.mean(dim=0)) ** 2
        layer = [part for part in model if isinstance(part, nn.Linear)][-2]
        weight = torch.linalg.svdvals(layer.weight.detach().double())
        return {**super().measure(), "gram": gram.numpy(), "weight": weight.numpy()}


def collapsed(model: nn.Module) -> nn.Sequential:
    """The same function with one linear layer in place of each chain."""
    layers: list[nn.Module] = []
    for part in model.children():
        if not isinstance(part, nn.Sequential):
            layers.append(part)
            continue
        chain = [layer for layer in part if isinstance(layer, nn.Linear)]
        product = chain[0].weight.detach().double()
        for layer in chain[1:]:
            product = layer.weight.detach().double() @ product
        single = nn.Linear(product.shape[1], product.shape[0], dtype=chain[0].weight.dtype)
        with torch.no_grad():
            single.weight.copy_(product)
            single.bias.copy_(chain[-1].bias)
        layers.append(single)
    return nn.Sequential(*layers)


def network(widths: Sequence[int], chain: int) -> nn.Sequential:
    """Chains of linear layers, the last of each with a bias, and ReLU between the chains.

    Args:
        widths: of the input, the hidden layers and the scores.
        chain: linear layers in place of one; those inside are as wide as the chain's output.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (before, after) in enumerate(pairwise(widths)):
        part = []
        for k in range(chain):
            layer = nn.Linear(before if k == 0 else after, after, bias=k == chain - 1)
            last = k == chain - 1 and number < len(widths) - 2
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if last else "linear")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            part.append(layer)
        layers += [nn.Sequential(*part)] + ([nn.ReLU()] if number < len(widths) - 2 else [])
    return nn.Sequential(*layers)


def make(widths: Sequence[int], chain: int, learning_rate: float, **data: Any) -> LinearChainMLP:
    """A perceptron with its data.

    Args:
        widths: of the input, the hidden layers and the scores.
        chain: linear layers in place of one.
        learning_rate: of stochastic gradient descent with momentum 0.9.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """
    optimizer = partial(torch.optim.SGD, lr=learning_rate, momentum=0.9)
    return LinearChainMLP(partial(network, widths, chain), optimizer, **data)
