"""Linear layers between the encoder of an autoencoder and its codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import rank_minimizing_autoencoder

torch = pytest.importorskip("torch")
SMALL = {"limit": 80, "test_limit": 40, "hidden": 12, "latent": 6, "depths": "0,2", "kept": 3, "seeds": 1, "epochs": 2}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_recipe("rank-minimizing-autoencoder", **SMALL)
    return run(recipe, out=tmp_path_factory.mktemp("runs")).folder


def trainer(**options: Any) -> Any:
    images = np.random.default_rng(0).random((60, 8, 8))
    usual = {"network": "mlp", "hidden": 10, "latent": 5, "depth": 2, "gain": 1.0, "batch": 20, "learning_rate": 1e-2}
    settings = {**usual, "seed": 0, "dtype": "float64", **options}
    return tnrank.get_backend("torch").trainer("autoencoder", images=images[:40], test_images=images[40:], **settings)


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert set(summary["medians"]) == {"0", "2"}
    assert all(1 <= one["effective_rank"] <= 6 for one in summary["medians"].values())
    assert (short / "figure.png").stat().st_size > 5_000


def test_spectra_are_those_of_the_covariance_of_codes() -> None:
    """The codes computed by hand from the weights."""
    model = trainer()
    model.advance(7)
    weights = [p.detach().numpy() for p in model.encoder.parameters()]
    first, first_bias, second, second_bias, *layers = weights
    assert [layer.shape for layer in layers] == [(5, 5), (5, 5)]
    hidden = np.maximum(model.test.numpy().reshape(20, 64) @ first.T + first_bias, 0)
    codes = (hidden @ second.T + second_bias) @ layers[0].T @ layers[1].T
    expected = np.linalg.svd(np.cov(codes.T, bias=True), compute_uv=False)
    np.testing.assert_allclose(model.measure()["spectrum"], expected, atol=1e-12)


def test_cut_codes_lose_directions_and_no_more() -> None:
    model = trainer()
    model.advance(20)
    errors = [model.error_of_leading(count) for count in range(1, 6)]
    assert errors[-1] == pytest.approx(model.measure()["test_error"], rel=1e-10)
    u, s, vh = np.linalg.svd(codes := _centered(model), full_matrices=False)
    kept = torch.as_tensor((u[:, :2] * s[:2]) @ vh[:2] + codes.mean(axis=0) + _mean(model))
    with torch.no_grad():
        by_hand = float(((model.decoder(kept) - model.test) ** 2).mean())
    assert errors[1] == pytest.approx(by_hand, rel=1e-8)


def _codes(model: Any) -> np.ndarray:
    with torch.no_grad():
        return model.encoder(model.test).numpy()


def _mean(model: Any) -> np.ndarray:
    return _codes(model).mean(axis=0)


def _centered(model: Any) -> np.ndarray:
    return _codes(model) - _mean(model)


def test_the_gain_is_that_of_the_linear_layers() -> None:
    model = trainer(latent=200, gain=0.5)
    layers = [p for p in model.encoder.parameters() if tuple(p.shape) == (200, 200)]
    assert len(layers) == 2
    for layer in layers:
        assert float(layer.detach().std()) == pytest.approx(0.5 / 200**0.5, rel=0.05)


def test_the_convolutional_network_has_the_published_sizes() -> None:
    images = np.random.default_rng(0).random((4, 32, 32))
    model = tnrank.get_backend("torch").trainer(
        "autoencoder",
        images=images,
        test_images=images,
        **{"network": "convolutional", "hidden": 1, "latent": 128, "depth": 8, "gain": 0.577, "batch": 4},
        **{"learning_rate": 1e-4, "seed": 0, "dtype": "float32"},
    )
    model.advance(1)
    assert model.measure()["spectrum"].shape == (128,)
    wanted = [(32, 1, 4, 4), (64, 32, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4)]
    assert [tuple(p.shape) for p in model.encoder.parameters() if p.ndim == 4] == wanted
    with pytest.raises(ValueError, match="32 x 32, got 8 x 8"):
        trainer(network="convolutional")


def test_claims_can_fail() -> None:
    recipe = make_recipe("rank-minimizing-autoencoder")
    good = {
        0: {"effective_rank": 20.0, "error": 0.01, "cut": 0.04},
        2: {"effective_rank": 15.0, "error": 0.011, "cut": 0.03},
        4: {"effective_rank": 12.0, "error": 0.012, "cut": 0.02},
    }
    bad = {
        0: good[0],
        2: {"effective_rank": 21.0, "error": 0.02, "cut": 0.04},
        4: {"effective_rank": 22.0, "error": 0.03, "cut": 0.05},
    }
    checks = rank_minimizing_autoencoder._claims(recipe, good)
    assert len(checks) == 6
    assert all(check.holds for check in checks)
    assert not any(check.holds for check in rank_minimizing_autoencoder._claims(recipe, bad))


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="kept is below latent"):
        make_recipe("rank-minimizing-autoencoder", latent=8, kept=8)


@pytest.mark.slow
def test_quick_preset_holds(tmp_path: Path) -> None:
    assert run(make_recipe("rank-minimizing-autoencoder"), out=tmp_path).outcome.holds


@pytest.mark.slow
@pytest.mark.skipif("TNRANK_DATA" not in os.environ, reason="the images of MNIST are in the folder TNRANK_DATA")
def test_it_holds_on_images_of_mnist(tmp_path: Path) -> None:
    assert run(make_recipe("rank-minimizing-autoencoder", preset="mnist"), out=tmp_path).outcome.holds
