"""A size as a product of nearly equal factors: the modes of a weight."""

from __future__ import annotations

from functools import lru_cache
from itertools import count as count_from

from tnrank._typing import Shape

_MOST_UNEQUAL = 4
"""The largest factor over the smallest: beyond it, the next larger size is split instead."""


@lru_cache(maxsize=1024)
def split(size: int, count: int) -> Shape:
    """``count`` factors, ascending, whose product is ``size`` or the next larger number with nearly equal factors.

    A layer fills up its input with zeros to that number, and leaves out the outputs beyond its size.

    Example:
        >>> from tnrank.layers._modes import split
        >>> split(1024, 2), split(768, 3), split(11, 2)
        ((32, 32), (8, 8, 12), (3, 4))
    """
    if count == 1:
        return (size,)
    for total in count_from(size):
        best = min(_factorings(total, count, 1), key=lambda factors: factors[-1] / factors[0])
        if best[-1] <= _MOST_UNEQUAL * best[0]:
            return best
    raise AssertionError("powers of two are among the numbers")


def _factorings(total: int, count: int, least: int) -> list[Shape]:
    """All ascending factorings of ``total`` into ``count`` factors of at least ``least``."""
    if count == 1:
        return [(total,)]
    found = []
    for first in range(least, int(total ** (1 / count) + 1e-9) + 1):
        if total % first == 0:
            found += [(first, *rest) for rest in _factorings(total // first, count - 1, first) if rest[0] >= first]
    return found


def divisors(size: int) -> list[int]:
    """All divisors, ascending."""
    return [k for k in range(1, size + 1) if size % k == 0]
