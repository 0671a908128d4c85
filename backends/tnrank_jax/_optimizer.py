"""Gradient transformations of optax as optimizers of ``complete``."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import jax.numpy as jnp


class OptaxOptimizer:
    """An optax gradient transformation, or any object with its ``init`` and ``update``.

    Transformations that ask for more than gradients (line searches, step sizes from the loss, sharpness-aware steps)
    get ``value``, ``grad``, ``value_fn`` and ``grad_fn``, the names that optax uses.
    """

    evaluates = True

    def __init__(self, transformation: Any) -> None:
        self.transformation = transformation
        try:
            parameters = list(inspect.signature(transformation.update).parameters.values())
        except (TypeError, ValueError):  # a callable without a signature takes what every transformation takes
            parameters = []
        self.takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
        self.taken = frozenset(p.name for p in parameters)

    # Runs with one transformation share their compiled program.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, OptaxOptimizer) and other.transformation is self.transformation

    def __hash__(self) -> int:
        return hash((OptaxOptimizer, id(self.transformation)))

    def init(self, parameters: Any, context: Any) -> Any:
        """The state before the first update."""
        try:
            return self.transformation.init(parameters)
        except (AttributeError, TypeError) as error:
            raise TypeError(
                f"the optax transformation does not start from a tuple of arrays ({error}): complete takes those that "
                "do, such as optax.adam(1e-3) or optax.lbfgs()"
            ) from error

    def update(
        self, gradients: Any, state: Any, parameters: Any, context: Any, loss: Any, function: Any
    ) -> tuple[Any, Any]:
        """One update; ``function`` is the loss as a function of the parameters, ``loss`` its value at them."""

        # Line searches refuse arguments that their function does not take, whoever else they are for.
        def value_fn(arrays: Any, grad_fn: Any = None, obj_fn: Any = None) -> Any:
            return function.value(arrays)

        def grad_fn(arrays: Any, *_: Any) -> Any:
            return function.value_and_gradient(arrays)[1]

        extra = {"value": loss, "grad": gradients, "value_fn": value_fn, "grad_fn": grad_fn, "obj_fn": value_fn}
        if not self.takes_all:
            extra = {name: given for name, given in extra.items() if name in self.taken}
        try:
            updates, new = self.transformation.update(gradients, state, parameters, **extra)
        except (AttributeError, TypeError) as error:
            raise TypeError(
                f"the optax transformation does not move a tuple of arrays by gradients, value, grad, value_fn and "
                f"grad_fn, which is all that complete has ({error})"
            ) from error
        # A compiled loop keeps the dtypes of its state; transformations may widen or narrow theirs.
        new = jax.tree.map(lambda a, before: _as_before(a, before), new, state)
        return tuple(p + u.astype(p.dtype) for p, u in zip(parameters, updates, strict=True)), new


def _as_before(new: Any, before: Any) -> Any:
    dtype = jnp.result_type(before) if not hasattr(before, "dtype") else before.dtype
    return new if getattr(new, "dtype", None) == dtype else jnp.asarray(new, dtype)
