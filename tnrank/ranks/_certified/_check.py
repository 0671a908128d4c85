"""The claims of a certificate worked out anew: which are proven, which numerical, which do not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.ranks._certified._border_bounds import Bound, Target
from tnrank.ranks._certified._exact import Matrix, outer_sum
from tnrank.ranks._certified._existence import exists_near
from tnrank.ranks._certified._rank_bounds import recheck
from tnrank.ranks._certified._witness import SOLVED, is_witness

_BORDER = ("matricization", "koszul")


@dataclass(frozen=True)
class CheckedBound:
    """A bound of a certificate after its check."""

    name: str
    of: str
    """``"rank"`` or ``"border rank"``."""
    side: str
    """``"lower"`` or ``"upper"``."""
    value: int
    status: str
    """``"proven"``; ``"numerical"``: holds to the stated margin or residual; or ``"fails"``."""
    margin: float | None
    """Of a lower bound: see :class:`~tnrank.ranks.Bound`."""
    reference: str


@dataclass(frozen=True)
class Check:
    """What a check came to; without ``bounds`` the certificate cannot be read."""

    problems: tuple[str, ...]
    bounds: tuple[CheckedBound, ...]
    lower_proven: bool
    upper_proof: str
    """See :func:`upper_proof`."""

    @property
    def upper_proven(self) -> bool:
        """Whether the upper bound is a proof."""
        return bool(self.upper_proof)


def check(content: dict[str, Any], target: Target, read: Callable[[list[Any], tuple[int, ...]], Matrix]) -> Check:
    """Check every claim; ``read`` makes an array of a list and a shape."""
    problems, checked = list[str](), list[CheckedBound]()
    bounds = [Bound(**bound) for bound in content["bounds"]]
    for bound in bounds:
        found = _bound_problems(target, bound)
        problems += found
        proof = target.integers is not None and bound.data["method"] != "numerical pencil"
        status = "fails" if found else "proven" if proof else "numerical"
        of = "border rank" if bound.kind == "border" else "rank"
        checked.append(CheckedBound(bound.name, of, "lower", bound.value, status, bound.margin, bound.reference))
    for name, kinds in (("lower", ("border", "rank")), ("border_lower", ("border",))):
        best = max((bound.value for bound in bounds if bound.kind in kinds), default=0)
        if content[name] != best:
            problems.append(f"{name} is {content[name]}, the bounds give {best}")
    witness, upper = content["witness"], content["upper"]
    factors = [read(f, (d, upper)) for f, d in zip(witness["factors"], target.values.shape, strict=True)]
    found = _witness_problems(target, factors, witness["residual"])
    problems += found
    proof_above = "" if found else upper_proof(target, factors)
    status = "fails" if found else "proven" if proof_above else "numerical"
    name = witness_name(proof_above, witness["residual"])
    checked.append(CheckedBound(name, "rank", "upper", upper, status, None, ""))
    lower_proven = any(b.status == "proven" and b.value == content["lower"] for b in checked[:-1])
    return Check(tuple(problems), tuple(checked), lower_proven, proof_above)


def upper_proof(target: Target, factors: list[Matrix]) -> str:
    """What proves the upper bound of a witness: ``"rational"``, ``"real"`` (one near it exists), or nothing."""
    if target.integers is None:
        return ""
    if factors[0].dtype == object or not factors[0].shape[1]:
        return "rational" if is_witness(target.integers, target.scale, factors) else ""
    return "real" if exists_near(target.integers, factors) else ""


def witness_name(proof: str, residual: float) -> str:
    """The witness in words."""
    if proof == "rational":
        return "rational witness"
    return f"witness, residual {residual:.1e}" + (", proven to have an exact one near it" if proof else "")


def relative_residual(values: Matrix, factors: list[Matrix]) -> float:
    """The distance of the sum of components to the tensor, relative to the tensor's norm."""
    norm = float(np.linalg.norm(values))
    return float(np.linalg.norm(values - outer_sum(factors))) / norm if norm else float(np.linalg.norm(factors[0]))


def _bound_problems(target: Target, bound: Bound) -> list[str]:
    found, kind = list[str](), "border" if bound.data["method"] in _BORDER else "rank"
    if bound.kind != kind:
        found.append(f"{bound.name} bounds the {kind}, not the {bound.kind}")
    if bound.exact and (target.integers is None or bound.data["method"] == "numerical pencil"):
        found.append(f"{bound.name} says that it is exact and is worked out in floats")
    value = recheck(target, bound, seed=int(np.random.default_rng().integers(2**31)))
    if value < bound.value:
        found.append(f"{bound.name} gives {value}, not {bound.value}")
    return found


def _witness_problems(target: Target, factors: list[Matrix], stated: float) -> list[str]:
    if factors[0].dtype == object:
        if target.integers is None or not is_witness(target.integers, target.scale, factors):
            return ["the rational witness is not the tensor"]
        return []
    if target.field == "real" and any(np.iscomplexobj(factor) for factor in factors):
        return ["the witness is complex, the rank that of the reals"]
    residual = relative_residual(target.values, factors)
    allowed = 10 * max(SOLVED, 10 * target.eps)
    if not residual <= min(2 * stated + 1e-14, allowed):
        return [f"the witness has residual {residual:.1e}, not {stated:.1e} or at most {allowed:.1e}"]
    return []
