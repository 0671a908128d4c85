"""tnrank_jax.nn in other people's Equinox programs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tests.factorizations.test_values import assert_same, kinds
from tnrank.circuits import Affine, Circuit, CosSin, Embedding, Gaussian, OneHot

jax = pytest.importorskip("jax")
eqx = pytest.importorskip("equinox")
optax = pytest.importorskip("optax")
nn = pytest.importorskip("tnrank_jax.nn")
jnp = jax.numpy

# Every case is compiled and run once.
COMPILED = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def weights_for(circuit, seed=0):
    return circuit.initial_weights(seed, "numpy", "float64", std=0.5)


def hierarchical(circuit):
    return circuit.to_factorization(weights_for(circuit)), {"grid": circuit.grid}


def cp(shape, **keywords):
    return tnrank.CPFactorization.random(shape, rank=4, seed=3, **keywords)


def tied():
    factor = np.random.default_rng(0).standard_normal((3, 4))
    return tnrank.CPFactorization([factor] * 6, np.arange(1.0, 5.0))


CASES = {
    "matrix": lambda: (tnrank.MatrixFactorization.random((5, 4), depth=3, hidden=(2, 6)), {}),
    "matrix of depth 1": lambda: (tnrank.MatrixFactorization.random((3, 4), depth=1), {}),
    "cp": lambda: (cp((3, 2, 4, 2, 3)), {}),
    "cp, weights, plane": lambda: (cp((2,) * 6, weighted=True), {"grid": (2, 3)}),
    "cp, classes": lambda: (cp((2, 3, 2, 5)), {"classes": True}),
    "cp, shared": lambda: (tied(), {}),
    "line, shared": lambda: hierarchical(Circuit.deep(8, 3, (4, 2, 5), shared=True)),
    "line, 4-ary, classes": lambda: hierarchical(Circuit.deep(8, 2, 3, 4, classes=2)),
    "line, ragged, widths": lambda: (
        tnrank.HierarchicalFactorization.random((3, 2, 4, 2, 3), tnrank.DimensionTree.windows(5, 2), width=3, std=0.5),
        {},
    ),
    "plane": lambda: hierarchical(Circuit.deep((4, 4), 2, (3, 4))),
    "plane, shared, ragged, classes": lambda: hierarchical(
        Circuit.deep((3, 4), 2, (3, 2), shared=True, ragged=True, classes=2)
    ),
    "plane, windows 1 x 2": lambda: hierarchical(Circuit.deep((2, 4), 3, 4, [(1, 2), (2, 1), (1, 2)])),
}
FEW = ("matrix", "cp, weights, plane", "plane, shared, ragged, classes")
"""Of the cases that are compiled with all their derivatives, those of the quick suite: a second each."""
cases = pytest.mark.parametrize(
    "make", [pytest.param(CASES[name], id=name, marks=() if name in FEW else pytest.mark.slow) for name in CASES]
)


def contracted(x, features):
    """The tensor, contracted with one vector a mode; a mode without features stays."""
    found = []
    for vectors in features:
        tensor = x.to_dense()
        for d, vector in zip(x.shape, vectors, strict=False):
            tensor = np.tensordot(vector[:d], tensor, axes=(0, 0))
        found.append(tensor)
    return np.stack(found)


def entries_of(x, index, classes):
    if classes == 1:
        return x.entries(index)
    every = [np.column_stack([index, np.full(len(index), k)]) for k in range(classes)]
    xp = x.backend.xp
    return xp.stack([x.entries(rows) for rows in every], axis=1)


def check(x, keywords):
    module = nn.ConvolutionalArithmeticCircuit.from_factorization(x, **keywords)
    circuit = module.circuit
    assert_same(module.value().to("numpy"), x)
    assert_same(module.value().to("numpy"), x)
    rng = np.random.default_rng(1)
    index = np.stack([rng.integers(d, size=4) for d in x.shape[: circuit.order]], axis=1)
    widest = max(circuit.widths[0])
    features = rng.standard_normal((4, circuit.order, widest))
    outputs = (4, circuit.classes) if circuit.classes > 1 else (4,)
    directions = jnp.asarray(rng.standard_normal(outputs))

    def by_circuit(module, log):
        found = module(index, log=log)
        return jnp.vdot(directions, found[0] * jnp.exp(found[1]) if log else found)

    def by_entries(weights):
        return jnp.vdot(directions, entries_of(circuit.to_factorization(weights), index, circuit.classes))

    @COMPILED
    def everything(module, features):
        outputs = module(index), module(features), module(features, log=True)
        gradients = [eqx.filter_grad(by_circuit)(module, log).weights for log in (False, True)]
        return outputs, gradients, jax.grad(by_entries)(module.weights)

    (by_index, by_features, (sign, size)), gradients, expected = everything(module, features)
    np.testing.assert_allclose(by_index, entries_of(x, index, circuit.classes), rtol=1e-12, atol=1e-12)
    wanted = contracted(x, features)
    # Relative to the largest number that is added up, which may be larger than the sum.
    scale = abs(wanted).max()
    np.testing.assert_allclose(by_features, wanted, rtol=1e-12, atol=1e-12 * scale)
    np.testing.assert_allclose(sign * np.exp(size), wanted, rtol=1e-12, atol=1e-12 * scale)
    for got in gradients:
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * max(1.0, float(abs(b).max())))


@cases
def test_circuit_is_the_factorization(make):
    check(*make())


@pytest.mark.slow
@settings(max_examples=3)
@given(st.data())
def test_any_architecture(data):
    plane, shared = data.draw(st.booleans(), "plane"), data.draw(st.booleans(), "shared")
    side = st.integers(1, 3)
    grid = (data.draw(side), data.draw(side)) if plane else (data.draw(st.integers(1, 9)),)
    window, classes = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 3))
    levels = len(Circuit.deep(grid, 2, 2, window, ragged=True).levels)
    channels = data.draw(st.lists(st.integers(1, 4), min_size=levels, max_size=levels))
    features = data.draw(st.integers(1, 3))
    check(*hierarchical(Circuit.deep(grid, features, channels, window, classes=classes, shared=shared, ragged=True)))


@pytest.mark.parametrize(("pooling", "activation"), [("max", "identity"), ("average", "relu"), ("sum", "relu")])
def test_other_pooling(pooling, activation):
    circuit = Circuit.deep((3, 3), 2, 4, ragged=True, classes=2, pooling=pooling, activation=activation)
    module = nn.ConvolutionalArithmeticCircuit(circuit, dtype="float64")
    features = np.random.default_rng(0).standard_normal((5, 9, 2))
    weights = [np.asarray(w) for w in module.weights]

    def squared(module, features):
        outputs = module(features)
        return (outputs**2).sum(), outputs

    loss = COMPILED(jax.value_and_grad(squared, has_aux=True))
    (value, outputs), grads = loss(module, features)
    # written out: windows of a 3 x 3 grid
    x = np.einsum("bnd,ndr->bnr", features, weights[0])
    windows = [[0, 1, 3, 4], [2, 5], [6, 7], [8]]
    for weight in (weights[1], None):
        x = np.maximum(x, 0) if activation == "relu" else x
        fold = {"max": np.max, "average": np.mean, "sum": np.sum}[pooling]
        x = np.stack([fold(x[:, w], axis=1) for w in windows], axis=1)
        windows = [[0, 1, 2, 3]]
        x = x if weight is None else np.einsum("bnd,ndr->bnr", x, weight)
    np.testing.assert_allclose(outputs, x[:, 0] @ weights[2], rtol=1e-12)
    np.testing.assert_allclose(value, ((x[:, 0] @ weights[2]) ** 2).sum(), rtol=1e-12)
    step = np.random.default_rng(1).standard_normal(weights[0].shape)
    shifted = [eqx.tree_at(lambda m: m.weights[0], module, weights[0] + s * 1e-6 * step) for s in (1, -1)]
    slope = np.subtract(*(float(loss(m, features)[0][0]) for m in shifted)) / 2e-6
    np.testing.assert_allclose(slope, np.vdot(grads.weights[0], step), rtol=1e-6)
    with pytest.raises(ValueError, match="pool"):
        module.value()
    with pytest.raises(ValueError, match="log=True"):
        module(features, log=True)


REPRESENTATIONS = {
    "cos and sin": (CosSin(), lambda rng: rng.uniform(size=(3, 4, 1))),
    "affine": (Affine(3, patch=2), lambda rng: rng.uniform(size=(3, 4, 2))),
    "gaussian": (Gaussian(3, patch=2), lambda rng: rng.uniform(size=(3, 4, 2))),
    "embedding": (Embedding(3, values=5), lambda rng: rng.integers(5, size=(3, 4))),
    "one-hot": (OneHot(3), lambda rng: rng.integers(3, size=(3, 4))),
}


@pytest.mark.parametrize(("representation", "draw"), REPRESENTATIONS.values(), ids=REPRESENTATIONS)
def test_representations(representation, draw):
    inputs = draw(np.random.default_rng(0))
    module = nn.ConvolutionalArithmeticCircuit.from_sizes(
        (2, 2), channels=3, classes=2, representation=representation, dtype="float64"
    )
    assert sorted(module.representation) == sorted(representation.shapes)
    host = {name: np.asarray(a) for name, a in module.representation.items()}
    wanted = module.circuit.forward([np.asarray(w) for w in module.weights], representation(host, inputs))
    everything = COMPILED(
        lambda m, x: (m(x), jax.vmap(m)(x), m(x[0]), eqx.filter_grad(lambda m: m(x).sum())(m).representation)
    )
    at_once, mapped, first, grads = everything(module, inputs)
    np.testing.assert_allclose(at_once, wanted, rtol=1e-12)
    np.testing.assert_allclose(mapped, wanted, rtol=1e-12)
    np.testing.assert_allclose(first, wanted[0], rtol=1e-12)
    if inputs.ndim == 3:
        images = np.moveaxis(inputs, 1, 2).reshape(3, -1, 2, 2)
        np.testing.assert_allclose(COMPILED(lambda m, x: m(x))(module, images), wanted, rtol=1e-12)
    assert all(abs(np.asarray(g)).max() > 0 for g in grads.values())


@pytest.mark.parametrize("dtype", [None, "bfloat16", jnp.float32])
def test_dtypes(dtype):
    module = nn.ConvolutionalArithmeticCircuit.from_sizes(8, 2, 3, dtype=dtype)
    wanted = "float64" if dtype is None else jnp.dtype(dtype).name
    assert {w.dtype.name for w in module.weights} == {wanted}
    index = np.zeros((2, 8), int)
    outputs = eqx.filter_jit(module)(index)
    assert outputs.dtype.name == wanted == module.value().dtype
    exact = Circuit.deep(8, 2, 3).forward([np.asarray(w, np.float64) for w in module.weights], index)
    np.testing.assert_allclose(np.asarray(outputs, np.float64), exact, rtol=20 * float(jnp.finfo(wanted).eps))


def test_same_weights_as_everywhere():
    circuit = Circuit.deep((4, 4), channels=3, classes=2, representation=Gaussian(4, patch=2))
    module = nn.ConvolutionalArithmeticCircuit(circuit, seed=7, dtype="float32", std=0.1)
    for a, b in zip(module.weights, circuit.initial_weights(7, "numpy", "float32", std=0.1), strict=True):
        np.testing.assert_array_equal(a, b)
    for name, array in circuit.representation.initial(7, "numpy", "float32").items():
        np.testing.assert_array_equal(module.representation[name], array)
    sample = np.random.default_rng(0).uniform(size=(8, 16, 2)).astype("float32")
    fitted = nn.ConvolutionalArithmeticCircuit(circuit, seed=7, dtype="float32", sample=sample)
    features = circuit.represent(circuit.representation.initial(7, "numpy", "float32"), sample)
    for a, b in zip(fitted.weights, circuit.initial_weights(7, "numpy", "float32", sample=features), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Model(eqx.Module):
    """A circuit and other layers, as in anybody's program."""

    before: eqx.nn.Linear
    circuit: nn.ConvolutionalArithmeticCircuit
    after: eqx.nn.Sequential

    def __init__(self, circuit, seed):
        keys = jax.random.split(jax.random.key(seed), 2)
        self.before = eqx.nn.Linear(3, 2, key=keys[0])
        self.circuit = circuit
        self.after = eqx.nn.Sequential(
            [nn.FactorizedLinear(4, 4, rank=(5,), seed=0), eqx.nn.Lambda(jax.nn.log_softmax)]
        )

    def __call__(self, x):
        return self.after(self.circuit(jax.vmap(self.before)(x)))


def train(model, inputs, labels, steps, rate=2e-2):
    optimizer = optax.adam(rate)
    state = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        def loss(model):
            return -jnp.take_along_axis(jax.vmap(model)(inputs), labels[:, None], axis=1).mean()

        value, grads = eqx.filter_value_and_grad(loss)(model)
        updates, state = optimizer.update(grads, state)
        return eqx.apply_updates(model, updates), state, value

    losses = []
    for _ in range(steps):
        model, state, value = step(model, state)
        losses.append(float(value))
    return model, losses


def test_inside_a_model(tmp_path):
    circuit = Circuit.deep((2, 2), features=2, channels=4, classes=4)
    model = Model(nn.ConvolutionalArithmeticCircuit(circuit), seed=0)
    rng = np.random.default_rng(0)
    inputs, labels = jnp.asarray(rng.standard_normal((16, 4, 3))), jnp.asarray(rng.integers(4, size=16))
    trained, losses = train(model, inputs, labels, 100)
    assert losses[-1] < 0.2 < 1 < losses[0]
    path = str(tmp_path / "model.eqx")
    eqx.tree_serialise_leaves(path, trained)
    other = eqx.filter_eval_shape(Model, nn.ConvolutionalArithmeticCircuit(circuit, seed=1), seed=1)
    assert_same(eqx.tree_deserialise_leaves(path, other).circuit.value(), trained.circuit.value())


def test_inside_sequential():
    circuit = nn.ConvolutionalArithmeticCircuit.from_sizes(4, 2, 3, classes=5)
    model = eqx.nn.Sequential([eqx.nn.Lambda(jnp.cos), circuit, eqx.nn.Lambda(jnp.tanh)])
    x = np.random.default_rng(0).standard_normal((2, 4, 2))
    np.testing.assert_array_equal(model(x), jnp.tanh(circuit(jnp.cos(x))))


# Without logarithms, products of 784 change by as many times the step.
@pytest.mark.parametrize(
    ("representation", "log", "rate"),
    [
        pytest.param(Affine(4), False, 1e-4, id="plain", marks=pytest.mark.slow),
        pytest.param(CosSin(), True, 1e-3, id="log"),
    ],
)
def test_order_784_trains(representation, log, rate):
    circuit = Circuit.deep((28, 28), channels=4, classes=3, ragged=True, representation=representation)
    rng = np.random.default_rng(0)
    # three images, with noise
    labels = rng.integers(3, size=24)
    images = rng.uniform(size=(3, 784, 1))[labels] + 0.1 * rng.standard_normal((24, 784, 1))
    inputs = jnp.asarray(images, jnp.float32)
    module = nn.ConvolutionalArithmeticCircuit(circuit, dtype="float32")
    optimizer = optax.adam(rate)

    @jax.jit
    def step(module, state):
        def loss(m):
            logits = m(inputs, log=True)[1] if log else m(inputs)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, grads = jax.value_and_grad(loss)(module)
        updates, state = optimizer.update(grads, state)
        return eqx.apply_updates(module, updates), state, value

    state, losses = optimizer.init(module), []
    for _ in range(50):
        module, state, value = step(module, state)
        losses.append(float(value))
    assert np.isfinite(losses).all()
    assert all(bool(jnp.isfinite(w).all()) for w in module.weights)
    assert min(losses) < 0.6 < 1 < losses[0] < 1.3


def test_arrays_are_leaves_and_the_rest_is_static():
    module = nn.ConvolutionalArithmeticCircuit.from_sizes(4, 2, 3, representation=None)
    leaves, structure = jax.tree.flatten(module)
    assert [leaf.shape for leaf in leaves] == list(module.circuit.shapes)
    # any leaves at all, unchecked, as transformations need it
    names = jax.tree.unflatten(structure, ["a", "b", "c"])
    assert names.weights == ("a", "b", "c")
    assert "1x1 convolution to 3 channels" in repr(names)
    assert jax.tree.structure(nn.ConvolutionalArithmeticCircuit(module.circuit, seed=1)) == structure
    for other in (nn.Factorization(cp((2, 2))), nn.FactorizedLinear(2, 3, rank=1, seed=0)):
        structure = jax.tree.structure(other)
        empty = jax.tree.unflatten(structure, [None] * structure.num_leaves)
        assert type(other).__name__ in repr(empty)


def test_gradients_reach_the_arrays_of_a_factorization():
    x = tnrank.MatrixFactorization.random((3, 2), depth=2, backend="jax", dtype="float64")
    index = np.array([[0, 1], [2, 0]])
    make = nn.ConvolutionalArithmeticCircuit.from_factorization
    got = jax.jit(jax.grad(lambda x: make(x)(index).sum()))(x)
    wanted = jax.jit(jax.grad(lambda x: x.entries(index).sum()))(x)
    for a, b in zip(got.arrays.values(), wanted.arrays.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_bad_input():
    with pytest.raises(
        TypeError, match=r"got MatrixFactorization, needed a Circuit such as .*\.from_factorization\(x\)"
    ):
        nn.ConvolutionalArithmeticCircuit(tnrank.MatrixFactorization.random((2, 2)))
    with pytest.raises(TypeError, match="got TensorTrain, a circuit computes"):
        nn.ConvolutionalArithmeticCircuit.from_factorization(tnrank.TensorTrain.random((2, 2), 1))
    module = nn.ConvolutionalArithmeticCircuit.from_sizes(4, 2, 3)
    with pytest.raises(ValueError, match="needed \\(batch, 4, 2\\)"):
        module(np.zeros((3, 4, 3)))
    with pytest.raises(ValueError, match="got inputs of shape"):
        module(np.zeros((3, 5, 2)))
    with pytest.raises(TypeError, match="got ndarray, needed a factorization such as"):
        nn.Factorization(np.eye(3))


# factorizations


@kinds
def test_factorization_holds_and_gives_back(make):
    x = make(dtype="float64")
    module = nn.Factorization(x)
    assert_same(module.value(), x.to("jax"))
    assert len(jax.tree.leaves(module)) == len(x.arrays)
    index = np.array([[0] * x.ndim, [d - 1 for d in x.shape], [1] * x.ndim])
    dense, by_index = eqx.filter_jit(lambda m: (m(), m(index)))(module)
    np.testing.assert_allclose(dense, x.to_dense(), rtol=1e-12)
    np.testing.assert_allclose(by_index, x.entries(index), rtol=1e-12)
    np.testing.assert_allclose(eqx.filter_jit(module)(jnp.asarray(index)), x.entries(index), rtol=1e-12)
    got = eqx.filter_jit(eqx.filter_grad(lambda m, i: m(i).sum()))(module, jnp.asarray(index))
    wanted = jax.jit(jax.grad(lambda y: y.entries(index).sum()))(x.to("jax"))
    for a, b in zip(got.value().arrays.values(), wanted.arrays.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    assert repr(x.to("jax")).splitlines()[0] in repr(module)


def test_factorization_indices():
    x = tnrank.TensorTrain.random((3, 4, 2), 2, backend="jax", dtype="float64")
    run = eqx.filter_jit(nn.Factorization(x))
    got = run(jnp.array([[2, 3, 1], [0, 4, 0], [3, 0, 0]]))
    np.testing.assert_allclose(got[0], x.to_dense()[2, 3, 1], rtol=1e-12)
    assert np.isnan(got[1:]).all()
    with pytest.raises(ValueError, match=r"indices have shape \(M, 3\), one column a mode, got \(1, 2\)"):
        run(jnp.array([[0, 0]]))
    with pytest.raises(ValueError, match="out of range for mode 1 of dimension 4"):
        nn.Factorization(x)(np.array([[0, 4, 0]]))


def test_factorization_serializes(tmp_path):
    make = tnrank.HierarchicalFactorization.random
    one, two = (nn.Factorization(make((3, 4, 2), width=2, seed=k)) for k in (0, 1))
    path = str(tmp_path / "x.eqx")
    eqx.tree_serialise_leaves(path, one)
    assert_same(eqx.tree_deserialise_leaves(path, two).value(), one.value())
