"""Singular values of stacks of matrices, by triangular factors or by Gram matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tnrank import _scale
from tnrank._backend import backend_of
from tnrank._explained import explained
from tnrank.linalg._tolerance import choose_method, eps_of

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array

_ELONGATED = 2  # from this ratio of the sides on, a triangular factor is taken first


@explained
def singular_values(x: Array, method: str = "auto", rtol: float | None = None) -> Array:
    """Singular values of a matrix or a stack of matrices, descending.

    Args:
        x: array of shape ``(.., m, n)``, float32, float64, complex64 or complex128.
        method: ``"qr"`` reduces an elongated matrix to its triangular factor (a wide one by LQ, the R factor
            of its transpose) and decomposes that: accurate to eps of the largest value. ``"gram"`` takes
            square roots of the eigenvalues of the smaller Gram matrix: faster, accurate to sqrt(eps) of the
            largest value. ``"auto"`` is ``"qr"`` unless ``rtol`` is above ten times the floor of ``"gram"``.
        rtol: the accuracy that is needed, relative to the largest value; it takes part in the choice.

    Returns:
        Real array of shape ``(.., min(m, n))``, of entries of any size: a value is infinite only where it leaves the
        range itself. All values of a matrix with a NaN or infinite entry are NaN.

        Its derivative is that of a spectral function, by either method: the gradient of ``f(s(M))`` is
        ``U diag(df/ds) V^H``, which is finite at equal, zero and missing values. Values up to ``max(m, n) * eps`` of
        the largest cannot be told from zero, and have derivative 0.

    Raises:
        ValueError: if ``x`` has fewer than two axes, or ``rtol`` is below the floor of the method.

    Source: Chan 1982 (QR before SVD); Grasedyck 2010 (Gram matrices); Lewis 1995, *The convex analysis of
    unitarily invariant matrix functions* (the gradient).

    Example:
        >>> import numpy as np
        >>> from tnrank.linalg import singular_values
        >>> singular_values(np.diag([3.0, 4.0]))
        array([4., 3.])
    """
    backend = _checked(x)
    if 0 in x.shape:
        return scaled_singular_values(x, method, rtol)
    x, unit, valid = _scale.moderate(x, backend, (-2, -1))
    found = scaled_singular_values(x, method, rtol)
    with _scale.quiet(backend):
        return found if unit is None or valid is None else found * valid[..., 0] * unit[..., 0]


@explained
def scaled_singular_values(x: Array, method: str = "auto", rtol: float | None = None) -> Array:
    """:func:`singular_values` of finite matrices whose entries are of moderate size, as they are after scaling."""
    backend = _checked(x)
    dtype = backend.dtype_of(x)
    values = _by_gram if choose_method(method, rtol, dtype) == "gram" else _by_triangle
    if not min(x.shape[-2:]):
        return values(x)
    try:
        return backend.spectrum(values, x, max(x.shape[-2:]) * eps_of(dtype))
    except Exception as error:
        if "LinAlgError" not in type(error).__name__:
            raise
        raise ValueError(f"singular values need finite entries, or a matrix of another scale: {error}") from error


def _checked(x: Array) -> Backend:
    if len(x.shape) < 2:
        raise ValueError(f"singular values belong to matrices (.., m, n), got an array of shape {tuple(x.shape)}")
    backend = backend_of(x)
    eps_of(backend.dtype_of(x))  # raises where the dtype is none of floating-point numbers
    return backend


def _by_triangle(x: Array) -> Array:
    backend = backend_of(x)
    m, n = x.shape[-2:]
    if n >= _ELONGATED * m:
        x, m, n = backend.xp.matrix_transpose(x), n, m
    return backend.svdvals(_triangle(x, backend) if m >= _ELONGATED * n else x)


def _triangle(x: Array, backend: Backend) -> Array:
    """The factor R of the QR decomposition, shape ``(.., n, n)`` for ``m >= n``."""
    # mode "r" is in every framework but not in the standard; it returns R, or (empty, R) in torch.
    try:
        found: Any = backend.xp.linalg.qr(x, mode="r")
    except (TypeError, NotImplementedError):
        found = backend.xp.linalg.qr(x)
    return found[1] if isinstance(found, tuple) else found


def _by_gram(x: Array) -> Array:
    backend = backend_of(x)
    xp = backend.xp
    if x.shape[-2] > x.shape[-1]:
        x = xp.matrix_transpose(x)
    squares = xp.linalg.eigvalsh(x @ xp.conj(xp.matrix_transpose(x)))
    return xp.flip(_scale.root(squares, backend), axis=-1)
