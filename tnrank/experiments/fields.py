"""What the fields of recipes may hold: declared once, as types, for checks, for text and for the table of fields.

A recipe says ``steps: Steps = 1000`` or ``scales: Annotated[tuple[Positive, ...], Several(2, "falling")]``. Plain
``int``, ``float``, ``str``, ``bool``, ``Literal[..]``, tuples of these, and each of them or ``None`` are understood.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from itertools import pairwise
from math import inf, isfinite
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from tnrank._check import shown
from tnrank._reading import decimal_number

_BITS = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """Which numbers are allowed: from ``least`` or above ``above``, up to ``most`` or below ``below``.

    ``why`` is the reason of the upper limit.
    """

    least: float = -inf
    most: float = inf
    why: str = ""
    above: float = -inf
    below: float = inf

    def holds(self, value: float) -> bool:
        """Whether ``value`` is allowed."""
        return isfinite(value) and self.least <= value <= self.most and self.above < value < self.below

    def words(self, plural: bool, whole: bool) -> str:
        """In words, such as ``positive numbers``."""
        noun = ("whole number" if whole else "number") + "s" * plural
        noun = noun if plural else f"a {noun}"
        if (self.above, self.below, self.most) == (0, inf, inf):
            return noun.replace("number", "positive number")
        if self.above > -inf and self.below < inf:
            return f"{noun} between {self.above:g} and {self.below:g}"
        if self.above > -inf:
            return f"{noun} above {self.above:g}{f', at most {self.most:g}' if self.most < inf else ''}"
        if self.least > -inf and self.below < inf:
            return f"{noun} from {self.least:g} on, below {self.below:g}"
        if self.least > -inf:
            return f"{noun} from {self.least:g} {f'to {self.most:,.0f}' if self.most < 1000 else 'on'}"
        return noun


@dataclass(frozen=True)
class Several:
    """How many values a tuple has at least, whether they rise or fall, and whether each occurs once."""

    least: int = 1
    order: Literal["", "rising", "falling"] = ""
    once: bool = False

    def holds(self, values: tuple[Any, ...]) -> bool:
        """Whether ``values`` are allowed."""
        ordered = values if self.order != "falling" else values[::-1]
        return (
            len(values) >= self.least
            and (not self.order or all(a < b for a, b in pairwise(ordered)))
            and (not self.once or len(set(values)) == len(values))
        )

    @property
    def words(self) -> str:
        """In words, such as ``, two or more, falling``."""
        count = {0: "", 1: ", one or more", 2: ", two or more"}.get(self.least, f", {self.least} or more")
        return f"{count}{f', {self.order}' if self.order else ''}{', each once' if self.once else ''}"


BUDGET = "budget"
"""Marks the fields that ``--steps`` sets."""
_SIZE = "arrays of that size do not fit into memory"
_TENSORS = "is one more tensor in the network, for which an order of contraction is sought"

Count = Annotated[int, Range(1, 10**6, _SIZE)]
Number = Annotated[int, Range(0, 10**6, _SIZE)]
Steps = Annotated[int, Range(1, _BITS, "steps are counted in 32 bits"), BUDGET]
Every = Annotated[int, Range(1, _BITS, "steps are counted in 32 bits")]
Patience = Annotated[int, Range(0, _BITS, "steps are counted in 32 bits")]
Depth = Annotated[int, Range(1, 1000, f"each layer {_TENSORS}")]
Order = Annotated[int, Range(1, 1000, f"each mode {_TENSORS}")]
Seed = Annotated[int, Range(0, 2**63 - 1, "generators are seeded by 64 bits")]
Seeds = Annotated[int, Range(1, 10_000, "each seed is a run of its own")]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(above=0, most=1)]
"""Above 0, at most 1."""
Part = Annotated[float, Range(above=0, below=1)]
"""Between 0 and 1."""

TargetFile = Annotated[str | None, "target"]
"""A file with a tensor of the user's own, which ``--target`` names; see :func:`tnrank.experiments.kit.read_target`."""

_NOUNS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true-or-false values"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "words"),
}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Kind:
    """A type with what it allows: the plain type, its marks, and of a tuple the kinds of its elements."""

    plain: Any
    marks: tuple[Any, ...] = ()
    elements: tuple[Kind, ...] = ()
    repeated: bool = False
    options: tuple[Any, ...] = ()
    optional: bool = False

    @classmethod
    def of(cls, hint: Any) -> Kind:
        """The kind of a type hint; of one that is not understood, all values are allowed."""
        marks: tuple[Any, ...] = ()
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            marks = tuple(more)
        arguments = get_args(hint)
        if get_origin(hint) in (Union, UnionType):
            rest = [one for one in arguments if one is not type(None)]
            inner = cls.of(rest[0]) if len(rest) == 1 else cls(object)
            return cls(inner.plain, (*inner.marks, *marks), inner.elements, inner.repeated, inner.options, True)
        if get_origin(hint) is tuple:
            repeated = len(arguments) == 2 and arguments[1] is Ellipsis
            kinds = tuple(map(cls.of, arguments[:1] if repeated else arguments))
            return cls(tuple, marks, kinds, repeated)
        if get_origin(hint) is Literal:
            return cls(type(arguments[0]), marks, options=arguments)
        return cls(hint if hint in _NOUNS else object, marks)

    def words(self, plural: bool = False) -> str:
        """What is allowed."""
        if self.options:
            found = f"{'some' if plural else 'one'} of {', '.join(map(str, self.options))}"
        elif self.plain is tuple:
            several = [mark.words for mark in self.marks if isinstance(mark, Several)]
            count = "" if self.repeated else f"{len(self.elements)} "
            found = count + (self.elements[0].words(True) if self.elements else "values") + "".join(several)
        else:
            ranges = [mark.words(plural, self.plain is int) for mark in self.marks if isinstance(mark, Range)]
            found = ranges[0] if ranges else _NOUNS.get(self.plain, ("anything", "things"))[plural]
        return f"{found}, or none" if self.optional else found

    def check(self, name: str, value: Any) -> None:
        """Refuse a value of another type or out of range.

        Raises:
            ValueError: with what is allowed.
        """
        if value is None and self.optional:
            return
        if self.plain is tuple:
            if not isinstance(value, tuple) or not (self.repeated or len(value) == len(self.elements)):
                raise ValueError(f"{name} are {self.words()}, got {shown(value)}")
            for k, one in enumerate(value):
                (self.elements[0] if self.repeated else self.elements[k]).check(f"each of {name}", one)
            if not all(mark.holds(value) for mark in self.marks if isinstance(mark, Several)):
                raise ValueError(f"{name} are {self.words()}, got {shown(value)}")
            return
        wrong_type = self.plain in _NOUNS and not (
            isinstance(value, self.plain) or (self.plain is float and isinstance(value, int))
        )
        if wrong_type or (isinstance(value, bool) and self.plain in (int, float)):
            raise ValueError(f"{name} is {self.words()}, got {shown(value)}")
        if self.options and value not in self.options:
            raise ValueError(f"{name} is {self.words()}, got {shown(value)}{_meant(value, self.options)}")
        if self.plain is float and not isfinite(value):
            raise ValueError(f"{name} is a finite number, got {value}")
        for mark in self.marks:
            if isinstance(mark, Range) and not mark.holds(value):
                if value > mark.most and mark.why:
                    raise ValueError(f"{name} is at most {mark.most:,}, got {shown(value)}: {mark.why}")
                raise ValueError(f"{name} is {self.words()}, got {shown(value)}")

    def read(self, name: str, value: Any) -> Any:
        """``value``, which may be text, as this kind; ``"1e-1,1e-2"`` is a tuple.

        Raises:
            ValueError: for what cannot be read so.
        """
        if self.optional and (value is None or (isinstance(value, str) and value.lower() == "none")):
            return None
        if self.plain is tuple:
            return self._read_tuple(name, value)
        if self.plain not in _NOUNS:
            return value
        try:
            return _read_one(value, self.plain)
        except (ValueError, TypeError, KeyError, OverflowError):
            raise ValueError(f"the field {name} is {_NOUNS[self.plain][0]}, got {shown(value)}") from None

    def _read_tuple(self, name: str, value: Any) -> tuple[Any, ...]:
        items: list[Any] | None = None
        if isinstance(value, str):
            bare = value.strip().removeprefix("(").removesuffix(")").removesuffix(",")
            items = [part.strip() for part in bare.split(",")] if bare.strip() else []
        elif isinstance(value, Iterable) and not isinstance(value, Mapping):
            items = list(value)
        if items is not None and (self.repeated or len(items) == len(self.elements)):
            wanted = self.elements * len(items) if self.repeated else self.elements
            try:
                return tuple(
                    _read_one(item, kind.plain) if kind.plain in _NOUNS else item
                    for item, kind in zip(items, wanted, strict=True)
                )
            except (ValueError, TypeError, KeyError, OverflowError):
                pass
        plain = self.elements[0].plain if self.elements else str
        what, count = _NOUNS.get(plain, ("", "values"))[1], "" if self.repeated else f"{len(self.elements)} "
        example = {int: "1,2", float: "1e-1,1e-2"}.get(plain, "a,b")
        raise ValueError(f"the field {name} is {count}{what}, such as {example}, got {shown(value)}")


def _meant(value: Any, options: Iterable[Any]) -> str:
    similar = difflib.get_close_matches(str(value), list(map(str, options)), n=1)
    return f"; did you mean {similar[0]!r}?" if similar else ""


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
    number = decimal_number(value) if isinstance(value, str) else float(value)
    if number is None:
        raise ValueError
    if kind is float:
        return number
    if number != int(number):
        raise ValueError
    return int(value) if not isinstance(value, str) or value.strip().lstrip("+-").isdigit() else int(number)


@dataclass(frozen=True)
class Field:
    """A field of a recipe.

    Attributes:
        name: of the attribute.
        kind: what it may hold.
        default: ``None`` where it has to be given.
        help: its line in the docstring.
    """

    name: str
    kind: Kind
    default: Any
    help: str

    @property
    def is_budget(self) -> bool:
        """Whether it is the most steps of some training."""
        return BUDGET in self.kind.marks


def fields_of(recipe: type[Any]) -> dict[str, Field]:
    """Name -> field of a recipe's class, those of all recipes last."""
    return _fields_of(cast("Hashable", recipe))


@cache
def _fields_of(recipe: Any) -> dict[str, Field]:
    hints, told = get_type_hints(recipe, include_extras=True), _help_of(recipe)
    found = [
        Field(f.name, Kind.of(hints[f.name]), None if f.default is MISSING else f.default, told.get(f.name, ""))
        for f in fields(recipe)
    ]
    common = ("preset", "backend", "dtype", "seed")
    return {f.name: f for f in sorted(found, key=lambda f: f.name in common)}


def _help_of(recipe: type[Any]) -> dict[str, str]:
    """Field -> what the docstrings of the class and of its bases say of it under Attributes."""
    found: dict[str, str] = {}
    for kind in reversed(recipe.__mro__):
        text = (kind.__dict__.get("__doc__") or "").partition("Attributes:\n")[2].partition("\n\n")[0]
        for name, line in re.findall(r"^ {4,8}(\w+): (.*(?:\n {9,}.*)*)", text, re.MULTILINE):
            plain = re.sub(r":\w+:`~?([^`]*)`", r"\1", line).replace("``", "")
            found[name] = " ".join(plain.split())
    return found
