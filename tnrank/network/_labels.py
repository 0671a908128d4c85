"""How labels are written and printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tnrank._typing import Label


def as_labels(given: str | Sequence[Label], what: str) -> tuple[Label, ...]:
    """A string as one label per letter, any other sequence as it is, both as a tuple.

    Raises:
        ValueError: if a string holds digits, spaces or commas: such labels need the tuple form.
        TypeError: if a label is not hashable.
    """
    if isinstance(given, str):
        odd = sorted({c for c in given if c.isdigit() or c.isspace() or c == ","})
        if odd:
            parts = [p for p in given.replace(",", " ").split() if p]
            raise ValueError(
                f"{what} has labels {given!r}: a string is one label per letter, and {odd[0]!r} is not a "
                f"letter; write a tuple, such as {tuple(parts)!r}"
            )
        return tuple(given)
    try:
        labels = tuple(given)
    except TypeError:
        raise TypeError(f"{what} has labels {given!r}: needed a string or a sequence of labels") from None
    for label in labels:
        try:
            hash(label)
        except TypeError:
            raise TypeError(f"{what} has the label {label!r}, which is not hashable: use a string or a tuple") from None
    return labels


def show(label: Label) -> str:
    """A label as it is printed: short strings bare, anything else by ``str``."""
    return str(label)


def pattern(labels: Iterable[Label]) -> str:
    """Labels as one index pattern: letters run together, longer ones in brackets."""
    names = [show(label) for label in labels]
    return "".join(names) if all(len(n) == 1 for n in names) else "[" + " ".join(names) + "]"


def listed(items: Iterable[Any], most: int = 8) -> str:
    """At most ``most`` items for an error message."""
    texts = [show(item) for item in items]
    more = f", .. ({len(texts)} in all)" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
