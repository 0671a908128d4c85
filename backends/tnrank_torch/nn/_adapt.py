"""Adapters that find their own rank: frozen layers plus a factorized change from a small start."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import Any

from torch import nn

from tnrank.layers import LayerChange, ModelReport, forward_flops, match_rules, naming
from tnrank_torch.nn._adapted import AdaptedLayer
from tnrank_torch.nn._layer import FactorizedLayer
from tnrank_torch.nn._model import check_settings, empty_like, parameter_count
from tnrank_torch.nn._places import (
    REPLACED,
    drop_hooks,
    factorized_names,
    places_of,
    put,
    replaceable_layers,
    take_over,
    tied_layers,
)

_SETTINGS = ("structure", "rank", "depth", "modes", "start")


def adapt(
    model: nn.Module,
    rules: Any,
    structure: str = "mf",
    rank: int = 64,
    *,
    depth: int = 2,
    start: float = 1e-4,
    balanced: bool = True,
    seed: int | None = None,
) -> ModelReport:
    """Freeze a model, and give some layers a factorized change that is trained, in place.

    From a small start, gradient descent lets few components grow: the rank offered may be large, and :func:`prune`
    drops what has stayed small. LoRA's usual start (one factor large, the other 0) leaves most components in use.

    Args:
        model: any module. All its parameters are frozen; ``model.head.requires_grad_()`` trains others again.
        rules: a name pattern or type, a list of them, or a mapping from them to settings that differ
            (``structure``, ``rank``, ``depth``, ``modes``, ``start``), or to ``None``.
        structure: ``"mf"``, ``"cp"``, ``"tt"`` or ``"htf"``; see :class:`FactorizedLinear`.
        rank: the most components, as far as a layer has use for them.
        depth: number of factors of ``"mf"``: more of them find lower ranks.
        start: norm of the initial change, relative to that of the weight.
        balanced: start from balanced tensors, where the structure has such.
        seed: of the initial weights; PyTorch's generator gives one if ``None``.

    Returns:
        A report that prints itself, one line a layer.

    Raises:
        ValueError: if a rule matches nothing, a layer is adapted or factorized already, a setting is unknown, or a
            weight is tied to that of another layer or has entries that are not finite.
        TypeError: for rules or settings of other types. An error leaves the model as it was.

    Source: Hu et al. 2022 (LoRA); the start is that of Arora, Cohen, Hu & Luo 2019.

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        >>> report = nn.adapt(model, "0", rank=16, depth=3)
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad)
        2304
    """
    places = places_of(model)
    layers, others = replaceable_layers(places)
    usual = {"structure": structure, "rank": rank, "depth": depth, "start": start}
    chosen = match_rules(_with_settings(rules, usual), layers, others, factorized_names(places), REPLACED)
    tied = tied_layers(model, layers, chosen)
    if tied:
        second, first = next(iter(tied.items()))
        raise ValueError(
            f"the weight of {second!r} is tied to that of {first!r}, to which its change would be added as well: "
            f"untie them, or leave both alone with rules {{{first!r}: None, {second!r}: None}}"
        )
    made = {}
    for place, (name, settings) in enumerate(chosen.items()):
        number = None if seed is None else seed + place
        with naming(name):
            made[name] = _change_of(layers[name], dict(settings), balanced, number)
    count = parameter_count(model)
    model.requires_grad_(False)
    changes = []
    for name, change in made.items():
        base, weight = layers[name], change.format
        adapted = AdaptedLayer(base, change)
        take_over(adapted, base)
        drop_hooks(base)  # they belong to the sum now
        put(model, places[base], adapted)
        flops = 0 if weight.kind == "embedding" else weight.dense_count
        total = weight.dense_count + weight.parameter_count
        changes.append(
            LayerChange(name, weight.title, weight.dense_count, total, flops, flops + forward_flops(weight), None)
        )
    return ModelReport("adapt", tuple(changes), count, parameter_count(model))


def merge(model: nn.Module) -> nn.Module:
    """Add the changes of all adapted layers to their weights, in place; parameters stay frozen.

    Returns:
        The model, of the layers that it had before :func:`adapt`.

    Raises:
        ValueError: if there are none.
    """
    for layer, names in adapted_layers(model).items():
        base = layer.merge()
        take_over(base, layer)
        put(model, names, base)
    return model


def adapted_layers(model: nn.Module) -> dict[AdaptedLayer, list[str]]:
    """The adapted layers of a model with their names.

    Raises:
        ValueError: if there are none.
    """
    found = {module: names for module, names in places_of(model).items() if isinstance(module, AdaptedLayer)}
    if not found:
        raise ValueError("the model has no adapters: make some with adapt(model, rules)")
    return found


def _with_settings(rules: Any, usual: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    if isinstance(rules, (str, type)):
        rules = [rules]
    if not isinstance(rules, (Mapping, list, tuple)):
        raise TypeError(f"rules is a name pattern, a type, a list of them, or a mapping to settings, got {rules!r}")
    pairs = list(rules.items()) if isinstance(rules, Mapping) else [(rule, {}) for rule in rules]
    for key, settings in pairs:
        if settings is not None:
            check_settings(key, settings, _SETTINGS)
    return [(key, None if settings is None else _completed(settings, usual)) for key, settings in pairs]


def _completed(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    found = {**usual, **settings}
    if "depth" not in settings and found["structure"] != "mf" == usual["structure"]:
        del found["depth"]  # it is that of the layers with a matrix factorization
    return found


def _change_of(layer: Any, settings: dict[str, Any], balanced: bool, seed: int | None) -> FactorizedLayer:
    start = settings.pop("start")
    if isinstance(start, bool) or not isinstance(start, (int, float)) or not 0 < start < inf:
        raise ValueError(f"start is the relative norm of the initial change and positive, got {start!r}")
    if hasattr(settings["rank"], "__index__"):
        # The rank is an offer: a layer with few outputs takes what it has use for, among others that take all of it.
        limits = empty_like(layer, {**settings, "rank": 1}, bias=False).format.limits
        settings["rank"] = min(settings["rank"], max(limits.values()))
    change = empty_like(layer, settings, bias=False)
    weight = layer.weight
    norm = float(weight.detach().double().norm())
    if not isfinite(norm):
        raise ValueError("its weight has entries that are not finite: clear them first")
    change.draw_with_norm(start * (norm or 1.0), weight.dtype, weight.device, balanced, seed)
    return change
