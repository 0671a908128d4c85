"""The weights of a module by name: parameters with two axes or more, factorized layers as one dense weight each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import parametrize

from tnrank.radar import plain_name


def is_compiled(module: Any) -> bool:
    """Whether it is the wrapper that ``torch.compile`` puts around a module."""
    return isinstance(getattr(module, "_orig_mod", None), nn.Module)


def uncompiled(module: Any) -> nn.Module:
    """The module inside the wrapper that ``torch.compile`` puts around it."""
    return module._orig_mod if is_compiled(module) else module  # type: ignore[no-any-return]  # a module by its check


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside the wrappers of ``torch.compile`` and of parallel training."""
    while True:
        if is_compiled(model):
            model = uncompiled(model)
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def check_module(model: Any) -> nn.Module:
    """``model`` without wrappers.

    Raises:
        TypeError: if it is no module.
    """
    if not isinstance(model, nn.Module):
        kind = type(model).__qualname__
        raise TypeError(
            f"model is a torch.nn.Module, got a {kind}: the arrays of a state dict are measured by "
            "tnrank.radar.layer_ranks(state_dict)"
        )
    return unwrapped(model)


class Layer(NamedTuple):
    """A module with parameters of its own: what it is called, itself, and the attributes that hold them."""

    name: str
    module: nn.Module
    weights: tuple[str, ...]
    """Of order 2 and more; ``("dense_weight",)`` is the method of a factorized layer."""
    vectors: tuple[str, ...]


def layers_of(model: nn.Module) -> Iterator[Layer]:
    """The modules with parameters of their own.

    A module with a method ``dense_weight`` is one layer, and modules inside it are not listed. A parametrized tensor
    counts as what it is in the layer, not as the parameters that it is made of. A module that stands at two places is
    listed once, as is a parameter of two modules. Names are those without the wrappers of ``torch.compile``.

    Raises:
        ValueError: if a layer is quantized, has no values yet, or there is no weight at all; the layer is named.
    """
    inside: set[nn.Module] = set()
    seen: set[int] = set()
    empty = True
    for name, module in model.named_modules():
        if module in inside or is_compiled(module):
            continue
        name = plain_name(name)
        _check_quantized(name, module)
        own = {key: value for key, value in module._parameters.items() if value is not None}
        if callable(getattr(module, "dense_weight", None)):
            inside.update(module.modules())
            empty = False
            parts = {id(part) for key, part in module.named_parameters() if key != "bias"}
            known = bool(parts) and parts <= seen  # layers that share their tensors have one weight
            seen.update(parts)
            yield Layer(name, module, () if known else ("dense_weight",), ("bias",) if "bias" in own else ())
            continue
        if parametrize.is_parametrized(module):
            made: Any = module.parametrizations
            inside.update(made.modules())
            own |= {key: getattr(module, key) for key in made}
        own = {key: value for key, value in own.items() if id(value) not in seen}
        seen.update(map(id, own.values()))
        for key, value in own.items():
            _check_values(weight_name(name, key), value)
        weights = tuple(key for key, value in own.items() if value.ndim >= 2)
        if own:
            empty = empty and not weights
            yield Layer(name, module, weights, tuple(key for key in own if key not in weights))
    if empty:
        raise ValueError(
            f"ranks are those of weights with two axes or more, and this {type(model).__qualname__} has none "
            "(Linear, Conv and Embedding have one)"
        )


def weights_of(model: nn.Module, vectors: bool = False) -> dict[str, torch.Tensor]:
    """``{name: weight}`` of a module, detached; a factorized layer's is called ``NAME.weight``, as a dense one's.

    Args:
        model: a module without wrappers.
        vectors: whether biases and the like are listed, too.
    """
    found = {}
    with torch.no_grad():
        for layer in layers_of(model):
            for key in (*layer.weights, *(layer.vectors if vectors else ())):
                value: Any = getattr(layer.module, key)
                found[weight_name(layer.name, key)] = (value() if key == "dense_weight" else value).detach()
    return found


def weights_before(initial: Any) -> Any:
    """The weights of a module before training, or its state dict by the names of the module without wrappers."""
    if isinstance(initial, nn.Module):
        return weights_of(unwrapped(initial))
    if isinstance(initial, Mapping):
        return {plain_name(str(name)): value for name, value in initial.items()}
    return initial


def weight_name(layer: str, key: str) -> str:
    """The name of a weight in its model."""
    key = "weight" if key == "dense_weight" else key
    return f"{layer}.{key}" if layer else key


def _check_quantized(name: str, module: nn.Module) -> None:
    kind = type(module)
    held = [*module._parameters.items(), *module._buffers.items()]
    whole = [
        key
        for key, value in held
        if value is not None
        and value.ndim >= 2
        and "weight" in key
        and not value.dtype.is_floating_point
        and not value.dtype.is_complex
    ]
    packed = ".quantized" in kind.__module__ and (hasattr(module, "_packed_params") or hasattr(module, "scale"))
    wrapped = any(type(value).__module__.startswith("torchao") for _, value in held)
    if whole or packed or wrapped:
        raise ValueError(
            f"the layer {name or 'of the model'!r} ({kind.__qualname__}) is quantized, and ranks are those of "
            "floating-point weights: measure the model before it is quantized"
        )


def _check_values(name: str, value: torch.Tensor) -> None:
    if isinstance(value, nn.parameter.UninitializedParameter):
        raise ValueError(f"the weight {name!r} has no values yet: call the model on a batch first")
    if value.is_meta:
        raise ValueError(f"the weight {name!r} is on the meta device and has no values: load a state dict first")
