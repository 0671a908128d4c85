"""Tensor (CP) rank: lower bounds of rank and border rank, a witness from above, and a certificate of both."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import plain_array
from tnrank._check import one_of, whole_number
from tnrank._explained import explained
from tnrank.factorizations import CPFactorization
from tnrank.linalg import default_rtol
from tnrank.ranks._certified._certificate import Certificate
from tnrank.ranks._certified._check import CheckedBound, relative_residual, upper_proof, witness_name
from tnrank.ranks._certified._exact import Matrix, integers_of
from tnrank.ranks._certified._rank_bounds import all_bounds
from tnrank.ranks._certified._search import search
from tnrank.ranks._certified._show import bound_lines, headline
from tnrank.ranks._certified._target import Bound, Target, check_size
from tnrank.ranks._input import read_tensor

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class TensorRank:
    """What :func:`tensor_rank` found: ``lower <= rank <= upper``. ``print`` shows a table."""

    shape: tuple[int, ...]
    field: str
    lower: int
    """The largest of all lower bounds."""
    border_lower: int
    """The largest of those that bound the border rank too."""
    border_upper: int
    """The fewest components that were seen to come close to the tensor; ``upper`` unless they diverge."""
    upper: int
    """The components of the witness."""
    witness: CPFactorization
    residual: float
    """Relative distance of the witness to the tensor; 0 for one that is exact."""
    exact: bool
    """Whether the best lower bound and the upper bound are proofs, free of rounding."""
    upper_proof: str
    """What proves the upper bound: a ``"rational"`` witness, a ``"real"`` one that exists near the float one, or ""."""
    bounds: tuple[Bound, ...]
    diverging: tuple[int, float, float] | None
    """Border-rank behavior: the components, the residual they reach and the largest, relative to the tensor."""
    certificate: Certificate = dataclasses.field(repr=False, compare=False)

    @property
    def settled(self) -> bool:
        """Whether the rank is known: the lower bound meets the witness."""
        return self.lower == self.upper

    @property
    def border_settled(self) -> bool:
        """Whether the border rank is known; numerically where :attr:`diverging` is not ``None``."""
        return self.border_lower == self.border_upper

    def __str__(self) -> str:
        border = f"{self.border_lower}" if self.border_settled else f"{self.border_lower} .. {self.border_upper}"
        below = any(b.exact and b.value == self.lower for b in self.bounds)
        checked = [
            CheckedBound(
                b.name,
                "border rank" if b.kind == "border" else "rank",
                "lower",
                b.value,
                "proven" if b.exact else "numerical",
                b.margin,
                b.reference,
            )
            for b in self.bounds
        ]
        above = "proven" if self.upper_proof else "numerical"
        name = witness_name(self.upper_proof, self.residual)
        checked.append(CheckedBound(name, "rank", "upper", self.upper, above, None, ""))
        lines = [
            headline(self.lower, self.upper, self.field, below, self.upper_proof, self.residual, border),
            f"shape {' x '.join(map(str, self.shape))}",
            "",
            *bound_lines(checked),
        ]
        if below and not self.upper_proof:
            lines += ["", "another start may lead to a witness that is a proof: tensor_rank(x, seed=1), 2, .."]
        if self.diverging is not None:
            r, residual, largest = self.diverging
            lines += [
                "",
                f"border-rank behavior: {r} components come within {residual:.0e} of the tensor while they grow to "
                f"{largest:.0f} times its norm and cancel",
            ]
        return "\n".join(lines)


@explained
def tensor_rank(x: Any, field: str = "real", max_rank: int | None = None, seed: int = 0) -> TensorRank:
    """Bound the tensor (CP) rank from below and above, with a certificate.

    Args:
        x: array of order N >= 2 of any backend, a factorization, or a NumPy array of ``Fraction`` objects.
        field: ``"real"`` or ``"complex"``: where the components may come from.
        max_rank: the most components to search a witness with; ``None`` is eight above the lower bound, and the
            generic rank. Without a witness the fibers of the tensor are one.
        seed: of primes, projections and starts.

    Returns:
        A :class:`TensorRank`. For integers and rationals with small denominators the lower bounds are proofs.

    Raises:
        TypeError: if ``x`` holds no numbers, or ``max_rank`` or ``seed`` is no whole number.
        ValueError: for masked entries, another field, a complex tensor over the reals, a ``max_rank`` below 1, or
            ``x`` of order 0 or 1, with an empty mode, an entry that is not finite or entries beyond 1e100.

    Source: Landsberg 2012, *Tensors: Geometry and Applications*; each bound names its own.

    Example:
        >>> import numpy as np, tnrank
        >>> w = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])
        >>> found = tnrank.tensor_rank(w)
        >>> found.lower, found.upper, found.border_lower, found.settled, found.exact
        (3, 3, 2, True, True)
    """
    if max_rank is not None:
        max_rank = whole_number(max_rank, "max_rank", least=1)
    seed = whole_number(seed, "seed")
    target = _read(x, one_of(field, "field", ("real", "complex")))
    bounds = all_bounds(target, seed)
    factors, diverging = search(target, bounds, max_rank, seed)
    # A witness of fewer components refutes what floats only suggest.
    bounds = tuple(b for b in bounds if b.exact or b.kind == "border" or b.value <= factors[0].shape[1])
    lower = max(bound.value for bound in bounds)
    border_lower = max(bound.value for bound in bounds if bound.kind == "border")
    exact = factors[0].dtype == object
    floats = [f.astype(np.float64) for f in factors] if exact else factors
    residual = 0.0 if exact else relative_residual(target.values, floats)
    upper = int(factors[0].shape[1])
    above = upper_proof(target, factors)
    proof = any(bound.exact and bound.value == lower for bound in bounds)
    return TensorRank(
        shape=tuple(target.values.shape),
        field=field,
        lower=lower,
        border_lower=border_lower,
        border_upper=upper if diverging is None else min(upper, diverging[0]),
        upper=upper,
        witness=CPFactorization(floats),
        residual=residual,
        exact=bool(above) and proof,
        upper_proof=above,
        bounds=bounds,
        diverging=diverging,
        certificate=Certificate.of(target, bounds, factors, residual),
    )


def _read(x: Any, field: str) -> Target:
    given = None
    if isinstance(x, np.ndarray) and x.dtype == object:
        plain, _ = plain_array(x)
        given, x = _fractions_of(plain)
    found = read_tensor(x)
    values, eps = np.asarray(found.backend.to_numpy(found.array)), default_rtol((1, 1), found.dtype)
    if found.given == "array" and (raw := np.asarray(found.backend.to_numpy(x))).dtype.kind in "iub":
        values, given = raw, integers_of(raw)  # a default float of 32 bits would round them
        eps = _EPS
    values = values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
    if np.iscomplexobj(values) and not np.any(values.imag):
        values = values.real.copy()
    if np.iscomplexobj(values) and field == "real":
        raise ValueError("got a complex tensor, whose rank over the reals is not defined: pass field='complex'")
    check_size(values)
    if given is None:
        given = integers_of(values)
    if given is not None:
        return Target(values, given[0], given[1], field, _EPS)
    return Target(values, None, 1, field, eps)


def _fractions_of(x: Matrix) -> tuple[tuple[Matrix, int] | None, Matrix]:
    """Objects as integers over a denominator, and as floats."""
    try:
        return integers_of(x), x.astype(np.float64)
    except OverflowError:
        raise ValueError(
            "the largest entry has more than 300 digits or is infinite: divide the tensor by it, its rank stays"
        ) from None
    except (TypeError, ValueError) as error:
        raise TypeError(f"got an array of objects that are no fractions ({error}): needed numbers") from None
