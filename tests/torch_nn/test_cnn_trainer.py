"""The small convolutional network of recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.data import images

torch = pytest.importorskip("torch")


def trainer(count: int = 300, **changes: Any) -> Any:
    (x, y), (test, labels) = images("digits", "train"), images("digits", "test")
    data = {"images": x[:count], "labels": y[:count], "test_images": test, "test_labels": labels}
    options = {"channels": (6, 8), "batch": 70, "learning_rate": 1e-2, "seed": 0, "dtype": "float32"}
    return tnrank.get_backend("torch").trainer("cnn", **{**data, **options, **changes})


def weights(one: Any) -> list[np.ndarray]:
    return [np.array(a) for a in one.state().values()]


def test_it_learns_digits() -> None:
    cnn = trainer(1200)
    before = cnn.measure()["test_accuracy"]
    cnn.advance(250)
    after = cnn.measure()
    assert before < 0.3 < 0.75 < after["test_accuracy"] <= after["train_accuracy"] + 0.1


@pytest.mark.parametrize("at", [0, 3, 7])
def test_it_goes_on_bit_for_bit(at: int) -> None:
    """Batches of an epoch, moments of Adam and its step count are part of the state."""
    whole, first, second = trainer(), trainer(), trainer(seed=5)
    whole.advance(11)
    first.advance(at)
    kept = {name: np.array(value) for name, value in first.state().items()}
    first.advance(2)
    second.seed = 0
    second.restore(kept)
    second.advance(11 - at)
    for ours, theirs in zip(weights(second), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_seed_one_network() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, other, third = trainer(), trainer(), trainer(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for both in (one, other, third):
        both.advance(3)
    assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    assert not np.array_equal(weights(one)[0], weights(third)[0])


def test_a_step_is_adam_on_cross_entropy() -> None:
    """One full batch, against the gradient by differences: Adam's first step is the rate times its sign."""
    cnn = trainer(40, batch=40, dtype="float64")
    x, y = cnn.train

    def loss() -> float:
        logits = cnn.model(x).detach().numpy()
        largest = logits.max(axis=1, keepdims=True)
        norm = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
        return float(np.mean(norm - logits[np.arange(40), y.numpy()]))

    weight = next(cnn.model.parameters())
    slope = []
    with torch.no_grad():
        for place in range(3):
            flat, sides = weight.view(-1), []
            for shift in (1e-6, -2e-6, 1e-6):
                flat[place] += shift
                sides.append(loss())
            slope.append((sides[0] - sides[1]) / 2e-6)
    before = weight.detach().numpy().ravel()[:3].copy()
    cnn.advance(1)
    moved = weight.detach().numpy().ravel()[:3] - before
    np.testing.assert_allclose(moved, -1e-2 * np.sign(slope), rtol=1e-3)
