"""Effective ranks of embeddings and weights of layers that are products of matrices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import rank_of_layers

torch = pytest.importorskip("torch")
SMALL = {"limit": 100, "test_limit": 50, "width": 12, "depths": "1,3", "seeds": 1, "epochs": 2, "dtype": "float64"}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("rank-of-layers", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert set(summary["gram_rank"]) == {"1", "3"}
    assert all(1 <= value <= 12 for ranks in summary["weight_rank"].values() for value in ranks)
    assert (short / "figure.png").stat().st_size > 5_000


def test_ranks_are_those_of_the_definition() -> None:
    """By hand, from the weights: products of matrices, ReLU, the Gram matrix of the samples itself."""
    x, y = tnrank.data.images("digits", "train")
    options = {"images": x[:60], "labels": y[:60], "test_images": x[60:90], "test_labels": y[60:90], "dtype": "float64"}
    trainer = tnrank.get_backend("torch").trainer(
        "deep_perceptron", width=10, depth=3, learning_rate=1e-2, batch=20, seed=0, **options
    )
    trainer.advance(5)
    measured = trainer.measure()
    first, second = trainer.model[1], trainer.model[3]

    def through(layers, inputs):
        end = np.linalg.multi_dot([layer.weight.detach().numpy() for layer in reversed(layers)])
        return inputs @ end.T + layers[-1].bias.detach().numpy(), end

    hidden, _ = through(first, x[60:90].reshape(30, 64))
    before, weight = through(second, np.maximum(hidden, 0))
    for name, embeddings in (("gram_rank", before), ("gram_rank_relu", np.maximum(before, 0))):
        centered = embeddings - embeddings.mean(axis=0)
        values = np.linalg.eigvalsh(centered @ centered.T).clip(1e-300)
        share = values / values.sum()
        assert measured[name] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-8)
    s = np.linalg.svd(weight, compute_uv=False)
    assert measured["weight_rank"] == pytest.approx(np.exp(-(s / s.sum() * np.log(s / s.sum())).sum()), rel=1e-8)


def test_random_products_fall_in_rank_with_depth() -> None:
    found = []
    for depth in (1, 2, 4):
        shape = (64, 64)
        x = tnrank.MatrixFactorization.random(shape, depth=depth, seed=0) if depth > 1 else None
        matrix = np.random.default_rng(0).standard_normal(shape) if x is None else np.asarray(x.to_dense())
        found.append(float(tnrank.effective_rank(matrix)))
    assert found[0] > found[1] > found[2]


def test_claims_can_fail() -> None:
    recipe = make_recipe("rank-of-layers", **SMALL)
    flat = {1: np.array([5.0, 5.0]), 3: np.array([4.0, 4.0])}
    good = {name: flat for name in ("gram_rank", "gram_rank_relu", "weight_rank")}
    assert all(check.holds for check in rank_of_layers._claims(recipe, good))
    bad = {name: {1: curve[3], 3: curve[1]} for name, curve in good.items()}
    assert not any(check.holds for check in rank_of_layers._claims(recipe, bad))


@pytest.mark.slow
def test_quick_preset_holds(tmp_path: Path) -> None:
    assert run(make_recipe("rank-of-layers"), out=tmp_path).outcome.holds
