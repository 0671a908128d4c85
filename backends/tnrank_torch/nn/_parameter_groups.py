"""Learning rates of their own for the tensors of factorized layers."""

from __future__ import annotations

from typing import Any

from torch import nn

from tnrank_torch.nn._layer import FactorizedLayer
from tnrank_torch.nn._places import checked_module


def parameter_groups(model: nn.Module, lr: float, optimizer: str = "adam", **options: Any) -> list[dict[str, Any]]:
    """Parameter groups for ``torch.optim``: each tensor of a factorized layer with the learning rate that suits it.

    Args:
        model: any; parameters outside of factorized layers keep ``lr``.
        lr: the learning rate of the dense model.
        optimizer: ``"adam"`` or ``"sgd"``.
        options: further entries of every group, such as ``weight_decay``.

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: for another optimizer.

    Source: Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024, Sec. 4.

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> model = torch.nn.Sequential(nn.FactorizedLinear(64, 64, rank=4), torch.nn.Linear(64, 10))
        >>> [group["lr"] for group in nn.parameter_groups(model, 1e-3)]
        [0.001, 0.008, 0.0005]
    """
    rates: dict[int, float] = {}
    checked_module(model)
    for layer in model.modules():
        if isinstance(layer, FactorizedLayer):
            named = dict(layer.named_parameters())
            rates |= {id(named[name]): rate for name, rate in layer.learning_rates(optimizer).items()}
    by_rate: dict[float, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        by_rate.setdefault(rates.get(id(parameter), 1.0), []).append(parameter)
    ordered = sorted(by_rate.items(), key=lambda item: item[0] != 1.0)
    return [{"params": parameters, "lr": lr * rate, **options} for rate, parameters in ordered]
