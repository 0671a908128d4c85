"""Which layers of a model a rule is for: by the pattern of their names, or by their type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from tnrank._check import instance, shown
from tnrank._explained import explained

Rules = Mapping[Any, Any] | Sequence[tuple[Any, Any]]


@explained
def match_rules(
    rules: Any,
    layers: Mapping[str, Any],
    others: Mapping[str, Any] | None = None,
    factorized: Iterable[str] = (),
    supported: str = "Linear, Conv1d, Conv2d and Embedding",
) -> dict[str, Any]:
    """The setting of each layer that a rule is for: that of the first rule that matches it.

    Args:
        rules: name pattern (``"blocks.*.mlp.*"``, as in a shell) or type -> setting; ``None`` leaves a layer alone.
        layers: name -> layer, those that can be replaced.
        others: name -> module, those that cannot, for the message.
        factorized: names of the layers that are factorized already, for the message.
        supported: the types that can be replaced, for the message.

    Raises:
        TypeError: if the rules are no mapping, or a key is neither text nor a type.
        ValueError: if a rule matches no layer, the nearest names are given; if there is no rule, or the rules leave
            every layer alone.

    Example:
        >>> from tnrank.layers import match_rules
        >>> match_rules({"head": None, "*": {"rank": 4}}, {"body.0": object(), "head": object()})
        {'body.0': {'rank': 4}}
    """
    if isinstance(rules, Mapping):
        rules = list(rules.items())
    if not isinstance(rules, (list, tuple)) or not all(isinstance(rule, tuple) and len(rule) == 2 for rule in rules):
        raise TypeError(
            f"rules is a mapping such as {{'blocks.*': {{'structure': 'mf', 'rank': 8}}}}, got {shown(rules)}"
        )
    if not rules:
        raise ValueError("there are no rules: '*' is the pattern of all layers")
    instance(layers, "layers", Mapping, "a mapping of layers by name")
    if not all(isinstance(name, str) for name in layers):
        raise TypeError(f"layers have names, got {shown(next(name for name in layers if not isinstance(name, str)))}")
    found: dict[str, Any] = {}
    for key, setting in rules:
        if not isinstance(key, (str, type)):
            raise TypeError(f"a rule is for a name pattern or a type, got {shown(key)}")
        matched = [name for name, layer in layers.items() if _matches(key, name, layer)]
        if not matched:
            raise ValueError(_nothing(key, layers, others or {}, factorized, supported))
        for name in matched:
            found.setdefault(name, setting)
    chosen = {name: found[name] for name in layers if found.get(name) is not None}
    if not chosen:
        raise ValueError(
            "the rules leave every layer alone: the first rule that matches a layer is the one for it, and that is None"
        )
    return chosen


def _inside(name: str, layers: Mapping[str, Any]) -> str:
    """How to match the layers inside of a module, if there are some."""
    held = any(layer.startswith(f"{name}.") for layer in layers)
    return f"; the layers inside are matched by '{name}.*'" if held else ""


def _matches(key: Any, name: str, layer: Any) -> bool:
    return isinstance(layer, key) if isinstance(key, type) else fnmatchcase(name, key)


def _kind_name(kind: type, asked: type) -> str:
    return kind.__name__ if kind.__name__ != asked.__name__ else f"{kind.__module__}.{kind.__name__}"


def _nothing(
    key: Any, layers: Mapping[str, Any], others: Mapping[str, Any], factorized: Iterable[str], supported: str
) -> str:
    if isinstance(key, type):
        kinds = ", ".join(sorted({_kind_name(type(layer), key) for layer in layers.values()}))
        return (
            f"no layer that can be replaced has the type {key.__name__}: {supported} can be, and "
            f"{f'the model has {kinds}' if kinds else 'the model has none of them'}"
        )
    already = [name for name in factorized if fnmatchcase(name, key)]
    if already:
        return f"the rule {key!r} matches {already[0]!r}, which is factorized already: collapse(model) makes it dense"
    unsupported = [name for name in others if fnmatchcase(name, key)]
    if unsupported:
        kind = type(others[unsupported[0]]).__name__
        return (
            f"the rule {key!r} matches {unsupported[0]!r}, of type {kind}, which cannot be replaced: {supported} can, "
            f"and no classes derived from them{_inside(unsupported[0], layers)}"
        )
    if not layers:
        return f"the rule {key!r} matches no layer: {supported} can be replaced, and the model has none of them"
    near = get_close_matches(key, layers, n=3, cutoff=0.3) or list(layers)[:3]
    return f"the rule {key!r} matches no layer: the nearest are {', '.join(map(repr, near))}"
