"""Trainers of perceptrons with factorized and adapted layers, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank

torch = pytest.importorskip("torch")

GENERATOR = np.random.default_rng(0)
DATA = {
    "images": GENERATOR.random((30, 4, 4)),
    "labels": np.arange(30) % 3,
    "test_images": GENERATOR.random((20, 4, 4)),
    "test_labels": GENERATOR.integers(0, 3, 20),
    "batch": 10,
    "seed": 0,
    "dtype": "float64",
}
ADAM = {"name": "adam", "learning_rate": 1e-2}


def trainer(name: str, **settings: Any) -> Any:
    return tnrank.get_backend("torch").trainer(name, **{"optimizer": ADAM, **DATA, **settings})


def compressed(**settings: Any) -> Any:
    return trainer("compressed_perceptron", **{"hidden": 6, **settings})


def adapted(**settings: Any) -> Any:
    return trainer("adapted_perceptron", **{"hidden": (8, 6), **settings})


def accuracy(weights: list[np.ndarray], biases: list[np.ndarray]) -> float:
    """Of the test images, by NumPy."""
    x = DATA["test_images"].reshape(20, -1)
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = np.maximum(x @ weight.T + bias, 0)
    return float(((x @ weights[-1].T + biases[-1]).argmax(axis=1) == DATA["test_labels"]).mean())


def cut(matrix: np.ndarray, count: int) -> np.ndarray:
    u, s, vh = np.linalg.svd(matrix)
    return u[:, :count] * s[:count] @ vh[:count]


def array(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().numpy())


@pytest.mark.parametrize("depth", [2, 3])
def test_a_pruned_matrix_factorization_is_the_truncated_svd(depth: int) -> None:
    of = compressed(layer={"structure": "mf", "rank": 6, "depth": depth, "std": 0.3})
    of.advance(12)
    first, last = of.model[1], of.model[3]
    spectrum = np.linalg.svd(array(first.weight), compute_uv=False)
    tolerance = float(np.sqrt(spectrum[2] * spectrum[3]) / spectrum[0])
    weights, biases = [array(first.weight), array(last.weight)], [array(first.bias), array(last.bias)]
    found = of.pruned(tolerance)
    assert found["components"] == 3
    for norms in found["norms"].values():
        np.testing.assert_allclose(norms, spectrum[:6] / np.linalg.norm(spectrum), atol=1e-10)
    assert found["test_accuracy"] == accuracy(weights, biases)
    assert found["pruned_accuracy"] == accuracy([cut(weights[0], 3), weights[1]], biases)
    assert (found["dense_parameters"], found["pruned_parameters"]) == (96, 3 * (6 + 16) + 9 * (depth - 2))
    assert of.model[1].format.ranks == (6,) * (depth - 1)  # the trained model stays as it is


def test_a_penalty_is_added_to_the_loss_and_shrinks_factors() -> None:
    layer = {"structure": "cp", "rank": 4}
    plain, held = compressed(layer=layer), compressed(layer=layer, penalty=0.5)
    rows = [part[:5] for part in plain.train]
    squares = sum(float((array(a) ** 2).sum()) for a in held.model[1].arrays.values())
    assert float(held.loss(*rows).detach()) == pytest.approx(float(plain.loss(*rows).detach()) + 0.25 * squares)
    plain.advance(30)
    held.advance(30)
    norms = [float(np.linalg.norm(array(one.model[1].weight))) for one in (plain, held)]
    assert norms[1] < 0.5 * norms[0]


@pytest.mark.parametrize("layer", [None, {"structure": "htf", "rank": 3}])
def test_a_compressed_perceptron_goes_on_bit_for_bit(layer: Any) -> None:
    whole, first, second = (compressed(layer=layer) for _ in range(3))
    whole.advance(8)
    first.advance(5)
    second.advance(1)
    second.restore(first.state())
    second.advance(3)
    for key, value in whole.state().items():
        np.testing.assert_array_equal(second.state()[key], value, err_msg=key)


def test_a_dense_layer_has_nothing_to_prune() -> None:
    found = compressed(layer=None).pruned(1e-2)
    assert (found["parameters"], found["pruned_parameters"], found["norms"]) == (96, 96, {})
    assert found["pruned_accuracy"] == found["test_accuracy"]


def test_adapters_start_from_given_weights_which_stay() -> None:
    first = adapted()
    first.advance(10)
    weights = first.state()
    of = adapted(weights=weights, adapter={"rank": 4, "start": 1e-12})
    assert of.measure() == first.measure()
    of.advance(10)
    assert of.measure() != first.measure()
    for place in (1, 3):
        np.testing.assert_array_equal(array(of.model[place].base.weight), weights[f"model.{place}.weight"])
    np.testing.assert_array_equal(array(of.model[5].weight), weights["model.5.weight"])


def test_pruned_adapters_are_truncated_svds() -> None:
    of = adapted(adapter={"rank": 6, "start": 0.5})
    of.advance(5)
    layers = [of.model[1], of.model[3]]
    changes = [array(layer.change.weight) for layer in layers]
    spectra = [np.linalg.svd(change, compute_uv=False) for change in changes]
    found = of.pruned(0.5)
    counts = [int((s > 0.5 * s[0]).sum()) for s in spectra]
    assert found["components"] == counts
    assert max(counts) < 6  # something is dropped
    weights = [array(layer.base.weight) + cut(c, n) for layer, c, n in zip(layers, changes, counts, strict=True)]
    biases = [array(layer.base.bias) for layer in layers]
    last = of.model[5]
    assert found["pruned_accuracy"] == accuracy([*weights, array(last.weight)], [*biases, array(last.bias)])


def test_the_start_of_lora() -> None:
    for scale in (1.0, 0.05):
        of = adapted(adapter={"rank": 6}, lora_scale=scale)
        for place, inputs in ((1, 16), (3, 8)):
            b, a = (array(one) for one in of.model[place].change.arrays.values())
            assert not b.any()
            assert a.shape[1] == inputs
            bound = scale / np.sqrt(inputs)
            assert 0.8 * bound < abs(a).max() <= bound


def planted(**settings: Any) -> tuple[Any, dict[str, np.ndarray]]:
    generator = np.random.default_rng(1)
    problem = {
        "weights": generator.standard_normal((2, 12, 12)),
        "changes": generator.standard_normal((2, 12, 1)) @ generator.standard_normal((2, 1, 12)),
        "seen": generator.random((2, 12, 12)) < 0.6,
    }
    usual = {"adapter": {"rank": 12, "depth": 3, "start": 1e-4}, "lora_scale": None, "tolerance": 1e-2}
    options = {"optimizer": {"name": "group-rmsprop", "learning_rate": 3e-2}, "seed": 0, "dtype": "float64"}
    return tnrank.get_backend("torch").trainer("adapted_matrices", **problem, **usual, **options, **settings), problem


def test_planted_changes_are_learned_and_measured_as_numpy_does() -> None:
    of, problem = planted()
    start = of.measure()
    of.advance(500)
    found = of.measure()
    learned = np.stack([array(layer.change.weight) for layer in of.layers])
    seen = problem["seen"]
    squares = (learned - problem["changes"]) ** 2
    assert found["loss"] == pytest.approx(squares[seen].mean())
    assert found["loss"] < 1e-3 * start["loss"]
    for k in range(2):
        spectrum = np.linalg.svd(learned[k], compute_uv=False)
        shares = spectrum / spectrum.sum()
        rank = np.exp(-sum(p * np.log(p) for p in shares if p > 0))
        assert found["effective_rank"][k] == pytest.approx(rank)
        assert found["components"][k] == (spectrum > 1e-2 * spectrum[0]).sum() == 1
        error = np.sqrt(squares[k][~seen[k]].sum()) / np.linalg.norm(problem["changes"][k][~seen[k]])
        assert found["unseen_error"][k] == pytest.approx(error)
        np.testing.assert_allclose(of.spectra()[k], spectrum, atol=1e-12)
    assert found["unseen_error"].max() < 0.1


def test_planted_adapters_go_on_bit_for_bit() -> None:
    whole, first, second = (planted()[0] for _ in range(3))
    whole.advance(9)
    first.advance(4)
    second.restore(first.state())
    second.advance(5)
    for key, value in whole.state().items():
        np.testing.assert_array_equal(second.state()[key], value, err_msg=key)
