"""The small convolutional network, whose convolutions can be exchanged for compressed ones after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from tnrank_torch.trainers._classifier import Classifier
from tnrank_torch.trainers._minibatches import Host
from tnrank_torch.trainers.cnn import network


class CompressibleCNN(Classifier):
    """The network of the trainer ``cnn``; :meth:`kernels` are its convolutions."""

    def kernels(self) -> dict[str, Host]:
        """Name -> kernel ``(channels out, channels in, 3, 3)``, layer by layer, copied to the host."""
        return {name: kernel.detach().numpy().copy() for name, kernel in self._kernels().items()}

    def measure_with(self, kernels: Mapping[str, Host]) -> Mapping[str, Any]:
        """What :meth:`measure` gives of the network with these kernels in place of its own, which it gets back."""
        own, trained = self._kernels(), self.kernels()
        with torch.no_grad():
            try:
                for name, kernel in kernels.items():
                    own[name].copy_(torch.as_tensor(np.array(kernel)))
                return self.measure()
            finally:
                for name, kernel in trained.items():
                    own[name].copy_(torch.as_tensor(kernel))

    def _kernels(self) -> dict[str, torch.Tensor]:
        modules = self.model.named_modules()
        return {f"{name}.weight": module.weight for name, module in modules if isinstance(module, nn.Conv2d)}


def make(channels: Sequence[int], learning_rate: float, **data: Any) -> CompressibleCNN:
    """A network with its data.

    Args:
        channels: of the convolutions.
        learning_rate: of Adam.
        data: images, labels, batch, seed and dtype, see :class:`Classifier`.
    """
    build = partial(network, channels, int(data["labels"].max()) + 1)
    return CompressibleCNN(build, partial(torch.optim.Adam, lr=learning_rate), **data)
