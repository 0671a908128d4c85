"""Entanglement of images and of the same images shuffled, rearranged and random."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import data_entanglement

pytest.importorskip("torch")
SMALL = {"samples": 20, "limit": 200, "channels": "4", "steps": 20, "epochs": 2, "width": 3}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("data-entanglement", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def dense_entropy(images: np.ndarray, node: np.ndarray) -> float:
    """Of the states of the node's pixels against the others', from their overlaps: a loop over pairs of images."""
    flat = images.reshape(len(images), -1)
    inside, outside = flat[:, node], np.delete(flat, node, axis=1)

    def gram(part: np.ndarray) -> np.ndarray:
        return np.array([[np.prod(np.cos(np.pi / 2 * (a - b))) for b in part] for a in part])

    overlap = np.linalg.eigvals(gram(inside) @ gram(outside)).real.clip(1e-300)
    share = overlap / overlap.sum()
    return float(-(share * np.log(share)).sum())


def test_entropies_are_those_of_the_definition(short: Path) -> None:
    """Of the four quarters of 8 x 8 digits."""
    recipe = make_recipe("data-entanglement", **SMALL)
    (x, _), (test, _) = (recipe._images(split) for split in ("train", "test"))
    found = json.loads((short / "summary.json").read_text())["entropy"]
    grid = np.arange(64).reshape(8, 8)
    quarters = [grid[a : a + 4, b : b + 4].ravel() for a in (0, 4) for b in (0, 4)]
    rows = np.random.default_rng(0).permutation(len(x))[:20]
    for kind, (train, _) in recipe._arranged(x, test).items():
        wanted = np.mean([dense_entropy(train[rows], quarter) for quarter in quarters])
        assert found[kind][0]["natural"]["entropy"] == pytest.approx(wanted, rel=1e-8)


def test_arrangements_hold_the_same_pixels() -> None:
    recipe = make_recipe("data-entanglement", correlated=100)
    (x, _), (test, _) = (recipe._images(split) for split in ("train", "test"))
    arranged = recipe._arranged(x, test)
    for kind in ("shuffled", "rearranged"):
        for own, natural in zip(arranged[kind], (x, test), strict=True):
            assert own.shape == natural.shape
            np.testing.assert_array_equal(np.sort(own.reshape(len(own), -1)), np.sort(natural.reshape(len(own), -1)))
            assert not np.array_equal(own, natural)
    train, held = (a.reshape(len(a), -1) for a in arranged["shuffled"])
    both = np.concatenate([x, test]).reshape(-1, 64)
    # One permutation for all: each shuffled pixel is one of the natural ones, over training and test images alike.
    for column in np.concatenate([train, held]).T[:10]:
        assert any(np.array_equal(column, natural) for natural in both.T)


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert set(summary["accuracy"]) == set(data_entanglement.KINDS)
    assert all(0 <= value <= 1 for one in summary["accuracy"].values() for value in one.values())
    assert (short / "figure.png").stat().st_size > 10_000


def reports(**entropies: float) -> dict[str, Any]:
    usual = {"natural": 1.0, "shuffled": 2.0, "rearranged": 1.5, "random": 4.0}
    made = {}
    for kind, value in {**usual, **entropies}.items():
        level = SimpleNamespace(mean_features=16.0, natural=SimpleNamespace(entropy=value))
        made[kind] = SimpleNamespace(levels=[level])
    return made


def test_every_claim_can_fail() -> None:
    recipe = make_recipe("data-entanglement", data="mnist")
    accuracy = {kind: {"network": 0.9, "circuit": 0.8} for kind in data_entanglement.KINDS}
    accuracy["natural"] = {"network": 0.95, "circuit": 0.9}

    def holds(told: Any = accuracy, **entropies: float) -> list[bool]:
        return [bool(check.holds) for check in data_entanglement._claims(recipe, reports(**entropies), told)]

    assert set(holds()) == {True}
    assert holds(random=0.9)[0] is False
    assert holds(shuffled=1.2)[2] is False
    assert holds(rearranged=1.8)[3] is False
    worse = {**accuracy, "natural": {"network": 0.85, "circuit": 0.7}}
    assert holds(worse)[1] is False


@pytest.mark.slow
def test_the_quick_preset_holds_and_both_models_learn(tmp_path: Path) -> None:
    done = run(make_recipe("data-entanglement"), out=tmp_path, figure=False)
    assert done.outcome.holds
    accuracy = json.loads((done.folder / "summary.json").read_text())["accuracy"]
    assert min(accuracy["natural"].values()) > 0.85
    assert max(accuracy["random"].values()) < 0.2


def test_a_backend_without_the_network_says_so(tmp_path: Path) -> None:
    recipe = make_recipe("data-entanglement", backend="numpy", **SMALL)
    with pytest.raises(ValueError, match="cnn"):
        run(recipe, out=tmp_path, figure=False)
