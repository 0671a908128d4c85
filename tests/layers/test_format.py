"""Formats of weights: sizes, dense weights by formula, initial scale, learning rates."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank.layers import format_of_factorization, initial, learning_rates, weight_format

# (rows, columns) of each structure's end tensor, written as NumPy's own equation over arrays in their order.
LINEAR = {
    "mf": "ah,hb->ab",
    "cp": "ar,br,cr,dr->abcd",
    "tucker": "ap,bq,cs,dt,pqst->abcd",
    "tt": "ap,pbq,qcr,rd->abcd",
    "ttm": "acr,rbd->abcd",
    "htf": "ap,bp,cq,dq,pr,qr,r->abcd",
    "btt": "bcsa,cdbs->abcd",
}
CONV = {
    "mf": "ah,hbxy->abxy",
    "cp": "ar,br,xr,yr->abxy",
    "tucker": "ap,bq,pqxy->abxy",
    "tt": "ap,pxq,qyr,rb->abxy",
    "htf": "ap,yp,bq,xq,pr,qr,r->abxy",
}


@pytest.mark.parametrize("structure", LINEAR)
@given(rows=st.integers(2, 40), columns=st.integers(2, 40), rank=st.integers(1, 4), seed=st.integers(0, 99))
def test_dense_weights_are_those_of_the_formula(structure, rows, columns, rank, seed):
    weight = _format("linear", (rows, columns), structure, rank)
    arrays = initial(weight, seed, "numpy", "float64")
    tensor = np.einsum(LINEAR[structure], *arrays.values())
    expected = tensor.reshape(np.prod(weight.layout.rows), -1)[:rows, :columns]
    np.testing.assert_allclose(weight.dense(arrays), expected, atol=1e-12)
    np.testing.assert_allclose(np.asarray(weight.value(arrays).to_dense()).reshape(tensor.shape), tensor, atol=1e-12)


@pytest.mark.parametrize("structure", CONV)
@given(rows=st.integers(2, 12), columns=st.integers(2, 12), rank=st.integers(1, 4), groups=st.integers(1, 3))
def test_dense_convolutions_are_those_of_the_formula(structure, rows, columns, rank, groups):
    weight = _format("conv", (rows * groups, columns, 3, 2), structure, rank, groups=groups)
    arrays = initial(weight, 0, "numpy", "float64")
    expected = [
        np.einsum(CONV[structure], *(a[g] if groups > 1 else a for a in arrays.values())) for g in range(groups)
    ]
    np.testing.assert_allclose(weight.dense(arrays), np.concatenate(expected), atol=1e-12)


def _format(kind, shape, structure, rank, **options):
    limits = weight_format(kind, shape, structure, rank=1, **options).limits
    return weight_format(kind, shape, structure, rank=[min(rank, most) for most in limits.values()], **options)


@pytest.mark.parametrize("structure", LINEAR)
@pytest.mark.parametrize("share", [0.02, 0.05, 0.3, "same"])
def test_a_share_of_the_parameters_is_used_and_not_exceeded(structure, share):
    weight = weight_format("linear", (1024, 784), structure, parameters=share)
    most = weight.dense_count * (1 if share == "same" else share)
    assert weight.parameter_count == sum(a.size for a in initial(weight, 0, "numpy", "float32").values())
    assert 0.7 * most < weight.parameter_count <= most or weight.ranks == tuple(weight.limits.values())
    larger = tuple(min(rank + 1, limit) for rank, limit in zip(weight.ranks, weight.limits.values(), strict=True))
    assert larger == weight.ranks or weight.with_ranks(larger).parameter_count > most


def test_sizes_without_equal_factors_are_filled_up():
    weight = weight_format("linear", (10, 11), "cp", rank=3)
    assert weight.layout.rows == (2, 5)
    assert weight.layout.columns == (3, 4)
    assert weight.dense(initial(weight, 0, "numpy", None)).shape == (10, 11)
    table = weight_format("embedding", (50_257, 768), "tt", rank=4)
    assert np.prod(table.layout.columns) >= 50_257
    assert np.prod(table.layout.columns) < 50_500


@pytest.mark.parametrize("structure", LINEAR)
@pytest.mark.parametrize("shape", [(256, 256), (64, 784), (300, 80)])
def test_initial_weights_have_the_norm_of_dense_ones(structure, shape):
    weight = weight_format("linear", shape, structure, parameters=0.2)
    dense = weight.dense(initial(weight, 0, "numpy", "float64"))
    # torch.nn.Linear: uniform in +- 1 / sqrt(inputs), of variance 1 / (3 inputs)
    np.testing.assert_allclose(dense.std(), (3 * shape[1]) ** -0.5, rtol=0.06)
    # A random input and a random cotangent see the scale, in whatever direction they point.
    rng = np.random.default_rng(1)
    outputs = dense @ rng.standard_normal((shape[1], 500))
    back = dense.T @ rng.standard_normal((shape[0], 500))
    assert abs(outputs.std() - 3**-0.5) < 0.06
    assert abs(back.std() - (shape[0] / 3 / shape[1]) ** 0.5) < 0.1 * (shape[0] / shape[1]) ** 0.5


def test_starts_of_ones_own_and_balanced_ones():
    weight = weight_format("linear", (64, 64), "mf", rank=8, depth=3)
    arrays = initial(weight, 0, "numpy", "float64", std=1e-2)
    assert all(abs(a.std() - 1e-2) < 2e-3 for a in arrays.values())
    balanced = initial(weight, 0, "numpy", "float64", balanced=True)
    first, second = balanced["layer0"], balanced["layer1"]
    np.testing.assert_allclose(first.T @ first, second @ second.T, atol=1e-12)
    np.testing.assert_allclose(weight.dense(balanced), weight.dense(initial(weight, 0, "numpy", "float64")), atol=1e-12)
    with pytest.raises(ValueError, match="'tt' has no balanced weights"):
        initial(weight_format("linear", (64, 64), "tt", rank=8), 0, "numpy", None, balanced=True)


def test_seeds_mean_the_same_on_every_backend():
    weight = weight_format("conv", (8, 4, 3), "htf", rank=3)
    known = initial(weight, 3, "numpy", "float32")
    for backend in ("torch", "jax"):
        other = initial(weight, 3, backend, "float32")
        assert all(np.array_equal(np.asarray(other[name]), known[name]) for name in known)


def test_learning_rates_follow_the_fans():
    weight = weight_format("linear", (64, 1024), "mf", rank=16)
    # Qiu et al. 2024: inputs of the dense layer over those of the factor, over the number of factors
    assert learning_rates(weight) == {"layer0": 1024 / 16 / 2, "layer1": 1024 / 1024 / 2}
    assert learning_rates(weight, "sgd") == {"layer0": (64 / 16) / (64 / 1024), "layer1": (16 / 1024) / (64 / 1024)}
    square = weight_format("linear", (1024, 1024), "btt", rank=1)
    assert learning_rates(square) == {"left": 1024 / 32 / 2, "right": 1024 / 32 / 2}
    with pytest.raises(ValueError, match="optimizer"):
        learning_rates(weight, "lion")


def test_formats_compare_by_value_and_pickle():
    weight = weight_format("linear", (64, 64), "tt", rank=8)
    assert weight == weight_format("linear", (64, 64), "tt", rank=8) != weight.with_ranks((8, 4, 8))
    assert pickle.loads(pickle.dumps(weight)) == weight
    assert str(weight) == "tt, rank 8, 1,152 of 4,096 parameters (28.1 %)"
    assert weight.of_shapes({k: s for k, s in weight.with_ranks((2, 3, 4)).shapes.items()}).ranks == (2, 3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weight_format("linear", (8, 8), "qr", rank=1), "structure is one of 'mf', 'cp'"),
        (lambda: weight_format("linear", (8, 8), "mf"), "needed one of the two"),
        (lambda: weight_format("linear", (8, 8), "mf", rank=2, parameters=0.5), "needed one of the two"),
        (lambda: weight_format("linear", (8, 8), "mf", rank=9), "larger than possible: 8 at most"),
        (lambda: weight_format("linear", (8, 8), "tt", rank=(1, 65, 2)), "rank 65 of index 'r2' is impossible: 1 to 8"),
        (lambda: weight_format("linear", (8, 8), "tt", rank=(1, 2)), "needed 3, of the indices r1, r2, r3"),
        (
            lambda: weight_format("linear", (8, 8), "mf", parameters=0.01),
            "rank 1 of structure 'mf' takes 16 parameters",
        ),
        (lambda: weight_format("linear", (8, 8), "mf", rank=2, modes=2), "one mode a side"),
        (lambda: weight_format("linear", (8, 8), "btt", rank=1, modes=3), "two modes a side"),
        (
            lambda: weight_format("linear", (8, 8), "ttm", rank=1, modes=((2, 4), (8,))),
            "as many modes of outputs as of",
        ),
        (lambda: weight_format("linear", (8, 8), "cp", rank=1, modes=((2, 2), (2, 4))), r"hold 4 outputs, needed 8"),
        (lambda: weight_format("conv", (8, 8, 3, 3), "btt", rank=1), "not for weights of kind 'conv': use mf, cp"),
        (lambda: weight_format("conv", (8, 8, 3, 3, 3), "cp", rank=1), "1 or 2 axes"),
        (lambda: weight_format("conv", (9, 8, 3), "cp", rank=1, groups=2), "9 outputs in 2 groups"),
        (lambda: weight_format("embedding", (8, 8), "tucker", rank=1), "'tucker' is not for weights of kind"),
        (lambda: weight_format("linear", (8, 8, 8), "cp", rank=1), "two sides"),
        (lambda: weight_format("dense", (8, 8), "cp", rank=1), "kind"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_from_factorizations():
    x = tnrank.HierarchicalFactorization.random((3, 4, 5, 2), width=6, seed=0)
    weight, arrays = format_of_factorization(x)
    np.testing.assert_allclose(weight.dense(arrays), np.asarray(x.to_dense()).reshape(12, 10), atol=1e-12)
    for y in (
        tnrank.MatrixFactorization.random((6, 4), depth=3, hidden=(9, 7), seed=0),
        tnrank.CPFactorization([*tnrank.CPFactorization.random((3, 4, 5), 2, seed=0).factors], np.array([2.0, 3.0])),
        tnrank.Tucker.random((3, 4, 5), 2, seed=0),
        tnrank.TensorTrain.random((3, 4, 5), 2, seed=0),
        tnrank.TensorTrainOperator.random((3, 4), (5, 2), 2, seed=0),
    ):
        weight, arrays = format_of_factorization(y)
        dense = np.asarray(y.to_dense())
        np.testing.assert_allclose(weight.dense(arrays), dense.reshape(weight.shape), atol=1e-12)
    with pytest.raises(ValueError, match="the tree of the factorization has the nodes"):
        format_of_factorization(x, outputs=1)
    with pytest.raises(TypeError, match="needed a factorization of one of the classes"):
        format_of_factorization(tnrank.HierarchicalTucker.random((3, 4), rank=2))
    with pytest.raises(ValueError, match="dense weight"):
        format_of_factorization(tnrank.MatrixFactorization.random((6, 4), depth=1))
