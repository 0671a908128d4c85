"""The rank report of Equinox modules and pytrees."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank

jax = pytest.importorskip("jax")
eqx = pytest.importorskip("equinox")
nn = pytest.importorskip("tnrank_jax.nn")
jnp = jax.numpy


class Factorized(eqx.Module):
    left: jax.Array
    right: jax.Array

    def dense_weight(self):
        return self.left @ self.right

    def __call__(self, x):
        return self.dense_weight() @ x


class Model(eqx.Module):
    conv: eqx.nn.Conv2d
    drop: eqx.nn.Dropout
    head: Factorized
    norm: eqx.nn.LayerNorm

    def __init__(self):
        rng = np.random.default_rng(0)
        self.conv = eqx.nn.Conv2d(1, 4, 3, key=jax.random.key(0))
        self.drop = eqx.nn.Dropout(0.5)
        self.head = Factorized(jnp.asarray(rng.standard_normal((7, 2))), jnp.asarray(rng.standard_normal((2, 16))))
        self.norm = eqx.nn.LayerNorm(7)

    def __call__(self, x):
        assert self.conv.out_channels == 4  # what listens in its place answers for the layer
        return self.norm(self.head(self.drop(self.conv(x).reshape(-1))))


def test_module_with_activations():
    model, images = Model(), jax.random.normal(jax.random.key(1), (20, 1, 4, 4))
    report = nn.layer_ranks(model, eqx.tree_at(lambda m: m.head.left, model, jnp.zeros((7, 2))), images)
    assert [row.name for row in report] == ["conv.weight", "head.weight"]
    assert report["conv.weight"].shape == (4, 1, 3, 3)
    assert report["head.weight"].matrix.rank == report["head.weight"].change.rank == 2
    assert report["conv.weight"].change.rank == 0
    assert "norm.weight" in report.left_out
    outputs = np.asarray(jax.vmap(model.conv)(images))
    s = np.linalg.svd(np.moveaxis(outputs, 1, -1).reshape(-1, 4), compute_uv=False)
    assert report["conv.weight"].activations_effective_rank == pytest.approx(
        float(tnrank.ranks.effective_rank_of(s)), rel=1e-4
    )
    assert report["head.weight"].activations_width == 7
    assert report["head.weight"].activations_effective_rank <= 2 + 1e-6


def test_plain_pytrees():
    parameters = {"dense": [{"kernel": jnp.eye(4), "bias": jnp.ones(4)}], "count": jnp.ones((2, 2), int)}
    report = nn.layer_ranks(parameters)
    assert [row.name for row in report] == ["dense.0.kernel"]
    with pytest.raises(TypeError, match="inputs are for an Equinox module"):
        nn.layer_ranks(parameters, inputs=jnp.ones((2, 4)))


def test_quantized():
    with pytest.raises(ValueError, match=r"the weight 'layer\.weight' holds int8 and is quantized"):
        nn.layer_ranks({"layer": {"weight": jnp.ones((3, 3), "int8")}})


def test_a_radar_beside_a_functional_loop():
    radar = tnrank.radar.RankRadar(leading=2, changes=True)
    weights = {"w": jnp.zeros((6, 5))}
    update = jax.jit(lambda w: w + 0.5 * (jnp.eye(6, 5) - w))
    for step in range(3):
        radar.record(step, weights)
        weights = {"w": update(weights["w"])}
    assert radar.history["w"].singular_values == pytest.approx(np.outer([0, 0.5, 0.75], np.ones(2)))
    assert radar.onsets() == {"w": [1, 1]}
