"""What trainers of adapters share: LoRA's start, and the components that a change uses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from tnrank_torch.nn import AdaptedLayer
from tnrank_torch.trainers._minibatches import Host


@torch.no_grad()
def start_like_lora(model: nn.Module, scale: float) -> None:
    """Give all adapters of a model LoRA's start: B = 0, and A times ``scale`` as PEFT draws it, of torch's generator.

    Source: Hu et al. 2022, Sec. 4.1; Kaiming's uniform distribution is that of the published code.
    """
    for layer in model.modules():
        if isinstance(layer, AdaptedLayer):
            *others, last = layer.change.arrays.values()
            nn.init.kaiming_uniform_(last, a=5**0.5)
            last.mul_(scale)
            for array in others:
                array.zero_()


def components_of(changes: Sequence[torch.Tensor], tolerance: float) -> tuple[list[Host], list[int]]:
    """Singular values of each change, descending, and how many of each are above a share of the largest."""
    spectra = [np.linalg.svd(change.detach().double().cpu().numpy(), compute_uv=False) for change in changes]
    return spectra, [int((s > tolerance * s[0]).sum()) for s in spectra]
