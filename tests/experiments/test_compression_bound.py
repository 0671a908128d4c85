"""CP components of convolutions, kept after training."""

from __future__ import annotations

import json
from itertools import pairwise
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import compression_bound

pytest.importorskip("torch")
SMALL = {"limit": 40, "channels": "4,5", "components": "1,4,12", "seeds": 1, "steps": 20, "batch": 20}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("compression-bound", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    runs = json.loads((short / "summary.json").read_text())["runs"]
    assert [one["kind"] for one in runs] == ["real", "random"]
    for one in runs:
        assert [row["components"] for row in one["rows"]] == [1, 4, 12]
        for row in one["rows"]:
            assert row["bound"] == pytest.approx(sqrt(row["parameters"] / 40))
        errors = one["errors"]
        assert all(a >= b - 1e-9 for e in errors.values() for a, b in pairwise(e))
    # 4 components of each: kernels of 5 x 4 x 3 x 3, and of 4 x 3 x 3 without its mode of one channel
    assert runs[0]["rows"][1]["parameters"] == 4 * (5 + 4 + 3 + 3) + 4 * (4 + 3 + 3)
    assert (short / "figure.png").stat().st_size > 5_000


def test_kernels_are_exchanged_and_given_back() -> None:
    x, y = tnrank.data.images("digits", "train")
    options = {"images": x[:40], "labels": y[:40], "test_images": x[40:60], "test_labels": y[40:60]}
    trainer = tnrank.get_backend("torch").trainer(
        "compressible_cnn", channels=(4, 5), learning_rate=1e-2, batch=20, seed=0, dtype="float64", **options
    )
    trainer.advance(10)
    before, kernels = trainer.measure(), trainer.kernels()
    assert [kernel.shape for kernel in kernels.values()] == [(4, 1, 3, 3), (5, 4, 3, 3)]
    assert trainer.measure_with(kernels) == before
    zeros = {name: np.zeros_like(kernel) for name, kernel in kernels.items()}
    scores = trainer.measure_with(zeros)
    # All images look alike to a network without kernels.
    most = np.bincount(y[:40]).max() / 40
    assert scores["train_accuracy"] <= most
    assert trainer.measure() == before
    for name, kernel in trainer.kernels().items():
        np.testing.assert_array_equal(kernel, kernels[name])


def runs_with(real: float, random: float, test: float, full: float = 0.9) -> list[dict[str, Any]]:
    def one(kind: str, needed: float) -> dict[str, Any]:
        row = None if needed == inf else {"components": needed, "parameters": 9, "bound": 1.0, "test_accuracy": test}
        return {"kind": kind, "seed": 0, "full": {"train_accuracy": 1.0, "test_accuracy": full}, "needed": row}

    return [one("real", real), one("random", random)]


def test_claims_can_fail() -> None:
    recipe = make_recipe("compression-bound", **SMALL)
    assert all(check.holds for check in compression_bound._claims(recipe, runs_with(4, 12, 0.88)))
    _, fewer, kept = compression_bound._claims(recipe, runs_with(12, 4, 0.5))
    assert not fewer.holds
    assert not kept.holds
    _, fewer, _ = compression_bound._claims(recipe, runs_with(inf, inf, 0.88))
    assert not fewer.holds
    unfitted = runs_with(4, 12, 0.88)
    unfitted[1]["full"]["train_accuracy"] = 0.5
    assert not compression_bound._claims(recipe, unfitted)[0].holds


@pytest.mark.slow
def test_quick_preset_holds(tmp_path: Path) -> None:
    assert run(make_recipe("compression-bound"), out=tmp_path).outcome.holds
