"""Recipes: frozen configurations with presets, and the registry that knows them by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, get_type_hints

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
    def folder_name(self) -> str:
        """How run folders of this recipe begin."""
        return f"{self.name}-{self.preset}-{self.backend}"

    def limited(self, steps: int) -> Self:
        """The same recipe with every step budget set to ``steps``.

        Raises:
            ValueError: if ``steps`` is below 1.
        """
        if steps < 1:
            raise ValueError(f"steps is a whole number from 1 on, got {steps}")
        budgets: dict[str, Any] = {f.name: steps for f in fields(self) if f.name.split("_")[-1] == "steps"}
        return replace(self, **budgets)


_KNOWN: dict[str, type[Recipe]] = {}
_Kind = TypeVar("_Kind", bound=type[Recipe])


def register(kind: _Kind) -> _Kind:
    """Make a recipe known by its ``name``; a class decorator, for recipes outside the library too."""
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


def make_recipe(name: str, preset: str = "quick", **overrides: Any) -> Recipe:
    """The recipe called ``name`` with the fields of a preset, some of them overridden.

    Args:
        name: one of :func:`recipes`.
        preset: ``"quick"`` or ``"paper"``.
        overrides: field -> value; text is read as the field's type.

    Raises:
        ValueError: for an unknown recipe, preset or field (nearest names are given), or a wrong value.

    Example:
        >>> from tnrank.experiments import make_recipe
        >>> make_recipe("dynamics", "paper").htf_width
        512
    """
    kind = _KNOWN.get(name)
    if kind is None:
        raise ValueError(f"unknown recipe {name!r}{nearest(name, _KNOWN)}")
    if preset not in kind.presets:
        raise ValueError(f"the recipe {name!r} has no preset {preset!r}{nearest(preset, kind.presets)}")
    types = get_type_hints(kind)
    allowed = [f.name for f in fields(kind) if f.name != "preset"]
    values = dict(kind.presets[preset])
    for field, value in overrides.items():
        if field not in allowed:
            raise ValueError(f"the recipe {name!r} has no field {field!r}{nearest(field, allowed)}")
        values[field] = _read(field, value, types[field])
    return kind(preset=preset, **values)


def nearest(name: str, known: Any) -> str:
    """What to say after an unknown name: the similar known ones, or all of them."""
    similar = difflib.get_close_matches(str(name), list(known), n=3)
    return f"; did you mean {' or '.join(map(repr, similar))}?" if similar else f"; known: {', '.join(known)}"


def _read(field: str, value: Any, kind: Any) -> Any:
    """``value`` as a field's type; numbers and booleans may come as text."""
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        if kind is int:
            number = float(value)
            if isinstance(value, bool) or number != int(number):
                raise ValueError
            return int(value) if not isinstance(value, str) or value.lstrip("+-").isdigit() else int(number)
        if kind is float:
            return float(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"the field {field} is {wanted}, got {value!r}") from None
    return value
