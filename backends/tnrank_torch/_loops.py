"""Loops of many small steps as one compiled program of several steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree

_STEPS = 16
"""Steps in one call: more cost compilation, fewer cost calls."""

Leaves = list[torch.Tensor]


class CompiledLoop:
    """``body`` applied to ``state`` as long as ``condition`` holds, both functions of tensors alone.

    A call of the program does several steps; those after ``condition`` has ended change nothing. The operations are
    those of the eager loop, traced, so that the numbers are the same.
    """

    def __init__(self, condition: Callable[..., Any], body: Callable[..., Any]) -> None:
        self.condition, self.body = condition, body
        self.programs: dict[Any, Callable[..., Any]] = {}
        self.failed = False

    def pays(self, state: Any) -> bool:
        """Whether a state is a few tensors on the host, so that steps cost calls and not arithmetic."""
        found: Sequence[Any] = _pytree.tree_leaves(state)
        if self.failed or not all(isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu" for leaf in found):
            return False
        return bool(sum(leaf.numel() for leaf in found) <= _SMALL)

    def __call__(self, state: Any, *given: Any) -> Any:
        """The state at the end; ``given`` are further arguments of both functions, numbers or trees of tensors."""
        while not self.failed:
            leaves, form = _pytree.tree_flatten(state)
            constants, rest = _pytree.tree_flatten(given)
            device = leaves[0].device
            constants = [torch.as_tensor(c, device=device) for c in constants]
            leaves = [leaf.contiguous() for leaf in leaves]
            key = (form, rest, tuple((a.shape, a.dtype, a.device) for a in [*leaves, *constants]))
            try:
                program = self.programs.get(key)
                if program is None:
                    program = self.programs[key] = self._compile(leaves, form, constants, rest)
                alive = bool(self.condition(state, *given))
                while alive:
                    going, *leaves = program(leaves, constants)
                    alive = bool(going)
                return _pytree.tree_unflatten(leaves, form)
            except Exception as error:
                # Without a compiler, or with one that fails, the run goes on as it would have without this.
                self.failed = True
                warnings.warn(
                    f"torch.compile failed, steps are not compiled: {type(error).__name__}: "
                    f"{str(error).strip().splitlines()[0] if str(error).strip() else ''}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        while self.condition(state, *given):
            state = self.body(state, *given)
        return state

    def _compile(self, leaves: Leaves, form: Any, constants: Leaves, rest: Any) -> Callable[..., Any]:
        def block(leaves: Leaves, constants: Leaves) -> Leaves:
            given = _pytree.tree_unflatten(constants, rest)
            for _ in range(_STEPS):
                state = _pytree.tree_unflatten(leaves, form)
                going = self.condition(state, *given)
                new = _pytree.tree_flatten(self.body(state, *given))[0]
                leaves = [torch.where(going, a, b) for a, b in zip(new, leaves, strict=True)]
            going = self.condition(_pytree.tree_unflatten(leaves, form), *given)
            return [going, *(leaf.contiguous() for leaf in leaves)]

        # Tensors that occur twice in the state would be traced as one.
        apart = [leaf.clone() for leaf in leaves]
        graph = make_fx(block, decomposition_table=_DECOMPOSED)(apart, constants)
        compiled: Callable[..., Any] = torch.compile(graph, fullgraph=True, dynamic=False)
        return compiled


def _small_products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A batched product as a loop that fuses with what stands around it, where the library's call costs more."""
    if a.shape[1] * a.shape[2] * b.shape[2] > _WRITTEN_OUT:
        return NotImplemented  # type: ignore[no-any-return]  # how a decomposition declines
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


_WRITTEN_OUT = 32
_SMALL = 1000
_DECOMPOSED: dict[Any, Callable[..., Any]] = {torch.ops.aten.bmm.default: _small_products}
