"""From images to what factorizations and circuits take: states of pixels, patches, gray and smaller images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tnrank._check import whole_number
from tnrank._explained import explained
from tnrank.data._arrays import NDArray, color_axes, image_array, unit_pixels

if TYPE_CHECKING:
    from tnrank._typing import Array

# ITU-R BT.601, as in Pillow and torchvision: what the eye sees of red, green and blue.
_LUMA = (0.299, 0.587, 0.114)


@explained
def states(images: Array, levels: int = 2) -> NDArray:
    """The gray level of every pixel as an index: an image becomes one entry of a tensor with a mode a pixel.

    A pixel x in [0, 1] has the state ``round(x * (levels - 1))``; a value halfway goes to the even one.

    Args:
        images: ``(M, H, W)`` or ``(M, N)``, uint8 (0 .. 255) or floats in [0, 1].
        levels: number of states, the dimension of every mode, 2 .. 256.

    Returns:
        uint8 array ``(M, N)`` of 0 .. levels - 1, pixels row by row: the ``indices`` of observed entries.

    Raises:
        ValueError: if images have another shape, color, values outside [0, 1] or NaN, or ``levels`` is out of range.
        TypeError: if an argument is of another type.

    Source: Razin, Maman & Cohen 2021, App. (MNIST and Fashion-MNIST as completion of order 784).

    Example:
        >>> import numpy as np
        >>> from tnrank.data import states
        >>> states(np.array([[[0, 60], [127, 255]]], dtype=np.uint8))
        array([[0, 0, 0, 1]], dtype=uint8)
        >>> states(np.array([[0.0, 0.2, 0.8]]), levels=5)
        array([[0, 1, 3]], dtype=uint8)
    """
    count = whole_number(levels, "levels", 2, 256)
    checked = image_array(images, axes=(2, 3))
    flat = checked.reshape(len(checked), -1)
    if flat.dtype == np.uint8:
        # A table instead of floats takes an eighth of the memory.
        table = np.rint(np.arange(256) / 255 * (count - 1)).astype(np.uint8)
        return table[flat]
    found: NDArray = np.rint(unit_pixels(flat) * (count - 1)).astype(np.uint8)
    return found


@explained
def patches(images: Array, size: int = 1) -> NDArray:
    """Square patches of images, row by row, as the inputs of a circuit.

    Args:
        images: ``(M, H, W)`` or ``(M, H, W, channels)``, uint8 (0 .. 255) or floats in [0, 1].
        size: side of a patch, which divides H and W.

    Returns:
        Floats in [0, 1] of shape ``(M, H / size * W / size, channels * size * size)``, in the order of
        :func:`tnrank.circuits.patches`: channel by channel, each row by row.

    Raises:
        ValueError: if images have another shape, values outside [0, 1] or NaN, or ``size`` does not divide the sides.
        TypeError: if an argument is of another type.

    Example:
        >>> import numpy as np
        >>> from tnrank.data import patches
        >>> patches(np.arange(16, dtype=np.uint8).reshape(1, 4, 4), size=2)[0, 1] * 255
        array([2., 3., 6., 7.])
    """
    from tnrank.circuits import patches as cut

    checked = color_axes(image_array(images, axes=(3, 4)))
    side = _side(size, checked.shape)
    found: NDArray = cut(np.moveaxis(unit_pixels(checked), -1, 1), side)
    return found


@explained
def gray(images: Array) -> NDArray:
    """One value a pixel: 0.299 red + 0.587 green + 0.114 blue.

    Args:
        images: ``(M, H, W, 3)`` in the order red, green, blue, or ``(M, H, W)`` and ``(M, H, W, 1)``, which are gray;
            uint8 (0 .. 255) or floats in [0, 1].

    Returns:
        Floats in [0, 1] of shape ``(M, H, W)``.

    Raises:
        ValueError: if images have another shape, values outside [0, 1] or NaN.
        TypeError: if they are no array of numbers.

    Source: Recommendation ITU-R BT.601 (luma), the conversion of Pillow and torchvision.

    Example:
        >>> import numpy as np
        >>> from tnrank.data import gray
        >>> gray(np.array([[[[255, 0, 0], [0, 255, 0], [255, 255, 255]]]], dtype=np.uint8)).round(3)
        array([[[0.299, 0.587, 1.   ]]])
    """
    checked = color_axes(image_array(images, axes=(3, 4)))
    channels = checked.shape[3]
    if channels not in (1, 3):
        raise ValueError(
            f"images have {channels} channels, needed 1 or 3 (red, green, blue): pass images[..., :3] or images[..., 0]"
        )
    if channels == 1:
        return unit_pixels(checked)[..., 0]
    if checked.dtype != np.uint8:
        checked = unit_pixels(checked)
        mixed: NDArray = np.minimum(checked @ np.asarray(_LUMA, checked.dtype), 1)
        return mixed
    found: NDArray = np.empty(checked.shape[:3])
    # One sample at a time: the floats of all colors would take 24 times the memory of the bytes.
    for sample, image in zip(found, checked, strict=True):
        np.minimum((image / 255.0) @ _LUMA, 1, out=sample)
    return found


@explained
def average_pool(images: Array, size: int) -> NDArray:
    """Smaller images: the mean of every ``size`` x ``size`` block of pixels.

    Args:
        images: ``(M, H, W)`` or ``(M, H, W, channels)``, uint8 (0 .. 255) or floats in [0, 1].
        size: side of a block, which divides H and W.

    Returns:
        Floats in [0, 1] of shape ``(M, H / size, W / size)``, with channels if there were any.

    Raises:
        ValueError: if images have another shape, values outside [0, 1] or NaN, or ``size`` does not divide the sides.
        TypeError: if an argument is of another type.

    Example:
        >>> import numpy as np
        >>> from tnrank.data import average_pool
        >>> average_pool(np.array([[[0, 255, 51], [0, 255, 51], [0, 0, 0]]], dtype=np.uint8), 3).round(3)
        array([[[0.267]]])
    """
    given = image_array(images, axes=(3, 4))
    checked = color_axes(given)
    side = _side(size, checked.shape)
    count, height, width, channels = checked.shape
    blocks = unit_pixels(checked).reshape(count, height // side, side, width // side, side, channels)
    found: NDArray = blocks.mean(axis=(2, 4))
    return found if given.ndim == 4 else found[..., 0]


def _side(size: int, shape: tuple[int, ...]) -> int:
    height, width = shape[1:3]
    side = whole_number(size, "size", 1)
    if height % side or width % side:
        common = int(np.gcd(height, width))
        fitting = [str(k) for k in range(1, common + 1) if common % k == 0]
        raise ValueError(
            f"size divides both sides of an image, got {side} for {height} x {width}: give {' or '.join(fitting)}"
        )
    return side
