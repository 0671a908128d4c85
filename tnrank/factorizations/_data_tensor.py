"""The tensor of a data set: one outer product of feature vectors a sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tnrank._backend import Backend, backend_of, common_backend
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations._cp import CPFactorization

Features = Callable[[Array], Array]


@explained
def data_tensor(X: Array, y: Array | None = None, features: str | Features = "cos_sin") -> CPFactorization:
    """The tensor ``sum_m y_m outer(f(x_m1), .., f(x_mN))`` of a labeled data set: a CP factorization, never formed.

    Its hierarchical ranks say how strongly the labels depend on interactions between groups of features: how many
    local components a hierarchical factorization needs to fit them. With M samples they cost M x M Gram matrices, at
    any order N.

    Args:
        X: samples ``(M, N)``, real numbers; in [0, 1] for ``"cos_sin"``, which has the period 4.
        y: labels ``(M,)``, numbers; all 1 if ``None``. They are weights: of two classes take +1 and -1, because a
            sample with the label 0 does not count.
        features: what each x becomes, a vector of dimension d: ``"cos_sin"`` (cos(pi x / 2), sin(pi x / 2)),
            ``"linear"`` (1, x), ``"polynomial"`` (1, x, x^2), or a function from ``(M, N)`` to ``(M, N, d)``.

    Returns:
        A CPFactorization of shape ``(d,) * N`` with M components and the weights y.

    Raises:
        ValueError: if X is not of shape ``(M, N)``, y not of shape ``(M,)``, entries are NaN or infinite, X is
            outside [0, 1] for ``"cos_sin"``, the features have another shape than ``(M, N, d)``, or the name is
            unknown.

    Source: Stoudenmire & Schwab 2016 (cos and sin); Alexander et al. 2023, *What makes data suitable for a locally
        connected neural network?* (the data tensor).

    Example:
        >>> import numpy as np, tnrank
        >>> X = np.random.default_rng(0).random((5, 64))
        >>> x = tnrank.data_tensor(X, np.array([1.0, -1, 1, 1, -1]))
        >>> x.shape == (2,) * 64, x.rank, max(tnrank.hierarchical_rank(x).values())
        (True, 5, 5)

        Gray values of 0 to 16 are divided by 16, labels 0 and 1 become -1 and +1.

        >>> images, labels = np.array([[0, 16, 8], [4, 0, 12]]), np.array([0, 1])
        >>> tnrank.data_tensor(images / 16, 2 * labels - 1).weights.tolist()
        [-1.0, 1.0]
    """
    backend = backend_of(X)
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"X has one row a sample and one column a feature, (M, N), got shape {tuple(X.shape)}")
    X = _floating(X, backend, "X")
    count, order = (int(size) for size in X.shape)
    if y is not None:
        common_backend([X, y], lambda: ("X", "y"))
        if tuple(y.shape) != (count,):
            raise ValueError(f"y has one label a sample, ({count},), got shape {tuple(y.shape)}")
        y = _floating(y, backend, "y")
        if backend.xp.isdtype(y.dtype, "complex floating") and not backend.xp.isdtype(X.dtype, "complex floating"):
            raise ValueError("y is complex and X is real: make X complex too, X + 0j")
        y = backend.xp.astype(y, X.dtype)
    if isinstance(features, str):
        if features not in _FEATURES:
            raise ValueError(f"unknown features {features!r}: give {', '.join(map(repr, _FEATURES))} or a function")
        if features == "cos_sin":
            _check_range(X, backend)
        vectors = backend.xp.stack(_FEATURES[features](backend.xp, X), axis=-1)
    else:
        vectors = features(X)
        shape = tuple(getattr(vectors, "shape", ()))
        if len(shape) != 3 or shape[:2] != (count, order) or shape[2] < 1:
            raise ValueError(f"features(X) has shape {shape}, needed (M, N, d) = ({count}, {order}, d), d from 1 on")
        vectors = _floating(vectors, backend, "features(X)")
    # shape: (M, N, d) -> N factors (d, M)
    turned = backend.permute(vectors, (1, 2, 0))
    return CPFactorization([turned[n, ...] for n in range(order)], y)


_FEATURES: dict[str, Callable[[Any, Array], list[Array]]] = {
    "cos_sin": lambda xp, x: [xp.cos(x * (math.pi / 2)), xp.sin(x * (math.pi / 2))],
    "linear": lambda xp, x: [xp.ones_like(x), x],
    "polynomial": lambda xp, x: [xp.ones_like(x), x, x * x],
}


def _check_range(X: Array, backend: Backend) -> None:
    slack = 1e-6  # of values that were scaled in single precision
    try:
        good = bool(backend.xp.all(backend.xp.abs(X - 0.5) <= 0.5 + slack))
    except (TypeError, RuntimeError):
        return  # a framework traces the call: there are no values yet
    if not good:
        host = backend.to_numpy(X)
        low, high = float(host.min()), float(host.max())
        fix = "X / X.max()" if low >= -slack else "(X - X.min()) / (X.max() - X.min())"
        raise ValueError(
            f"X has entries from {low:.4g} to {high:.4g}: the features 'cos_sin' are periodic and need [0, 1]; "
            f"pass {fix}, or features='linear'"
        )


def _floating(x: Array, backend: Backend, what: str) -> Array:
    dtype = backend.dtype_of(x)
    if dtype.startswith(("int", "uint", "bool")):
        return backend.asarray(x, dtype=backend.default_dtype)
    try:
        good = bool(backend.xp.all(backend.xp.isfinite(x)))
    except (TypeError, RuntimeError):
        return x  # a framework traces the call: there are no values yet
    if not good:
        wrong = ~backend.to_numpy(backend.xp.isfinite(x))
        first = tuple(int(k[0]) for k in wrong.nonzero())
        raise ValueError(f"{int(wrong.sum())} of {wrong.size} entries of {what} are NaN or infinite, first at {first}")
    return x
