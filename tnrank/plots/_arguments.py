"""What the figures of recipes are given: sequences of panels and lines, whose attributes are numbers and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from tnrank._check import instance, sequence, shown, whole_number

T = TypeVar("T")

_SCALARS: dict[str, tuple[Any, str]] = {"str": (str, "text"), "bool": ((bool, np.bool_), "true or false")}


def things(value: Any, kind: type[T], name: str, least: int = 1) -> list[T]:
    """The elements of ``value``, each a ``kind`` whose attributes fit their types.

    Raises:
        TypeError: if one is something else.
        ValueError: if there are fewer than ``least``, or an attribute has words where numbers belong.
    """
    found = sequence(value, name, f"tnrank.plots.{kind.__name__}")
    if len(found) < least:
        raise ValueError(f"got no {name}, needed at least one")
    return [thing(one, kind, f"each of the {name}") for one in found]


def thing(value: Any, kind: type[T], name: str) -> T:
    """``value``, checked as in :func:`things`."""
    one = instance(value, name, kind, f"a tnrank.plots.{kind.__name__}")
    for field in fields(kind):  # type: ignore[arg-type]
        _check(getattr(one, field.name), str(field.type), f"{field.name} of the {kind.__name__}")
    return one


def _check(value: Any, wanted: str, name: str) -> None:
    """An attribute, by the words of its annotation."""
    if wanted.endswith(" | None"):
        if value is None:
            return
        wanted = wanted.removesuffix(" | None")
    if wanted in _SCALARS:
        instance(value, name, *_SCALARS[wanted])
    elif wanted == "int":
        whole_number(value, name, -(2**63))
    elif wanted in ("float", "Any", "tuple[Any, Any]", "tuple[float, float]"):
        given = numbers(value, name)
        if wanted == "float" and given.ndim:
            raise TypeError(f"{name} is a number, got {shown(value)}")
    elif wanted.startswith("Mapping"):
        for key, one in instance(value, name, Mapping, "a mapping of names to numbers").items():
            numbers(one, f"{key} in {name}")
    elif wanted.startswith("Sequence"):
        for one in sequence(value, name, wanted.removeprefix("Sequence[").removesuffix("]")):
            _check(one, wanted.removeprefix("Sequence[").removesuffix("]"), f"each of {name}")


def numbers(value: Any, name: str) -> np.ndarray[Any, Any]:
    """``value`` as an array of real numbers.

    Raises:
        TypeError: if it is something else.
        ValueError: if its rows differ in length.
    """
    try:
        found = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} has rows of different lengths, needed an array of numbers") from None
    except (TypeError, RuntimeError):  # tensors of other frameworks that are not on the host, or sparse
        raise TypeError(f"{name} is an array of real numbers on the host, got {shown(value)}") from None
    if found.dtype == object and all(one is None or isinstance(one, (int, float)) for one in found.ravel()):
        return found  # some are missing
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} is an array of real numbers, got {shown(value)}")
    return found


def lists(value: Any, name: str) -> Sequence[Any]:
    """``value`` as a list of lists."""
    return [sequence(row, f"each of the {name}", "things") for row in sequence(value, name, "lists")]
