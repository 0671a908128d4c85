"""Checks of arguments: each gives the value in its plain type, or raises one sentence with what was needed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

_SHOWN = 60
"""Characters of a wrong value that an error message repeats."""


def whole_number(value: Any, name: str, least: int = 0, most: int | None = None) -> int:
    """``value`` as an ``int`` in ``least .. most``; NumPy integers count, booleans do not.

    Raises:
        TypeError: if it is not a whole number.
        ValueError: if it is out of range.
    """
    needed = f"{name} is a whole number from {least} {'on' if most is None else f'to {most}'}"
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{needed}, got {shown(value)}")
    try:
        number = value.__index__()
    except TypeError:  # arrays of more than one element have the method, too
        raise TypeError(f"{needed}, got {shown(value)}") from None
    if number < least or (most is not None and number > most):
        raise ValueError(f"{needed}, got {shown(value)}")
    return int(number)


def real_number(
    value: Any, name: str, least: float = -math.inf, most: float = math.inf, *, above: bool = False
) -> float:
    """``value`` as a finite ``float`` in ``least .. most``; ``above`` leaves ``least`` itself out.

    Raises:
        TypeError: if it is not a real number.
        ValueError: if it is NaN, infinite or out of range.
    """
    bounds = [f"{'above' if above else 'of at least'} {least:g}"] if least > -math.inf else []
    bounds += [f"of at most {most:g}"] if most < math.inf else []
    needed = f"{name} is a finite number {' and '.join(bounds)}".rstrip()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{needed}, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not least <= number <= most or (above and number == least):
        raise ValueError(f"{needed}, got {shown(value)}")
    return number


def generator(seed: Any, *stream: int) -> np.random.Generator:
    """NumPy's generator of a seed; ``stream`` tells apart what one seed draws for different purposes.

    Raises:
        TypeError: if the seed is neither a whole number nor ``None``.
        ValueError: if it is negative.
    """
    import numpy as np

    if seed is None:
        return np.random.default_rng()
    number = whole_number(seed, "seed")
    return np.random.default_rng([number, *stream] if stream else number)


def one_of(value: Any, name: str, options: Iterable[T]) -> T:
    """``value`` if it is one of ``options``.

    Raises:
        ValueError: if it is none of them; they are listed.
    """
    listed = list(options)
    for option in listed:
        if type(option) is type(value) and option == value:
            return option
    raise ValueError(f"unknown {name} {shown(value)}: give {' or '.join(map(repr, listed))}")


def instance(value: Any, name: str, kind: type[T] | tuple[type[T], ...], needed: str) -> T:
    """``value`` if it is of the type; ``needed`` says in words, with the call that makes one, what should be given.

    Raises:
        TypeError: if it is of another type.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {needed}, got {shown(value)}")
    return value


def sequence(value: Any, name: str, needed: str) -> list[Any]:
    """The elements of ``value``; a string, a mapping or a single array is not a sequence of things.

    Raises:
        TypeError: if it is not a sequence.
    """
    if isinstance(value, (str, bytes, dict)) or hasattr(value, "dtype") or not isinstance(value, Iterable):
        raise TypeError(f"{name} is a sequence of {needed}, got {shown(value)}")
    return list(value)


def shape(value: Any, name: str = "shape", least: int = 1) -> tuple[int, ...]:
    """``value`` as a tuple of sizes, each of at least ``least``.

    Raises:
        TypeError: if it is not a sequence of whole numbers.
        ValueError: if a size is too small; the mode is named.
    """
    try:
        sizes = None if isinstance(value, (str, bytes, dict)) else list(value)
    except TypeError:  # arrays without axes and sparse ones look as if they could
        sizes = None
    if sizes is None:
        raise TypeError(f"{name} is a sequence of whole numbers such as (8, 8, 8), got {shown(value)}")
    return tuple(whole_number(size, f"mode {mode} of {name}", least) for mode, size in enumerate(sizes))


def shown(value: Any) -> str:
    """A wrong value as an error message repeats it: short, with its type where that says more."""
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"an integer of about 10^{int(value.bit_length() * 0.30103)}"  # Python may refuse to print it
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        text = repr(value)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]}.."
    if isinstance(value, type):
        return f"the class {value.__qualname__}"
    kind = type(value)
    dimensions = getattr(value, "shape", None)
    if isinstance(dimensions, tuple) and hasattr(value, "dtype"):
        return f"a {kind.__qualname__} of shape {dimensions} and dtype {value.dtype}"
    try:
        text = repr(value)
    except Exception:  # the repr of a stranger's object may do anything, and this is already an error
        text = ""
    if text and len(text) <= _SHOWN and "\n" not in text and " at 0x" not in text:
        return text if kind.__module__ == "builtins" else f"{text} ({kind.__qualname__})"
    return f"a {kind.__qualname__}"
