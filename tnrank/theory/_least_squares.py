"""Solutions of least squares from one singular value decomposition."""

from __future__ import annotations

from typing import Any

import numpy as np

from tnrank._backend import Backend, common_backend, plain_array
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations._observed import checked_numbers
from tnrank.linalg._tolerance import check_rtol, default_rtol

_DTYPES = ("float32", "float64", "complex64", "complex128")


@explained
def minimum_l2(A: Array, y: Array, *, rtol: float | None = None) -> Array:
    """The least-squares solution of least l2 norm: where gradient descent from zero goes.

    Args:
        A: ``(n, d)``, one measurement a row.
        y: ``(n,)``, or ``(n, k)`` for k problems at once.
        rtol: singular values up to ``rtol`` times the largest count as zero; ``None`` is max(n, d) times eps.

    Returns:
        ``(d,)`` or ``(d, k)``, on the backend and in the dtype of ``A``.

    Raises:
        ValueError: if shapes do not fit, or entries are NaN or infinite.
        TypeError: if the arrays are of two backends, or of a dtype without a singular value decomposition.

    Source: Golub & Van Loan, *Matrix Computations*, Sec. 5.5.

    Example:
        >>> import numpy as np
        >>> from tnrank.theory import minimum_l2
        >>> minimum_l2(np.array([[3.0, 4.0]]), np.array([5.0]))
        array([0.6, 0.8])
    """
    backend, A, y = _checked(A, y)
    xp = backend.xp
    rtol = default_rtol(tuple(A.shape), backend.dtype_of(A)) if rtol is None else check_rtol(rtol)
    U, s, Vh = backend.svd(A)
    kept = s > rtol * s[0]
    inverse = xp.where(kept, 1 / xp.where(kept, s, xp.ones_like(s)), xp.zeros_like(s))
    return _combined(backend, U, inverse, Vh, y)


@explained
def ridge_path(A: Array, y: Array, penalties: Array) -> Array:
    """The minimizers of ``||A x - y||^2 + penalty ||x||^2``, one a penalty.

    Args:
        A: ``(n, d)``.
        y: ``(n,)``, or ``(n, k)`` for k problems at once.
        penalties: ``(K,)``, numbers of at least 0; at 0 stands the limit, ``minimum_l2(A, y)``.

    Returns:
        ``(K, d)`` or ``(K, d, k)``, on the backend and in the dtype of ``A``.

    Raises:
        ValueError: if shapes do not fit, a penalty is negative, or entries are NaN or infinite.
        TypeError: if the arrays are of two backends, or of a dtype without a singular value decomposition.

    Source: Hoerl & Kennard 1970; Hastie, Tibshirani & Friedman, *The Elements of Statistical Learning*, Sec. 3.4.1.

    Example:
        >>> import numpy as np
        >>> from tnrank.theory import ridge_path
        >>> ridge_path(np.array([[2.0]]), np.array([2.0]), [0.0, 4.0])
        array([[1. ],
               [0.5]])
    """
    backend, A, y = _checked(A, y)
    xp = backend.xp
    numbers = checked_numbers(penalties, "penalties")
    if numbers.ndim != 1 or not len(numbers) or not (np.isfinite(numbers) & (numbers >= 0)).all():
        raise ValueError(f"penalties are one or more finite numbers of at least 0, shape (K,), got {penalties!r}")
    U, s, Vh = backend.svd(A)
    kept = s > default_rtol(tuple(A.shape), backend.dtype_of(A)) * s[0]
    path = []
    for penalty in numbers.tolist():
        # without a penalty, values of rounding size would be inverted
        use = kept if penalty == 0 else s > 0
        factors = xp.where(use, s, xp.zeros_like(s)) / xp.where(use, s**2 + penalty, xp.ones_like(s))
        path.append(_combined(backend, U, factors, Vh, y))
    return xp.stack(path)


def _combined(backend: Backend, U: Array, factors: Array, Vh: Array, y: Array) -> Array:
    xp = backend.xp
    columns = y if y.ndim == 2 else y[:, None]
    found = xp.conj(Vh).T @ (xp.astype(factors, U.dtype)[:, None] * (xp.conj(U).T @ columns))
    return found if y.ndim == 2 else found[:, 0]


def _checked(A: Array, y: Any) -> tuple[Backend, Array, Array]:
    backend = common_backend([A, y], lambda: ("A", "y"))
    A, y = plain_array(A)[0], plain_array(y)[0]
    if A.ndim != 2 or 0 in tuple(A.shape):
        raise ValueError(f"A is a matrix (n, d) with no size 0, got shape {tuple(A.shape)}")
    if y.ndim not in (1, 2) or y.shape[0] != A.shape[0]:
        raise ValueError(f"y has shape (n,) or (n, k) with n = {A.shape[0]}, the rows of A, got {tuple(y.shape)}")
    dtype = backend.dtype_of(A)
    if dtype not in _DTYPES:
        raise TypeError(f"A has dtype {dtype}, needed one of {', '.join(_DTYPES)}: convert it first")
    if backend.dtype_of(y) not in _DTYPES or (backend.dtype_of(y)[0] == "c") > (dtype[0] == "c"):
        raise TypeError(f"y has dtype {backend.dtype_of(y)}, needed {dtype} as A, or one that fits into it")
    for name, array in (("A", A), ("y", y)):
        if not bool(backend.xp.all(backend.xp.isfinite(array))):
            raise ValueError(f"{name} has NaN or infinite entries")
    return backend, A, backend.xp.astype(y, A.dtype)
