"""Layers compressed by training from small weights."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes._layer_compression_claims import claims

pytest.importorskip("torch")
SMALL = {"limit": 200, "hidden": 16, "rank": 8, "cp_rank": 4, "htf_width": 4, "steps": 8, "long_steps": 9}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("layer-compression", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    recipe = make_recipe("layer-compression", **SMALL)
    summary = json.loads((short / "summary.json").read_text())
    for name, model in recipe.models().items():
        one = summary[name]
        assert one["dense_parameters"] == 64 * (recipe.narrow if model.narrow else recipe.hidden)
        assert one["pruned_parameters"] <= one["parameters"]
        assert 0 <= one["pruned_accuracy"] <= 1
    assert summary["mf-depth3-sgd"]["parameters"] == 8 * (64 + 8 + 16)
    assert (short / "figure.png").stat().st_size > 10_000


def good(recipe: Any) -> dict[str, Any]:
    """Measurements of which all claims hold."""
    usual = {"test_accuracy": 0.9, "pruned_accuracy": 0.9, "components": 3, "norms": {}}
    counts = {"dense_parameters": 1000, "parameters": 60, "pruned_parameters": 50}
    return {name: {**usual, **counts} for name in recipe.models()}


@pytest.mark.parametrize(
    ("name", "changes", "claim"),
    [
        ("mf-depth2-sgd", {"components": 21}, "keeps at most 20"),
        ("mf-depth3-sgd", {"pruned_accuracy": 0.88}, "pruning costs"),
        ("mf-depth2-adam", {"pruned_accuracy": 0.83, "test_accuracy": 0.83}, "within 6 points"),
        ("mf-depth2-adam", {"pruned_parameters": 101}, "at most 10% of the parameters"),
        ("cp", {"parameters": 71}, "at most 7% of the parameters"),
        ("cp", {"test_accuracy": 0.879}, "within 2 points"),
        ("cp-small", {"components": 39}, "at most 30% of 128 components"),
        ("cp-small", {"pruned_accuracy": 0.8}, "within 6 points"),
    ],
)
def test_every_claim_can_fail(name: str, changes: dict[str, Any], claim: str) -> None:
    recipe = make_recipe("layer-compression", "fashion-mnist")
    found = good(recipe)
    assert all(check.holds for check in claims(recipe, found))
    worse = copy.deepcopy(found)
    worse[name] |= changes
    failed = [check.claim for check in claims(recipe, worse) if not check.holds]
    assert len(failed) == 1
    assert failed[0].startswith(name)
    assert claim in failed[0]


def test_sparse_models_start_small_and_others_as_the_dense_layer() -> None:
    recipe = make_recipe("layer-compression")
    model = recipe.models()
    stds = {name: one.layer.get("std") for name, one in model.items() if one.layer}
    assert {name for name, std in stds.items() if std} == {
        "mf-depth2-sgd",
        "mf-depth3-sgd",
        "mf-depth2-adam",
        "cp-small",
    }
    assert {name for name, one in model.items() if one.penalty} == {"cp-penalty", "htf-penalty"}


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    done = run(make_recipe("layer-compression"), out=tmp_path, figure=False)
    assert done.outcome.holds
    summary = json.loads((done.folder / "summary.json").read_text())
    # The others, of which nothing is claimed, learn as well.
    layers = [one for one in summary.values() if isinstance(one, dict) and "test_accuracy" in one]
    assert len(layers) > 5
    assert min(one["test_accuracy"] for one in layers) > 0.8


@pytest.mark.nightly
def test_the_claims_hold_of_fashion_mnist(tmp_path: Path, data_dir: Path) -> None:
    recipe = make_recipe("layer-compression", "fashion-mnist", data_dir=str(data_dir))
    done = run(recipe, out=tmp_path, figure=False)
    assert done.outcome.holds
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["htf"]["components"] == recipe.htf_width  # nothing sparse from a start that trains
    assert summary["cp"]["components"] == recipe.cp_rank
    assert min(summary[name]["pruned_accuracy"] for name in recipe.models()) > 0.74
