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
    rules: Any, layers: Mapping[str, Any], others: Iterable[str] = (), factorized: Iterable[str] = ()
) -> dict[str, Any]:
    """The setting of each layer that a rule is for: that of the first rule that matches it.

    Args:
        rules: name pattern (``"blocks.*.mlp.*"``, as in a shell) or type -> setting; ``None`` leaves a layer alone.
        layers: name -> layer, those that can be replaced.
        others: names of the modules that cannot, for the message.
        factorized: names of the layers that are factorized already, for the message.

    Raises:
        TypeError: if the rules are no mapping, or a key is neither text nor a type.
        ValueError: if a rule matches no layer, the nearest names are given; or if there is no rule.

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
            raise ValueError(_nothing(key, layers, others, factorized))
        for name in matched:
            found.setdefault(name, setting)
    return {name: found[name] for name in layers if found.get(name) is not None}


def _matches(key: Any, name: str, layer: Any) -> bool:
    return isinstance(layer, key) if isinstance(key, type) else fnmatchcase(name, key)


def _kind_name(kind: type, asked: type) -> str:
    return kind.__name__ if kind.__name__ != asked.__name__ else f"{kind.__module__}.{kind.__name__}"


def _nothing(key: Any, layers: Mapping[str, Any], others: Iterable[str], factorized: Iterable[str]) -> str:
    if isinstance(key, type):
        kinds = sorted({_kind_name(type(layer), key) for layer in layers.values()})
        return (
            f"no layer is a {key.__name__}: those of the model that can be replaced are "
            f"{', '.join(kinds) or 'none'} (of Linear, Conv1d, Conv2d, Embedding)"
        )
    already = [name for name in factorized if fnmatchcase(name, key)]
    if already:
        return f"the rule {key!r} matches {already[0]!r}, which is factorized already: collapse(model) makes it dense"
    unsupported = [name for name in others if fnmatchcase(name, key)]
    if unsupported:
        return (
            f"the rule {key!r} matches {unsupported[0]!r}, which cannot be replaced: supported are Linear, Conv1d, "
            "Conv2d, Embedding and the transposed Conv1D of language models"
        )
    near = get_close_matches(key, layers, n=3, cutoff=0.3) or list(layers)[:3]
    return (
        f"the rule {key!r} matches no layer: the nearest are {', '.join(map(repr, near)) or 'none, the model is empty'}"
    )
