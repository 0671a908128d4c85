"""Recipes: frozen configurations with presets, and the registry that knows them by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from tnrank._check import instance, shown, whole_number
from tnrank._explained import explained
from tnrank._reading import decimal_number

if TYPE_CHECKING:
    from tnrank.experiments._outcome import Outcome
    from tnrank.experiments._runner import Journal


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Base of all recipes: a subclass adds fields, presets of them, and :meth:`execute`.

    Attributes:
        preset: the name of the preset that the fields started from.
        backend: where it runs.
        dtype: of the trained arrays.
        seed: of targets, observed entries and initial weights, by NumPy's Generator.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"quick": {}, "paper": {}})

    preset: str = "quick"
    backend: str = "jax"
    dtype: str = "float32"
    seed: int = 0

    def execute(self, journal: Journal) -> Outcome:
        """Do the work; ``journal`` trains, records and saves on the way."""
        raise NotImplementedError

    @property
    def command(self) -> str:
        """Of the command line, what a run that did not end goes on with; nothing for recipes it does not know."""
        return f"reproduce {self.name}" if _KNOWN.get(self.name) is type(self) else ""

    @property
    def folder_name(self) -> str:
        """How run folders of this recipe begin."""
        return f"{self.name}-{self.preset}-{self.backend}"

    def limited(self, steps: int) -> Self:
        """The same recipe with every step budget set to ``steps``.

        Raises:
            TypeError: if ``steps`` is no whole number.
            ValueError: if it is below 1.
        """
        steps = whole_number(steps, "steps", least=1)
        budgets: dict[str, Any] = {f.name: steps for f in fields(self) if f.name.split("_")[-1] == "steps"}
        return replace(self, **budgets)


_KNOWN: dict[str, type[Recipe]] = {}
_Kind = TypeVar("_Kind", bound=type[Recipe])


@explained
def register(kind: _Kind) -> _Kind:
    """Make a recipe known by its ``name``; a class decorator, for recipes outside the library too."""
    if not (isinstance(kind, type) and issubclass(kind, Recipe)):
        raise TypeError(f"register is for classes derived from tnrank.experiments.Recipe, got {shown(kind)}")
    if not kind.name:
        raise ValueError(f"{kind.__name__} has no name: set the class attribute name")
    _KNOWN[kind.name] = kind
    return kind


def recipes() -> dict[str, type[Recipe]]:
    """Name -> recipe.

    Example:
        >>> from tnrank.experiments import recipes
        >>> "dynamics" in recipes()
        True
    """
    return dict(_KNOWN)


@explained
def make_recipe(name: str, preset: str = "quick", **overrides: Any) -> Recipe:
    """The recipe called ``name`` with the fields of a preset, some of them overridden.

    Args:
        name: one of :func:`recipes`.
        preset: ``"quick"`` or ``"paper"``.
        overrides: field -> value; text is read as the field's type, ``"1e-1,1e-2"`` as a tuple.

    Raises:
        TypeError: for a name or preset that is no text.
        ValueError: for an unknown recipe, preset or field (nearest names are given), or a wrong value.

    Example:
        >>> from tnrank.experiments import make_recipe
        >>> make_recipe("dynamics", "paper").htf_width
        512
    """
    instance(name, "name", str, "the name of a recipe, see tnrank.experiments.recipes()")
    instance(preset, "preset", str, "'quick' or 'paper'")
    kind = _KNOWN.get(name)
    if kind is None:
        raise ValueError(f"unknown recipe {name!r}{nearest(name, _KNOWN)}")
    if preset not in kind.presets:
        raise ValueError(f"the recipe {name!r} has no preset {preset!r}{nearest(preset, kind.presets)}")
    values = dict(kind.presets[preset])
    for field, value in overrides.items():
        values[field] = read_field(kind, field, value)
    made = kind(preset=preset, **values)
    for field, value in values.items():
        check_number(field, value)
    return made


def nearest(name: str, known: Any) -> str:
    """What to say after an unknown name: the similar known ones, or all of them."""
    similar = difflib.get_close_matches(str(name), list(known), n=3)
    return f"; did you mean {' or '.join(map(repr, similar))}?" if similar else f"; known: {', '.join(known)}"


def read_field(kind: type[Recipe], field: str, value: Any) -> Any:
    """``value``, which may be text, as a field of a recipe.

    Raises:
        ValueError: for an unknown field (nearest names are given), or a value of the wrong type.
    """
    allowed = [f.name for f in fields(kind) if f.name != "preset"]
    if field not in allowed:
        raise ValueError(f"the recipe {kind.name!r} has no field {field!r}{nearest(field, allowed)}")
    found = _read(field, value, get_type_hints(kind)[field])
    check_number(field, found, finite=False)  # what else a recipe says of numbers, it says itself
    return found


def check_number(field: str, value: Any, finite: bool = True) -> None:
    """Refuse numbers of a field that no run could use: not ``finite``, or so large that nothing would be seen of it.

    Raises:
        ValueError: with the limit and the reason.
    """
    if isinstance(value, tuple):
        for one in value:
            check_number(field, one, finite)
    elif isinstance(value, float) and finite and not isfinite(value):
        raise ValueError(f"{field} is a finite number, got {value}")
    elif isinstance(value, int):
        word = field.split("_")[-1]
        most, why = _MOST.get(word) or _MOST.get(word.removesuffix("s")) or _MOST[""]
        if abs(value) > most:
            raise ValueError(f"{field} is at most {most:,}, got {shown(value)}: {why}")


def is_sequence(kind: type[Recipe], field: str) -> bool:
    """Whether values of a field are tuples."""
    return get_origin(get_type_hints(kind).get(field)) is tuple


_WORDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true-or-false values"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "words"),
}
_MOST = {
    "seed": (2**63 - 1, "generators are seeded by 64 bits"),
    "seeds": (10_000, "each seed is a run of its own"),
    "step": (2**31 - 1, "steps are counted in 32 bits"),
    "every": (2**31 - 1, "steps are counted in 32 bits"),
    "patience": (2**31 - 1, "steps are counted in 32 bits"),
    "depth": (1_000, "each layer is one more tensor in the network, for which an order of contraction is sought"),
    "order": (1_000, "each mode is one more tensor in the network, for which an order of contraction is sought"),
    "": (10**6, "arrays of that size do not fit into memory"),
}
"""The last word of a field -> the most that it may be, and why."""
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _read(field: str, value: Any, kind: Any) -> Any:
    """``value`` as a field's type; numbers, booleans and tuples may come as text."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    if type(None) in options:
        rest = [option for option in options if option is not type(None)]
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _read(field, value, rest[0]) if len(rest) == 1 else value
    if get_origin(kind) is tuple:
        return _read_tuple(field, value, get_args(kind))
    if kind not in _WORDS:
        return value
    try:
        return _read_one(value, kind)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise ValueError(f"the field {field} is {_WORDS[kind][0]}, got {shown(value)}") from None


def _read_tuple(field: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = len(kinds) == 2 and kinds[1] is Ellipsis
    items: list[Any] | None = None
    if isinstance(value, str):
        bare = value.strip().removeprefix("(").removesuffix(")").removesuffix(",")
        items = [part.strip() for part in bare.split(",")] if bare.strip() else []
    elif isinstance(value, Iterable) and not isinstance(value, Mapping):
        items = list(value)
    if items is not None and (repeated or len(items) == len(kinds)):
        wanted = [kinds[0]] * len(items) if repeated else kinds
        try:
            return tuple(_read_one(item, k) if k in _WORDS else item for item, k in zip(items, wanted, strict=True))
        except (ValueError, TypeError, KeyError, OverflowError):
            pass
    what = _WORDS.get(kinds[0] if kinds else str, ("", "values"))[1]
    count = "" if repeated else f"{len(kinds)} "
    example = "a,b" if not kinds or kinds[0] is str else "1,2" if kinds[0] is int else "1e-1,1e-2"
    raise ValueError(f"the field {field} is {count}{what}, such as {example}, got {shown(value)}")


def _read_one(value: Any, kind: Any) -> Any:
    if kind is str:
        if not isinstance(value, str):
            raise TypeError
        return value
    if kind is bool:
        if isinstance(value, str):
            return _BOOLEANS[value.lower()]
        if value not in (True, False):
            raise ValueError
        return bool(value)
    if isinstance(value, bool):
        raise ValueError
    if kind is float:
        number = decimal_number(value) if isinstance(value, str) else float(value)
        if number is None:
            raise ValueError
        return number
    number = decimal_number(value) if isinstance(value, str) else float(value)
    if number is None or number != int(number):
        raise ValueError
    return int(value) if not isinstance(value, str) or value.strip().lstrip("+-").isdigit() else int(number)
