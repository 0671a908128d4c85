"""Contraction against NumPy's einsum, on every backend."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tnrank
from tests.network.strategies import dense, hierarchical_tucker, networks, numpy_arrays, on

EXAMPLES = {"numpy": 40, "torch": 25, "jax": 6}  # JAX compiles each network
QUIET = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}


def test_random_networks(backend_name):
    backend = tnrank.get_backend(backend_name)

    @settings(max_examples=EXAMPLES[backend_name], **QUIET)
    @given(networks(), st.integers(0, 99))
    def check(drawn, seed):
        network, sizes = drawn
        arrays = numpy_arrays(network, sizes, seed)
        result = tnrank.contract(network, on(backend, arrays))
        assert tnrank.backend_of(result) is backend
        wanted = dense(network, arrays)
        assert result.shape == wanted.shape
        np.testing.assert_allclose(backend.to_numpy(result), wanted, rtol=1e-11, atol=1e-11)

    check()


@settings(**QUIET)
@given(networks(sizes=st.integers(0, 2)))
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_sizes_of_zero(name, drawn):
    network, sizes = drawn
    backend = pytest.importorskip(name) and tnrank.get_backend(name)
    arrays = numpy_arrays(network, sizes)
    result = backend.to_numpy(tnrank.contract(network, on(backend, arrays)))
    np.testing.assert_allclose(result, dense(network, arrays), rtol=1e-11, atol=1e-11)


def test_a_size_of_zero(backend_name):
    backend = tnrank.get_backend(backend_name)
    network = tnrank.Network({"A": "ir", "B": "jr", "C": "krs", "D": "bs", "E": "bs"}, "bijk")
    sizes = {"i": 2, "j": 0, "k": 3, "r": 2, "s": 0, "b": 2}
    arrays = numpy_arrays(network, sizes)
    result = tnrank.contract(network, on(backend, arrays))
    assert backend.to_numpy(result).shape == (2, 2, 0, 3)
    network = tnrank.Network(network.tensors, "bik")
    np.testing.assert_array_equal(backend.to_numpy(tnrank.contract(network, on(backend, arrays))), np.zeros((2, 2, 3)))


@settings(**QUIET)
@given(
    networks(sizes=st.integers(1, 4)),
    st.sampled_from(["tree", "greedy", "optimal", "dp", "random-greedy", "auto-hq"]),
)
def test_all_finders_agree(drawn, optimize):
    network, sizes = drawn
    arrays = numpy_arrays(network, sizes)
    try:
        result = tnrank.contract(network, arrays, optimize=optimize)
    except ValueError:
        with pytest.raises(ValueError, match=r"optimize='tree' needs a network that is a tree .* cycle"):
            network.plan(sizes, optimize="tree")
        assert optimize == "tree"
    else:
        np.testing.assert_allclose(result, dense(network, arrays), rtol=1e-11, atol=1e-11)


@settings(**QUIET)
@given(networks(sizes=st.integers(1, 5)), st.integers(1, 40))
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_random_networks_in_slices(name, drawn, limit):
    network, sizes = drawn
    backend = pytest.importorskip(name) and tnrank.get_backend(name)
    arrays = numpy_arrays(network, sizes)
    plan = network.plan(sizes, memory_limit=limit)  # so few elements that slices can always do it
    assert plan.largest_intermediate <= limit
    np.testing.assert_allclose(
        backend.to_numpy(plan(on(backend, arrays))), dense(network, arrays), rtol=1e-11, atol=1e-11
    )


def test_slices_on_jax_compile_once_a_size():
    jax = pytest.importorskip("jax")
    network = tnrank.Network({"A": "bi", "B": "bij", "C": "bj"}, "b")
    arrays = numpy_arrays(network, {"b": 23, "i": 3, "j": 4})
    plan = network.plan({"b": 23, "i": 3, "j": 4}, memory_limit=20)
    assert plan.slices == {"b": 6}
    given = on(tnrank.get_backend("jax"), arrays)
    plan(given)
    with jax.log_compiles(False), jax.check_tracer_leaks(False):
        np.testing.assert_allclose(plan(given), dense(network, arrays), rtol=1e-12)
    assert len(plan._in_slices._compiled) == 2  # 6 at once, and the 5 that are left
    assert all(fn._cache_size() == 1 for fn in plan._in_slices._compiled.values())


@pytest.mark.parametrize("labels", [lambda k: ("bond", k), lambda k: k, lambda k: frozenset({k})])
def test_more_labels_than_letters(backend_name, labels):
    backend = tnrank.get_backend(backend_name)
    network = tnrank.Network({f"A{k}": (labels(k), labels(k + 1)) for k in range(80)})
    arrays = numpy_arrays(network, {labels(k): 3 for k in range(81)})
    wanted = reduce(np.matmul, arrays.values())
    result = backend.to_numpy(tnrank.contract(network, on(backend, arrays)))
    np.testing.assert_allclose(result, wanted, rtol=1e-9, atol=1e-9 * abs(wanted).max())
    assert network.output == (labels(0), labels(80))


def test_one_tensor_with_many_axes(backend_name):
    """27 axes of size one and three of size two: every letter of the alphabet and more."""
    backend = tnrank.get_backend(backend_name)
    labels = tuple(("axis", k) for k in range(30))
    sizes = {label: 2 if label[1] % 10 == 0 else 1 for label in labels}
    network = tnrank.Network({"A": labels, "B": labels}, labels[::-1][:25])
    arrays = numpy_arrays(network, sizes)
    wanted = (arrays["A"] * arrays["B"]).sum((0, 1, 2, 3, 4)).transpose()
    np.testing.assert_allclose(backend.to_numpy(tnrank.contract(network, on(backend, arrays))), wanted, rtol=1e-12)


@pytest.mark.parametrize("order", [500, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_high_orders(name, order):
    pytest.importorskip(name)
    backend = tnrank.get_backend(name)
    matrices, vectors = ({f"A{k}": (("i", k), "r") for k in range(order)}, {f"x{k}": (("i", k),) for k in range(order)})
    cp = tnrank.Network(matrices | vectors, ())
    sizes = {x: 2 if x == "r" else 3 for x in cp.indices}
    arrays = {name: x / np.linalg.norm(x) for name, x in numpy_arrays(cp, sizes).items()}
    factors = [arrays[f"x{k}"] @ arrays[f"A{k}"] for k in range(order)]
    scale = 2.0 / np.abs(factors).max(1, keepdims=True)
    arrays |= {f"A{k}": arrays[f"A{k}"] * scale[k] for k in range(order)}
    wanted = np.prod(np.array(factors) * scale, axis=0).sum()
    result = backend.to_numpy(tnrank.contract(cp, on(backend, arrays)))
    np.testing.assert_allclose(result, wanted, rtol=1e-9)
    assert cp.hyperindices == ("r",)


@pytest.mark.parametrize("order", [512, pytest.param(1024, marks=pytest.mark.slow)])
def test_high_orders_of_hierarchical_tucker(order):
    tensors, sizes, output = hierarchical_tucker(order, dim=2, rank=2, batch=3)
    network = tnrank.Network(tensors, output)
    arrays = {name: np.full([sizes[x] for x in labels], 0.5) for name, labels in tensors.items()}
    # Each leaf gives 2 * 0.25, each node 4 * 0.5 times the square of that: the value stays at 1/2 on the way
    # up.
    np.testing.assert_allclose(tnrank.contract(network, arrays), np.full(3, 0.5))


def test_empty_network():
    result = tnrank.contract(tnrank.Network({}), {})
    assert result.shape == ()
    assert result == 1.0


def test_the_arrays_are_left_alone(backend_name):
    backend = tnrank.get_backend(backend_name)
    network = tnrank.Network({"A": "ij", "B": "jk", "C": "k"}, "i")
    arrays = on(backend, numpy_arrays(network, {"i": 2, "j": 3, "k": 4}))
    before = dict(arrays)
    tnrank.contract(network, arrays)
    assert all(arrays[name] is before[name] for name in before)
    assert list(arrays) == list(before)
