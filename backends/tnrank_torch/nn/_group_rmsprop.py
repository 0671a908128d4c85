"""Gradient descent with one adaptive learning rate, as an optimizer of PyTorch."""

from __future__ import annotations

from typing import Any

import torch

import tnrank


class GroupRMSProp(torch.optim.Optimizer):
    """One adaptive learning rate for all weights of a parameter group, so that steps have the gradient's direction.

    :class:`tnrank.GroupRMSProp` as an optimizer of PyTorch. Adam rescales every entry by itself, which lets many
    components of a factorization grow at once. Here large components grow first, as under gradient flow. It suits full
    batches; the noise of minibatches asks for a smaller learning rate.

    Args:
        params: parameters, or parameter groups with learning rates of their own.
        lr: norm of a step while gradients neither grow nor shrink.
        decay: of the running mean of squared gradient norms.
        eps: added to the root of that mean.

    Raises:
        TypeError: if a number is no number.
        ValueError: if it is out of range.

    Source: the adaptive scheme of Razin & Cohen 2020, Razin et al. 2021 and 2022 (published code).

    Example:
        >>> import torch
        >>> from tnrank_torch import nn
        >>> x = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = nn.GroupRMSProp([x], lr=0.5)
        >>> (x**2).sum().backward()
        >>> optimizer.step()
        >>> x.data
        tensor([2.7000, 3.6000])
    """

    def __init__(self, params: Any, lr: float = 1e-2, decay: float = 0.99, eps: float = 1e-6) -> None:
        tnrank.GroupRMSProp(lr, decay, eps)  # refuses what is out of range
        super().__init__(params, {"lr": lr, "decay": decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; ``closure``, if there is one, computes loss and gradients, and its loss is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            # State that a group shares stands with its first parameter, so that it is saved and pruned like any other.
            state, decay = self.state[group["params"][0]], group["decay"]
            squares = torch.stack([p.grad.square().sum() for p in moved]).sum()
            if not state:
                state.update(mean=torch.zeros_like(squares), remaining=torch.zeros_like(squares))
            state["mean"] = decay * state["mean"] + (1 - decay) * squares
            state["remaining"] = decay * state["remaining"] + (1 - decay)
            rate = group["lr"] / ((state["mean"] / state["remaining"]).sqrt() + group["eps"])
            for p in moved:
                p -= rate * p.grad
        return loss
