"""Equinox layers whose weights are factorizations, against the dense layers that Equinox has."""

from __future__ import annotations

from functools import partial
from math import inf, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank.layers import initial

jax = pytest.importorskip("jax")
eqx = pytest.importorskip("equinox")
nn = pytest.importorskip("tnrank_jax.nn")
jnp = jax.numpy

# Every case is compiled and run once.
COMPILED = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
LINEAR = {
    "mf": {"rank": (3, 5), "depth": 3},
    "cp": {"rank": 4},
    "tucker": {"rank": 2},
    "tt": {"rank": (2, 3, 2)},
    "ttm": {"rank": 3},
    "htf": {"rank": 3},
    "btt": {"rank": 2},
}
CONV = {**{name: LINEAR[name] for name in ("mf", "cp", "tucker", "htf")}, "tt": {"rank": 2}}
EMBEDDING = {name: LINEAR[name] for name in ("mf", "cp", "tt", "ttm", "htf")}
QUICK = ("mf", "htf")
"""Structures of the quick suite, where each one compiles for seconds."""


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def by_structure(options, quick=LINEAR):
    cases = [
        pytest.param(name, one, id=name, marks=() if name in quick else pytest.mark.slow)
        for name, one in options.items()
    ]
    return pytest.mark.parametrize(("structure", "options"), cases)


def close(actual, expected, tolerance=1e-10):
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


def check(layer, x):
    """Outputs of one input, a mapped and a plain batch, and their gradients, are those of Equinox's dense layer."""
    x = jnp.asarray(x)
    routes = [
        lambda layer, x: jax.vmap(layer)(x),
        lambda layer, x: layer(x),
        lambda layer, x: jax.vmap(layer.collapse())(x),
    ]
    shape = jax.eval_shape(routes[-1], layer, x).shape
    cotangent = jnp.asarray(random(*shape, seed=9))

    @COMPILED
    def everything(layer, x):
        found = []
        for route in routes:
            y, pull_back = jax.vjp(route, layer, x)
            found.append((y, *pull_back(cotangent)))
        return found, layer(x[0])

    (*ours, (y, leaves, inputs)), first = everything(layer, x)
    close(first, y[0])
    for outputs, of_leaves, of_inputs in ours:
        close(outputs, y)
        jax.tree.map(close, of_leaves, leaves)
        if of_inputs.dtype == x.dtype:
            close(of_inputs, inputs)


# outputs and gradients


@by_structure(LINEAR)
def test_linear_is_the_dense_layer(structure, options):
    # 15 splits as 3 x 5, and 11 only with zeros beside it.
    layer = nn.FactorizedLinear(15, 11, structure=structure, seed=1, **options)
    check(layer, random(6, 15))
    assert layer.weight.shape == (11, 15)
    sizes = [prod(side) for side in (layer.format.layout.rows, layer.format.layout.columns)]
    whole = np.asarray(layer.value().to_dense()).reshape(sizes)
    close(whole[:11, :15], layer.weight)


@pytest.mark.slow
@settings(max_examples=15)
@given(st.data())
def test_linear_of_any_size(data):
    structure = data.draw(st.sampled_from(list(LINEAR)))
    inputs, outputs = (data.draw(st.integers(4, 20)) for _ in range(2))
    bias = data.draw(st.booleans())
    layer = nn.FactorizedLinear(inputs, outputs, bias, structure=structure, rank=1, seed=2)
    most = max(layer.format.limits.values())
    rank = data.draw(st.integers(1, most))
    layer = nn.FactorizedLinear(inputs, outputs, bias, structure=structure, rank=rank, seed=2)
    check(layer, random(data.draw(st.integers(1, 5)), inputs))


CONVOLUTIONS = {
    "plain": {},
    "strided": {"stride": (2, 3), "padding": ((1, 0), (2, 1)), "dilation": (1, 2)},
    "groups, same": {"groups": 2, "padding": "SAME", "use_bias": False},
    "reflected": {"padding": 2, "padding_mode": "REFLECT", "dilation": 2},
    "circular, same": {"padding": "SAME_LOWER", "padding_mode": "CIRCULAR", "kernel_size": (2, 3)},
}


@pytest.mark.parametrize("from_places", [0, inf], ids=["dense", "chain"])
@pytest.mark.parametrize(
    ("structure", "case"),
    [
        pytest.param(
            structure, case, marks=() if (structure, case) in zip(CONV, CONVOLUTIONS, strict=True) else pytest.mark.slow
        )
        for structure in CONV
        for case in CONVOLUTIONS
    ],
)
def test_convolution_is_the_dense_layer(structure, case, from_places, monkeypatch):
    monkeypatch.setattr("tnrank_jax.nn._conv.dense_from", lambda weight: from_places)
    options = {"kernel_size": 3, **CONVOLUTIONS[case], **CONV[structure]}
    layer = nn.FactorizedConv2d(4, 6, structure=structure, seed=1, **options)
    check(layer, random(3, 4, 7, 8))


@pytest.mark.parametrize(
    "structure", [pytest.param(name, marks=() if name == "tt" else pytest.mark.slow) for name in CONV]
)
def test_convolution_along_one_axis(structure, monkeypatch):
    monkeypatch.setattr("tnrank_jax.nn._conv.dense_from", lambda weight: inf)
    layer = nn.FactorizedConv1d(4, 6, 5, 2, 2, structure=structure, seed=1, rank=3, groups=2)
    check(layer, random(3, 4, 12))


def test_convolution_chooses_by_size(monkeypatch):
    runs = []
    layer = nn.FactorizedConv2d(8, 8, 3, structure="mf", rank=8, seed=0, use_bias=False)
    for name in ("_dense", "_chain"):
        kept = getattr(type(layer), name)
        monkeypatch.setattr(
            type(layer), name, lambda *args, name=name, kept=kept: runs.append(name) or kept(*args), raising=True
        )
    monkeypatch.setattr("tnrank_jax.nn._conv.dense_from", lambda weight: 1000)
    for x in (random(1, 8, 6, 6), random(30, 8, 6, 6), random(8, 6, 6), random(8, 3, 3)):
        jax.eval_shape(layer, x)
    assert runs == ["_chain", "_dense", "_dense", "_chain"]


@by_structure(EMBEDDING, QUICK)
def test_embedding_is_the_dense_layer(structure, options):
    layer = nn.FactorizedEmbedding(11, 15, 3, structure=structure, seed=1, **options)
    check(layer, np.array([0, 10, 3, 7, 7]))
    table = np.asarray(layer.weight)
    close(layer(jnp.array([[1, 3], [10, 0]])), table[[[1, 3], [10, 0]]])
    assert not np.asarray(layer(3)).any()
    assert not table[3].any()


def test_embedding_indices():
    layer = nn.FactorizedEmbedding(300, 4, rank=2, seed=0)
    # 255 is the last row that these indices can name, and no size of the table fits into their type.
    close(layer(jnp.array([255], "uint8")), layer.weight[255:256])
    run = COMPILED(lambda layer, x: layer(x))
    found = np.asarray(run(layer, jnp.array([300, -1, 5])))
    assert np.isnan(found[:2]).all()
    close(found[2], layer.weight[5])
    for wrong in (300, -1):
        with pytest.raises(IndexError, match=f"index {wrong} is out of range: the table has rows 0 to 299"):
            layer(jnp.array([0, wrong]))
    with pytest.raises(TypeError, match="indices are whole numbers, got float64"):
        layer(jnp.ones(3))
    with pytest.raises(ValueError, match="padding_idx is a row, -300 to 299, got 300"):
        nn.FactorizedEmbedding(300, 4, 300, rank=2, seed=0)


def test_a_mapped_vector_is_planned_as_one_of_many(monkeypatch):
    rows = []
    layer = nn.FactorizedLinear(16, 16, structure="cp", rank=4, seed=0)
    from tnrank.layers import Plans

    at = Plans.at
    monkeypatch.setattr(Plans, "at", lambda self, count: rows.append(count) or at(self, count))
    for x in (random(16), random(5, 16), random(2, 3, 16), random(0, 16)):
        assert jax.eval_shape(layer, x).shape == x.shape
    assert rows == [64, 5, 6, 0]


def test_recomputed_gradients():
    layers = [nn.FactorizedLinear(16, 9, structure="cp", rank=4, seed=0, recompute=again) for again in (False, True)]
    gradient = jax.grad(lambda layer, x: (layer(x) ** 2).sum())
    kept, again = (gradient(layer, random(3, 16)) for layer in layers)
    jax.tree.map(close, again.arrays, kept.arrays)
    assert "remat" in str(jax.make_jaxpr(gradient)(layers[1], random(3, 16)))


def test_dtypes():
    layer = nn.FactorizedLinear(16, 9, structure="tt", rank=2, seed=0, dtype=jnp.bfloat16)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(layer)} == {"bfloat16"}
    assert layer(jnp.ones(16, "bfloat16")).dtype.name == "bfloat16"
    # as of Equinox's own layers
    assert layer(jnp.ones(16, "float32")).dtype == layer.collapse()(jnp.ones(16, "float32")).dtype
    assert layer(jnp.ones(16, int)).dtype.name == "bfloat16"


# new weights


@by_structure(LINEAR)
def test_the_same_seed_gives_the_weights_of_every_backend(structure, options):
    layer = nn.FactorizedLinear(15, 11, structure=structure, seed=7, dtype="float32", **options)
    expected = initial(layer.format, 7, "numpy", "float32")
    assert list(layer.arrays) == list(expected)
    for name, array in layer.arrays.items():
        np.testing.assert_array_equal(array, expected[name])


def test_the_weights_of_pytorch():
    torch_nn = pytest.importorskip("tnrank_torch.nn")
    settings = {"structure": "tucker", "rank": 3, "seed": 4, "balanced": False, "std": 0.1}
    ours = nn.FactorizedConv2d(4, 6, 3, groups=2, dtype="float32", **settings)
    theirs = torch_nn.FactorizedConv2d(4, 6, 3, groups=2, **settings)
    for name, array in theirs.arrays.items():
        np.testing.assert_array_equal(ours.arrays[name], array.detach().numpy())


def test_keys():
    make = partial(nn.FactorizedLinear, 15, 11, structure="tt", rank=2)
    keys = jax.random.split(jax.random.key(3), 2)
    one, two, again = make(key=keys[0]), make(key=keys[1]), make(key=jax.random.key_data(keys[0]))
    assert not np.array_equal(one.arrays["core0"], two.arrays["core0"])
    bound = 15**-0.5
    assert float(abs(one.bias).max()) <= bound
    assert float(jnp.ptp(one.bias)) > bound / 2
    # Equal whether drawn here, in a compiled program, or mapped over keys as an ensemble.
    ensemble = eqx.filter_vmap(lambda key: make(key=key))(keys)
    for other in (again, eqx.filter_jit(lambda key: make(key=key))(keys[0]), jax.tree.map(lambda a: a[0], ensemble)):
        jax.tree.map(np.testing.assert_array_equal, other, one)
        assert list(other.value().arrays) == list(one.value().arrays)
    shapes = eqx.filter_eval_shape(lambda key: make(key=key), keys[0])
    assert shapes.arrays["core0"].shape == one.arrays["core0"].shape
    for named in ({}, {"key": keys[0], "seed": 0}):
        with pytest.raises(ValueError, match=r"give one of key=jax.random.key\(0\), .* and seed=0"):
            make(**named)


def test_starts_have_the_scale_of_the_dense_layer():
    dense = eqx.nn.Linear(256, 256, key=jax.random.key(0))
    for structure in LINEAR:
        weight = nn.FactorizedLinear(256, 256, structure=structure, parameters=0.5, seed=0).weight
        np.testing.assert_allclose(float(weight.std()), float(dense.weight.std()), rtol=0.05)


# trained layers


def linear(weight):
    layer = eqx.nn.Linear(weight.shape[1], weight.shape[0], key=jax.random.key(0))
    return eqx.tree_at(lambda layer: layer.weight, layer, jnp.asarray(weight))


def test_from_layer_states_its_error():
    # 11 splits only with zeros beside it.
    dense = linear(random(11, 16))
    for options in ({"rank": 3}, {"rtol": 0.3}, {"structure": "tt", "rank": 4}, {"structure": "cp", "rank": 5}):
        layer = nn.FactorizedLinear.from_layer(dense, **options)
        error = np.linalg.norm(layer.weight - dense.weight) / np.linalg.norm(dense.weight)
        np.testing.assert_allclose(layer.error, error, rtol=1e-8)
        assert layer.error <= options.get("rtol", 1.0)
        assert f"error {layer.error:.2g}" in repr(layer)
    u, s, vh = np.linalg.svd(dense.weight)
    close(nn.FactorizedLinear.from_layer(dense, rank=3).weight, u[:, :3] * s[:3] @ vh[:3])
    np.testing.assert_array_equal(layer.bias, dense.bias)


def test_from_layer_weighted_by_inputs():
    dense, inputs = linear(random(12, 16)), random(200, 16) * np.logspace(0, -2, 16)
    plain = nn.FactorizedLinear.from_layer(dense, rank=3)
    weighted = nn.FactorizedLinear.from_layer(dense, rank=3, inputs=inputs)

    def error(layer):
        difference = inputs @ np.asarray(layer.weight - dense.weight).T
        return np.linalg.norm(difference) / np.linalg.norm(inputs @ np.asarray(dense.weight).T)

    assert error(weighted) < 0.5 * error(plain)
    np.testing.assert_allclose(weighted.error, error(weighted), rtol=1e-4)
    images = random(5, 4, 6, 6)
    conv = eqx.nn.Conv2d(4, 6, 3, groups=2, key=jax.random.key(0))
    assert 0 < nn.FactorizedConv2d.from_layer(conv, rank=2, inputs=images).error < 1
    with pytest.raises(ValueError, match=r"inputs have shape \(5, 15\), needed \(.., 16\)"):
        nn.FactorizedLinear.from_layer(dense, rank=3, inputs=random(5, 15))
    with pytest.raises(ValueError, match=r"inputs have shape \(4, 6, 6\), needed images \(M, 4, \*sides\)"):
        nn.FactorizedConv2d.from_layer(conv, rank=3, inputs=images[0])


def test_from_layer_of_other_kinds_at_full_rank():
    key = jax.random.key(0)
    for dense, kind in (
        (eqx.nn.Conv2d(4, 6, (3, 2), 2, "SAME", 2, groups=2, key=key), nn.FactorizedConv2d),
        (eqx.nn.Conv(1, 4, 6, 3, padding=1, padding_mode="REFLECT", key=key), nn.FactorizedConv1d),
        (eqx.nn.Embedding(7, 5, key=key), nn.FactorizedEmbedding),
    ):
        layer = kind.from_layer(dense, parameters=3)
        assert layer.error < 1e-12
        back = layer.collapse()
        close(back.weight, dense.weight, 1e-12)
        for field in ("stride", "padding", "dilation", "groups", "padding_mode", "use_bias"):
            assert getattr(back, field, None) == getattr(dense, field, None)
        same = eqx.tree_at(lambda layer: layer.weight, back, dense.weight)
        if type(dense) is not eqx.nn.Conv:
            assert jax.tree.structure(same) == jax.tree.structure(dense)


def test_from_layer_refuses():
    key = jax.random.key(0)
    with pytest.raises(TypeError, match=r"got a Embedding, needed an eqx.nn.Linear"):
        nn.FactorizedLinear.from_layer(eqx.nn.Embedding(3, 4, key=key), rank=1)
    with pytest.raises(TypeError, match=r"got a Conv1d, needed an eqx.nn.Conv2d"):
        nn.FactorizedConv2d.from_layer(eqx.nn.Conv1d(3, 4, 3, key=key), rank=1)
    with pytest.raises(TypeError, match=r"got a Linear, needed an eqx.nn.Embedding"):
        nn.FactorizedEmbedding.from_layer(eqx.nn.Linear(3, 4, key=key), rank=1)
    with pytest.raises(ValueError, match="side of size 'scalar'"):
        nn.FactorizedLinear.from_layer(eqx.nn.Linear("scalar", 4, key=key), rank=1)
    with pytest.raises(TypeError, match="the weight is of int8, needed an array of floating-point numbers: dequantize"):
        nn.FactorizedLinear.from_layer(linear(np.ones((3, 4), np.int8)), rank=1)
    shared = eqx.nn.Shared(
        (eqx.nn.Embedding(5, 4, key=key), eqx.nn.Linear(4, 5, key=key)),
        lambda pair: pair[1].weight,
        lambda pair: pair[0].weight,
    )
    with pytest.raises(
        TypeError, match=r"layer 'pytree.1': the weight is of SharedNode, .* untie weights of eqx.nn.Shared"
    ):
        nn.factorize(shared, {eqx.nn.Linear: {"rank": 2}})
    dense = linear(random(3, 4))
    with pytest.raises(ValueError, match="rank 5 of structure 'mf' is larger than possible: 3 at most"):
        nn.FactorizedLinear.from_layer(dense, rank=5)
    with pytest.raises(ValueError, match="needed one of the three"):
        nn.FactorizedLinear.from_layer(dense, rank=2, rtol=0.1)
    with pytest.raises(
        ValueError, match="structure 'ttm' is not for weights of kind 'conv': use mf, cp, tucker, tt, htf"
    ):
        nn.FactorizedConv2d(4, 4, 3, structure="ttm", rank=2, key=key)


FACTORIZATIONS = {
    "mf": lambda: tnrank.MatrixFactorization.random((5, 4), depth=3, hidden=(7, 6), seed=0),
    "cp": lambda: tnrank.CPFactorization.random((2, 3, 3, 2), rank=4, seed=0),
    "tucker": lambda: tnrank.Tucker.random((2, 3, 3, 2), (2, 2, 3, 1), seed=0),
    "tt": lambda: tnrank.TensorTrain.random((2, 3, 3, 2), (2, 4, 2), seed=0),
    "ttm": lambda: tnrank.TensorTrainOperator.from_dense(random(6, 6), (2, 3), (3, 2), max_rank=3),
    "htf": lambda: tnrank.HierarchicalFactorization.random((2, 3, 3, 2), width=3, seed=0),
}


@pytest.mark.parametrize("structure", FACTORIZATIONS)
def test_factorizations_go_in_and_come_out_bit_for_bit(structure):
    x = FACTORIZATIONS[structure]()
    layer = nn.FactorizedLinear.from_factorization(x, use_bias=True)
    assert layer.structure == structure
    back = layer.value()
    assert type(back) is type(x)
    assert {*map(str, back.arrays)} == {*map(str, x.arrays)}
    for name, array in x.arrays.items():
        np.testing.assert_array_equal(np.asarray(array), back.arrays[name])
    close(layer.weight, np.asarray(x.to_dense()).reshape(layer.out_features, layer.in_features), 1e-12)
    assert not layer.bias.any()
    with pytest.raises(ValueError, match=r"inputs have shape \(2, 7\), needed \(.., "):
        layer(random(2, 7))
