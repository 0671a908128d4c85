from __future__ import annotations

import numpy as np
import pytest

from tnrank import get_backend
from tnrank.data import low_rank_matrix, low_rank_tensor, observe


def test_matrices() -> None:
    x = low_rank_matrix((7, 5), 3, norm=2.0, seed=4)
    assert np.linalg.matrix_rank(x) == 3
    assert np.linalg.norm(x) == pytest.approx(2)
    np.testing.assert_array_equal(x, low_rank_matrix((7, 5), 3, norm=2.0, seed=4))
    assert not np.allclose(x, low_rank_matrix((7, 5), 3, norm=2.0, seed=5))
    assert np.mean(low_rank_matrix((64, 64), 5) ** 2) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(5,), (4, 3), (5, 4, 3), (4, 4, 4, 4), (1, 3, 2)])
def test_tensors_are_sums_of_outer_products(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(8)
    factors = [rng.standard_normal((size, 2)) for size in shape]
    letters = "abcd"[: len(shape)]
    expected = np.einsum(",".join(f"{c}r" for c in letters) + "->" + letters, *factors)
    found = low_rank_tensor(shape, 2, norm=1.0, seed=8)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-14)
    assert found.shape == shape


def test_observations(backend_name: str) -> None:
    backend = get_backend(backend_name)
    x = np.random.default_rng(0).standard_normal((4, 5, 6))
    indices, values = observe(backend.asarray(x), 50, seed=1)
    assert indices.shape == (50, 3)
    assert indices.dtype == np.int64
    assert len({tuple(row) for row in indices}) == 50
    assert type(values) is type(backend.asarray(x))
    np.testing.assert_array_equal(backend.to_numpy(values), x[tuple(indices.T)])
    fewer, _ = observe(x, 20, seed=1)
    np.testing.assert_array_equal(fewer, indices[:20])
    everything, _ = observe(x, 120, seed=1)
    assert len({tuple(row) for row in everything}) == 120
    assert not np.array_equal(observe(x, 50, seed=2)[0], indices)


def test_observations_are_uniform() -> None:
    x = np.zeros((3, 4))
    counts = np.zeros((3, 4))
    for seed in range(2000):
        np.add.at(counts, tuple(observe(x, 3, seed)[0].T), 1)
    assert abs(counts - 500).max() < 5 * np.sqrt(500 * 0.75)


def test_wrong_requests() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 4\) has rank at most 3, got rank 4"):
        low_rank_matrix((3, 4), 4)
    with pytest.raises(ValueError, match="use low_rank_tensor for order 3"):
        low_rank_matrix((3, 4, 5), 2)
    with pytest.raises(ValueError, match=r"got shape \(3, 0\)"):
        low_rank_tensor((3, 0), 1)
    with pytest.raises(ValueError, match="at least one mode"):
        low_rank_tensor((), 1)
    for rank in (0, 1.5):
        with pytest.raises(ValueError, match=f"at least 1, got {rank}"):
            low_rank_tensor((3, 3), rank)  # type: ignore[arg-type]
    for norm in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="norm of a target is positive"):
            low_rank_tensor((3, 3), 1, norm=norm)
    for count in (0, 13):
        with pytest.raises(ValueError, match=rf"has 12 entries: count lies in 1 .. 12, got {count}"):
            observe(np.zeros((3, 4)), count)
    with pytest.raises(TypeError, match=r"count is an integer, got 0\.5"):
        observe(np.zeros((3, 4)), 0.5)  # type: ignore[arg-type]
