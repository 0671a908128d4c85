"""Proof that a CP factorization exists near one of floats: Newton's method with exact arithmetic."""

from __future__ import annotations

import numpy as np

from tnrank.factorizations._cp_fit._long_modes import long_modes, without_short
from tnrank.ranks._certified._exact import Matrix, concise, exact_core, outer_sum

_ENTRIES = 128
_BITS = 60  # of the fixed-point numbers, which are exact


def exists_near(integers: Matrix, factors: list[Matrix]) -> bool:
    """Whether it is proven that the rank over the reals is at most the number of columns of ``factors``.

    ``False`` says nothing. As many equations as the concise tensor has entries are solved in as many entries of the
    factors, the others held fixed: there has to be a solution where a Newton step with a fixed inverse contracts a
    box around the factors into itself. That is checked in integers, without rounding.

    Args:
        integers: the tensor or a multiple, an object array ``(d_1, .., d_N)``.
        factors: ``(d_n, R)`` real floats of a CP factorization of a multiple of the tensor.

    Source: Rump 2010, *Verification methods*, Sec. 13 (Krawczyk's operator).

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks._certified._existence import exists_near
        >>> root = np.array([[1.0, 1], [2**0.5, -(2**0.5)]])  # x^2 - 2 has two irrational roots
        >>> tensor = np.rint(2 * np.einsum("ir,jr,kr->ijk", root, root, root)).astype(int).astype(object)
        >>> exists_near(tensor, [root, root, root]), exists_near(tensor, [root[:, :1]] * 3)
        (True, False)
    """
    if any(np.iscomplexobj(factor) for factor in factors) or not factors[0].shape[1]:
        return False
    integers = integers.reshape([integers.shape[mode] for mode in long_modes(integers.shape)])
    factors = without_short(factors)
    if concise(integers).size > _ENTRIES:
        return False
    core, bases = exact_core(integers)
    order, rank, count = core.ndim, factors[0].shape[1], core.size
    if order < 2 or not count or count > _ENTRIES or rank * (sum(core.shape) - order + 1) < count:
        return False
    # Any multiple of the tensor has its rank: the largest entry of this one is at most 1, a power of two below.
    shift = max(abs(int(entry)) for entry in core.ravel()).bit_length()
    target = core * 2**_BITS  # over 2^(BITS + shift)
    goal = np.array([float(int(entry) / 2**shift) for entry in core.ravel()]).reshape(core.shape)
    start = _balanced([np.linalg.pinv(b.astype(np.float64)) @ f for b, f in zip(bases, factors, strict=True)], goal)
    largest = max(float(abs(f).max()) for f in start)
    if not np.isfinite(largest) or largest > 2.0**20:
        return False
    point = [_fixed(f) for f in start]
    jacobian = _jacobian(point)  # over 2^(BITS (N - 1))
    unit = 2 ** (_BITS * (order - 1))
    approximate = (jacobian / unit).astype(np.float64)
    columns = _independent(approximate)
    if columns is None:
        return False
    inverse = _fixed(np.linalg.inv(approximate[:, columns]))
    # All of these are exact: integers over powers of two, as bounds in the largest row sum.
    error = outer_sum(point) * 2**shift - target * 2 ** (_BITS * (order - 1))  # over 2^(BITS N + shift)
    step = max(abs(int(entry)) for entry in inverse @ error.ravel())  # over 2^(BITS (N + 1) + shift)
    radius = -(-2 * step // 2 ** (_BITS * order + shift)) + 1  # over 2^BITS: at least twice the step
    off = inverse @ jacobian[:, columns] - np.eye(count, dtype=int).astype(object) * (2**_BITS * unit)
    slack = _row_sum(off)  # over 2^(BITS N)
    # A row of the Jacobian has N R entries, products of N - 1 numbers, none above `most` in the box.
    most = max(abs(int(entry)) for factor in point for entry in factor.ravel()) + radius
    change = order * rank * (order - 1) * most ** (order - 2) * radius  # over 2^(BITS (N - 1))
    # Half at most, so that the box of twice the step is mapped into itself.
    return bool(2 * (slack + _row_sum(inverse) * change) <= 2 ** (_BITS * order))


def _balanced(factors: list[Matrix], goal: Matrix) -> list[Matrix]:
    """The factors scaled to the size of ``goal``, the vectors of each component of equal norms."""
    norms = np.array([np.linalg.norm(f, axis=0) for f in factors])
    share = np.prod(norms, axis=0) ** (1 / len(factors))
    made = [f * (share / np.where(n > 0, n, 1.0)) for f, n in zip(factors, norms, strict=True)]
    total = outer_sum(made)
    size = float(np.vdot(total, total))
    by = float(np.vdot(total, goal)) / size if size else 0.0
    return [f * abs(by) ** (1 / len(made)) * (1 if k or by >= 0 else -1) for k, f in enumerate(made)]


def _fixed(matrix: Matrix) -> Matrix:
    made = np.empty(matrix.size, dtype=object)
    made[:] = [round(float(entry) * 2.0**_BITS) for entry in matrix.ravel()]
    return made.reshape(matrix.shape)


def _jacobian(factors: list[Matrix]) -> Matrix:
    """Derivatives of all entries of the sum by all entries of the factors, factor by factor."""
    shape, rank = tuple(f.shape[0] for f in factors), factors[0].shape[1]
    blocks = []
    for mode, d in enumerate(shape):
        block = np.zeros((*shape, d, rank), dtype=object)
        others = [f for k, f in enumerate(factors) if k != mode]
        product = others[0]
        for other in others[1:]:
            product = product[..., None, :] * other
        for i in range(d):
            np.moveaxis(block, mode, 0)[i, ..., i, :] = product
        blocks.append(block.reshape(-1, d * rank))
    return np.concatenate(blocks, axis=1)


def _independent(matrix: Matrix) -> Matrix | None:
    """As many columns as there are rows, well conditioned, or ``None``."""
    from scipy.linalg import qr

    triangle, order = qr(matrix, mode="r", pivoting=True)
    diagonal = abs(np.diagonal(triangle))
    if diagonal[len(matrix) - 1] <= 1e-10 * diagonal[0]:
        return None
    return np.asarray(order[: len(matrix)])


def _row_sum(matrix: Matrix) -> int:
    return max(sum(abs(int(entry)) for entry in row) for row in matrix)
