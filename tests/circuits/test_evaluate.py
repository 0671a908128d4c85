"""Factorizations contracted with one vector per mode."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.circuits import Circuit, evaluate

SHAPE = (2, 3, 4, 2, 3)
MADE = {
    "mf": lambda **o: tnrank.MatrixFactorization.random((3, 4), depth=3, hidden=5, seed=0, **o),
    "cp": lambda **o: tnrank.CPFactorization.random(SHAPE, rank=4, seed=0, **o),
    "htf": lambda **o: tnrank.HierarchicalFactorization.random(SHAPE, width=3, seed=0, **o),
    "classes": lambda **o: tnrank.HierarchicalFactorization.random(SHAPE, width=3, classes=2, seed=0, **o),
    "ht": lambda **o: tnrank.HierarchicalTucker.random(SHAPE, rank=2, seed=0, **o),
    "tt": lambda **o: tnrank.TensorTrain.random(SHAPE, rank=2, seed=0, **o),
    "tucker": lambda **o: tnrank.Tucker.random(SHAPE, rank=2, seed=0, **o),
}


def expected(dense, vectors):
    dense = np.broadcast_to(dense, (len(vectors[0]), *dense.shape))
    for vector in vectors:
        dense = np.einsum("bd...,bd->b...", dense, vector)
    return dense


@pytest.mark.parametrize("kind", MADE)
def test_is_the_dense_contraction(kind):
    x = MADE[kind]()
    generator = np.random.default_rng(1)
    order = x.ndim - (kind == "classes")
    vectors = [generator.standard_normal((6, d)) for d in x.shape[:order]]
    wanted = expected(x.to_dense(), vectors)
    assert np.allclose(evaluate(x, vectors), wanted, rtol=1e-12, atol=1e-12 * abs(wanted).max())
    stacked = np.full((6, order, max(x.shape)), np.nan)
    for n, vector in enumerate(vectors):
        stacked[:, n, : vector.shape[1]] = vector
    assert np.array_equal(evaluate(x, stacked), evaluate(x, vectors))
    fewer = expected(x.to_dense(), vectors[:1])
    assert np.allclose(evaluate(x, vectors[:1]), fewer, rtol=1e-12, atol=1e-12 * abs(fewer).max())


def test_is_the_circuit(backend_name):
    tree = tnrank.DimensionTree.windows(5)
    x = tnrank.HierarchicalFactorization.random(SHAPE, tree, width=3, seed=0, backend=backend_name, dtype="float64")
    backend = tnrank.get_backend(backend_name)
    features = backend.asarray(np.random.default_rng(2).random((6, 5, 4)), "float64")
    circuit = Circuit.from_factorization(x)
    ours = backend.jit(lambda f: evaluate(x, f))(features)
    theirs = backend.jit(lambda f: circuit.forward(circuit.weights_of(x), f))(features)
    assert np.allclose(backend.to_numpy(ours), backend.to_numpy(theirs), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: evaluate(x, np.zeros((6, 5, 3))), "M at least 4"),
        (lambda x: evaluate(x, np.zeros((6, 7, 4))), "for order 5"),
        (lambda x: evaluate(x, [np.zeros((6, 2)), np.zeros((6, 2))]), r"mode 1, needed \(6, 3\)"),
        (lambda x: evaluate(x, []), "got 0 arrays"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(MADE["cp"]())
    with pytest.raises(TypeError, match="needed a factorization"):
        evaluate(np.zeros((2, 2)), [])
