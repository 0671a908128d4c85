"""Depth efficiency: the dependence between interleaved patches grows exponentially with depth, not with width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tnrank._check import generator
from tnrank._explained import explained
from tnrank.circuits import Circuit, min_cut, partitions
from tnrank.experiments._outcome import Outcome
from tnrank.experiments._recipe import Recipe, register
from tnrank.experiments._recipes._depth_report import MODELS, Point, outcome
from tnrank.ranks import separation_rank

if TYPE_CHECKING:
    from tnrank.experiments._runner import Journal


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
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "quick": {"features": 3, "channels": 2, "largest_order": 32, "largest_rank": 600},
            "paper": {"features": 4, "channels": 3, "largest_order": 64, "largest_rank": 2500},
        }
    )

    features: int = 3
    channels: int = 2
    largest_order: int = 32
    largest_rank: int = 600

    @explained
    def __post_init__(self) -> None:
        object.__setattr__(self, "backend", "numpy")
        object.__setattr__(self, "dtype", "float64")
        for field, least in (("features", 1), ("channels", 1), ("largest_order", 2), ("largest_rank", 1)):
            if getattr(self, field) < least:
                raise ValueError(f"{field} is at least {least}, got {getattr(self, field)}")

    @property
    def orders(self) -> list[int]:
        """Even numbers of patches as far as ranks are measured, then powers of two."""
        even = [n for n in range(2, self.largest_order + 1, 2) if self._measured(n)]
        return sorted({*even, *(2**j for j in range(1, self.largest_order.bit_length()) if 2**j <= self.largest_order)})

    def execute(self, journal: Journal) -> Outcome:
        points = []
        for order in self.orders:
            for model in MODELS:
                journal.say(f"{order} patches: {MODELS[model]}")
                point = self.measure(model, order)
                if point is not None:
                    points.append(point)
                    journal.folder.record(model, order, "log10_bound", log10(point.bound))
                    if point.rank is not None:
                        journal.folder.record(model, order, "rank", point.rank)
            journal.folder.flush()
        return outcome(points, self.features, self.channels)

    def measure(self, model: str, order: int) -> Point | None:
        """One circuit; ``None`` where there is none of this kind with so many patches."""
        if (model == "windows_of_4" and order % 4) or (model == "left_right" and order & (order - 1)):
            return None
        circuit = self.circuit(model, order)
        x = circuit.to_factorization(random_weights(circuit, self.seed))
        modes = partitions(order)["left/right" if model == "left_right" else "odd/even"]
        cheap = model in ("shallow", "left_right")
        rank = separation_rank(x, modes) if cheap or self._measured(order) else None
        return Point(model, order, rank, min_cut(x, modes).bound, circuit.parameter_count)

    def circuit(self, model: str, order: int) -> Circuit:
        """Of windows of 2, or of 4 and then 2, or of one window."""
        n, k = self.features, self.channels
        if model == "shallow":
            return Circuit.shallow(order, n, k)
        windows, left = [4 if model == "windows_of_4" else 2], order // (4 if model == "windows_of_4" else 2)
        while left > 1:
            windows.append(2)
            left = (left + 1) // 2
        return Circuit.deep(order, n, k, windows, shared=model == "shared", ragged=True)

    def _measured(self, order: int) -> bool:
        return bool(min(self.features, self.channels) ** (order // 2) <= self.largest_rank)


def random_weights(circuit: Circuit, seed: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Gaussian weights; the first filters are made orthonormal, so that products of many lose no rank in rounding."""
    rng = generator(seed)
    first, *others = (rng.standard_normal(shape) for shape in circuit.shapes)
    wide = first.shape[-2] < first.shape[-1]
    frame = np.linalg.qr(np.swapaxes(first, -1, -2) if wide else first)[0]
    return (np.swapaxes(frame, -1, -2) if wide else frame, *others)
