"""What the layers of a module give for a batch, by forward hooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from tnrank_torch.nn._weights import layers_of, weight_name


def activations_of(model: nn.Module, inputs: Any) -> dict[str, torch.Tensor]:
    """``{name of the weight: matrix}`` with the singular values of the activations ``(samples, features)`` of a layer.

    The model runs once, in evaluation mode and without gradients; its mode and hooks are as before afterwards. A tall
    matrix is reduced to its triangular factor at once, so that no layer's activations have to be kept.

    Args:
        model: a module.
        inputs: a batch: a tensor, a tuple or list of positional arguments, or a mapping of named ones.

    Raises:
        TypeError: if the inputs are no batch.
        ValueError: if the batch has no samples.
    """
    listener = _Listener()
    modes = [(module, module.training) for module in model.modules()]
    hooks = []
    try:
        for layer in layers_of(model):
            if len(layer.weights) == 1:
                hook = listener.hook(weight_name(layer.name, layer.weights[0]), _spatial_axes(layer.module))
                hooks.append(layer.module.register_forward_hook(hook))
        model.eval()
        with torch.no_grad():
            call_on(model, inputs)
    finally:
        for registered in hooks:
            registered.remove()
        for module, mode in modes:
            module.training = mode
    if listener.empty and not listener.found:
        raise ValueError("no layer has activations for these inputs: give a batch of some samples")
    return listener.found


def call_on(model: nn.Module, inputs: Any) -> Any:
    """The model on a batch: a tensor, a tuple or list of positional arguments, or a mapping of named ones.

    Raises:
        TypeError: for anything else.
    """
    if not isinstance(inputs, (Mapping, tuple, list, torch.Tensor)):
        raise TypeError(
            "inputs is a batch: a tensor, a tuple of the model's arguments or a mapping of named ones, got a "
            f"{type(inputs).__name__}"
        )
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


class _Listener:
    def __init__(self) -> None:
        self.found: dict[str, torch.Tensor] = {}
        self.empty = False

    def hook(self, name: str, spatial: int | None) -> Any:
        def listen(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim and output.dtype.is_floating_point:
                self._take(name, _rows(output, spatial))

        return listen

    def _take(self, name: str, rows: torch.Tensor) -> None:
        if 0 in rows.shape:
            self.empty = True
            return
        before = self.found.get(name)
        if before is not None and before.shape[1] == rows.shape[1]:
            rows = torch.cat([before, rows])
        self.found[name] = torch.linalg.qr(rows, mode="r").R if rows.shape[0] > rows.shape[1] else rows


def _rows(output: torch.Tensor, spatial: int | None) -> torch.Tensor:
    output = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output.detach()
    if spatial is not None and output.ndim > spatial:
        output = output.movedim(-1 - spatial, -1)
    return output.reshape(-1, output.shape[-1])


def _spatial_axes(module: nn.Module) -> int | None:
    """How many axes stand behind the features in what a layer gives; ``None`` where the features stand last."""
    for count, name in enumerate(("1d", "2d", "3d"), start=1):
        if any("Conv" in kind.__name__ and kind.__name__.endswith(name) for kind in _kinds(module)):
            return count
    return None


def _kinds(module: nn.Module) -> Iterable[type]:
    return type(module).__mro__
