"""Reading a large array chunk by chunk, without leaving its pages in memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import get_backend, plain_array
from tnrank._scale import peak

NDArray = np.ndarray[Any, Any]


class Chunks:
    """Chunks of an array, whole along all axes but the ``split`` ones; iterating gives (share done, place, chunk).

    Args:
        array: with ``shape``, ``dtype`` and slices.
        shape: its shape.
        dtype: float64 or complex128, that of the chunks.
        elements: the most elements of a chunk.
        most_rows: an axis beyond this size is split in any case.

    ``place`` is {split axis: slice}. Chunks are divided by ``scale``, a power of two that keeps squares in range.
    """

    def __init__(self, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], elements: int, most_rows: int) -> None:
        self.array, self.shape, self.dtype, self.scale = array, shape, dtype, 1.0
        self._scaled = False
        strides = getattr(array, "strides", None) or tuple(range(len(shape), 0, -1))
        long = [n for n, d in enumerate(shape) if d > most_rows]
        order = sorted(range(len(shape)), key=lambda n: (n not in long, -abs(strides[n])))
        self.split: list[int] = []
        rest = prod(shape)
        steps = {}
        for axis in order:
            rest //= shape[axis]
            self.split.append(axis)
            steps[axis] = max(1, min(shape[axis], elements // rest))
            if rest <= elements:
                break
        self._ranges = [
            [slice(a, min(a + steps[n], shape[n])) for a in range(0, shape[n], steps[n])] for n in self.split
        ]
        self.count = prod(len(ranges) for ranges in self._ranges)
        self._map = _mapping(array)

    def __iter__(self) -> Iterator[tuple[float, dict[int, slice], NDArray]]:
        for number, parts in enumerate(product(*self._ranges), 1):
            place = dict(zip(self.split, parts, strict=True))
            chunk = self._read(place)
            if not self._scaled:
                self._choose_scale(chunk)
            if self.scale != 1.0:
                chunk /= self.scale
            yield number / self.count, place, chunk

    def _read(self, place: dict[int, slice]) -> NDArray:
        index = tuple(place.get(n, slice(None)) for n in range(len(self.shape)))
        part = self.array[index]
        if isinstance(part, np.ma.MaskedArray):  # as some readers of files give them
            part = plain_array(part)[0]
        chunk = np.array(part, dtype=self.dtype, order="C")
        if self._map is not None:
            # Pages of the file that were copied would count as memory of this process until the system needs it.
            self._map.madvise(mmap.MADV_DONTNEED)
        return chunk

    def square(self, chunk: NDArray) -> float:
        """The squared norm of a chunk, which is checked.

        Raises:
            ValueError: for NaN or infinite entries, or numbers whose squares overflow.
        """
        flat = chunk.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):
            square = float(np.vdot(flat, flat).real)
        if not np.isfinite(square):
            self._complain()
        return square

    def _complain(self) -> None:
        largest = 0.0
        for parts in product(*self._ranges):
            place = dict(zip(self.split, parts, strict=True))
            chunk = self._read(place)
            wrong = ~np.isfinite(chunk)
            if wrong.any():
                first = [int(k[0]) for k in wrong.nonzero()]
                for axis, part in place.items():
                    first[axis] += part.start
                raise ValueError(
                    f"{int(wrong.sum()):,} entries of one chunk are NaN or infinite, the first of the array at index "
                    f"{tuple(first)}: fill them in first, for example with tnrank.complete"
                )
            largest = max(largest, float(peak(chunk, get_backend("numpy"))))
        raise ValueError(f"the squares of entries up to {largest:.2g} overflow: divide the array by {largest:.0e}")

    def _choose_scale(self, chunk: NDArray) -> None:
        """By the first chunk that is not zero."""
        largest = float(peak(chunk, get_backend("numpy")))
        self._scaled = largest != 0
        if np.isfinite(largest) and largest and not 1e-100 < largest < 1e100:
            self.scale = float(2.0 ** np.floor(np.log2(largest)))


def _mapping(array: Any) -> mmap.mmap | None:
    base = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base if base is not None and hasattr(mmap, "MADV_DONTNEED") else None
