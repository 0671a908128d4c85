"""Scores of samples."""

from __future__ import annotations

from typing import Any

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
    for start in range(0, len(read), _ROWS):
        rows = read.rows(start, start + _ROWS)
        way = scores_of(x, read.modes, read.coded, len(rows))
        packed = way.pack([backend.stop_gradient(v) for v in x._values], backend.xp)
        inputs = [put(x, a) for a in way.inputs(rows)]
        found.append(way.forward(backend, [value[None] for value in packed], inputs)[0][0])
    whole = backend.xp.concat(found, axis=0)
    return whole if read.several(x) else whole[:, 0]
