"""A module that holds the arrays of a factorization."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch

import tnrank


class Factorization(torch.nn.Module):
    """A factorization whose arrays are parameters, for one's own training loop.

    The arrays are copied: ``x`` stays what it was. ``module.parameters`` are what ``torch.optim`` trains, ``value()``
    is the factorization of them, differentiable, and calling the module gives entries or the whole end tensor.
    ``state_dict``, ``.to(device)``, ``.double()``, ``torch.compile`` and the like work as on every module; the call
    without indices compiles to one graph.

    Args:
        x: any factorization; one of another backend is converted to PyTorch first.

    Raises:
        TypeError: if ``x`` is not a factorization.

    Example:
        >>> import torch, tnrank
        >>> from tnrank_torch import nn
        >>> x = tnrank.CPFactorization.random((4, 4, 4), rank=3, seed=0, backend="torch", dtype="float64")
        >>> module = nn.Factorization(x)
        >>> sorted(name for name, _ in module.named_parameters())
        ['arrays.A0', 'arrays.A1', 'arrays.A2']
        >>> optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        >>> indices, values = [[0, 1, 2], [3, 3, 3]], torch.tensor([1.0, -1.0], dtype=torch.float64)
        >>> for _ in range(300):
        ...     optimizer.zero_grad()
        ...     loss = ((module(indices) - values) ** 2).mean()
        ...     loss.backward()
        ...     optimizer.step()
        >>> bool(loss < 1e-6)
        True
        >>> module.value().component_norms().shape
        torch.Size([3])
    """

    def __init__(self, x: tnrank.Factorization) -> None:
        super().__init__()
        if not isinstance(x, tnrank.Factorization):
            raise TypeError(
                f"got {type(x).__name__}, needed a factorization such as tnrank.CPFactorization.random((8, 8, 8))"
            )
        x = x if x.backend.name == "torch" else x.to("torch")
        values, self._structure = x._flatten()
        self._kind = type(x)
        self._tensors = tuple(x.network.tensors)
        self._names = tuple(_safe_names(self._tensors))
        # Planned here, so that a compiler meets nothing but the contractions.
        self._plan = x.network.plan(x.network.sizes(x.arrays))
        self.arrays = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(value.detach().clone()) for name, value in zip(self._names, values, strict=True)}
        )

    def value(self) -> Any:
        """The factorization of the present parameters; gradients flow through it."""
        return self._kind._unflatten(self._structure, [self.arrays[name] for name in self._names])

    def forward(self, indices: Any = None) -> torch.Tensor:
        """Entries at ``indices`` of shape ``(M, N)``, or the end tensor without them.

        Raises:
            ValueError: see :meth:`tnrank.Factorization.entries`.
        """
        if indices is None:
            named = zip(self._tensors, self._names, strict=True)
            found: torch.Tensor = self._plan({tensor: self.arrays[name] for tensor, name in named})
            return found
        found = self._entries(indices)
        return found

    # Indices are checked on the host, which a compiled program must leave for that.
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch gives it no types
    def _entries(self, indices: Any) -> torch.Tensor:
        found: torch.Tensor = self.value().entries(indices)
        return found

    def extra_repr(self) -> str:
        try:
            return repr(self.value())
        except (KeyError, AttributeError):  # its parameters were taken away or renamed
            return self._kind.__name__


def _safe_names(tensors: Iterable[Any]) -> Iterable[str]:
    """Tensor names as keys of a state dict: ``"leaf 0"`` to ``"leaf_0"``, ``"{0,1}"`` to ``"node_0_1"``."""
    used: set[str] = set()
    for tensor in tensors:
        name = re.sub(r"\W+", "_", str(tensor).replace("'", " prime")).strip("_") or "tensor"
        name = name if name[0].isalpha() else f"node_{name}"
        while name in used or hasattr(torch.nn.ParameterDict, name):
            name += "_"
        used.add(name)
        yield name
