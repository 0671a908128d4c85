"""The randomized range finder: an orthonormal basis of the dominant column space of a large matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._backend import backend_of
from tnrank._check import generator
from tnrank._explained import explained
from tnrank._scale import is_safe, not_finite, over, peak, unit_of
from tnrank.linalg._tolerance import check_rtol, eps_of

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array

_BLOCK = 32
_OVERSAMPLING = 10
_UNCERTAINTY = 0.01
"""Share by which rounding may falsify the squared error at the floor."""


class Range(NamedTuple):
    """What :func:`range_finder` found: ``||A - basis basis^H A|| = error`` and ``||A|| = norm`` (Frobenius)."""

    basis: Array
    singular_values: Array
    error: float
    norm: float


@explained
def randomized_floor(dtype: str) -> float:
    """The smallest relative tolerance at which ``||A||^2 - ||Q^H A||^2`` still tells the error to 1 %.

    Source: Yu, Gu & Li 2018, *Efficient randomized algorithms for the fixed-precision low-rank matrix
    approximation*, Thm. 3.

    Example:
        >>> from tnrank.linalg import randomized_floor
        >>> f"{randomized_floor('float64'):.1e}"
        '2.1e-07'
    """
    return math.sqrt(2 * eps_of(dtype) / _UNCERTAINTY)


@explained
def range_finder(
    matrix: Array,
    rtol: float | None = None,
    rank: int | None = None,
    *,
    power_iterations: int = 1,
    seed: int | None = 0,
) -> Range:
    """An orthonormal basis Q of the dominant columns of a matrix A, from products of A with random matrices.

    Blocks of columns are added until ``||A - Q Q^H A|| <= rtol ||A||``, then as few columns are kept as satisfy it.
    The error is exact, not estimated: ``||A - Q Q^H A||^2 = ||A||^2 - ||Q^H A||^2``.

    Args:
        matrix: array of shape ``(m, n)``, tall or wide.
        rtol: in (0, 1); above :func:`randomized_floor`.
        rank: the most columns of the basis; with ``rtol=None`` exactly ``min(rank, m, n)``.
        power_iterations: products with ``A A^H`` a block; more come closer to the best basis where singular values
            decay slowly. The basis is orthonormalized after each product.
        seed: of NumPy's generator, on every backend.

    Returns:
        ``Range(basis (m, k), singular_values (k,), error, norm)``; the basis holds left singular vectors of
        ``Q Q^H A``, by descending value.

    Raises:
        ValueError: if neither ``rtol`` nor ``rank`` is given, ``rtol`` is below the floor, or the shape is no
            matrix's, or an entry is not finite.

    Source: Halko, Martinsson & Tropp 2011, Alg. 4.2 and 4.4; Yu, Gu & Li 2018, Alg. 2 (blocks and the exact error).

    Example:
        >>> import numpy as np
        >>> from tnrank.linalg import range_finder
        >>> found = range_finder(np.outer(np.arange(500.0), np.ones(400)), rtol=1e-6)
        >>> found.basis.shape, found.error <= 1e-6 * found.norm
        ((500, 1), True)
    """
    if len(matrix.shape) != 2 or 0 in matrix.shape:
        raise ValueError(f"needed a matrix (m, n) with m, n >= 1, got an array of shape {tuple(matrix.shape)}")
    if power_iterations < 0:
        raise ValueError(f"power_iterations is a number from 0 on, got {power_iterations}")
    backend = backend_of(matrix)
    matrix, unit = _moderate(backend, matrix)
    norm = _size(backend, matrix)
    allowed = None if rtol is None else _checked(rtol, backend.dtype_of(matrix)) * norm
    basis, values, error = _found(backend, matrix, norm, allowed, rank, power_iterations, seed)
    return Range(basis, values * unit, error * unit, norm * unit)


@explained
def randomized_dominant(
    backend: Backend, matrix: Array, allowed: float, max_rank: int | None = None, seed: int | None = 0
) -> tuple[Array, Array]:
    """Left singular vectors u ``(m, k)`` and values ``(k,)`` with ``||A - u u^H A|| <= allowed``.

    They are cut already: all k columns are to be kept. With ``max_rank`` the error may exceed ``allowed``.

    Raises:
        ValueError: if ``allowed / ||A||`` is below :func:`randomized_floor`.
    """
    matrix, unit = _moderate(backend, matrix)
    norm, allowed = _size(backend, matrix), allowed / unit
    if norm > 0:
        _checked(min(allowed / norm, 0.5), backend.dtype_of(matrix))
    basis, values, _ = _found(backend, matrix, norm, allowed, max_rank, 1, seed)
    return basis, values * unit


def _moderate(backend: Backend, matrix: Array) -> tuple[Array, float]:
    """The matrix over a power of two, so that squares stay in the range of numbers, and that power."""
    if backend_of(matrix) is not backend:
        raise TypeError(f"the matrix belongs to the backend {backend_of(matrix).name}, and {backend.name} was given")
    if len(matrix.shape) != 2:
        raise ValueError(f"needed a matrix (m, n), got an array of shape {tuple(matrix.shape)}")
    eps_of(backend.dtype_of(matrix))  # raises where the dtype is none of floating-point numbers
    largest = peak(matrix, backend)
    if is_safe(largest, backend):
        return matrix, 1.0
    unit = unit_of(largest, backend)
    if not (number := float(backend.to_numpy(unit))) > 0:
        raise not_finite(matrix, backend, "of the matrix ", "a basis needs every entry; fill in missing ones first")
    return over(matrix, unit, backend), number


def _checked(rtol: float, dtype: str) -> float:
    checked = check_rtol(rtol)
    assert checked is not None
    floor = randomized_floor(dtype)
    if checked < floor:
        raise ValueError(
            f"rtol {checked:.3g} is below the accuracy floor {floor:.3g} of 'randomized' in {dtype}: use "
            "method='qr' or 'gram', or give a rank instead"
        )
    return checked


def _found(
    backend: Backend,
    matrix: Array,
    norm: float,
    allowed: float | None,
    rank: int | None,
    power_iterations: int,
    seed: int | None,
) -> tuple[Array, Array, float]:
    if allowed is None and rank is None:
        raise ValueError("give rtol, or the rank of the basis, or both")
    if rank is not None and rank < 1:
        raise ValueError(f"the rank of a basis is at least 1, got {rank}")
    xp, most = backend.xp, min(matrix.shape)
    limit = most if rank is None else min(most, rank + _OVERSAMPLING)
    size = limit if allowed is None else min(limit, _BLOCK)
    # At zero a single column of the identity is a basis as good as any.
    target = 0.0 if allowed is None else allowed**2
    rng = generator(seed)
    basis = rows = None
    rest = norm**2
    while True:
        block = _block(backend, matrix, basis, rows, size, power_iterations, rng)
        product = _adjoint(xp, block) @ matrix
        rest -= _size(backend, product) ** 2
        basis = block if basis is None else xp.concat([basis, block], axis=1)
        rows = product if rows is None else xp.concat([rows, product], axis=0)
        # Half of the error that is allowed: the small decomposition below may then drop the other half.
        if basis.shape[1] >= limit or (allowed is not None and rest <= target / 2):
            break
        size = min(basis.shape[1], limit - basis.shape[1])
    if basis.shape[1] == most:
        rest = 0.0
    rest = max(rest, 0.0)
    u, values, _ = backend.svd(_adjoint(xp, xp.linalg.qr(_adjoint(xp, rows))[1]))
    squares = np.asarray(backend.to_numpy(values), np.float64) ** 2
    tails = rest + np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]])
    count = len(squares)
    if allowed is not None:
        # Where rounding alone keeps the error above the target, every column is kept.
        below = np.flatnonzero(tails <= target * (1 - 2 * _UNCERTAINTY))
        count = max(1, int(below[0])) if len(below) else count
    count = count if rank is None else min(count, rank)
    return basis @ u[:, :count], values[:count], math.sqrt(tails[count])


def _block(
    backend: Backend,
    matrix: Array,
    basis: Array | None,
    rows: Array | None,
    size: int,
    power_iterations: int,
    rng: np.random.Generator,
) -> Array:
    """``size`` orthonormal columns of ``A - Q Q^H A``, orthogonal to the basis Q; ``rows`` is ``Q^H A``."""
    xp = backend.xp

    def times(other: Array) -> Array:
        made = matrix @ other
        return made if basis is None else made - basis @ (rows @ other)

    def adjoint_times(other: Array) -> Array:
        made = _adjoint(xp, matrix) @ other
        return made if basis is None else made - _adjoint(xp, rows) @ (_adjoint(xp, basis) @ other)

    made = xp.linalg.qr(times(_normal(backend, matrix, size, rng)))[0]
    for _ in range(power_iterations):
        made = xp.linalg.qr(times(xp.linalg.qr(adjoint_times(made))[0]))[0]
    if basis is not None:
        # What rounding left of the basis in the new columns would be counted twice in the error.
        made = xp.linalg.qr(made - basis @ (_adjoint(xp, basis) @ made))[0]
        made = xp.linalg.qr(made - basis @ (_adjoint(xp, basis) @ made))[0]
    return made


def _normal(backend: Backend, matrix: Array, size: int, rng: np.random.Generator) -> Array:
    shape, dtype = (matrix.shape[1], size), backend.dtype_of(matrix)
    real = "float32" if dtype in ("float32", "complex64") else "float64"
    drawn: Any = rng.standard_normal(shape, dtype=np.dtype(real))
    if dtype.startswith("complex"):
        drawn = drawn + 1j * rng.standard_normal(shape, dtype=np.dtype(real))
    device = backend.device_of(matrix)
    return backend.asarray(drawn, dtype, None if device == backend.devices()[0] else device)


def _adjoint(xp: Any, matrix: Array) -> Array:
    turned = xp.permute_dims(matrix, (1, 0))
    return xp.conj(turned) if xp.isdtype(matrix.dtype, "complex floating") else turned


def _size(backend: Backend, array: Array) -> float:
    return float(backend.to_numpy(backend.xp.linalg.vector_norm(backend.xp.reshape(array, (-1,)))))
