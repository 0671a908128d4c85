"""The rank that adapters find."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes._adapter_rank_claims import claims

pytest.importorskip("torch")
SMALL = {
    **{"offered": 5, "layers": 2, "size": 8, "planted": 1, "group_steps": 40, "adam_steps": 40},
    **{"limit": 200, "hidden": (12, 10), "first_steps": 10, "tuning_steps": 10},
}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("adapter-rank", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    recipe = make_recipe("adapter-rank", **SMALL)
    summary = json.loads((short / "summary.json").read_text())
    assert set(summary["planted"]) == set(recipe.adapters())
    assert set(summary["tuned"]) == {"before", "whole", *recipe.tunings()}
    for one in summary["planted"].values():
        assert len(one["effective_rank"]) == len(one["unseen_error"]) == 2
        assert max(one["components"]) <= 5
    assert (short / "figure.png").stat().st_size > 10_000


def test_what_is_planted() -> None:
    recipe = make_recipe("adapter-rank", change=0.5, seen=0.2)
    problem = recipe.problem()
    assert problem["changes"].shape == (8, 64, 64)
    assert set(np.linalg.matrix_rank(problem["changes"])) == {3}
    norms = [np.linalg.norm(problem[name], axis=(1, 2)) for name in ("changes", "weights")]
    np.testing.assert_allclose(norms[0], 0.5 * norms[1])
    assert problem["seen"].mean() == pytest.approx(0.2, abs=0.01)
    other = make_recipe("adapter-rank", seed=1).problem()
    assert not np.array_equal(other["weights"], problem["weights"])


def test_turned_digits_are_turned() -> None:
    recipe = make_recipe("adapter-rank")
    first, second = recipe.images("first"), recipe.images("second")
    assert set(first) == {"images", "labels", "test_images", "test_labels"}
    for name in ("images", "test_images"):
        turned = np.array([image.T[::-1] for image in first[name]])
        np.testing.assert_array_equal(second[name], turned)
    np.testing.assert_array_equal(first["labels"], second["labels"])


def good(recipe: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measurements of which all claims hold."""
    layers = recipe.layers
    planted = {
        name: {"effective_rank": np.full(layers, 3.2), "unseen_error": np.full(layers, 0.5 if "lora" in name else 0.09)}
        for name in recipe.adapters()
    }
    one = {"components": [9, 10], "test_accuracy": 0.9, "pruned_accuracy": 0.895}
    return planted, {"small2": one}


def test_every_claim_can_fail() -> None:
    recipe = make_recipe("adapter-rank")
    planted, tuned = good(recipe)

    def failed(change: Any) -> list[str]:
        twins = copy.deepcopy((planted, tuned))
        change(*twins)
        return [check.claim for check in claims(recipe, *twins) if not check.holds]

    def ranks(name: str, *values: float) -> Any:
        return lambda p, t: p[name]["effective_rank"].put(range(len(values)), values)

    assert failed(lambda p, t: None) == []
    assert failed(ranks("small3-adam", 4.0)) == []  # one layer may be missed
    for name in ("small3-adam", "small3-group-rmsprop"):
        assert failed(ranks(name, 2.4, 3.6)) == [f"{name}: effective rank 3, rounded, in 7 of 8 layers"]
    for name in ("small2-group-rmsprop", "small3-group-rmsprop", "small3-adam"):
        assert failed(lambda p, t, name=name: p[name]["unseen_error"].fill(0.11))[0].startswith(f"{name}: the error")
    # It is compared with the better of the two optimizers from LoRA's start.
    assert len(failed(lambda p, t: p["lora-adam"]["unseen_error"].fill(0.4))) == 3
    assert "at most 21 of 64" in failed(lambda p, t: t["small2"].update(components=[9, 22]))[0]
    assert "pruning costs" in failed(lambda p, t: t["small2"].update(pruned_accuracy=0.88))[0]


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    done = run(make_recipe("adapter-rank"), out=tmp_path, figure=False)
    assert done.outcome.holds
    summary = json.loads((done.folder / "summary.json").read_text())
    unseen = {name: np.median(one["unseen_error"]) for name, one in summary["planted"].items()}
    for optimizer in ("adam", "group-rmsprop"):
        names = [f"{start}-{optimizer}" for start in ("lora", "scaled", "small2", "small3")]
        assert sorted(names, key=lambda name: -unseen[name]) == names
    assert summary["tuned"]["small2"]["test_accuracy"] > 0.85


@pytest.mark.nightly
def test_the_claims_hold_from_mnist_to_fashion_mnist(tmp_path: Path, data_dir: Path) -> None:
    recipe = make_recipe("adapter-rank", "fashion-mnist", data_dir=str(data_dir))
    assert run(recipe, out=tmp_path, figure=False).outcome.holds
