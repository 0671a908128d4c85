"""Nested tuples of modes, without recursion: a linear tree of order 1000 is deeper than Python's limit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from tnrank._check import shown


def to_text(nested: Any) -> str:
    """What ``repr`` gives, for nested tuples of any depth."""
    # Python's own repr, ==, pickle and json recurse, and a linear tree of order 1000 is too deep for them.
    parts: list[str] = []
    stack: list[Any] = [nested]
    while stack:
        entry = stack.pop()
        if isinstance(entry, tuple):
            between: list[Any] = [", "] * (2 * len(entry) - 1)
            between[::2] = entry
            stack.extend(reversed(["(", *between, ",)" if len(entry) == 1 else ")"]))
        else:
            parts.append(str(entry))
    return "".join(parts)


def brief(nested: Any) -> str:
    """The beginning of that text, for messages."""
    text = to_text(nested)
    return text if len(text) <= 200 else f"{text[:200]} .."


def from_text(text: str) -> Any:
    """The nested tuples that ``text`` describes.

    Raises:
        ValueError: if it is not a tree.
    """
    open_nodes: list[list[Any]] = [[]]
    for token in re.findall(r"\(|\)|[^\s,()]+", text):
        if token == "(":
            open_nodes.append([])
        elif token == ")" and len(open_nodes) > 1:
            below = open_nodes.pop()
            open_nodes[-1].append(tuple(below))
        elif token.isdecimal():
            open_nodes[-1].append(int(token))
        else:
            raise ValueError(f"unexpected {token!r} in the tree {text!r}: needed the form '((0, 1), (2, 3))'")
    if len(open_nodes) != 1 or len(open_nodes[0]) != 1:
        raise ValueError(f"unbalanced parentheses in the tree {text!r}: needed the form '((0, 1), (2, 3))'")
    return open_nodes[0][0]


def renamed(nested: Any, names: Mapping[int, int]) -> Any:
    """Nested modes with other numbers."""
    stack: list[tuple[Any, bool]] = [(nested, False)]
    done: list[Any] = []
    while stack:
        entry, ready = stack.pop()
        if isinstance(entry, int):
            done.append(names[entry])
        elif ready:
            start = len(done) - len(entry)
            done[start:] = [tuple(done[start:])]
        else:
            stack.append((entry, True))
            stack.extend((child, False) for child in reversed(entry))
    return done[0]


def frozen(nested: Any) -> Any:
    """The nested sequence with tuples for sequences, built without recursion."""
    if isinstance(nested, int) and not isinstance(nested, bool):
        raise ValueError(f"a tree needs at least a root above mode {nested}: write ({nested},)")
    stack: list[tuple[Any, int]] = [(nested, -1)]
    done: list[Any] = []
    while stack:
        entry, size = stack.pop()
        if size >= 0:
            node = tuple(done[len(done) - size :])
            del done[len(done) - size :]
            done.append(node)
        elif (mode := _mode(entry)) is not None:
            done.append(mode)
        elif isinstance(entry, Iterable) and not isinstance(entry, (str, bytes)) and not hasattr(entry, "dtype"):
            below = list(entry)
            if not below:
                raise ValueError(f"a node of the tree is empty in {nested!r}")
            stack.append((entry, len(below)))
            stack.extend((child, -1) for child in reversed(below))
        else:
            fix = f"; for text: DimensionTree.from_text({entry!r})" if isinstance(entry, str) else ""
            if isinstance(entry, str) and entry in ("balanced", "linear", "star"):
                fix = f"; for this one: DimensionTree.{entry}(order)"
            raise ValueError(f"a tree is made of nested sequences of modes, got {shown(entry)}{fix}")
    return done[0]


def _mode(entry: Any) -> int | None:
    """A whole number; arrays of several have the method that says so, too."""
    if isinstance(entry, (bool, type)) or not hasattr(entry, "__index__"):
        return None
    try:
        return int(entry.__index__())
    except (TypeError, ValueError, RuntimeError):
        return None


def modes_of(nested: Any) -> Iterator[int]:
    """Every mode, in the order in which a depth-first walk meets them."""
    stack = [nested]
    while stack:
        entry = stack.pop()
        if isinstance(entry, int):
            yield entry
        else:
            stack.extend(reversed(entry))


def modes_named(key: Any) -> tuple[int, ...] | None:
    """The modes that a key names, a number or modes in any order and grouping, ascending; ``None`` if it names none."""
    try:
        return tuple(sorted(modes_of(frozen((key.tolist() if hasattr(key, "tolist") else key,)))))
    except (ValueError, TypeError):
        return None


def split(modes: tuple[int, ...], arity: int) -> Any:
    """Modes halved (or cut in ``arity`` parts as equal as can be) again and again."""
    if len(modes) <= arity:
        return modes
    quotient, remainder = divmod(len(modes), arity)
    bounds = [0]
    for part in range(arity):
        bounds.append(bounds[-1] + quotient + (part < remainder))
    parts = (modes[a:b] for a, b in pairwise(bounds))
    return tuple(part[0] if len(part) == 1 else split(part, arity) for part in parts)
