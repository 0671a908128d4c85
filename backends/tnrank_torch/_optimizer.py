"""Optimizers of ``torch.optim`` as optimizers of ``complete``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import optim

Tensors = Sequence[torch.Tensor]
Factory = Callable[[list[torch.Tensor]], optim.Optimizer]

_ELEMENTWISE: tuple[type[optim.Optimizer], ...] = (
    *(optim.ASGD, optim.Adadelta, optim.Adagrad, optim.Adam, optim.AdamW, optim.Adamax),
    *(optim.NAdam, optim.RAdam, optim.RMSprop, optim.Rprop, optim.SGD),
)
"""Optimizers that treat each weight by itself, so that one of them can train a batch of runs."""


class TorchOptimizer:
    """A ``torch.optim`` class, or a function of the parameters that makes an optimizer.

    Every optimizer gets a closure. In a batch each run has an optimizer of its own, unless its kind treats weights one
    by one.
    """

    stateful = True
    evaluates = True

    def __init__(self, factory: Factory) -> None:
        if isinstance(factory, optim.Optimizer):
            raise TypeError(
                f"got a {type(factory).__name__} that holds parameters already, needed its class or a function of the "
                f"parameters: functools.partial(torch.optim.{type(factory).__name__}, lr=1e-3)"
            )
        self.factory = factory

    def init(self, parameters: Tensors, context: Any) -> Any:
        """The leaves that the optimizer moves, and what moves them."""
        leaves = [p.detach().clone() for p in parameters]
        return leaves, _Mover(self.factory, leaves)

    def init_runs(self, parameters: Tensors, context: Any) -> Any:
        """As :meth:`init`, for runs along the first axis: one optimizer for all, or a list of one for each."""
        leaves = [p.detach().clone() for p in parameters]
        # Each moves views of one run's leaves, so that an optimizer of matrices sees matrices.
        first = _Mover(self.factory, _slices(leaves, 0))
        if type(first.optimizer) in _ELEMENTWISE:
            return leaves, _Mover(self.factory, leaves)
        return leaves, [first, *(_Mover(self.factory, _slices(leaves, run)) for run in range(1, len(leaves[0])))]

    def update(
        self, gradients: Tensors, state: Any, parameters: Tensors, context: Any, loss: Any, function: Any
    ) -> tuple[Any, Any]:
        """One step; ``function`` is the loss as a function of the parameters, ``loss`` its value at them."""
        leaves, mover = state
        mover.step(gradients, loss, function)
        return tuple(leaf.clone() for leaf in leaves), state

    def update_runs(
        self,
        gradients: Tensors,
        state: Any,
        parameters: Tensors,
        losses: torch.Tensor,
        *,
        active: torch.Tensor,
        context: Any,
        function_of: Callable[[int], Any],
    ) -> tuple[Any, Any]:
        """One step of all runs, or of those that are ``active`` where each has its own optimizer."""
        leaves, movers = state
        if isinstance(movers, list):
            for run in torch.nonzero(active).flatten().tolist():
                movers[run].step(_slices(gradients, run), losses[run], function_of(run))
        else:
            movers.step(gradients, losses, None)
        return tuple(leaf.clone() for leaf in leaves), state


class _Mover:
    """An optimizer and the leaves that it moves."""

    def __init__(self, factory: Factory, leaves: list[torch.Tensor]) -> None:
        self.leaves = leaves
        try:
            self.optimizer = factory(leaves)
        except Exception as error:
            raise TypeError(
                f"the optimizer {_name(factory)} cannot be made for the arrays of the factorization: {error}"
            ) from error
        if not isinstance(self.optimizer, optim.Optimizer):
            raise TypeError(
                f"the optimizer {_name(factory)} made a {type(self.optimizer).__name__}, needed a "
                "torch.optim.Optimizer: give a torch.optim class or functools.partial(torch.optim.Adam, lr=1e-3)"
            )
        if isinstance(self.optimizer, optim.SparseAdam):
            raise TypeError(
                "SparseAdam is for sparse gradients, and those of a factorization are dense: torch.optim.Adam"
            )
        # The optimizers of torch call the closure before they move anything; of others that is not known.
        self.evaluates_first = type(self.optimizer).__module__.startswith("torch.optim")

    def state_dict(self) -> Any:
        """What a checkpoint keeps."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Any) -> None:
        """Go on from a checkpoint."""
        self.optimizer.load_state_dict(state)

    def step(self, gradients: Tensors, loss: Any, function: Any) -> None:
        """One step from the leaves as they are, where loss and gradients are known."""
        self._set(gradients)
        known = self.evaluates_first

        def closure() -> Any:
            nonlocal known
            if known:
                known = False
                return loss
            value, gradient = function.value_and_gradient(self.leaves)
            self._set(gradient)
            return value

        self.optimizer.step(closure)

    def _set(self, gradients: Tensors) -> None:
        for leaf, gradient in zip(self.leaves, gradients, strict=True):
            leaf.grad = gradient


def _slices(tensors: Tensors, run: int) -> list[torch.Tensor]:
    return [tensor[run] for tensor in tensors]


def _name(factory: Any) -> str:
    return str(getattr(factory, "__name__", None) or getattr(getattr(factory, "func", None), "__name__", factory))
