"""An optimizer after the components of a layer were cut: parameters of other shapes, and their moments."""

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


def refill(parameter: nn.Parameter, content: np.ndarray[Any, Any]) -> None:
    """Give a parameter content of another shape: optimizers that train it go on with it."""
    array = torch.as_tensor(np.ascontiguousarray(content)).to(dtype=parameter.dtype, device=parameter.device)
    parameter.grad = None
    # Graphs of earlier steps that are still alive hold what autograd knows of the old shape, and later ones would share
    # it: a change of dtype is what has autograd begin anew.
    parameter.data = parameter.data.to(torch.float32 if parameter.dtype is torch.float64 else torch.float64)
    parameter.data = array


def set_moments(
    optimizer: torch.optim.Optimizer, parameter: nn.Parameter, moments: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """Have the optimizer go on with these moments of a parameter.

    Counters stay. If the optimizer keeps what is none of the moments, its state of the parameter begins anew.
    """
    state = optimizer.state.get(parameter)
    if state is None:
        return
    content = {kind.removesuffix(" sq"): value for kind, value in moments.items()}
    if content.keys() != _large(state).keys():
        del optimizer.state[parameter]
        return
    for kind, value in content.items():
        like = state[kind]
        state[kind] = torch.as_tensor(np.ascontiguousarray(value)).to(like.dtype).to(like.device)


def on_host(x: torch.Tensor) -> np.ndarray[Any, Any]:
    """The values in double precision on the host."""
    return x.detach().double().cpu().numpy()


def _large(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What an optimizer keeps for a parameter, counters left out."""
    return {kind: value for kind, value in state.items() if isinstance(value, torch.Tensor) and value.ndim}
