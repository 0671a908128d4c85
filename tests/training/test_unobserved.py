"""Slices without an observation are named: their entries are the initial weights' noise, and no completion."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank.training._unobserved import unobserved_slices


def matrix(seed: int = 0, backend: str = "numpy") -> Any:
    return tnrank.MatrixFactorization.random((4, 5), depth=2, std=0.5, seed=seed, backend=backend)


SEEN = np.asarray([[i, j] for i in (0, 1, 3) for j in (0, 2, 3)])
VALUES = np.arange(9.0)


def test_rows_and_columns_are_named(backend_name: str) -> None:
    x = matrix(backend=backend_name)
    with pytest.warns(UserWarning, match="nothing is observed in row 2 and columns 1, 4: .*no prediction"):
        result = tnrank.complete(x, SEEN, VALUES, steps=30)
    assert {mode: slices.tolist() for mode, slices in result.unobserved.items()} == {0: [2], 1: [1, 4]}
    assert "nothing observed in row 2 and columns 1, 4" in repr(result)
    # What the warning says: these weights never moved, the others did.
    moved = [
        np.asarray(x.backend.to_numpy(a)) != x.backend.to_numpy(b)
        for a, b in zip(x.arrays.values(), result.factorization.arrays.values(), strict=True)
    ]
    rows, columns = (moved[1], moved[0].T) if moved[0].shape[1] == 5 else (moved[0], moved[1].T)
    assert [bool(row.any()) for row in rows] == [True, True, False, True]
    assert [bool(column.any()) for column in columns] == [True, False, True, True, False]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=8))
def test_by_definition(entries: list[tuple[int, int, int]]) -> None:
    mask = np.zeros((3, 4, 2), bool)
    mask[tuple(np.asarray(entries).T)] = True
    wanted = {}
    for mode in range(3):
        blind = [k for k in range(mask.shape[mode]) if not np.take(mask, k, mode).any()]
        wanted |= {mode: blind} if blind else {}
    found = unobserved_slices((np.asarray(entries), np.zeros(len(entries))), mask.shape)
    assert {mode: slices.tolist() for mode, slices in found.items()} == wanted


def test_measurements() -> None:
    rng = np.random.default_rng(0)
    rows, columns = rng.standard_normal((6, 4)), rng.standard_normal((6, 5))
    columns[:, 3] = 0
    rows[:-1, 1] = 0
    columns[-1] = 0  # the last measurement is zero, whatever its row vector says
    with pytest.warns(UserWarning, match="in row 1 and column 3:"):
        result = tnrank.complete(matrix(), tnrank.RankOneMeasurements([rows, columns]), rng.standard_normal(6), steps=1)
    assert {mode: slices.tolist() for mode, slices in result.unobserved.items()} == {0: [1], 1: [3]}


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_runs_with_observations_of_their_own_have_one_warning(backend: str) -> None:
    pytest.importorskip(backend)
    everything = np.argwhere(np.ones((4, 5)))
    xs = [matrix(seed, backend) for seed in range(2)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = tnrank.complete(xs, [everything, everything[:15]], [np.ones(20), np.ones(15)], steps=1)
    assert [str(one.message).partition(":")[0] for one in caught] == ["nothing is observed in run 1"]
    assert "in run 1: row 3: training" in str(caught[0].message)
    assert [dict(one.unobserved) for one in results] == [{}, {0: [3]}]
    assert "nothing observed" not in repr(results[0])


def test_many_slices_are_told_briefly() -> None:
    x = tnrank.CPFactorization.random((1000, 6, 6, 6, 3), rank=1)
    with pytest.warns(UserWarning, match="nothing is observed") as caught:
        result = tnrank.complete(x, [[7, 1, 1, 1, 0]], [1.0], steps=1)
    said = str(caught[0].message)
    assert "slices 0, 1, 2, 3, .. (999 in all) of mode 0" in said
    assert "and slices of 2 more modes" in said
    assert len(said) < 400
    np.testing.assert_array_equal(result.unobserved[0], np.delete(np.arange(1000), 7))


def test_nothing_is_said_where_nothing_is_missing_or_trained() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        everything = np.argwhere(np.ones((4, 5)))
        assert tnrank.complete(matrix(), everything, np.ones(20), steps=1).unobserved == {}
        assert list(tnrank.complete(matrix(), SEEN, VALUES, steps=0).unobserved) == [0, 1]
        tnrank.training.stability_limit(matrix(), SEEN, VALUES)
