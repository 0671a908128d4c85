"""Names for the types that the public signatures speak of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of any backend: ``numpy.ndarray``, ``jax.Array``, ``torch.Tensor`` or a third party's."""

Label: TypeAlias = Hashable
Labels: TypeAlias = "str | Sequence[Label]"
Sizes: TypeAlias = Mapping[Label, int]
Arrays: TypeAlias = Mapping[str, Array]
Shape: TypeAlias = tuple[int, ...]
Function: TypeAlias = Callable[..., Any]
