"""The randomized range finder against dense singular value decompositions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnrank import get_backend
from tnrank.linalg import randomized_dominant, randomized_floor, range_finder


def matrix(m: int, n: int, s: np.ndarray, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """A matrix with the singular values ``s``."""
    rng = np.random.default_rng(seed)

    def frame(side: int) -> np.ndarray:
        drawn = rng.standard_normal((side, len(s)))
        drawn = drawn + 1j * rng.standard_normal((side, len(s))) if dtype.startswith("complex") else drawn
        return np.linalg.qr(drawn)[0]

    return ((frame(m) * s) @ frame(n).conj().T).astype(dtype)


@pytest.mark.few_on_jax("sides1-complex128")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("sides", [(60, 300), (300, 60), (120, 120)])
def test_error_is_below_the_tolerance_and_exact(backend_name: str, sides: tuple[int, int], dtype: str) -> None:
    backend = get_backend(backend_name)
    a = matrix(*sides, 0.8 ** np.arange(60), dtype)
    quick_on_jax = (backend_name, sides, dtype) == (
        "jax",
        (300, 60),
        "complex128",
    )  # it compiles each number of columns
    for rtol in (1e-2,) if quick_on_jax else (0.3, 1e-2, 1e-5):
        found = range_finder(backend.asarray(a), rtol=rtol)
        q = backend.to_numpy(found.basis)
        true = np.linalg.norm(a - q @ (q.conj().T @ a))
        assert true <= rtol * np.linalg.norm(a)
        assert np.isclose(found.error, true, rtol=0.02)
        assert np.allclose(q.conj().T @ q, np.eye(q.shape[1]), atol=1e-13)
        tails = np.sqrt(np.cumsum(np.linalg.svd(a)[1][::-1] ** 2))[::-1]
        best = int((tails > rtol * tails[0]).sum())
        assert best <= q.shape[1] <= best + 2


def test_low_rank_is_found_exactly() -> None:
    a = matrix(400, 500, np.arange(5, 0, -1.0))
    found = range_finder(a, rtol=1e-6)
    assert found.basis.shape == (400, 5)
    assert np.allclose(found.singular_values, np.arange(5, 0, -1), rtol=1e-12)
    assert np.allclose(found.norm, np.sqrt(55))


def test_more_columns_than_a_block() -> None:
    a = matrix(500, 400, np.ones(150))
    found = range_finder(a, rtol=1e-4)
    assert found.basis.shape == (500, 150)
    assert np.allclose(found.basis.T @ found.basis, np.eye(150), atol=1e-13)


@pytest.mark.parametrize("rank", [1, 7, 500])
def test_a_rank(rank: int) -> None:
    a = matrix(80, 200, 0.5 ** np.arange(80))
    found = range_finder(a, rank=rank, power_iterations=2)
    kept = min(rank, 80)
    u, s, _ = np.linalg.svd(a)
    assert found.basis.shape == (80, kept)
    assert np.allclose(found.singular_values[:20], s[:20][:kept], rtol=1e-6, atol=1e-15)
    assert np.allclose(abs(found.basis[:, 0] @ u[:, 0]), 1)
    assert np.linalg.norm(a - found.basis @ (found.basis.T @ a)) <= 1.01 * np.sqrt((s[kept:] ** 2).sum()) + 1e-14


def test_a_rank_below_what_the_tolerance_needs() -> None:
    a = matrix(80, 200, 0.5 ** np.arange(80))
    found = range_finder(a, rtol=1e-5, rank=3)
    assert found.basis.shape == (80, 3)
    assert found.error > 1e-5 * found.norm
    u, s = randomized_dominant(get_backend("numpy"), a, 1e-5, max_rank=3)
    assert (u.shape, s.shape) == ((80, 3), (3,))


def test_the_same_seed_on_every_backend(backend_name: str) -> None:
    backend = get_backend(backend_name)
    a = matrix(90, 70, 0.9 ** np.arange(70))
    ours = range_finder(a, rank=5, seed=3)
    found = range_finder(backend.asarray(a), rank=5, seed=3)
    assert np.allclose(backend.to_numpy(found.basis), ours.basis, atol=1e-10)
    assert not np.allclose(range_finder(a, rank=5, seed=4, power_iterations=0).basis, ours.basis, atol=1e-10)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 40), st.sampled_from([0.5, 1e-1, 1e-3, 1e-6]))
def test_law(m: int, n: int, rank: int, rtol: float) -> None:
    rng = np.random.default_rng(m + 100 * n)
    a = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n))
    found = range_finder(a, rtol=rtol)
    assert np.linalg.norm(a - found.basis @ (found.basis.T @ a)) <= rtol * np.linalg.norm(a) + 1e-14
    assert 1 <= found.basis.shape[1] <= max(1, min(m, n, rank))


def test_float32_stays_float32() -> None:
    found = range_finder(matrix(100, 50, 0.5 ** np.arange(50), "float32"), rtol=1e-2)
    assert str(found.basis.dtype) == "float32"
    assert found.basis.shape[1] in (7, 8)


def test_bad_calls() -> None:
    a = np.ones((5, 4))
    with pytest.raises(ValueError, match=r"below the accuracy floor 2.11e-07 of 'randomized' in float64: use method"):
        range_finder(a, rtol=1e-8)
    with pytest.raises(ValueError, match="below the accuracy floor"):
        range_finder(a.astype("float32"), rtol=1e-3)
    with pytest.raises(ValueError, match="below the accuracy floor"):
        randomized_dominant(get_backend("numpy"), a, 1e-9)
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        range_finder(a, rtol=1.0)
    with pytest.raises(ValueError, match="give rtol, or the rank"):
        range_finder(a)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        range_finder(a, rank=0)
    with pytest.raises(ValueError, match=r"got an array of shape \(3,\)"):
        range_finder(np.ones(3), rank=1)
    assert 2e-7 < randomized_floor("float64") < 2.2e-7
