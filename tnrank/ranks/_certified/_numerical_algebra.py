"""The bound of Alder and Strassen to rounding, for tensors of floats that are the multiplication of an algebra."""

from __future__ import annotations

import numpy as np

from tnrank._backend import host_svdvals
from tnrank.ranks._certified._algebra import QUATERNIONS, associator, central_conditions, trace_form
from tnrank.ranks._certified._exact import Matrix

_TRIES, _DRAWS = 32, 3
_ZERO, _NONZERO = 10.0, 1000.0  # times what rounding changes
_NOISE = 1e-4


def numerical_algebra_bound(tensor: Matrix, field: str, eps: float) -> tuple[int, float] | None:
    """The bound of :func:`algebra_bound` for floats, and how far the product is from associative.

    What rounding can do is seen from copies of the tensor with noise of the size that the tolerance of a matrix rank
    allows. A number counts as zero below ten times its change, as another above a thousand times; where one lies
    between the two, or the product is not associative to ten times its change, there is no bound.

    Args:
        tensor: ``(n, n, n)`` real or complex, of multilinear rank n.
        field: ``"real"`` or ``"complex"``.
        eps: the rounding of its entries.

    Returns:
        The bound and the norm of the associator relative to the square of the product's, or ``None``.

    Source: Alder & Strassen 1981; de Groote 1983.

    Example:
        >>> import numpy as np
        >>> from tnrank.ranks._certified._numerical_algebra import numerical_algebra_bound
        >>> dual_numbers = np.array([[[1.0, 0], [0, 1]], [[0, 1], [0, 0]]])
        >>> hidden = np.einsum("ijk,ia,jb,kc->abc", dual_numbers, *np.random.default_rng(0).random((3, 2, 2)))
        >>> bound, residual = numerical_algebra_bound(hidden, "real", 2.0**-52)
        >>> bound, residual < 1e-12
        (3, True)
    """
    n, rng = len(tensor), np.random.default_rng(0)
    unit = tensor / np.max(np.abs(tensor))
    units = _units(unit, rng)
    product = _product(unit, units)
    if product is None:
        return None
    level = 10 * n * eps
    noisy = [_product(unit + level * _normal(rng, unit.shape, unit.dtype), units) for _ in range(_DRAWS)]
    copies = [copy for copy in noisy if copy is not None]
    size = float(np.linalg.norm(product))
    noise = max((float(np.linalg.norm(copy - product)) / size for copy in copies), default=1.0)
    residual = float(np.linalg.norm(associator(product))) / size**2
    if len(copies) < _DRAWS or noise > _NOISE or residual > _ZERO * noise:
        return None
    forms = [trace_form(p) for p in (product, *copies)]
    conditions = [np.linalg.svd(central_conditions(p, f)) for p, f in zip((product, *copies), forms, strict=True)]
    scale = float(np.linalg.norm(forms[0]))
    outside = _count(np.array([s for _, s, _ in conditions]), size * scale)
    if outside is None:
        return None
    centers = [u[:, outside[0] :].conj().T for u, _, _ in conditions]
    signature = _signature(forms, scale)
    inside = _signature([c @ f @ c.T for c, f in zip(centers, forms, strict=True)], scale)
    if inside is None:
        return None
    if field == "real" and signature == QUATERNIONS:
        return 2 * n, residual
    return 2 * n - (inside[0] if field == "real" else sum(inside)), residual


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Matrix:
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if dtype.kind == "c" else real


def _units(tensor: Matrix, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Of random combinations of slices those that are safest to invert."""
    drawn = _normal(rng, (_TRIES, len(tensor)), tensor.dtype)
    left = np.linalg.cond(np.tensordot(drawn, tensor, axes=(1, 0)))
    right = np.linalg.cond(np.tensordot(drawn, tensor, axes=(1, 1)))
    return drawn[int(np.argmin(left))], drawn[int(np.argmin(right))]


def _product(tensor: Matrix, units: tuple[Matrix, Matrix]) -> Matrix | None:
    """The product with the two units, ``None`` if one has no inverse."""
    left, right = units
    try:
        x = np.linalg.inv(np.tensordot(tensor, right, axes=(1, 0)))
        y = np.linalg.inv(np.tensordot(left, tensor, axes=(0, 0)))
    except np.linalg.LinAlgError:
        return None
    half = np.tensordot(x, tensor, axes=(1, 0))
    return np.asarray(np.tensordot(half, y, axes=(1, 1)).transpose(0, 2, 1))


def _count(values: Matrix, scale: float) -> tuple[int, int] | None:
    """How many of the first row are above and below zero, or ``None`` if noise, in the others, may hide that of one.

    ``scale`` is the size of the numbers that they are sums of.
    """
    first = values[0]
    # Noise may leave sums that cancel the same to the last digit: their own rounding is the least change.
    rounding = len(first) * np.finfo(np.float64).eps * scale
    changes = max(float(np.max(np.abs(values[1:] - first))), rounding)
    if np.any((np.abs(first) > _ZERO * changes) & (np.abs(first) < _NONZERO * changes)):
        return None
    return int(np.sum(first >= _NONZERO * changes)), int(np.sum(first <= -_NONZERO * changes))


def _signature(forms: list[Matrix], scale: float) -> tuple[int, int] | None:
    """Positive and negative eigenvalues of the first real form; of a complex one the rank, and 0."""
    if np.iscomplexobj(forms[0]):
        return _count(np.array([host_svdvals(f) for f in forms]), scale)
    return _count(np.array([np.linalg.eigvalsh((f + f.T) / 2) for f in forms]), scale)
