"""Checks of what users call images and labels: arrays of numbers with nothing missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._check import shown

NDArray = np.ndarray[Any, Any]

AXES = {2: "(M, N)", 3: "(M, H, W)", 4: "(M, H, W, channels)"}
_SLACK = 1e-6
"""Distance from [0, 1] that rounding in single precision explains."""


def image_array(images: Any, name: str = "images", axes: tuple[int, ...] = (2, 3, 4)) -> NDArray:
    """``images`` as a NumPy array with one of the numbers of ``axes``, finite and not empty.

    Raises:
        TypeError: if it is no array of real numbers.
        ValueError: if its shape is another, or entries are missing, NaN or infinite.
    """
    needed = f"{name} is an array of numbers of shape {' or '.join(AXES[n] for n in axes)}"
    found = numbers(images, name, needed)
    if found.ndim not in axes:
        raise ValueError(f"{needed}, got shape {found.shape}{_other_axes(found.shape, name, axes)}")
    if 0 in found.shape:
        raise ValueError(f"{needed} with at least one pixel of one sample, got shape {found.shape}")
    return found


def numbers(value: Any, name: str, needed: str) -> NDArray:
    """``value`` as a NumPy array of finite real numbers, of any shape; ``needed`` opens the error's sentence.

    Raises:
        TypeError: if it is no array of real numbers.
        ValueError: if entries are missing, NaN or infinite.
    """
    try:
        found = np.asarray(value)
    except Exception:  # ragged lists, and frameworks with arrays on another device: each has its own error
        raise TypeError(f"{needed}, got {shown(value)}") from None
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{needed}, got {shown(value)}")
    if np.ma.is_masked(value):
        count = int(np.ma.getmaskarray(value).sum())
        raise ValueError(
            f"{count:,} of {found.size:,} entries of {name} are masked: fill them in, "
            f"tnrank.fill_missing({name}).array, or leave their samples out"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        wrong = np.argwhere(~np.isfinite(found))
        raise ValueError(
            f"{len(wrong):,} of {found.size:,} entries of {name} are NaN or infinite, first at "
            f"{tuple(wrong[0].tolist())}: fill them in, tnrank.fill_missing({name}).array, or leave their samples out"
        )
    return found


def unit_pixels(images: NDArray, name: str = "images") -> NDArray:
    """Checked images as floats in [0, 1]: bytes are divided by 255; float32 stays, all else is float64.

    Raises:
        ValueError: if floats are outside [0, 1] or integers are no bytes; the call that scales them is given.
    """
    if images.dtype == np.uint8:
        return images / 255.0
    if images.dtype.kind == "b":
        return images.astype(np.float64)
    if images.dtype.kind != "f":
        raise ValueError(
            f"{name} has integers of dtype {images.dtype}, needed uint8 (0 .. 255) or floats in [0, 1]: "
            f"pass {name}.astype('uint8'), or {_scaled(name, float(images.min()), float(images.max()))}"
        )
    low, high = float(images.min()), float(images.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise ValueError(
            f"{name} has floats from {low:.4g} to {high:.4g}, needed [0, 1]: pass {_scaled(name, low, high)}, "
            f"with the same numbers for training and test"
        )
    return np.clip(images, 0.0, 1.0).astype(np.float32 if images.dtype == np.float32 else np.float64)


def label_array(labels: Any, name: str = "labels") -> NDArray:
    """``labels`` as an int64 array ``(M,)`` of at least one label.

    Raises:
        TypeError: if it is no array of whole numbers.
        ValueError: if its shape is another.
    """
    needed = f"{name} is an array of whole numbers of shape (M,)"
    found = numbers(labels, name, needed)
    if found.ndim != 1 or not found.size:
        fix = f": pass {name}.reshape(-1)" if found.ndim == 2 and 1 in found.shape else ""
        raise ValueError(f"{needed}, one or more, got shape {found.shape}{fix}")
    if found.dtype.kind == "f":
        raise TypeError(f"{needed}, got dtype {found.dtype}: pass {name}.astype('int64')")
    return found.astype(np.int64)


def color_axes(images: NDArray, name: str = "images") -> NDArray:
    """Checked images ``(M, H, W)`` or ``(M, H, W, channels)`` with an axis for the channels in any case.

    Raises:
        ValueError: if the channels stand before the rows.
    """
    if images.ndim == 3:
        return images[..., None]
    if images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        raise ValueError(
            f"{name} has shape {images.shape}, needed (M, H, W, channels): pass numpy.moveaxis({name}, 1, -1)"
        )
    return images


def _scaled(name: str, low: float, high: float) -> str:
    if low >= 0:
        return f"{name} / {high:g}" if high > 0 else f"{name}.astype('float64')"
    return f"({name} - {low:.6g}) / {high - low:.6g}" if high > low else f"0 * {name}"


def _other_axes(shape: tuple[int, ...], name: str, axes: tuple[int, ...]) -> str:
    if len(shape) == 4 and 4 not in axes:
        return f": tnrank.data.gray({name}) has one value a pixel, {name}.reshape({shape[0]}, -1) one mode a value"
    if len(shape) == 2 and 3 in axes:
        return f": give each sample its rows and columns, {name}.reshape({shape[0]}, H, W)"
    if len(shape) == 1 and 2 in axes:
        return f": one sample is {name}.reshape(1, -1)"
    return ""
