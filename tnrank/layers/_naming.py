"""Errors that say which layer of a model they are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tnrank._check import instance


@contextmanager
def naming(layer: str) -> Iterator[None]:
    """Put the name of a layer in front of errors that are raised inside a ``with`` block.

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
    instance(layer, "layer", str, "the name of a layer such as 'blocks.0.mlp'")
    try:
        yield
    except (TypeError, ValueError) as error:
        if not layer:
            raise
        raise type(error)(f"layer {layer!r}: {error}") from None
