"""Linear layers behind an encoder, and the effective rank of its codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnrank.data import images
from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import rank_minimizing_autoencoder as module
from tnrank.experiments.recipes._image_sets import gray_images, redrawn

pytest.importorskip("torch")
SMALL = {"limit": 100, "test_limit": 50, "hidden": 16, "latent": 6, "kept": 3, "seeds": 2, "epochs": 2, "batch": 50}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("rank-minimizing-autoencoder", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert [(one["depth"], one["seed"]) for one in summary["runs"]] == [(d, s) for d in (0, 2, 4) for s in (0, 1)]
    for one in summary["runs"]:
        shares = np.asarray(one["spectrum"]) / np.sum(one["spectrum"])
        assert one["effective_rank"][-1] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-6)
        assert list(one["cut_errors"]) == ["2", "3", "4", "6"]
        assert len(one["effective_rank"]) == 3
    of_two = [one["cut_errors"]["3"] for one in summary["runs"] if one["depth"] == 2]
    assert summary["medians"]["2"]["cut"] == pytest.approx(np.median(of_two))
    assert (short / "figure.png").stat().st_size > 10_000


def test_pictures_of_digits_are_redrawn_to_28_by_28() -> None:
    recipe: Any = make_recipe("rank-minimizing-autoencoder")
    train, test = recipe.pictures("train"), recipe.pictures("test")
    assert train.shape == (3600, 28, 28)
    assert test.shape == (597, 28, 28)
    assert train.min() == 0
    assert train.max() == 1
    padded = make_recipe("rank-minimizing-autoencoder", network="convolutional", limit=2)
    np.testing.assert_array_equal(padded.pictures("train")[:, 2:-2, 2:-2], train[:2])  # type: ignore[attr-defined]  # of this recipe
    assert not np.array_equal(make_recipe("rank-minimizing-autoencoder", seed=1).pictures("train"), train)  # type: ignore[attr-defined]  # as above


def test_redrawn_images_stay_in_the_picture() -> None:
    pictures, _ = images("digits", "train")
    drawn = redrawn(pictures[:40], count=80, side=28, seed=3)
    assert drawn.shape == (80, 28, 28)
    np.testing.assert_array_equal(drawn, redrawn(pictures[:40], count=80, side=28, seed=3))
    assert not np.array_equal(drawn[:40], drawn[40:])
    ink = drawn.sum(axis=(1, 2)) / np.tile(pictures[:40].sum(axis=(1, 2)), 2)
    enlarged = (0.7 * 28 / 8) ** 2
    assert np.all((ink > 0.4 * enlarged) & (ink < 2 * enlarged))
    border = drawn.sum(axis=(1, 2)) - drawn[:, 1:-1, 1:-1].sum(axis=(1, 2))
    assert np.mean(border > 0.02 * drawn.sum(axis=(1, 2))) < 0.2


def test_gray_images_are_checked_and_limited() -> None:
    pictures, labels = gray_images("digits", "test", limit=7)
    assert pictures.shape == (7, 8, 8)
    np.testing.assert_array_equal(labels, images("digits", "test")[1][:7])
    assert len(gray_images("digits", "test")[1]) == 597


def test_more_directions_than_codes_have_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kept is below latent.*kept=4"):
        make_recipe("rank-minimizing-autoencoder", latent=8)


def medians(**changes: float) -> dict[int, dict[str, float]]:
    found = {0: {"effective_rank": 20.0, "error": 1.0, "cut": 2.0}}
    found |= {
        2: {"effective_rank": 15.0, "error": 1.1, "cut": 1.9},
        4: {"effective_rank": 13.0, "error": 1.3, "cut": 1.7},
    }
    for name, value in changes.items():
        quantity, depth = name.rsplit("_", 1)
        found[int(depth)][quantity] = value
    return found


def test_every_claim_can_fail() -> None:
    recipe: Any = make_recipe("rank-minimizing-autoencoder")

    def holds(**changes: float) -> list[bool]:
        return [bool(check.holds) for check in module._claims(recipe, medians(**changes))]

    assert holds() == [True] * 6
    assert holds(effective_rank_2=12.0)[0] is False
    assert holds(effective_rank_2=16.1)[1] is False
    assert holds(error_2=1.21)[2] is False
    assert holds(effective_rank_4=14.1)[3] is False
    assert holds(error_4=1.36)[4] is False
    assert holds(cut_4=1.81)[5] is False


def test_errors_are_claimed_at_gain_1_only() -> None:
    recipe: Any = make_recipe("rank-minimizing-autoencoder", gain=0.577)
    assert not any("error" in check.claim for check in module._claims(recipe, medians()))


def test_the_published_sizes_start_and_step(tmp_path: Path) -> None:
    few = {"data": "digits", "limit": 8, "test_limit": 4, "epochs": 1, "batch": 4, "depths": "0,8"}
    recipe = make_recipe("rank-minimizing-autoencoder", "paper", **few)
    summary = json.loads((run(recipe, out=tmp_path, figure=False).folder / "summary.json").read_text())
    assert len(summary["runs"][0]["spectrum"]) == 128


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    outcome = run(make_recipe("rank-minimizing-autoencoder"), out=tmp_path, figure=False).outcome
    assert outcome.holds
    assert len(outcome.checks) == 6


@pytest.mark.nightly
def test_mnist_holds(data_dir: Path, tmp_path: Path) -> None:
    recipe = make_recipe("rank-minimizing-autoencoder", "mnist", data_dir=str(data_dir))
    assert run(recipe, out=tmp_path, figure=False).outcome.holds
