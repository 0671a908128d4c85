"""Certificates of tensor ranks: everything that is claimed, with what is needed to check it again."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._files import write_atomically
from tnrank.ranks._certified._border_bounds import Bound, Target
from tnrank.ranks._certified._exact import Matrix, outer_sum
from tnrank.ranks._certified._rank_bounds import recheck
from tnrank.ranks._certified._witness import SOLVED, is_witness

_FORMAT, _VERSION = "tnrank tensor rank certificate", 1
_BORDER = ("matricization", "koszul")


@dataclass(frozen=True)
class Certificate:
    """The tensor, the lower bounds and the witness behind a :class:`~tnrank.TensorRank`, ready for JSON.

    Example:
        >>> import numpy as np, tnrank
        >>> w = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])
        >>> certificate = tnrank.tensor_rank(w).certificate
        >>> certificate.verify(), certificate.content["lower"], certificate.content["upper"]
        (True, 3, 3)
    """

    content: dict[str, Any]
    """Numbers, strings, lists and dictionaries."""

    @classmethod
    def of(cls, target: Target, bounds: tuple[Bound, ...], factors: list[Matrix], residual: float) -> Certificate:
        """Write down a tensor, its lower bounds and a witness; factors of type ``Fraction`` are exact."""
        tensor: dict[str, Any] = {"shape": list(target.values.shape), "field": target.field, "eps": target.eps}
        if target.integers is not None:
            tensor |= {"integers": target.integers.ravel().tolist(), "denominator": target.scale}
        else:
            tensor |= {"values": _to_json(target.values)}
        return cls(
            {
                "format": _FORMAT,
                "version": _VERSION,
                "tensor": tensor,
                "lower": max(bound.value for bound in bounds),
                "border_lower": max(bound.value for bound in bounds if bound.kind == "border"),
                "upper": int(factors[0].shape[1]),
                "bounds": [asdict(bound) for bound in bounds],
                "witness": {"factors": [_to_json(factor) for factor in factors], "residual": residual},
            }
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the certificate as JSON."""
        write_atomically(path, json.dumps(self.content).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Certificate:
        """Read a saved certificate.

        Raises:
            ValueError: if the file is none, or one of a newer version.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} is not JSON ({error}): needed a saved certificate") from None
        if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (_FORMAT, _VERSION):
            raise ValueError(
                f"{os.fspath(path)} is not a {_FORMAT} of version {_VERSION}: save one by certificate.save"
            )
        return cls(content)

    def verify(self) -> bool:
        """Whether every claim holds, worked out anew: :meth:`problems` finds none.

        Of integer and rational tensors matrix ranks are taken modulo other primes, and sums of fractions compared
        without rounding. Of other tensors singular values and the residual are computed again.
        """
        return not self.problems()

    def problems(self) -> tuple[str, ...]:
        """What does not hold, in words."""
        try:
            return tuple(_problems(self.content))
        except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError, ValueError) as error:
            return (f"the certificate is damaged: {type(error).__name__}: {error}",)


def _problems(content: dict[str, Any]) -> list[str]:
    found, target = list[str](), _target(content["tensor"])
    bounds = [Bound(**bound) for bound in content["bounds"]]
    for bound in bounds:
        kind = "border" if bound.data["method"] in _BORDER else "rank"
        if bound.kind != kind:
            found.append(f"{bound.name} bounds the {kind}, not the {bound.kind}")
        if bound.exact and (target.integers is None or bound.data["method"] == "numerical pencil"):
            found.append(f"{bound.name} says that it is exact and is worked out in floats")
        value = recheck(target, bound, seed=int(np.random.default_rng().integers(2**31)))
        if value < bound.value:
            found.append(f"{bound.name} gives {value}, not {bound.value}")
    for name, kinds in (("lower", ("border", "rank")), ("border_lower", ("border",))):
        best = max((bound.value for bound in bounds if bound.kind in kinds), default=0)
        if content[name] != best:
            found.append(f"{name} is {content[name]}, the bounds give {best}")
    return found + _witness_problems(content, target)


def _witness_problems(content: dict[str, Any], target: Target) -> list[str]:
    shape, upper, witness = target.values.shape, content["upper"], content["witness"]
    factors = [_from_json(f, (d, upper)) for f, d in zip(witness["factors"], shape, strict=True)]
    if factors[0].dtype == object:
        if target.integers is None or not is_witness(target.integers, target.scale, factors):
            return ["the rational witness is not the tensor"]
        return []
    if target.field == "real" and any(np.iscomplexobj(factor) for factor in factors):
        return ["the witness is complex, the rank that of the reals"]
    residual = relative_residual(target.values, factors)
    allowed = 10 * max(SOLVED, 10 * target.eps)
    if not residual <= min(2 * witness["residual"] + 1e-14, allowed):
        return [f"the witness has residual {residual:.1e}, not {witness['residual']:.1e} or at most {allowed:.1e}"]
    return []


def relative_residual(values: Matrix, factors: list[Matrix]) -> float:
    """The distance of the sum of components to the tensor, relative to the tensor's norm."""
    norm = float(np.linalg.norm(values))
    return float(np.linalg.norm(values - outer_sum(factors))) / norm if norm else float(np.linalg.norm(factors[0]))


def _target(tensor: dict[str, Any]) -> Target:
    shape = tuple(tensor["shape"])
    integers, scale = None, 1
    if "integers" in tensor:
        integers, scale = np.empty(len(tensor["integers"]), dtype=object), int(tensor["denominator"])
        integers[:] = [int(entry) for entry in tensor["integers"]]
        integers = integers.reshape(shape)
        values = np.array([float(Fraction(k, scale)) for k in tensor["integers"]]).reshape(shape)
    else:
        values = _from_json(tensor["values"], shape)
    if scale < 1 or tensor["field"] not in ("real", "complex") or not 2.0**-53 < tensor["eps"] < 0.1:
        raise ValueError("denominator, field or eps is none")
    return Target(values, integers, scale, tensor["field"], tensor["eps"])


def _to_json(array: Matrix) -> list[Any]:
    if array.dtype == object:
        return [str(entry) for entry in array.ravel()]
    if np.iscomplexobj(array):
        return [[float(entry.real), float(entry.imag)] for entry in array.ravel()]
    return [float(entry) for entry in array.ravel()]


def _from_json(entries: list[Any], shape: tuple[int, ...]) -> Matrix:
    if entries and isinstance(entries[0], str):
        made = np.empty(len(entries), dtype=object)
        made[:] = [Fraction(entry) for entry in entries]
        return made.reshape(shape)
    if entries and isinstance(entries[0], list):
        return np.array([complex(*entry) for entry in entries]).reshape(shape)
    return np.array(entries, dtype=np.float64).reshape(shape)
