"""Scores of samples and their gradients, against contractions of the dense end tensor and automatic differentiation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree
from tnrank.training._samples._data import read_features
from tnrank.training._samples._objective import scores_of


def nested(draw: Any, modes: list[int]) -> Any:
    """A random tree over modes, unary nodes included."""
    if len(modes) == 1:
        return modes[0] if draw(st.booleans()) else (modes[0],)
    parts = draw(st.integers(1, min(4, len(modes))))
    cuts = sorted(draw(st.lists(st.integers(1, len(modes) - 1), min_size=parts - 1, max_size=parts - 1, unique=True)))
    pieces = [modes[a:b] for a, b in zip([0, *cuts], [*cuts, len(modes)], strict=True)]
    if len(pieces) == 1:
        return (nested(draw, modes),) if draw(st.booleans()) else tuple(modes)
    return tuple(nested(draw, piece) for piece in pieces)


@st.composite
def factorizations(draw: Any) -> Any:
    order = draw(st.integers(2, 6))
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=order, max_size=order)))
    kind = draw(st.sampled_from(("cp", "weighted", "hierarchical", "tucker", "train")))
    common: dict[str, Any] = {"seed": draw(st.integers(0, 99)), "std": 0.7, "dtype": "float64"}
    rank = draw(st.integers(1, 3))
    if kind in ("cp", "weighted"):
        return tnrank.CPFactorization.random(shape, rank, weighted=kind == "weighted", **common)
    if kind == "hierarchical":
        tree = DimensionTree(nested(draw, draw(st.permutations(range(order)))))
        classes = draw(st.sampled_from((1, 3)))
        return tnrank.HierarchicalFactorization.random(shape, tree, width=rank, classes=classes, **common)
    made = tnrank.Tucker if kind == "tucker" else tnrank.TensorTrain
    return made.random(shape, 1, **common)


def features_of(x: Any, modes: int, count: int, coded: bool, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    if coded:
        return np.stack([rng.integers(0, d, count) for d in x.shape[:modes]], axis=1)
    return [rng.standard_normal((count, d)) for d in x.shape[:modes]]


def by_hand(x: Any, features: Any, modes: int) -> np.ndarray[Any, Any]:
    """One inner product with an outer product of vectors after the other."""
    dense = np.asarray(x.to("numpy").to_dense())
    found = []
    for m in range(len(features) if isinstance(features, np.ndarray) else len(features[0])):
        value = dense
        for mode in range(modes):
            vector = np.eye(x.shape[mode])[features[m, mode]] if isinstance(features, np.ndarray) else features[mode][m]
            value = np.tensordot(vector, value, axes=(0, 0))
        found.append(value)
    return np.asarray(found)


@pytest.mark.hypothesis
@settings(max_examples=60)
@given(factorizations(), st.booleans(), st.booleans(), st.integers(1, 9), st.integers(0, 99))
def test_scores_are_inner_products(x: Any, coded: bool, classes: bool, count: int, seed: int) -> None:
    hierarchical = isinstance(x, tnrank.HierarchicalFactorization)
    modes = len(x.tree.leaves) if hierarchical else x.ndim - classes
    features = features_of(x, modes, count, coded, seed)
    expected = by_hand(x, features, modes)
    found = tnrank.scores(x, features)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * max(1.0, np.abs(expected).max()))


KINDS: dict[str, Any] = {
    "cp": lambda o: tnrank.CPFactorization.random((3,) * 5, 4, **o),
    "cp, weighted": lambda o: tnrank.CPFactorization.random((3, 2, 3, 2), 4, weighted=True, **o),
    "quad": lambda o: tnrank.HierarchicalFactorization.random((2,) * 12, DimensionTree.quad(3, 4), width=3, **o),
    "windows": lambda o: tnrank.HierarchicalFactorization.random((2,) * 5, DimensionTree.windows(5), width=2, **o),
    "linear": lambda o: tnrank.HierarchicalFactorization.random((2,) * 5, DimensionTree.linear(5), width=3, **o),
    "classes": lambda o: tnrank.HierarchicalFactorization.random((2,) * 4, None, width=3, classes=3, **o),
    "train": lambda o: tnrank.TensorTrain.random((2,) * 4, 2, **o),
    "operator": lambda o: tnrank.TensorTrainOperator.random((2, 2), (2, 2), 2, **o),
}


@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.few_on_jax("quad-True")
def test_gradients(kind: str, coded: bool, backend_name: str) -> None:
    """Of two runs at once, against differences of the scores by hand, which are linear in every array."""
    own = KINDS[kind]({"std": 0.7, "dtype": "float64", "backend": backend_name, "seed": 0})
    runs = [own, own.map(lambda a: 1.1 * a)]
    modes = len(own.tree.leaves) if kind == "classes" else own.ndim
    features = features_of(own, modes, 7, coded, 1)
    read = read_features(features)
    way = (
        scores_of(own, modes, coded, 20, 2) if kind not in ("train", "operator") else scores_of(own, modes, coded, 7, 2)
    )
    backend = own.backend
    packed = [way.pack(list(x._values), backend.xp) for x in runs]
    values = [backend.xp.stack(pair) for pair in zip(*packed, strict=True)]
    inputs = [backend.asarray(np.ascontiguousarray(a)) for a in way.inputs(read)]
    found, kept = way.forward(backend, values, inputs)
    expected = np.stack([by_hand(x, features, modes).reshape(7, -1) for x in runs])
    np.testing.assert_allclose(backend.to_numpy(found), expected, rtol=1e-10, atol=1e-13)
    weights = np.random.default_rng(2).standard_normal(expected.shape)
    gradients = way.backward(backend, values, inputs, kept, backend.asarray(weights))
    for run, x in enumerate(runs):
        host = [np.asarray(a) for a in x.to("numpy")._values]
        for k, gradient in enumerate(way.unpack([g[run] for g in gradients])):
            direction = np.random.default_rng(k).standard_normal(host[k].shape)
            ends = [
                x.to("numpy").replace([a + s * direction if j == k else a for j, a in enumerate(host)]) for s in (0, 1)
            ]
            # CP factors and matrices of nodes occur once in each score.
            change = np.diff([by_hand(end, features, modes).reshape(7, -1) for end in ends], axis=0)[0]
            slope = float((np.asarray(backend.to_numpy(gradient)) * direction).sum())
            np.testing.assert_allclose(slope, (weights[run] * change).sum(), rtol=1e-9, atol=1e-11)


def test_factors_of_zero_have_the_right_derivative() -> None:
    """One zero: the product of the others; two: nothing."""
    x = tnrank.CPFactorization.random((2,) * 4, 2, seed=3)
    factors = [np.array(f) for f in x.factors]
    factors[1][0, 0] = factors[2][0, 0] = factors[2][1, 1] = 0.0
    x = tnrank.CPFactorization(factors)
    way = scores_of(x, 4, True, 1)
    states = np.array([[0, 0, 1, 0]])
    read = read_features(states)
    values = [value[None] for value in way.pack(list(x._values), np)]
    found, kept = way.forward(x.backend, values, way.inputs(read))
    np.testing.assert_allclose(found[0, 0, 0], 0.0, atol=1e-200)
    gradients = way.unpack([g[0] for g in way.backward(x.backend, values, way.inputs(read), kept, np.ones((1, 1, 1)))])
    np.testing.assert_allclose(gradients[1][0, 0], factors[0][0, 0] * factors[2][1, 0] * factors[3][0, 0], rtol=1e-12)
    np.testing.assert_allclose(gradients[2][1, 1], factors[0][0, 1] * factors[1][0, 1] * factors[3][0, 1], rtol=1e-12)
    assert abs(gradients[0][0, 0]) < 1e-200


@pytest.mark.parametrize("kind", ["cp", "hierarchical"])
def test_order_784_in_single_precision(kind: str) -> None:
    pytest.importorskip("torch")
    made: Any = {
        "cp": lambda o: tnrank.CPFactorization.random((2,) * 784, 5, init="mean_one", std=1e-2, **o),
        "hierarchical": lambda o: tnrank.HierarchicalFactorization.random(
            (2,) * 784, DimensionTree.quad(28, 28), width=5, init="mean_one", std=1e-2, **o
        ),
    }[kind]
    states = np.random.default_rng(0).integers(0, 2, (50, 784))
    found = []
    for dtype in ("float32", "float64"):
        x = made({"backend": "torch", "dtype": dtype})
        way = scores_of(x, 784, True, 50)
        values = [v[None] for v in way.pack(list(x._values), x.backend.xp)]
        inputs = [x.backend.asarray(a) for a in way.inputs(read_features(states))]
        scores, kept = way.forward(x.backend, values, inputs)
        gradient = way.backward(x.backend, values, inputs, kept, x.backend.xp.ones_like(scores))
        found.append([np.asarray(a, np.float64) for a in (scores, *gradient)])
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, rtol=2e-4, atol=1e-4 * np.abs(double).max())
