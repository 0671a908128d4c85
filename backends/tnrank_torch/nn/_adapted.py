"""A frozen layer with a factorized change."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tnrank_torch.nn._layer import FactorizedLayer


class AdaptedLayer(nn.Module):
    """A frozen layer plus a factorized change of its weight; :func:`adapt` makes them.

    Attributes:
        base: the layer as it was, frozen.
        change: a factorized layer without bias, whose output is added.
    """

    def __init__(self, base: nn.Module, change: FactorizedLayer) -> None:
        super().__init__()
        self.base, self.change = base.requires_grad_(False), change

    @property
    def weight(self) -> torch.Tensor:
        """The changed weight."""
        base: Any = self.base.weight
        return base + self.change.weight  # type: ignore[no-any-return]  # a module's attributes have no types

    @property
    def bias(self) -> Any:
        """The bias of the layer."""
        return getattr(self.base, "bias", None)

    def dense_weight(self) -> torch.Tensor:
        """The changed weight."""
        return self.weight

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs of the layer and of the change, added."""
        y: torch.Tensor = self.base(input) + self.change(input)
        return y

    @torch.no_grad()
    def merge(self) -> nn.Module:
        """The layer with the changed weight."""
        base: Any = self.base
        changed = self.weight.to(base.weight.dtype)
        base.weight.copy_(changed)
        return base  # type: ignore[no-any-return]  # a module's attributes have no types
