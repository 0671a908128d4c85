"""Errors and warnings that say which layer of a model they are about."""

from __future__ import annotations

import warnings
from typing import Any

from tnrank._check import instance
from tnrank._warn import warn


class naming:  # read as a verb: with naming("head"): ..
    """Put the name of a layer in front of errors and warnings inside a ``with`` block.

    Args:
        layer: its name in the model; nothing is put in front for ``""``, the model itself.

    Raises:
        TypeError: if the name is no text.

    Example:
        >>> from tnrank.layers import naming, weight_format
        >>> with naming("head"):
        ...     weight_format("linear", (4, 4), "tt", rank=2, depth=3)
        Traceback (most recent call last):
            ...
        ValueError: layer 'head': depth is the number of factors of 'mf', and structure 'tt' has none: leave it out
    """

    def __init__(self, layer: str) -> None:
        instance(layer, "layer", str, "the name of a layer such as 'blocks.0.mlp'")
        self._front = f"layer {layer!r}: " if layer else ""
        self._catching = warnings.catch_warnings(record=True)

    def __enter__(self) -> None:
        self._caught = self._catching.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._catching.__exit__(kind, error, trace)
        for one in self._caught or ():
            warn(f"{self._front}{one.message}", one.category)
        for known in (TypeError, ValueError):
            if self._front and type(error) is known:
                raise known(f"{self._front}{error}") from None
