"""Environments and vector-Jacobian products against NumPy and against automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tnrank
from tests.network.strategies import dense, networks, numpy_arrays, on

QUIET = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
EXAMPLES = {"numpy": 25, "torch": 25, "jax": 4}


def directional(network, arrays, name, cotangent, direction):
    """The derivative of <cotangent, result> along ``direction``: the result is linear in each tensor."""
    return np.sum(cotangent * dense(network, {**arrays, name: direction}))


def test_against_directions(backend_name):
    backend = tnrank.get_backend(backend_name)

    @settings(max_examples=EXAMPLES[backend_name], **QUIET)
    @given(networks(most_tensors=4), st.data())
    def check(drawn, data):
        network, sizes = drawn
        arrays = numpy_arrays(network, sizes)
        given = on(backend, arrays)
        rng = np.random.default_rng(1)
        cotangent = rng.standard_normal([sizes[x] for x in network.output])
        result, pulled = network.plan(sizes).pull_back(given, backend.asarray(cotangent))
        np.testing.assert_allclose(backend.to_numpy(result), dense(network, arrays), rtol=1e-10, atol=1e-10)
        assert list(pulled) == list(network.tensors)
        chosen = data.draw(st.sampled_from(sorted(network.tensors)))
        alone = tnrank.environment(network, given, chosen, cotangent=backend.asarray(cotangent))
        for name in network.tensors:
            found = backend.to_numpy(pulled[name])
            assert found.shape == arrays[name].shape
            if name == chosen:
                np.testing.assert_allclose(backend.to_numpy(alone), found, rtol=1e-10, atol=1e-10)
            direction = rng.standard_normal(arrays[name].shape)
            wanted = directional(network, arrays, name, cotangent, direction)
            np.testing.assert_allclose(np.sum(found * direction), wanted, rtol=1e-9, atol=1e-9)

    check()


@settings(**QUIET)
@given(networks(most_tensors=4), st.data())
def test_environment_is_the_network_without_the_tensor(drawn, data):
    network, sizes = drawn
    name = data.draw(st.sampled_from(sorted(network.tensors)))
    arrays = numpy_arrays(network, sizes)
    rest = network.without(name)
    assert name not in rest.tensors
    environment = tnrank.environment(network, arrays, name)
    assert environment.shape == tuple(sizes[x] for x in rest.output)
    present = [x for labels in rest.tensors.values() for x in labels]
    removed = network.tensors[name]
    assert rest.output[: len(rest.output)] == (
        *(x for x in network.output if x in present),
        *(x for x in dict.fromkeys(removed) if x in present and x not in network.output),
    )
    if rest.tensors:
        np.testing.assert_allclose(environment, dense(rest, arrays), rtol=1e-11, atol=1e-11)
    whole = tnrank.Network({"rest": rest.output, name: removed}, network.output)
    again = tnrank.contract(whole, {"rest": environment, name: arrays[name]})
    np.testing.assert_allclose(again, dense(network, arrays), rtol=1e-10, atol=1e-10)


NETWORKS = {
    "CP": tnrank.Network({"A": "ir", "B": "jr", "C": "kr"}, "ijk"),
    "batched": tnrank.Network({"A": "bi", "B": "bij", "C": "j"}, "b"),
    "trace": tnrank.Network({"A": "iij", "B": "jk", "C": "kl"}, "lk"),
    "private": tnrank.Network({"A": "ij", "B": "k", "C": "km"}, "i"),
}
SIZES = {"i": 2, "j": 3, "k": 4, "l": 2, "m": 3, "r": 5, "b": 3}


@pytest.mark.few_on_jax("CP", "trace")
@pytest.mark.parametrize("which", NETWORKS)
@pytest.mark.parametrize("name", ["jax", "torch"])
def test_against_automatic_differentiation(name, which):
    pytest.importorskip(name)
    backend, network = tnrank.get_backend(name), NETWORKS[which]
    arrays = on(backend, numpy_arrays(network, SIZES))
    _, pulled = network.plan(network.sizes(arrays)).pull_back(arrays, lambda result: 2 * result)

    def loss(values):
        result = tnrank.contract(network, dict(zip(arrays, values, strict=True)))
        return backend.xp.sum(result * result)

    _, gradients = backend.jit(backend.value_and_grad(loss))(tuple(arrays.values()))
    for wanted, got in zip(gradients, pulled.values(), strict=True):
        np.testing.assert_allclose(backend.to_numpy(got), backend.to_numpy(wanted), rtol=1e-11, atol=1e-12)


def test_nothing_is_conjugated(backend_name):
    backend, network = tnrank.get_backend(backend_name), NETWORKS["CP"]
    arrays = numpy_arrays(network, SIZES, dtype="complex128")
    cotangent = numpy_arrays(tnrank.Network({"t": "ijk"}), SIZES, seed=3, dtype="complex128")["t"]
    got = tnrank.environment(network, on(backend, arrays), "B", cotangent=backend.asarray(cotangent))
    wanted = np.einsum("ijk,ir,kr->jr", cotangent, arrays["A"], arrays["C"])
    np.testing.assert_allclose(backend.to_numpy(got), wanted, rtol=1e-12)


def test_the_removed_array_need_not_be_given():
    network = NETWORKS["CP"]
    arrays = numpy_arrays(network, SIZES)
    del arrays["B"]
    wanted = np.einsum("ir,kr->ikr", arrays["A"], arrays["C"])
    np.testing.assert_allclose(tnrank.environment(network, arrays, "B"), wanted)
    cotangent = np.ones((2, 3, 4))
    assert tnrank.environment(network, arrays, "B", cotangent=cotangent).shape == (3, 5)


def test_a_size_that_only_the_removed_tensor_knows():
    network = NETWORKS["private"]
    arrays = numpy_arrays(network, SIZES)
    cotangent = np.ones(2)
    assert tnrank.environment(network, arrays, "A", cotangent=cotangent).shape == (2, 3)
    del arrays["A"]
    with pytest.raises(
        ValueError, match="the index 'j' is on tensor 'A' alone, so its size is not known: give its array"
    ):
        tnrank.environment(network, arrays, "A", cotangent=cotangent)


def test_a_sliced_plan_does_not_pull_back():
    network = NETWORKS["CP"]
    plan = network.plan({x: SIZES[x] for x in network.indices}, memory_limit=10)
    with pytest.raises(ValueError, match="plan without memory_limit"):
        plan.pull_back(numpy_arrays(network, SIZES), lambda x: x)
