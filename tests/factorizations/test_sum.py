"""Sums of factorizations that are not formed."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import CPFactorization, DimensionTree, HierarchicalFactorization, HierarchicalTucker, MatrixFactorization
from tnrank.factorizations import FactorizationSum, TensorTrain, Tucker, sum_of

SHAPE = (3, 4, 2)
MAKE = [
    lambda seed, **o: CPFactorization.random(SHAPE, rank=2, weighted=seed % 2 == 0, seed=seed, **o),
    lambda seed, **o: HierarchicalTucker.random(SHAPE, rank=2, seed=seed, **o),
    lambda seed, **o: HierarchicalFactorization.random(SHAPE, width=2, seed=seed, **o),
    lambda seed, **o: TensorTrain.random(SHAPE, rank=2, seed=seed, **o),
    lambda seed, **o: Tucker.random(SHAPE, rank=2, seed=seed, **o),
]


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def dense_sum(terms: Any, weights: Any) -> np.ndarray[Any, Any]:
    return sum(w * host(x.to_dense()) for w, x in zip(weights, terms, strict=True))


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-3, 3)), min_size=1, max_size=4))
def test_behaves_like_its_dense_tensor(drawn: list[tuple[int, float]]) -> None:
    terms = [MAKE[kind](seed) for seed, (kind, _) in enumerate(drawn)]
    weights = [weight for _, weight in drawn]
    x, dense = sum_of(terms, weights), dense_sum(terms, weights)
    assert x.shape == SHAPE
    assert x.ndim == 3
    np.testing.assert_allclose(host(x.to_dense()), dense, atol=1e-12)
    indices = np.argwhere(np.ones(SHAPE))[::3]
    np.testing.assert_allclose(x.entries(indices), dense[tuple(indices.T)], atol=1e-12)
    assert float(x.norm()) == pytest.approx(np.linalg.norm(dense), abs=1e-12)
    other = MAKE[1](17)
    assert float(x.inner(other)) == pytest.approx((dense * host(other.to_dense())).sum(), abs=1e-10)


@pytest.mark.few_on_jax("complex128")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_backends(backend_name: str, dtype: str) -> None:
    weights = [1, -2.5, 0.5j if dtype == "complex128" else 0.5]
    terms = [make(seed, dtype=dtype, backend=backend_name) for seed, make in enumerate(MAKE[:3])]
    x = sum_of(terms, weights)
    dense = dense_sum(terms, weights)
    assert isinstance(x, FactorizationSum)
    assert (x.backend.name, x.dtype, x.parameter_count) == (backend_name, dtype, sum(t.parameter_count for t in terms))
    np.testing.assert_allclose(host(x.to_dense()), dense, atol=1e-12)
    assert abs(complex(x.inner(x)) - (abs(dense) ** 2).sum()) < 1e-10
    moved = x.to("numpy", dtype="complex64")
    assert (moved.backend.name, moved.dtype) == ("numpy", "complex64")


def test_cp_terms_stand_side_by_side() -> None:
    x, y = CPFactorization.random(SHAPE, rank=2), CPFactorization.random(SHAPE, rank=3, weighted=True, seed=1)
    for weights in (None, [2, -1]):
        both = sum_of([x, y], weights)
        assert type(both) is CPFactorization
        assert both.rank == 5
        np.testing.assert_allclose(both.to_dense(), dense_sum([x, y], weights or [1, 1]), atol=1e-13)
    assert sum_of([x, x]).weights is None


def test_arithmetic() -> None:
    x, y, z = (make(seed) for seed, make in enumerate(MAKE[:3]))
    total = sum_of([x, y])
    assert [type(t).__name__ for t in (total + z).terms] == [type(t).__name__ for t in (x, y, z)]
    assert (z + total).weights == (1, 1, 1)
    assert (total - total).weights == (1, 1, -1, -1)
    assert (-total * np.float64(3)).weights == (2 * total * -1.5).weights == (-3, -3)
    assert sum_of([total, z], [2, 5]).weights == (2, 2, 5)
    np.testing.assert_allclose((total - z).to_dense(), dense_sum([x, y, z], [1, 1, -1]), atol=1e-13)
    assert total.tree == y.tree
    assert sum_of([MatrixFactorization.random((2, 2)), MatrixFactorization.random((2, 2))]).tree is None


def test_is_a_value() -> None:
    x = sum_of([MAKE[1](0), MAKE[3](1)], [1, -2])
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert again.weights == x.weights
        assert (again.to_dense() == x.to_dense()).all()
    with pytest.raises(AttributeError, match="immutable"):
        x.weights = ()
    assert repr(x).splitlines()[0] == "FactorizationSum of 2 terms"


def test_pytrees() -> None:
    jax = pytest.importorskip("jax")
    x = sum_of([MAKE[1](0, backend="jax"), MAKE[3](1, backend="jax")], [1, -2])
    doubled = jax.tree_util.tree_map(lambda a: a, x)
    assert isinstance(doubled, FactorizationSum)
    np.testing.assert_allclose(float(jax.jit(lambda y: y.norm())(x)), float(x.norm()), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: sum_of([]), ValueError, "got no terms"),
        (lambda: sum_of([MAKE[0](0)], [1, 2]), ValueError, "2 weights for 1 terms"),
        (lambda: sum_of([np.ones((2, 2))]), TypeError, "term 0 is a factorization.*, got a ndarray"),
        (
            lambda: sum_of([MAKE[0](0), CPFactorization.random((3, 4), rank=1)]),
            ValueError,
            r"term 1 has shape \(3, 4\)",
        ),
        (lambda: sum_of([MAKE[0](0)], ["one"]), TypeError, "a weight is a number, got 'one'"),
        (lambda: sum_of([MAKE[0](0), MAKE[1](1)]) * np.ones(2), TypeError, "a weight is a number, got a ndarray"),
        (lambda: sum_of([MAKE[0](0), MAKE[1](1)]) + 1, TypeError, "unsupported operand"),
    ],
)
def test_wrong_calls_say_what_is_wrong(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_two_backends() -> None:
    pytest.importorskip("torch")
    with pytest.raises(TypeError, match="arrays of two backends in one call"):
        sum_of([MAKE[0](0), MAKE[1](0, backend="torch", dtype="float64")])


def test_nothing_is_dense() -> None:
    x = sum_of(
        [HierarchicalTucker.random((2,) * 80, rank=2, std=0.5), CPFactorization.random((2,) * 80, rank=2, std=0.8)]
    )
    assert float(x.norm()) > 0
    assert x.tree == DimensionTree.balanced(80)
    assert x.entries(np.zeros((3, 80), int)).shape == (3,)
