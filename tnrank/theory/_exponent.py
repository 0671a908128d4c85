"""The exponent of the dynamics law, fitted to measured rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._backend import host_array
from tnrank._explained import explained
from tnrank.theory._growth import HostArray, _host


@dataclass(frozen=True)
class ExponentFit:
    """The line log(rate / gamma) = log(prefactor) + exponent * log(sigma) through measured points.

    Attributes:
        exponent: its slope; 2 - 2/K for balanced components.
        low: lower end of the confidence interval of the exponent.
        high: upper end.
        prefactor: K for balanced components.
        count: points.
    """

    exponent: float
    low: float
    high: float
    prefactor: float
    count: int

    def __str__(self) -> str:
        fitted = f"exponent {self.exponent:.4f} (interval {self.low:.4f} to {self.high:.4f})"
        return f"{fitted}, factor {self.prefactor:.3f}, from {self.count} points"

    @property
    def half_width(self) -> float:
        """Of the confidence interval."""
        return (self.high - self.low) / 2

    def contains(self, exponent: float) -> bool:
        """Whether the confidence interval has ``exponent`` in it."""
        return self.low <= exponent <= self.high


@explained
def fit_exponent(norms: Any, rates: Any, projections: Any, groups: Any = None, confidence: float = 0.95) -> ExponentFit:
    """The exponent p of ``d sigma / dt = c sigma^p gamma``, by least squares of log(rate / gamma) on log(sigma).

    Rates alone follow no power law, since gamma moves too. Points where rate and gamma differ in sign, or where either
    or sigma is 0, say nothing about p and are left out.

    Args:
        norms: sigma, of any shape.
        rates: measured d sigma / dt, of the same shape.
        projections: gamma = <-grad L, C>, of the same shape.
        groups: whole numbers of the same shape. Points of one group, such as the moments of one component, are not
            independent: with groups the interval comes from the cluster-robust standard error. All points are
            independent if ``None``.
        confidence: of the interval, from Student's t distribution; in (0, 1).

    Raises:
        ValueError: if shapes differ, fewer than 3 points or 2 groups are left, all norms are equal, or the confidence
            is none.

    Source: the law is Theorem 1 of Razin, Maman & Cohen 2021; Liang & Zeger 1986 (clusters).

    Example:
        >>> import numpy as np
        >>> from tnrank.theory import fit_exponent
        >>> sigma = np.array([0.001, 0.01, 0.1, 1.0])
        >>> found = fit_exponent(sigma, 3 * sigma ** (4 / 3) * 0.7, np.full(4, 0.7))
        >>> round(found.exponent, 6), round(found.prefactor, 6), found.count
        (1.333333, 3.0, 4)
    """
    from scipy.stats import linregress, t

    sigma, rate, gamma = (_host(a) for a in (norms, rates, projections))
    labels = np.arange(sigma.size).reshape(sigma.shape) if groups is None else host_array(groups, "groups")
    if not sigma.shape == rate.shape == gamma.shape == labels.shape:
        raise ValueError(
            f"norms, rates, projections and groups have one shape, got {sigma.shape}, {rate.shape}, {gamma.shape} and "
            f"{labels.shape}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, got {confidence!r}: 0.95 is usual")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = rate / gamma
        told = np.isfinite(ratio) & (ratio > 0) & (sigma > 0) & np.isfinite(sigma)
    x, y = np.log(sigma[told]), np.log(ratio[told])
    if len(x) < 3 or np.ptp(x) == 0:
        raise ValueError(
            f"a slope needs 3 points or more with different norms, got {len(x)} where rate and projection have one "
            "sign: record more moments, or train until components grow"
        )
    line = linregress(x, y)
    error, freedom = float(line.stderr), len(x) - 2
    if groups is not None:
        error, freedom = _clustered(x, y - line.intercept - line.slope * x, labels[told])
    half = float(t.ppf((1 + confidence) / 2, freedom)) * error
    slope = float(line.slope)
    return ExponentFit(slope, slope - half, slope + half, float(np.exp(line.intercept)), len(x))


def _clustered(x: HostArray, residuals: HostArray, labels: HostArray) -> tuple[float, int]:
    """The cluster-robust standard error of a slope, and its degrees of freedom."""
    names, which = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        raise ValueError("an interval needs points of 2 groups or more, got those of 1: leave groups out")
    centered = x - x.mean()
    scores = np.bincount(which, weights=centered * residuals)
    few = len(names) / (len(names) - 1) * (len(x) - 1) / (len(x) - 2)
    return float(np.sqrt(few * (scores**2).sum()) / (centered**2).sum()), len(names) - 1
