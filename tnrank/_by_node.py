"""A mapping from the nodes of a dimension tree, which also understands the modes of a node."""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping
from typing import Any, Self, TypeVar

from tnrank._backend import Structure
from tnrank._check import shown
from tnrank._nested import modes_named
from tnrank.dimension_tree import Node

T = TypeVar("T")
_LISTED = 8
"""Numbers of an array that a printed entry repeats."""


class ByNode(dict[Node, T], Structure):
    """A dictionary keyed by :class:`Node` that is also read by the modes of a node; a pytree on JAX and PyTorch.

    ``found[key]``, ``key in found``, ``found.get(key)``, ``found.pop(key)`` and assignments understand the same keys:
    a Node, the modes below one in any order and grouping, or a single mode. A Node of another height means the
    entry of its modes, because a unary node has the matricization of the node below it.

    Example:
        >>> from tnrank.dimension_tree import Node
        >>> from tnrank.ranks import ByNode
        >>> found = ByNode({Node((0,), 0): 2, Node((0, 1), 1): 3})
        >>> found[1, 0], found[0], found[Node((0,), 1)], (0, 1) in found, found.get(5)
        (3, 2, 2, True, None)
        >>> found
        ByNode({0}: 2, {0,1}: 3)
        >>> found == {0: 2, (0, 1): 3}
        True
    """

    __slots__ = ()

    def __init__(self, entries: Any = ()) -> None:
        super().__init__(entries)
        for key in self:
            if type(key) is not Node:
                raise TypeError(
                    f"the keys of a {type(self).__name__} are Nodes, got {shown(key)}: use tree.node(modes)"
                )

    def node(self, key: Any) -> Node:
        """The node that ``key`` names.

        Raises:
            KeyError: if there is none, or if a unary node makes the modes ambiguous.
        """
        # A tuple ((0, 1), 2) is equal to Node((0, 1), 2) and means the modes 0, 1 and 2.
        if type(key) is Node and super().__contains__(key):
            return key
        modes = key.modes if type(key) is Node else modes_named(key)
        found = [node for node in self if node.modes == modes]
        if len(found) == 1:
            return found[0]
        if not found:
            listed = ", ".join(map(str, self)) or "none"
            raise KeyError(f"no node of the modes {modes if modes else key!r}; the nodes: {listed}")
        raise KeyError(
            f"the modes {modes} name {len(found)} nodes (unary nodes): give one of {', '.join(map(repr, found))}"
        )

    def __getitem__(self, key: Any) -> T:
        return super().__getitem__(self.node(key))

    def __contains__(self, key: Any) -> bool:
        try:
            self.node(key)
        except KeyError:
            return False
        return True

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: Any, value: T) -> None:
        # A Node is itself, so that unary nodes can be entered; modes are those of a node that is there.
        super().__setitem__(key if type(key) is Node else self.node(key), value)

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(self.node(key))

    def pop(self, key: Any, *default: Any) -> Any:
        return super().pop(self.node(key)) if key in self or not default else default[0]

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **named: Any) -> None:
        for key, value in dict(*others, **named).items():
            self[key] = value

    def keys(self) -> Any:
        return KeysView(self)  # that of dict looks keys up past the methods above

    def copy(self) -> Self:
        return type(self)(self)

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, Mapping):
            return NotImplemented
        made = self.copy()
        made.update(other)
        return made

    def __ror__(self, other: Any) -> Any:
        return type(self)({**other, **self}) if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # dict declares two forms of it
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping) or len(other) != len(self):
            return False
        try:
            theirs = {self.node(key): value for key, value in other.items()}
        except KeyError:
            return False
        return len(theirs) == len(self) and all(_equal(self[node], value) for node, value in theirs.items())

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # as that of dict

    def __reduce__(self) -> Any:
        return type(self), (dict(self),)

    def _flatten(self) -> tuple[tuple[Any, ...], Any]:
        return tuple(self.values()), tuple(self)

    @classmethod
    def _unflatten(cls, static: Any, arrays: Iterable[Any]) -> ByNode[Any]:
        return cls(zip(static, arrays, strict=True))

    def __repr__(self) -> str:
        repeated = [node.modes for node in self]
        parts = [
            f"{node}{f' (height {node.height})' if repeated.count(node.modes) > 1 else ''}: {_shown(value)}"
            for node, value in self.items()
        ]
        if any(len(part) > 30 for part in parts):
            return "\n".join([f"{type(self).__name__} of {len(self)} nodes", *(f"  {part}" for part in parts)])
        return f"{type(self).__name__}({', '.join(parts)})"


def by_node(entries: Mapping[Any, T]) -> dict[Any, T]:
    """``entries`` as a :class:`ByNode` if its keys are Nodes, else as a dictionary."""
    return ByNode(entries) if entries and all(type(key) is Node for key in entries) else dict(entries)


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if getattr(a, "shape", ()) != getattr(b, "shape", ()):
        return False
    same = a == b
    return bool(same.all()) if hasattr(same, "all") else bool(same)


def _shown(value: Any) -> str:
    """A number as Python prints it, a short vector in full, a large array by its shape."""
    shape = getattr(value, "shape", None)
    if shape is None:
        return repr(value)
    try:
        if len(shape) == 0:
            return repr(value.tolist())
        if len(shape) == 1 and shape[0] <= _LISTED:
            return f"[{', '.join(f'{entry:.6g}' for entry in value.tolist())}]"
    except Exception:  # a framework traces the call: there are no values yet
        pass
    dtype = str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
    return f"{' x '.join(map(str, shape))} {dtype}".lstrip()
