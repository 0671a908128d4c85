"""The tensor whose rank is asked for, its bounds, and its modes in groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import host_svdvals
from tnrank.factorizations._cp_fit._long_modes import long_modes
from tnrank.ranks._certified._exact import Matrix

GROUPED_ORDER = 6
"""The largest order whose modes are grouped into three in every way."""

_LARGEST = 1e100

Blocks = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Target:
    """The tensor whose rank is asked for."""

    values: Matrix
    """Floats or complex numbers."""
    integers: Matrix | None
    """Integers (objects) with ``values == integers / scale``, if there are."""
    scale: int
    field: str
    eps: float
    """The rounding of the dtype as given."""


@dataclass(frozen=True)
class Bound:
    """A lower bound.

    ``margin`` says how far from another value a bound of floats is. Of a matrix rank it is the last kept minus the
    first dropped singular value, relative to the largest; of a pencil the imaginary part of its eigenvalues, relative
    to the largest; of an algebra what the product is off from associative, relative to its square, which rounding
    explains. ``exact`` says that the value is a proof, ``data`` what a certificate rechecks it from.
    """

    name: str
    value: int
    kind: str
    margin: float | None
    reference: str
    exact: bool
    data: dict[str, Any] = field(repr=False, compare=False)


def check_size(values: Matrix) -> None:
    """Refuse entries whose squares leave the range of floats.

    Raises:
        ValueError: if the largest is beyond 1e100 or below 1e-100 in absolute value, and not 0.
    """
    size = float(np.max(np.abs(values)))
    if size and not 1 / _LARGEST < size < _LARGEST:
        raise ValueError(
            f"the largest entry is {size:.0e} in absolute value, needed one between {1 / _LARGEST:.0e} and "
            f"{_LARGEST:.0e}: rescale the tensor, its rank stays"
        )


def others_than(rows: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The other side of a bipartition of the long modes."""
    return tuple(mode for mode in long_modes(shape) if mode not in rows)


def groupings(modes: tuple[int, ...]) -> Iterator[Blocks]:
    """Every way to put modes into three blocks."""
    order = len(modes)
    if order > GROUPED_ORDER:
        return
    for code in range(3**order):
        label = [code // 3**k % 3 for k in range(order)]
        # One labeling of each grouping: the blocks in the order of their first modes.
        first = [label.index(b) if b in label else -1 for b in range(3)]
        if -1 < first[0] < first[1] < first[2]:
            yield tuple(tuple(mode for mode, k in zip(modes, label, strict=True) if k == b) for b in range(3))


def grouped(tensor: Matrix, blocks: Blocks) -> Matrix:
    """The tensor with one mode for each block; modes that no block has are of size 1."""
    modes = [mode for block in blocks for mode in block]
    rest = [mode for mode in range(tensor.ndim) if mode not in modes]
    sides = [prod(tensor.shape[k] for k in block) for block in blocks]
    return tensor.transpose(modes + rest).reshape(sides)


def show(blocks: Blocks) -> str:
    """Blocks of modes in words: ``{0}|{1,2}``."""
    return "|".join("{" + ",".join(map(str, block)) + "}" for block in blocks)


def singular_margin(matrix: Matrix, rank: int) -> float:
    """The last kept minus the first dropped singular value, relative to the largest."""
    s = host_svdvals(matrix)
    dropped = s[rank] if rank < len(s) else 0.0
    return float((s[rank - 1] - dropped) / s[0]) if rank else 0.0
