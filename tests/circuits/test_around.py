"""Circuits in use: sharing that survives files and frameworks, representations, precision, wrong calls."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.circuits import Circuit, CosSin, min_cut, network_ranks, separation_report

SHARED = Circuit.deep((4, 4), features=2, channels=3, classes=2, shared=True)


def test_sharing_survives_files_and_frameworks(tmp_path, backend_name):
    x = SHARED.to_factorization(SHARED.initial_weights(seed=0, backend=backend_name))
    assert x.parameter_count == SHARED.parameter_count
    assert Circuit.from_factorization(x.to("numpy")) == SHARED
    assert Circuit.from_factorization(x.to(dtype="float32")) == SHARED
    x.save(tmp_path / "x.safetensors")
    back = tnrank.load(tmp_path / "x.safetensors")
    assert Circuit.from_factorization(back) == SHARED
    plain = SHARED.to_factorization([np.array(x.backend.to_numpy(w)) for w in SHARED.weights_of(x)])
    for name, array in back.arrays.items():
        assert np.array_equal(back.backend.to_numpy(array), plain.arrays[name])
    unshared = x.map(lambda a: a + 0)
    unshared.save(tmp_path / "many.safetensors")
    size = (tmp_path / "x.safetensors").stat().st_size
    assert (tmp_path / "many.safetensors").stat().st_size > size
    assert not Circuit.from_factorization(tnrank.load(tmp_path / "many.safetensors")).levels[0].shared


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_factorization_behind_a_representation(framework):
    pytest.importorskip(framework)
    nn = pytest.importorskip(f"tnrank_{framework}.nn")
    x = tnrank.HierarchicalFactorization.random((2,) * 4, width=3, seed=0)
    module = nn.ConvolutionalArithmeticCircuit.from_factorization(x, representation=CosSin(), dtype="float32")
    backend = tnrank.get_backend(framework)
    patches = np.random.default_rng(0).random((5, 4, 1)).astype(np.float32)
    found = backend.to_numpy(module(backend.asarray(patches)))
    angles = patches[:, :, 0].astype(np.float64) * np.pi / 2
    expected = np.einsum(
        "abcd,na,nb,nc,nd->n", x.to_dense(), *np.stack([np.cos(angles), np.sin(angles)]).transpose(2, 1, 0)
    )
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())
    assert module.value().dtype == "float32"


def test_ranks_do_not_depend_on_the_precision_of_the_weights():
    circuit = Circuit.deep(8, features=2, channels=2)
    for seed in range(3):
        weights = circuit.initial_weights(seed=seed, dtype="float32")
        assert separation_report(circuit, weights=weights)["odd/even"].rank == 16


def test_the_tree_says_the_order():
    found = network_ranks(lambda x: x.prod(axis=1), np.array([1.0, 2.0]), tnrank.DimensionTree.balanced(4))
    assert set(found.ranks.values()) == {1}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Circuit.deep(8, representation=CosSin), TypeError, r"needed OneHot\(features\)"),
        (lambda: Circuit.deep(8, representation="cos"), TypeError, r"needed OneHot\(features\)"),
        (lambda: Circuit.deep(8, 2, classes=10.0), TypeError, "classes is a whole number"),
        (lambda: Circuit.deep(8, 2, classes=None), TypeError, "classes is a whole number"),
        (lambda: Circuit.deep(8, 2, None), TypeError, "channels: got None"),
        (lambda: Circuit.deep(8, 2, "4"), TypeError, "channels: got '4'"),
        (lambda: Circuit.deep(8, 2.5), TypeError, "features: got 2.5"),
        (lambda: Circuit.deep(None, 2), TypeError, "the grid: got None"),
        (lambda: Circuit.deep("8x8", 2), TypeError, "the grid: got '8x8'"),
        (lambda: Circuit.from_factorization(SHARED), TypeError, "goes into the layer itself"),
        (lambda: Circuit.from_factorization("x.safetensors"), TypeError, "tnrank.load"),
        (lambda: Circuit.from_factorization(tnrank.TensorTrain.random((2, 2), rank=1)), TypeError, "evaluate"),
        (
            lambda: Circuit.from_factorization(tnrank.HierarchicalFactorization.random((2, 2)), classes=True),
            ValueError,
            "Leave it out",
        ),
        (lambda: separation_report(np.ones((2, 2)), (0, 1)), TypeError, "needed name -> modes"),
        (lambda: separation_report(np.ones((2, 2)), "odd/even"), TypeError, "needed name -> modes"),
        (lambda: min_cut(SHARED, (0,)), TypeError, "separation_report takes a Circuit"),
        (
            lambda: network_ranks(lambda x: x.sum(axis=1), np.array([0.0, 1.0]), order=4, rtol=0),
            ValueError,
            "give rtol=1.4e-14 or more",
        ),
        (
            lambda: SHARED.forward([np.ones(s, int) for s in SHARED.shapes], np.ones((3, 16, 2))),
            TypeError,
            "convert them to float64",
        ),
    ],
)
def test_wrong_calls_name_the_way_out(call, error, message):
    with pytest.raises(error, match=message):
        call()
