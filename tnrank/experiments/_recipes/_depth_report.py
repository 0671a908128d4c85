"""The depth efficiency recipe's numbers: measured ranks beside closed forms and minimum cuts, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tnrank.experiments._outcome import Check, Outcome, Table
from tnrank.plots import Growth, depth_efficiency

MODELS = {
    "deep": "deep, windows of 2",
    "shared": "deep, windows of 2, shared weights",
    "windows_of_4": "deep, windows of 4, then 2",
    "left_right": "deep, windows of 2, left/right",
    "shallow": "shallow",
}


@dataclass(frozen=True)
class Point:
    """One circuit: its measured rank, the bound by its minimum cut, and its weights."""

    model: str
    order: int
    rank: int | None
    bound: int
    weights: int


def closed_form(model: str, order: int, features: int, channels: int) -> int:
    """The rank that generic weights have."""
    if model in ("deep", "shared"):
        return int(min(features, channels) ** (order // 2))
    if model == "windows_of_4":
        return int(min(features**2, channels) ** (order // 4))
    return int(min(features ** (order // 2), channels))


def shallow_weights(order: int, features: int, rank: int) -> int:
    """Of a shallow circuit with as many components as the odd/even rank: it cannot have fewer."""
    return rank * (order * features + 1)


def outcome(points: Sequence[Point], features: int, channels: int) -> Outcome:
    """Table, checks, figure and summary."""
    checks = _checks(points, features, channels)
    summary = {
        "features": features,
        "channels": channels,
        "orders": sorted({p.order for p in points}),
        "ranks": {m: {p.order: p.rank for p in points if p.model == m} for m in MODELS},
        "bounds": {m: {p.order: p.bound for p in points if p.model == m} for m in MODELS},
    }
    return Outcome(summary, [_table(points, features, channels)], checks, _figure(points, features, channels))


def _table(points: Sequence[Point], features: int, channels: int) -> Table:
    found = {(p.model, p.order): p for p in points}
    columns = ("N", "windows of 2", "shared", "windows of 4", "left/right", "shallow", "weights", "shallow to match")
    rows = []
    for order in sorted({p.order for p in points}):
        cells = [_cell(found.get((model, order))) for model in MODELS]
        deep = found.get(("deep", order))
        if deep is None:
            cells += ["", ""]
        else:
            rank = deep.bound if deep.rank is None else deep.rank
            needed = _long(shallow_weights(order, features, rank))
            cells += [_long(deep.weights), needed if deep.rank is not None else f"({needed})"]
        rows.append((str(order), *cells))
    title = f"Odd/even separation ranks of circuits with n = {features} features and k = {channels} channels"
    note = (
        "Numbers in brackets are bounds that were not measured. Weights are those of windows of 2, and of a shallow "
        "circuit with as many components as that rank, which it needs at least."
    )
    return Table(title, columns, rows, note)


def _checks(points: Sequence[Point], n: int, k: int) -> list[Check]:
    above = [p for p in points if p.rank is not None and p.rank > p.bound]
    count = sum(p.rank is not None for p in points)
    return [
        _equal("deep", points, n, k, f"deep, windows of 2: the odd/even rank is min(n, k)^(N/2) = {min(n, k)}^(N/2)"),
        _equal(
            "windows_of_4",
            points,
            n,
            k,
            f"deep, windows of 4 first: it is min(n^2, k)^(N/4) = {min(n * n, k)}^(N/4)",
        ),
        _at_most("shallow", points, k, f"shallow: it is at most k = {k}, whatever N is"),
        _at_most("left_right", points, k, f"deep, left/right instead of odd/even: at most k = {k}"),
        Check(
            "no rank, with shared weights or without, exceeds its minimum cut",
            f"{len(above)} of {count} do, {_reached('shared', points)}",
            bool(count) and not above,
        ),
        _cost(points, n),
    ]


def _ranks(model: str, points: Iterable[Point]) -> list[tuple[Point, int]]:
    return [(p, p.rank) for p in points if p.model == model and p.rank is not None]


def _equal(model: str, points: Sequence[Point], n: int, k: int, claim: str) -> Check:
    found = _ranks(model, points)
    wrong = [(p.order, rank) for p, rank in found if rank != closed_form(model, p.order, n, k)]
    if wrong:
        return Check(claim, f"{wrong[0][1]} at N = {wrong[0][0]}", False)
    return Check(claim, _listed(found), len(found) > 1)


def _at_most(model: str, points: Sequence[Point], most: int, claim: str) -> Check:
    found = _ranks(model, points)
    return Check(claim, _listed(found), bool(found) and all(rank <= most for _, rank in found))


def _reached(model: str, points: Sequence[Point]) -> str:
    found = _ranks(model, points)
    return f"shared weights reach it at {sum(p.bound == rank for p, rank in found)} of {len(found)} N"


def _cost(points: Sequence[Point], n: int) -> Check:
    claim = "a shallow circuit of the same odd/even rank takes more and more times the weights"
    found = sorted(_ranks("deep", points), key=lambda pair: pair[0].order)
    ratios = [shallow_weights(p.order, n, rank) / p.weights for p, rank in found]
    if len(ratios) < 2:
        return Check(claim, "fewer than two N measured", False)
    last, rank = found[-1]
    needed = shallow_weights(last.order, n, rank)
    measured = f"{_long(needed)} against {_long(last.weights)} at N = {last.order}"
    grows = all(a < b for a, b in pairwise(ratios[-3:]))
    return Check(claim, measured, ratios[-1] > 1 and grows)


def _figure(points: Sequence[Point], n: int, k: int) -> Any:
    # Beyond the measured orders lines would squeeze the dots.
    last = 2 * max((p.order for p, _ in _ranks("deep", points)), default=2)
    shown = [p for p in points if p.order <= last]
    labels = {
        "deep": "deep, windows of 2",
        "shared": "the same, shared weights",
        "windows_of_4": "deep, windows of 4",
        "left_right": "deep, left/right",
        "shallow": f"shallow, {k} components",
    }
    ranks = []
    for model, label in labels.items():
        line = [p for p in shown if p.model == model]
        bounds, found = [p.bound for p in line], [p.rank for p in line]
        if line:
            ring = model in ("shared", "left_right")
            ranks.append(Growth(label, [p.order for p in line], bounds, found, ring))
    deep = [p for p in shown if p.model == "deep"]
    orders = [p.order for p in deep]
    needed = [shallow_weights(p.order, n, p.bound if p.rank is None else p.rank) for p in deep]
    weights = [
        Growth("deep, windows of 2", orders, [p.weights for p in deep]),
        Growth("shallow, of the same rank", orders, needed),
    ]
    return depth_efficiency(ranks, weights)


def _cell(point: Point | None) -> str:
    if point is None:
        return ""
    return f"({_long(point.bound)})" if point.rank is None else _long(point.rank)


def _long(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{number / 10 ** (len(str(number)) - 1):.1f}e{len(str(number)) - 1}"


def _listed(found: Sequence[tuple[Point, int]]) -> str:
    if not found:
        return "nothing measured"
    last, rank = max(found, key=lambda pair: pair[0].order)
    return f"at all {len(found)} N measured, {_long(rank)} at N = {last.order}"
