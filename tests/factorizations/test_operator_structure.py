"""Tensor train operators as values: pytrees, compiled and differentiated products, files, printing, ranks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import matrix_of, operators
from tests.factorizations.test_pytrees import loss_of
from tests.factorizations.test_values import DTYPES, assert_same
from tnrank import TensorTrainOperator


def make(**options):
    return TensorTrainOperator.random((2, 3), (3, 2), rank=2, **options)


def test_repr():
    assert repr(TensorTrainOperator.random((4, 4, 2), (4, 4, 2), rank=3, dtype="float32")).splitlines() == [
        "TensorTrainOperator of order 6: 4 x 4 x 2 x 4 x 4 x 2, 204 parameters, float32, numpy",
        "  32 x 32: rows 4 x 4 x 2, columns 4 x 4 x 2",
        "  ranks 3, 3",
    ]
    assert repr(TensorTrainOperator([np.ones((2, 3))])).splitlines()[1:] == ["  2 x 3: rows 2, columns 3"]


def test_network_of_labeled_cores():
    network = TensorTrainOperator.random((2,) * 3, (2,) * 3).network
    assert network.tensors == {
        "core 0": ("o0", "i0", "r1"),
        "core 1": ("r1", "o1", "i1", "r2"),
        "core 2": ("r2", "o2", "i2"),
    }
    assert network.output == ("o0", "o1", "o2", "i0", "i1", "i2")


@given(st.data())
def test_cores_make_the_same_operator(data):
    A = data.draw(operators())
    assert_same(A, TensorTrainOperator(A.cores))
    short = [*A.cores]
    short[0] = short[0][0]
    if len(short) > 1:
        short[-1] = short[-1][..., 0]
        assert_same(A, TensorTrainOperator(short))
    assert [core.shape for core in A.cores] == list(
        zip((1, *A.tt_ranks), A.row_shape, A.column_shape, (*A.tt_ranks, 1), strict=True)
    )


# files, copies


@pytest.mark.parametrize("count", [1, 2, 4])
def test_files_copies_and_pickles(backend_name, count, tmp_path):
    for dtype in DTYPES[backend_name]:
        A = TensorTrainOperator.random((2,) * count, (3,) * count, rank=2, backend=backend_name, dtype=dtype)
        A.save(tmp_path / "A.safetensors")
        back = tnrank.load(tmp_path / "A.safetensors")
        assert (back.backend.name, back.dtype) == (backend_name, dtype)
        assert_same(A, back)
    for twin in (pickle.loads(pickle.dumps(A)), copy.deepcopy(A), copy.copy(A)):
        assert_same(A, twin)


# pytrees


def test_jax():
    jax = pytest.importorskip("jax")
    A = make(backend="jax", dtype="float64")
    leaves, structure = jax.tree.flatten(A)
    assert_same(A, jax.tree.unflatten(structure, leaves))
    assert jax.tree.structure(make(backend="jax", seed=5)) == structure
    jax.tree.map(lambda _: None, A)
    v, traces = jax.numpy.arange(6.0), []

    @jax.jit
    def fn(A):
        traces.append(repr(A))
        return A @ v, A.norm(), A.component_norms()

    for seed in (0, 1):
        found = fn(make(backend="jax", dtype="float64", seed=seed))
        host = make(seed=seed)
        np.testing.assert_allclose(found[0], host @ np.asarray(v), atol=1e-12)
        np.testing.assert_allclose(found[1], host.norm(), rtol=1e-12)
    assert len(traces) == 1
    target = np.ones((2, 3, 3, 2))
    gradient = jax.grad(loss_of)(A, target)
    for ours, expected in zip(jax.tree.leaves(gradient), gradient_by_differences_of(make(), target), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7)


def gradient_by_differences_of(A, target):
    """Central differences through a factorization that NumPy contracts independently."""
    letters = {label: chr(97 + k) for k, label in enumerate(A.network.indices)}
    words = ["".join(letters[label] for label in labels) for labels in A.network.tensors.values()]
    equation = f"{','.join(words)}->{''.join(letters[label] for label in A.network.output)}"
    arrays, found = [np.asarray(a) for a in A.arrays.values()], []
    for k, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = array.copy()
                moved[at] += step
                tensor = np.einsum(equation, *arrays[:k], moved, *arrays[k + 1 :])
                sides.append(((tensor - target) ** 2).sum())
            gradient[at] = (sides[0] - sides[1]) / 2e-6
        found.append(gradient)
    return found


def test_torch():
    torch = pytest.importorskip("torch")
    target = torch.ones(2, 3, 3, 2, dtype=torch.float64)
    A = make(backend="torch", dtype="float64").map(lambda a: a.requires_grad_())
    loss_of(A, target).backward()
    for array, expected in zip(A.arrays.values(), gradient_by_differences_of(make(), target.numpy()), strict=True):
        np.testing.assert_allclose(array.grad, expected, rtol=1e-6, atol=1e-7)
    v = torch.arange(6.0, dtype=torch.float64, requires_grad=True)
    ((A @ v) ** 2).sum().backward()
    matrix = make().to_matrix()
    np.testing.assert_allclose(v.grad, 2 * matrix.T @ matrix @ np.arange(6.0), rtol=1e-10)


@pytest.mark.slow  # seconds
def test_torch_compiles_products_to_one_graph():
    torch = pytest.importorskip("torch")
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(lambda A, v: (A.matmul(v), A.matmul(A.T).trace()), fullgraph=True, backend=backend)
    v = torch.arange(6.0)
    for seed in (0, 1):
        A = make(seed=seed, backend="torch")
        found = compiled(A, v)
        np.testing.assert_allclose(found[0], A @ v, rtol=1e-5)
        np.testing.assert_allclose(found[1], (A @ A.T).trace(), rtol=1e-5)
    assert len(graphs) == 1


# ranks


@given(st.data())
def test_ranks_are_those_of_the_dense_tensor(data):
    A = data.draw(operators())
    dense = np.asarray(A.to_dense())
    assert tnrank.multilinear_rank(A) == tnrank.multilinear_rank(dense)
    assert tnrank.tt_ranks(A) == tnrank.tt_ranks(dense)
    assert int(tnrank.matrix_rank(A)) == np.linalg.matrix_rank(matrix_of(A))
    assert tnrank.separation_rank(A, range(A.ndim // 2)) == np.linalg.matrix_rank(matrix_of(A))
    assert tnrank.hierarchical_rank(A) == tnrank.hierarchical_rank(dense, A.tree)
    np.testing.assert_allclose(
        tnrank.singular_values(A), np.linalg.svd(matrix_of(A), compute_uv=False), atol=1e-10 * max(1.0, float(A.norm()))
    )
    report, expected = tnrank.rank_report(A), tnrank.rank_report(dense, A.tree)
    assert report.given == "TensorTrainOperator"
    assert [entry.rank for entry in report.nodes] == [entry.rank for entry in expected.nodes]
    assert report.norm == pytest.approx(expected.norm)


def test_ranks_in_the_format():
    A = TensorTrainOperator.random((2,) * 40, (2,) * 40, rank=3, seed=0)
    found = tnrank.hierarchical_rank(A)
    assert {rank for node, rank in found.items() if len(node.modes) > 2 and len(node.modes) < 78} == {3}
    total = tnrank.factorizations.sum_of([A, tnrank.CPFactorization.random((2,) * 80, rank=1, seed=1)])
    assert max(tnrank.hierarchical_rank(total).values()) == 4
    assert tnrank.rank_report(A).log_norm == pytest.approx(float(A.log_norm()))
    with pytest.raises(ValueError, match="TensorTrainOperator"):
        tnrank.matrix_rank(A)


def test_training_and_entries():
    A = TensorTrainOperator.random((2, 2), (2, 2), rank=2, std=0.5, seed=0)
    target = TensorTrainOperator.random((2, 2), (2, 2), rank=1, seed=1)
    indices = np.argwhere(np.ones(A.shape))
    result = tnrank.complete(A, indices, target.entries(indices), steps=500)
    assert isinstance(result.factorization, TensorTrainOperator)
    assert result.loss < 1e-3
