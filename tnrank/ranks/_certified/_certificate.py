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
from tnrank.ranks._certified._check import Check, CheckedBound, check
from tnrank.ranks._certified._exact import Matrix
from tnrank.ranks._certified._show import bound_lines, headline

_FORMAT, _VERSION = "tnrank tensor rank certificate", 1


@dataclass(frozen=True, repr=False)
class Certificate:
    """The tensor, the lower bounds and the witness behind a :class:`~tnrank.TensorRank`, ready for JSON.

    ``print`` works every claim out anew and shows which bounds are proofs and which are numerical.

    Example:
        >>> import numpy as np, tnrank
        >>> w = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])
        >>> certificate = tnrank.tensor_rank(w).certificate
        >>> certificate.verify(), certificate.content["lower"], certificate.content["upper"]
        (True, 3, 3)
        >>> certificate.exact, [bound.status for bound in certificate.checked()]
        (True, ['proven', 'proven', 'proven', 'proven', 'proven'])
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
        """Whether every claim holds as it is stated, worked out anew: :meth:`problems` finds none.

        ``True`` does not say that every claim is a proof: those that are hold exactly, the numerical ones to their
        stated margin or residual. :attr:`exact` and :meth:`checked` say which are which. Of integer and rational
        tensors matrix ranks are taken modulo other primes, and sums of fractions compared without rounding. Of other
        tensors singular values and the residual are computed again.
        """
        return not self.problems()

    @property
    def exact(self) -> bool:
        """Whether both bounds of the rank are proofs, free of rounding; worked out anew, not read from the file."""
        found = self._check()
        return not found.problems and found.lower_proven and found.upper_proven

    def checked(self) -> tuple[CheckedBound, ...]:
        """Each bound with its ``status``, worked out anew: ``"proven"``, ``"numerical"`` or ``"fails"``.

        The lower bounds come first, the witness last. Of a damaged certificate there are none.
        """
        return self._check().bounds

    def problems(self) -> tuple[str, ...]:
        """What does not hold, in words."""
        return self._check().problems

    def __str__(self) -> str:
        found = self._check()
        if not found.bounds:
            return "\n".join(["certificate of a tensor rank that does not hold", *found.problems])
        content = self.content
        lower, upper, residual = content["lower"], content["upper"], content["witness"]["residual"]
        lines = [
            "certificate: "
            + headline(lower, upper, content["tensor"]["field"], found.lower_proven, found.upper_proof, residual),
            f"shape {' x '.join(map(str, content['tensor']['shape']))}, every claim worked out anew",
            "",
            *bound_lines(found.bounds),
        ]
        if found.problems:
            lines[:1] = ["certificate of a tensor rank that does not hold", *found.problems]
        return "\n".join(lines)

    def __repr__(self) -> str:
        get = self.content.get
        return f"Certificate({get('lower')} <= rank <= {get('upper')}; print it to check its claims)"

    def _check(self) -> Check:
        try:
            return check(self.content, _target(self.content["tensor"]), _from_json)
        except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError, ValueError) as error:
            return Check((f"the certificate is damaged: {type(error).__name__}: {error}",), (), False, "")


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
