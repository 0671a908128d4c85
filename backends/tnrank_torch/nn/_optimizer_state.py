"""An optimizer that goes on training after the components of a layer were cut: its parameters and its moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

_LINEAR = ("exp_avg", "momentum_buffer", "grad_avg")
"""Averages of gradients, by their names in ``torch.optim``."""
_SQUARES = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "acc_delta", "sum")
"""Averages or sums of squares."""


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is no optimizer, and one that keeps one vector for all parameters.

    Raises:
        TypeError: if it is no optimizer.
        ValueError: if it is L-BFGS.
    """
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer is one of torch.optim, got a {type(optimizer).__name__}")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("L-BFGS keeps one vector for all parameters, which cannot be cut: make a new one after prune")


def moments_of(
    arrays: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer | None
) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    """``{kind: {tensor name: moments}}`` of a layer; kinds of averages of squares end in ``" sq"``.

    Empty if the optimizer keeps other things, or not the same ones for all tensors.
    """
    found: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    if optimizer is None:
        return found
    for name, parameter in arrays.items():
        for kind, value in _large(optimizer.state.get(parameter, {})).items():
            if kind not in (*_LINEAR, *_SQUARES) or value.shape != parameter.shape:
                return {}
            found.setdefault(f"{kind} sq" if kind in _SQUARES else kind, {})[name] = on_host(value)
    return found if all(len(one) == len(arrays) for one in found.values()) else {}


def exchange(
    optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter, moments: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """Have the optimizer train ``new`` in place of ``old``, with these moments.

    Counters stay. If the optimizer keeps what is none of the moments, its state of the parameter begins anew.
    """
    for group in optimizer.param_groups:
        group["params"][:] = [new if parameter is old else parameter for parameter in group["params"]]
    state = optimizer.state.pop(old, None)
    if state is None:
        return
    content = {kind.removesuffix(" sq"): value for kind, value in moments.items()}
    if content.keys() != _large(state).keys():
        return
    for kind, value in content.items():
        like = state[kind]
        state[kind] = torch.as_tensor(np.ascontiguousarray(value)).to(like.dtype).to(like.device)
    optimizer.state[new] = state


def on_host(x: torch.Tensor) -> np.ndarray[Any, Any]:
    """The values in double precision on the host."""
    return x.detach().double().cpu().numpy()


def _large(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What an optimizer keeps for a parameter, counters left out."""
    return {kind: value for kind, value in state.items() if isinstance(value, torch.Tensor) and value.ndim}
