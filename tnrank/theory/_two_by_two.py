"""The 2 x 2 completion problem in which every norm goes to infinity and the rank goes to one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._check import generator
from tnrank._explained import explained

if TYPE_CHECKING:
    from tnrank.theory._two_by_two_flow import BalancedFlow


@dataclass(frozen=True)
class TwoByTwo:
    """Completion of a 2 x 2 matrix whose entry (1, 1) is not observed; the others are ``w12``, ``w21``, ``w22``.

    The loss is half the sum of the squared residuals, written l. The bounds hold for every matrix of that loss whose
    determinant has the sign of ``w12 * w21``, a sign that gradient flow of balanced layers keeps. With w22 = 0 they
    send every norm to infinity, and the effective rank to one, as the loss falls; with w22 = e they level off at
    |w12 w21 / e|. All follow from W11 W22 = det + W12 W21 with every residual at most sqrt(2 l).

    Args:
        w12: the observed entry (1, 2), not 0.
        w21: the observed entry (2, 1), not 0.
        w22: the observed entry (2, 2).

    Raises:
        ValueError: if ``w12`` or ``w21`` is 0.

    Source: Razin & Cohen 2020, Sec. 3 (Theorems 1 and 2).

    Example:
        >>> from tnrank.theory import TwoByTwo
        >>> problem = TwoByTwo()
        >>> round(problem.norm_lower_bound(1e-4), 2)
        68.72
        >>> round(problem.effective_rank_upper_bound(1e-4), 4)
        1.002
    """

    w12: float = 1.0
    w21: float = 1.0
    w22: float = 0.0

    @explained
    def __post_init__(self) -> None:
        if not (self.w12 and self.w21 and math.isfinite(self.w12 * self.w21) and math.isfinite(self.w22)):
            raise ValueError(f"the observed w12 and w21 are numbers other than 0, got {self.w12} and {self.w21}")

    @property
    def sign(self) -> int:
        """The sign of the determinant under which the unobserved entry must grow."""
        return 1 if self.w12 * self.w21 > 0 else -1

    def loss(self, w: Any) -> float:
        """Half the sum of the squared residuals of ``w``, shape (2, 2)."""
        (_, a), (b, c) = np.asarray(w, np.float64).tolist()
        return 0.5 * float((a - self.w12) ** 2 + (b - self.w21) ** 2 + (c - self.w22) ** 2)

    def entry_lower_bound(self, loss: float) -> float:
        """Of |W11|: ``(|w12| - s)(|w21| - s) / (|w22| + s)`` with ``s = sqrt(2 loss)``; 0 where that says nothing."""
        gap = _root(loss)
        first, second = abs(self.w12) - gap, abs(self.w21) - gap
        if first <= 0 or second <= 0:
            return 0.0
        return first * second / (abs(self.w22) + gap) if abs(self.w22) + gap else math.inf

    def norm_lower_bound(
        self, loss: float, norm: Callable[[Any], float] | None = None, triangle_constant: float = 1.0
    ) -> float:
        """Of the norm of W, at least 0.

        Args:
            loss: l.
            norm: any norm or quasi-norm of a (2, 2) NumPy array. ``None``: the bound of |W11|, which holds for the
                largest singular value and so for every Schatten-p (quasi-)norm.
            triangle_constant: c with ``|a + b| <= c (|a| + |b|)``; 1 for a norm.

        Raises:
            ValueError: if the loss is negative or the constant below 1.
        """
        bound = self.entry_lower_bound(loss)
        if norm is None or math.isinf(bound):
            return bound
        if not triangle_constant >= 1:
            raise ValueError(f"the constant of the triangle inequality is at least 1, got {triangle_constant}")
        gap, c = _root(loss), triangle_constant
        units = np.eye(4).reshape(4, 2, 2)
        e11, e12, e21, e22 = (float(norm(e)) for e in units)
        sizes = [(abs(self.w12) + gap) * e12, (abs(self.w21) + gap) * e21, (abs(self.w22) + gap) * e22]
        rest = c * (sizes[0] + c * (sizes[1] + sizes[2]))
        return max(0.0, bound * e11 / c - rest)

    def distance_to_rank_one_upper_bound(self, loss: float) -> float:
        """Of the smaller singular value, the distance to the matrices of rank one: ``|w22| + sqrt(2 loss)``.

        The rank-one matrix with W12 W21 / W11 in place of W22 is that near. Infinite where the loss is too large.
        """
        gap = _root(loss)
        near = gap < min(abs(self.w12), abs(self.w21))
        return abs(self.w22) + gap if near else math.inf

    def effective_rank_upper_bound(self, loss: float) -> float:
        """Of the effective rank: that of the bounds of the two singular values; 2 where these say nothing."""
        small, large = self.distance_to_rank_one_upper_bound(loss), self.entry_lower_bound(loss)
        if not small < large:
            return 2.0
        share = small / (small + large) if math.isfinite(large) else 0.0
        return _effective_rank(share)

    def balanced_flow(
        self, depth: int, start: Any, losses: Sequence[float], *, rtol: float = 1e-10, max_time: float = math.inf
    ) -> BalancedFlow:
        """Exact gradient flow of balanced layers, read where the loss passes each of ``losses``.

        The variables are W12, W21, W22 and log |det W|: W11 follows from them, and a determinant far below rounding
        keeps its sign, so that depth 2 too shows W11 going to infinity.

        Args:
            depth: L, the number of layers, from 2 on.
            start: the end matrix (2, 2) at time 0; its determinant has the sign of :attr:`sign`.
            losses: decreasing, the first below that of ``start``.
            rtol: tolerance of SciPy's ODE solver (LSODA).
            max_time: the flow ends here even if losses were not reached.

        Returns:
            One row for each loss that was reached.

        Raises:
            ValueError: if depth, start or losses do not fit.
            RuntimeError: if the solver gives up, or the flow goes nowhere.

        Source: Arora et al. 2018, Theorem 1 (the flow of the end matrix); Razin & Cohen 2020, Sec. 3.

        Example:
            >>> import numpy as np
            >>> from tnrank.theory import TwoByTwo
            >>> flow = TwoByTwo().balanced_flow(3, 1e-3 * np.eye(2), [1e-2, 1e-3])
            >>> (abs(flow.w[:, 0, 0]) * np.sqrt(2 * flow.loss)).round(2)
            array([0.98, 1.  ])
        """
        from tnrank.theory._two_by_two_flow import integrate

        return integrate(self, depth, start, losses, rtol, max_time)

    def start(self, scale: float, seed: int = 0) -> np.ndarray[Any, Any]:
        """A Gaussian matrix (2, 2) of standard deviation ``scale``, drawn until its determinant has the right sign."""
        drawing = generator(seed)
        while True:
            w = drawing.standard_normal((2, 2)) * scale
            if (w[0, 0] * w[1, 1] - w[0, 1] * w[1, 0]) * self.sign > 0:
                return w


def _root(loss: float) -> float:
    if not loss >= 0:
        raise ValueError(f"a loss is at least 0, got {loss}")
    return math.sqrt(2 * loss)


def _effective_rank(share: float) -> float:
    """Of a spectrum whose smaller value has this share of the sum."""
    parts = (share, 1 - share)
    return math.exp(-sum(p * math.log(p) for p in parts if p > 0))
