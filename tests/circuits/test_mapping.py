"""Circuits as factorizations and back: outputs, parameters bit for bit, derivatives; the dense tensor is the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.circuits.strategies import (
    circuits,
    contracted,
    deep_circuits,
    features_for,
    host,
    numbers,
    output,
    shallow_circuits,
    vectors,
    weights_for,
)
from tests.factorizations.strategies import (
    cp_factorizations,
    dense,
    matrix_factorizations,
)
from tnrank import CPFactorization, DimensionTree, HierarchicalFactorization, MatrixFactorization
from tnrank.circuits import Circuit, Level, OneHot

try:
    import torch
except ImportError:
    torch = None

NAMED = {
    "line": Circuit.deep(8, 2, 3),
    "line, shared": Circuit.deep(8, 2, 3, shared=True, classes=3),
    "line, windows of 4": Circuit.deep(8, 2, 3, window=[4, 2]),
    "line, ragged": Circuit.deep(7, 2, [3, 2, 4], ragged=True, classes=2),
    "line, ragged and shared": Circuit.deep(5, 3, 2, window=3, shared=True, ragged=True),
    "plane": Circuit.deep((4, 2), 2, 3),
    "plane, shared": Circuit.deep((2, 4), 2, 3, shared=True),
    "plane, ragged": Circuit.deep((3, 3), 2, [2, 3], ragged=True, classes=4),
    "plane, other windows": Circuit.deep((2, 4), 2, 3, window=[(1, 2), (2, 1), (1, 2)]),
    "channels a location": Circuit((4,), (1, 2, 3, 2), (Level((2, 2, 3, 3), (2,)), Level((4, 4), (2,)))),
    "CP": Circuit.shallow(5, 2, 4, dense=False),
    "CP, weights": Circuit.shallow((2, 3), 2, 4),
    "CP, classes, shared": Circuit.shallow(5, 2, 4, classes=3, shared=True),
    "MF": Circuit.from_factorization(MatrixFactorization.random((3, 4), 4, [2, 5, 3])),
    "MF, depth 1": Circuit.from_factorization(MatrixFactorization.random((3, 4), 1)),
    "one patch": Circuit.deep(1, 3, 2, classes=2),
}
named = pytest.mark.parametrize("circuit", NAMED.values(), ids=NAMED)


def draw_weights(circuit: Circuit, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(seed)
    return [np.where(w == 0, 0, generator.standard_normal(w.shape)) for w in circuit.initial_weights(std=0.5)]


def draw_features(circuit: Circuit, batch: int = 5, seed: int = 1) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((batch, circuit.order, max(circuit.widths[0])))


def check(got: Any, wanted: Any, size: Any, rtol: float = 1e-12) -> None:
    wanted = wanted.reshape(got.shape)
    assert (abs(got - wanted) <= rtol * size.reshape(wanted.shape)).all()


@given(st.data())
def test_output_is_the_tensor_contracted(data: Any) -> None:
    circuit = data.draw(circuits())
    weights, features = data.draw(weights_for(circuit)), data.draw(features_for(circuit))
    wanted, size = output(circuit, weights, features)
    got = circuit.forward(weights, features)
    assert got.shape == ((len(features),) if circuit.classes == 1 else (len(features), circuit.classes))
    check(got, wanted, size)
    sign, logs = circuit.forward(weights, features, log=True)
    check(sign * np.exp(logs), wanted, size)


@pytest.mark.few_on_jax("plane, ragged", "channels a location", "CP, classes, shared")
@named
def test_output_on_every_backend(circuit: Circuit, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    weights, features = draw_weights(circuit), draw_features(circuit)
    features[0, 0, 0] = features[1, :, 0] = 0
    run = backend.jit(lambda w, f: (circuit.forward(w, f), *circuit.forward(w, f, True)))
    for given_features in (features, np.zeros((3, circuit.order), int)):
        wanted, size = output(circuit, weights, given_features)
        found = run([backend.asarray(w) for w in weights], backend.asarray(given_features))
        assert all(tnrank.backend_of(a) is backend and backend.dtype_of(a) == "float64" for a in found)
        plain, sign, logs = map(host, found)
        check(plain, wanted, size)
        check(sign * np.exp(logs), wanted, size)


@named
def test_output_is_what_quimb_contracts(circuit: Circuit) -> None:
    quimb = pytest.importorskip("quimb.tensor")
    weights, features = draw_weights(circuit), draw_features(circuit, batch=1)
    x = circuit.to_factorization(weights)
    network = x.network
    tensors = [
        quimb.Tensor(x.arrays[name], [str(label) for label in labels]) for name, labels in network.tensors.items()
    ]
    outputs = [str(label) for label in network.output]
    for label, vector in zip(outputs, vectors(circuit, features), strict=False):
        tensors.append(quimb.Tensor(vector[0], [label]))
    found = quimb.TensorNetwork(tensors).contract(output_inds=outputs[circuit.order :])
    found = found.data if isinstance(found, quimb.Tensor) else found
    assert np.allclose(circuit.forward(weights, features)[0], found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("circuit", [NAMED["channels a location"], NAMED["MF"]])
def test_padding_is_not_read(circuit: Circuit, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    weights, features = draw_weights(circuit), draw_features(circuit)
    wanted = circuit.forward(weights, features)
    for n, size in enumerate(circuit.widths[0]):
        features[:, n, size:] = 7.0
    filled = [np.where(w == 0, np.nan, w) for w in weights]
    assert any(np.isnan(w).any() for w in filled)
    got = backend.jit(circuit.forward)([backend.asarray(w) for w in filled], backend.asarray(features))
    assert np.allclose(host(got), wanted, rtol=1e-13)
    x, y = circuit.to_factorization(weights), circuit.to_factorization(filled)
    assert all(np.array_equal(a, b) for a, b in zip(x.arrays.values(), y.arrays.values(), strict=True))


@given(st.data())
def test_weights_survive_bit_for_bit(data: Any) -> None:
    circuit = data.draw(circuits())
    weights = data.draw(weights_for(circuit))
    x = circuit.to_factorization(weights)
    back = circuit.weights_of(x)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(weights, back, strict=True))
    again = circuit.to_factorization(back)
    assert all(np.array_equal(a, b) for a, b in zip(x.arrays.values(), again.arrays.values(), strict=True))


@given(st.one_of(cp_factorizations(), matrix_factorizations()))
def test_factorizations_survive_bit_for_bit(x: tnrank.Factorization) -> None:
    circuit = Circuit.from_factorization(x)
    weights = circuit.weights_of(x)
    y = circuit.to_factorization(weights)
    assert type(y) is type(x)
    assert all(np.array_equal(a, b) for a, b in zip(x.arrays.values(), y.arrays.values(), strict=True))
    features = np.stack([np.random.default_rng(0).integers(0, d, 3) for d in x.shape], axis=1)
    assert np.allclose(circuit.forward(weights, features), x.entries(features), rtol=1e-11, atol=1e-13)


TREES = {
    "windows(7, 3)": DimensionTree.windows(7, 3),
    "balanced(8)": DimensionTree.balanced(8),
    "balanced(9, 3)": DimensionTree.balanced(9, 3),
    "star(4)": DimensionTree.star(4),
    "quad(3, 3)": DimensionTree.quad(3, 3),
    "quad(2, 4)": DimensionTree.quad(2, 4),
    "quad(4, 2)": DimensionTree.quad(4, 2),
    "one mode": DimensionTree((0,)),
    "a chain of unary nodes": DimensionTree(((((0,), (1,)),),)),
}


@pytest.mark.few_on_jax("3-windows(7, 3)", "1-one mode")
@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
@pytest.mark.parametrize("classes", [1, 3])
def test_hierarchies_survive_bit_for_bit(tree: DimensionTree, classes: int, backend_name: str) -> None:
    generator, backend = np.random.default_rng(0), tnrank.get_backend(backend_name)
    width = {node: int(generator.integers(1, 4)) for node in tree.interior}
    matrices = {}
    for node in tree.nodes:
        parent = tree.parent(node)
        rows = width[node] if node.height else int(generator.integers(1, 4))
        shape = (rows, classes if parent is None else width[parent])
        matrices[node] = backend.asarray(generator.standard_normal(shape))
    x = HierarchicalFactorization(tree, matrices)
    circuit = Circuit.from_factorization(x)
    y = circuit.to_factorization(circuit.weights_of(x))
    assert y.tree == tree
    assert circuit.classes == classes
    assert all(np.array_equal(host(y.matrices[n]), host(matrices[n])) for n in tree.nodes)
    assert all(tnrank.backend_of(a) is backend for a in y.arrays.values())
    features = generator.standard_normal((4, circuit.order, max(circuit.widths[0])))
    plain = HierarchicalFactorization(tree, {n: host(m) for n, m in matrices.items()})
    modes = vectors(circuit, features)
    wanted, size = contracted(dense(plain), modes), contracted(dense(plain.map(abs)), [abs(m) for m in modes])
    check(circuit.forward(circuit.weights_of(plain), features), wanted, size)


@given(st.one_of(deep_circuits(), shallow_circuits()))
def test_circuit_is_found_again(circuit: Circuit) -> None:
    """With the grid, and for a CP whether its last mode is classes, which a tensor does not tell."""
    x = circuit.to_factorization(circuit.initial_weights())
    many = circuit.kind == "cp" and circuit.classes > 1
    assert Circuit.from_factorization(x, grid=circuit.grid, classes=many) == circuit


@pytest.mark.parametrize("grid", [(8,), (4, 4), (2, 4), (4, 8), (7,), (3, 5), (9, 9)])
@pytest.mark.parametrize("shared", [False, True])
def test_deep_circuit_is_found_again_without_its_grid(grid: tuple[int, ...], shared: bool) -> None:
    circuit = Circuit.deep(grid, 2, 3, shared=shared, ragged=True, classes=2)
    assert Circuit.from_factorization(circuit.to_factorization(circuit.initial_weights())) == circuit


def test_what_a_tensor_does_not_tell() -> None:
    flat = Circuit.deep((2, 4), 2, 3, window=[(1, 4), (2, 1)])
    assert Circuit.from_factorization(flat.to_factorization(flat.initial_weights())).grid == (8,)
    named = Circuit.deep(4, representation=OneHot(3), channels=2)
    assert Circuit.from_factorization(named.to_factorization(named.initial_weights())).representation is None


def test_shared_level_is_one_array_at_all_nodes(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    circuit = Circuit.deep((4, 4), 2, 3, shared=True)
    weights = circuit.initial_weights(backend=backend_name)
    x = circuit.to_factorization(weights)
    for level, nodes in enumerate(circuit.nodes):
        assert all(x.matrices[node] is weights[level] for node in nodes)
    assert all(a is b for a, b in zip(circuit.weights_of(x), weights, strict=True))
    assert Circuit.from_factorization(x) == circuit
    copies = x.map(lambda a: backend.asarray(host(a).copy()))
    assert not Circuit.from_factorization(copies).levels[0].shared
    tied = Circuit.from_factorization(copies, shared=True)
    assert tied == circuit
    assert all(np.array_equal(host(a), host(b)) for a, b in zip(tied.weights_of(copies), weights, strict=True))
    with pytest.raises(ValueError, match="another array"):
        Circuit.from_factorization(HierarchicalFactorization.random((2,) * 16, circuit.tree, 3), shared=True)


def derivatives(circuit: Circuit, weights: Any, features: Any, backend_name: str, what: str) -> list[Any]:
    """Derivatives of a weighted sum of outputs, or of their logarithms, with respect to weights and features."""
    backend = tnrank.get_backend(backend_name)

    def loss(arrays: Any) -> Any:
        *w, z = arrays
        if what in ("plain", "log"):
            y = circuit.forward(w, z, log=True)[1] if what == "log" else circuit.forward(w, z)
        else:
            tensor = circuit.to_factorization(w).to_dense()
            letters, rest = "abcdefghi"[: circuit.order], "y" if circuit.classes > 1 else ""
            modes = [z[:, n, :size] for n, size in enumerate(circuit.widths[0])]
            equation = ",".join([letters + rest, *(f"z{letter}" for letter in letters)])
            y = torch.einsum(f"{equation}->z{rest}", tensor, *modes)
            y = y if what == "dense" else abs(y).log()
        y = y @ backend.asarray(np.arange(1.0, circuit.classes + 1)) if circuit.classes > 1 else y
        return backend.xp.sum(y * backend.asarray(np.cos(np.arange(y.shape[0]))))

    arrays = [backend.asarray(a) for a in [*weights, features]]
    return [host(g) for g in backend.jit(backend.value_and_grad(loss))(arrays)[1]]


def check_derivatives(circuit: Circuit, weights: Any, features: Any, backend_name: str) -> None:
    for mine, oracle in (("plain", "dense"), ("log", "log of dense")):
        got = derivatives(circuit, weights, features, backend_name, mine)
        wanted = derivatives(circuit, weights, features, "torch", oracle)
        for a, b in zip(got, wanted, strict=True):
            assert np.allclose(a, b, rtol=1e-10, atol=1e-10 * abs(b).max())


@pytest.mark.parametrize(
    ("name", "backend_name"),
    [(name, "torch") for name in NAMED]
    + [(name, "jax") for name in ("plane, ragged", "channels a location", "CP, weights")]
    + [pytest.param(name, "jax", marks=pytest.mark.slow) for name in ("line, shared", "MF")],
)
def test_derivatives_are_those_of_the_dense_contraction(name: str, backend_name: str) -> None:
    if {backend_name, "torch"} - set(tnrank.available_backends()):
        pytest.skip("needs torch, whose derivatives of the dense contraction are the oracle")
    circuit = NAMED[name]
    weights, features = draw_weights(circuit), draw_features(circuit, batch=3)
    # Exact zeros of some factors, and a channel that vanishes for some inputs.
    features[0, -1, 0] = 0
    weights[0][..., 0] = np.where(np.arange(weights[0].shape[-2]) % 2, weights[0][..., 0], 0)
    check_derivatives(circuit, weights, features, backend_name)


@pytest.mark.skipif(torch is None, reason="needs torch")
@given(st.data())
def test_derivatives_of_any_circuit(data: Any) -> None:
    circuit = data.draw(circuits())
    weights = data.draw(weights_for(circuit))
    features = data.draw(numbers(circuit))
    check_derivatives(circuit, weights, features, "torch")


@pytest.mark.few_on_jax("jax-1")
@pytest.mark.parametrize("zeros", [1, 2])
@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_derivatives_where_a_product_is_zero(zeros: int, backend_name: str) -> None:
    """Channel 0 of a shallow circuit of order 8 is zero at one or two locations, channel 1 is not."""
    if {backend_name, "torch"} - set(tnrank.available_backends()):
        pytest.skip("needs torch, whose derivatives of the dense contraction are the oracle")
    circuit = Circuit.shallow(8, 2, 2, dense=False)
    weights, features = draw_weights(circuit), draw_features(circuit, batch=3)
    weights[0][:zeros, :, 0] = 0
    check_derivatives(circuit, weights, features, backend_name)
    for what in ("plain", "log"):
        got = derivatives(circuit, weights, features, backend_name, what)[0]
        assert (abs(got[0, :, 0]).max() > 0) == (zeros == 1)
        assert not got[2:, :, 0].any()


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_derivatives_of_shared_arrays_add_up() -> None:
    circuit = Circuit.deep(4, 2, 3, shared=True)
    weights = [w.requires_grad_() for w in circuit.initial_weights(seed=0, backend="torch", dtype="float64")]
    features = torch.tensor(draw_features(circuit, batch=3))
    x = circuit.to_factorization(weights)
    dense_output_of = torch.einsum("abcd,za,zb,zc,zd->z", x.to_dense(), *features.unbind(1))
    dense_output_of.square().sum().backward()
    by_factorization = [w.grad.clone() for w in weights]
    for w in weights:
        w.grad = None
    circuit.forward(weights, features).square().sum().backward()
    for a, w in zip(by_factorization, weights, strict=True):
        assert a.abs().max() > 0
        assert torch.allclose(a, w.grad, rtol=1e-10, atol=1e-12)


def test_classes_are_the_last_mode_of_a_cp_factorization() -> None:
    x = CPFactorization.random((2, 3, 2, 5), 4)
    circuit = Circuit.from_factorization(x, classes=True)
    assert circuit.classes == 5
    assert circuit.order == 3
    features = draw_features(circuit)
    check(
        circuit.forward(circuit.weights_of(x), features),
        contracted(dense(x), vectors(circuit, features)),
        contracted(dense(x.map(abs)), [abs(m) for m in vectors(circuit, features)]),
    )
    with pytest.raises(ValueError, match=r"factors\[-1\] \* x\.weights"):
        Circuit.from_factorization(CPFactorization.random((2, 3), 4, weighted=True), classes=True)
    with pytest.raises(ValueError, match="two classes or more"):
        Circuit.from_factorization(CPFactorization.random((2, 3, 1), 4), classes=True)
