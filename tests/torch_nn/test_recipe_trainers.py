"""The trainers of recipes: what they measure against NumPy and scikit-learn, and what they collapse or exchange."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

import tnrank
from tnrank.data import images

torch = pytest.importorskip("torch")
SIZES = {"batch": 50, "learning_rate": 1e-2, "seed": 0, "dtype": "float64"}


def classifier(name: str, **changes: Any) -> Any:
    (x, y), (test, labels) = images("digits", "train"), images("digits", "test")
    data = {"images": x[:150], "labels": y[:150], "test_images": test[:80], "test_labels": labels[:80]}
    return tnrank.get_backend("torch").trainer(name, **{**data, **SIZES, **changes})


def autoencoder(**changes: Any) -> Any:
    x, test = images("digits", "train")[0][:150], images("digits", "test")[0][:80]
    sizes = {"network": "mlp", "hidden": 20, "latent": 6, "depth": 2, "gain": 1.0}
    data = {"images": x, "test_images": test, **sizes, **SIZES}
    return tnrank.get_backend("torch").trainer("autoencoder", **{**data, **changes})


def host(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().numpy())


def test_cut_codes_are_those_of_principal_components() -> None:
    trainer = autoencoder()
    trainer.advance(30)
    codes, measured = host(trainer.encoder(trainer.test)), trainer.measure()
    np.testing.assert_allclose(
        measured["spectrum"], np.linalg.svd(np.cov(codes.T, bias=True))[1], rtol=1e-8, atol=1e-12
    )
    for count in (1, 3, 6):
        pca = PCA(count).fit(codes)
        cut = torch.as_tensor(pca.inverse_transform(pca.transform(codes)))
        expected = float(((host(trainer.decoder(cut)) - host(trainer.test)) ** 2).mean())
        assert trainer.error_of_leading(count) == pytest.approx(expected, rel=1e-9)
    assert trainer.error_of_leading(6) == pytest.approx(measured["test_error"], rel=1e-9)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_linear_layers_start_at_their_gain(gain: float) -> None:
    trainer = autoencoder(latent=200, depth=3, gain=gain)
    layers = list(trainer.encoder)[1:]
    assert len(layers) == 3
    for layer in layers:
        assert layer.bias is None
        assert host(layer.weight).std() == pytest.approx(gain / 200**0.5, rel=0.02)


def test_the_autoencoder_learns() -> None:
    trainer = autoencoder()
    before = trainer.measure()["test_error"]
    trainer.advance(150)
    assert trainer.measure()["test_error"] < before / 2


def test_the_published_autoencoder_has_its_sizes_and_steps() -> None:
    pictures = np.random.default_rng(0).random((6, 32, 32))
    sizes = {"images": pictures, "test_images": pictures, "latent": 128, "depth": 8, "dtype": "float32"}
    trainer = autoencoder(network="convolutional", **sizes)
    shapes = {tuple(p.shape) for p in trainer.model.parameters()}
    assert {(256, 128, 4, 4), (128, 1024), (128, 128), (8192, 128), (64, 32, 4, 4), (1, 32, 1, 1)} < shapes
    before = trainer.measure()["test_error"]
    trainer.advance(2)
    assert trainer.measure()["test_error"] != before
    with pytest.raises(ValueError, match="32 x 32, got 8 x 8"):
        autoencoder(network="convolutional")


def test_chains_collapse_and_their_spectra_are_those_of_numpy() -> None:
    trainer = classifier("linear_chain_mlp", widths=(64, 30, 20, 10), chain=3, learning_rate=0.02)
    trainer.advance(20)
    x = host(trainer.test[0]).reshape(80, -1)
    weights = [p.detach().numpy() for p in trainer.model.parameters()]
    # per chain: three weights and, before the last of them in order of registration, no bias
    chains = [weights[4 * k : 4 * k + 4] for k in range(3)]
    products = [c @ b @ a for a, b, c, _ in chains]
    hidden = x
    for product, (*_, bias) in zip(products[:2], chains[:2], strict=True):
        hidden = np.maximum(hidden @ product.T + bias, 0)
    scores = hidden @ products[2].T + chains[2][3]
    np.testing.assert_allclose(host(trainer.model(trainer.test[0])), scores, rtol=1e-9, atol=1e-12)
    measured = trainer.measure()
    centering = np.eye(80) - 1 / 80
    gram = np.linalg.eigvalsh(centering @ hidden @ hidden.T @ centering)[::-1][:20]
    np.testing.assert_allclose(measured["gram"], gram, rtol=1e-7, atol=1e-9 * gram[0])
    np.testing.assert_allclose(measured["weight"], np.linalg.svd(products[1])[1], rtol=1e-7, atol=1e-10)
    assert measured["test_accuracy"] == pytest.approx((scores.argmax(1) == host(trainer.test[1])).mean())


def test_chains_of_any_length_start_at_the_scale_of_one_layer() -> None:
    def scale(chain: int) -> float:
        trainer = classifier("linear_chain_mlp", widths=(64, 400, 400, 10), chain=chain)
        return float(host(trainer.model(trainer.test[0])).std())

    one = scale(1)
    assert all(0.5 * one < scale(chain) < 2 * one for chain in (2, 4))


def test_kernels_are_exchanged_for_a_measurement_only() -> None:
    trainer = classifier("compressible_cnn", channels=(6, 8))
    trainer.advance(60)
    kernels, before = trainer.kernels(), dict(trainer.measure())
    assert [k.shape for k in kernels.values()] == [(6, 1, 3, 3), (8, 6, 3, 3)]
    assert dict(trainer.measure_with(kernels)) == before
    without = trainer.measure_with({name: 0 * kernel for name, kernel in kernels.items()})
    # All images look alike then, so that one class is said of all.
    assert without["train_accuracy"] in [float((host(trainer.train[1]) == k).mean()) for k in range(10)]
    with pytest.raises(RuntimeError, match="size"):
        trainer.measure_with({name: np.zeros((5, 5, 3, 3)) for name in kernels})
    assert dict(trainer.measure()) == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expanded_layers_collapse_exactly(dtype: str) -> None:
    """Also at the border, where a bias in front of the padding would be seen, and for sides that stride 2 cuts."""
    trainer = classifier("expanded_cnn", channels=(4, 6), rate=3, dtype=dtype)
    trainer.advance(20)
    compact, limit = trainer.collapse(), {"float32": 1e-4, "float64": 1e-12}[dtype]
    for sides in ((8, 8), (7, 5), (1, 1)):
        x = torch.as_tensor(np.random.default_rng(0).standard_normal((5, 1, *sides))).to(getattr(torch, dtype))
        np.testing.assert_allclose(host(compact(x)), host(trainer.model(x)), rtol=limit, atol=limit)
    assert [tuple(p.shape) for p in compact.parameters()] == [
        tuple(p.shape) for p in classifier("expanded_cnn", channels=(4, 6), rate=0).model.parameters()
    ]
    assert trainer.measure()["collapse_error"] <= limit
    assert trainer.sizes()["collapsed"] == sum(p.numel() for p in compact.parameters()) < trainer.sizes()["trained"]


def test_the_measured_collapse_error_is_no_constant() -> None:
    trainer = classifier("expanded_cnn", channels=(4,), rate=2)
    wrong = trainer.collapse()
    with torch.no_grad():
        wrong[-1].bias += 1.0
    trainer.collapse = lambda: wrong
    assert trainer.measure()["collapse_error"] > 0.1


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("linear_chain_mlp", {"widths": (64, 12, 10), "chain": 2}),
        ("compressible_cnn", {"channels": (4, 4)}),
        ("expanded_cnn", {"channels": (4,), "rate": 2}),
    ],
)
def test_they_go_on_bit_for_bit(name: str, settings: dict[str, Any]) -> None:
    whole, first, second = (classifier(name, **settings) for _ in range(3))
    whole.advance(7)
    first.advance(4)
    second.restore(first.state())
    second.advance(3)
    for key, value in whole.state().items():
        np.testing.assert_array_equal(second.state()[key], value, err_msg=key)
