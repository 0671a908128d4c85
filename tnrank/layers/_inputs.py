"""Second moments of what a layer is given: rows of features, or the patches of images under a convolution's window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._check import one_of, sequence, shape, shown, whole_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.layers._host import host_array
from tnrank.layers._structures import Host

_PADDING = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""Padding modes of convolutions -> those of NumPy."""


@explained
def input_moments(inputs: Array, features: int) -> Host:
    """Second moments of inputs, for :func:`fit_weight`.

    Args:
        inputs: ``(.., features)``, of any backend.
        features: how many there are.

    Returns:
        The mean of the outer products of the rows, ``(features, features)``.

    Raises:
        ValueError: if the inputs have another shape, hold nothing, or have entries that are not finite.
        TypeError: if they are no array of real floating-point numbers.

    Example:
        >>> import numpy as np
        >>> from tnrank.layers import input_moments
        >>> input_moments(np.array([[1.0, 0.0], [1.0, 2.0]]), 2)
        array([[1., 1.],
               [1., 2.]])
    """
    features = whole_number(features, "features", 1)
    rows = _checked(inputs)
    if rows.ndim == 0 or rows.shape[-1] != features:
        raise ValueError(f"inputs have shape {rows.shape}, needed (.., {features})")
    rows = rows.reshape(-1, features)
    return np.asarray(rows.T @ rows / len(rows))


@explained
def patch_moments(
    images: Array,
    window: Sequence[int],
    *,
    groups: int = 1,
    stride: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
    pads: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    padding_mode: str = "zeros",
) -> Host:
    """Second moments of the patches of images that a convolution looks at, for :func:`fit_weight`.

    Args:
        images: ``(M, channels, *sides)``, of one or two sides, of any backend.
        window: sides of the window.
        groups: of channels.
        stride: step between windows along each side.
        dilation: distance of the window's entries along each side.
        pads: what is padded before and behind each side.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Returns:
        The mean of the outer products of the patches of each group, ``(groups, P, P)`` where P is the number of
        channels a group times the size of the window.

    Raises:
        ValueError: if shapes do not fit, there is no image, or entries are not finite.
        TypeError: if the images are no array of real floating-point numbers.

    Example:
        >>> import numpy as np
        >>> from tnrank.layers import patch_moments
        >>> patch_moments(np.ones((5, 8, 6, 6)), (3, 3), groups=2).shape
        (2, 36, 36)
    """
    window = shape(window, "window")
    x = _checked(images)
    groups = whole_number(groups, "groups", 1)
    if x.ndim != len(window) + 2 or x.shape[1] % groups:
        raise ValueError(
            f"inputs have shape {x.shape}, needed images (M, channels, {', '.join(['side'] * len(window))})"
        )
    mode: Any = _PADDING[one_of(padding_mode, "padding_mode", _PADDING)]
    steps = list(zip(shape(stride, "stride"), shape(dilation, "dilation"), window, strict=False))
    around = [shape(pair, "pads", 0) for pair in sequence(pads, "pads", "pairs of whole numbers")]
    if min(len(steps), len(around)) < len(window) or any(len(pair) != 2 for pair in around):
        raise ValueError(f"stride, dilation and pads (pairs) have {len(window)} entries, one a side, got {shown(pads)}")
    x = np.pad(x, [(0, 0), (0, 0), *around[: len(window)]], mode)
    spans = [step * (side - 1) + 1 for _, step, side in steps]
    if any(span > side for span, side in zip(spans, x.shape[2:], strict=True)):
        raise ValueError(f"the window covers {tuple(spans)} places, more than the padded images of {x.shape[2:]} have")
    views = np.lib.stride_tricks.sliding_window_view(x, spans, tuple(range(2, x.ndim)))
    every: tuple[Any, ...] = (slice(None), slice(None))
    places = tuple(slice(None, None, step) for step, _, _ in steps)
    entries = tuple(slice(None, None, step) for _, step, _ in steps)
    views = views[every + places + entries]
    size = x.shape[1] // groups * int(np.prod(window))
    found = np.zeros((groups, size, size))
    for image in views:  # all patches of all images would take the window's size times the memory
        patches = np.moveaxis(image, 0, len(window)).reshape(-1, groups, size).swapaxes(0, 1)
        found += patches.swapaxes(1, 2) @ patches
    return found / (len(views) * int(np.prod(views.shape[2 : 2 + len(window)])))


def _checked(inputs: Array) -> Host:
    found = host_array(inputs, "inputs")
    if found.size == 0:
        raise ValueError(f"inputs have shape {found.shape} and hold nothing: give a batch of some samples")
    return found
