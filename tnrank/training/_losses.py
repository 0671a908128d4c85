"""Losses of a residual, with their derivatives in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tnrank._check import real_number
from tnrank._explained import explained
from tnrank._typing import Array


@dataclass(frozen=True)
class Loss:
    """A loss that sums over observations.

    A subclass gives ``terms`` (value and derivative of one residual, elementwise) and ``weight`` (what each term is
    multiplied with for M observations).
    """

    def terms(self, residual: Array, xp: Any) -> tuple[Array, Array]:
        """The elementwise loss and its derivative."""
        raise NotImplementedError

    def weight(self, count: int) -> float:
        """The factor before the sum over ``count`` observations."""
        return 1.0 / count

    def weighted(self, residual: Array, weights: Array, xp: Any, axes: Any = None) -> tuple[Array, Array]:
        """``sum(weights * loss(residual))`` over ``axes`` and its derivative with respect to the residual."""
        value, derivative = self.terms(residual, xp)
        return xp.sum(weights * value, axis=axes), weights * derivative


def _check(name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ValueError(f"{name} has reduction={given!r}: needed one of {', '.join(map(repr, known))}")


@dataclass(frozen=True)
class SquaredLoss(Loss):
    """``mean(r^2)``, or ``1/2 sum(r^2)`` with ``reduction="half_sum"``.

    Example:
        >>> import tnrank
        >>> tnrank.SquaredLoss(reduction="half_sum")
        SquaredLoss(reduction='half_sum')
    """

    reduction: str = "mean"

    @explained
    def __post_init__(self) -> None:
        _check("SquaredLoss", self.reduction, ("mean", "half_sum"))

    def terms(self, residual: Array, xp: Any) -> tuple[Array, Array]:
        return residual * residual, 2 * residual

    def weight(self, count: int) -> float:
        return 1.0 / count if self.reduction == "mean" else 0.5

    def weighted(self, residual: Array, weights: Array, xp: Any, axes: Any = None) -> tuple[Array, Array]:
        half = weights * residual
        return xp.sum(half * residual, axis=axes), 2 * half


@dataclass(frozen=True)
class HuberLoss(Loss):
    """``r^2 / 2`` where ``|r| <= delta``, else ``delta (|r| - delta / 2)``; mean or sum over observations.

    Example:
        >>> import tnrank
        >>> tnrank.HuberLoss(delta=0.5).delta
        0.5
    """

    delta: float = 1.0
    reduction: str = "mean"

    @explained
    def __post_init__(self) -> None:
        _check("HuberLoss", self.reduction, ("mean", "sum"))
        real_number(self.delta, "delta of HuberLoss", 0, above=True)

    def terms(self, residual: Array, xp: Any) -> tuple[Array, Array]:
        size = abs(residual)
        value = xp.where(size <= self.delta, residual * residual / 2, self.delta * (size - self.delta / 2))
        return value, xp.clip(residual, -self.delta, self.delta)

    def weight(self, count: int) -> float:
        return 1.0 / count if self.reduction == "mean" else 1.0


@dataclass(frozen=True)
class SmoothL1Loss(Loss):
    """``r^2 / (2 beta)`` where ``|r| < beta``, else ``|r| - beta / 2``: PyTorch's, 1/beta times Huber's.

    Example:
        >>> import tnrank
        >>> tnrank.SmoothL1Loss(beta=0.1)
        SmoothL1Loss(beta=0.1, reduction='mean')
    """

    beta: float = 1.0
    reduction: str = "mean"

    @explained
    def __post_init__(self) -> None:
        _check("SmoothL1Loss", self.reduction, ("mean", "sum"))
        real_number(self.beta, "beta of SmoothL1Loss, the threshold that L1Loss lacks,", 0, above=True)

    def terms(self, residual: Array, xp: Any) -> tuple[Array, Array]:
        size = abs(residual)
        value = xp.where(size < self.beta, residual * residual / (2 * self.beta), size - self.beta / 2)
        return value, xp.clip(residual / self.beta, -1.0, 1.0)

    def weight(self, count: int) -> float:
        return 1.0 / count if self.reduction == "mean" else 1.0


@dataclass(frozen=True)
class L1Loss(Loss):
    """``|r|``, mean or sum over observations; its derivative at 0 is 0.

    Example:
        >>> import tnrank
        >>> tnrank.L1Loss()
        L1Loss(reduction='mean')
    """

    reduction: str = "mean"

    @explained
    def __post_init__(self) -> None:
        _check("L1Loss", self.reduction, ("mean", "sum"))

    def terms(self, residual: Array, xp: Any) -> tuple[Array, Array]:
        return abs(residual), xp.sign(residual)

    def weight(self, count: int) -> float:
        return 1.0 / count if self.reduction == "mean" else 1.0
