"""The claims of a certificate worked out anew: which are proven, which numerical, which do not hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tnrank.ranks._certified._claims import Claims
from tnrank.ranks._certified._exact import Matrix, outer_sum
from tnrank.ranks._certified._existence import exists_near
from tnrank.ranks._certified._rank_bounds import recheck
from tnrank.ranks._certified._target import Bound, Target
from tnrank.ranks._certified._witness import SOLVED, is_witness

_MARGIN, _MARGIN_FLOOR = 1e-6, 1e-9
_ROUNDING = 1e-14


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


def check(claims: Claims) -> Check:
    """Check every claim."""
    problems, checked = list[str](), list[CheckedBound]()
    target, bounds = claims.target, claims.bounds
    for bound in bounds:
        found, proof = _bound_problems(target, bound, claims.named)
        problems += found
        status = "fails" if found else "proven" if proof else "numerical"
        of = "border rank" if bound.kind == "border" else "rank"
        checked.append(CheckedBound(bound.name, of, "lower", bound.value, status, bound.margin, bound.reference))
    for name, kinds in (("lower", ("border", "rank")), ("border_lower", ("border",))):
        best, stated = max((bound.value for bound in bounds if bound.kind in kinds), default=0), getattr(claims, name)
        if stated != best:
            problems.append(f"{name} is {stated}, the bounds give {best}")
    if claims.lower > claims.upper:
        problems.append(f"lower is {claims.lower}, more than the {claims.upper} components of the witness")
    found = _witness_problems(target, claims.factors, claims.residual)
    problems += found
    proof_above = "" if found else upper_proof(target, claims.factors)
    status = "fails" if found else "proven" if proof_above else "numerical"
    name = witness_name(proof_above, claims.residual)
    checked.append(CheckedBound(name, "rank", "upper", claims.upper, status, None, ""))
    if not claims.intact:
        problems.append("the certificate was changed after it was written: its checksum is another")
    lower_proven = any(b.status == "proven" and b.value == claims.lower for b in checked[:-1])
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


def _bound_problems(target: Target, bound: Bound, named: bool) -> tuple[list[str], bool]:
    """What a bound says that is not so, and whether it is a proof."""
    try:
        anew = recheck(target, bound.data, seed=int(np.random.default_rng().integers(2**31)))
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, np.linalg.LinAlgError) as error:
        return [f"{bound.name} cannot be worked out from its data: {error}"], False
    found = list[str]()
    if bound.kind != anew.kind:
        found.append(f"{bound.name} bounds the {anew.kind}, not the {bound.kind}")
    if bound.exact and not anew.exact:
        found.append(f"{bound.name} says that it is exact and is worked out in floats")
    if anew.value != bound.value:
        found.append(f"{bound.name} gives {anew.value}, not {bound.value}")
    if not _same_margin(bound.margin, anew.margin, 100.0 if bound.data["method"] == "numerical algebra" else 1.0):
        found.append(f"{bound.name} has the margin {anew.margin}, not {bound.margin}")
    if named and (bound.name, bound.reference) != (anew.name, anew.reference):
        found.append(f"{bound.name} ({bound.reference}) is {anew.name} ({anew.reference})")
    return found, anew.exact


def _same_margin(stated: float | None, found: float | None, factor: float) -> bool:
    """Whether two margins differ by rounding; by a factor more where they measure rounding itself."""
    if stated is None or found is None:
        return stated is found
    slack = _MARGIN * found + _MARGIN_FLOOR
    return found / factor - slack <= stated <= found * factor + slack


def _witness_problems(target: Target, factors: list[Matrix], stated: float) -> list[str]:
    if factors[0].dtype == object:
        if target.integers is None or not is_witness(target.integers, target.scale, factors):
            return ["the rational witness is not the tensor"]
        return [f"the rational witness states the residual {stated:.1e}, not 0"] if stated else []
    if target.field == "real" and any(np.iscomplexobj(factor) for factor in factors):
        return ["the witness is complex, the rank that of the reals"]
    residual = relative_residual(target.values, factors)
    allowed = 10 * max(SOLVED, 10 * target.eps)
    if not residual <= min(2 * stated + _ROUNDING, allowed) or stated > 10 * residual + _ROUNDING:
        return [f"the witness has residual {residual:.1e}, not {stated:.1e} or at most {allowed:.1e}"]
    return []
