"""Singular value decompositions where LAPACK's divide and conquer does not converge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """On some processors ``numpy.linalg.svd`` fails on matrices that have nothing special; here on all of them."""
    asked: list[Any] = []

    def svd(x: Any, *args: Any, **options: Any) -> Any:
        asked.append(x)
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", svd)
    return asked


@pytest.mark.parametrize("shape", [(4, 3), (2, 5), (3, 2, 4, 4)])
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_qr_iteration_takes_over(failing: list[Any], shape: tuple[int, ...], dtype: str) -> None:
    """The factors multiply to the matrix, have orthonormal vectors, and values as the Gram matrix has them."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal(shape).astype(dtype)
    x = x + 1j * generator.standard_normal(shape) if dtype == "complex128" else x
    backend, atol = tnrank.get_backend("numpy"), 1e-5 if dtype == "float32" else 1e-12
    u, s, vh = backend.svd(x)
    assert len(failing) == 1
    assert (u.dtype, vh.dtype, s.dtype) == (x.dtype, x.dtype, x.real.dtype)
    k = min(shape[-2:])
    assert (u.shape, s.shape, vh.shape) == (
        (*shape[:-1], k),
        (*shape[:-2], k),
        (*shape[:-2], k, shape[-1]),
    )
    np.testing.assert_allclose((u * s[..., None, :]) @ vh, x, atol=atol)
    np.testing.assert_allclose(np.conj(u.mT) @ u, np.broadcast_to(np.eye(k), (*shape[:-2], k, k)), atol=atol)
    gram = np.linalg.eigvalsh(np.conj(x.mT) @ x)[..., ::-1][..., :k]
    np.testing.assert_allclose(s**2, gram, atol=atol)
    np.testing.assert_allclose(backend.svdvals(x), s, atol=atol)


def test_nan_is_no_matter_of_the_method(failing: list[Any]) -> None:
    with pytest.raises(np.linalg.LinAlgError):
        tnrank.get_backend("numpy").svd(np.full((2, 2), np.nan))


def test_what_is_built_on_it_goes_on(failing: list[Any]) -> None:
    """Truncation, change of tree and ranks."""
    x = tnrank.HierarchicalTucker.random((3,) * 4, rank=2, seed=0)
    dense = np.asarray(x.to_dense())
    again = tnrank.HierarchicalTucker.from_dense(dense, rtol=1e-10)
    np.testing.assert_allclose(again.to_dense(), dense, atol=1e-10 * np.linalg.norm(dense))
    assert tnrank.matrix_rank(dense.reshape(9, 9)) == tnrank.separation_rank(x, modes=(0, 1))
    assert failing
