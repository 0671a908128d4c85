"""Image files as arrays."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._reading import check_size, reading
from tnrank.data._extra import require

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF")
"""Pillow would start other programs for some formats that it finds under these suffixes."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FILTERS = threading.Lock()
"""Python's filters of warnings are global: two threads would restore those of one another."""


def read_image(path: Path) -> tuple[np.ndarray[Any, Any], float]:
    """An image as float64 in [0, 1], and the step that its values are rounded to.

    Its shape is ``(height, width)`` if gray and ``(height, width, 3)`` if in color. 8-bit images and 16-bit gray ones;
    an alpha channel is left out.

    Raises:
        ValueError: if the file cannot be read, is too large, holds several frames, or pixels without a range of values.
        ImportError: if pillow is not installed.
    """
    pillow = require("PIL.Image", "pillow", f"reading {path.suffix} files")
    with reading(path, "cannot be read as an image") as file:
        with _FILTERS, warnings.catch_warnings():
            # Of damage that pillow reads on over: what it cannot read is an error.
            warnings.simplefilter("ignore")
            with file.open("rb") as stream:
                tiff = stream.read(4) in _TIFF
            with _quiet_libtiff() if tiff else nullcontext():
                mode, frames, pixels = _read(pillow, file)
        if frames != 1:
            raise ValueError(f"{file} has {frames} frames, needed one image: save the frames as one .npy array")
        if mode in ("I", "F"):
            raise ValueError(f"{file} has pixels of mode {mode!r} without a range of values: save it as .npy")
        step = 1 / 65535.0 if mode.startswith("I;16") else 1.0 if mode == "1" else 1 / 255.0
        return pixels.astype(np.float64) / (65535.0 if mode.startswith("I;16") else 255.0), step


def _read(pillow: Any, file: Path) -> tuple[str, int, np.ndarray[Any, Any]]:
    with pillow.open(file, formats=_FORMATS) as image:
        width, height = image.size
        # The pixels as they are read, and as float64.
        check_size(file, 12 * width * height * len(image.getbands()), "an image", compressed=True)
        frames = getattr(image, "n_frames", 1)
        image.load()
        mode = image.mode
        if mode in ("1", "L", "LA", "La"):
            image = image.convert("L")
        elif not mode.startswith("I;16"):
            image = image if mode in ("I", "F") else image.convert("RGB")
        return mode, frames, np.asarray(image)


@contextmanager
def _quiet_libtiff() -> Iterator[None]:
    """Neither pillow's log nor the C library, which writes to the process's standard error, repeat what is raised."""
    log = logging.getLogger("PIL.TiffImagePlugin")
    was, log.disabled = log.disabled, True
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        kept = None
    try:
        if kept is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        yield
    finally:
        log.disabled = was
        if kept is not None:
            os.dup2(kept, 2)
            os.close(kept)
