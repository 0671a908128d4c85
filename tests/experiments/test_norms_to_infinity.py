"""The norms-to-infinity recipe."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tnrank.experiments import make_recipe, read_metrics, run
from tnrank.experiments.recipes._norms_runs import (
    Measured,
    Plan,
    balanced_layers,
    end_matrix,
    law,
    layer_std,
    lower_bound,
    products,
    random_layers,
    step_limit,
)
from tnrank.theory import TwoByTwo

SMALL: dict[str, Any] = {"depths": (2, 3), "perturbations": (0.5,), "flow_perturbations": (0.5,), "marks": 20}


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path) -> None:
    done = run(make_recipe("norms-to-infinity", backend="jax"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    # Runs that lose the sign are named, and are the control: they end below the others.
    changed = done.outcome.summary["sign_changes"]
    runs = done.outcome.summary["runs"]
    assert "depth-3-random-1e-05" in changed
    assert runs["depth-3-random-1e-05"]["w11"] < 0.5 * runs["depth-3-balanced-1e-05"]["w11"]
    # read off the published figure, at a loss of 1.3e-2 and 1.3e-3
    for name in ("depth-3-random-1e-06", "depth-3-balanced-1e-05", "depth-3-balanced-1e-06"):
        assert [runs[name]["w11_at"][mark] for mark in ("0.013", "0.0013")] == pytest.approx([6.05, 19.5], rel=0.02)


def descend(layers: list[np.ndarray], rate: float, steps: int) -> np.ndarray:
    """Plain gradient descent on half of the sum of the squared residuals; the end matrix."""
    layers = [a.copy() for a in layers]
    for _ in range(steps):
        residual = np.linalg.multi_dot(layers) - [[0, 1], [1, 0]]
        residual[0, 0] = 0
        gradients = []
        for k in range(len(layers)):
            left, right = np.eye(2), np.eye(2)
            for a in layers[:k]:
                left = left @ a
            for a in layers[k + 1 :]:
                right = right @ a
            gradients.append(left.T @ residual @ right.T)
        layers = [a - rate * g for a, g in zip(layers, gradients, strict=True)]
    return np.linalg.multi_dot(layers)


@pytest.mark.parametrize("backend", ["numpy", "torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_runs_are_those_of_a_plain_loop_on_every_backend(backend, tmp_path) -> None:
    """Each of a batch with its own start and learning rate; and a run that has not arrived proves nothing."""
    pytest.importorskip(backend)
    stds, rates = (1e-2, 1e-3), (6e-2, 3e-2)
    recipe = make_recipe("norms-to-infinity", backend=backend, stds=stds, learning_rates=rates, stop_loss=0.01, **SMALL)
    done = run(recipe.limited(300), out=tmp_path, figure=backend == "numpy")
    for depth in (2, 3):
        for k, (std, rate) in enumerate(zip(stds, rates, strict=True)):
            starts = {
                "random": random_layers(2, depth, std, (recipe.seed, depth, k)),
                "balanced": balanced_layers(end_matrix(2, std, recipe.seed), depth),
            }
            for kind, layers in starts.items():
                found = done.outcome.summary["runs"][f"depth-{depth}-{kind}-{std:g}"]
                assert 50 < found["steps"] <= 300
                assert found["w11"] == pytest.approx(descend(layers, rate, found["steps"])[0, 0], rel=1e-9)
                assert found["learning_rate"] == rate
    assert not done.outcome.holds
    failed = [check.claim for check in done.outcome.checks if not check.holds]
    assert any("depth 3: |W11| sqrt(2 loss)" in claim for claim in failed)
    assert any("perturbed observations, gradient descent" in claim for claim in failed)
    assert any(claim.startswith("3 x 3") for claim in failed)
    assert "loss" in {row["quantity"] for row in read_metrics(done.folder)}


def test_several_seeds(tmp_path) -> None:
    recipe = make_recipe("norms-to-infinity", backend="numpy", seeds=2, **{**SMALL, "depths": (3,)}).limited(3)
    names = run(recipe, out=tmp_path, figure=False).outcome.summary["runs"]
    assert {"depth-3-random-1e-05-seed-529", "depth-3-random-1e-05-seed-530"} <= set(names)


# The published layers' standard deviations, to the digits that are given.
@pytest.mark.parametrize(
    ("depth", "end", "layer"),
    [(3, 1e-6, 7.9e-3), (3, 1e-5, 1.71e-2), (2, 1e-5, 2.7e-3), (2, 1e-6, 8.4e-4), (4, 1e-3, 0.137), (4, 1e-4, 0.077)],
)
def test_scale_of_the_layers(depth: int, end: float, layer: float) -> None:
    assert layer_std(end, 2, depth) == pytest.approx(layer, rel=0.02)
    drawn = [np.linalg.multi_dot(random_layers(2, depth, end, (k,))) for k in range(2000)]
    assert np.sqrt(np.mean(np.square(drawn))) == pytest.approx(end, rel=0.2)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", [2, 3])
def test_signs_and_balance_of_the_starts(sign: int, size: int) -> None:
    for seed in range(20):
        end = end_matrix(size, 1e-3, seed, sign)
        layers = balanced_layers(end, 3)
        np.testing.assert_allclose(np.linalg.multi_dot(layers), end, atol=1e-18)
        for a, b in pairwise(layers):
            np.testing.assert_allclose(a.T @ a, b @ b.T, atol=1e-16)
        drawn = np.linalg.multi_dot(random_layers(size, 3, 1e-3, (seed,), sign))
        assert sign * np.linalg.det(end) > 0
        assert sign * np.linalg.det(drawn) > 0


def test_step_limit_is_the_published_one() -> None:
    # learning rates, and the |W11| at which depth 3 stalls with them
    for rate, stalls in ((3e-2, 23), (6e-3, 78), (3e-3, 131)):
        assert step_limit(3, stalls) == pytest.approx(rate, rel=0.02)


def measured(loss: np.ndarray, entry: np.ndarray, determinant: np.ndarray, **plan: Any) -> Measured:
    matrix = np.zeros((len(loss), 2, 2))
    matrix[:, 0, 0] = entry
    matrix[:, 0, 1] = matrix[:, 1, 0] = 1
    options = {
        "name": "r",
        "layers": [np.eye(2)] * 3,
        "problem": TwoByTwo(),
        "std": 1e-6,
        "rate": 3e-3,
        "balanced": True,
    }
    return Measured(Plan(**{**options, **plan}), "converged", 9, loss, matrix, determinant)


def test_what_is_read_off_a_run() -> None:
    loss = np.geomspace(0.5, 1e-4, 30)
    run = measured(loss, 1 / np.sqrt(2 * loss), np.full(30, 1e-9))
    assert run.keeps_sign
    assert np.isnan(run.crossing)
    assert run.at(1.3e-3) == pytest.approx(1 / np.sqrt(2.6e-3), rel=1e-12)
    np.testing.assert_allclose(products(run, 1e-2), 1)
    flips = measured(loss, 1 / np.sqrt(2 * loss), np.where(np.arange(30) < 12, 1.0, -1.0))
    assert not flips.keeps_sign
    assert flips.crossing == loss[12]


def test_each_claim_can_fail() -> None:
    loss = np.geomspace(0.4, 1e-4, 40)
    entry, positive = 1 / np.sqrt(2 * loss), np.full(40, 1e-12)
    good = [measured(loss, entry, positive), measured(loss, entry, positive, balanced=False)]
    assert all(check.holds for check in law(3, good, 1e-4))
    flat = [good[0], measured(loss, np.minimum(entry, 12), positive, balanced=False)]
    assert [check.holds for check in law(3, flat, 1e-4)] == [True, False, True]
    high_rank = [good[0], measured(loss, entry, np.full(40, 2.0), balanced=False)]
    assert [check.holds for check in law(3, high_rank, 1e-4)] == [True, True, False]
    lost = [good[0], measured(loss, entry, np.where(np.arange(40) < 30, 1.0, -1.0), balanced=False)]
    assert not law(3, lost, 1e-4)[0].holds
    assert not lower_bound([measured(loss, 0.5 * entry * (1 - np.sqrt(2 * loss)) ** 2, positive)]).holds
    assert lower_bound(good).holds


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depths": (1, 3)}, "depths is a whole number from 2 on, got 1"),
        ({"size": 2}, "size is a whole number from 3 on, got 2"),
        ({"perturbations": (0.0,)}, "perturbations is a positive number, got 0.0"),
        ({"stop_loss": 0.7}, "stop_loss is a number between 0 and 0.5, got 0.7"),
        ({"stds": (1e-5,)}, "stds and learning_rates are as many numbers"),
        ({"steps": 0}, "steps is a whole number from 1 on, got 0"),
        (
            {"depths": (3,), "learning_rates": (3e-2, 3e-2)},
            r"past the stability limit 0\.\d+ of depth 3.*stall near 23",
        ),
    ],
)
def test_bad_fields(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_recipe("norms-to-infinity", "paper", **fields)


def test_a_replaced_field_is_checked_too() -> None:
    with pytest.raises(ValueError, match="stop_loss"):
        replace(make_recipe("norms-to-infinity"), stop_loss=1.0)
