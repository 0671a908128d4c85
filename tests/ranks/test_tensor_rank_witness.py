"""Witnesses of tensor ranks: sums at higher order, large cores, exact compression, and sums of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnrank import CPFactorization, tensor_rank
from tnrank.ranks._certified._exact import exact_core

Host = np.ndarray[Any, Any]


def w(order: int) -> Host:
    t = np.zeros((2,) * order, dtype=int)
    for k in range(order):
        t[tuple(int(i == k) for i in range(order))] = 1
    return t


def coordinates(order: int, size: int) -> Host:
    return np.asarray(sum(np.ogrid[(slice(size),) * order]))


@pytest.mark.parametrize(
    ("tensor", "known"),
    [
        pytest.param(w(5), 5, id="W_5"),
        *(pytest.param(w(d), d, id=f"W_{d}", marks=pytest.mark.slow) for d in (7, 8)),
        *(
            pytest.param(coordinates(d, n), d, id=f"sum of {d} in {n}^{d}", marks=pytest.mark.slow)
            for d, n in ((4, 2), (4, 4), (5, 3))
        ),
    ],
)
def test_sums_at_order_above_three(tensor: Host, known: int) -> None:
    found = tensor_rank(tensor)
    assert found.lower <= known <= found.upper
    assert found.border_lower == 2
    # Two components come as close as one likes, and the result says so.
    assert found.diverging is not None
    assert found.diverging[0] == found.border_upper == 2
    assert "border-rank behavior: 2 components" in str(found)
    np.testing.assert_allclose(found.witness.to_dense(), tensor, atol=1e-10)
    assert found.certificate.verify()


@pytest.mark.parametrize(
    ("shape", "rank"),
    [
        ((20, 20, 20), 16),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (((4, 6, 5, 4), 12), ((6, 8, 7, 6), 20))),
    ],
)
def test_cores_too_large_for_the_search_settle_by_eigenvectors(shape: tuple[int, ...], rank: int) -> None:
    x = CPFactorization.random(shape, rank=rank, seed=1)
    found = tensor_rank(x)
    assert (found.lower, found.upper, found.border_upper) == (rank, rank, rank)
    assert found.residual < 1e-11


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(0, 3), st.integers(0, 999))
def test_an_exact_core_gives_the_tensor_back(shape: list[int], rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = [rng.integers(-2, 3, (d, rank)) for d in shape]
    tensor = CPFactorization(factors).to_dense().astype(int).astype(object) if rank else np.zeros(shape, object)
    core, bases = exact_core(tensor)
    again: Any = core
    for mode, basis in enumerate(bases):
        assert basis.shape[0] == shape[mode]
        again = np.moveaxis(np.tensordot(basis, again, axes=(1, mode)), 0, mode)
    assert np.all(again == tensor)
    for mode, size in enumerate(core.shape):
        rows = np.moveaxis(tensor, mode, 0).reshape(shape[mode], -1).astype(float)
        assert size == np.linalg.matrix_rank(rows)


@settings(max_examples=5)
@given(st.integers(1, 2), st.integers(1, 2), st.integers(0, 999))
def test_the_rank_of_a_sum_is_at_most_the_sum_of_the_ranks(first: int, second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def drawn(rank: int) -> Host:
        return np.asarray(np.einsum("ir,jr,kr->ijk", *(rng.integers(-2, 3, (3, rank)) for _ in range(3))))

    a, b = drawn(first), drawn(second)
    ranks = [tensor_rank(t) for t in (a, b, a + b)]
    assert all(r.certificate.verify() for r in ranks)
    assert ranks[2].lower <= ranks[0].upper + ranks[1].upper


def test_cancelling_components_are_no_better_than_their_rounding() -> None:
    # Floating point hides what is left of two vectors with a difference of one unit in the last place.
    found = tensor_rank(w(3))
    assert found.diverging is not None
    _, residual, largest = found.diverging
    assert residual >= np.finfo(float).eps * largest
