"""Depth efficiency: the quick preset's verdict, and that every claim can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tnrank.experiments import Outcome, known_recipes, make_recipe, read_metrics, run
from tnrank.experiments.recipes.depth_efficiency import (
    MODELS,
    DepthEfficiency,
    Point,
    closed_form,
    outcome,
    random_weights,
)


def points(features: int = 3, channels: int = 2) -> list[Point]:
    """What a small recipe measures, without a run folder."""
    recipe = DepthEfficiency(features=features, channels=channels)
    found = [recipe.measure(model, order) for order in (2, 4, 6, 8) for model in MODELS]
    return [point for point in found if point is not None]


def failing(found: Outcome) -> list[str]:
    return [check.claim for check in found.checks if not check.holds]


def test_the_quick_preset_holds(tmp_path: Path) -> None:
    done = run(make_recipe("depth-efficiency"), out=tmp_path)
    assert failing(done.outcome) == []
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["verdict"] == "holds"
    assert summary["ranks"]["deep"]["16"] == 256
    assert summary["ranks"]["deep"]["32"] is None
    assert summary["bounds"]["deep"]["32"] == 2**16
    assert summary["ranks"]["windows_of_4"]["16"] == 16
    assert summary["ranks"]["shallow"]["32"] == summary["ranks"]["left_right"]["32"] == 2
    rows = read_metrics(done.folder)
    assert {row["model"] for row in rows} == set(MODELS)
    assert (done.folder / "figure.png").stat().st_size > 1_000
    assert done.folder.name.startswith("depth-efficiency-quick-numpy")


@pytest.mark.parametrize(("features", "channels"), [(3, 2), (4, 3), (2, 3), (2, 5)])
def test_measured_ranks_are_those_of_the_dense_tensor(features: int, channels: int) -> None:
    recipe = DepthEfficiency(features=features, channels=channels)
    for model in MODELS:
        for order in (2, 4, 6):
            point = recipe.measure(model, order)
            if point is None:
                continue
            circuit = recipe.circuit(model, order)
            dense = np.asarray(circuit.to_factorization(random_weights(circuit, 0)).to_dense())
            half = order // 2
            axes = range(order) if model == "left_right" else [*range(0, order, 2), *range(1, order, 2)]
            matrix = dense.transpose(*axes).reshape(features**half, features**half)
            assert point.rank == np.linalg.matrix_rank(matrix, rtol=1e-9), (model, order)
            assert point.rank == closed_form(model, order, features, channels) <= point.bound


@pytest.mark.parametrize(
    ("model", "rank", "words"),
    [
        ("deep", 7, "windows of 2: the odd/even rank"),
        ("windows_of_4", 3, "windows of 4 first"),
        ("shallow", 3, "whatever N is"),
        ("left_right", 3, "left/right"),
        ("shared", 999, "exceeds its minimum cut"),
    ],
)
def test_a_wrong_rank_fails_its_claim(model: str, rank: int, words: str) -> None:
    found = points()
    assert failing(outcome(found, 3, 2)) == []
    wrong = [replace(p, rank=rank) if (p.model, p.order) == (model, 8) else p for p in found]
    claims = failing(outcome(wrong, 3, 2))
    assert any(words in claim for claim in claims)


def test_weights_that_do_not_pay_fail_the_last_claim() -> None:
    dear = [replace(p, weights=10_000_000) if p.model == "deep" else p for p in points()]
    assert failing(outcome(dear, 3, 2)) == [
        "a shallow circuit of the same odd/even rank takes more and more times the weights"
    ]


def test_what_was_not_measured_fails() -> None:
    unmeasured = [replace(p, rank=None) for p in points()]
    found = outcome(unmeasured, 3, 2)
    assert len(failing(found)) == len(found.checks) == 6
    assert found.tables[0].rows[-1][1] == "(16)"


def test_one_feature_has_no_exponent() -> None:
    assert any("more and more times" in claim for claim in failing(outcome(points(features=1), 1, 2)))


def test_fields() -> None:
    assert "depth-efficiency" in known_recipes()
    quick, paper = make_recipe("depth-efficiency"), make_recipe("depth-efficiency", "paper")
    assert (quick.features, quick.channels, paper.features, paper.channels) == (3, 2, 4, 3)
    assert replace(quick, backend="jax", dtype="float32").dtype == "float64"
    assert quick.orders == [2, 4, 6, 8, 10, 12, 14, 16, 18, 32]
    for fields in ({"features": 0}, {"channels": 0}, {"largest_order": 1}, {"largest_rank": 0}):
        with pytest.raises(ValueError, match=r"is a whole number from [12] on"):
            make_recipe("depth-efficiency", **fields)


def test_the_figure_shows_bounds_as_lines_and_what_was_measured_as_dots() -> None:
    pytest.importorskip("matplotlib")
    found = points()
    found = [replace(p, rank=None) if (p.model, p.order) == ("deep", 8) else p for p in found]
    left, right = outcome(found, 3, 2).figure().axes
    assert [text.get_text() for text in left.get_legend().get_texts()][:2] == [
        "deep, windows of 2",
        "the same, shared weights",
    ]
    np.testing.assert_array_equal(left.lines[0].get_ydata(), [2, 4, 8, 16])
    np.testing.assert_array_equal(left.lines[1].get_ydata(), [2, 4, 8])
    assert right.get_title(loc="left") == "Weights"
