"""Outputs of circuits with any pooling and activation, of any dtype; circuits as values; wrong calls."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.circuits.strategies import circuits, host, numbers, output, weights_for
from tnrank import CPFactorization, DimensionTree, HierarchicalFactorization, HierarchicalTucker, MatrixFactorization
from tnrank.circuits import Circuit, Level, OneHot

POOL = {"product": np.prod, "max": np.max, "average": np.mean, "sum": np.sum}


def slow(circuit: Circuit, weights: Any, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Location by location, on dictionaries of places."""
    sides, found = circuit.grid, {}
    for n, place in enumerate(np.ndindex(*sides)):
        found[place] = features[:, n, : circuit.widths[0][n]]
    for k, level in enumerate(circuit.levels):
        pooled: dict[Any, list[Any]] = {}
        for n, place in enumerate(np.ndindex(*sides)):
            filters = weights[k] if level.shared else weights[k][n]
            channels = level.channels if isinstance(level.channels, int) else level.channels[n]
            x = found[place] @ filters[: found[place].shape[1], :channels]
            x = np.maximum(x, 0) if circuit.activation == "relu" else x
            pooled.setdefault(tuple(p // w for p, w in zip(place, level.window, strict=True)), []).append(x)
        found = {place: POOL[circuit.pooling](xs, axis=0) for place, xs in pooled.items()}
        sides = tuple(-(-s // w) for s, w in zip(sides, level.window, strict=True))
    (x,) = found.values()
    x = x @ weights[-1] if circuit.dense else x.sum(axis=1, keepdims=True)
    return x if circuit.classes > 1 else x[:, 0]


@given(st.data(), st.sampled_from(sorted(POOL)), st.sampled_from(["identity", "relu"]))
def test_any_pooling_and_activation(data: Any, pooling: str, activation: str) -> None:
    circuit = data.draw(circuits(pooling=pooling, activation=activation))
    weights, features = data.draw(weights_for(circuit)), data.draw(numbers(circuit))
    wanted = slow(circuit, weights, features)
    assert np.allclose(circuit.forward(weights, features), wanted, rtol=1e-11, atol=1e-12)
    if pooling == "product":
        sign, logs = circuit.forward(weights, features, log=True)
        assert np.allclose(sign * np.exp(logs), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("pooling", sorted(POOL))
def test_ragged_pooling_on_every_backend(pooling: str, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    circuit = Circuit.deep((3, 5), 2, 3, ragged=True, pooling=pooling, activation="relu", classes=2)
    generator = np.random.default_rng(0)
    weights = [generator.standard_normal(shape) for shape in circuit.shapes]
    features = generator.standard_normal((4, 15, 2))
    run = backend.jit(circuit.forward)
    found = run([backend.asarray(w) for w in weights], backend.asarray(features))
    assert np.allclose(host(found), slow(circuit, weights, features), rtol=1e-12, atol=1e-13)


@pytest.mark.few_on_jax("product-True", "max-False")
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("pooling", ["product", "average", "max"])
def test_empty_batch(pooling: str, log: bool, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    for circuit in (
        Circuit.deep((3, 3), 2, 3, ragged=True, pooling=pooling, classes=2),
        Circuit.shallow(6, 2, 3, pooling=pooling, classes=2),
    ):
        weights = circuit.initial_weights(backend=backend_name)
        for features in (np.zeros((0, circuit.order, 2), host(weights[0]).dtype), np.zeros((0, circuit.order), int)):
            if log and pooling != "product":
                continue
            found = backend.jit(lambda w, f, c=circuit: c.forward(w, f, log))(weights, backend.asarray(features))
            assert tuple((found[1] if log else found).shape) == (0, 2)


@pytest.mark.few_on_jax("bool", "int8")
@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int32", "int64", "uint64"])
def test_whole_numbers_of_any_dtype(kind: str, backend_name: str) -> None:
    """Also those too small to count the rows of all locations."""
    backend = tnrank.get_backend(backend_name)
    circuit = Circuit.deep(256, 2, 2)
    weights = circuit.initial_weights(backend=backend_name, dtype="float64")
    features = np.random.default_rng(0).integers(0, 2, (3, 256))
    wanted = circuit.forward([host(w) for w in weights], np.eye(2)[features])
    found = backend.jit(circuit.forward)(weights, backend.asarray(features.astype(kind)))
    assert np.allclose(host(found), wanted, rtol=1e-12)


@pytest.mark.few_on_jax("circuit0-complex128")
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("circuit", [Circuit.deep(5, 2, 3, ragged=True, classes=2), Circuit.shallow(6, 2, 3)])
def test_complex_numbers(circuit: Circuit, dtype: str, backend_name: str) -> None:
    """With log, the sign is the phase."""
    backend, generator = tnrank.get_backend(backend_name), np.random.default_rng(0)

    def draw(shape: Any) -> Any:
        return (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)).astype(dtype)

    weights, features = [draw(s) for s in circuit.shapes], draw((3, circuit.order, 2))
    wanted, size = output(circuit, weights, features)
    wanted, size = wanted.reshape(3, -1), 1e-12 * size if dtype == "complex128" else 1e-5 * size
    there = [backend.asarray(w) for w in weights]
    found = backend.jit(circuit.forward)(there, backend.asarray(features))
    assert backend.dtype_of(found) == dtype
    assert (abs(host(found).reshape(3, -1) - wanted) <= size.reshape(3, -1)).all()
    sign, logs = backend.jit(lambda w, f: circuit.forward(w, f, True))(there, backend.asarray(features))
    assert backend.dtype_of(sign) == dtype
    assert backend.dtype_of(logs) == ("float64" if dtype == "complex128" else "float32")
    assert (abs((host(sign) * np.exp(host(logs))).reshape(3, -1) - wanted) <= size.reshape(3, -1)).all()
    real = circuit.forward(there, backend.asarray(features.real))
    assert backend.dtype_of(real) == dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("log", [False, True])
def test_half_precision(dtype: str, log: bool) -> None:
    torch = pytest.importorskip("torch")
    circuit = Circuit.deep((4, 4), 2, 4, classes=3)
    weights = circuit.initial_weights(backend="torch", dtype=dtype)
    exact = [w.double() for w in weights]
    generator = np.random.default_rng(0)
    whole, numbers = generator.integers(0, 2, (5, 16)), generator.random((5, 16, 2))
    for features in (torch.tensor(whole), torch.tensor(numbers).to(weights[0].dtype)):
        found = circuit.forward(weights, features, log)
        found = (found[0] * found[1].exp()) if log else found
        assert found.dtype is weights[0].dtype
        wanted = circuit.forward(exact, features)
        bound = circuit.forward([w.abs() for w in exact], features)
        # 16 leaves, and a few roundings each.
        assert ((found.double() - wanted).abs() <= 64 * torch.finfo(weights[0].dtype).eps * bound).all()


def test_features_are_taken_in_the_dtype_of_the_weights(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    circuit = Circuit.deep(4, 2, 3)
    features = np.random.default_rng(0).standard_normal((3, 4, 2))
    for dtype, other in (("float32", "float64"), ("float64", "float32")):
        weights = circuit.initial_weights(backend=backend_name, dtype=dtype)
        found = backend.jit(circuit.forward)(weights, backend.asarray(features, other))
        assert backend.dtype_of(found) == dtype
        wanted = circuit.forward([host(w) for w in weights], features.astype(other).astype(dtype))
        assert np.allclose(host(found), wanted, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_logarithm_of_zero(backend_name: str) -> None:
    """Minus infinity and the sign 0, without a warning; derivatives are 0 and not NaN."""
    backend = tnrank.get_backend(backend_name)
    for circuit in (Circuit.deep(2, 2, 3), Circuit.shallow(6, 2, 3)):
        weights = circuit.initial_weights(backend=backend_name, dtype="float64")
        features = np.ones((2, circuit.order, 2))
        features[0, 1] = 0
        run = backend.jit(lambda w, f, c=circuit: c.forward(w, f, log=True))
        sign, logs = run(weights, backend.asarray(features))
        assert host(sign).tolist() == [0, 1]
        assert host(logs)[0] == -np.inf
        assert np.isfinite(host(logs)[1])
        if "value_and_grad" in backend.capabilities:
            run = backend.jit(backend.value_and_grad(lambda w, f, c=circuit: c.forward(w, f, True)[1][0]))
            assert not any(host(g).any() for g in run(tuple(weights), backend.asarray(features))[1])


@pytest.mark.parametrize(
    ("sizes", "whole", "log"),
    [
        pytest.param(*case, marks=() if case == ((2, 3, 2), False, True) else pytest.mark.slow)
        for case in product((2, (2, 3, 2)), (True, False), (False, True))
    ],
)
def test_compiled_by_torch(sizes: Any, whole: bool, log: bool) -> None:
    torch = pytest.importorskip("torch")
    circuit = Circuit.deep(3, sizes, 3, ragged=True, classes=2)
    weights = circuit.initial_weights(backend="torch", dtype="float64")
    features = torch.ones((4, 3), dtype=torch.int64) if whole else torch.ones(4, 3, circuit.shapes[0][1]).double()
    run = torch.compile(lambda w, f: circuit.forward(w, f, log), backend="eager", fullgraph=True)
    found, wanted = run(weights, features), circuit.forward(weights, features, log)
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("ragged", ["grid", "features", "matrices"])
def test_everything_is_on_the_device_of_the_weights(ragged: str, log: bool) -> None:
    """PyTorch's device without memory refuses to meet arrays of another one."""
    torch = pytest.importorskip("torch")
    circuit = {
        "grid": Circuit.deep((3, 5), 2, 3, ragged=True, pooling="product" if log else "average"),
        "features": Circuit.shallow(6, (2, 3) * 3, 3),
        "matrices": Circuit.from_factorization(MatrixFactorization.random((3, 5), 3, [2, 4])),
    }[ragged]
    weights = circuit.initial_weights(backend="torch", device="meta")
    whole = torch.zeros(4, circuit.order, dtype=torch.int64, device="meta")
    numbers = torch.zeros(4, circuit.order, max(circuit.widths[0]), device="meta")
    for features in (whole, numbers):
        found = circuit.forward(weights, features, log)
        found = found[1] if log else found
        assert found.shape == (4,)
        assert str(found.device) == "meta"


# circuits as values


def test_circuits_are_values() -> None:
    circuit = Circuit.deep((4, 4), representation=OneHot(3), channels=[8, 4], classes=10)
    same = Circuit.deep([4, 4], 3, (8, 4), [2, (2, 2)], classes=10, representation=OneHot(3), ragged=True)
    assert circuit == same
    assert hash(circuit) == hash(same)
    assert len({circuit, same, Circuit.deep((4, 4), 3, [8, 4], classes=10)}) == 2
    _ = circuit.tree, circuit.shapes, circuit.padding
    for other in (copy.copy(circuit), copy.deepcopy(circuit), pickle.loads(pickle.dumps(circuit))):
        assert other == circuit
        assert other.tree == circuit.tree
        assert str(other) == str(circuit)
    with pytest.raises(dataclasses.FrozenInstanceError):
        circuit.classes = 3  # type: ignore[misc]  # that is the point
    assert dataclasses.replace(circuit, classes=3).shapes[-1] == (4, 3)


def test_one_form_for_what_is_the_same() -> None:
    plain = Circuit((4,), 2, (Level(3, (4,)),))
    number = np.int64
    for other in (
        Circuit([4], [2] * 4, [Level([3] * 4, [4])]),
        Circuit(number(4), number(2), (Level(number(3), number(4)),)),  # type: ignore[arg-type]
        Circuit((4,), 2, (Level(3, (9,)),), ragged=True),
        Circuit((4,), 2, (Level(3, (4,)),), ragged=True),
    ):
        assert other == plain
        assert hash(other) == hash(plain)
        assert repr(other) == repr(plain)


@given(circuits())
def test_numbers_of_a_circuit_agree(circuit: Circuit) -> None:
    assert hash(circuit) == hash(pickle.loads(pickle.dumps(circuit)))
    assert circuit.order == len(circuit.widths[0]) == int(np.prod(circuit.grid))
    assert circuit.grids[0] == circuit.grid
    assert set(circuit.grids[-1]) == {1}
    assert len(circuit.grids) == len(circuit.widths) == len(circuit.levels) + 1
    text = str(circuit)
    assert text.startswith("circuit on ")
    assert len(text.splitlines()) == 3 + len(circuit.levels)
    x = circuit.to_factorization(circuit.initial_weights())
    assert x.shape == (*circuit.widths[0], *([circuit.classes] if circuit.classes > 1 else []))
    if circuit.kind == "hierarchical":
        assert x.tree == circuit.tree
    if all(where is None for where in circuit.padding) and not any(level.shared for level in circuit.levels):
        assert circuit.parameter_count == sum(a.size for a in x.arrays.values())


def test_printed() -> None:
    circuit = Circuit((5,), (1, 2, 2, 2, 1), (Level(3, (2,)), Level((4, 4, 5), (2,)), Level(2, (2,))), ragged=True)
    assert str(circuit).splitlines() == [
        "circuit on 5 patches, product pooling, 97 weights",
        "  1-2 features at 5 locations",
        "  1x1 convolution to 3 channels, a filter bank a location, pooling 2: 3 locations",
        "  1x1 convolution to 4-5 channels, a filter bank a location, pooling 2: 2 locations",
        "  1x1 convolution to 2 channels, a filter bank a location, pooling 2: 1 location",
        "  dense to 1 class",
    ]


# wrong calls

HTF, LINEAR = HierarchicalFactorization.random, DimensionTree.linear(4)
DEEP, W = Circuit.deep(4, 2, 3), Circuit.deep(4, 2, 3).initial_weights()
CP = Circuit.shallow(4, 2, 3)
WRONG = {
    "tree: uneven heights": (
        lambda: Circuit.from_factorization(HTF((2,) * 4, LINEAR, 2)),
        ValueError,
        r"node \{1,2,3\} is not a pooling window: its child \{1\} has height 0",
    ),
    "tree: not neighbors": (
        lambda: Circuit.from_factorization(HTF((2,) * 4, DimensionTree(((0, 3), (1, 2))), 2)),
        ValueError,
        r"node \{0,3\} is not a window of neighbors on the grid 4.*grid=",
    ),
    "tree: other order of modes": (
        lambda: Circuit.from_factorization(HTF((2,) * 4, DimensionTree(((1, 0), (2, 3))), 2)),
        ValueError,
        r"node \{0,1\} is not a window of neighbors",
    ),
    "tree: windows of two sizes": (
        lambda: Circuit.from_factorization(HTF((2,) * 6, DimensionTree(((0, 1), (2, 3, 4), (5,))), 2)),
        ValueError,
        r"node \{2,3,4\} is not a window of 2 locations like \{0,1\} on the grid 6",
    ),
    "tree: other grid": (
        lambda: Circuit.from_factorization(HTF((2,) * 16, DimensionTree.quad(4, 4), 2), grid=(2, 8)),
        ValueError,
        r"node \{0,1,4,5\} is not a window of neighbors on the grid 2 x 8",
    ),
    "tree: grid of another order": (
        lambda: Circuit.from_factorization(HTF((2,) * 4, DEEP.tree, 2), grid=(3, 2)),
        ValueError,
        "the grid 3 x 2 has 6 locations, the tree 4 modes",
    ),
    "CP: grid of another order": (
        lambda: Circuit.from_factorization(CPFactorization.random((2,) * 4, 2), grid=(3, 2)),
        ValueError,
        "got the grid 3 x 2 for 4 modes",
    ),
    "another format": (
        lambda: Circuit.from_factorization(HierarchicalTucker.random((2,) * 4, rank=2)),
        TypeError,
        "got HierarchicalTucker, a circuit computes a MatrixFactorization, CPFactorization or Hierarch",
    ),
    "windows that do not divide": (
        lambda: Circuit.deep((6, 6), 2),
        ValueError,
        r"window 2 x 2 of level 1 does not divide the grid 3 x 3: set ragged=True",
    ),
    "windows of 1": (lambda: Circuit.deep(4, 2, window=1), ValueError, "never reduces the grid 4"),
    "window of no size": (
        lambda: Circuit.deep(4, 2, window=0),
        ValueError,
        "got the window 0, needed one side from 1 on",
    ),
    "window of a plane": (lambda: Circuit.deep(4, 2, window=(2, 2)), ValueError, r"window \(2, 2\), needed one side"),
    "too few windows": (lambda: Circuit.deep(8, 2, window=[2, 2]), ValueError, "after 2 levels 2 locations are left"),
    "locations are left": (lambda: Circuit((4,), 2, (Level(3, (2,)),)), ValueError, "2 locations are left"),
    "no levels": (lambda: Circuit((4,), 2, ()), ValueError, "got no levels"),
    "no grid": (lambda: Circuit.deep((2, 2, 2), 2), ValueError, r"got the grid \(2, 2, 2\), needed \(N,\) or \(H, W\)"),
    "empty grid": (lambda: Circuit.deep(0, 2), ValueError, "got the grid 0, needed"),
    "channels of other levels": (
        lambda: Circuit.deep(8, 2, [3, 4]),
        ValueError,
        "got channels for 2 levels; the grid 8 needs 3 levels: give one number, or 3",
    ),
    "no channels": (lambda: Circuit.deep(4, 2, 0), ValueError, "level 0 has 0 channels, needed at least 1"),
    "channels of a shared level": (
        lambda: Circuit((2,), (1, 2), (Level(3, (2,), shared=True),)),
        ValueError,
        "level 0 is shared, and its locations differ in channels: needed one number, or shared=False",
    ),
    "channels in a window": (
        lambda: Circuit((2,), 2, (Level((3, 2), (2,)),)),
        ValueError,
        r"level 0 pools locations \[0, 1\] of \[2, 3\] channels: needed one number",
    ),
    "channels of other locations": (
        lambda: Circuit((2,), 2, (Level((3, 2, 1), (2,)),)),
        ValueError,
        "level 0 has channels for 3 locations, its grid has 2",
    ),
    "features of other locations": (
        lambda: Circuit.deep(4, (2, 2)),
        ValueError,
        "got features for 2 locations, the grid 4 has 4",
    ),
    "no features": (lambda: Circuit.deep(4, 0), ValueError, "got 0 features, needed at least one"),
    "no features somewhere": (lambda: Circuit.deep(2, (2, 0)), ValueError, "got 0 features, needed at least one"),
    "classes without dense": (
        lambda: Circuit.shallow(4, 2, 3, classes=2, dense=False),
        ValueError,
        "got 2 classes and dense=False: classes need a dense layer",
    ),
    "no classes": (lambda: Circuit.deep(4, 2, classes=0), ValueError, "got 0 classes, needed at least 1"),
    "unknown pooling": (lambda: Circuit.deep(4, 2, pooling="mean"), ValueError, "unknown pooling='mean': 'product'"),  # type: ignore[arg-type]
    "unknown activation": (lambda: Circuit.deep(4, 2, activation="tanh"), ValueError, "unknown activation='tanh'"),  # type: ignore[arg-type]
    "locations out of range": (
        lambda: Circuit((2,), 2, (Level(2, (2,), locations=(2,)),), dense=False, kind="matrix"),
        ValueError,
        r"level 0 has the locations \(2,\): needed some of 0 .. 1",
    ),
    "number of patches": (
        lambda: DEEP.forward(W, np.ones((2, 5, 2))),
        ValueError,
        r"\(2, 5, 2\), needed \(batch, 4, 2\)",
    ),
    "number of indices": (lambda: DEEP.forward(W, np.ones((2, 5), int)), ValueError, "got 5 patches, needed 4"),
    "number of features": (lambda: DEEP.forward(W, np.ones((2, 4, 3))), ValueError, r"needed \(batch, 4, 2\)"),
    "features without a batch": (
        lambda: DEEP.forward(W, np.ones((4, 2))),
        ValueError,
        r"got features of shape \(4, 2\)",
    ),
    "features as a list": (lambda: DEEP.forward(W, [[0, 1, 1, 0]]), TypeError, "got builtins.list, needed an array"),
    "integers": (
        lambda: DEEP.forward(W, np.ones((2, 4, 2), int)),
        TypeError,
        r"got features of dtype int64, whose products overflow: convert them to float64, or give whole numbers",
    ),
    "index too large": (
        lambda: DEEP.forward(W, np.array([[0, 1, 0, 0], [0, 0, 2, 0]])),
        IndexError,
        "got 2 at patch 2 of input 1, needed a number from 0 to 1",
    ),
    "index too small": (lambda: DEEP.forward(W, np.array([[0, -1, 0, 0]])), IndexError, "got -1 at patch 1 of input 0"),
    "number of weights": (lambda: DEEP.forward(W[:-1], np.ones((2, 4, 2))), ValueError, "got 2 weights instead of 3"),
    "no weights": (lambda: DEEP.forward([], np.ones((2, 4, 2))), ValueError, "got 0 weights instead of 3"),
    "weights of another shape": (
        lambda: DEEP.forward([W[0], W[1][:, :2], W[2]], np.ones((2, 4, 2))),
        ValueError,
        r"got weight 1 of shape \(2, 2, 3\), needed \(2, 3, 3\); circuit.shapes",
    ),
    "weights as lists": (lambda: DEEP.forward([[1.0]], np.ones((2, 4, 2))), TypeError, "needed an array"),
    "log of a maximum": (
        lambda: Circuit.deep(4, 2, 3, pooling="max").forward(W, np.ones((2, 4, 2)), log=True),
        ValueError,
        "log=True keeps scales of products, got pooling='max': use log=False",
    ),
    "complex maximum": (
        lambda: Circuit.deep(4, 2, 3, pooling="max").forward([w + 0j for w in W], np.ones((2, 4, 2))),
        TypeError,
        "got complex numbers and max pooling, which needs an order",
    ),
    "complex features": (
        lambda: DEEP.forward(W, np.ones((2, 4, 2)) + 0j),
        TypeError,
        "got features of dtype complex128 and weights of dtype float64: give complex weights",
    ),
    "factorization of a maximum": (
        lambda: Circuit.deep(4, 2, 3, pooling="max").to_factorization(W),
        ValueError,
        "got max pooling and the activation 'identity'.*grid_tensor",
    ),
    "weights of another kind": (
        lambda: DEEP.weights_of(CPFactorization.random((2,) * 4, 3)),
        ValueError,
        "got a CPFactorization, the circuit is of kind 'hierarchical'",
    ),
    "weights of another tree": (
        lambda: DEEP.weights_of(HTF((2,) * 4, DimensionTree.star(4), 3)),
        ValueError,
        r"the factorization has DimensionTree.star\(4\), the circuit DimensionTree.balanced\(4\)",
    ),
    "weights of other sizes": (
        lambda: DEEP.weights_of(HTF((2, 3, 2, 2), DEEP.tree, 3)),
        ValueError,
        r"matrix of shape \(3, 3\) on level 0 at location 1, the circuit \(2, 3\): Circuit.from_factorization",
    ),
    "weights of other sizes at some locations": (
        lambda: Circuit.shallow(2, (2, 3), 4).weights_of(CPFactorization.random((3, 2), 4, weighted=True)),
        ValueError,
        r"matrix of shape \(3, 4\) on level 0 at location 0, the circuit \(2, 4\)",
    ),
    "weights of another order": (
        lambda: CP.weights_of(CPFactorization.random((2,) * 5, 3, weighted=True)),
        ValueError,
        "the factorization has 5 matrices on level 0, the circuit 4",
    ),
    "no weights of components": (
        lambda: CP.weights_of(CPFactorization.random((2,) * 4, 3)),
        ValueError,
        "the circuit belongs to a CP factorization with weights",
    ),
    "another depth": (
        lambda: Circuit.from_factorization(MatrixFactorization.random((2, 2), 3)).weights_of(
            MatrixFactorization.random((2, 2), 4)
        ),
        ValueError,
        "the factorization has 3 levels, the circuit 2",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), WRONG.values(), ids=WRONG)
def test_wrong_calls(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    "circuit",
    [
        Circuit.deep(4, 3, 2),
        Circuit.deep(4, 3, 2, shared=True),
        Circuit.shallow(4, (3, 2, 2, 4), 2),
        Circuit.from_factorization(MatrixFactorization.random((2, 3), 1)),
        Circuit.from_factorization(MatrixFactorization.random((2, 3), 3)),
    ],
    ids=["unshared", "shared", "features a location", "MF, depth 1", "MF"],
)
def test_numbers_out_of_range_never_read_other_filters(circuit: Circuit, backend_name: str) -> None:
    """NumPy and PyTorch raise; JAX cannot raise on values, and gives NaN."""
    backend = tnrank.get_backend(backend_name)
    weights = circuit.initial_weights(backend=backend_name)
    run = backend.jit(lambda w, f: (circuit.forward(w, f), circuit.forward(w, f, True)[1]))
    for n, size in enumerate(circuit.widths[0]):
        for bad in (-1, -size, size, size + 1, 2**31 - 1):
            features = np.zeros((2, circuit.order), int)
            features[1, n] = bad
            if backend_name == "jax":
                for found in run(weights, backend.asarray(features)):
                    assert np.isfinite(host(found)[0])
                    assert np.isnan(host(found)[1])
                continue
            for log in (False, True):
                with pytest.raises(IndexError, match=f"got {bad} at patch {n} of input 1, .* 0 to {size - 1}"):
                    circuit.forward(weights, backend.asarray(features), log)


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_two_backends(name: str) -> None:
    pytest.importorskip(name)
    other = tnrank.get_backend(name)
    with pytest.raises(TypeError, match=rf"features of {name} and weights of numpy: tnrank.get_backend\('numpy'\)"):
        DEEP.forward(W, other.asarray(np.ones((2, 4, 2))))
    with pytest.raises(TypeError, match="two backends"):
        DEEP.forward([W[0], other.asarray(W[1]), W[2]], np.ones((2, 4, 2)))
