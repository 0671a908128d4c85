"""Integers in factorizations: what is computed of them is exact, or refused, because they wrap around."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._typing import Array

_WHOLE = ("int", "uint", "bool")


def is_whole(dtype: str) -> bool:
    """True for integers and booleans."""
    return dtype.startswith(_WHOLE)


def exactly(x: Any, evaluate: Callable[[Any], Array]) -> Array:
    """``evaluate(x)``, entries of the end tensor of a factorization; of integer arrays the exact ones.

    Integers wrap around modulo a power of two, so that a result is exact whenever it is in range.

    Raises:
        OverflowError: if an entry may be beyond the range of the dtype.
        TypeError: if the arrays are boolean.
    """
    dtype = x.dtype
    if not is_whole(dtype):
        return evaluate(x)
    if dtype == "bool":
        raise TypeError("a factorization of boolean arrays has no sums: use x.to(dtype='float64') first")
    found = {id(a): extremes(a) for a in x._values}
    if None not in found.values():
        sizes, kept = x._sizes, set(x.network.output)
        summed = prod(size for label, size in sizes.items() if label not in kept)
        bounds: list[int] = [max(1, -low, high) for low, high in (found[id(a)] or (0, 0) for a in x._values)]
        if prod(bounds) * summed > largest_whole(dtype) and 0 not in x.shape:
            sums = evaluate(x._measurable().map(lambda a: x.backend.asarray(abs(a))))
            if 0 not in sums.shape:
                most = float(x.backend.xp.max(sums)) * (1 + 1e-5)
                check_whole_result(dtype, most, "entries of the end tensor")
    return evaluate(x)


def check_product(a: Array, b: Array, terms: int = 1) -> None:
    """Refuse integer arrays whose entries may have products, or sums of ``terms`` of them, beyond their dtype's range.

    Raises:
        OverflowError: if they have.
    """
    dtype = backend_of(a).dtype_of(a)
    if is_whole(dtype) and dtype != "bool":
        pairs = extremes(a), extremes(b)
        if pairs[0] and pairs[1]:
            largest = max(abs(x * y) for x in pairs[0] for y in pairs[1])
            check_whole_result(dtype, largest * terms, "products of entries" if terms == 1 else "sums of products")


def check_sum(a: Array, b: Array) -> None:
    """Refuse integer arrays whose entries may have sums beyond the range of their dtype.

    Raises:
        OverflowError: if they have.
    """
    dtype = backend_of(a).dtype_of(a)
    if is_whole(dtype) and dtype != "bool":
        pairs = extremes(a), extremes(b)
        if pairs[0] and pairs[1]:
            check_whole_result(dtype, max(abs(x + y) for x in pairs[0] for y in pairs[1]), "sums of entries")


def extremes(array: Array) -> tuple[int, int] | None:
    """The least and the largest entry of an integer array; ``None`` where a framework traces the call."""
    if not prod(array.shape):
        return 0, 0
    try:
        host = np.asarray(backend_of(array).to_numpy(array))
        return int(host.min()), int(host.max())
    except (TypeError, RuntimeError):
        return None


def largest_whole(dtype: str) -> int:
    """The largest number of an integer dtype."""
    return int(np.iinfo(dtype).max)


def check_whole_result(dtype: str, largest: int | float, what: str) -> None:
    """Refuse what an integer dtype cannot hold.

    Raises:
        OverflowError: if ``largest`` is beyond its range.
    """
    if largest > largest_whole(dtype):
        raise OverflowError(
            f"{what} may be as large as {largest:.4g}, beyond the range of {dtype}, in which integers wrap around: "
            "use x.to(dtype='float64')"
        )


def check_multiple(array: Array, number: int) -> None:
    """Refuse a multiple of an integer array that leaves the range of its dtype.

    Raises:
        OverflowError: if it does.
    """
    dtype, found = backend_of(array).dtype_of(array), extremes(array)
    if found is None or dtype == "bool":
        return
    low, high = sorted((found[0] * number, found[1] * number))
    limits = np.iinfo(dtype)
    if low < limits.min or high > limits.max:
        raise OverflowError(
            f"{number} times entries from {found[0]} to {found[1]} leaves the range of {dtype}, in which integers wrap "
            "around: use x.to(dtype='float64') first"
        )
