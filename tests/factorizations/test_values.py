"""Factorizations as values: drawn, moved, replaced, mapped, copied, shown, and never changed."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given

import tnrank
from tests.factorizations.strategies import factorizations

MAKE = {
    "matrix": lambda **k: tnrank.MatrixFactorization.random((3, 5), depth=3, **k),
    "cp": lambda **k: tnrank.CPFactorization.random((3, 5, 2), rank=4, weighted=True, **k),
    "hierarchical": lambda **k: tnrank.HierarchicalFactorization.random((3, 5, 2), tree=((0, (1,)), 2), width=4, **k),
}
kinds = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
DTYPES = {
    "numpy": ("float32", "float64", "complex64", "complex128"),
    "jax": ("bfloat16", "float16", "float32", "float64", "complex64", "complex128"),
    "torch": ("bfloat16", "float16", "float32", "float64", "complex64", "complex128"),
}


def host(x):
    return [x.backend.to_numpy(a) for a in x.arrays.values()]


def assert_same(x, y):
    assert type(x) is type(y)
    assert x._static == y._static
    for a, b in zip(host(x), host(y), strict=True):
        np.testing.assert_array_equal(a, b)


# random


@kinds
def test_a_seed_means_the_same_on_every_backend(backend_name, make):
    for dtype in ("float32", "float64", "complex128"):
        x = make(seed=7, std=0.1, mean=0.5, dtype=dtype)
        y = make(seed=7, std=0.1, mean=0.5, dtype=dtype, backend=backend_name)
        assert (y.backend.name, y.dtype) == (backend_name, dtype)
        assert_same(x, y)
    assert make(seed=7, backend=backend_name).dtype == tnrank.get_backend(backend_name).default_dtype
    other = make(seed=8, backend=backend_name)
    assert not np.array_equal(host(make(seed=7, backend=backend_name))[0], host(other)[0])


@kinds
def test_seed_none_is_fresh(make):
    assert not np.array_equal(host(make(seed=None))[0], host(make(seed=None))[0])


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_moments(dtype):
    for x in (
        tnrank.MatrixFactorization.random((90, 80), depth=2, std=0.3, mean=1.0, dtype=dtype),
        tnrank.CPFactorization.random((30, 40), rank=200, std=0.3, mean=1.0, dtype=dtype),
        tnrank.HierarchicalFactorization.random((9, 9), width=900, std=0.3, mean=1.0, dtype=dtype),
    ):
        for a in x.arrays.values():
            if a.size < 5000:
                continue
            part = 1.0 if dtype == "float64" else 1 / np.sqrt(2)
            np.testing.assert_allclose(np.mean(a), 1.0, atol=0.02)
            np.testing.assert_allclose(np.std(a), 0.3, rtol=0.05)
            np.testing.assert_allclose(np.std(a.real), 0.3 * part, rtol=0.05)
        assert x.dtype == dtype


@kinds
def test_arrays_are_independent(make):
    drawn = np.concatenate([a.ravel() for a in host(make(seed=1))])
    assert len(set(drawn)) == len(drawn)


def test_identity(backend_name):
    x = tnrank.MatrixFactorization.random((4, 3), depth=3, hidden=5, std=0.5, init="identity", backend=backend_name)
    np.testing.assert_allclose(x.backend.to_numpy(x.to_dense()), 0.125 * np.eye(4, 3), rtol=1e-6)
    y = tnrank.CPFactorization.random((3, 3, 3), init="identity", rank=3, backend=backend_name, weighted=True)
    delta = np.zeros((3, 3, 3))
    delta[range(3), range(3), range(3)] = 1
    np.testing.assert_array_equal(y.backend.to_numpy(y.to_dense()), delta)
    z = tnrank.HierarchicalFactorization.random((3,) * 4, width=3, init="identity", mean=0.0, backend=backend_name)
    dense = z.backend.to_numpy(z.to_dense())
    assert dense[0, 0, 0, 0] == 1
    assert dense.sum() == 1


def test_shapes_of_random():
    x = tnrank.MatrixFactorization.random((3, 5), depth=4, hidden=(2, 7, 4))
    assert [a.shape for a in x.layers] == [(3, 2), (2, 7), (7, 4), (4, 5)]
    assert [a.shape for a in tnrank.MatrixFactorization.random((6, 5), depth=3).layers] == [
        (6, 5),
        (5, 5),
        (5, 5),
    ]
    assert tnrank.CPFactorization.random((8, 8, 8)).rank == 64
    assert tnrank.CPFactorization.random((3, 5, 2)).rank == 6
    tree = tnrank.DimensionTree(((0, (1,)), 2))
    widths = {(0, 1): 2, (0, 1, 2): 3, tnrank.Node((1,), 1): 4}
    y = tnrank.HierarchicalFactorization.random((5, 6, 7), tree=tree, width=widths, classes=8)
    assert {str(n) + str(n.height): m.shape for n, m in y.matrices.items()} == {
        "{0}0": (5, 2),
        "{1}0": (6, 4),
        "{2}0": (7, 3),
        "{1}1": (4, 2),
        "{0,1}2": (2, 3),
        "{0,1,2}3": (3, 8),
    }
    assert y.shape == (5, 6, 7, 8)


# moving


@pytest.mark.parametrize("target", ["numpy", "jax", "torch"])
@kinds
def test_to_keeps_values(backend_name, target, make):
    x = make(seed=3, std=0.3, dtype="float64", backend=backend_name)
    y = x.to(target)
    assert (y.backend.name, y.dtype) == (target, "float64")
    assert_same(x, y)
    assert x.to(target, dtype="float32").dtype == "float32"
    assert x.backend.name == backend_name


@pytest.mark.few_on_jax("hierarchical")
@kinds
def test_every_dtype(backend_name, make):
    x = make(seed=3, std=0.3, dtype="float64")
    for dtype in DTYPES[backend_name]:
        y = x.to(backend_name, dtype=dtype)
        assert y.dtype == dtype
        assert y.device.startswith("cpu")
        back = y.to("numpy", dtype="complex128" if dtype.startswith("complex") else "float64")
        rtol = {"bfloat16": 2**-8, "float16": 2**-11, "float32": 2**-24, "complex64": 2**-24}.get(dtype, 0)
        for a, b in zip(host(x), host(back), strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7 if dtype == "float16" else 0)
        assert make(seed=3, backend=backend_name, dtype=dtype).dtype == dtype
        assert y.map(lambda a: a + a).dtype == dtype


def test_dtypes_and_devices_that_are_not_there(backend_name):
    x = MAKE["cp"]()
    with pytest.raises(ValueError, match=rf"the {backend_name} backend has no dtype 'float8'; it has .*float64"):
        x.to(backend_name, dtype="float8")
    with pytest.raises(ValueError, match=r"the numpy backend has no dtype 'bfloat16'"):
        x.to("numpy", dtype="bfloat16")
    with pytest.raises((ValueError, RuntimeError), match=r"tpu"):
        x.to(backend_name, device="tpu:3")
    with pytest.raises(ValueError, match=r"unknown backend 'tensorflow'; known: .*pip install"):
        x.to("tensorflow")


# replace, map


@kinds
def test_replace_and_map(backend_name, make):
    x = make(seed=1, backend=backend_name)
    assert_same(x.replace(x.arrays), x)
    assert_same(x.replace(list(x.arrays.values())), x)
    first = next(iter(x.arrays))
    y = x.replace({first: 2 * x.arrays[first]})
    np.testing.assert_allclose(host(y)[0], 2 * host(x)[0])
    for a, b in zip(host(y)[1:], host(x)[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(
        y.backend.to_numpy(y.to_dense()), 2 * x.backend.to_numpy(x.to_dense()), rtol=1e-5, atol=1e-6
    )
    for a, b in zip(host(x.map(lambda a: a + 1)), host(x), strict=True):
        np.testing.assert_allclose(a, b + 1, rtol=1e-6)
    with pytest.raises(ValueError, match=f"no array 'Q': it has {first}"):
        x.replace({"Q": x.arrays[first]})
    with pytest.raises(ValueError, match=f"got 1 arrays, needed {len(x.arrays)}: {first}"):
        x.replace([x.arrays[first]])
    wrong = x.backend.asarray(np.zeros((11, 13)), x.dtype)
    with pytest.raises(ValueError, match=r"11|13"):
        x.replace({first: wrong})


def test_other_shapes_are_fine_where_they_fit():
    x = tnrank.MatrixFactorization([np.ones((2, 3)), np.ones((3, 4))])
    assert x.replace([np.ones((2, 5)), np.ones((5, 4))]).parameter_count == 30


# values


@given(factorizations())
def test_copies_and_pickles(x):
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), copy.copy(x)):
        assert_same(x, y)
        assert y.network == x.network
        np.testing.assert_array_equal(y.to_dense(), x.to_dense())


@kinds
def test_pickles_of_every_backend(backend_name, make):
    x = make(backend=backend_name)
    y = pickle.loads(pickle.dumps(x))
    assert y.backend is x.backend
    assert_same(x, y)


@kinds
def test_immutable(make):
    x = make()
    for name in ("tree", "_values", "_static", "anything", "layers"):
        with pytest.raises(AttributeError, match=r"immutable: use \.replace"):
            setattr(x, name, 1)
    with pytest.raises(TypeError, match=r"not a sequence"):
        iter(x)
    given = x.arrays
    given.clear()
    assert x.arrays


def test_repr():
    x = tnrank.HierarchicalFactorization.random((8, 3, 2), tree=((0, (1,)), 2), width=5, dtype="float32", classes=4)
    assert repr(x).splitlines() == [
        "HierarchicalFactorization of order 4: 8 x 3 x 2 x 4, 135 parameters, float32, numpy",
        "  {0,1,2}  5 x 4",
        "  ├── {0,1}  5 x 5",
        "  │   ├── {0}  8 x 5",
        "  │   └── {1}  5 x 5",
        "  │       └── {1}  3 x 5",
        "  └── {2}  2 x 5",
    ]
    assert repr(tnrank.CPFactorization.random((4, 3), rank=2, weighted=True)).splitlines() == [
        "CPFactorization of order 2: 4 x 3, 16 parameters, float64, numpy",
        "  2 components with weights",
    ]
    assert "depth 3: 4 - 3 - 3 - 3" in repr(tnrank.MatrixFactorization.random((4, 3), depth=3))
    large = repr(tnrank.HierarchicalFactorization.random((2,) * 300, width=3))
    assert len(large.splitlines()) == 2
    assert "DimensionTree.balanced(300)" in large


def test_shown_while_traced():
    jax = pytest.importorskip("jax")
    seen = []
    jax.jit(lambda x: seen.append(repr(x)) or x.norm())(MAKE["cp"](backend="jax"))
    assert "CPFactorization of order 3: 3 x 5 x 2" in seen[0]
