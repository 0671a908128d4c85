"""Twins of a data set: they keep its sizes and class counts, and lose one property of natural data each."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tnrank._check import generator, whole_number
from tnrank._explained import explained
from tnrank.data._arrays import NDArray, image_array, label_array, unit_pixels
from tnrank.data._labels import several_classes

if TYPE_CHECKING:
    from tnrank._typing import Array

# One stream a twin, so that twins of the same seed have nothing in common.
_IMAGES, _LABELS, _PIXELS, _INDEPENDENT = range(1, 5)


@explained
def random_images(images: Array, levels: int | None = None, seed: int = 0) -> NDArray:
    """Replace the images by noise: all pixels are uniform and independent. Keep the labels as they are.

    The noise depends on the seed and on the images, so that training and test set get different noise from one seed.

    Args:
        images: states or images ``(M, N)``, ``(M, H, W)`` or ``(M, H, W, channels)``: whole numbers from 0 on, or
            floats in [0, 1].
        levels: number of values a pixel has; ``None`` is the largest whole number + 1, and for floats all of [0, 1).
        seed: of NumPy's Generator.

    Returns:
        Array of the shape and dtype of ``images``: 0 .. levels - 1, or for floats k / (levels - 1).

    Raises:
        ValueError: if images have another shape, negative numbers, floats outside [0, 1] or NaN, or ``levels`` is too
            small for them.
        TypeError: if an argument is of another type.

    Source: Razin, Maman & Cohen 2021, tensor rank as a measure of complexity ("rand image").

    Example:
        >>> import numpy as np
        >>> from tnrank.data import random_images
        >>> twin = random_images(np.ones((1000, 4), dtype=np.uint8), levels=2, seed=0)
        >>> twin.shape, sorted(set(twin.flat)) == [0, 1], abs(float(twin.mean()) - 0.5) < 0.05
        ((1000, 4), True, True)
    """
    checked = image_array(images)
    draws = generator(seed, _IMAGES, zlib.crc32(np.ascontiguousarray(checked).data))
    if checked.dtype.kind == "f":
        unit_pixels(checked)  # refuses what is outside [0, 1]
        if levels is None:
            return np.asarray(draws.random(checked.shape)).astype(checked.dtype)
        count = whole_number(levels, "levels", 2, 2**31)
        return np.asarray(draws.integers(0, count, checked.shape) / (count - 1)).astype(checked.dtype)
    low, high = int(checked.min()), int(checked.max())
    if low < 0:
        raise ValueError(f"images have whole numbers from {low} on, needed states or gray levels from 0 on")
    least, most = max(high + 1, 2), 2 if checked.dtype.kind == "b" else int(np.iinfo(checked.dtype).max) + 1
    count = least if levels is None else whole_number(levels, "levels", 2)
    if not least <= count <= most:
        raise ValueError(
            f"images of dtype {checked.dtype} have values up to {high}: levels are from {least} to {most}, got {count}"
        )
    kind = np.uint8 if checked.dtype.kind == "b" else checked.dtype.type
    return np.asarray(draws.integers(0, count, checked.shape, dtype=kind)).astype(checked.dtype)


@explained
def random_labels(labels: Array | Sequence[int], seed: int = 0) -> NDArray:
    """Permute the labels at random: the class counts stay, and the labels say nothing about the images.

    Args:
        labels: ``(M,)`` whole numbers.
        seed: of NumPy's Generator.

    Returns:
        int64 array ``(M,)``, a permutation of the labels.

    Raises:
        ValueError: if there is one class only.
        TypeError: if an argument is of another type.

    Source: Razin, Maman & Cohen 2021, tensor rank as a measure of complexity ("rand
        label"); Zhang et al. 2017.

    Example:
        >>> from tnrank.data import random_labels
        >>> sorted(random_labels([0, 0, 1, 2], seed=0).tolist())
        [0, 0, 1, 2]
    """
    checked = label_array(labels)
    several_classes(checked)
    return generator(seed, _LABELS).permutation(checked)


@explained
def shuffled_pixels(images: Array, seed: int = 0) -> NDArray:
    """Permute the pixels of all images by one random permutation: only the neighborhoods of pixels are lost.

    The permutation depends on the seed and the number of pixels alone: training and test set get the same one.

    Args:
        images: ``(M, N)``, ``(M, H, W)`` or ``(M, H, W, channels)``; a pixel moves with its channels.
        seed: of NumPy's Generator.

    Returns:
        Array of the shape and dtype of ``images``. Its flat pixel n is pixel ``pixel_permutation(N, seed)[n]`` of
        ``images``.

    Raises:
        ValueError: if images have another shape, or NaN.
        TypeError: if an argument is of another type.

    Source: Alexander, De La Vega, Razin & Cohen 2023 (randomly permuted features).

    Example:
        >>> import numpy as np
        >>> from tnrank.data import pixel_permutation, shuffled_pixels
        >>> images = np.arange(18).reshape(2, 3, 3)
        >>> order = pixel_permutation(9, seed=1)
        >>> bool((shuffled_pixels(images, seed=1)[1].ravel() == images[1].ravel()[order]).all())
        True
    """
    checked = image_array(images)
    pixels = _by_pixel(checked)
    return pixels[:, pixel_permutation(pixels.shape[1], seed)].reshape(checked.shape)


@explained
def pixel_permutation(number: int, seed: int = 0) -> NDArray:
    """The permutation of :func:`shuffled_pixels`.

    Args:
        number: number of pixels N.
        seed: of NumPy's Generator.

    Returns:
        int64 array ``(N,)``: which pixel stands at each place. ``numpy.argsort`` of it puts them back.

    Raises:
        ValueError: if ``number`` is not from 1 to 2^31.
        TypeError: if an argument is of another type.

    Example:
        >>> from tnrank.data import pixel_permutation
        >>> sorted(pixel_permutation(5, seed=0).tolist())
        [0, 1, 2, 3, 4]
    """
    count = whole_number(number, "number", 1, 2**31)
    return generator(seed, _PIXELS).permutation(count).astype(np.int64)


@explained
def independent_pixels(images: Array, seed: int = 0) -> NDArray:
    """Permute the values of each pixel over the samples: every pixel keeps its distribution, dependence is lost.

    Each pixel has a permutation of its own. The dependence between pixels and labels is lost, too.

    Args:
        images: ``(M, N)``, ``(M, H, W)`` or ``(M, H, W, channels)``, two samples or more; a pixel's channels stay
            together.
        seed: of NumPy's Generator.

    Returns:
        Array of the shape and dtype of ``images``; each pixel has the same values as before, in another order.

    Raises:
        ValueError: if images have another shape or NaN, or there is one sample.
        TypeError: if an argument is of another type.

    Example:
        >>> import numpy as np
        >>> from tnrank.data import independent_pixels
        >>> images = np.arange(12).reshape(4, 3)
        >>> twin = independent_pixels(images, seed=0)
        >>> bool((np.sort(twin, axis=0) == images).all()), bool((twin == images).all())
        (True, False)
    """
    checked = image_array(images)
    if len(checked) < 2:
        raise ValueError(f"the values of a pixel are permuted over two samples or more, got shape {checked.shape}")
    draws, pixels = generator(seed, _INDEPENDENT), _by_pixel(checked)
    found: NDArray = np.empty_like(pixels)
    for n in range(pixels.shape[1]):
        found[:, n] = pixels[draws.permutation(len(pixels)), n]
    return found.reshape(checked.shape)


def _by_pixel(images: NDArray) -> NDArray:
    """``(M, N)``, or ``(M, N, channels)`` for color."""
    return images.reshape(len(images), -1, *images.shape[3:])
