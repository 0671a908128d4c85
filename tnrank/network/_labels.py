"""How labels are written and printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tnrank._check import instance, shown, whole_number
from tnrank._typing import Arrays, Label

if TYPE_CHECKING:
    from tnrank.network._network import Network


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
    if isinstance(given, (bytes, Mapping)) or not isinstance(given, Iterable):
        raise TypeError(f"{what} has labels {shown(given)}: needed a string or a sequence of labels")
    labels = tuple(given)
    for label in labels:
        try:
            hash(label)
        except TypeError:
            raise TypeError(
                f"{what} has the label {shown(label)}, which is not hashable: use a string or a tuple"
            ) from None
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


def checked_network(network: Any) -> Network:
    """``network`` if it is one.

    Raises:
        TypeError: if it is not.
    """
    from tnrank.network._network import Network

    needed = "a tnrank.Network, such as Network({'A': 'ir', 'B': 'jr'}, 'ij') or Network.from_einsum('ir,jr->ij')"
    return instance(network, "network", Network, needed)


def checked_arrays(arrays: Any, names: Iterable[str]) -> Arrays:
    """``arrays`` if they are given by name.

    Raises:
        TypeError: if they are not.
    """
    if type(arrays) is not dict and not isinstance(arrays, Mapping):
        example = ", ".join(f"{name!r}: .." for name in list(names)[:3])
        raise TypeError(f"arrays are given by tensor name, got {type(arrays).__name__}: write {{{example}}}")
    return arrays


def checked_sizes(network: Network, sizes: Any) -> dict[Label, int]:
    """The size of every index of ``network``, which may be given beside others.

    Raises:
        TypeError: if they are no mapping.
        ValueError: if one is missing, or is not a whole number from 0 on.
    """
    needed = "a mapping from indices to sizes, such as {'i': 8} or network.sizes(arrays)"
    if type(sizes) is not dict:
        instance(sizes, "sizes", Mapping, needed)
    found: dict[Label, int] = {}
    for label in network.indices:
        if label not in sizes:
            raise ValueError(
                f"no size for the index {label!r}: got {listed(sizes) or 'none'}, needed {listed(network.indices)}"
            )
        size = sizes[label]
        if type(size) is not int or size < 0:  # the check in words takes longer than a small contraction
            try:
                size = whole_number(size, "a size")
            except (TypeError, ValueError):
                raise ValueError(f"the size of index {label!r} is a number from 0 on, got {shown(size)}") from None
        found[label] = size
    return found
