"""Any network as a factorization, and networks with chains of matrices on their tensors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import factorizations
from tests.network.strategies import networks
from tnrank.factorizations import NetworkFactorization, deepen
from tnrank.theory import local_components
from tnrank.training import recorders

RING = tnrank.Network({"A": "aib", "B": "bjc", "C": "cka"}, "ijk")
SIZES = {"i": 4, "j": 5, "k": 3, "a": 2, "b": 3, "c": 2}


def ring(**options):
    return NetworkFactorization.random(RING, SIZES, **{"seed": 3, **options})


def host(x):
    return [np.asarray(x.backend.to_numpy(a)) for a in x.arrays.values()]


def test_the_end_tensor_is_the_einsum(backend_name):
    x = ring(backend=backend_name, dtype="float64")
    wanted = np.einsum("aib,bjc,cka->ijk", *host(x))
    np.testing.assert_allclose(x.backend.to_numpy(x.to_dense()), wanted, rtol=1e-12, atol=1e-12)
    indices = [[0, 0, 0], [3, 4, 2], [1, 2, 0]]
    np.testing.assert_allclose(x.backend.to_numpy(x.entries(indices)), wanted[tuple(np.transpose(indices))], atol=1e-12)
    assert (x.shape, x.parameter_count, x.dtype) == ((4, 5, 3), 24 + 30 + 12, "float64")
    assert float(x.norm()) == pytest.approx(np.linalg.norm(wanted))
    assert float(x.inner(x)) == pytest.approx(np.sum(wanted**2))


@given(x=factorizations())
def test_every_factorization_is_one(x):
    y = NetworkFactorization(x.network, x.arrays)
    np.testing.assert_array_equal(y.to_dense(), x.to_dense())
    assert y.network == x.network
    # By name or in order, and independent of the order in which the tensors are given.
    np.testing.assert_array_equal(NetworkFactorization(x.network, list(x.arrays.values())).to_dense(), x.to_dense())
    backwards = tnrank.Network(dict(reversed(x.network.tensors.items())), x.network.output)
    z = NetworkFactorization(backwards, x.arrays)
    assert list(z.arrays) == list(backwards.tensors)
    np.testing.assert_allclose(z.to_dense(), x.to_dense(), rtol=1e-9, atol=1e-9)


@given(drawn=networks())
@example(drawn=(tnrank.Network({"A": "jiir", "B": "ir"}, "j"), {"i": 2, "j": 3, "r": 2}))
@example(drawn=(tnrank.Network({"A": "iir", "B": "rri"}, ""), {"i": 3, "r": 2}))
def test_component_norms_are_those_of_the_theory(drawn):
    network, sizes = drawn
    x = NetworkFactorization.random(network, sizes, seed=1)
    found = x.component_norms()
    for label, norms in found.items():
        np.testing.assert_allclose(norms, local_components(x, label).norms, rtol=1e-12)
    inner = {a for a in network.indices if a not in network.output and len(network.holders(a)) > 1}
    assert set(found) == inner


def test_a_seed_means_the_same_on_every_backend(backend_name):
    for options in ({"std": 0.1}, {"norm": 0.5}, {"std": 0.1, "init": "identity"}):
        x, y = ring(dtype="float32", **options), ring(dtype="float32", backend=backend_name, **options)
        assert (y.backend.name, y.dtype) == (backend_name, "float32")
        for a, b in zip(host(x), host(y), strict=True):
            np.testing.assert_array_equal(a, b)
    default = ring(norm=1.0, backend=backend_name)
    assert default.dtype == tnrank.get_backend(backend_name).default_dtype


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_the_norm_is_what_was_asked_for(dtype):
    for norm in (1e-6, 1.0, 40.0):
        x = ring(norm=norm, dtype=dtype)
        assert x.dtype == dtype
        assert np.linalg.norm(x.to_dense()) == pytest.approx(norm, rel=1e-12)
    # One number scales all arrays: their proportions are those of the drawn ones.
    small, large = ring(norm=1e-3), ring(norm=1.0)
    for a, b in zip(host(small), host(large), strict=True):
        np.testing.assert_allclose(a, 0.1 * b, rtol=1e-12)


def test_files_copies_and_pytrees(backend_name, tmp_path):
    x = ring(backend=backend_name, dtype="float64")
    x.save(tmp_path / "x")
    y = tnrank.load(tmp_path / "x")
    assert (type(y), y._static, y.backend.name) == (NetworkFactorization, x._static, backend_name)
    for a, b in zip(host(x), host(y), strict=True):
        np.testing.assert_array_equal(a, b)
    assert x.map(lambda a: a).network is x.network
    assert x.to("numpy").network is x.network
    if backend_name == "jax":
        import jax

        z = jax.tree.map(lambda a: 2 * a, x)
        assert z.network is x.network
        np.testing.assert_allclose(z.to_dense(), 8 * x.to_dense(), rtol=1e-12)


def test_labels_that_are_not_text(tmp_path):
    network = tnrank.Network({"A": (("mode", 0), 7), "B": (7, ("mode", 1))}, [("mode", 0), ("mode", 1)])
    x = NetworkFactorization(network, [np.eye(3), np.arange(6.0).reshape(3, 2)])
    x.save(tmp_path / "x")
    assert tnrank.load(tmp_path / "x").network == network
    odd = tnrank.Network({"A": (frozenset({1}), "j")})
    with pytest.raises(ValueError, match="cannot be written"):
        NetworkFactorization(odd, [np.eye(2)]).save(tmp_path / "y")


def test_it_trains(backend_name):
    """A ring of rank 2 is found from half of its entries; the gradient is that of any factorization."""
    target = ring(seed=5, norm=4.0).to_dense()
    indices, values = tnrank.data.observe(target, 60, seed=0)
    x = ring(seed=6, norm=1.0, backend=backend_name, dtype="float64")
    record = [recorders.ComponentNorms(top=2, every=500), recorders.Error(target, every=500)]
    result = tnrank.complete(x, indices, values, steps=1500, record=record)
    assert result.loss < 1e-3 < float(np.mean((np.asarray(x.to("numpy").entries(indices)) - values) ** 2))
    assert set(result.history["component_norms"].values) == {"a", "b", "c"}
    early, reference = (tnrank.complete(y, indices, values, steps=200) for y in (x, x.to("numpy")))
    assert early.loss == pytest.approx(reference.loss, rel=1e-9)


def test_bad_input():
    with pytest.raises(TypeError, match="needed a Network"):
        NetworkFactorization({"A": "ij"}, [np.eye(2)])
    with pytest.raises(ValueError, match="got 2 arrays, needed 3: A, B, C"):
        NetworkFactorization(RING, [np.eye(2), np.eye(2)])
    with pytest.raises(ValueError, match="no array for the tensor 'C'"):
        NetworkFactorization(RING, {"A": np.ones((2, 4, 3)), "B": np.ones((3, 5, 2))})
    with pytest.raises(ValueError, match="index 'b' has size 3 on tensor 'A' and size 4 on tensor 'B'"):
        NetworkFactorization(RING, [np.ones((2, 4, 3)), np.ones((4, 5, 2)), np.ones((2, 3, 2))])
    with pytest.raises(TypeError, match="arrays is a sequence of arrays, or a mapping"):
        NetworkFactorization(tnrank.Network({"A": "ij"}), np.ones((1, 2, 2)))
    with pytest.raises(ValueError, match="no size for the index 'c'"):
        NetworkFactorization.random(RING, {"i": 4, "j": 5, "k": 3, "a": 2, "b": 3})
    with pytest.raises(ValueError, match="whole number from 1 on"):
        ring().random(RING, {**SIZES, "c": 0})
    with pytest.raises(ValueError, match="positive, got 0"):
        ring(norm=0.0)
    with pytest.raises(ValueError, match="no tensors"):
        NetworkFactorization(tnrank.Network({}), {})
    ones = tnrank.Network({"A": "ij"})
    with pytest.raises(ValueError, match="give std in place of norm"):
        NetworkFactorization.random(ones, {"i": 1, "j": 1}, norm=1.0, init="identity", mean=-1.0)


@settings(max_examples=20)
@given(depth=st.integers(1, 4), seed=st.integers(0, 99))
def test_a_deep_tucker_is_the_tucker_of_the_products(depth, seed):
    shape, ranks = (3, 4, 2), (2, 3, 2)
    x = tnrank.Tucker.random(shape, rank=ranks, seed=seed)
    network, sizes = deepen(
        x.network, x.network.sizes(x.arrays), {f"factor {k}": f"r{k}" for k in range(3)}, depth=depth
    )
    deep = NetworkFactorization.random(network, sizes, seed=seed)
    assert len(deep.arrays) == 3 * depth + 1
    factors = []
    for k in range(3):
        product = deep.arrays[f"factor {k}"]
        for j in range(1, depth):
            product = product @ deep.arrays[f"factor {k}, {j}"]
        factors.append(product)
    wanted = tnrank.Tucker(deep.arrays["core"], factors).to_dense()
    np.testing.assert_allclose(deep.to_dense(), wanted, rtol=1e-10, atol=1e-10)


def test_a_deep_matrix_is_a_matrix_factorization():
    flat = tnrank.MatrixFactorization.random((5, 4), depth=1)
    network, sizes = deepen(flat.network, {"i": 5, "j": 4}, {"W0": "j"}, depth=3)
    x = NetworkFactorization.random(network, sizes, seed=2)
    wanted = tnrank.MatrixFactorization(list(x.arrays.values()))
    np.testing.assert_allclose(x.to_dense(), wanted.to_dense(), rtol=1e-12, atol=1e-12)
    assert deepen(flat.network, {"i": 5, "j": 4}, {"W0": "j"}, depth=1)[0] == flat.network


def test_a_hyperindex_deepens_like_any():
    cp = tnrank.CPFactorization.random((3, 4, 5), rank=2)
    network, sizes = deepen(cp.network, cp.network.sizes(cp.arrays), {next(iter(cp.network.tensors)): "r"}, depth=2)
    x = NetworkFactorization.random(network, sizes, seed=0)
    a, middle, b, c = x.arrays.values()
    np.testing.assert_allclose(x.to_dense(), np.einsum("ia,ar,jr,kr->ijk", a, middle, b, c), rtol=1e-12, atol=1e-12)


def test_what_cannot_be_deepened():
    with pytest.raises(ValueError, match="depth, the number of arrays"):
        deepen(RING, SIZES, {"A": "b"}, depth=0)
    with pytest.raises(ValueError, match="no tensor 'D'"):
        deepen(RING, SIZES, {"D": "b"}, depth=2)
    with pytest.raises(ValueError, match="needs the index 'c' once"):
        deepen(RING, SIZES, {"A": "c"}, depth=2)
    with pytest.raises(ValueError, match="needs the index 'i' once"):
        deepen(tnrank.Network({"A": "iij"}, "j"), {"i": 2, "j": 2}, {"A": "i"}, depth=2)
