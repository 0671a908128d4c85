"""NumPy's indexing rules for tensors in a format: which rows of which mode, and which modes go."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple

import numpy as np

from tnrank._backend import host_array
from tnrank._check import shown


class Selection(NamedTuple):
    """Rows a mode (modes that are kept whole have none), the modes indexed by a number, or points to look up."""

    rows: dict[int, np.ndarray[Any, Any]]
    dropped: frozenset[int]
    points: np.ndarray[Any, Any] | None
    shape: tuple[int, ...]


def read_index(index: Any, shape: tuple[int, ...]) -> Selection:
    """What ``x[index]`` means for a tensor of this shape.

    Raises:
        IndexError: see :meth:`tnrank.factorizations._tree_format.TreeFormat.__getitem__`.
    """
    entries = list(index) if isinstance(index, tuple) else [index]
    entries = _without_ellipsis(entries, len(shape))
    rows: dict[int, np.ndarray[Any, Any]] = {}
    dropped, arrays = set(), {}
    for mode, entry in enumerate(entries):
        size = shape[mode]
        if isinstance(entry, slice):
            if entry != slice(None):
                rows[mode] = np.arange(size)[entry]
                if not len(rows[mode]):
                    raise IndexError(f"the slice {entry} of mode {mode} with dimension {size} is empty")
        elif hasattr(entry, "__index__") and not isinstance(entry, (bool, np.bool_)) and not np.ndim(entry):
            rows[mode] = _within(np.asarray([int(entry)]), size, mode)
            dropped.add(mode)
        elif entry is None or isinstance(entry, (bool, np.bool_, str)):
            raise IndexError(f"mode {mode} is indexed by {entry!r}: needed a number, a slice or a list of numbers")
        else:
            arrays[mode] = _positions(entry, size, mode)
    if len(arrays) == 1 and next(iter(arrays.values())).ndim == 1:
        rows.update(arrays)
    elif arrays and len(arrays) + len(dropped) == len(shape):
        together = np.broadcast_arrays(*[arrays.get(mode, rows.get(mode, 0)) for mode in range(len(shape))])
        points = np.stack([part.reshape(-1) for part in together], axis=1)
        return Selection({}, frozenset(), points, together[0].shape)
    elif arrays and _is_product(list(arrays.values())):
        rows.update({mode: array.reshape(-1) for mode, array in arrays.items()})
    elif arrays:
        raise IndexError(
            f"arrays index the modes {tuple(arrays)} together and leave others: index all modes by arrays for single "
            "entries, or use np.ix_ for every combination"
        )
    return Selection(rows, frozenset(dropped), None, ())


def _without_ellipsis(entries: list[Any], order: int) -> list[Any]:
    dots = [k for k, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index has one ellipsis at most")
    count = len(entries) - len(dots)
    if count > order:
        raise IndexError(f"{count} indices for a tensor of order {order}")
    filling = [slice(None)] * (order - count)
    if dots:
        return entries[: dots[0]] + filling + entries[dots[0] + 1 :]
    return entries + filling


def _positions(entry: Any, size: int, mode: int) -> np.ndarray[Any, Any]:
    array = host_array(entry, "indices")
    if array.dtype == bool:
        if array.shape != (size,):
            raise IndexError(f"the mask of mode {mode} has shape {array.shape}: needed ({size},)")
        array = np.flatnonzero(array)
    if not array.size:
        raise IndexError(f"the index of mode {mode} is empty")
    if not np.issubdtype(array.dtype, np.integer):
        raise IndexError(f"mode {mode} is indexed by an array of {array.dtype}: needed whole numbers or a mask")
    return _within(array, size, mode)


def _within(array: np.ndarray[Any, Any], size: int, mode: int) -> np.ndarray[Any, Any]:
    outside = (array < -size) | (array >= size)
    if outside.any():
        raise IndexError(f"index {array[outside].flat[0]} of mode {mode} is outside its dimension {size}")
    return array % size


def _is_product(arrays: list[np.ndarray[Any, Any]]) -> bool:
    """Whether the arrays are those of ``np.ix_``: as many axes as arrays, the k-th long along axis k alone."""
    return all(
        array.ndim == len(arrays) and all(size == 1 for axis, size in enumerate(array.shape) if axis != k)
        for k, array in enumerate(arrays)
    )


def read_modes(modes: int | Sequence[int] | None, order: int) -> tuple[int, ...]:
    """Modes from 0 on, each once; ``None`` for all of them.

    Raises:
        ValueError: if a mode does not exist or appears twice.
    """
    if modes is None:
        return tuple(range(order))
    one = hasattr(modes, "__index__") and not getattr(modes, "shape", ())
    given: tuple[Any, ...] = (modes,) if one or isinstance(modes, int) else tuple(modes)
    found = tuple(read_mode(m, order) for m in given)
    if len(set(found)) < len(found):
        raise ValueError(f"got the modes {given}, needed each once")
    return found


def read_mode(mode: Any, order: int) -> int:
    """A mode from 0 on; negative ones count from the end."""
    number = _whole(mode)
    if not -order <= number < order:
        raise ValueError(f"mode {mode} of a tensor of order {order}: needed -{order} .. {order - 1}")
    return number % order


def _whole(mode: Any) -> int:
    try:
        return index(mode)
    except TypeError:
        raise TypeError(f"a mode is a whole number, got {shown(mode)}") from None
