"""Whole Equinox models with factorized layers: replaced, collapsed, pruned, trained, saved."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

import tnrank
from tests.jax_nn.test_jax_layers import LINEAR, by_structure, close, linear, random

jax = pytest.importorskip("jax")
eqx = pytest.importorskip("equinox")
nn = pytest.importorskip("tnrank_jax.nn")
jnp = jax.numpy


def low_rank(rows, columns, rank, seed=0):
    return random(rows, rank, seed=seed) @ random(rank, columns, seed=seed + 1) / np.sqrt(rank * columns)


@by_structure(LINEAR)
def test_prune_keeps_the_weight_within_its_tolerance(structure, options):
    layer = nn.FactorizedLinear(15, 11, structure=structure, seed=1, **options)
    before = np.asarray(layer.weight)
    for named in ({"rtol": 0.4}, {"keep": 1}):
        pruned, norms, error = layer.prune(**named)
        assert list(norms) == list(layer.format.limits)
        np.testing.assert_allclose(error, np.linalg.norm(pruned.weight - before) / np.linalg.norm(before), rtol=1e-6)
        assert pruned.format.parameter_count == sum(array.size for array in pruned.arrays.values())
        assert error <= named.get("rtol", inf)
    assert set(pruned.format.ranks) == {1}
    np.testing.assert_array_equal(layer.weight, before)


def test_prune_finds_the_rank():
    wide = nn.FactorizedLinear.from_layer(linear(low_rank(12, 16, 3)), rank=8)
    layer, norms, error = wide.prune(rtol=1e-8)
    assert layer.format.ranks == (3,)
    assert error < 1e-8
    s = np.linalg.svd(wide.weight, compute_uv=False)
    close(norms["h1"][:3], s[:3] / np.linalg.norm(s))
    close(layer(random(4, 16)), wide(random(4, 16)))
    for wrong, message in (
        ({}, "needed one of the two"),
        ({"rtol": 1.0}, "would leave nothing"),
        ({"keep": 0}, "keep"),
    ):
        with pytest.raises(ValueError, match=message):
            wide.prune(**wrong)
    with pytest.raises(TypeError, match="prune outside of it"):
        jax.jit(lambda layer: layer.prune(keep=2)[0])(wide)


class Model(eqx.Module):
    """Layers of all kinds, as in anybody's program."""

    embed: eqx.nn.Embedding
    conv: eqx.nn.Conv1d
    mlp: eqx.nn.MLP
    scale: jax.Array

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.embed = eqx.nn.Embedding(20, 8, key=keys[0])
        self.conv = eqx.nn.Conv1d(8, 6, 3, padding=1, key=keys[1])
        self.mlp = eqx.nn.MLP(6, 4, 16, 2, key=keys[2])
        self.scale = jnp.ones(4)

    def __call__(self, words):
        x = self.conv(jax.vmap(self.embed)(words).T)
        return self.scale * self.mlp(x.mean(axis=1))


WORDS = np.random.default_rng(0).integers(20, size=(8, 5))
RULES = {"mlp.layers.2": None, eqx.nn.Linear: {"structure": "tt", "parameters": 0.8}, "*": {"rank": 4}}


@pytest.fixture(scope="module")
def model():
    return Model(jax.random.key(0))


@pytest.fixture(scope="module")
def factorized(model):
    return nn.factorize(model, RULES)


@eqx.filter_jit
def run(model):
    return jax.vmap(model)(WORDS)


def test_factorize_and_collapse(model, factorized):
    found, report = factorized
    kinds = [type(layer).__name__ for layer in (found.embed, found.conv, *found.mlp.layers)]
    assert kinds == ["FactorizedEmbedding", "FactorizedConv1d", "FactorizedLinear", "FactorizedLinear", "Linear"]
    assert [change.name for change in report.layers] == ["embed", "conv", "mlp.layers.0", "mlp.layers.1"]
    assert report.before == sum(leaf.size for leaf in jax.tree.leaves(model) if eqx.is_array(leaf))
    assert report.after == sum(leaf.size for leaf in jax.tree.leaves(found) if eqx.is_array(leaf)) < report.before
    assert f"error {found.conv.error:.2g}" in repr(found.conv)
    assert "mlp.layers.1" in str(report)
    dense = nn.collapse(found)
    assert jax.tree.structure(dense) == jax.tree.structure(model)
    close(run(dense), run(found), 1e-12)
    assert not np.allclose(run(found), run(model))
    with pytest.raises(
        ValueError, match=r"the model has no factorized layers: make some with factorize\(model, rules\)"
    ):
        nn.collapse(model)


def test_what_is_factorized_already_is_collapsed_first(model):
    found, _ = nn.factorize(model, {"conv": {"rank": 2}})
    with pytest.raises(ValueError, match=r"'conv', which is factorized already: collapse\(model\) makes it dense"):
        nn.factorize(found, {"conv": {"rank": 1}})


def test_pruning_refuses_the_state_of_another_model_and_forgets_the_error_of_the_fit(model):
    optax = pytest.importorskip("optax")
    optimizer = optax.adam(1e-3)
    dense = optimizer.init(eqx.filter(model, eqx.is_inexact_array))
    found, _ = nn.factorize(model, {"conv": {"rank": 2}})
    for state in (dense, 42, optimizer):
        with pytest.raises(ValueError, match="the state holds nothing for the factorized layers"):
            nn.prune(found, keep=1, state=state)
    assert found.conv.error > 0
    pruned, _ = nn.prune(found, keep=1)
    assert pruned.conv.error is None
    assert "error" not in repr(pruned.conv)


def test_rules_that_do_not_fit(model):
    for rules, message in (
        ({"mpl.*": {"rank": 2}}, "matches no layer: the nearest are 'mlp.layers"),
        (
            {"mlp": {"rank": 2}},
            r"matches 'mlp', of type MLP, which cannot be replaced: .* the layers inside are matched by 'mlp\.\*'",
        ),
        (
            {eqx.nn.Conv2d: {"rank": 2}},
            "no layer that can be replaced has the type Conv2d: .* can be, and the model has Conv1d, Embedding, Linear",
        ),
        ({"conv": {"rang": 2}}, "the rule for 'conv' has no setting 'rang': structure, rank,"),
        ({"conv": {"rank": 2, "structure": "btt"}}, "layer 'conv': structure 'btt' is not for weights of kind 'conv'"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.factorize(model, rules)
    with pytest.raises(TypeError, match="has settings such as"):
        nn.factorize(model, {"conv": 3})


def test_rates_fit_the_parameters(factorized):
    optax = pytest.importorskip("optax")
    found, _ = factorized
    rates = nn.parameter_rates(found)
    params = eqx.filter(found, eqx.is_inexact_array)
    assert jax.tree.structure(rates) == jax.tree.structure(params)
    own = found.mlp.layers[0].learning_rates()
    assert rates.mlp.layers[0].arrays["core0"] == own["arrays.core0"] != 1 == rates.scale == rates.mlp.layers[0].bias
    scale = optax.stateless(lambda updates, _: jax.tree.map(lambda u, rate: rate * u, updates, rates))
    optimizer = optax.chain(optax.sgd(1.0), scale)
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params))
    jax.tree.map(lambda update, rate: close(update, np.full(update.shape, -rate)), updates, rates)
    by_descent = found.conv.learning_rates("sgd")["arrays.layer1"]
    assert nn.parameter_rates(found, "sgd").conv.arrays["layer1"] == by_descent != rates.conv.arrays["layer1"]


def loss(model):
    return (jax.vmap(model)(WORDS) ** 2).sum()


def test_prune_cuts_the_moments_of_the_optimizer():
    optax = pytest.importorskip("optax")
    layers = [linear(low_rank(9, 8, 3)), linear(low_rank(7, 9, 2, seed=5))]
    # The path of the first layer ends as that of the second.
    wide, _ = nn.factorize({"a": layers[0], "b": {"a": layers[1]}}, {"*": {"rank": 6}})
    x = random(5, 8)

    optimizer = optax.adam(1e-3)

    @eqx.filter_jit
    def step(model, state):
        grads = eqx.filter_grad(lambda model: (jnp.tanh(model["b"]["a"](model["a"](x))) ** 2).sum())(model)
        return grads, *optimizer.update(grads, state)

    state = eqx.filter_jit(optimizer.init)(eqx.filter(wide, eqx.is_inexact_array))
    _, _, state = step(wide, state)
    narrow, report, cut = nn.prune(wide, rtol=1e-8, state=state)
    assert {change.name: change.format for change in report.layers} == {"a": "mf, rank 3", "b.a": "mf, rank 2"}
    assert report.after < report.before
    gradients, updates, _ = step(narrow, cut)
    # The first moments after one step are a tenth of the gradient, also in the components that are left.
    jax.tree.map(lambda m, g: close(m, 0.1 * g, 1e-7), cut[0].mu, gradients)
    assert all((np.asarray(leaf) >= 0).all() for leaf in jax.tree.leaves(cut[0].nu))
    assert jax.tree.structure(updates) == jax.tree.structure(gradients)
    with pytest.raises(ValueError, match=r"the state has '0.mu.a' with shape \(9, 3\) of 'layer0', needed \(9, 6\)"):
        nn.prune(wide, keep=2, state=cut)
    with pytest.raises(ValueError, match=r"has '0.mu.b.a', which is no layer of the model"):
        nn.prune({"b": {"c": wide["a"]}}, keep=2, state={"0": {"mu": {"b": {"a": wide["a"]}}}})


def test_training_and_files(factorized, tmp_path):
    found, _ = factorized

    @eqx.filter_jit
    def step(model):
        value, grads = eqx.filter_value_and_grad(loss)(model)
        return eqx.apply_updates(model, jax.tree.map(lambda g: -1e-3 * g, grads)), value, grads

    trained, values = found, []
    for _ in range(4):
        trained, value, grads = step(trained)
        values.append(float(value))
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.9 * values[0]
    assert "FactorizedLinear(" in repr(grads)
    path = str(tmp_path / "model.eqx")
    eqx.tree_serialise_leaves(path, trained)
    back = eqx.tree_deserialise_leaves(path, found)
    jax.tree.map(np.testing.assert_array_equal, eqx.filter(back, eqx.is_array), eqx.filter(trained, eqx.is_array))
    assert type(back.mlp.layers[0].value()) is tnrank.TensorTrain
    empty = jax.tree.map(lambda _: None, eqx.filter(back, eqx.is_array))
    assert "FactorizedLinear" in repr(empty)


def test_what_is_said_of_models_without_layers_and_of_compiled_functions(model):
    cell = eqx.nn.GRUCell(4, 4, key=jax.random.key(0))
    with pytest.raises(ValueError, match="Conv2d and Embedding can be replaced, and the model has none"):
        nn.factorize(cell, {"*": {"rank": 2}})
    with pytest.raises(TypeError, match="ranks are shapes, which a compiled function cannot choose"):
        eqx.filter_jit(lambda model: nn.factorize(model, {"*": {"rank": 2}})[0])(model)
    with pytest.raises(ValueError, match="the rules leave every layer alone"):
        nn.factorize(model, {"*": None})
    dense = eqx.nn.Linear(8, 8, key=jax.random.key(0))
    with pytest.raises(ValueError, match="and hold nothing: give a batch"):
        nn.FactorizedLinear.from_layer(dense, rank=2, inputs=jax.numpy.zeros((0, 8)))
    with pytest.raises(TypeError, match=r"got builtins.str, needed an array"):
        nn.FactorizedLinear.from_layer(dense, rank=2, inputs="abc")
