"""Masked entries are refused at every door; a mask that hides nothing is taken off; other containers are named."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank import (
    CPFactorization,
    DimensionTree,
    HierarchicalFactorization,
    HierarchicalTucker,
    MatrixFactorization,
    Network,
    TensorTrain,
    TensorTrainOperator,
    Tucker,
    circuits,
    ranks,
    theory,
)
from tnrank.factorizations import NetworkFactorization, compress, sum_of
from tnrank.training import recorders

TREE = DimensionTree.balanced(3)
PRODUCT = Network({"A": "ij", "B": "jk"}, "ik")
INDICES = np.stack(np.nonzero(np.ones((3, 4))), axis=1)
TRAIN, CP = TensorTrain.random((3, 4, 5), rank=2), CPFactorization.random((3, 4, 5), rank=2)
OPERATOR = TensorTrainOperator.random((2, 2), (2, 2), rank=2)
MATRIX = MatrixFactorization.random((3, 4))
CIRCUIT = circuits.Circuit.from_factorization(CPFactorization.random((3, 3, 3), rank=2))
ones = np.ones


def leaves(a):
    return {0: a, 1: ones((4, 2)), 2: ones((2, 2))}


DOORS = {
    # constructors
    "matrix": lambda m: MatrixFactorization([m(2, 3), ones((3, 2))]),
    "matrix, last": lambda m: MatrixFactorization([ones((2, 3)), m(3, 2)]),
    "cp": lambda m: CPFactorization([ones((2, 3)), m(3, 3)]),
    "cp weights": lambda m: CPFactorization([ones((2, 3)), ones((3, 3))], m(3)),
    "hierarchical": lambda m: HierarchicalFactorization(
        TREE, {**leaves(m(3, 2)), (0, 1): ones((2, 2)), (0, 1, 2): ones((2, 1))}
    ),
    "operator": lambda m: TensorTrainOperator([m(3, 2, 2), ones((2, 3, 2))]),
    "train": lambda m: TensorTrain([ones((3, 2)), m(2, 3, 2), ones((2, 3))]),
    "tree, leaf": lambda m: HierarchicalTucker(
        TREE, leaves(m(3, 2)), {(0, 1): ones((2, 2, 2)), (0, 1, 2): ones((2, 2))}
    ),
    "tree, transfer": lambda m: HierarchicalTucker(
        TREE, leaves(ones((3, 2))), {(0, 1): m(2, 2, 2), (0, 1, 2): ones((2, 2))}
    ),
    "Tucker": lambda m: Tucker(m(2, 2), [ones((3, 2)), ones((3, 2))]),
    "Tucker, factor": lambda m: Tucker(ones((2, 2)), [ones((3, 2)), m(3, 2)]),
    "network": lambda m: NetworkFactorization(PRODUCT, [ones((2, 3)), m(3, 2)]),
    "network, by name": lambda m: NetworkFactorization(PRODUCT, {"A": m(2, 3), "B": ones((3, 2))}),
    # from dense
    "cp from dense": lambda m: CPFactorization.from_dense(m(2, 3, 2), 1),
    "matrix from dense": lambda m: MatrixFactorization.from_dense(m(2, 3)),
    "operator from dense": lambda m: TensorTrainOperator.from_dense(m(4, 4), (2, 2), (2, 2)),
    "train from dense": lambda m: TensorTrain.from_dense(m(2, 3, 2)),
    "tree from dense": lambda m: HierarchicalTucker.from_dense(m(2, 3, 2)),
    "Tucker from dense": lambda m: Tucker.from_dense(m(2, 3, 2)),
    "compress": lambda m: compress(m(3, 4, 2)),
    "data": lambda m: tnrank.data_tensor(m(3, 4)),
    "labels": lambda m: tnrank.data_tensor(ones((3, 4)), m(3)),
    "features": lambda m: tnrank.data_tensor(ones((3, 4)), features=lambda X: m(3, 4, 2)),
    "function": lambda m: HierarchicalTucker.from_function(lambda k: m(len(k)), (3, 3, 3)),
    # networks
    "contract": lambda m: tnrank.contract(PRODUCT, {"A": m(2, 3), "B": ones((3, 2))}),
    "contract, second": lambda m: tnrank.contract(PRODUCT, {"A": np.ma.array(ones((2, 3))), "B": m(3, 2)}),
    "plan": lambda m: PRODUCT.plan({"i": 2, "j": 3, "k": 2})({"A": np.ma.array(ones((2, 3))), "B": m(3, 2)}),
    "environment": lambda m: tnrank.environment(PRODUCT, {"A": m(2, 3), "B": ones((3, 2))}, "B"),
    # methods
    "replace": lambda m: CP.replace({"A0": m(3, 2)}),
    "replace all": lambda m: MATRIX.replace([m(3, 3), ones((3, 4))]),
    "mode products": lambda m: TRAIN.mode_products({0: m(2, 3)}),
    "operator times": lambda m: OPERATOR @ m(4),
    "operator times, from the left": lambda m: m(2, 4) @ OPERATOR,
    "contract modes": lambda m: TRAIN.contract_modes({0: m(3)}),
    # training
    "observed values": lambda m: tnrank.complete(MATRIX, INDICES, m(12), steps=1),
    "observed values in a list": lambda m: tnrank.complete(MATRIX, INDICES[:2], list(m(2)), steps=1),
    "rank-one measurements": lambda m: tnrank.RankOneMeasurements([ones((5, 3)), m(5, 4)]),
    "target": lambda m: recorders.Error(m(3, 4)),
    "held-out values": lambda m: tnrank.complete(
        MATRIX, INDICES, ones(12), steps=1, record=[recorders.HeldOutError([[0, 0]], m(1))]
    ),
    # ranks
    "matrix rank": lambda m: ranks.matrix_rank(m(3, 4)),
    "hierarchical rank": lambda m: tnrank.hierarchical_rank(m(3, 4, 2)),
    "effective rank of": lambda m: ranks.effective_rank_of(m(3)),
    "Schatten norm": lambda m: ranks.schatten_norm(m(3, 3), 1),
    "tensor rank": lambda m: ranks.tensor_rank(m(2, 2, 2)),
    "rank scan": lambda m: ranks.rank_scan(m(2, 2, 2), 1),
    "suggested tree": lambda m: ranks.suggest_tree(m(3, 4, 2)),
    "core consistency": lambda m: ranks.core_consistency(m(2, 2, 2), CPFactorization([ones((2, 1))] * 3)),
    # theory
    "least nuclear norm": lambda m: theory.minimum_nuclear_norm((3, 4), INDICES, m(12)),
    "sensing": lambda m: theory.minimum_nuclear_norm_sensing(m(2, 3, 4), ones(2)),
    "zeros": lambda m: theory.zero_fill((3, 4), INDICES, m(12)),
    "least squares": lambda m: theory.minimum_l2(m(5, 3), ones(5)),
    "least squares, right": lambda m: theory.minimum_l2(ones((5, 3)), m(5)),
    "ridge": lambda m: theory.ridge_path(ones((5, 3)), ones(5), m(2)),
    "components": lambda m: theory.local_components(PRODUCT, {"A": m(2, 3), "B": ones((3, 2))}, "j"),
    "rates": lambda m: theory.predicted_rate(PRODUCT, {"A": ones((2, 3)), "B": ones((3, 2))}, "j", m(2, 2)),
    # circuits
    "circuit features": lambda m: CIRCUIT.forward(CIRCUIT.initial_weights(), m(5, 3, 3)),
    "circuit weights": lambda m: CIRCUIT.forward([m(*w.shape) for w in CIRCUIT.initial_weights()], ones((5, 3, 3))),
    "evaluate": lambda m: circuits.evaluate(CP, m(2, 3, 5)),
    "product": lambda m: circuits.generalized_product(m(2, 2), ones((2, 2)), np.maximum),
    "patches": lambda m: circuits.patches(m(2, 4, 4), 2),
    "templates": lambda m: circuits.grid_tensor(lambda X: X.sum(axis=1), m(4), order=3),
    "values of templates": lambda m: circuits.grid_tensor(lambda X: m(len(X)), ones(2), order=2),
}


def masked(*shape):
    return np.ma.array(ones(shape), mask=np.arange(int(np.prod(shape))).reshape(shape) == 0)


def unmasked(*shape):
    return np.ma.array(ones(shape))


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_masked_entries_are_refused(door):
    with pytest.raises((ValueError, TypeError), match="masked"):
        door(masked)


@pytest.mark.parametrize("name", DOORS)
def test_a_mask_that_hides_nothing_is_taken_off(name):
    if name == "contract, second":
        pytest.skip("its first array has a mask in any case")
    found, wanted = DOORS[name](unmasked), DOORS[name](lambda *shape: ones(shape))
    for a, b in zip(getattr(found, "_values", ()), getattr(wanted, "_values", ()), strict=True):
        assert type(a) is np.ndarray
        np.testing.assert_array_equal(a, b)
    if isinstance(wanted, np.ndarray):
        np.testing.assert_array_equal(np.asarray(found), wanted)


@pytest.mark.parametrize(
    "call",
    [
        lambda indices: tnrank.complete(MATRIX, indices, ones(2), steps=1),
        lambda indices: MATRIX.entries(indices),
        lambda indices: theory.minimum_nuclear_norm((3, 4), indices, ones(2)),
        lambda indices: recorders.HeldOutError(indices, ones(2)).data(MATRIX),
        lambda indices: TRAIN[indices[:, 0]],
    ],
)
def test_masked_indices(call):
    with pytest.raises(ValueError, match="masked"):
        call(np.ma.array([[0, 0], [1, 1]], mask=[[1, 0], [0, 0]]))
    call(np.ma.array([[0, 0], [1, 1]]))


def test_masked_indices_in_a_list():
    with pytest.raises(ValueError, match="masked"):
        MATRIX.entries([np.ma.array([0, 0], mask=[1, 0]), [1, 1]])


def containers():
    yield np.matrix(np.eye(3)), r"numpy\.matrix"
    sparse = pytest.importorskip("scipy.sparse")
    yield sparse.csr_matrix(np.eye(3)), "sparse"
    yield sparse.coo_array(np.eye(3)), "sparse"


def torch_containers():
    torch = pytest.importorskip("torch")
    eye = torch.eye(3)
    yield eye.to_sparse(), "sparse"
    yield eye.to_sparse_csr(), "sparse"
    yield torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8), "quantized"


ARRAY_DOORS = (
    lambda a: MatrixFactorization([a]),
    lambda a: CPFactorization([a, a]),
    lambda a: HierarchicalFactorization((0, 1), {0: a, 1: a, (0, 1): a[:, :1]}),
    lambda a: TensorTrain([a, a]),
    lambda a: TensorTrainOperator([a]),
    lambda a: Tucker(a, [a, a]),
    lambda a: HierarchicalTucker((0, 1), {0: a, 1: a}, {(0, 1): a}),
    lambda a: NetworkFactorization(PRODUCT, [a, a]),
    lambda a: HierarchicalTucker.from_dense(a),
    lambda a: TensorTrain.from_dense(a),
    lambda a: MatrixFactorization.from_dense(a),
    lambda a: TensorTrainOperator.from_dense(a, (3, 1), (1, 3)),
    lambda a: TensorTrainOperator.random((3, 1), (1, 3)) @ a,
    lambda a: Tucker.from_dense(a),
    lambda a: CPFactorization.from_dense(a, 1),
    lambda a: compress(a),
    lambda a: TRAIN.mode_products({0: a}),
    lambda a: tnrank.complete(MATRIX, INDICES, a, steps=1),
    lambda a: CP.replace({"A0": a}),
)


@pytest.mark.parametrize("door", ARRAY_DOORS)
@pytest.mark.parametrize("kinds", [containers, torch_containers])
@pytest.mark.filterwarnings("ignore")  # torch announces changes of sparse and quantized tensors
def test_other_containers_are_named(door, kinds):
    for array, words in kinds():
        try:
            array[:, :1]
        except (TypeError, NotImplementedError, RuntimeError, IndexError):
            continue
        with pytest.raises(TypeError, match=words):
            door(array)


def test_lists_are_refused_in_words():
    for door in (lambda: compress([[1.0]]), lambda: TensorTrain.from_dense([[1.0]]), lambda: sum_of(5)):
        with pytest.raises(TypeError, match=r"needed an array of a backend|is a sequence of"):
            door()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_compress_reads_arrays_of_frameworks(name):
    pytest.importorskip(name)
    host = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
    array = tnrank.get_backend(name).asarray(host)
    np.testing.assert_allclose(compress(array, rtol=1e-6).to_dense(), host, atol=1e-5)
    if name == "torch":
        import torch

        for given in (array.clone().requires_grad_(), array.to(torch.bfloat16)):
            assert np.allclose(compress(given, rtol=1e-6).to_dense(), host, atol=0.05)


def test_a_function_that_changes_its_argument():
    def function(indices):
        values = np.sin(indices.sum(axis=1) * 1.0)
        indices[:] = 0
        return values

    found = HierarchicalTucker.from_function(function, (5,) * 4)
    np.testing.assert_allclose(found.tensor.to_dense(), np.sin(sum(np.ogrid[:5, :5, :5, :5]) * 1.0), atol=1e-12)
