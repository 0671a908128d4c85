"""Certificates of tensor ranks: everything that is claimed, with what is needed to check it again."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import instance
from tnrank._explained import explained
from tnrank._files import write_atomically
from tnrank.ranks._certified._check import Check, CheckedBound, check
from tnrank.ranks._certified._claims import FORMAT, VERSION, checksum, read_claims
from tnrank.ranks._certified._exact import Matrix
from tnrank.ranks._certified._show import bound_lines, headline
from tnrank.ranks._certified._target import Bound, Target


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

    @explained
    def __post_init__(self) -> None:
        needed = "what a saved certificate holds, as a dictionary: Certificate.load(path) reads one"
        instance(self.content, "content", dict, needed)

    @classmethod
    def of(cls, target: Target, bounds: tuple[Bound, ...], factors: list[Matrix], residual: float) -> Certificate:
        """Write down a tensor, its lower bounds and a witness; factors of type ``Fraction`` are exact."""
        tensor: dict[str, Any] = {"shape": list(target.values.shape), "field": target.field, "eps": target.eps}
        if target.integers is not None:
            tensor |= {"integers": target.integers.ravel().tolist(), "denominator": target.scale}
        else:
            tensor |= {"values": _to_json(target.values)}
        content: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "tensor": tensor,
            "lower": max(bound.value for bound in bounds),
            "border_lower": max(bound.value for bound in bounds if bound.kind == "border"),
            "upper": int(factors[0].shape[1]),
            "bounds": [asdict(bound) for bound in bounds],
            "witness": {"factors": [_to_json(factor) for factor in factors], "residual": residual},
        }
        return cls(content | {"checksum": checksum(content)})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the certificate as JSON."""
        write_atomically(path, json.dumps(self.content).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Certificate:
        """Read a saved certificate.

        Raises:
            OSError: if there is no such file.
            ValueError: if it is no certificate, one of a newer version, or damaged: something is missing, of another
                kind or out of range. Whether what it says is so, :meth:`verify` tells.
        """
        name, file = os.fsdecode(path), Path(os.fsdecode(path))
        if file.exists() and not file.is_file():
            raise ValueError(f"{name} is no file: needed a saved certificate")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            raise ValueError(f"{name} is not JSON ({reason}): needed a saved certificate") from None
        versions = " or ".join(map(str, range(1, VERSION + 1)))
        found = (content.get("format"), content.get("version")) if isinstance(content, dict) else ()
        if found not in [(FORMAT, version) for version in range(1, VERSION + 1)]:
            raise ValueError(f"{name} is not a {FORMAT} of version {versions}: save one by certificate.save")
        try:
            read_claims(content)
        except ValueError as error:
            raise ValueError(f"{name} is a damaged certificate: {error}") from None
        return cls(content)

    def verify(self) -> bool:
        """Whether every claim holds as it is stated, worked out anew: :meth:`problems` finds none.

        ``True`` does not say that every claim is a proof: those that are hold exactly, the numerical ones to their
        stated margin or residual. :attr:`exact` and :meth:`checked` say which are which. Of integer and rational
        tensors matrix ranks are taken modulo other primes, and sums of fractions compared without rounding. Of other
        tensors singular values and the residual are computed again. Values, margins, names and the residual have to
        be what is found, ``eps`` that of a dtype which has the tensor's entries, and the checksum that of the rest.
        """
        return self._intact() and not self.problems()

    @property
    def exact(self) -> bool:
        """Whether both bounds of the rank are proofs, free of rounding; worked out anew, not read from the file."""
        if not self._intact():
            return False
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

    def _intact(self) -> bool:
        """Whether there is anything to work out: what was changed does not hold."""
        try:
            return read_claims(self.content).intact
        except ValueError:
            return False

    def _check(self) -> Check:
        try:
            claims = read_claims(self.content)
        except ValueError as error:
            return Check((f"the certificate is damaged: {error}",), (), False, "")
        with np.errstate(all="ignore"):  # numbers that are not so may overflow, and then do not hold
            return check(claims)


def _to_json(array: Matrix) -> list[Any]:
    if array.dtype == object:
        return [str(entry) for entry in array.ravel()]
    if np.iscomplexobj(array):
        return [[float(entry.real), float(entry.imag)] for entry in array.ravel()]
    return [float(entry) for entry in array.ravel()]
