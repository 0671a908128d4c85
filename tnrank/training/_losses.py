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

    def of(self, outputs: Array, targets: Array, weights: Array, xp: Any, axes: Any = None) -> tuple[Array, Array]:
        """The weighted loss of outputs for their targets, and its derivative with respect to the outputs."""
        return self.weighted(outputs - targets, weights, xp, axes)

    def check_targets(self, targets: Any, classes: int | None = None) -> None:
        """Refuse targets, an array on the host, that the loss is not for; ``classes`` counts the scores of a sample if
        it has several.

        Raises:
            ValueError: for such targets.
        """


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


@dataclass(frozen=True)
class LogisticLoss(Loss):
    """``log(1 + exp(s)) - t s`` of a score s and a target t in [0, 1]: minus the log-likelihood of ``1 / (1 + e^-s)``.

    Example:
        >>> import numpy as np, tnrank
        >>> value, slope = tnrank.LogisticLoss().of(np.array([0.0]), np.array([1.0]), np.array([1.0]), np)
        >>> value == np.log(2), slope
        (np.True_, array([-0.5]))
    """

    def of(self, outputs: Array, targets: Array, weights: Array, xp: Any, axes: Any = None) -> tuple[Array, Array]:
        small = xp.exp(-abs(outputs))
        value = xp.clip(outputs, 0, None) + xp.log1p(small) - targets * outputs
        probability = xp.where(outputs >= 0, 1.0, small) / (1 + small)
        return xp.sum(weights * value, axis=axes), weights * (probability - targets)

    def check_targets(self, targets: Any, classes: int | None = None) -> None:
        if targets.min() < 0 or targets.max() > 1:
            raise ValueError(
                f"LogisticLoss needs targets in [0, 1], such as labels 0 and 1, got {targets.min():g} .. "
                f"{targets.max():g}"
            )


@dataclass(frozen=True)
class CrossEntropyLoss(Loss):
    """``log sum_c exp(s_c) - s_t`` of the scores of all classes and the class t of a sample.

    Example:
        >>> import numpy as np, tnrank
        >>> value, slope = tnrank.CrossEntropyLoss().of(np.zeros((1, 2)), np.array([1]), np.array([1.0]), np)
        >>> value == np.log(2), slope
        (np.True_, array([[ 0.5, -0.5]]))
    """

    def of(self, outputs: Array, targets: Array, weights: Array, xp: Any, axes: Any = None) -> tuple[Array, Array]:
        """``outputs`` has the classes along its last axis, which ``targets`` and ``weights`` lack."""
        moved = outputs - xp.max(outputs, axis=-1, keepdims=True)
        powers = xp.exp(moved)
        total = xp.sum(powers, axis=-1, keepdims=True)
        places = xp.arange(outputs.shape[-1], dtype=targets.dtype)
        hot = xp.astype(targets[..., None] == places, outputs.dtype)
        value = xp.log(total[..., 0]) - xp.sum(hot * moved, axis=-1)
        return xp.sum(weights * value, axis=axes), weights[..., None] * (powers / total - hot)

    def check_targets(self, targets: Any, classes: int | None = None) -> None:
        if classes is None:
            raise ValueError(
                "CrossEntropyLoss is of the scores of several classes, and there is one score: use LogisticLoss(), or "
                "tnrank.fit with a factorization that has one more mode, of the C classes: HierarchicalFactorization"
                ".random(shape, classes=C), or CPFactorization.random((*shape, C))"
            )
        if targets.dtype.kind not in "uib" or targets.min() < 0 or targets.max() >= classes:
            raise ValueError(
                f"CrossEntropyLoss needs classes 0 .. {classes - 1}, whole numbers, got {targets.dtype.name} from "
                f"{targets.min()} to {targets.max()}"
            )
