"""Rank scans: what they find on tensors of known rank, how they print, and what their picture shows."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import CPFactorization
from tnrank.ranks import RankScan, core_consistency, rank_scan

Host = np.ndarray[Any, Any]
W3 = np.array([[[0, 1], [1, 0]], [[1, 0], [0, 0]]])


@cache
def scan_of_w() -> RankScan:
    return rank_scan(W3, 3, starts=3)


def cp_with_noise(share: float) -> Host:
    tensor = CPFactorization.random((6, 7, 8), rank=3, seed=0).to_dense()
    noise = np.random.default_rng(1).standard_normal(tensor.shape)
    return np.asarray(tensor + share * np.linalg.norm(tensor) / np.linalg.norm(noise) * noise)


def test_the_right_rank_stands_out() -> None:
    tensor = cp_with_noise(1e-2)
    scan = rank_scan(tensor, 4)
    errors = [entry.error for entry in scan.ranks]
    assert [entry.rank for entry in scan.ranks] == [1, 2, 3, 4]
    assert errors[1] > 10 * errors[2]
    assert errors[3] > 0.8 * errors[2]
    assert scan.ranks[2].core_consistency > 99
    assert scan.lower == 8  # noise has full multilinear rank
    for entry, fit in zip(scan.ranks, scan.fits, strict=True):
        assert abs(np.linalg.norm(fit.to_dense() - tensor) / np.linalg.norm(tensor) - entry.error) < 1e-12
        assert abs(core_consistency(tensor, fit) - entry.core_consistency) < 1e-9
        assert entry.largest == pytest.approx(fit.component_norms().max() / np.linalg.norm(tensor))


@settings(max_examples=5)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(0, 99))
def test_errors_never_grow_and_stay_above_their_floor(shape: list[int], seed: int) -> None:
    tensor = np.random.default_rng(seed).standard_normal(shape)
    scan = rank_scan(tensor, 4, starts=2, steps=50)
    errors = np.array([entry.error for entry in scan.ranks])
    floors = np.array([entry.error_floor for entry in scan.ranks])
    assert np.all(np.diff(errors) <= 1e-10)
    assert np.all(errors >= floors - 1e-12)
    s = np.linalg.svd(tensor.reshape(shape[0], -1), compute_uv=False)
    for rank, floor in enumerate(floors, 1):
        assert floor >= np.linalg.norm(s[rank:]) / np.linalg.norm(s) - 1e-12
    assert np.all(floors[scan.lower - 1 :] < 1e-12)


def test_border_rank_behavior_is_marked_and_printed() -> None:
    scan = scan_of_w()
    assert [entry.diverging for entry in scan.ranks] == [False, True, False]
    assert scan.lower == 2
    assert scan.ranks[2].error < 1e-12
    text = str(scan)
    assert text.splitlines()[0] == "rank scan of a tensor, shape 2 x 2 x 2, float64"
    assert text.splitlines()[1] == "an exact fit has 2 components or more: matricization {0}|{1,2}"
    assert "diverging: components grow without end and cancel (border-rank behavior)" in text
    content = json.loads(json.dumps(scan.to_dict()))
    assert content["lower"] == 2
    assert content["ranks"][1]["diverging"] is True


def test_every_backend(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    scan = rank_scan(backend.asarray(cp_with_noise(0.0), dtype="float32"), 3)
    assert (scan.lower, scan.dtype) == (3, "float32")
    assert scan.ranks[2].error < 1e-5
    assert (scan.fits[2].backend.name, scan.fits[2].dtype) == (backend_name, "float32")


def test_factorizations_complex_and_zero_tensors() -> None:
    x = CPFactorization.random((3, 4, 5), rank=2, seed=0, dtype="complex128")
    scan = rank_scan(x, 2)
    assert scan.given == "CPFactorization"
    assert "rank scan of a CPFactorization" in str(scan)
    assert scan.ranks[1].error < 1e-12
    zero = rank_scan(np.zeros((2, 3, 4)), 2)
    assert zero.lower == 0
    assert [(e.error, e.error_floor, e.core_consistency, e.largest) for e in zero.ranks] == [(0, 0, 0, 0)] * 2


@pytest.mark.parametrize(
    ("tensor", "max_rank", "message"),
    [
        (np.ones(3), 1, "order 2 or more"),
        (np.ones((2, 0, 2)), 1, "mode 1"),
        (np.full((2, 2), np.nan), 1, "NaN or infinite"),
        (np.ones((2, 2)), 0, "max_rank is a number of components"),
    ],
)
def test_bad_input(tensor: Host, max_rank: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_scan(tensor, max_rank)


def test_wrong_calls_name_the_right_one() -> None:
    with pytest.raises(TypeError, match=r"max_rank is one number, the most components, got \[2, 4, 6\]"):
        rank_scan(np.ones((2, 2)), [2, 4, 6])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="got ndarray, needed the result of a rank scan"):
        tnrank.plots.rank_scan(np.ones((2, 2)))  # type: ignore[arg-type]
    assert [entry.rank for entry in rank_scan(np.ones((2, 2)), np.int64(2)).ranks] == [1, 2]  # type: ignore[arg-type]


def test_the_picture_shows_what_was_found() -> None:
    scan = scan_of_w()
    figure = tnrank.plots.rank_scan(scan)
    left, right = figure.axes
    errors = max(left.lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_array_equal(errors.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(errors.get_ydata(), np.maximum([entry.error for entry in scan.ranks], 1e-16))
    hollow = [line for line in left.lines if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [float(x) for line in hollow for x in line.get_xdata()] == [2.0]
    consistency = max(right.lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_allclose(
        consistency.get_ydata(), np.maximum([entry.core_consistency for entry in scan.ranks], -20)
    )
    assert tnrank.plots.image_bytes(figure, "a.png")[1:4] == b"PNG"
