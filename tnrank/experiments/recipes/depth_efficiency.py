"""Depth efficiency: the dependence between interleaved patches grows exponentially with depth, not with width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import log10
from typing import Annotated, Any, ClassVar

import numpy as np

from tnrank._check import generator
from tnrank.circuits import Circuit, min_cut, partitions
from tnrank.experiments.fields import Count, Range
from tnrank.experiments.kit import Check, Journal, Outcome, Recipe, Table, register, rises
from tnrank.plots.painters import Figure, Line, legend, lines, panels
from tnrank.ranks import separation_rank

MODELS = {
    "deep": "deep, windows of 2",
    "shared": "deep, windows of 2, shared weights",
    "windows_of_4": "deep, windows of 4, then 2",
    "left_right": "deep, windows of 2, left/right",
    "shallow": "shallow",
}


@register
@dataclass(frozen=True, kw_only=True)
class DepthEfficiency(Recipe):
    """Separation ranks of deep and shallow circuits with random weights, exactly from their factorizations.

    Nothing is trained. Ranks are measured by NumPy in float64, whatever backend and dtype are asked for.

    Attributes:
        features: n, representation functions.
        channels: k, channels of every level, and components of the shallow circuit.
        largest_order: the most patches; from where ranks exceed ``largest_rank``, powers of two only.
        largest_rank: odd/even ranks of deep circuits are measured up to this, then only bounded.

    Source: Cohen, Sharir & Shashua 2016, Thm. 1; Cohen & Shashua 2017 (partitions); Levine et al. 2018 (cuts).
    """

    name: ClassVar[str] = "depth-efficiency"
    title: ClassVar[str] = (
        "the odd/even separation rank grows exponentially with N in deep circuits, not in shallow ones"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "paper": {"features": 4, "channels": 3, "largest_order": 64, "largest_rank": 2500},
    }
    draws: ClassVar[bool] = True

    features: Count = 3
    channels: Count = 2
    largest_order: Annotated[int, Range(2, 1000, "each patch is one more tensor in the network")] = 32
    largest_rank: Count = 600

    def check(self) -> None:
        # Whatever was asked for: ranks in the hundreds are lost in the rounding of float32.
        object.__setattr__(self, "backend", "numpy")
        object.__setattr__(self, "dtype", "float64")

    @property
    def orders(self) -> list[int]:
        """Even numbers of patches as far as ranks are measured, then powers of two."""
        even = [n for n in range(2, self.largest_order + 1, 2) if self._measured(n)]
        return sorted({*even, *(2**j for j in range(1, self.largest_order.bit_length()))})

    def execute(self, journal: Journal) -> Outcome:
        points = []
        for order in self.orders:
            for model, title in MODELS.items():
                journal.say(f"{order} patches: {title}")
                if (point := self.measure(model, order)) is not None:
                    points.append(point)
                    journal.record(model, order, "log10_bound", log10(point.bound))
                    if point.rank is not None:
                        journal.record(model, order, "rank", point.rank)
            journal.flush()
        return outcome(points, self.features, self.channels)

    def measure(self, model: str, order: int) -> Point | None:
        """One circuit; ``None`` where there is none of this kind with so many patches."""
        if (model == "windows_of_4" and order % 4) or (model == "left_right" and order & (order - 1)):
            return None
        circuit = self.circuit(model, order)
        x = circuit.to_factorization(random_weights(circuit, self.seed))
        modes = partitions(order)["left/right" if model == "left_right" else "odd/even"]
        rank = separation_rank(x, modes) if model in ("shallow", "left_right") or self._measured(order) else None
        return Point(model, order, rank, min_cut(x, modes).bound, circuit.parameter_count)

    def circuit(self, model: str, order: int) -> Circuit:
        """Of windows of 2, or of 4 and then 2, or of one window."""
        n, k, first = self.features, self.channels, 4 if model == "windows_of_4" else 2
        if model == "shallow":
            return Circuit.shallow(order, n, k)
        windows, left = [first], order // first
        while left > 1:
            windows.append(2)
            left = (left + 1) // 2
        return Circuit.deep(order, n, k, windows, shared=model == "shared", ragged=True)

    def _measured(self, order: int) -> bool:
        return bool(min(self.features, self.channels) ** (order // 2) <= self.largest_rank)


@dataclass(frozen=True)
class Point:
    """A circuit's measured rank, the bound by its minimum cut, and how many weights it has."""

    model: str
    order: int
    rank: int | None
    bound: int
    weights: int


def random_weights(circuit: Circuit, seed: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Gaussian weights; the first filters are made orthonormal, so that products of many lose no rank in rounding."""
    rng = generator(seed)
    first, *others = (rng.standard_normal(shape) for shape in circuit.shapes)
    wide = first.shape[-2] < first.shape[-1]
    frame = np.linalg.qr(np.swapaxes(first, -1, -2) if wide else first)[0]
    return (np.swapaxes(frame, -1, -2) if wide else frame, *others)


def closed_form(model: str, order: int, features: int, channels: int) -> int:
    """The rank that generic weights have."""
    if model in ("deep", "shared"):
        return int(min(features, channels) ** (order // 2))
    if model == "windows_of_4":
        return int(min(features**2, channels) ** (order // 4))
    return int(min(features ** (order // 2), channels))


def outcome(points: Sequence[Point], n: int, k: int) -> Outcome:
    """Of circuits with n features and k channels."""
    of = {model: [p for p in points if p.model == model] for model in MODELS}
    summary: dict[str, Any] = {"features": n, "channels": k, "orders": sorted({p.order for p in points})}
    summary["ranks"] = {model: {p.order: p.rank for p in found} for model, found in of.items()}
    summary["bounds"] = {model: {p.order: p.bound for p in found} for model, found in of.items()}
    measured = {model: [(p, p.rank) for p in found if p.rank is not None] for model, found in of.items()}
    return Outcome(summary, [_table(points, n, k)], _checks(measured, n, k), partial(_figure, points, n, k))


def _known_rank(point: Point) -> int:
    return point.bound if point.rank is None else point.rank


def _shallow_weights(point: Point, features: int) -> int:
    """Of a shallow circuit with as many components as the point's odd/even rank: it cannot have fewer."""
    return _known_rank(point) * (point.order * features + 1)


def _table(points: Sequence[Point], n: int, k: int) -> Table:
    def cell(point: Point, number: int) -> str:
        return _long(number) if point.rank is not None else f"({_long(number)})"

    rows = []
    for deep in (p for p in points if p.model == "deep"):
        same = {p.model: p for p in points if p.order == deep.order}
        ranks = [cell(same[m], _known_rank(same[m])) if m in same else "" for m in MODELS]
        rows.append((str(deep.order), *ranks, _long(deep.weights), cell(deep, _shallow_weights(deep, n))))
    columns = ("N", "windows of 2", "shared", "windows of 4", "left/right", "shallow", "weights", "shallow to match")
    title = f"Odd/even separation ranks of circuits with n = {n} features and k = {k} channels"
    note = (
        "Numbers in brackets are bounds that were not measured. Weights are those of windows of 2, and of a shallow "
        "circuit with as many components as that rank, which it needs at least."
    )
    return Table(title, columns, rows, note)


def _checks(measured: Mapping[str, Sequence[tuple[Point, int]]], n: int, k: int) -> list[Check]:
    """Of all points whose rank was measured, by rising order, and that rank."""

    def equal(model: str, claim: str) -> Check:
        found = measured[model]
        wrong = [f"{rank} at N = {p.order}" for p, rank in found if rank != closed_form(model, p.order, n, k)]
        return Check(claim, wrong[0] if wrong else _listed(found), not wrong and len(found) > 1)

    def at_most(model: str, claim: str) -> Check:
        found = measured[model]
        return Check(claim, _listed(found), bool(found) and all(rank <= k for _, rank in found))

    every = [pair for found in measured.values() for pair in found]
    above = sum(rank > p.bound for p, rank in every)
    reached = sum(rank == p.bound for p, rank in measured["shared"])
    told = f"{above} of {len(every)} do, shared weights reach it at {reached} of {len(measured['shared'])} N"
    return [
        equal("deep", f"deep, windows of 2: the odd/even rank is min(n, k)^(N/2) = {min(n, k)}^(N/2)"),
        equal("windows_of_4", f"deep, windows of 4 first: it is min(n^2, k)^(N/4) = {min(n * n, k)}^(N/4)"),
        at_most("shallow", f"shallow: it is at most k = {k}, whatever N is"),
        at_most("left_right", f"deep, left/right instead of odd/even: at most k = {k}"),
        Check("no rank, with shared weights or without, exceeds its minimum cut", told, bool(every) and not above),
        _cost([p for p, _ in measured["deep"]], n),
    ]


def _cost(deep: Sequence[Point], n: int) -> Check:
    claim = "a shallow circuit of the same odd/even rank takes more and more times the weights"
    if len(deep) < 2:
        return Check(claim, "fewer than two N measured", False)
    last, ratios = deep[-1], [_shallow_weights(p, n) / p.weights for p in deep]
    measured = f"{_long(_shallow_weights(last, n))} against {_long(last.weights)} at N = {last.order}"
    return Check(claim, measured, ratios[-1] > 1 and rises(ratios[-3:]))


def _listed(found: Sequence[tuple[Point, int]]) -> str:
    if not found:
        return "nothing measured"
    last, rank = found[-1]
    return f"at all {len(found)} N measured, {_long(rank)} at N = {last.order}"


def _long(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{number / 10 ** (len(str(number)) - 1):.1f}e{len(str(number)) - 1}"


def _figure(points: Sequence[Point], n: int, k: int) -> Figure:
    """Ranks against N, lines are bounds and dots are measured; beside them the weights of circuits of the same rank."""
    # Beyond the measured orders lines would squeeze the dots.
    last = 2 * max((p.order for p in points if p.model == "deep" and p.rank is not None), default=2)
    figure, ((left, right),) = panels(1, 2, 4.7, 3.6)
    labels = ("deep, windows of 2", "the same, shared weights", "deep, windows of 4", "deep, left/right")
    ranks: list[Line] = []
    for color, (model, label) in enumerate(zip(MODELS, (*labels, f"shallow, {k} components"), strict=True)):
        shown = [p for p in points if p.model == model and p.order <= last]
        found = [p for p in shown if p.rank is not None]
        ring = model in ("shared", "left_right")
        if not ring:
            ranks.append(Line([p.order for p in shown], [p.bound for p in shown], color=color))
        x, y = [p.order for p in found], [p.rank for p in found]
        ranks.append(Line(x, y, label, color, "" if ring else "-", "o", hollow=ring))
    lines(left, ranks, "Separation rank", "patches N", "rank", "y", where=None)
    for line in left.lines:
        if line.get_linestyle() == "None":
            # What is measured on top of another line is drawn around its dots.
            line.set(markersize=8.5, markerfacecolor="none")
    deep = [p for p in points if p.model == "deep" and p.order <= last]
    orders = [p.order for p in deep]
    weights = Line(orders, [p.weights for p in deep], "deep, windows of 2")
    needed = Line(orders, [_shallow_weights(p, n) for p in deep], "shallow, of the same rank")
    lines(right, [weights, needed], "Weights", "patches N", "number of weights", "y", where=None)
    for panel in (left, right):
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0.8)
        legend(panel, "upper left")
    return figure
