"""Image files as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tnrank.data._extra import require

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")


def read_image(path: Path) -> np.ndarray[Any, Any]:
    """An image as float64 in [0, 1]: ``(height, width)`` if gray, ``(height, width, 3)`` if in color.

    8-bit images and 16-bit gray ones; an alpha channel is left out.

    Raises:
        ValueError: if the file cannot be read, holds several frames, or pixels without a range of values.
        ImportError: if pillow is not installed.
    """
    pillow = require("PIL.Image", "pillow", f"reading {path.suffix} files")
    try:
        with pillow.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            image.load()
            mode = image.mode
            if mode in ("1", "L", "LA", "La"):
                image = image.convert("L")
            elif not mode.startswith("I;16"):
                image = image if mode in ("I", "F") else image.convert("RGB")
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    if frames != 1:
        raise ValueError(f"{path} has {frames} frames, needed one image: save the frames as one .npy array")
    if mode in ("I", "F"):
        raise ValueError(f"{path} has pixels of mode {mode!r} without a range of values: save it as .npy")
    return pixels.astype(np.float64) / (65535.0 if mode.startswith("I;16") else 255.0)
