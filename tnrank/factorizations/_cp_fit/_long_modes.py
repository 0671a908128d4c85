"""Modes of size 1: they change no rank, and any algorithm is faster without them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tnrank.factorizations._cp_fit._als import HostArray


def long_modes(shape: Sequence[int]) -> tuple[int, ...]:
    """The modes that matter, two at least: those of size 1 change no rank.

    Example:
        >>> from tnrank.factorizations._cp_fit._long_modes import long_modes
        >>> long_modes((1, 3, 1, 2)), long_modes((1, 1, 4)), long_modes((1,) * 40)
        ((1, 3), (0, 2), (0, 1))
    """
    long = [mode for mode, size in enumerate(shape) if size != 1]
    short = [mode for mode, size in enumerate(shape) if size == 1]
    return tuple(sorted(long + short[: max(0, 2 - len(long))]))


def without_short(factors: Sequence[HostArray]) -> list[HostArray]:
    """The factors of the long modes of the same components: the others are numbers, which the first takes up."""
    modes = long_modes([len(f) for f in factors])
    numbers = prod((f for mode, f in enumerate(factors) if mode not in modes), start=np.ones((1, 1), dtype=int))
    return [factors[mode] * numbers if k == 0 else factors[mode] for k, mode in enumerate(modes)]


def with_short(factors: Sequence[HostArray], shape: Sequence[int]) -> list[HostArray]:
    """The factors of a whole tensor from those of its long modes, with ones in the others."""
    dtype = factors[0].dtype
    ones = np.ones((1, factors[0].shape[1]), dtype=dtype)
    found = [ones] * len(shape)
    for mode, factor in zip(long_modes(shape), factors, strict=True):
        found[mode] = factor
    return found
