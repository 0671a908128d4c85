"""Where CP fits begin: compressed tensors, eigenvectors, singular vectors, and what a smaller fit left over."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import prod

import numpy as np

from tnrank._backend import host_svd, host_svdvals
from tnrank.factorizations._cp_fit._als import HostArray, als, compose
from tnrank.factorizations._cp_fit._long_modes import long_modes
from tnrank.linalg import accuracy_floor

_ALL_BIPARTITIONS = 6
_GRAM_FLOOR = accuracy_floor("gram", "float64")


def rows_of(tensor: HostArray, modes: Sequence[int]) -> HostArray:
    """The matricization with the given modes as rows."""
    others = [k for k in range(tensor.ndim) if k not in modes]
    return tensor.transpose(*modes, *others).reshape(prod(tensor.shape[k] for k in modes), -1)


def along(tensor: HostArray, matrix: HostArray, mode: int) -> HostArray:
    """The mode product with a matrix ``(new, old)``."""
    return np.moveaxis(np.tensordot(matrix, tensor, axes=(1, mode)), 0, mode)


def compress(tensor: HostArray, rtol: float, most: int | None = None) -> tuple[HostArray, list[HostArray], float]:
    """The sequentially truncated multilinear SVD.

    Args:
        tensor: ``(d_1, .., d_N)``.
        rtol: bounds the distance to the tensor, relative to its norm.
        most: the most columns of a basis; then ``rtol`` may be exceeded.

    Returns:
        The core, orthonormal bases ``(d_n, k_n)``, and the relative distance of the two to the tensor.

    Source: Vannieuwenhoven, Vandebril & Meerbergen 2012.
    """
    core, bases, squared = tensor, list[HostArray](), 0.0
    size = float(np.linalg.norm(tensor))
    allowed = (rtol * size) ** 2 / tensor.ndim
    for mode in range(tensor.ndim):
        u, s = _left_singular(rows_of(core, (mode,)), rtol)
        tails = np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0)
        count = max(1, int(np.argmax(tails <= allowed)))
        count = count if most is None else min(count, most)
        squared += float(tails[count])
        if count == tensor.shape[mode]:
            bases.append(np.eye(count))
            continue
        bases.append(u[:, :count])
        core = along(core, u[:, :count].conj().T, mode)
    return np.ascontiguousarray(core), bases, float(np.sqrt(squared)) / size if size else 0.0


def _left_singular(rows: HostArray, rtol: float) -> tuple[HostArray, HostArray]:
    """Left singular vectors and singular values, to ``rtol``."""
    if rows.shape[1] > rows.shape[0]:
        squares, u = np.linalg.eigh(rows @ rows.conj().T)
        # The Gram matrix has half the digits: enough for a loose tolerance, and to see that nothing can be left out.
        if rtol > 10 * _GRAM_FLOOR or squares[0] > (10 * _GRAM_FLOOR) ** 2 * squares[-1]:
            return u[:, ::-1], np.sqrt(np.maximum(squares[::-1], 0.0))
        triangle: HostArray = np.asarray(np.linalg.qr(rows.conj().T, mode="r"))
        rows = triangle.conj().T
    u, s, _ = host_svd(rows)
    return u, s


def expand(bases: Sequence[HostArray], factors: Sequence[HostArray]) -> list[HostArray]:
    """Factors of a core as factors of the tensor."""
    return [u @ f for u, f in zip(bases, factors, strict=True)]


def error_floors(tensor: HostArray) -> HostArray:
    """What no fewer components can get under: relative errors from rank 0 on, down to 0.

    A matricization of R components has rank R at most, and the theorem of Eckart and Young bounds its distance. All
    matricizations up to order 6, above it single modes and runs.
    """
    tensor = tensor.reshape([tensor.shape[mode] for mode in long_modes(tensor.shape)])
    order = tensor.ndim
    if order > _ALL_BIPARTITIONS:
        sides = [(k,) for k in range(order)] + [tuple(range(k)) for k in range(2, order - 1)]
    else:
        sides = [c for k in range(1, order // 2 + 1) for c in combinations(range(order), k)]
    found = np.zeros(1)
    for modes in sides:
        rows = rows_of(tensor, modes)
        s = host_svdvals(rows if rows.shape[0] <= rows.shape[1] else rows.T)
        tails = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0))
        wide = np.zeros(max(len(found), len(tails)))
        wide[: len(found)] = found
        wide[: len(tails)] = np.maximum(wide[: len(tails)], tails)
        found = wide
    size = float(np.linalg.norm(tensor))
    return found / size if size else found


def random(rng: np.random.Generator, tensor: HostArray, rank: int, size: float = 1.0) -> list[HostArray]:
    """Normal entries, scaled so that the end tensor has norm ``size``."""
    factors = [normal(rng, (d, rank), tensor.dtype) for d in tensor.shape]
    scale = (size / float(np.linalg.norm(compose(factors)))) ** (1 / tensor.ndim)
    return [f * scale for f in factors]


def normal(rng: np.random.Generator, shape: tuple[int, int], dtype: np.dtype[np.generic]) -> HostArray:
    """Standard normal entries, complex for a complex dtype."""
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if dtype.kind == "c" else real


def singular_vectors(rng: np.random.Generator, tensor: HostArray, rank: int) -> list[HostArray]:
    """The leading left singular vectors of the matricizations, filled up with random columns."""
    factors = random(rng, tensor, rank)
    for mode, d in enumerate(tensor.shape):
        u = host_svd(rows_of(tensor, (mode,)))[0][:, :rank]
        factors[mode][:, : u.shape[1]] = u * d**0.5
    return factors


def eigenvectors(rng: np.random.Generator, tensor: HostArray, rank: int) -> list[HostArray] | None:
    """The exact answer for a tensor with ``rank`` generic components, where two sides of it have that rank.

    Two combinations of slices have common eigenvectors. For a tensor near such a one this is near the answer.

    Source: Leurgans, Ross & Abel 1993; Sanchez & Kowalski 1990.
    """
    grouping = _grouping(tensor.shape, rank)
    if grouping is None:
        return None
    first, second, third = grouping
    order = (*first, *second, *third)
    sizes = [prod(tensor.shape[k] for k in block) for block in grouping]
    three = tensor.transpose(order).reshape(sizes)
    u = host_svd(rows_of(three, (0,)))[0][:, :rank]
    v = host_svd(rows_of(three, (1,)))[0][:, :rank]
    small = along(along(three, u.conj().T, 0), v.conj().T, 1)
    mixed = np.tensordot(small, normal(rng, (sizes[2], 2), tensor.dtype), axes=1)
    try:
        _, vectors = np.linalg.eig(np.linalg.solve(mixed[..., 1].T, mixed[..., 0].T).T)
        if not np.iscomplexobj(tensor) and np.iscomplexobj(vectors):
            vectors = _real_pairs(vectors)
        rest = np.linalg.solve(vectors, rows_of(along(three, u.conj().T, 0), (0,)))
    except np.linalg.LinAlgError:
        return None
    columns: list[HostArray] = [np.zeros((d, rank), tensor.dtype) for d in tensor.shape]
    sides = u @ vectors
    if not (np.all(np.isfinite(sides)) and np.all(np.isfinite(rest))):
        return None
    for r in range(rank):
        left = rank_one(sides[:, r].reshape([tensor.shape[k] for k in first]))
        right = rank_one(rest[r].reshape([tensor.shape[k] for k in (*second, *third)]))
        for k, vector in zip(order, (*left, *right), strict=True):
            columns[k][:, r] = vector
    return columns


def rank_one(tensor: HostArray) -> list[HostArray]:
    """Vectors whose outer product is near the tensor, and it if it is one; the norm is in the last."""
    vectors = list[HostArray]()
    while tensor.ndim > 1:
        u, s, vh = host_svd(tensor.reshape(tensor.shape[0], -1))
        vectors.append(u[:, 0])
        tensor = (s[0] * vh[0]).reshape(tensor.shape[1:])
    return [*vectors, tensor]


def extended(rng: np.random.Generator, tensor: HostArray, factors: list[HostArray], rank: int) -> list[HostArray]:
    """More components: each begins as a rank-one fit of what the others leave."""
    while factors[0].shape[1] < rank:
        rest = tensor - compose(factors)
        size = float(np.linalg.norm(rest))
        if size > 0:
            one = [v[:, None] for v in rank_one(rest / size)]
            one = als(rest / size, one, 10, 1e-3)[0]
            one = [f * size ** (1 / tensor.ndim) for f in one]
        else:
            one = [0.1 * f for f in random(rng, tensor, 1)]
        factors = [np.concatenate([f, g], axis=1) for f, g in zip(factors, one, strict=True)]
    return factors


def fibers(tensor: HostArray) -> list[HostArray]:
    """Every tensor is the sum of its fibers times unit vectors: factors of at most size / longest mode components."""
    shape = tensor.shape
    long = int(np.argmax(shape))
    found = np.moveaxis(tensor, long, -1).reshape(-1, shape[long])
    used = np.flatnonzero(np.any(found != 0, axis=1))
    others = [k for k in range(len(shape)) if k != long]
    places = np.unravel_index(used, [shape[k] for k in others])
    factors: list[HostArray] = [np.zeros((0, 0))] * len(shape)
    factors[long] = found[used].T
    for k, place in zip(others, places, strict=True):
        factors[k] = (np.arange(shape[k])[:, None] == place).astype(tensor.dtype)
    return factors


def _grouping(shape: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], ...] | None:
    """Three blocks of modes, the first two of size ``rank`` or more, the first as small as may be."""
    if len(shape) < 3 or rank < 2 or len(shape) > _ALL_BIPARTITIONS:
        return None
    modes, best = range(len(shape)), None
    for a in range(1, len(shape) - 1):
        for first in combinations(modes, a):
            left = [k for k in modes if k not in first]
            for b in range(1, len(left)):
                for second in combinations(left, b):
                    third = tuple(k for k in left if k not in second)
                    sizes = [prod(shape[k] for k in block) for block in (first, second, third)]
                    # A third side of 2 is enough, a large one tells the components better apart.
                    if min(sizes[:2]) >= rank and sizes[2] > 1 and (best is None or sizes[2] > best[0]):
                        best = sizes[2], (first, second, third)
    return None if best is None else best[1]


def _real_pairs(vectors: HostArray) -> HostArray:
    """Real and imaginary part in place of each conjugate pair of eigenvectors, which stand side by side."""
    found, k = vectors.real.copy(), 0
    while k < vectors.shape[1]:
        if np.any(vectors[:, k].imag) and k + 1 < vectors.shape[1]:
            found[:, k + 1] = vectors[:, k].imag
            k += 1
        k += 1
    return found
