"""Targets of known rank, and entries observed of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import generator as make_generator
from tnrank._check import shape as checked_shape
from tnrank._check import shown
from tnrank._explained import explained

if TYPE_CHECKING:
    from tnrank._typing import Array

NDArray = np.ndarray[Any, Any]


@explained
def low_rank_matrix(shape: Sequence[int], rank: int, norm: float | None = None, seed: int = 0) -> NDArray:
    """A random matrix U V^T with N(0, 1) entries in U and V, scaled.

    Args:
        shape: ``(m, n)``.
        rank: columns of U and V, at most min(m, n).
        norm: Frobenius norm; ``None`` is sqrt(m n), a mean squared entry of 1.
        seed: of NumPy's Generator.

    Returns:
        float64 array of shape ``(m, n)``.

    Raises:
        ValueError: if the shape, the rank or the norm is not possible.
        TypeError: if an argument is of another type.

    Source: Razin & Cohen 2020, App. (sensing targets); Razin, Maman & Cohen 2022, Fig. 2.

    Example:
        >>> import numpy as np
        >>> from tnrank.data import low_rank_matrix
        >>> target = low_rank_matrix((6, 5), rank=2, norm=1.0, seed=0)
        >>> int(np.linalg.matrix_rank(target)), round(float(np.linalg.norm(target)), 12)
        (2, 1.0)
    """
    sizes = _checked(shape, rank)
    if len(sizes) != 2:
        raise ValueError(f"a matrix has two sides, got shape {sizes}: use low_rank_tensor for order {len(sizes)}")
    if rank > min(sizes):
        raise ValueError(f"a matrix of shape {sizes} has rank at most {min(sizes)}, got rank {rank}")
    return low_rank_tensor(sizes, rank, norm, seed)


@explained
def low_rank_tensor(shape: Sequence[int], rank: int, norm: float | None = None, seed: int = 0) -> NDArray:
    """A random tensor of CP rank at most ``rank``: a sum of outer products of N(0, 1) vectors, scaled.

    Args:
        shape: ``(D_0, .., D_{N-1})``.
        rank: number of components.
        norm: Frobenius norm; ``None`` is the root of the number of entries, a mean squared entry of 1.
        seed: of NumPy's Generator.

    Returns:
        float64 array of the shape.

    Raises:
        ValueError: if the shape, the rank or the norm is not possible.
        TypeError: if an argument is of another type.

    Source: Razin, Maman & Cohen 2021, Sec. 6 and App. (completion targets).

    Example:
        >>> import numpy as np
        >>> from tnrank.data import low_rank_tensor
        >>> target = low_rank_tensor((4, 4, 4), rank=2, seed=0)
        >>> target.shape, round(float((target**2).mean()), 12)
        ((4, 4, 4), 1.0)
    """
    sizes = _checked(shape, rank)
    size = math.prod(sizes)
    if norm is not None and (isinstance(norm, bool) or not isinstance(norm, Real)):
        raise TypeError(f"the norm of a target is a positive number, got {shown(norm)}")
    if norm is not None and not 0 < norm < math.inf:
        raise ValueError(f"the norm of a target is positive, got {shown(norm)}")
    generator = make_generator(seed)
    factors = [generator.standard_normal((d, rank)) for d in sizes]
    joined = factors[0]
    for factor in factors[1:-1]:
        joined = (joined[:, None, :] * factor[None, :, :]).reshape(-1, rank)
    target = (joined @ factors[-1].T if len(factors) > 1 else joined.sum(axis=1)).reshape(sizes)
    scale = math.sqrt(size) if norm is None else float(norm)
    scaled: NDArray = target * (scale / np.linalg.norm(target))
    return scaled


@explained
def observe(tensor: Array, count: int, seed: int = 0) -> tuple[NDArray, Array]:
    """``count`` entries of a tensor, drawn uniformly without replacement.

    The order is that of a random permutation fixed by the seed, so the first n of more observations are those
    that ``observe(tensor, n, seed)`` gives.

    Args:
        tensor: array of any backend, order N.
        count: from 1 to the number of entries.
        seed: of NumPy's Generator.

    Returns:
        int64 indices of shape ``(count, N)`` (NumPy) and the values ``(count,)``, an array like the tensor.

    Raises:
        ValueError: if ``count`` is out of range.
        TypeError: if it is not a whole number, or ``tensor`` is no array.

    Source: Razin & Cohen 2020, Sec. 4 (fixed permutation of entries, the first n observed).

    Example:
        >>> import numpy as np
        >>> from tnrank.data import observe
        >>> indices, values = observe(np.arange(12.0).reshape(3, 4), count=5, seed=0)
        >>> indices.shape, bool((values == indices @ [4, 1]).all())
        ((5, 2), True)
    """
    backend = backend_of(tensor)
    shape = tuple(tensor.shape)
    size = math.prod(shape)
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
        raise TypeError(f"count is an integer, got {shown(count)}")
    if not 1 <= count <= size:
        raise ValueError(f"a tensor of shape {shape} has {size} entries: count lies in 1 .. {size}, got {shown(count)}")
    flat = make_generator(seed).permutation(size)[:count].astype(np.int64)
    indices = np.stack(np.unravel_index(flat, shape), axis=1).astype(np.int64)
    # Positions fit into int32 except in huge tensors, and JAX without x64 has nothing else.
    positions = backend.xp.asarray(flat.astype(np.int32) if size < 2**31 else flat, device=tensor.device)
    return indices, backend.take(backend.reshape(tensor, (-1,)), positions, axis=0)


def _checked(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    sizes = checked_shape(shape, least=0)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"a target needs at least one mode and sizes of at least 1, got shape {sizes}")
    if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)) or rank < 1:
        raise ValueError(f"the rank of a target is an integer of at least 1, got {shown(rank)}")
    if rank > 2**31:
        raise ValueError(f"the rank of a target is at most 2^31, as many columns fill any memory, got {shown(rank)}")
    return sizes
