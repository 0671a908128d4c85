"""Optimizers as pairs of ``init`` and ``update``, without state of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._check import real_number, shown
from tnrank._explained import explained
from tnrank._typing import Array

Values = tuple[Array, ...]


@dataclass(frozen=True)
class Context:
    """Where an optimizer runs: ``scalar`` turns a scalar array into a number on backends that loop on the host."""

    backend: Backend
    scalar: Callable[[Any], Any]

    def zero(self, like: Array) -> Any:
        """A zero to start a running scalar from, in at least single precision."""
        xp = self.backend.xp
        dtype = like.dtype if self.backend.dtype_of(like) in ("float32", "float64") else xp.float32
        return self.scalar(xp.sum(xp.zeros_like(like), dtype=dtype))


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimizers that work on every backend.

    ``init(values, context)`` gives a state; ``update(gradients, state, values, context)`` the new values and state.
    """

    def init(self, values: Values, context: Context) -> Any:
        """The state before the first update."""
        raise NotImplementedError

    def update(self, gradients: Values, state: Any, values: Values, context: Context) -> tuple[Values, Any]:
        """One update."""
        raise NotImplementedError

    def rate(self, state: Any) -> Any:
        """The scalar learning rate that the last update used; 0 before the first."""
        raise NotImplementedError


def _check_rate(name: str, rate: Any) -> None:
    real_number(rate, f"learning_rate of {name}", 0, above=True)


def _check_decay(name: str, field: str, decay: Any) -> None:
    if not 0 <= real_number(decay, f"{field} of {name}") < 1:
        raise ValueError(f"{name} has {field}={decay}: needed a number in [0, 1)")


@dataclass(frozen=True)
class GradientDescent(Optimizer):
    """``v <- momentum v + gradient``, ``p <- p - learning_rate v``.

    Several learning rates, one a run, are for runs that train together: ``complete`` with a sequence of factorizations.

    Example:
        >>> import tnrank
        >>> tnrank.GradientDescent(1e-2, momentum=0.9)
        GradientDescent(learning_rate=0.01, momentum=0.9)
        >>> tnrank.GradientDescent((6e-3, 3e-3))
        GradientDescent(learning_rate=(0.006, 0.003), momentum=0.0)
    """

    learning_rate: float | Sequence[float] = 1e-2
    momentum: float = 0.0

    @explained
    def __post_init__(self) -> None:
        rates: Any = self.learning_rate
        if isinstance(rates, (list, tuple)) or getattr(rates, "ndim", 0) == 1:
            rates = rates.tolist() if hasattr(rates, "tolist") else rates
            object.__setattr__(self, "learning_rate", tuple(rates))
            if not self.rates:
                raise ValueError("GradientDescent has no learning rate: needed a positive number, or one a run")
        for rate in self.rates or (self.learning_rate,):
            _check_rate("GradientDescent", rate)
        if self.rates:
            object.__setattr__(self, "learning_rate", tuple(float(rate) for rate in self.rates))
        _check_decay("GradientDescent", "momentum", self.momentum)

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates, one a run; empty if all runs share one."""
        return self.learning_rate if isinstance(self.learning_rate, tuple) else ()

    def init(self, values: Values, context: Context) -> Any:
        velocity = tuple(0 * v for v in values) if self.momentum else ()
        return (velocity, context.zero(values[0])) if self.rates else velocity

    def update(self, gradients: Values, state: Any, values: Values, context: Context) -> tuple[Values, Any]:
        if self.rates:
            raise ValueError(
                f"GradientDescent has {len(self.rates)} learning rates for one factorization: needed one rate, or a "
                f"sequence of {len(self.rates)} factorizations"
            )
        return self._step(gradients, state, values, context, self.learning_rate)

    def update_runs(self, gradients: Values, state: Any, values: Values, context: Context) -> tuple[Values, Any]:
        """One update of all runs, each with its own learning rate."""
        backend, (_, before) = context.backend, state
        if len(before) != len(self.rates):
            raise ValueError(f"GradientDescent has {len(self.rates)} learning rates for {len(before)} runs")
        device = backend.device_of(before)
        rates = backend.asarray(
            np.asarray(self.rates, np.float64 if backend.dtype_of(before) == "float64" else np.float32),
            device=None if device == backend.devices()[0] else device,
        )

        def one(gradients: Values, velocity: Values, values: Values, rate: Any) -> tuple[Values, Any]:
            return self._step(gradients, velocity, values, context, rate)

        values, velocity = backend.vmap(one)(gradients, state[0], values, rates)
        return values, (velocity, rates)

    def _step(
        self, gradients: Values, velocity: Values, values: Values, context: Context, rate: Any
    ) -> tuple[Values, Values]:
        if self.momentum:
            gradients = velocity = tuple(self.momentum * v + g for v, g in zip(velocity, gradients, strict=True))
        return context.backend.descend(values, rate, gradients), velocity

    def rate(self, state: Any) -> Any:
        return state[1] if self.rates else self.learning_rate


@dataclass(frozen=True)
class GroupRMSProp(Optimizer):
    """One adaptive learning rate for all weights, so that the direction stays the gradient's.

    ``g2 = sum ||gradient||^2`` over all arrays; ``v <- decay v + (1 - decay) g2``;
    ``rate = learning_rate / (sqrt(v / (1 - decay^t)) + eps)``; ``p <- p - rate gradient``.

    Source: the adaptive scheme of Razin & Cohen 2020, Razin et al. 2021 and 2022 (published code).

    Example:
        >>> import tnrank
        >>> tnrank.GroupRMSProp(1e-2)
        GroupRMSProp(learning_rate=0.01, decay=0.99, eps=1e-06, weight_decay=0.0)
    """

    learning_rate: float = 1e-2
    decay: float = 0.99
    eps: float = 1e-6
    weight_decay: float = 0.0

    @explained
    def __post_init__(self) -> None:
        _check_rate("GroupRMSProp", self.learning_rate)
        _check_decay("GroupRMSProp", "decay", self.decay)
        real_number(self.eps, "eps of GroupRMSProp", 0)
        real_number(self.weight_decay, "weight_decay of GroupRMSProp", 0)

    def init(self, values: Values, context: Context) -> Any:
        zero = context.zero(values[0])
        return zero, zero, zero

    def update(self, gradients: Values, state: Any, values: Values, context: Context) -> tuple[Values, Any]:
        if self.weight_decay:
            gradients = tuple(g + self.weight_decay * p for g, p in zip(gradients, values, strict=True))
        mean, remaining, _ = state
        mean = self.decay * mean + (1 - self.decay) * context.scalar(context.backend.sum_of_squares(gradients))
        # decay^t is carried as 1 - decay^t, which single precision keeps accurate from the first step on.
        remaining = self.decay * remaining + (1 - self.decay)
        rate = self.learning_rate / ((mean / remaining) ** 0.5 + self.eps)
        return context.backend.descend(values, rate, gradients), (mean, remaining, rate)

    def rate(self, state: Any) -> Any:
        return state[2]


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam with bias correction; one learning rate a weight.

    With ``relative``, the step of each array is ``learning_rate`` times the root mean square of its initial weights, so
    that arrays of small weights take small steps: weights of 1 / R are gone after a few steps that suit weights of 1.

    Source: Kingma & Ba 2015; steps relative to weights as in Shazeer & Stern 2018.

    Example:
        >>> import tnrank
        >>> tnrank.Adam(5e-4)
        Adam(learning_rate=0.0005, beta1=0.9, beta2=0.999, eps=1e-08, relative=False)
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    relative: bool = False

    @explained
    def __post_init__(self) -> None:
        _check_rate("Adam", self.learning_rate)
        _check_decay("Adam", "beta1", self.beta1)
        _check_decay("Adam", "beta2", self.beta2)
        real_number(self.eps, "eps of Adam", 0)

    def init(self, values: Values, context: Context) -> Any:
        zeros = tuple(0 * v for v in values)
        one = context.zero(values[0]) + 1.0
        if not self.relative:
            return zeros, zeros, one, one
        xp = context.backend.xp
        return zeros, zeros, one, one, tuple(xp.sqrt(xp.mean(v * v)) for v in values)

    def update(self, gradients: Values, state: Any, values: Values, context: Context) -> tuple[Values, Any]:
        first, second, power1, power2, *scales = state
        first = tuple(self.beta1 * m + (1 - self.beta1) * g for m, g in zip(first, gradients, strict=True))
        second = tuple(self.beta2 * v + (1 - self.beta2) * g * g for v, g in zip(second, gradients, strict=True))
        power1, power2 = power1 * self.beta1, power2 * self.beta2
        directions = tuple(
            (m / (1 - power1)) / ((v / (1 - power2)) ** 0.5 + self.eps) for m, v in zip(first, second, strict=True)
        )
        if scales:
            directions = tuple(scale * d for scale, d in zip(scales[0], directions, strict=True))
        values = context.backend.descend(values, self.learning_rate, directions)
        return values, (first, second, power1, power2, *scales)

    def rate(self, state: Any) -> Any:
        return self.learning_rate


def resolve(optimizer: Any, backend: Backend) -> Any:
    """``optimizer`` as an object with ``init`` and ``update``.

    Raises:
        TypeError: if it is neither one of ours nor one of the backend's framework.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type) and issubclass(optimizer, Optimizer):
        raise TypeError(f"got the class {optimizer.__name__}, needed an optimizer: tnrank.{optimizer.__name__}(1e-2)")
    wrapped = backend.wrap_optimizer(optimizer) if "wrap_optimizer" in backend.capabilities else None
    if wrapped is None:
        raise TypeError(
            f"got the optimizer {shown(optimizer)} on the {backend.name} backend: needed tnrank.GradientDescent, "
            "tnrank.GroupRMSProp, tnrank.Adam, an optax transformation such as optax.adam(1e-3) on JAX, or on torch a "
            "torch.optim class or functools.partial(torch.optim.Adam, lr=1e-3)"
        )
    return wrapped


def learning_rate(optimizer: Any, state: Any) -> Any:
    """The rate of the last update; NaN for optimizers of a framework, which do not tell."""
    return optimizer.rate(state) if isinstance(optimizer, Optimizer) else float("nan")


def is_stateful(optimizer: Any) -> bool:
    """Whether the optimizer keeps state outside the loop's (``torch.optim``)."""
    return bool(getattr(optimizer, "stateful", False))


def evaluates(optimizer: Any) -> bool:
    """Whether the optimizer is a framework's that may want the loss, and the function it is of."""
    return bool(getattr(optimizer, "evaluates", False))


def of_run(optimizer: Any, run: int, runs: int) -> Any:
    """The optimizer of one of several runs that train one after the other."""
    if isinstance(optimizer, GradientDescent) and optimizer.rates:
        if len(optimizer.rates) != runs:
            raise ValueError(f"GradientDescent has {len(optimizer.rates)} learning rates for {runs} runs")
        return replace(optimizer, learning_rate=optimizer.rates[run])
    return optimizer


def batched_update(optimizer: Any, context: Context) -> Callable[..., tuple[Values, Any]]:
    """``update`` over a leading axis of runs."""
    together = isinstance(optimizer, GradientDescent) and optimizer.rates

    def update(gradients: Values, state: Any, values: Values) -> tuple[Values, Any]:
        function = optimizer.update_runs if together else optimizer.update
        made: tuple[Values, Any] = function(gradients, state, values, context)
        return made

    batched: Callable[..., tuple[Values, Any]] = (
        update if together or is_stateful(optimizer) else context.backend.vmap(update)
    )
    return batched
