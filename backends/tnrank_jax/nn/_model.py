"""Whole models: layers replaced by factorized ones, collapsed again, pruned with their optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax

from tnrank.layers import LayerChange, ModelReport, forward_flops, match_rules, naming
from tnrank_jax.nn._conv import FactorizedConv1d, FactorizedConv2d
from tnrank_jax.nn._embedding import FactorizedEmbedding
from tnrank_jax.nn._layer import FactorizedLayer, changed, like
from tnrank_jax.nn._linear import FactorizedLinear

_REPLACEMENTS: dict[Any, Any] = {
    eqx.nn.Linear: FactorizedLinear,
    eqx.nn.Conv1d: FactorizedConv1d,
    eqx.nn.Conv2d: FactorizedConv2d,
    eqx.nn.Embedding: FactorizedEmbedding,
}
_SETTINGS = ("structure", "rank", "rtol", "parameters", "modes", "depth", "recompute")
_SQUARES = ("nu", "nu_max", "sum_of_squares")
"""Fields of optax's states that hold averages or sums of squares."""


def factorize(model: Any, rules: Any) -> tuple[Any, ModelReport]:
    """Replace layers of a model by factorized ones.

    Args:
        model: any tree; ``eqx.nn.Linear``, ``Conv1d``, ``Conv2d``, ``Conv`` of 1 or 2 axes and ``Embedding`` are
            replaced. A layer's name is its path: ``"layers.0"``.
        rules: name pattern (``"blocks.*.mlp.*"``, as in a shell) or type -> settings of
            :meth:`FactorizedLinear.from_layer` such as ``{"structure": "tt", "parameters": 0.1}``, or ``None`` to leave
            a layer alone. The first rule that matches a layer is the one for it.

    Returns:
        The new model, and a report that prints itself, one line a layer: parameters, multiplications, error.

    Raises:
        ValueError: if a rule matches nothing (the nearest names are given), or as for the layers.
        TypeError: for weights that are no arrays of floating-point numbers, or settings that are no mapping.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnrank_jax import nn
        >>> model = eqx.nn.MLP(64, 10, width_size=64, depth=2, key=jax.random.key(0))
        >>> model, report = nn.factorize(model, {"layers.2": None, "*": {"structure": "mf", "rank": 4}})
        >>> [type(layer).__name__ for layer in model.layers]
        ['FactorizedLinear', 'FactorizedLinear', 'Linear']
        >>> report
        ModelReport(factorize: 2 layers, 8,970 to 1,802 parameters)
    """
    layers = _named(model, _replaceable)
    inside = {name.rpartition(".")[0] for name in _named(model, eqx.is_array)}
    others = {name.rsplit(".", k)[0] for name in inside for k in range(name.count(".") + 1)} - {"", *layers}
    nodes = {name: _at(model, name) for name in sorted(others)}
    chosen = match_rules(rules, layers, nodes, _named(model, _is_factorized))
    made: dict[str, FactorizedLayer] = {}
    for name, settings in chosen.items():
        _check_settings(name, settings)
        with naming(name):
            made[name] = _class_for(layers[name]).from_layer(layers[name], **settings)
    changes = []
    for name, new in made.items():
        count = new.format.dense_count
        flops = 0 if new.format.kind == "embedding" else count
        changes.append(_change(name, new, count, flops, new.error))
    found = _replaced(model, made, _replaceable)
    return found, ModelReport("factorize", tuple(changes), _count(model), _count(found))


def collapse(model: Any) -> Any:
    """Replace all factorized layers of a model by the dense ones that compute the same.

    Args:
        model: a tree with factorized layers, or one of them.

    Raises:
        ValueError: if there are none.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnrank_jax import nn
        >>> layer = nn.FactorizedLinear(64, 10, rank=4, key=jax.random.key(0))
        >>> model = nn.collapse(eqx.nn.Sequential([layer, eqx.nn.Lambda(jax.nn.relu)]))
        >>> type(model[0]).__name__, model[0].weight.shape
        ('Linear', (10, 64))
    """
    return _replaced(model, {name: layer.collapse() for name, layer in _factorized(model).items()}, _is_factorized)


def prune(model: Any, rtol: float | None = None, keep: int | None = None, state: Any = None) -> Any:
    """Drop the components that training has made superfluous, in all factorized layers.

    Ranks are shapes: call it outside of compiled functions, which are compiled anew for the new model.

    Args:
        model: a tree with factorized layers, or one of them.
        rtol: bounds the relative error of every layer's weight.
        keep: components to keep at each inner index, at most; one of the two.
        state: of an optax optimizer for this model: its moments lose the same components, so that training goes on.

    Returns:
        The new model and a report that prints itself: parameters, multiplications, error of each layer. With ``state``,
        that of the new model comes third.

    Raises:
        ValueError: if the model has no factorized layers, not one of the two is given, nothing would be left, or the
            state is that of another model.

    Example:
        >>> import equinox as eqx, jax
        >>> from tnrank_jax import nn
        >>> dense = eqx.nn.Linear(64, 64, key=jax.random.key(0))
        >>> model = eqx.nn.Sequential([nn.FactorizedLinear.from_layer(dense, rank=32)])
        >>> model, report = nn.prune(model, keep=8)
        >>> model[0].format.ranks
        (8,)
    """
    layers = _factorized(model)
    holders = _holders(state, layers)
    new, changes, moved = {}, [], {}
    for name, layer in layers.items():
        moments = {
            place: held.arrays for place, held in holders[name].items() if all(map(eqx.is_array, held.arrays.values()))
        }
        with naming(name):
            new[name], found = layer.cut(rtol, keep, {_kind(place, name): arrays for place, arrays in moments.items()})
        for place, held in holders[name].items():
            cut = found.moments[_kind(place, name)] if place in moments else {}
            arrays = {part: like(old, cut[part]) if part in cut else old for part, old in held.arrays.items()}
            moved[place] = changed(held, format=found.weight, arrays=arrays, error=None)
        changes.append(_change(name, new[name], layer.format.parameter_count, forward_flops(layer.format), found.error))
    pruned = _replaced(model, new, _is_factorized)
    report = ModelReport("prune", tuple(changes), _count(model), _count(pruned))
    return (pruned, report) if state is None else (pruned, report, _replaced(state, moved, _is_factorized))


def parameter_rates(model: Any, optimizer: str = "adam") -> Any:
    """Factors on the learning rate of the dense model, in the structure of the model's parameters.

    Args:
        model: any tree; leaves outside of factorized layers have the factor 1.
        optimizer: ``"adam"`` or ``"sgd"``.

    Returns:
        A tree like ``eqx.filter(model, eqx.is_inexact_array)``, a number a leaf.

    Source: Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024, Sec. 4.

    Example:
        >>> import equinox as eqx, jax, optax
        >>> from tnrank_jax import nn
        >>> keys = jax.random.split(jax.random.key(0))
        >>> model = eqx.nn.Sequential([
        ...     nn.FactorizedLinear(64, 64, rank=4, key=keys[0]), eqx.nn.Linear(64, 10, key=keys[1])
        ... ])
        >>> rates = nn.parameter_rates(model)
        >>> jax.tree.leaves(rates)
        [8.0, 0.5, 1.0, 1.0, 1.0]
        >>> scale = optax.stateless(lambda updates, _: jax.tree.map(lambda u, rate: rate * u, updates, rates))
        >>> optimizer = optax.chain(optax.adam(1e-3), scale)
        >>> state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    """

    def rates(layer: Any) -> Any:
        if not isinstance(layer, FactorizedLayer):
            return 1.0
        own = layer.learning_rates(optimizer)
        arrays = {name: None if array is None else own[f"arrays.{name}"] for name, array in layer.arrays.items()}
        return changed(layer, arrays=arrays, bias=None if layer.bias is None else 1.0)

    return jax.tree.map(rates, eqx.filter(model, eqx.is_inexact_array), is_leaf=_is_factorized)


def _is_factorized(node: Any) -> bool:
    return isinstance(node, FactorizedLayer)


def _replaceable(node: Any) -> bool:
    return _class_for(node) is not None


def _class_for(node: Any) -> Any:
    # Subclasses may compute something else: the classes themselves are replaced.
    if type(node) is eqx.nn.Conv:
        return {1: FactorizedConv1d, 2: FactorizedConv2d}.get(node.num_spatial_dims)
    return _REPLACEMENTS.get(type(node))


def _named(tree: Any, wanted: Callable[[Any], bool]) -> dict[str, Any]:
    """Path -> node, of all that are wanted; what is inside of them is not looked at."""
    found = jax.tree_util.tree_flatten_with_path(tree, is_leaf=wanted)[0]
    return {_name(path): node for path, node in found if wanted(node)}


def _replaced(tree: Any, new: Mapping[str, Any], wanted: Callable[[Any], bool]) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, node: new.get(_name(path), node), tree, is_leaf=wanted)


def _at(tree: Any, name: str) -> Any:
    """The node at a path."""
    for part in name.split("."):
        if isinstance(tree, Mapping):
            tree = next(node for key, node in tree.items() if str(key) == part)
        else:
            tree = tree[int(part)] if isinstance(tree, (list, tuple)) else getattr(tree, part)
    return tree


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _holders(state: Any, layers: Mapping[str, FactorizedLayer]) -> dict[str, dict[str, FactorizedLayer]]:
    """Layer -> {place in an optimizer's state: what it holds for the layer}.

    Raises:
        ValueError: if it holds nothing for the layers, or what is no moments: arrays of other shapes.
    """
    found: dict[str, dict[str, FactorizedLayer]] = {name: {} for name in layers}
    for place, held in _named(state, _is_factorized).items():
        # The longest name, since the one of an outer layer may end as that of an inner one.
        fitting = [name for name in layers if not name or f".{place}".endswith(f".{name}")]
        if not fitting:
            raise ValueError(f"the state has {place!r}, which is no layer of the model: give the state of this model")
        name = max(fitting, key=len)
        for part, array in held.arrays.items():
            wanted = layers[name].arrays[part].shape
            if eqx.is_array(array) and array.shape != wanted:
                raise ValueError(
                    f"the state has {place!r} with shape {array.shape} of {part!r}, needed {wanted}: leave it out, and "
                    "start with optimizer.init of the new model"
                )
        found[name][place] = held
    if state is not None and jax.tree.leaves(state) and not any(found.values()):
        raise ValueError(
            "the state holds nothing for the factorized layers: give that of optimizer.init of this model, made after "
            "factorize"
        )
    return found


def _kind(place: str, name: str) -> str:
    """The name of moments in :func:`tnrank.layers.prune_weight`, where averages of squares end in "sq"."""
    above = place.removesuffix(name).rstrip(".")
    return f"{above}.sq" if above.rpartition(".")[2] in _SQUARES else above


def _factorized(model: Any) -> dict[str, FactorizedLayer]:
    found = _named(model, _is_factorized)
    if not found:
        raise ValueError("the model has no factorized layers: make some with factorize(model, rules)")
    return found


def _check_settings(name: str, settings: Any) -> None:
    if not isinstance(settings, Mapping):
        raise TypeError(
            f"the rule for {name!r} has settings such as {{'structure': 'mf', 'rank': 8}}, got {settings!r}"
        )
    for key in settings:
        if key not in _SETTINGS:
            raise ValueError(f"the rule for {name!r} has no setting {key!r}: {', '.join(_SETTINGS)}")


def _change(name: str, layer: FactorizedLayer, before: int, flops: int, error: float | None) -> LayerChange:
    weight = layer.format
    return LayerChange(name, weight.title, before, weight.parameter_count, flops, forward_flops(weight), error)


def _count(model: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(model) if eqx.is_inexact_array(leaf))
