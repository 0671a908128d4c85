"""Other formats made short on the way: by a tolerance, by a largest rank, by both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.factorizations import HierarchicalTucker, TensorTrain, Tucker

X = tnrank.CPFactorization(
    [np.random.default_rng(k).standard_normal((5, 4)) for k in range(4)], np.array([1.0, 0.3, 1e-3, 1e-4])
)


@pytest.mark.parametrize("kind", [Tucker, TensorTrain, HierarchicalTucker])
@pytest.mark.parametrize(
    ("options", "most"),
    [({}, 5), ({"max_rank": 2}, 2), ({"rtol": 1e-5}, 4), ({"rtol": 1e-2}, 2), ({"rtol": 1e-12, "max_rank": 1}, 1)],
)
def test_ranks_are_cut_where_they_are_asked_to(kind: Any, options: dict[str, Any], most: int) -> None:
    """The error is within the root of the summed squares of what is cut from the dense matricizations."""
    short = kind.from_factorization(X, **options)
    dense, found = np.asarray(X.to_dense()), np.asarray(short.to_dense())
    ranks = tnrank.tt_ranks(short, rtol=1e-8) if kind is TensorTrain else tnrank.multilinear_rank(short, rtol=1e-8)
    assert max(ranks) <= most
    groups = [(0,), (1,), (2,), (3,), (0, 1), (0, 1, 2)]
    spectra = [
        np.linalg.svd(np.moveaxis(dense, g, range(len(g))).reshape(5 ** len(g), -1), compute_uv=False) for g in groups
    ]
    size = np.linalg.norm(dense)
    cut = np.sqrt(sum((s[most:] ** 2).sum() for s in spectra))
    bound = max(cut if "max_rank" in options else 0.0, options.get("rtol", 0.0) * size) + 1e-12 * size
    assert np.linalg.norm(found - dense) <= bound
    if not options:
        assert max(ranks) == 4
        assert np.linalg.norm(found - dense) <= 1e-12 * size
