"""Recipes: frozen configurations with presets, and the registry that knows them by name."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import numpy as np

from tnrank._check import shown, whole_number
from tnrank._explained import explained
from tnrank.experiments.fields import Field, Seed, fields_of

if TYPE_CHECKING:
    from tnrank.experiments._outcome import Outcome
    from tnrank.runs import Journal


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Base of all recipes: a subclass adds fields, presets of them, and :meth:`execute`.

    The types of fields say what they may hold, see :mod:`tnrank.experiments.fields`; what fields have to do with one
    another is said by :meth:`check`.

    Attributes:
        preset: the name of the preset that the fields started from.
        backend: numpy, jax or torch.
        dtype: float32 or float64, of the trained arrays.
        seed: of targets, observed entries and initial weights, by NumPy's Generator.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {}}
    draws: ClassVar[bool] = False
    """Whether the outcome has a figure, for which matplotlib is needed."""

    preset: str = "quick"
    backend: str = "jax"
    dtype: str = "float32"
    seed: Seed = 0

    @explained
    def __post_init__(self) -> None:
        for name, field in fields_of(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, (list, np.generic)):
                value = tuple(value) if isinstance(value, list) else value.item()
                object.__setattr__(self, name, value)
            field.kind.check(name, value)
        self.check()

    def check(self) -> None:
        """Refuse fields that do not go together.

        Raises:
            ValueError: with what is needed.
        """

    def execute(self, journal: Journal) -> Generator[Any, Any, Outcome] | Outcome:
        """Do the work: yield what is to be trained (Training, Fitting), get its results, return an Outcome.

        A recipe that trains nothing may return its Outcome at once. ``journal`` shows progress, records and saves.
        """
        raise NotImplementedError(f"the recipe {self.name!r} has no execute(self, journal)")

    @property
    def command(self) -> str:
        """Of the command line, what a run that did not end goes on with; nothing for recipes it does not know."""
        if _KNOWN.get(self.name) is not type(self):
            return ""
        module = ORIGINS.get(self.name)
        return f"reproduce {self.name}" + (f" --module {shlex.quote(module)}" if module else "")

    @property
    def folder_name(self) -> str:
        """How run folders of this recipe begin."""
        return f"{self.name}-{self.preset}-{self.backend}"

    def limited(self, steps: int) -> Self:
        """The same recipe with every step budget, a field of type ``Steps``, set to ``steps``.

        Raises:
            TypeError: if ``steps`` is no whole number.
            ValueError: if it is below 1.
        """
        steps = whole_number(steps, "steps", least=1)
        budgets: dict[str, Any] = {name: steps for name, field in fields_of(type(self)).items() if field.is_budget}
        return replace(self, **budgets)


_KNOWN: dict[str, type[Recipe]] = {}
ORIGINS: dict[str, str] = {}
"""Name of a recipe of a user's own -> the file or module that it was loaded from."""
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


class UnknownField(ValueError):
    """A field that a recipe does not have.

    Attributes:
        recipe: the class whose fields are known.
    """

    def __init__(self, recipe: type[Recipe], name: str) -> None:
        known = [field for field in fields_of(recipe) if field != "preset"]
        super().__init__(f"the recipe {recipe.name!r} has no field {name!r}{nearest(name, known)}")
        self.recipe = recipe


def nearest(name: str, known: Any) -> str:
    """What to say after an unknown name: the similar known ones, or all of them."""
    similar = difflib.get_close_matches(str(name), list(known), n=3)
    return f"; did you mean {' or '.join(map(repr, similar))}?" if similar else f"; known: {', '.join(known)}"


def field_of(kind: type[Recipe], name: str) -> Field:
    """A field by its name.

    Raises:
        UnknownField: for another name; nearest ones are given.
    """
    found = fields_of(kind).get(name) if name != "preset" else None
    if found is None:
        raise UnknownField(kind, name)
    return found


def read_field(kind: type[Recipe], name: str, value: Any) -> Any:
    """``value``, which may be text, as a field of a recipe.

    Raises:
        ValueError: for an unknown field (nearest names are given), or a value of the wrong type.
    """
    return field_of(kind, name).kind.read(name, value)
