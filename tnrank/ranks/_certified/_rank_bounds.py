"""Lower bounds of the rank that are none of the border rank, and the recheck of every bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._backend import host_svd
from tnrank.factorizations._cp_fit._long_modes import long_modes
from tnrank.ranks._certified._algebra import algebra_bound
from tnrank.ranks._certified._border_bounds import (
    koszul_bound,
    koszul_search,
    matricization_bound,
    matricization_bounds,
)
from tnrank.ranks._certified._exact import Matrix, concise
from tnrank.ranks._certified._numerical_algebra import numerical_algebra_bound
from tnrank.ranks._certified._pencil import pencil_rank
from tnrank.ranks._certified._substitution import search_substitution, substitution_rank
from tnrank.ranks._certified._target import Blocks, Bound, Target, grouped, groupings, show

_PENCIL_SIDE = 8
_ALGEBRA_DIMENSION = 9
_TURNS = ((0, 1, 2), (0, 2, 1), (1, 2, 0))


def all_bounds(target: Target, seed: int) -> tuple[Bound, ...]:
    """Every lower bound that applies, those of the border rank first."""
    flat, ranks = matricization_bounds(target, seed)
    koszul = koszul_search(target, ranks, flat.value, seed)
    found = [flat] if koszul is None else [flat, koszul]
    if flat.value > 1 and len(long_modes(target.values.shape)) > 2:
        found += _exact_bounds(target) if target.integers is not None else _numerical_bounds(target, ranks, found)
    return tuple(found)


def recheck(target: Target, data: dict[str, Any], seed: int) -> Bound:
    """A bound worked out anew from its ``data``; other primes for another seed.

    Raises:
        ValueError: if there is no such bound of this tensor.
    """
    found: Bound | None = None
    match data["method"]:
        case "matricization":
            found = matricization_bound(target, data, seed)
        case "koszul":
            found = koszul_bound(target, data, seed)
        case "numerical pencil":
            found = _numerical_pencil(target)
        case "numerical algebra":
            found = _numerical_algebra(target, data)
        case "pencil" if target.integers is not None:
            found = _pencil(_turned(target.integers, data), data, target.field)
        case "algebra" if target.integers is not None:
            found = _algebra(_turned(target.integers, data), data, target.field)
        case "substitution" if target.integers is not None:
            found = _substitution(target.integers, data)
    if found is None:
        raise ValueError(f"got a bound by {data['method']!r} of this tensor, needed one that this version can recheck")
    return found


def _exact_bounds(target: Target) -> list[Bound]:
    assert target.integers is not None
    tensor = target.integers
    best: dict[str, Bound] = {}
    for blocks in groupings(long_modes(tensor.shape)):
        three = concise(grouped(tensor, blocks))
        for turn in _TURNS:
            data: dict[str, Any] = {"blocks": [list(b) for b in blocks], "turn": list(turn)}
            turned, found = three.transpose(turn), list[Bound | None]()
            if turned.shape[2] == 2 and max(turned.shape[:2]) <= _PENCIL_SIDE:
                found.append(_pencil(turned, data | {"method": "pencil"}, target.field))
            if len(set(turned.shape)) == 1 and len(turned) <= _ALGEBRA_DIMENSION:
                found.append(_algebra(turned, data | {"method": "algebra"}, target.field))
            for bound in found:
                if bound is not None:
                    method = bound.data["method"]
                    best[method] = max(best.get(method, bound), bound, key=lambda b: b.value)  # the first of equals
    bounds = [best[method] for method in ("pencil", "algebra") if method in best]
    _, data = search_substitution(concise(tensor))
    if data and data["removed"]:
        bounds.append(_substitution(tensor, data))
    return bounds


def _numerical_bounds(target: Target, ranks: dict[tuple[int, ...], int], known: list[Bound]) -> list[Bound]:
    pencil = _numerical_pencil(target)
    best = max(bound.value for bound in known)
    found: Bound | None = None
    for blocks in groupings(long_modes(target.values.shape)):
        sides = {ranks[block] for block in blocks}
        if len(sides) > 1 or not 2 <= max(sides) <= _ALGEBRA_DIMENSION:
            continue
        for turn in _TURNS:
            data = {"method": "numerical algebra", "blocks": [list(b) for b in blocks], "turn": list(turn)}
            bound = _numerical_algebra(target, data)
            if bound is not None and bound.value > best:
                best, found = bound.value, bound
    return [bound for bound in (pencil, found) if bound is not None]


def _blocks_of(data: dict[str, Any]) -> Blocks:
    return tuple(tuple(block) for block in data["blocks"])


def _turned(tensor: Matrix, data: dict[str, Any]) -> Matrix:
    return concise(grouped(tensor, _blocks_of(data))).transpose(data["turn"])


def _pencil(turned: Matrix, data: dict[str, Any], field: str) -> Bound | None:
    if turned.shape[2] != 2:
        return None
    name, value = f"pencil {show(_blocks_of(data))}", pencil_rank(turned, field)
    return Bound(name, value, "rank", None, "Ja'Ja' 1979", True, data)


def _algebra(turned: Matrix, data: dict[str, Any], field: str) -> Bound | None:
    value = algebra_bound(turned, field) if len(set(turned.shape)) == 1 else None
    return None if value is None else _algebra_bound(value, len(turned), None, True, data)


def _algebra_bound(value: int, dimension: int, margin: float | None, exact: bool, data: dict[str, Any]) -> Bound:
    # Every algebra with a unit has a maximal ideal.
    reference = "Alder & Strassen 1981" if value < 2 * dimension else "de Groote 1983"
    return Bound(f"algebra {show(_blocks_of(data))}", value, "rank", margin, reference, exact, data)


def _substitution(tensor: Matrix, data: dict[str, Any]) -> Bound:
    value, count = substitution_rank(concise(tensor), data), len(data["removed"])
    name = f"substitution, {count} slice{'s' * (count > 1)} removed"
    return Bound(name, value, "rank", None, "Alexeev, Forbes & Tsimerman 2011", True, data)


def _numerical_algebra(target: Target, data: dict[str, Any]) -> Bound | None:
    """To rounding, with what the product is off from associative as its margin."""
    three = grouped(target.values, _blocks_of(data)).transpose(data["turn"])
    for mode, d in enumerate(three.shape):
        rows = np.moveaxis(three, mode, 0).reshape(d, -1)
        u, s, _ = host_svd(rows)
        kept = int(np.sum(s > 10 * max(rows.shape) * target.eps * s[0]))
        if kept < d:
            three = np.moveaxis(np.tensordot(u[:, :kept].conj().T, three, axes=(1, mode)), 0, mode)
    if len(set(three.shape)) > 1 or not 2 <= len(three) <= _ALGEBRA_DIMENSION:
        return None
    found = numerical_algebra_bound(three, target.field, target.eps)
    return None if found is None else _algebra_bound(found[0], len(three), found[1], False, data)


def _numerical_pencil(target: Target) -> Bound | None:
    """Of real n x n x 2 floats: n + 1 if the pencil has eigenvalues that are clearly not real."""
    values = target.values
    modes = long_modes(values.shape)
    values = values.reshape([values.shape[k] for k in modes])
    if target.field != "real" or sorted(values.shape)[0] != 2 or values.ndim != 3:
        return None
    for mode in range(3):
        a = np.moveaxis(values, mode, 2)
        n = a.shape[0]
        if a.shape != (n, n, 2) or n > 64:
            continue
        lead = a[..., 0] + 0.6180339887 * a[..., 1]
        if np.linalg.cond(lead) > 1e6:
            continue
        roots = np.linalg.eigvals(np.linalg.solve(lead, a[..., 1]))
        # Rounding turns an equal pair of real eigenvalues into a complex one with parts of the size sqrt(eps).
        largest = float(np.max(np.abs(roots)))
        tilt = float(np.max(np.abs(roots.imag))) / largest if largest else 0.0
        if tilt > 1e3 * np.sqrt(target.eps):
            data = {"method": "numerical pencil"}
            return Bound("pencil with non-real eigenvalues", n + 1, "rank", tilt, "Ja'Ja' 1979", False, data)
    return None
