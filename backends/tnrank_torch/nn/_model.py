"""Whole models: layers replaced by factorized ones, collapsed again, pruned with their optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tnrank.layers import LayerChange, ModelReport, forward_flops, match_rules, naming
from tnrank_torch.nn._activations import call_on
from tnrank_torch.nn._adapted import AdaptedLayer
from tnrank_torch.nn._embedding import FactorizedEmbedding
from tnrank_torch.nn._layer import FactorizedLayer
from tnrank_torch.nn._places import (
    REPLACED,
    check_weight,
    class_for,
    factorized_names,
    places_of,
    put,
    replaceable_layers,
    take_over,
    tied_layers,
)

_SETTINGS = ("structure", "rank", "rtol", "parameters", "modes", "depth", "recompute")


def factorize(model: nn.Module, rules: Any, *, inputs: Any = None, fresh: bool = False) -> ModelReport:
    """Replace layers of a model by factorized ones, in place.

    All replacements are made before the first is put in, so that an error leaves the model as it was. Bias, dtype,
    device, mode and hooks are kept; a module that the model holds at several places is replaced at all of them.

    Args:
        model: any module; Linear, Conv1d, Conv2d, Embedding and the transposed ``Conv1D`` of language-model libraries
            are replaced.
        rules: name pattern (``"blocks.*.mlp.*"``, as in a shell) or type -> settings of
            :meth:`FactorizedLinear.from_layer` such as ``{"structure": "tt", "parameters": 0.1}``, or ``None`` to leave
            a layer alone. The first rule that matches a layer is the one for it.
        inputs: a batch to run the model on: a tensor, the tuple of its arguments, or a mapping of named ones. The
            errors of the layers' outputs on it are made small, in place of those of their weights; embeddings, and
            layers that the batch does not reach, are approximated as without.
        fresh: new random weights in place of an approximation of the trained ones.

    Returns:
        A report that prints itself, one line a layer: parameters, multiplications, error.

    Raises:
        ValueError: if a rule matches nothing (the nearest names are given), weights are tied to layers that are not
            replaced alike, or as for the layers.
        TypeError: for quantized weights, or settings that are no mapping.

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        >>> report = nn.factorize(model, {"2": None, "*": {"structure": "mf", "rank": 4}})
        >>> type(model[0]).__name__, type(model[2]).__name__
        ('FactorizedLinear', 'Linear')
    """
    places = places_of(model)
    layers, others = replaceable_layers(places)
    chosen = match_rules(rules, layers, others, factorized_names(places), REPLACED)
    for name, settings in chosen.items():
        check_settings(name, settings)
    groups = tied_layers(model, layers, chosen)
    seen = {} if inputs is None or fresh else _inputs_of(model, {name: layers[name] for name in chosen}, inputs)
    made: dict[str, FactorizedLayer] = {}
    for name, settings in chosen.items():
        twin = groups.get(name)
        if twin in made:
            made[name] = _sharing(made[str(twin)], layers[name])
            continue
        with naming(name):
            made[name] = _replacement(layers[name], settings, seen.get(name), fresh)
    changes, before = [], parameter_count(model)
    for name, new in made.items():
        changes.append(_change(name, new, _dense_count(new), _dense_flops(new), new.error))
        put(model, places[layers[name]], new)
        take_over(new, layers[name])
    return ModelReport("factorize", tuple(changes), before, parameter_count(model))


def collapse(model: nn.Module) -> nn.Module:
    """Replace all factorized layers of a model by the dense ones that compute the same, in place.

    Returns:
        The model; the dense layer itself if ``model`` is a factorized one. Layers that shared their tensors share
        their weight.

    Raises:
        ValueError: if there are none, or the model has adapters.
    """
    if isinstance(model, FactorizedLayer):
        dense = model.collapse()
        take_over(dense, model)
        return dense
    layers = _factorized(model)
    if any(isinstance(module, AdaptedLayer) for module in model.modules()):
        raise ValueError("the model has adapters, whose changes collapse would make dense: merge(model) first")
    first: dict[int, nn.Module] = {}
    for layer, names in layers.items():
        dense = layer.collapse()
        take_over(dense, layer)
        # Layers that share their tensors share the dense weight.
        dense.weight = first.setdefault(id(layer.arrays), dense).weight
        put(model, names, dense)
    return model


def prune(
    model: nn.Module, rtol: float | None = None, keep: int | None = None, optimizer: torch.optim.Optimizer | None = None
) -> ModelReport:
    """Drop the components that training has made superfluous, in all factorized layers, in place.

    Args:
        model: a model with factorized layers, or one of them.
        rtol: bounds the relative error of every layer's weight.
        keep: components to keep at each inner index, at most; one of the two.
        optimizer: its moments lose the same components, so that training goes on. One that keeps moments and is not
            given has those of other shapes, with which its next step fails.

    Returns:
        A report that prints itself: parameters, multiplications, error of each layer.

    Raises:
        ValueError: if the model has no factorized layers, not one of the two is given, nothing would be left, a
            weight has entries that are not finite, or the optimizer is that of another model. Nothing has changed then.

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> layer = nn.FactorizedLinear.from_layer(torch.nn.Linear(64, 64), rank=32)
        >>> report = nn.prune(torch.nn.Sequential(layer), keep=8)
        >>> layer.format.ranks
        (8,)
    """
    layers = _factorized(model)
    _check_trains(optimizer, layers)
    changes, count = [], parameter_count(model)
    found: dict[int, Any] = {}
    for layer, names in layers.items():  # everything is computed before anything changes
        if id(layer.arrays) not in found:
            with naming(names[0]):
                found[id(layer.arrays)] = layer._pruned(rtol, keep, optimizer)
    taken: set[int] = set()
    for layer, names in layers.items():
        before, flops = layer.format.parameter_count, forward_flops(layer.format)
        pruned = found[id(layer.arrays)]
        if id(layer.arrays) in taken:  # its tensors are those of an earlier layer
            layer._set_format(pruned.weight)
            layer.error = None
        else:
            layer._take(pruned, optimizer)
            taken.add(id(layer.arrays))
        changes.append(_change(names[0], layer, before, flops, pruned.error))
    return ModelReport("prune", tuple(changes), count, parameter_count(model))


def empty_like(layer: nn.Module, settings: Mapping[str, Any], bias: bool) -> FactorizedLayer:
    """A factorized layer in the place of a dense one, without content: ``draw`` or ``draw_with_norm`` give it some.

    Raises:
        TypeError: if its weight is quantized.
        ValueError: if its weight is parametrized, computed by a hook, or has no size yet.
    """
    check_weight(layer)
    made: FactorizedLayer = class_for(layer).empty_like(layer, bias=bias, **settings)
    return made


def _factorized(model: nn.Module) -> dict[FactorizedLayer, list[str]]:
    found = {module: names for module, names in places_of(model).items() if isinstance(module, FactorizedLayer)}
    if not found:
        raise ValueError("the model has no factorized layers: make some with factorize(model, rules)")
    return found


def _check_trains(optimizer: Any, layers: Iterable[FactorizedLayer]) -> None:
    if not isinstance(optimizer, torch.optim.Optimizer):
        return
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in held for layer in layers for parameter in layer.arrays.values()):
        raise ValueError(
            "the optimizer holds no parameters of the factorized layers: give the one that trains this model, made "
            "after factorize"
        )


def check_settings(key: Any, settings: Any, allowed: Sequence[str] = _SETTINGS) -> None:
    """Refuse a rule whose settings are no mapping, or have other names than those that are allowed."""
    if not isinstance(settings, Mapping):
        raise TypeError(f"the rule for {key!r} has settings such as {{'structure': 'mf', 'rank': 8}}, got {settings!r}")
    for name in settings:
        if name not in allowed:
            raise ValueError(f"the rule for {key!r} has no setting {name!r}: {', '.join(allowed)}")


def _sharing(first: FactorizedLayer, layer: nn.Module) -> FactorizedLayer:
    """A layer with the tensors of ``first`` and a bias of its own."""
    new = type(first).__new__(type(first))
    nn.Module.__init__(new)
    new.__dict__.update({key: value for key, value in first.__dict__.items() if key not in new.__dict__})
    new.arrays = first.arrays
    bias = getattr(layer, "bias", None)
    new.bias = None if bias is None else nn.Parameter(bias.detach().clone(), bias.requires_grad)
    new._take_options(layer)
    return new


def _replacement(layer: nn.Module, settings: Mapping[str, Any], inputs: Any, fresh: bool) -> FactorizedLayer:
    check_weight(layer)
    weight: Any = layer.weight
    if fresh:
        if "rtol" in settings:
            raise ValueError("new weights have no error to bound by rtol: give rank or parameters")
        made = empty_like(layer, settings, bias=getattr(layer, "bias", None) is not None)
        made.draw(dtype=weight.dtype, device=weight.device)
        if made.bias is not None:
            bias: Any = layer.bias
            made.bias = nn.Parameter(bias.detach().clone(), bias.requires_grad)
    else:
        kind = class_for(layer)
        known = {} if inputs is None or kind is FactorizedEmbedding else {"inputs": inputs}
        made = kind.from_layer(layer, **settings, **known)
    for parameter in made.arrays.values():
        parameter.requires_grad_(weight.requires_grad)
    return made


def _inputs_of(model: nn.Module, layers: Mapping[str, nn.Module], inputs: Any) -> dict[str, torch.Tensor]:
    """What each layer is given when the model runs on ``inputs``; the last call counts."""
    seen: dict[str, torch.Tensor] = {}

    def keeper(name: str) -> Any:
        def keep(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            x = given[0] if given else next(iter(named.values()))
            seen[name] = x.detach()

        return keep

    handles = [layer.register_forward_pre_hook(keeper(name), with_kwargs=True) for name, layer in layers.items()]
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            call_on(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return seen


def _change(name: str, layer: FactorizedLayer, before: int, flops: int, error: float | None) -> LayerChange:
    weight = layer.format
    return LayerChange(name, weight.title, before, weight.parameter_count, flops, forward_flops(weight), error)


def _dense_count(layer: FactorizedLayer) -> int:
    return layer.format.dense_count


def _dense_flops(layer: FactorizedLayer) -> int:
    return 0 if layer.format.kind == "embedding" else layer.format.dense_count


def parameter_count(model: nn.Module) -> int:
    """Numbers in all parameters; one that stands at several places counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
