"""Balancing keeps the end tensor and makes the vectors of every component equally long."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import (
    cp_factorizations,
    dense,
    factorizations,
    hierarchical_factorizations,
    magnitude,
    matrix_factorizations,
)

on_jax_below = pytest.mark.few_on_jax()  # each example there is compiled anew; the last tests are on JAX, too
law = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
dtypes = st.sampled_from(["float64", "complex128"])


def squared_norms(x):
    """Of every component: the squared norms of its vectors, shape (K, R), from the definitions."""
    if isinstance(x, tnrank.CPFactorization):
        vectors = [np.sum(abs(np.asarray(f)) ** 2, axis=0) for f in x.factors]
        return [np.stack(vectors if x.weights is None else [*vectors, abs(np.asarray(x.weights)) ** 2])]
    return [
        np.stack(
            [
                np.sum(abs(np.asarray(x.matrices[node])) ** 2, axis=1),
                *(np.sum(abs(np.asarray(x.matrices[child])) ** 2, axis=0) for child in x.tree.children(node)),
            ]
        )
        for node in x.tree.interior
    ]


def unbalancedness(x):
    if isinstance(x, tnrank.MatrixFactorization):
        layers = [np.asarray(a) for a in x.layers]
        pairs = [(a.conj().T @ a, b @ b.conj().T) for a, b in pairwise(layers)]
        scale = max((max(abs(a).max(), abs(b).max()) for a, b in pairs), default=0.0)
        return max((abs(a - b).max() for a, b in pairs), default=0.0) / scale if scale else 0.0
    families = squared_norms(x)
    scale = max(family.max() for family in families)
    return max((f.max(axis=0) - f.min(axis=0)).max() for f in families) / scale if scale else 0.0


def numpy_form(x):
    return x.to("numpy") if x.backend.name != "numpy" else x


def assert_balances(x, backend_name="numpy", floor=1e-13):
    y = x.to(backend_name).balance()
    assert y.backend.name == backend_name
    assert type(y) is type(x)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    assert [a.shape for a in y.arrays.values()] == [a.shape for a in x.arrays.values()]
    y = numpy_form(y)
    np.testing.assert_allclose(dense(y), dense(x), rtol=0, atol=1e-12 * max(magnitude(x).max(), 1e-300))
    assert unbalancedness(y) < floor
    return y


@on_jax_below
@law
@given(data=st.data(), dtype=dtypes)
def test_cp(backend_name, data, dtype):
    x = data.draw(cp_factorizations(dtype))
    y = assert_balances(x, backend_name)
    np.testing.assert_allclose(y.component_norms(), x.component_norms(), rtol=1e-12)


@on_jax_below
@law
@given(data=st.data(), dtype=dtypes)
def test_matrix(backend_name, data, dtype):
    x = data.draw(matrix_factorizations(dtype))
    y = assert_balances(x, backend_name)
    size = np.linalg.norm(magnitude(x))
    for layer in y.layers[1:-1]:
        assert not layer[~np.eye(*layer.shape, dtype=bool)].any()
    np.testing.assert_allclose(y.component_norms(), x.component_norms(), rtol=0, atol=1e-12 * size)


@on_jax_below
@law
@given(data=st.data(), dtype=dtypes)
def test_hierarchy(backend_name, data, dtype):
    x = data.draw(hierarchical_factorizations(dtype))
    y = assert_balances(x, backend_name)
    total = sum(float(np.sum(abs(a) ** 2)) for a in y.arrays.values())
    given = sum(float(np.sum(abs(a) ** 2)) for a in x.arrays.values())
    assert total <= given * (1 + 1e-12)  # the minimum of the squared norms over all scalings


@given(data=st.data())
def test_unbalancedness_by_definition(data):
    x = data.draw(factorizations())
    np.testing.assert_allclose(x.unbalancedness(), unbalancedness(x), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    "tree",
    [
        tnrank.DimensionTree.linear(50),
        tnrank.DimensionTree.balanced(32),
        tnrank.DimensionTree.windows(33, 2),
        (((((((((0,),),),),),),),), 1),
        tnrank.DimensionTree.star(20),
    ],
    ids=["linear", "balanced", "windows", "unary", "star"],
)
def test_deep_trees(tree):
    tree = tree if isinstance(tree, tnrank.DimensionTree) else tnrank.DimensionTree(tree)
    order = tree.order
    generator = np.random.default_rng(1)
    x = tnrank.HierarchicalFactorization.random((2,) * order, tree=tree, width=3, std=0.5, seed=5)
    # nodes of very different size, whose product stays in range
    scales = np.exp(generator.normal(0, 3, len(x.arrays)))
    scales /= np.exp(np.log(scales).mean())
    x = x.replace([a * s for a, s in zip(x.arrays.values(), scales, strict=True)])
    y = x.balance()
    assert unbalancedness(y) < 1e-13
    index = generator.integers(0, 2, (20, order))
    size = abs(x.map(abs).entries(index))
    assert (abs(y.entries(index) - x.entries(index)) <= 1e-12 * size).all()


def test_zero_components():
    x = tnrank.CPFactorization.random((3, 4, 5), rank=4, weighted=True, seed=1)
    arrays = [a.copy() for a in x.arrays.values()]
    arrays[1][:, 2] = 0
    arrays[3][0] = 0
    y = assert_balances(x.replace(arrays))
    for a in y.arrays.values():
        assert not a[..., [0, 2]].any()
        assert a[..., [1, 3]].any()

    x = tnrank.HierarchicalFactorization.random((3,) * 4, tree=(((0, 1), 2), 3), width=4, seed=1)
    matrices = {node: m.copy() for node, m in x.matrices.items()}
    matrices[x.tree.node(0)][:, 1] = 0
    matrices[x.tree.node((0, 1))][2] = 0
    # one live component of {0,1,2}: what the others hold can no longer reach the end tensor
    matrices[x.tree.node((0, 1, 2))][1:] = 0
    y = assert_balances(tnrank.HierarchicalFactorization(x.tree, matrices))
    norms = y.component_norms()
    assert np.count_nonzero(norms[x.tree.node((0, 1))]) == 2
    assert np.count_nonzero(norms[x.tree.node((0, 1, 2))]) == 1


def test_a_zero_subtree_makes_everything_zero():
    x = tnrank.HierarchicalFactorization.random((2,) * 4, width=3, seed=1)
    matrices = {**x.matrices, x.tree.node(3): np.zeros((2, 3))}
    y = tnrank.HierarchicalFactorization(x.tree, matrices).balance()
    assert not any(a.any() for a in y.arrays.values())
    assert y.unbalancedness() == 0.0


@pytest.mark.parametrize("make", ["matrix", "cp", "hierarchical"])
def test_zero(make):
    x = {
        "matrix": tnrank.MatrixFactorization.random((2, 3), depth=3, std=0),
        "cp": tnrank.CPFactorization.random((2, 3), rank=2, std=0),
        "hierarchical": tnrank.HierarchicalFactorization.random((2, 3), width=2, std=0),
    }[make]
    y = x.balance()
    assert not any(a.any() for a in y.arrays.values())
    assert y.unbalancedness() == 0.0


@pytest.mark.few_on_jax("bfloat16")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lower_precision(backend_name, dtype):
    if dtype == "bfloat16" and backend_name == "numpy":
        pytest.skip("NumPy has no bfloat16")
    floor, rtol = {"float32": (1e-6, 1e-5), "bfloat16": (0.05, 0.05)}[dtype]
    made = [
        tnrank.MatrixFactorization.random((4, 5), depth=3, seed=1),
        tnrank.CPFactorization.random((4, 5, 6), rank=3, weighted=True, seed=1),
        tnrank.HierarchicalFactorization.random((3,) * 4, width=4, seed=1),
    ]
    for x in made:
        y = x.to(backend_name, dtype=dtype)
        z = y.balance()
        assert z.dtype == dtype
        assert z.unbalancedness() < floor
        wide, kept = z.to("numpy", dtype="float64"), y.to("numpy", dtype="float64")
        assert abs(dense(wide) - dense(kept)).max() < rtol * magnitude(kept).max()


@pytest.mark.parametrize("size", [1e-170, 1e150])
def test_weights_whose_squares_leave_the_range(size):
    x = tnrank.HierarchicalFactorization.random((3,) * 4, width=4, seed=1)
    matrices = {**x.matrices}
    matrices[x.tree.node(0)] = matrices[x.tree.node(0)] * size
    y = tnrank.HierarchicalFactorization(x.tree, matrices).balance()
    np.testing.assert_allclose(y.to_dense() / size, x.to_dense(), rtol=1e-10, atol=1e-12)
    assert y.unbalancedness() < 1e-13


@pytest.mark.few_on_jax("complex128")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_balanced_random(backend_name, dtype):
    options = {"balanced": True, "seed": 4, "backend": backend_name, "dtype": dtype}
    for x in (
        tnrank.MatrixFactorization.random((5, 4), depth=4, **options),
        tnrank.CPFactorization.random((5, 4, 3), rank=6, **options),
        tnrank.HierarchicalFactorization.random((2,) * 5, width=4, **options),
    ):
        assert x.unbalancedness() < 1e-13
    x = tnrank.MatrixFactorization.random((40, 30), depth=3, std=0.1, **options)
    np.testing.assert_allclose(np.std(x.backend.to_numpy(x.to_dense())), 0.1, rtol=0.1)
    # the end matrix is the one that the same seed draws at depth 1, split evenly
    one = tnrank.MatrixFactorization.random((40, 30), depth=1, std=0.1, **{**options, "balanced": False})
    difference = x.backend.to_numpy(x.to_dense()) - one.backend.to_numpy(one.to_dense())
    assert abs(difference).max() < 1e-13
