"""Where layers stand in a model: which can be replaced and by what, and what one takes over from another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from tnrank.radar import plain_name
from tnrank_torch.nn._adapted import AdaptedLayer
from tnrank_torch.nn._conv import FactorizedConv1d, FactorizedConv2d
from tnrank_torch.nn._embedding import FactorizedEmbedding
from tnrank_torch.nn._layer import FactorizedLayer
from tnrank_torch.nn._linear import FactorizedLinear, is_transposed
from tnrank_torch.nn._weights import is_compiled, uncompiled

_REPLACEMENTS: dict[type[nn.Module], Any] = {
    nn.Linear: FactorizedLinear,
    nn.Conv1d: FactorizedConv1d,
    nn.Conv2d: FactorizedConv2d,
    nn.Embedding: FactorizedEmbedding,
}
REPLACED = "Linear, Conv1d, Conv2d, Embedding and the transposed Conv1D of language-model libraries"
"""What can be replaced, in words."""
_HOLDING = ("DistributedDataParallel", "FullyShardedDataParallel")
"""Wrappers that hold on to the parameters that they were made with."""


def checked_module(model: Any) -> nn.Module:
    """Refuse what is no module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a torch.nn.Module, got {type(model).__qualname__}")
    return model


def places_of(model: Any) -> dict[nn.Module, list[str]]:
    """Module -> all names that it has in the model, without the wrappers of ``torch.compile``.

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if it is wrapped for parallel training.
    """
    found: dict[nn.Module, list[str]] = {}
    for name, module in checked_module(model).named_modules(remove_duplicate=False):
        if not is_compiled(module):
            found.setdefault(module, []).append(plain_name(name))
        wrapper = next((kind.__name__ for kind in type(module).__mro__ if kind.__name__ in _HOLDING), None)
        if wrapper:
            raise ValueError(
                f"{wrapper} keeps the parameters that it was made with, and would not see new ones: change the model "
                "first, and wrap it afterwards"
            )
    return found


def replaceable_layers(places: Mapping[nn.Module, list[str]]) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """The layers that have a factorized form, by the first of their names; and all other modules.

    Raises:
        ValueError: if the model itself is such a layer, or has adapters.
    """
    layers = {names[0]: module for module, names in places.items() if _replaceable(module)}
    if "" in layers:
        made = class_for(layers[""]).__name__
        raise ValueError(
            f"the model is one layer, which cannot be replaced inside of itself: {made}.from_layer(model) makes the "
            "factorized one, and torch.nn.Sequential(model) is a model"
        )
    if any(isinstance(module, AdaptedLayer) for module in places):
        raise ValueError("the model has adapters already: merge(model) first")
    others = {names[0]: module for module, names in places.items() if names[0]}
    return layers, {name: module for name, module in others.items() if name not in layers}


def factorized_names(places: Mapping[nn.Module, list[str]]) -> list[str]:
    """The names of the layers that are factorized already."""
    return [names[0] for module, names in places.items() if isinstance(module, FactorizedLayer)]


def class_for(layer: nn.Module) -> Any:
    """The class of factorized layers that stands for a dense layer."""
    if is_transposed(layer):
        return FactorizedLinear
    return next(_REPLACEMENTS[kind] for kind in type(layer).__mro__ if kind in _REPLACEMENTS)


def check_weight(layer: nn.Module) -> None:
    """Refuse weights that are no parameters of floating-point numbers.

    Raises:
        TypeError: if the weight is quantized.
        ValueError: if it is computed from other parameters, or has no size yet.
    """
    if parametrize.is_parametrized(layer):
        raise ValueError("its weight is parametrized: remove_parametrizations(layer, 'weight') first")
    weight: Any = layer.weight
    if _quantized(layer) or not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        raise TypeError("its weight is quantized, needed floating-point numbers: dequantize the model first")
    if isinstance(weight, nn.parameter.UninitializedParameter):
        raise ValueError("its weight has no size yet: run the model once on a batch")
    if "weight" not in layer._parameters:
        raise ValueError(
            "its weight is computed by a hook from other parameters: remove_weight_norm(layer), or "
            "torch.nn.utils.prune.remove(layer, 'weight'), first"
        )
    if weight.is_meta:
        raise ValueError("its weight is on the meta device and has no values: load a state dict first")


def put(model: nn.Module, names: Iterable[str], new: nn.Module) -> None:
    """Put a module in all the places where another one stood."""
    for name in names:
        *above, key = name.split(".")
        parent = uncompiled(model)
        for part in above:
            parent = uncompiled(parent.get_submodule(part))
        if is_compiled(getattr(parent, key)):
            parent, key = getattr(parent, key), "_orig_mod"
        setattr(parent, key, new)


def take_over(new: nn.Module, old: nn.Module) -> None:
    """Give a layer that takes another one's place its mode and its hooks; their handles go on removing them."""
    new.train(old.training)
    for name in _hook_names(old):
        setattr(new, name, getattr(old, name))  # the same mapping, in which handles look up what they remove
    new._is_full_backward_hook = old._is_full_backward_hook


def drop_hooks(layer: nn.Module) -> None:
    """Leave a layer without hooks whose place another one has taken, and that is part of that one now."""
    for name in _hook_names(layer):
        setattr(layer, name, type(getattr(layer, name))())
    layer._is_full_backward_hook = None


def _hook_names(module: nn.Module) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if "hooks" in name and "state_dict" not in name and isinstance(value, dict)
    ]


def tied_layers(model: nn.Module, layers: Mapping[str, nn.Module], chosen: Mapping[str, Any]) -> dict[str, str]:
    """Layer -> an earlier one that shares its weight and is replaced alike.

    Raises:
        ValueError: if a weight is shared with what is not replaced alike.
    """
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(plain_name(name))
    found = {}
    places = {id(module): names for module, names in places_of(model).items()}
    for name in chosen:
        weight = getattr(layers[name], "weight", None)
        own = {f"{place}.weight" if place else "weight" for place in places[id(layers[name])]}
        shared = [other for other in owners.get(id(weight), []) if other not in own]
        for other in shared:
            twin = other.removesuffix(".weight")
            first = next((key for key, layer in layers.items() if twin in places[id(layer)]), "")
            unlike = ""
            if first not in chosen or not other.endswith("weight"):
                unlike = "is not replaced"
            elif chosen[first] != chosen[name]:
                unlike = "is replaced with other settings"
            elif _kind(layers[first]) != _kind(layers[name]):
                kinds = [type(layers[place]).__name__ for place in (first, name)]
                unlike = f"is that of {kinds[0]}, not {kinds[1]}" if kinds[0] != kinds[1] else "has other groups"
            if unlike:
                raise ValueError(
                    f"the weight of {name!r} is tied to {other!r}, which {unlike}: leave both alone with rules "
                    f"{{{name!r}: None, {twin!r}: None}}, or untie them"
                )
            if list(chosen).index(first) < list(chosen).index(name):
                found[name] = first
    return found


def _kind(layer: Any) -> Any:
    return type(layer), getattr(layer, "groups", None)


def _replaceable(module: nn.Module) -> bool:
    # Subclasses may compute something else: the classes themselves are replaced.
    # Parametrized and lazy layers are found, and refused with what to do about it.
    unfinished = parametrize.is_parametrized(module) or isinstance(module, nn.modules.lazy.LazyModuleMixin)
    known = any(kind in _REPLACEMENTS for kind in type(module).__mro__[: 3 if unfinished else 1])
    return known or is_transposed(module) or _quantized(module)


def _quantized(module: nn.Module) -> bool:
    return ".quantized" in type(module).__module__ and hasattr(module, "weight")
