"""Scores of samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tnrank._backend import get_backend
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations import Factorization
from tnrank.training._samples._data import Features, check_features, put, read_features
from tnrank.training._samples._objective import scores_of

_ROWS = 2000
"""Samples whose scores are computed at once."""


@explained
def scores(x: Factorization, features: Any) -> Array:
    """The scores ``<W, outer(f_1, .., f_N)>`` of samples with features ``f_n`` under the end tensor W.

    Args:
        x: a factorization of order N; or N + 1, whose last mode has no features: its entries are the scores then.
        features: whole numbers ``(M, N)``, the states of one-hot features, which makes the scores entries of x; or
            vectors ``(M, N, d)``, or N arrays ``(M, d_n)``.

    Returns:
        ``(M,)``, or ``(M, C)`` with a mode of C scores; of the backend of x.

    Raises:
        ValueError: for features that x has no modes for, or that are NaN or infinite.
        TypeError: for something else than numbers.

    Example:
        >>> import numpy as np, tnrank
        >>> x = tnrank.CPFactorization.random((2,) * 100, rank=3, init="mean_one", std=0.01)
        >>> tnrank.scores(x, np.zeros((5, 100), int)).shape
        (5,)
    """
    read = read_features(features)
    check_features(x, read)
    return scores_of_read(x, read)


def scores_of_read(x: Factorization, read: Features) -> Array:
    """As :func:`scores`, of features that are checked."""
    backend, found = x.backend, []
    rows = min(_ROWS, len(read))
    way = scores_of(x, read.modes, read.coded, rows)
    values = [value[None] for value in way.pack([backend.stop_gradient(v) for v in x._values], backend.xp)]
    forward = _forward(backend.name, way)
    for start in range(0, len(read), rows):
        # The last samples are seen with some before them, so that one compiled program serves all.
        first = min(start, len(read) - rows)
        inputs = [put(x, a) for a in way.inputs(read.rows(first, first + rows))]
        found.append(forward(values, inputs)[0][start - first :])
    whole = backend.xp.concat(found, axis=0)
    return whole if read.several(x) else whole[:, 0]


@lru_cache(maxsize=64)
def _forward(backend_name: str, way: Any) -> Callable[..., Array]:
    backend = get_backend(backend_name)
    return backend.jit(lambda values, inputs: way.forward(backend, values, inputs)[0])
