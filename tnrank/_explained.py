"""Errors from deep inside, explained by the argument that caused them: types are compared with the annotations."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import fields
from numbers import Number, Real
from operator import index
from typing import Any, NamedTuple, ParamSpec, TypeVar

from tnrank._check import shown

P = ParamSpec("P")
R = TypeVar("R")

_LOOKED_AT = 1000
"""The most elements of a sequence whose types are looked at."""


class Kind(NamedTuple):
    """One alternative of an annotation: whether a value is of this kind, and what the kind is called."""

    holds: Callable[[Any], bool]
    words: str


def explained(fn: Callable[P, R]) -> Callable[P, R]:
    """``fn`` whose raw errors, raised where a wrong argument is used, name the argument if its type is wrong.

    Errors that the library raises on purpose say more, and pass. A call that succeeds costs nothing. Annotations are
    read as text; names that only type checkers import are compared with the names of a value's classes. On
    ``__post_init__`` the fields of the dataclass are compared.

    Raises:
        TypeError: when called with an argument of another type than annotated; the parameter is named.
    """
    code, space = fn.__code__, fn.__globals__

    def explain(error: Exception, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        if _on_purpose(error):
            return
        if code.co_name == "__post_init__":
            _compare_fields(args[0], error)
        else:
            given = dict(zip(code.co_varnames[: code.co_argcount], args, strict=False)) | named
            _compare(given, fn.__annotations__, space, error)

    def wrapper(*args: Any, **named: Any) -> Any:
        try:
            return fn(*args, **named)
        except Exception as error:
            explain(error, args, named)
            raise

    # A function of the module of ``fn``: doctest looks at its globals to tell where it belongs.
    made = types.FunctionType(wrapper.__code__, space, code.co_name, None, wrapper.__closure__)
    for attribute in ("__module__", "__qualname__", "__doc__", "__annotations__"):
        setattr(made, attribute, getattr(fn, attribute))
    made.__dict__["__wrapped__"] = fn
    return typing.cast("Callable[P, R]", made)


def _on_purpose(error: Exception) -> bool:
    """Whether the error comes from a ``raise`` of the library: its words are then a sentence for the user."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_globals.get("__name__", "").startswith("tnrank"):
        return False
    line = linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return line.strip().startswith("raise")


def _compare_fields(value: Any, error: Exception) -> None:
    for kind in type(value).__mro__:
        own = [field.name for field in fields(value) if field.name in vars(kind).get("__annotations__", {})]
        given = {name: getattr(value, name) for name in own}
        _compare(given, kind.__annotations__ if own else {}, vars(sys.modules[kind.__module__]), error)


def _compare(given: Mapping[str, Any], annotations: Mapping[str, Any], space: Any, error: Exception) -> None:
    kinds = _kinds_of(annotations, space)
    for name, value in given.items():
        needed = [kind.words for kind in kinds.get(name, ())]
        if needed and not any(kind.holds(value) for kind in kinds[name]):
            listed = needed[0] if len(needed) == 1 else f"{', '.join(needed[:-1])} or {needed[-1]}"
            raise TypeError(f"{name} is {listed}, got {shown(value)}") from error


def _kinds_of(annotations: Mapping[str, Any], space: Mapping[str, Any]) -> dict[str, tuple[Kind, ...]]:
    """The alternatives of every parameter; none for what takes anything."""
    found = {}
    for name, annotation in annotations.items():
        if name != "return" and isinstance(annotation, str):
            alternatives = _alternatives(ast.parse(annotation, mode="eval").body, space)
            if alternatives and None not in alternatives:
                found[name] = tuple(kind for kind in alternatives if kind is not None)
    return found


def _alternatives(node: ast.expr, space: Mapping[str, Any]) -> list[Kind | None]:
    """The alternatives that an annotation lists, ``None`` for one that takes anything."""
    if isinstance(node, ast.BinOp):
        return [*_alternatives(node.left, space), *_alternatives(node.right, space)]
    if isinstance(node, ast.Constant):
        if node.value is None:
            return [_BY_NAME["None"]]
        return _alternatives(ast.parse(str(node.value), mode="eval").body, space)
    inside: list[ast.expr] = []
    if isinstance(node, ast.Subscript):
        inside = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        node = node.value
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    if name == "Annotated":
        return _alternatives(inside[0], space)
    if name == "Literal":
        return [_one_of([ast.literal_eval(option) for option in inside])]
    if name in _SEQUENCES:
        return [_sequence_of(_alternatives(inside[0], space) if inside else [None], name)]
    if name == "Shape":
        return [_sequence_of([_BY_NAME["int"]])]
    if name in _BY_NAME:
        return [_BY_NAME[name]]
    return _by_meaning(name, space.get(name), space)


def _by_meaning(name: str, meaning: Any, space: Mapping[str, Any]) -> list[Kind | None]:
    """What a name stands for: a class, an alias of another annotation, or a class that is known by name only."""
    if isinstance(meaning, str):
        return _alternatives(ast.parse(meaning, mode="eval").body, space)
    origin = typing.get_origin(meaning)
    if origin is typing.Annotated:
        return _by_meaning("", typing.get_args(meaning)[0], space)
    if origin is typing.Literal:
        return [_one_of(list(typing.get_args(meaning)))]
    if origin in (types.UnionType, typing.Union):
        return [kind for part in typing.get_args(meaning) for kind in _by_meaning("", part, space)]
    kind = origin or meaning
    if kind is type(None):
        return [_BY_NAME["None"]]
    if isinstance(kind, type):
        if kind.__name__ in _SEQUENCES:
            return [_sequence_of([None], kind.__name__)]
        if kind.__name__ in _BY_NAME:
            return [_BY_NAME[kind.__name__]]
        return [Kind(lambda value: isinstance(value, kind), f"a {kind.__name__}")]
    if meaning is None and name[:1].isupper() and name not in _ANYTHING:
        return [Kind(lambda value: any(base.__name__ == name for base in type(value).__mro__), f"a {name}")]
    return [None]


def _one_of(options: list[Any]) -> Kind:
    def holds(value: Any) -> bool:
        return any(type(option) is type(value) and option == value for option in options)

    return Kind(holds, " or ".join(map(repr, options)))


def _sequence_of(inside: list[Kind | None], name: str = "Sequence") -> Kind:
    kinds = [kind for kind in inside if kind is not None]

    def holds(value: Any) -> bool:
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            return False
        if name != "Iterable" and not (isinstance(value, Sized) and hasattr(value, "__getitem__")):
            return False
        if name in ("tuple", "list") and not isinstance(value, (tuple, list, range)):
            return False
        if not isinstance(value, Sized):
            return True  # an iterator is used up by a look into it
        try:
            if len(value) > _LOOKED_AT or len(kinds) < len(inside):
                return True
            return all(any(kind.holds(element) for kind in kinds) for element in value)
        except TypeError:  # arrays without axes have a length only in name
            return False

    return Kind(holds, "a sequence" + (f" of {_PLURALS.get(kinds[0].words, 'those')}" if len(kinds) == 1 else ""))


def _is_whole(value: Any) -> bool:
    if type(value) is int:
        return True
    if _is_true_or_false(value):
        return False
    try:
        index(value)
    except Exception:  # frameworks raise errors of their own for arrays of several elements
        return False
    return True


def _is_real(value: Any) -> bool:
    return not _is_true_or_false(value) and (isinstance(value, Real) or _is_number_array(value))


def _is_number_array(value: Any) -> bool:
    """Arrays without axes count as numbers; a traced one has no value yet."""
    return _is_array(value) and value.shape == () and "bool" not in str(value.dtype)


def _is_true_or_false(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")


def _is_array(value: Any) -> bool:
    """Arrays of any framework, of numbers: not of objects, text or times."""
    if isinstance(value, type) or not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return False
    return getattr(value.dtype, "kind", "f") not in "OSUVMm"


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


_SEQUENCES = ("Sequence", "Iterable", "list", "tuple")
_MAPPING = Kind(lambda value: isinstance(value, Mapping), "a mapping")
_FUNCTION = Kind(callable, "a function")
_PATH = Kind(lambda value: isinstance(value, os.PathLike), "a path")
_BY_NAME: dict[str, Kind | None] = {
    "None": Kind(lambda value: value is None, "None"),
    "bool": Kind(_is_true_or_false, "True or False"),
    "int": Kind(_is_whole, "a whole number"),
    "float": Kind(_is_real, "a number"),
    "complex": Kind(lambda value: isinstance(value, Number) or _is_number_array(value), "a number"),
    "str": Kind(lambda value: isinstance(value, str), "a string"),
    "bytes": Kind(lambda value: isinstance(value, bytes), "bytes"),
    "Path": _PATH,
    "PathLike": _PATH,
    "Mapping": _MAPPING,
    "dict": _MAPPING,
    "Sizes": _MAPPING,
    "Arrays": _MAPPING,
    "Callable": _FUNCTION,
    "Function": _FUNCTION,
    "Progress": _FUNCTION,
    "Array": Kind(_is_array, "an array of numbers (NumPy, JAX or PyTorch)"),
    "Label": Kind(_is_hashable, "a label (hashable)"),
    "Hashable": Kind(_is_hashable, "hashable"),
    "Any": None,
    "object": None,
    "Self": None,
    "type": None,
}
_ANYTHING = ("P", "R", "T", "Labels", "PerNode")
_PLURALS = {
    "a whole number": "whole numbers",
    "a number": "numbers",
    "a string": "strings",
    "an array of numbers (NumPy, JAX or PyTorch)": "arrays",
    "a sequence": "sequences",
}
