"""Adapters saved as an ordinary LoRA checkpoint."""

from __future__ import annotations

from typing import Any

import torch

from tnrank.layers import LoraReport, write_lora
from tnrank_torch.nn._adapt import adapted_layers


def save_lora(model: torch.nn.Module, folder: Any, rtol: float = 1e-6, *, base: str | None = None) -> LoraReport:
    """Write the changes of all adapted layers as a LoRA checkpoint of PEFT.

    ``PeftModel.from_pretrained(original_model, folder)`` loads it. A matrix factorization of depth 2 is written as it
    is; every other change by its singular value decomposition, cut at ``rtol``. Layers have ranks of their own
    (``rank_pattern``).

    Args:
        model: with adapted layers.
        folder: gets ``adapter_config.json`` and ``adapter_model.safetensors``.
        rtol: bounds what is cut off, relative to each change.
        base: name of the base model, for the configuration.

    Returns:
        Ranks and residuals by layer; it prints itself.

    Raises:
        ValueError: if the model has no adapters, or a convolution has groups.

    Example:
        >>> import tempfile, torch
        >>> from tnrank_torch import nn
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        >>> _ = nn.adapt(model, {"0": {"structure": "tt"}}, rank=4, seed=0)
        >>> nn.save_lora(model, tempfile.mkdtemp(), rtol=1e-4).ranks
        {'0': 4}
    """
    changes, transposed = {}, set()
    for layer, names in adapted_layers(model).items():
        arrays = {name: array.detach().double().cpu().numpy() for name, array in layer.change.arrays.items()}
        changes[names[0]] = layer.change.format, arrays
        transposed.add(bool(getattr(layer.change, "_original", None)))
    if len(transposed) > 1:
        raise ValueError(
            "some adapted layers have weights (inputs, outputs) and some (outputs, inputs): save them apart"
        )
    return write_lora(folder, changes, rtol, transposed=transposed.pop(), base=base)
