"""Matricization: a tensor as a matrix, with one group of modes as rows and the others as columns."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tnrank._backend import backend_of
from tnrank._check import whole_number
from tnrank._explained import explained

if TYPE_CHECKING:
    from tnrank._typing import Array, Shape


@explained
def matricize(x: Array, modes: Iterable[int] | int) -> Array:
    """The matricization of a dense tensor: rows are the given modes, columns all others, both ascending.

    Args:
        x: array of shape ``(D_0, .., D_{N-1})``.
        modes: a proper non-empty subset of ``0 .. N-1``, in any order.

    Returns:
        Array of shape ``(prod of D over modes, prod of D over the other modes)``.

    Raises:
        ValueError: if the modes are none, all, repeated or out of range.

    Source: Hackbusch 2012, *Tensor Spaces and Numerical Tensor Calculus*, Sec. 5.2.

    Example:
        >>> import numpy as np
        >>> from tnrank.linalg import matricize
        >>> matricize(np.zeros((2, 3, 4)), (0, 2)).shape
        (8, 3)
    """
    shape = tuple(x.shape)
    rows = check_modes(modes, shape)
    columns = tuple(mode for mode in range(len(shape)) if mode not in rows)
    backend = backend_of(x)
    if (*rows, *columns) != tuple(range(len(shape))):
        x = backend.permute(x, (*rows, *columns))
    return backend.reshape(x, matricization_sides(shape, rows))


@explained
def matricization_sides(shape: Shape, modes: Iterable[int]) -> tuple[int, int]:
    """Numbers of rows and columns of the matricization with the given modes as rows.

    Example:
        >>> from tnrank.linalg import matricization_sides
        >>> matricization_sides((2, 3, 4), (0, 2))
        (8, 3)
    """
    rows = {whole_number(mode, "a mode", 0, len(shape) - 1) for mode in modes}
    sides = [math.prod(size for mode, size in enumerate(shape) if (mode in rows) is side) for side in (True, False)]
    return sides[0], sides[1]


@explained
def check_modes(modes: Iterable[int] | int, shape: Shape) -> tuple[int, ...]:
    """The modes as ascending integers.

    Raises:
        ValueError: if they are none, all, repeated or out of range for a tensor of this shape.
        TypeError: if one is not an integer.
    """
    order = len(shape)
    listed: list[int] = list(modes) if isinstance(modes, Iterable) else [modes]
    for mode in listed:
        if not hasattr(mode, "__index__") or isinstance(mode, bool):
            raise TypeError(f"a mode is an integer from 0 on, got {mode!r} in {tuple(listed)}")
    found = tuple(sorted(int(mode) for mode in listed))
    for mode in found:
        if not 0 <= mode < order:
            raise ValueError(f"mode {mode} is out of range: shape {shape} has the modes 0 .. {order - 1}")
        if found.count(mode) > 1:
            raise ValueError(f"mode {mode} appears {found.count(mode)} times in {tuple(listed)}, needed once")
    if not 0 < len(found) < order:
        kind = "all modes" if found else "no mode"
        raise ValueError(
            f"a matricization needs rows and columns, got {kind} of shape {shape} as rows: give at "
            f"least one and at most {order - 1} of the {order} modes"
        )
    return found
