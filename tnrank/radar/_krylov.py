"""The leading singular values of a matrix that changed little since they were last measured.

A block Krylov space grows from the basis of the last measurement until the values no longer move. Plain subspace
iteration, even warm-started, needs many more products where singular values lie close together, as those of random
initial weights do: its error falls as 1 / q in q products, that of a Krylov space as 1 / q^2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._check import generator
from tnrank.radar._tail import effective_rank

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array

_SPARE = 8
"""Columns beyond the values asked for: the last ones of a block converge slowest."""
_NOTHING = 128
"""Smaller side of a matrix that is decomposed in a millisecond or two."""
_PROBED = 4096
_PROBES = 4, 32
"""Random vectors behind the effective rank: as many as have so many entries, but no fewer and no more than these."""
_TINY = 1e-300
_MARGIN = 0.75
"""The estimate of the error is one: it has to be this much smaller than what is asked for."""
_FIRST_RATIO = 0.75
"""By which corrections are taken to shrink after the first, that of half a round."""
_SLACK = 1e-5
"""Cosine between new and old directions from which on they are made orthogonal once more."""


class Leading(NamedTuple):
    """What was found: values ``(k,)`` on the host, the basis to start from next time, and what is estimated.

    ``uncertainty`` is the estimated error of the values, a share of the largest.
    """

    values: np.ndarray[Any, Any]
    basis: Array
    effective_rank: float
    uncertainty: float


def block_size(count: int) -> int:
    """How many columns the basis for ``count`` values has."""
    return count + _SPARE


def is_small(sides: tuple[int, int], count: int) -> bool:
    """Whether all singular values cost no more than the leading ones, or next to nothing."""
    return min(sides) <= max(3 * block_size(count), _NOTHING)


def first_basis(matrix: Array, backend: Backend, count: int, seed: int | None = 0) -> Array:
    """An orthonormal basis to start from where nothing is known: random columns ``(n, k)``, n the smaller side."""
    drawn = generator(seed, 1).standard_normal((min(matrix.shape), block_size(count)))
    return on_device(np.linalg.qr(drawn)[0], matrix, backend)


def leading_values(
    matrix: Array,
    backend: Backend,
    basis: Array,
    count: int,
    norm: float,
    accuracy: float,
    most: int,
    seed: int | None = 0,
) -> Leading:
    """The ``count`` largest singular values, from products with the matrix.

    Args:
        matrix: real or complex, ``(m, n)``, of moderate size.
        backend: of the matrix.
        basis: orthonormal columns ``(min(m, n), k)`` with k at least ``count``.
        count: how many values.
        norm: Frobenius norm of the matrix.
        accuracy: stop when the estimated error is below this share of the largest value.
        most: rounds of two products each, after the first, after which to stop anyway.
        seed: of the random vectors behind the effective rank.

    Source: Golub, Luk & Overton 1981 (block Lanczos); Musco & Musco 2015, Alg. 2 (the rate without gaps); Ubaru, Chen &
    Saad 2017 (traces by random vectors).
    """
    xp = backend.xp
    tall = matrix.shape[0] >= matrix.shape[1]

    def times(block: Array) -> Array:
        return matrix @ block

    def adjoint_times(block: Array) -> Array:
        # Thin matrices stand on the left: a product with a transposed view of the large one takes half as long again.
        return adjoint(xp, adjoint(xp, block) @ matrix)

    forward, back = (times, adjoint_times) if tall else (adjoint_times, times)
    start = on_device(basis, matrix, backend)
    side, size = start.shape
    # Probes of what the basis leaves ride along: products with a few columns more take little longer.
    some = min(max(_PROBED // side, _PROBES[0]), _PROBES[1])
    probes = on_device(generator(seed).standard_normal((side, some)), matrix, backend)
    probes = probes - start @ (adjoint(xp, start) @ probes)
    images = forward(xp.concat([start, probes], axis=1))
    values = _ritz_values(images[:, :size], backend, count)
    left = xp.linalg.qr(images[:, :size])[0]
    preimages = back(xp.concat([left, images[:, size:]], axis=1))
    preimage, block, seen = preimages[:, :size], preimages[:, :size], preimages[:, size:]
    moved = uncertainty = np.inf
    for turn in range(min(most, side // size - 1) + 1):
        if turn:
            directions = _new_directions(forward(block), left, backend)
            block = back(directions)
            left = xp.concat([left, directions], axis=1)
            preimage = xp.concat([preimage, block], axis=1)
        before, values = values, _ritz_values(preimage, backend, count)
        before_moved, moved = moved, float(np.abs(values - before).max() / max(values[0], _TINY))
        # What is left of a series of corrections that goes on to shrink by this ratio. The first ones shrink faster,
        # when directions that were known turn into place, and say little of those that are new.
        ratio = min(max(moved / before_moved, 0.5), 0.9) if 0 < before_moved < np.inf else _FIRST_RATIO
        uncertainty = moved * ratio / (1 - ratio)
        if uncertainty <= _MARGIN * accuracy:
            break
    _, s, right = backend.svd(_triangle(preimage, backend))
    found = np.asarray(backend.to_numpy(s[:size]), np.float64)
    vectors = xp.linalg.qr(preimage @ adjoint(xp, right[:size, :]))[0]
    # What the probes have of the leading vectors counts with them.
    seen = seen - vectors @ (adjoint(xp, vectors) @ seen)
    fourth = _square_sum(seen, backend) / max(_square_sum(probes, backend), _TINY)
    return Leading(found[:count], vectors, effective_rank(found, norm, fourth, side), uncertainty)


def _new_directions(block: Array, basis: Array, backend: Backend) -> Array:
    """Orthonormal columns that span the block apart from the basis."""
    xp = backend.xp
    turned = adjoint(xp, basis)
    made = xp.linalg.qr(block - basis @ (turned @ block))[0]
    overlap = turned @ made
    # Where the block lay in the space of the basis, what is left is rounding and may point anywhere.
    if float(backend.to_numpy(xp.max(abs(overlap)))) > _SLACK:
        made = xp.linalg.qr(made - basis @ overlap)[0]
        made = xp.linalg.qr(made - basis @ (turned @ made))[0]
    return made


def _ritz_values(image: Array, backend: Backend, count: int) -> np.ndarray[Any, Any]:
    """Values by a Gram matrix, to sqrt(eps) of the largest: enough to see whether they move."""
    gram = np.asarray(backend.to_numpy(adjoint(backend.xp, image) @ image))
    wide = gram.astype(np.complex128 if gram.dtype.kind == "c" else np.float64)
    squares = np.linalg.eigvalsh(wide)[::-1][:count]
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def _square_sum(block: Array, backend: Backend) -> float:
    return float(backend.to_numpy(backend.xp.linalg.vector_norm(block))) ** 2


def _triangle(image: Array, backend: Backend) -> Array:
    """The factor R alone, which takes a third of the time; torch gives a pair."""
    try:
        found: Any = backend.xp.linalg.qr(image, mode="r")
    except (TypeError, NotImplementedError):
        found = backend.xp.linalg.qr(image)
    return found[1] if isinstance(found, tuple) else found


def on_device(array: Any, like: Array, backend: Backend) -> Array:
    """An array of the dtype and on the device of another."""
    device = backend.device_of(like)
    return backend.asarray(array, backend.dtype_of(like), None if device == backend.devices()[0] else device)


def adjoint(xp: Any, matrix: Array) -> Array:
    """The conjugate transpose."""
    turned = xp.permute_dims(matrix, (1, 0))
    return xp.conj(turned) if xp.isdtype(matrix.dtype, "complex floating") else turned
