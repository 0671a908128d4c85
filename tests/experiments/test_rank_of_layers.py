"""Effective ranks against the number of linear layers in place of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import rank_of_layers

pytest.importorskip("torch")
SMALL = {"limit": 100, "test_limit": 60, "widths": "12,9", "seeds": 2, "steps": 20, "batch": 50}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("rank-of-layers", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert [(one["chain"], one["seed"]) for one in summary["runs"]] == [(c, s) for c in (1, 2, 4) for s in (0, 1)]
    for one in summary["runs"]:
        assert one["steps"] == list(range(21))
        assert all(1 <= rank <= 9 for name in ("gram", "weight") for rank in one[name])
        assert one["gram"][0] != one["gram"][-1]
    assert (short / "figure.png").stat().st_size > 10_000


def test_images_are_standardized_by_the_training_images() -> None:
    data = make_recipe("rank-of-layers", limit=200)._data()  # type: ignore[attr-defined]  # of this recipe
    train = data["images"]
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-12)
    assert (train**2).mean() == pytest.approx(1)
    assert abs(data["test_images"].mean(axis=0)).max() > 0.01
    assert data["widths"] == (64, 128, 128, 10)


def runs(
    gram: Any = ((30, 20), (25, 15), (20, 10)), weight: Any = ((90, 90), (80, 80), (70, 70))
) -> list[dict[str, Any]]:
    found = []
    for k, chain in enumerate((1, 2, 4)):
        found.append({"chain": chain, "gram": gram[k], "weight": weight[k], "train_accuracy": 1.0})
    return found


def test_every_claim_can_fail() -> None:
    recipe: Any = make_recipe("rank-of-layers")

    def holds(found: list[dict[str, Any]]) -> list[bool]:
        return [bool(check.holds) for check in rank_of_layers._claims(recipe, found)]

    assert holds(runs()) == [True] * 5
    unfitted = runs()
    unfitted[1]["train_accuracy"] = 0.9
    assert holds(unfitted)[0] is False
    assert holds(runs(gram=((30, 20), (31, 15), (20, 10)))) == [True, False, True, True, True]
    assert holds(runs(gram=((30, 20), (25, 15), (20, 16)))) == [True, True, False, True, True]
    assert holds(runs(weight=((90, 90), (80, 80), (85, 70)))) == [True, True, True, False, True]
    assert holds(runs(weight=((90, 90), (80, 95), (70, 70)))) == [True, True, True, True, False]


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    done = run(make_recipe("rank-of-layers"), out=tmp_path, figure=False)
    assert done.outcome.holds
    found = json.loads((done.folder / "summary.json").read_text())["runs"]
    assert min(one["test_accuracy"] for one in found) > 0.85
