"""Lower bounds of the rank that are none of the border rank, and the recheck of every bound."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np

from tnrank.ranks._certified._algebra import algebra_bound
from tnrank.ranks._certified._border_bounds import (
    Bound,
    Target,
    groupings,
    koszul_bound,
    koszul_rank,
    matricization_bounds,
    matricization_rank,
    show,
)
from tnrank.ranks._certified._border_bounds import grouped as grouped
from tnrank.ranks._certified._exact import Matrix, concise
from tnrank.ranks._certified._pencil import pencil_rank
from tnrank.ranks._certified._substitution import search_substitution, substitution_rank

_PENCIL_SIDE = 8
_ALGEBRA_DIMENSION = 9


def all_bounds(target: Target, seed: int) -> tuple[Bound, ...]:
    """Every lower bound that applies, those of the border rank first."""
    flat, ranks = matricization_bounds(target, seed)
    koszul = koszul_bound(target, ranks, flat.value, seed)
    found = [flat] if koszul is None else [flat, koszul]
    if flat.value > 1 and target.values.ndim > 2:
        found += _exact_bounds(target) if target.integers is not None else _numerical_pencil(target)
    return tuple(found)


def recheck(target: Target, bound: Bound, seed: int) -> int:
    """The value of a bound worked out anew from its ``data``; other primes for another seed."""
    tensor, data = target.integers, bound.data
    match data["method"]:
        case "matricization":
            return matricization_rank(target, data, seed)
        case "koszul":
            return koszul_rank(target, data, seed)
        case "numerical pencil":
            return max((b.value for b in _numerical_pencil(target)), default=0)
        case "pencil" if tensor is not None:
            return _pencil_of(tensor, data, target.field)
        case "algebra" if tensor is not None:
            return _algebra_of(tensor, data, target.field) or 0
        case "substitution" if tensor is not None:
            return substitution_rank(concise(tensor), data)
    raise ValueError(f"got a bound by {data['method']!r} of this tensor, needed one that this version can recheck")


def _exact_bounds(target: Target) -> list[Bound]:
    assert target.integers is not None
    tensor, found = target.integers, list[Bound]()
    best: dict[str, Bound] = {}
    for blocks in groupings(tensor.ndim):
        three = concise(grouped(tensor, blocks))
        turns = list(permutations(range(3)))
        for turn in turns:
            data: dict[str, Any] = {"blocks": [list(b) for b in blocks], "turn": list(turn)}
            shape = tuple(three.shape[k] for k in turn)
            turned = three.transpose(turn)
            if shape[2] == 2 and turn[0] < turn[1] and max(shape[:2]) <= _PENCIL_SIDE:
                value = pencil_rank(turned, target.field)
                name, source = f"pencil {show(blocks)}", "Ja'Ja' 1979"
                _keep(best, name, value, source, data | {"method": "pencil"})
            if len(set(shape)) == 1 and turn[0] < turn[1] and shape[0] <= _ALGEBRA_DIMENSION:
                ideal = algebra_bound(turned, target.field)
                if ideal is not None:
                    name, source = f"algebra {show(blocks)}", "Alder & Strassen 1981"
                    _keep(best, name, ideal, source, data | {"method": "algebra"})
    found += [best[method] for method in ("pencil", "algebra") if method in best]
    value, data = search_substitution(concise(tensor))
    if data and data["removed"]:
        count = len(data["removed"])
        name = f"substitution, {count} slice{'s' * (count > 1)} removed"
        found.append(Bound(name, value, "rank", None, "Alexeev, Forbes & Tsimerman 2011", True, data))
    return found


def _keep(best: dict[str, Bound], name: str, value: int, reference: str, data: dict[str, Any]) -> None:
    method = data["method"]
    if method not in best or best[method].value < value:
        best[method] = Bound(name, value, "rank", None, reference, True, data)


def _turned(tensor: Matrix, data: dict[str, Any]) -> Matrix:
    return concise(grouped(tensor, tuple(tuple(b) for b in data["blocks"]))).transpose(data["turn"])


def _pencil_of(tensor: Matrix, data: dict[str, Any], field: str) -> int:
    return pencil_rank(_turned(tensor, data), field)


def _algebra_of(tensor: Matrix, data: dict[str, Any], field: str) -> int | None:
    return algebra_bound(_turned(tensor, data), field)


def _numerical_pencil(target: Target) -> list[Bound]:
    """Of real n x n x 2 floats: n + 1 if the pencil has eigenvalues that are clearly not real."""
    values = target.values
    if target.field != "real" or sorted(values.shape)[0] != 2 or values.ndim != 3:
        return []
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
            return [Bound("pencil with non-real eigenvalues", n + 1, "rank", tilt, "Ja'Ja' 1979", False, data)]
    return []
