"""Alternating least squares for CP, on the host: Hadamard products of Gram matrices and MTTKRPs, no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

HostArray = np.ndarray[Any, Any]

_EXPLICIT = 1e-6
"""Relative errors below this are computed from the residual itself: the Gram formula ends at sqrt(eps)."""
_LINE_SEARCH = 3  # sweeps from one extrapolation to the next


def compose(factors: Sequence[HostArray]) -> HostArray:
    """The end tensor of factors ``(d_n, R)``: one matrix product of two halves of the modes."""
    shape = tuple(f.shape[0] for f in factors)
    cut = _cut(shape)
    rows = khatri_rao(factors[:cut]) @ khatri_rao(factors[cut:]).T if cut else factors[0].sum(axis=1)
    return rows.reshape(shape)


def khatri_rao(factors: Sequence[HostArray]) -> HostArray:
    """Column-wise Kronecker products, shape ``(prod d_n, R)``."""
    rows = factors[0]
    for factor in factors[1:]:
        rows = (rows[:, None] * factor).reshape(-1, rows.shape[1])
    return rows


def mttkrps(tensor: HostArray, factors: list[HostArray], visit: Callable[[int, HostArray], None]) -> None:
    """Call ``visit(n, T_(n) conj(Khatri-Rao product of the other factors))`` for the modes in turn.

    Products that modes share are formed once, and a factor that ``visit`` replaces in the list counts from the next
    mode on: a whole sweep of ALS costs two products with the tensor.

    Source: Phan, Tichavsky & Cichocki 2013, *Fast alternating LS algorithms for high order CANDECOMP/PARAFAC*.
    """
    cut = _cut(tensor.shape)
    left, right = list(range(cut)), list(range(cut, tensor.ndim))
    rows = tensor.reshape(prod(tensor.shape[:cut]), -1)
    _visit_part(rows @ khatri_rao([factors[k] for k in right]).conj(), left, factors, visit)
    _visit_part(rows.T @ khatri_rao([factors[k] for k in left]).conj(), right, factors, visit)


def _visit_part(
    part: HostArray, modes: list[int], factors: list[HostArray], visit: Callable[[int, HostArray], None]
) -> None:
    if len(modes) == 1:
        visit(modes[0], part)
        return
    cut = len(modes) // 2
    left, right = modes[:cut], modes[cut:]
    rank = part.shape[1]
    part = part.reshape(prod(factors[k].shape[0] for k in left), -1, rank)
    after = khatri_rao([factors[k] for k in right]).conj()
    _visit_part(np.einsum("abr,br->ar", part, after), left, factors, visit)
    before = khatri_rao([factors[k] for k in left]).conj()
    _visit_part(np.einsum("abr,ar->br", part, before), right, factors, visit)


def als(tensor: HostArray, factors: list[HostArray], steps: int, tol: float) -> tuple[list[HostArray], float]:
    """Sweeps of regularized alternating least squares with extrapolation; the error never grows.

    Args:
        tensor: ``(d_1, .., d_N)`` of norm 1.
        factors: ``(d_n, R)``, where to begin.
        steps: the most sweeps.
        tol: ends when a sweep lowers the error by less than this share of it.

    Returns:
        Balanced factors and their relative error.

    Source: Navasca, De Lathauwer & Kindermann 2008 (the proximal term); Bro 1998, Sec. 4.3 (the extrapolation).
    """
    factors = balanced(factors)
    grams = [f.conj().T @ f for f in factors]
    weight, error = 1e-3, np.inf
    shown = np.zeros((), tensor.dtype)

    def update(mode: int, product: HostArray) -> None:
        nonlocal shown
        gram = prod((g for k, g in enumerate(grams) if k != mode), start=np.ones_like(grams[0]))
        # The proximal term keeps the system regular and the error falling, whatever its weight.
        shift = max(weight * float(np.trace(gram).real) / len(gram), 1e-300)
        system = gram + shift * np.eye(len(gram))
        factors[mode] = np.linalg.solve(system, (product + shift * factors[mode]).T).T
        grams[mode] = factors[mode].conj().T @ factors[mode]
        shown = product

    for step in range(steps):
        before = list(factors)
        mttkrps(tensor, factors, update)
        last, error = error, _error(tensor, factors, grams, shown)
        if step >= 4 and step % _LINE_SEARCH == 0:
            stride = step ** (1 / tensor.ndim)
            trial = [a + stride * (b - a) for a, b in zip(before, factors, strict=True)]
            reached = relative_error(tensor, trial)
            if reached < error:
                factors, error = trial, reached
        factors = balanced(factors)
        grams = [f.conj().T @ f for f in factors]
        weight = max(0.5 * weight, 1e-12)
        if error < 1e-14 or (last - error <= tol * error and step >= 4):
            break
    return factors, relative_error(tensor, factors)


def relative_error(tensor: HostArray, factors: Sequence[HostArray]) -> float:
    """The distance to a tensor of norm 1."""
    return float(np.linalg.norm(tensor - compose(factors)))


def balanced(factors: Sequence[HostArray]) -> list[HostArray]:
    """The same tensor, the vectors of each component scaled to equal norms."""
    lengths = np.stack([np.linalg.norm(f, axis=0) for f in factors])
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.exp(np.mean(np.log(lengths), axis=0)) / lengths
    scales[:, ~np.all(lengths > 0, axis=0)] = 0.0
    return [f * s for f, s in zip(factors, scales, strict=True)]


def component_norms(factors: Sequence[HostArray]) -> HostArray:
    """Norms of the components, shape ``(R,)``."""
    return np.asarray(prod(np.linalg.norm(f, axis=0) for f in factors))


def _error(tensor: HostArray, factors: list[HostArray], grams: list[HostArray], product: HostArray) -> float:
    """The error after the update of the last mode, from its MTTKRP."""
    overlap = float(np.vdot(factors[-1], product).real)
    size = float(np.sum(prod(grams[1:], start=grams[0])).real)
    squared = 1 - 2 * overlap + size
    return float(np.sqrt(squared)) if squared > _EXPLICIT**2 else relative_error(tensor, factors)


def _cut(shape: Sequence[int]) -> int:
    """Where to split the modes into two runs of about equal size."""
    sizes = [max(prod(shape[:k]), prod(shape[k:])) for k in range(1, len(shape))]
    return 1 + int(np.argmin(sizes)) if sizes else 0
