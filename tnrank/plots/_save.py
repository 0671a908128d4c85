"""Figures as bytes, so that the caller can write them atomically."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tnrank._check import instance, shown, whole_number
from tnrank._explained import explained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS = ("png", "svg", "pdf")


@explained
def image_bytes(figure: Figure, path: str | Path, dpi: int = 200) -> bytes:
    """The figure as the content of a file called ``path``: the suffix says the format.

    Args:
        figure: from a function of this module.
        path: ends in ``.png``, ``.svg`` or ``.pdf``.
        dpi: dots an inch of a ``.png``.

    Raises:
        ValueError: for another suffix.
        TypeError: if ``figure`` is none, or ``path`` no name.

    Example:
        >>> import numpy as np
        >>> from tnrank.plots import image_bytes, spectra
        >>> image_bytes(spectra(np.eye(2)), "figure.png")[1:4]
        b'PNG'
    """
    instance(path, "path", (str, os.PathLike), "the name of a file such as 'figure.png'")
    if not hasattr(figure, "savefig"):
        raise TypeError(f"figure is one of matplotlib, as the functions of tnrank.plots make it, got {shown(figure)}")
    whole_number(dpi, "dpi", 1, 10_000)
    suffix = Path(path).suffix.lower().lstrip(".")
    if suffix not in _FORMATS:
        raise ValueError(f"{path} has the suffix {'.' + suffix!r}: a figure ends in .png, .svg or .pdf")
    buffer = io.BytesIO()
    # Without a date in it, the same figure is the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix)
    figure.savefig(buffer, format=suffix, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
