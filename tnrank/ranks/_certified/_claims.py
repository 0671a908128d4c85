"""What a certificate says, read strictly: every number in its place, of its kind and in its range."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from tnrank._check import instance, one_of, real_number, sequence, shown, whole_number
from tnrank._check import shape as read_shape
from tnrank.linalg import eps_of
from tnrank.ranks._certified._exact import Matrix
from tnrank.ranks._certified._target import Bound, Target, check_size

FORMAT, VERSION = "tnrank tensor rank certificate", 2
_FIRST = 1
"""Certificates of this version have no checksum, and their bounds name modes of size 1."""
_FLOATS = ("float64", "float32", "float16", "bfloat16")
_LARGEST_P = 16
_HUGE = 10**400
_FRACTION = re.compile(r"-?[0-9]+(/[0-9]+)?")


@dataclass(frozen=True)
class Claims:
    """A certificate that can be checked; whether it holds is another matter."""

    version: int
    target: Target
    lower: int
    border_lower: int
    upper: int
    bounds: tuple[Bound, ...]
    factors: list[Matrix]
    residual: float
    intact: bool
    """Whether the checksum is that of the rest."""

    @property
    def named(self) -> bool:
        """Whether names of bounds follow from their data alone."""
        return self.version > _FIRST


def checksum(content: dict[str, Any]) -> str:
    """SHA-256 of everything in a certificate that is read, so not of what its bounds say of their own exactness."""
    read = {key: value for key, value in content.items() if key != "checksum"}
    read["bounds"] = [{key: value for key, value in bound.items() if key != "exact"} for bound in content["bounds"]]
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()


def read_claims(content: Any) -> Claims:
    """The claims of the content of a certificate.

    Raises:
        ValueError: if something is missing, of another kind or out of range; in words.
    """
    try:
        return _claims(instance(content, "a certificate", dict, "a mapping"))
    except KeyError as error:
        raise ValueError(f"{error} is missing") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _claims(content: dict[str, Any]) -> Claims:
    one_of(content["format"], "format", [FORMAT])
    version = whole_number(content["version"], "version", _FIRST, VERSION)
    target = _target(instance(content["tensor"], "tensor", dict, "a mapping"))
    shape = target.values.shape
    bounds = sequence(content["bounds"], "bounds", "mappings")
    witness, upper = instance(content["witness"], "witness", dict, "a mapping"), content["upper"]
    upper = whole_number(upper, "upper", 0)
    given = sequence(witness["factors"], "factors", "lists")
    if len(given) != len(shape):
        raise ValueError(f"the witness has {len(given)} factors, needed one for each of the {len(shape)} modes")
    sides = [(d, upper) for d in shape]
    factors = [_array(f, side, f"factor {k}") for k, (f, side) in enumerate(zip(given, sides, strict=True))]
    if len({factor.dtype == object for factor in factors if factor.size}) > 1:
        raise ValueError("some factors of the witness are fractions and others floats, needed one kind")
    return Claims(
        version=version,
        target=target,
        lower=whole_number(content["lower"], "lower"),
        border_lower=whole_number(content["border_lower"], "border_lower"),
        upper=upper,
        bounds=tuple(_bound(instance(bound, "a bound", dict, "a mapping"), target) for bound in bounds),
        factors=factors,
        residual=real_number(witness["residual"], "the residual of the witness", 0.0),
        intact=content["checksum"] == checksum(content) if version > _FIRST else "checksum" not in content,
    )


def _target(tensor: dict[str, Any]) -> Target:
    shape = read_shape(tensor["shape"])
    field = one_of(tensor["field"], "field", ("real", "complex"))
    if len(shape) < 2:
        raise ValueError(f"the tensor has shape {shape}, needed order 2 or more")
    eps = real_number(tensor["eps"], "eps")
    if eps not in (known := [eps_of(dtype) for dtype in _FLOATS]):
        raise ValueError(f"eps is that of no floating-point dtype ({', '.join(map(str, known))}), got {eps!r}")
    integers, scale = None, 1
    if "integers" in tensor:
        scale = whole_number(tensor["denominator"], "denominator", 1)
        given = _entries(tensor["integers"], shape, "integers")
        entries = [whole_number(entry, "an integer entry", -_HUGE, _HUGE) for entry in given]
        if eps != known[0] or math.gcd(scale, *entries) != 1:
            raise ValueError("a tensor of fractions has them in lowest terms and eps of float64")
        integers = np.empty(len(entries), dtype=object)
        integers[:] = entries
        integers = integers.reshape(shape)
        values = np.array([float(Fraction(k, scale)) for k in entries]).reshape(shape)
    else:
        values = _array(tensor["values"], shape, "values")
        if values.dtype == object or not _has_bits(values, eps):
            raise ValueError(f"values are no floats with eps = {eps!r}")
        if field == "real" and np.iscomplexobj(values):
            raise ValueError("the tensor is complex and the field real")
    check_size(values)
    return Target(values, integers, scale, field, eps)


def _has_bits(values: Matrix, eps: float) -> bool:
    """Whether a dtype with this eps has these numbers: a wider one would have another."""
    parts = np.stack([values.real, values.imag]) if np.iscomplexobj(values) else values
    mantissas = np.frexp(parts)[0] * (2 / eps)
    return bool(np.all(mantissas == np.rint(mantissas)))


def _entries(value: Any, shape: tuple[int, ...], name: str) -> list[Any]:
    found = sequence(value, name, "entries")
    if len(found) != math.prod(shape):
        raise ValueError(f"{name} has {len(found)} entries, needed {' x '.join(map(str, shape))} = {math.prod(shape)}")
    return found


def _array(value: Any, shape: tuple[int, ...], name: str) -> Matrix:
    """Fractions of strings, floats, or complex numbers of pairs."""
    entries = _entries(value, shape, name)
    if entries and isinstance(entries[0], str):
        for entry in entries:
            if not (isinstance(entry, str) and _FRACTION.fullmatch(entry)):
                raise ValueError(f"{name} holds fractions such as '-1/2', got {shown(entry)}")
        made = np.empty(len(entries), dtype=object)
        made[:] = [Fraction(entry) if int(entry.partition("/")[2] or 1) else Fraction(0) for entry in entries]
        return made.reshape(shape)
    if entries and isinstance(entries[0], list):
        pairs = [[real_number(part, f"a part of {name}") for part in sequence(e, name, "pairs")] for e in entries]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"{name} holds pairs of a real and an imaginary part")
        return np.array([complex(*pair) for pair in pairs]).reshape(shape)
    return np.array([real_number(entry, f"an entry of {name}") for entry in entries], dtype=np.float64).reshape(shape)


def _bound(bound: dict[str, Any], target: Target) -> Bound:
    margin = bound["margin"]
    return Bound(
        name=instance(bound["name"], "the name of a bound", str, "a string"),
        value=whole_number(bound["value"], "the value of a bound"),
        kind=one_of(bound["kind"], "kind", ("border", "rank")),
        margin=None if margin is None else real_number(margin, "the margin of a bound", 0.0),
        reference=instance(bound["reference"], "the reference of a bound", str, "a string"),
        exact=instance(bound["exact"], "exact", bool, "true or false"),
        data=_data(instance(bound["data"], "the data of a bound", dict, "a mapping"), target),
    )


def _data(data: dict[str, Any], target: Target) -> dict[str, Any]:
    """What a bound is worked out from. NumPy would read negative numbers as counted from the end."""
    shape = target.values.shape
    method = instance(data["method"], "method", str, "a string")
    read: dict[str, Any] = {"method": method}
    if "rows" in data:
        read["rows"] = list(_modes(data["rows"], shape, "rows"))
        if not 0 < len(read["rows"]) < len(shape):
            raise ValueError("rows has all of the modes or none")
    if "blocks" in data:
        blocks = [_modes(block, shape, "a block") for block in sequence(data["blocks"], "blocks", "lists of modes")]
        named = [mode for block in blocks for mode in block]
        if len(blocks) != 3 or len(set(named)) < len(named) or math.prod(shape[k] for k in named) < math.prod(shape):
            raise ValueError("blocks are three, with each mode in one of them")
        read["blocks"] = [list(block) for block in blocks]
    if "turn" in data:
        read["turn"] = [whole_number(k, "an entry of turn", 0, 2) for k in sequence(data["turn"], "turn", "modes")]
        if sorted(read["turn"]) != [0, 1, 2]:
            raise ValueError("turn is an order of 0, 1 and 2")
    if method == "koszul":
        read["p"] = whole_number(data["p"], "p", 1, _LARGEST_P)
        projection = data["projection"]
        read["projection"] = None if projection is None else _whole_rows(projection, "projection", 2**31)
    if method == "substitution":
        read["bases"] = [_whole_rows(basis, "a basis", _HUGE) for basis in sequence(data["bases"], "bases", "bases")]
        read["removed"] = [
            [whole_number(mode, "the mode of a slice", 0, len(shape) - 1), whole_number(index, "the index of a slice")]
            for mode, index in _whole_rows(data["removed"], "removed", 2**31)
        ]
    return read


def _modes(value: Any, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    found = [whole_number(mode, f"a mode of {name}", 0, len(shape) - 1) for mode in sequence(value, name, "modes")]
    if len(set(found)) < len(found):
        raise ValueError(f"{name} names a mode twice")
    return tuple(found)


def _whole_rows(value: Any, name: str, largest: int) -> list[list[int]]:
    rows = [sequence(row, f"a row of {name}", "whole numbers") for row in sequence(value, name, "rows")]
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"the rows of {name} have different lengths")
    return [[whole_number(entry, f"an entry of {name}", -largest, largest) for entry in row] for row in rows]
