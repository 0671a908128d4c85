"""Finite tensors near the ends of the range of numbers, whose squares and norms leave it: their ranks do not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import CPFactorization, HierarchicalTucker, TensorTrain, Tucker, ranks
from tnrank._backend import get_backend

ENDS = [
    ("float32", 3e38),
    ("float32", 1e37),
    ("float32", 1e-30),
    ("float64", 9e307),
    ("float64", 1.7e308),
    ("float64", 1e-300),
    ("complex64", 3e38 * (1 + 1j)),
    ("complex128", 1.7e308 * (1 - 1j)),
]
SUBNORMAL = [("float64", 1e-310), ("float32", 1e-42), ("complex128", 1e-310j)]


def rank_two(dtype: str) -> np.ndarray:
    """A tensor with largest entry 1, of rank 2 at every node; from NumPy alone."""
    rng = np.random.default_rng(0)
    factors = [rng.integers(1, 8, (n, 2)) * 1.0 for n in (5, 4, 4)]
    found = np.einsum("ar,br,cr->abc", *factors)
    return (found / found.max()).astype(dtype)


def scaled(dtype: str, scale: complex) -> np.ndarray:
    found = (rank_two(dtype) * np.asarray(scale)).astype(dtype)
    assert np.isfinite(found).all()
    return found


@pytest.mark.few_on_jax("jax-float64")
@pytest.mark.parametrize(("dtype", "scale"), ENDS)
def test_ranks_and_relative_values(dtype: str, scale: complex, backend_name: str) -> None:
    backend, plain = get_backend(backend_name), rank_two(dtype)
    x = backend.asarray(scaled(dtype, scale))
    for method in ("qr", "gram"):
        assert ranks.multilinear_rank(x, method=method) == (2, 2, 2)
    assert ranks.tt_ranks(x) == (2, 2)
    assert set(ranks.hierarchical_rank(x).values()) == {2}
    assert ranks.separation_rank(x, (0, 2)) == 2
    stack = np.stack([scaled(dtype, scale)[0], np.eye(4, dtype=dtype), np.zeros((4, 4), dtype)])
    np.testing.assert_array_equal(backend.to_numpy(ranks.matrix_rank(backend.asarray(stack))), [2, 4, 0])
    s = np.linalg.svd(plain[0].astype(np.complex128), compute_uv=False)
    p = s / s.sum()
    tolerance = 1e-10 if dtype in ("float64", "complex128") else 1e-4
    p = p[p > tolerance]
    assert np.isclose(float(ranks.effective_rank(x[0])), np.exp(-(p * np.log(p)).sum()), rtol=100 * tolerance)
    assert np.isclose(float(ranks.stable_rank(x[0])), (s**2).sum() / s[0] ** 2, rtol=tolerance)
    whole = np.linalg.svd(plain.reshape(5, 16).astype(np.complex128), compute_uv=False)
    p = whole**2 / (whole**2).sum()
    p = p[p > tolerance**2]
    assert np.isclose(float(ranks.entanglement_entropy(x)[0]), -(p * np.log(p)).sum(), rtol=10 * tolerance)
    log_norm = np.log(np.linalg.norm(whole)) + np.log(np.hypot(*np.divide([scale.real, scale.imag], 1e4))) + np.log(1e4)
    report = ranks.rank_report(x)
    assert report.multilinear_rank == (2, 2, 2)
    assert np.isclose(report.log_norm, log_norm, atol=10 * tolerance)


@pytest.mark.parametrize("make", [TensorTrain, HierarchicalTucker, Tucker, CPFactorization])
@pytest.mark.parametrize(("dtype", "scale"), ENDS)
def test_formats_of_dense_tensors(make: Any, dtype: str, scale: complex, backend_name: str) -> None:
    backend, tensor = get_backend(backend_name), scaled(dtype, scale)
    x = make.from_dense(backend.asarray(tensor), **({"rank": 2} if make is CPFactorization else {}))
    size = max(abs(np.real(scale)), abs(np.imag(scale)))
    dense = backend.to_numpy(x.to_dense())
    assert abs(dense / size - tensor / size).max() < (1e-7 if "64" in dtype and dtype != "complex64" else 1e-3)
    assert ranks.multilinear_rank(x, rtol=1e-3) == (2, 2, 2)
    if make is not CPFactorization:
        wanted = np.log(np.linalg.norm(rank_two("float64"))) + np.log(abs(scale / 1e4)) + np.log(1e4)
        assert np.isclose(float(x.log_norm()), wanted, atol=1e-3)
        assert ranks.multilinear_rank(x.truncate(rtol=1e-3).tensor, rtol=1e-3) == (2, 2, 2)


@pytest.mark.parametrize(("dtype", "scale"), [*SUBNORMAL, ("float64", 3e-308), ("float32", 1.3e-38)])
def test_subnormal_entries_are_rounded_to_the_least(dtype: str, scale: complex, backend_name: str) -> None:
    """To whole multiples of the least number: the tolerance is that rounding, where it is above eps."""
    x = get_backend(backend_name).asarray(scaled(dtype, scale))
    assert ranks.multilinear_rank(x) == (2, 2, 2)
    assert int(ranks.matrix_rank(x[0])) == 2
    assert ranks.multilinear_rank(0 * x) == (0, 0, 0)
    full = get_backend(backend_name).asarray(np.full((3, 4, 2), scale, dtype))
    assert ranks.multilinear_rank(full) == (1, 1, 1)
    assert TensorTrain.from_dense(full).tt_ranks == (1, 1)


def test_norms_in_and_out_of_range() -> None:
    matrix = np.full((2, 2), 1.5e308)
    assert np.isclose(ranks.singular_values(matrix / 4)[0], 7.5e307, rtol=1e-14)
    assert ranks.schatten_norm(matrix, 2) == np.inf
    assert ranks.distance_to_rank(np.diag([1.5e308, 3e307, 4e307]), 1) == 5e307
    assert ranks.schatten_norm(np.diag([3e-310, 4e-310]), 2) == pytest.approx(5e-310, rel=1e-12, abs=0)
    assert int(ranks.matrix_rank(np.diag([1e300, 1e290]), atol=1e295)) == 1
    with pytest.raises(ValueError, match="below the accuracy"):
        ranks.matrix_rank(np.diag([1e300, 1.0]), atol=1e200)


def test_products_of_norms_that_leave_the_range() -> None:
    """Arrays of 1e200 and 1e-200, and of 1e-310: the tensor itself is of moderate size."""
    sizes = [1e200, 1e200, 1e-310]
    for dims in ((2, 2, 2), (20, 20, 20)):
        cp = CPFactorization([np.full((n, 1), v) for n, v in zip(dims, sizes, strict=True)])
        wanted = 1e90 * np.sqrt(np.prod(dims))
        assert np.isclose(float(cp.norm()), wanted, rtol=1e-10)
        assert np.isclose(cp.component_norms()[0], wanted, rtol=1e-10)
        assert set(tnrank.hierarchical_rank(cp).values()) == {1}
        assert 0 < cp.unbalancedness() <= 1
    layers = [np.full((2, 2), 1e200), np.full((2, 2), 1e200)]
    assert tnrank.multilinear_rank(tnrank.MatrixFactorization(layers)) == (1, 1)
    both = tnrank.factorizations.sum_of([cp, TensorTrain.from_factorization(cp)])
    assert np.isclose(float(both.norm()), 2 * wanted, rtol=1e-10)
    train = TensorTrain([np.full((1, 3, 1), 1.7e308), np.full((1, 3, 1), 1e-300)])
    assert np.isclose(float(train.norm()), 5.1e8, rtol=1e-12)
    with pytest.raises(OverflowError):
        TensorTrain([np.full((1, 3, 1), 1e-300)] * 3).orthogonalize()


@pytest.mark.parametrize("scale", [1e-310, 1e37, 1.7e308])
def test_gradients_are_those_of_the_scaled_matrix(scale: float) -> None:
    """The gradient of a norm is scale-free: that of the nuclear norm is U V^T."""
    jax, torch = pytest.importorskip("jax"), pytest.importorskip("torch")
    matrix = np.array([[0.5, 0.25], [0.125, 0.5]])
    u, _, vh = np.linalg.svd(matrix)
    leaf = torch.tensor(matrix * scale, requires_grad=True)
    ranks.ky_fan_norm(leaf, 1).backward()
    np.testing.assert_allclose(leaf.grad, np.outer(u[:, 0], vh[0]), rtol=1e-10)
    if scale > 1:
        found = jax.jit(jax.grad(lambda m: ranks.ky_fan_norm(m, 1)))(matrix * scale)
        np.testing.assert_allclose(found, np.outer(u[:, 0], vh[0]), rtol=1e-10)
