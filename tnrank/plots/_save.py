"""Figures as bytes, so that the caller can write them atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS = ("png", "svg", "pdf")


def image_bytes(figure: Figure, path: str | Path, dpi: int = 200) -> bytes:
    """The figure as the content of a file called ``path``: the suffix says the format.

    Args:
        figure: from a function of this module.
        path: ends in ``.png``, ``.svg`` or ``.pdf``.
        dpi: dots an inch of a ``.png``.

    Raises:
        ValueError: for another suffix.

    Example:
        >>> from tnrank.plots import Panel, dynamics, image_bytes
        >>> image_bytes(dynamics([Panel("one", [0, 1], [[0.0], [1.0]])]), "figure.png")[1:4]
        b'PNG'
    """
    suffix = Path(path).suffix.lower().lstrip(".")
    if suffix not in _FORMATS:
        raise ValueError(f"{path} has the suffix {'.' + suffix!r}: a figure ends in .png, .svg or .pdf")
    buffer = io.BytesIO()
    # Without a date in it, the same figure is the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
    figure.savefig(buffer, format=suffix, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
