"""What the runs of the recipe dynamics-law measured, one line an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tnrank.experiments._recipes._law_cases import Case
from tnrank.theory import ExponentFit, fit_exponent
from tnrank.training import MeasuredRates

Host = np.ndarray[Any, Any]
_TOLD = 0.1
"""Rates tell something where the projection is at least this share of its largest, and not about to change sign."""
_BALANCED = 0.01
"""The law is fitted where squared slice norms, sigma^(2/K), are equal up to this share: steps unbalance components."""


@dataclass(frozen=True)
class Line:
    """One index of one case, from one kind of start.

    Attributes:
        case: see there.
        index: ``None`` for singular values.
        order: K.
        rates: one a seed.
        drifts: the unbalancedness at the same moments, ``(P,)`` each.
        balanced: whether the law of balanced components is to be fitted.
    """

    case: Case
    index: Any
    order: int
    rates: Sequence[MeasuredRates]
    drifts: Sequence[Host]
    balanced: bool

    @property
    def law(self) -> float:
        """2 - 2/K."""
        return 2 - 2 / self.order

    @property
    def title(self) -> str:
        """Case and index."""
        return self.case.title if self.case.family == "cp" or self.index is None else f"{self.case.title}: {self.index}"

    @property
    def drift(self) -> float:
        """The largest unbalancedness at the end."""
        return max(float(drift[-1]) for drift in self.drifts)

    @cached_property
    def told(self) -> list[Host]:
        """Which rates tell something, ``(P, R)`` a seed."""
        return [self._told(r, drift) for r, drift in zip(self.rates, self.drifts, strict=True)]

    def _told(self, r: MeasuredRates, drift: Host) -> Host:
        level = _TOLD * np.abs(r.projection).max(initial=0.0)
        found = (np.abs(r.projection) >= level) & (np.abs(r.next_projection) >= level) & (r.projection != 0)
        if self.balanced:
            gap = drift[:, None] if r.unbalancedness is None else r.unbalancedness
            found &= gap <= _BALANCED * r.norms ** (2 / self.order)
        return np.asarray(found & np.isfinite(r.measured))

    def points(self, name: str) -> Host:
        """A field of the rates at all moments, components and seeds that tell something."""
        return np.concatenate([getattr(r, name)[told] for r, told in zip(self.rates, self.told, strict=True)])

    @cached_property
    def groups(self) -> Host:
        """The trajectory, a component of a seed, that each point lies on."""
        found, first = [], 0
        for r, told in zip(self.rates, self.told, strict=True):
            width = r.norms.shape[1]
            found.append((first + np.arange(width) + np.zeros_like(r.norms, np.int64))[told])
            first += width
        return np.concatenate(found)

    def interval(self, confidence: float) -> ExponentFit | None:
        """The exponent with what its interval is by chance and by the finite step.

        The increment of a step is the rate at a point between its ends. The fit is made with norms and projections at
        either end, and the interval spans both. ``None`` where there are too few points.
        """
        try:
            before, after = (
                fit_exponent(
                    self.points(f"{which}norms"),
                    self.points("measured"),
                    self.points(f"{which}projection"),
                    self.groups,
                    confidence,
                )
                for which in ("", "next_")
            )
        except ValueError:
            return None
        return ExponentFit(
            (before.exponent + after.exponent) / 2,
            min(before.low, after.low),
            max(before.high, after.high),
            float(np.sqrt(before.prefactor * after.prefactor)),
            before.count,
        )

    def deviation(self, name: str = "exact") -> Host:
        """|measured / predicted - 1| at every point."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.abs(self.points("measured") / self.points(name) - 1))

    def excess(self) -> Host:
        """How far measured rates lie outside their bounds, relative to the rate, at every point; 0 inside."""
        measured = self.points("measured")
        outside = np.maximum(self.points("lower") - measured, measured - self.points("upper"))
        return np.asarray(np.maximum(outside, 0) / np.abs(self.points("exact")))

    def gap(self) -> float:
        """The median ratio of the bounds."""
        low, high = np.abs(self.points("lower")), np.abs(self.points("upper"))
        return float(np.median(np.maximum(low, high) / np.minimum(low, high)))


@dataclass(frozen=True)
class Descent:
    """Plain gradient descent at a rate and at half of it, and the flow; one entry an index each."""

    case: Case
    rate: float
    whole: Sequence[MeasuredRates]
    half: Sequence[MeasuredRates]
    flow: Sequence[MeasuredRates]

    def deviations(self) -> tuple[float, float, float]:
        """The mean deviation of measured from exact rates, relative to these: at both rates, and of the flow."""
        return _mean_deviation(self.whole), _mean_deviation(self.half), _mean_deviation(self.flow)


@dataclass(frozen=True)
class Runs:
    """All that was measured."""

    balanced: Sequence[Line]
    unbalanced: Sequence[Line]
    lopsided: Sequence[Line]
    descent: Sequence[Descent]


def _mean_deviation(found: Sequence[MeasuredRates]) -> float:
    # One-sided differences at the ends of the flow's spline are less accurate.
    cut = [slice(3, -3) if not r.interval.any() else slice(None) for r in found]
    wrong = [np.abs(r.measured - r.exact)[c].mean() for r, c in zip(found, cut, strict=True)]
    scale = [np.abs(r.exact)[c].mean() for r, c in zip(found, cut, strict=True)]
    return float(np.sum(wrong) / np.sum(scale))
