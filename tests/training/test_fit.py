"""Training on samples: against a loop by hand, alone and together, validated, stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.training import Checkpoint, recorders

ORDER, SAMPLES = 6, 23
STATES = np.random.default_rng(0).integers(0, 2, (SAMPLES, ORDER))
TARGETS = np.random.default_rng(1).standard_normal(SAMPLES)


def start(backend: str = "numpy", seed: int = 0, **options: Any) -> Any:
    given: dict[str, Any] = {"init": "mean_one", "std": 0.1, "dtype": "float64"}
    return tnrank.CPFactorization.random((2,) * ORDER, 3, backend=backend, seed=seed, **(given | options))


def arrays(x: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(a) for a in x.to("numpy")._values]


def by_hand(x: Any, epochs: int, batch: int, rate: float, seed: int | None) -> list[np.ndarray[Any, Any]]:
    """Gradient descent on batches, one entry and one factor after the other."""
    factors = [f.copy() for f in arrays(x)]
    for epoch in range(epochs):
        order = np.arange(SAMPLES) if seed is None else np.random.default_rng([seed, epoch]).permutation(SAMPLES)
        for begin in range(0, SAMPLES, batch):
            chosen = order[begin : begin + batch]
            gradients = [np.zeros_like(f) for f in factors]
            for m in chosen:
                rows = [f[s] for f, s in zip(factors, STATES[m], strict=True)]
                residual = np.prod(rows, axis=0).sum() - TARGETS[m]
                for n, s in enumerate(STATES[m]):
                    others = np.prod([r for k, r in enumerate(rows) if k != n], axis=0)
                    gradients[n][s] += 2 * residual * others / len(chosen)
            factors = [f - rate * g for f, g in zip(factors, gradients, strict=True)]
    return factors


@pytest.mark.few_on_jax("0-5")
@pytest.mark.parametrize("batch", [5, 23, 100])
@pytest.mark.parametrize("seed", [0, None])
def test_batches_by_hand(backend_name: str, seed: int | None, batch: int) -> None:
    """The last batch of an epoch is smaller, and its loss is the mean over what is there."""
    options: dict[str, Any] = {"optimizer": tnrank.GradientDescent(0.02), "epochs": 3, "batch": batch}
    result = tnrank.fit(start(backend_name), STATES, TARGETS, shuffle=seed is not None, **options)
    for found, expected in zip(arrays(result.factorization), by_hand(start(), 3, batch, 0.02, seed), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)
    assert (result.status, result.epochs) == ("steps", 3)
    assert result.steps == 3 * -(-SAMPLES // min(batch, SAMPLES))
    dense = np.asarray(result.factorization.to("numpy").to_dense())
    np.testing.assert_allclose(result.loss, np.mean((dense[tuple(STATES.T)] - TARGETS) ** 2), rtol=1e-10)


@pytest.mark.few_on_jax
def test_many_epochs_draw_their_orders_in_time(backend_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tnrank.training._samples import _epochs

    whole = tnrank.fit(start(backend_name), STATES, TARGETS, epochs=9, batch=4)
    monkeypatch.setattr(_epochs, "_ORDERED", 1)
    parts = tnrank.fit(start(backend_name), STATES, TARGETS, epochs=9, batch=4)
    for a, b in zip(arrays(whole.factorization), arrays(parts.factorization), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.few_on_jax("jax")
def test_together_as_alone(backend_name: str) -> None:
    """Three runs with targets of their own."""
    given = [start(backend_name, seed) for seed in range(3)]
    targets = [TARGETS, 0 * TARGETS + 1, 10 * TARGETS]
    options: dict[str, Any] = {"optimizer": tnrank.Adam(1e-2), "epochs": 4, "batch": 6}
    options["record"] = [recorders.Loss(every=3)]
    together = tnrank.fit(given, STATES, targets, **options)
    for x, own, one in zip(given, targets, together, strict=True):
        alone = tnrank.fit(x, STATES, own, **options)
        np.testing.assert_allclose(one.loss, alone.loss, rtol=1e-10)
        np.testing.assert_allclose(one.history["loss"].values, alone.history["loss"].values, rtol=1e-9)
        for a, b in zip(arrays(one.factorization), arrays(alone.factorization), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.few_on_jax("jax-False")
@pytest.mark.parametrize("several", [False, True])
def test_patience(backend_name: str, several: bool) -> None:
    """It ends a run by what was recorded, and gives back the values that had the lowest validation loss."""
    rng = np.random.default_rng(5)
    validation = rng.integers(0, 2, (9, ORDER)), rng.standard_normal(9)
    options: dict[str, Any] = {"optimizer": tnrank.Adam(3e-2), "batch": 5, "validation": validation}
    x = start(backend_name)
    found = tnrank.fit([x, x] if several else x, STATES, TARGETS, epochs=60, patience=3, **options)
    result = found[1] if several else found
    losses = result.history["validation_loss"].values
    assert result.status == "patience"
    assert len(losses) == result.epochs + 1 < 60
    assert np.argmin(losses) == len(losses) - 4
    best = tnrank.fit(x, STATES, TARGETS, epochs=len(losses) - 4, **options)
    for a, b in zip(arrays(result.factorization), arrays(best.factorization), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(losses[: len(losses) - 3], best.history["validation_loss"].values, rtol=1e-9)


@pytest.mark.few_on_jax("jax-False-True")
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("ended", [False, True])
def test_resumed_is_uninterrupted(backend_name: str, several: bool, ended: bool, tmp_path: Path) -> None:
    """A run that was stopped between two epochs, and one that ended and is given more of them."""
    rng = np.random.default_rng(5)
    validation = rng.integers(0, 2, (9, ORDER)), rng.standard_normal(9)
    x = [start(backend_name, seed) for seed in range(2)] if several else start(backend_name)
    options: dict[str, Any] = {"optimizer": tnrank.Adam(1e-2), "batch": 5, "validation": validation, "patience": 50}
    whole = tnrank.fit(x, STATES, TARGETS, epochs=8, **options)
    kept = Checkpoint(tmp_path / "run", every=7, unit="steps")
    stopped: dict[str, Any] = {"epochs": 3} if ended else {"epochs": 8, "callback": lambda step, _: step >= 17}
    tnrank.fit(x, STATES, TARGETS, checkpoint=kept, **stopped, **options)
    resumed = tnrank.fit(x, STATES, TARGETS, epochs=8, checkpoint=kept, resume=True, **options)
    for one, other in zip(*((r if several else [r]) for r in (whole, resumed)), strict=True):
        assert (one.steps, one.status, one.loss) == (other.steps, other.status, other.loss)
        for a, b in zip(arrays(one.factorization), arrays(other.factorization), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(one.history["validation_loss"].values, other.history["validation_loss"].values)


@pytest.mark.few_on_jax("jax")
def test_classes(backend_name: str) -> None:
    """Cross-entropy of three classes, whose mode has no features: of two states at one mode it is learned."""
    features = np.random.default_rng(0).integers(0, 3, (200, 4))
    labels = (features[:, 0] + features[:, 2]) % 3
    x = tnrank.HierarchicalFactorization.random(
        (3,) * 4, width=9, classes=3, std=0.6, seed=1, backend=backend_name, dtype="float64"
    )
    options: dict[str, Any] = {"optimizer": tnrank.Adam(3e-2), "epochs": 40, "batch": 50}
    result = tnrank.fit(x, features, labels, loss=tnrank.CrossEntropyLoss(), **options)
    scores = np.asarray(result.scores(features))
    assert scores.shape == (200, 3)
    assert (scores.argmax(axis=1) == labels).mean() > 0.95
    expected = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(200), labels])
    np.testing.assert_allclose(result.loss, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [(tnrank.LogisticLoss(), (0.0, 1.0, 0.3)), (tnrank.CrossEntropyLoss(), (0, 2, 1))],
)
def test_losses_and_their_derivatives(loss: Any, targets: tuple[float, ...]) -> None:
    """Far scores neither overflow nor lose their slope."""
    rng = np.random.default_rng(0)
    several = isinstance(loss, tnrank.CrossEntropyLoss)
    outputs = rng.standard_normal((3, 3) if several else 3) * np.array([1.0, 30.0, 800.0])
    weights, given = np.array([0.2, 0.3, 0.5]), np.asarray(targets)
    value, slope = loss.of(outputs, given, weights, np)
    assert np.isfinite(value)
    for place in np.ndindex(outputs.shape):
        step = np.zeros_like(outputs)
        step[place] = 1e-5
        change = loss.of(outputs + step, given, weights, np)[0] - loss.of(outputs - step, given, weights, np)[0]
        np.testing.assert_allclose(slope[place], change / 2e-5, atol=2e-6 * max(1, abs(value)))


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (
            lambda x: tnrank.fit(x, STATES[:, :4], TARGETS),
            ValueError,
            "features at 4 modes, .* order 6: needed 6, or 5",
        ),
        (lambda x: tnrank.fit(x, 255 * STATES, TARGETS), ValueError, r"states 0 .. 255.*tnrank.data.states\("),
        (lambda x: tnrank.fit(x, STATES / 2, TARGETS), ValueError, "needed whole numbers"),
        (lambda x: tnrank.fit(x, STATES, TARGETS[:4]), ValueError, r"shape \(4,\): needed \(23,\)"),
        (lambda x: tnrank.fit(x, STATES, TARGETS * np.nan), ValueError, "23 of 23 targets are NaN"),
        (lambda x: tnrank.fit(x, np.full((23, 6, 2), np.inf), TARGETS), ValueError, "NaN or infinite"),
        (lambda x: tnrank.fit(x, np.ones((23, 6, 3)), TARGETS), ValueError, "have 3 entries, and the mode has dim"),
        (lambda x: tnrank.fit(x, STATES[:0], TARGETS[:0]), ValueError, "no samples"),
        (lambda x: tnrank.fit(x, STATES, TARGETS, loss=tnrank.LogisticLoss()), ValueError, r"targets in \[0, 1\]"),
        (lambda x: tnrank.fit(x, STATES, TARGETS, loss=tnrank.CrossEntropyLoss()), ValueError, r"use LogisticLoss\(\)"),
        (lambda x: tnrank.fit(x, STATES, TARGETS, patience=3), ValueError, "without validation: validation="),
        (lambda x: tnrank.fit(x, STATES, TARGETS, batch=0), ValueError, "batch is a whole number from 1"),
        (lambda x: tnrank.fit(x, STATES, TARGETS, validation=3), TypeError, r"a pair \(features, targets\)"),
        (lambda x: tnrank.fit(3, STATES, TARGETS), TypeError, "fit starts from a factorization"),
        (lambda x: tnrank.fit(x, "images", TARGETS), TypeError, "features are arrays of numbers, got 'images'"),
        (lambda x: tnrank.scores(x, STATES[:, :3]), ValueError, "order 6"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        call(start())


@pytest.mark.parametrize(
    ("settings", "rate", "said"),
    [
        ({"std": 1e-2}, 1e-3, r"all scores are 0 \(at most .*e-.*\).*products of 80 factors.*init='mean_one'"),
        ({"init": "mean_one", "std": 0.1}, 0.5, "all scores are 0|scores reach"),
        ({"std": 30.0}, 1e-6, r"scores reach \de\+.*products of 80 factors"),
    ],
)
def test_scores_that_say_nothing_are_told(settings: dict[str, Any], rate: float, said: str) -> None:
    states = np.random.default_rng(0).integers(0, 2, (30, 80))
    x = tnrank.CPFactorization.random((2,) * 80, 3, **settings)
    with pytest.warns(UserWarning, match=said) as caught:
        tnrank.fit(x, states, states[:, 0] * 1.0, optimizer=tnrank.Adam(rate), epochs=20, batch=10)
    assert caught[0].filename == __file__
