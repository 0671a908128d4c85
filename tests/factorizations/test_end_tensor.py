"""What factorizations mean: their end tensors, entries, norms and inner products, against definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import (
    assert_close,
    cp_factorizations,
    dense,
    factorizations,
    hierarchical_factorizations,
    magnitude,
    matrix_factorizations,
    numbers,
)
from tnrank.factorizations._entries import EntryPlan

law = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
few = settings(law, max_examples=5)
dtypes = st.sampled_from(["float32", "float64", "complex64", "complex128"])


def host(x, array):
    return x.backend.to_numpy(array)


@law
@given(data=st.data(), dtype=dtypes)
def test_dense(backend_name, data, dtype):
    x = data.draw(factorizations(dtype))
    wanted = dense(x)
    y = x.to(backend_name)
    assert y.backend.name == backend_name
    assert y.dtype == dtype
    assert y.shape == wanted.shape == x.shape
    assert y.ndim == wanted.ndim
    assert y.parameter_count == sum(a.size for a in x.arrays.values())
    got = y.to_dense()
    assert y.backend.dtype_of(got) == dtype
    assert_close(host(y, got), wanted, magnitude(x), dtype)


@given(st.data())
def test_cp_is_tensorlys(data):
    from tensorly import cp_to_tensor

    x = data.draw(cp_factorizations(shape=data.draw(st.lists(st.integers(2, 4), min_size=2, max_size=4))))
    assert_close(x.to_dense(), cp_to_tensor((x.weights, list(x.factors))), magnitude(x))


@pytest.mark.few_on_jax("jax")
def test_cp_as_einsum(backend_name):
    x = tnrank.CPFactorization.random((3, 4, 5), rank=6, weighted=True, seed=1, backend=backend_name, dtype="float64")
    a = [host(x, v) for v in x.arrays.values()]
    np.testing.assert_allclose(host(x, x.to_dense()), np.einsum("ir,jr,kr,r->ijk", *a), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(host(x, x.weights), a[3])
    assert [f.shape for f in x.factors] == [(3, 6), (4, 6), (5, 6)]
    assert x.rank == 6


@few
@given(data=st.data())
@pytest.mark.parametrize("way", ["dense", "rows", "chosen"])
def test_entries(backend_name, way, data):
    dtype = data.draw(dtypes)
    x = data.draw(factorizations(dtype))
    wanted = dense(x)
    row = st.tuples(*(st.integers(0, d - 1) for d in x.shape))
    indices = np.asarray(data.draw(st.lists(row, min_size=1, max_size=12)), np.int64)
    y = x.to(backend_name)
    if way == "chosen":
        got = y.entries(indices)
    else:
        plan = EntryPlan.of(y.network, y._sizes, indices)
        plan.dense = way == "dense"
        got = plan.evaluate(y.backend, y._values, plan.positions(y.backend, None))
    assert y.backend.dtype_of(got) == dtype
    at = tuple(indices.T)
    assert_close(host(y, got), wanted[at], magnitude(x)[at], dtype)


def test_both_ways_are_chosen():
    small = tnrank.CPFactorization.random((4, 4, 4), rank=3)
    assert EntryPlan.of(small.network, small._sizes, np.argwhere(np.ones((4, 4, 4)))).dense
    large = tnrank.CPFactorization.random((50,) * 6, rank=3)
    assert not EntryPlan.of(large.network, large._sizes, np.zeros((10, 6), int)).dense
    index = [[1, 2, 3, 4, 5, 6], [49] * 6]
    rows = [np.prod([f[i] for f, i in zip(large.factors, where, strict=True)], axis=0).sum() for where in index]
    np.testing.assert_allclose(large.entries(index), rows, rtol=1e-12)


@pytest.mark.parametrize("kind", [list, np.asarray, "jax", "torch"])
def test_indices_of_any_kind(kind):
    x = tnrank.MatrixFactorization.random((3, 4), depth=2, seed=0)
    indices = [[0, 0], [2, 3], [2, 3]]
    given = tnrank.get_backend(kind).asarray(np.asarray(indices)) if isinstance(kind, str) else kind(indices)
    wanted = dense(x)
    np.testing.assert_allclose(x.entries(given), wanted[[0, 2, 2], [0, 3, 3]], rtol=1e-12)
    np.testing.assert_allclose(x.entries(np.asarray(indices, np.uint8)), x.entries(indices))


@pytest.mark.few_on_jax("jax")
def test_no_entries(backend_name):
    x = tnrank.CPFactorization.random((3, 4), rank=2, backend=backend_name)
    assert host(x, x.entries([])).shape == (0,)
    assert host(x, x.entries(np.zeros((0, 2), int))).shape == (0,)


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([[0, 0], [0, 4]], ValueError, "index 4 of entry 1 is out of range for mode 1 of dimension 4"),
        ([[-1, 0]], ValueError, "index -1 of entry 0 is out of range for mode 0 of dimension 3"),
        ([[0, 0, 0]], ValueError, r"shape \(M, 2\), one column a mode, got \(1, 3\)"),
        ([0, 1], ValueError, r"shape \(M, 2\).*got \(2,\)"),
        ([[0.0, 1.0]], TypeError, "whole numbers, got dtype float64"),
        (np.ones((3, 4), bool), TypeError, "whole numbers, got dtype bool"),
    ],
)
def test_wrong_indices(indices, error, message):
    x = tnrank.MatrixFactorization.random((3, 4), depth=2)
    with pytest.raises(error, match=message):
        x.entries(indices)


@law
@given(data=st.data(), dtype=dtypes)
def test_norm_and_inner(backend_name, data, dtype):
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    x, y = data.draw(factorizations(dtype, shape)), data.draw(factorizations(dtype, shape))
    a, b = dense(x), dense(y)
    p, q = x.to(backend_name), y.to(backend_name)
    size = (magnitude(x) * magnitude(y)).sum()
    assert_close(host(p, p.inner(q)), (np.conj(a) * b).sum(), size, dtype)
    norm = host(p, p.norm())
    assert norm.shape == ()
    assert norm.dtype == abs(np.zeros(1, dtype)).dtype
    assert_close(norm, np.linalg.norm(a), np.linalg.norm(magnitude(x)), dtype)


@few
@given(data=st.data())
def test_norm_without_the_end_tensor(backend_name, data):
    """Order 12 with dimension 3: half a million entries against a few hundred parameters."""
    x = data.draw(hierarchical_factorizations(shape=(3,) * 12, classes=False))
    squared = np.sum(dense(x) ** 2)
    assert np.prod(x.shape) > max(4096, 4 * x.parameter_count)
    size = np.sum(magnitude(x) ** 2)
    y = x.to(backend_name)
    assert_close(host(y, y.norm()) ** 2, squared, size, slack=1024)


@pytest.mark.few_on_jax("jax")
def test_norm_of_high_order(backend_name):
    """An end tensor of 2^200 entries."""
    ones = np.ones((2, 1)) / np.sqrt(2)
    x = tnrank.CPFactorization([ones] * 200).to(backend_name)
    np.testing.assert_allclose(host(x, x.norm()), 1.0, rtol=1e-12)
    np.testing.assert_allclose(host(x, x.entries([[0] * 200, [1] * 200])), 2.0**-100, rtol=1e-12)


def test_inner_of_other_shapes():
    x, y = tnrank.CPFactorization.random((2, 3), rank=1), tnrank.CPFactorization.random((3, 2), rank=1)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        x.inner(y)


def test_inner_of_two_backends():
    pytest.importorskip("torch")
    x = tnrank.CPFactorization.random((2, 3), rank=1)
    with pytest.raises(TypeError, match=r"two backends in one call.*numpy.*torch"):
        x.inner(x.to("torch"))


@law
@given(data=st.data(), dtype=dtypes)
def test_cp_component_norms(backend_name, data, dtype):
    x = data.draw(cp_factorizations(dtype))
    wanted = []
    for r in range(x.rank):
        one = tnrank.CPFactorization([f[:, [r]] for f in x.factors], None if x.weights is None else x.weights[[r]])
        wanted.append(np.linalg.norm(dense(one)))
    y = x.to(backend_name)
    got = host(y, y.component_norms())
    assert got.dtype == abs(np.zeros(1, dtype)).dtype
    assert_close(got, wanted, wanted, dtype)


@pytest.mark.few_on_jax("jax-9")
@pytest.mark.parametrize("order", [2, 5, 8, 9, 20])
def test_cp_component_norms_of_small_weights(backend_name, order):
    """Products of squares would leave the range of single precision; the norms do not."""
    std = 10.0 ** (-30 / order)
    x = tnrank.CPFactorization.random((4,) * order, rank=2, std=std, backend=backend_name, dtype="float32")
    wide = x.to(dtype="float64")
    factors = [host(wide, f) for f in wide.factors]
    wanted = np.prod([np.linalg.norm(f, axis=0) for f in factors], axis=0)
    np.testing.assert_allclose(host(x, x.component_norms()), wanted, rtol=1e-5)


@law
@given(data=st.data(), dtype=dtypes)
def test_matrix_component_norms(backend_name, data, dtype):
    x = data.draw(matrix_factorizations(dtype))
    y = x.to(backend_name)
    wanted = np.linalg.svd(dense(x), compute_uv=False)
    assert_close(host(y, y.component_norms()), wanted, np.linalg.norm(magnitude(x)), dtype)


@law
@given(data=st.data(), dtype=dtypes)
def test_hierarchical_component_norms(backend_name, data, dtype):
    """Def. 3 of Razin et al. 2022: the norms of the children's columns and of the node's row, multiplied."""
    x = data.draw(hierarchical_factorizations(dtype))
    y = x.to(backend_name)
    got = y.component_norms()
    assert tuple(got) == x.tree.interior
    for node in x.tree.interior:
        wanted = [
            np.linalg.norm(x.matrices[node][r])
            * np.prod([np.linalg.norm(x.matrices[child][:, r]) for child in x.tree.children(node)])
            for r in range(x.matrices[node].shape[0])
        ]
        assert_close(host(y, got[node]), wanted, wanted, dtype)


@given(st.data())
def test_weighted_cp_is_the_star_tree(data):
    x = data.draw(cp_factorizations())
    if x.weights is None:
        x = tnrank.CPFactorization(x.factors, np.ones(x.rank))
    tree = tnrank.DimensionTree.star(x.ndim)
    y = tnrank.HierarchicalFactorization(
        tree, {**dict(zip(tree.leaves, x.factors, strict=True)), tree.root: x.weights[:, None]}
    )
    assert_close(y.to_dense(), x.to_dense(), magnitude(x))
    np.testing.assert_allclose(y.component_norms()[tree.root], x.component_norms(), rtol=1e-12)


@given(st.data())
def test_matrix_factorization_is_a_chain_of_unary_nodes(data):
    x = data.draw(matrix_factorizations())
    if x.depth == 1:
        return
    nested, matrices, height = 0, {tnrank.Node((0,), 0): x.layers[0]}, 0
    for layer in x.layers[1:-1]:
        nested, height = (nested,), height + 1
        matrices[tnrank.Node((0,), height)] = layer
    matrices[(1,)] = x.layers[-1].T
    matrices[(0, 1)] = np.ones((x.layers[-1].shape[0], 1))
    y = tnrank.HierarchicalFactorization((nested, 1), matrices)
    assert_close(y.to_dense(), x.to_dense(), magnitude(x))


def test_classes_are_the_last_mode():
    x = tnrank.HierarchicalFactorization.random((2, 3), tree=(1, 0), width=4, classes=5, seed=3)
    assert x.shape == (2, 3, 5)
    for k in range(5):
        matrices = {**x.matrices, x.tree.root: x.matrices[x.tree.root][:, [k]]}
        one = tnrank.HierarchicalFactorization(x.tree, matrices)
        assert one.shape == (2, 3)
        np.testing.assert_allclose(x.to_dense()[..., k], one.to_dense(), rtol=1e-12, atol=1e-14)


def test_network_describes_the_factorization():
    x = tnrank.HierarchicalFactorization.random((2, 3, 4), tree=((0, 1), (2,)), width=2)
    net = x.network
    assert set(net.output) == {"i0", "i1", "i2"}
    np.testing.assert_allclose(tnrank.contract(net, x.arrays), x.to_dense())
    assert x.network is tnrank.HierarchicalFactorization.random((5, 3, 4), tree=x.tree, width=7).network
    y = tnrank.CPFactorization([numbers_of((2, 3)), numbers_of((4, 3))])
    assert y.network == tnrank.Network({"A0": ("i0", "r"), "A1": ("i1", "r")}, ("i0", "i1"))


def numbers_of(shape):
    return np.random.default_rng(0).standard_normal(shape)


def test_memory_limit_is_passed_on():
    x = tnrank.CPFactorization.random((8,) * 4, rank=20, seed=0)
    np.testing.assert_allclose(x.to_dense(memory_limit=5000), x.to_dense(), rtol=1e-10, atol=1e-12)


@few
@given(data=st.data())
def test_deep_hierarchies(backend_name, data):
    """A linear tree of order 40 by rows, against products of matrices."""
    width, order = 3, 40
    tree = tnrank.DimensionTree.linear(order)
    x = tnrank.HierarchicalFactorization.random(
        (2,) * order, tree=tree, width=width, std=0.6, seed=data.draw(st.integers(0, 99))
    )
    index = numbers(data.draw, (3, order)) > 0
    wanted = []
    for row in index.astype(int):
        below = x.matrices[(tree.node(order - 1))][row[-1]]
        for mode in range(order - 2, -1, -1):
            node = tree.node(tuple(range(mode, order)))
            below = (x.matrices[tree.node(mode)][row[mode]] * below) @ x.matrices[node]
        wanted.append(below[0])
    y = x.to(backend_name)
    got = host(y, y.entries(index.astype(int)))
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9 * max(map(abs, wanted)))
