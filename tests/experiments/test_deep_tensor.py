"""Deep tensor factorization: the quick preset's verdict, and that every claim can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.experiments import Outcome, make_recipe, read_metrics, run
from tnrank.experiments.recipes.deep_tensor import (
    DeepTensor,
    _checks,
    _figure,
    _mean_effective_rank,
    _mean_spectrum,
    _Medians,
)
from tnrank.factorizations import NetworkFactorization

SMALL = {"tucker_size": 3, "tucker_rank": 2, "tt_size": 2, "tt_rank": 1, "depths": (1, 2), "scales": (0.1, 1.0)}


def failing(found: Outcome) -> list[str]:
    return [check.claim for check in found.checks if not check.holds]


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("deep-tensor"), out=tmp_path)
    assert failing(done.outcome) == []
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["verdict"] == "holds"
    for model in ("tucker", "tt"):
        errors = np.asarray(summary[model]["relative_errors"])
        # What is claimed holds with room: not by a hair's breadth of one draw.
        assert (errors[1:, 1:] < 0.6 * errors[0, 1:]).all()
    starts = {r["model"]: r["value"] for r in read_metrics(done.folder) if (r["step"], r["quantity"]) == (0, "error")}
    assert len(starts) == 2 * 3 * 3 * 3


def test_without_training_it_does_not_hold(tmp_path: Path) -> None:
    recipe = make_recipe("deep-tensor", backend="numpy", seeds=1).limited(1)
    found = run(recipe, out=tmp_path, figure=False).outcome
    assert not found.holds
    assert len(failing(found)) == len(found.checks) == 9


def short(out: Path, backend: str) -> dict[str, Any]:
    recipe = make_recipe("deep-tensor", backend=backend, dtype="float64", seeds=2, record_every=5, **SMALL).limited(5)
    return dict(run(recipe, out=out, figure=False).outcome.summary)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return short(tmp_path_factory.mktemp("reference"), "numpy")


@pytest.mark.few_on_jax
def test_every_backend_runs_the_same(tmp_path: Path, backend_name: str, reference: dict[str, Any]) -> None:
    found = short(tmp_path, backend_name)
    for model in ("tucker", "tt"):
        for what in ("effective_ranks", "relative_errors", "losses"):
            np.testing.assert_allclose(found[model][what], reference[model][what], rtol=1e-9)


@pytest.mark.parametrize("model", ["tucker", "tt"])
def test_targets_have_the_ranks_of_the_format(model: str) -> None:
    target = DeepTensor().target(model, seed=4)
    assert np.mean(target**2) == pytest.approx(1)
    if model == "tucker":
        assert tnrank.multilinear_rank(target) == (3, 3, 3)
    else:
        assert tnrank.tt_ranks(target) == (3, 3, 3)


@pytest.mark.parametrize("model", ["tucker", "tt"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_size_bounds_a_rank(model: str, depth: int) -> None:
    recipe = DeepTensor(tucker_size=4, tucker_rank=2, tt_size=3, tt_rank=2)
    network, sizes = recipe.network(model, depth)
    x = NetworkFactorization.random(network, sizes, norm=2.0, seed=1)
    assert float(x.norm()) == pytest.approx(2.0)
    dense = np.asarray(x.to_dense())
    if model == "tucker":
        assert dense.shape == (4, 4, 4)
        assert len(x.arrays) == 3 * depth + 1
        assert tnrank.multilinear_rank(dense, rtol=1e-12) == (4, 4, 4)
    else:
        assert dense.shape == (3, 3, 3, 3)
        assert len(x.arrays) == 4 * depth
        assert tnrank.tt_ranks(dense, rtol=1e-12) == (3, 9, 3)


def test_measures_are_by_definition() -> None:
    tensor = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    spectra = [np.linalg.svd(tensor.reshape(n, -1), compute_uv=False) for n in (2, 6, 24)]
    ranks = []
    for s in spectra:
        p = s / s.sum()
        ranks.append(np.exp(-(p * np.log(p)).sum()))
    assert _mean_effective_rank(tensor, "tt") == pytest.approx(np.mean(ranks))
    shares = np.prod([s[:2] / s[0] for s in spectra], axis=0) ** (1 / 3)
    np.testing.assert_allclose(_mean_spectrum(tensor, "tt"), shares, rtol=1e-12)
    assert _mean_spectrum(np.zeros((2, 2, 2, 2)), "tt").max() <= 1e-11


def trained(model: str, depth: int, scale: float, error: float, loss: float, rank: float) -> dict[str, Any]:
    """A run as the recipe measures it; the target has effective rank 3."""
    run = {"model": model, "depth": depth, "scale": scale, "error": error, "loss": loss, "rank": rank}
    return {**run, "target_rank": 3.0, "spectrum": np.ones(2)}


def medians(ranks: Any, errors: Any, loss: float = 1e-4) -> _Medians:
    """Two depths and three scales of one seed."""
    runs = [
        trained("tucker", depth, scale, errors[k][j], loss, ranks[k][j])
        for k, depth in enumerate((1, 2))
        for j, scale in enumerate((1e-3, 3e-2, 0.3))
    ]
    return _Medians("tucker", runs)


def test_every_claim_can_fail() -> None:
    ranks, errors = [[3.1, 4.0, 6.0], [3.0, 3.2, 4.0]], [[0.02, 0.1, 0.5], [0.03, 0.05, 0.2]]

    def held(m: _Medians) -> list[bool]:
        return [check.holds for check in _checks(m)]

    assert held(medians(ranks, errors)) == [True] * 5
    assert held(medians(ranks, errors, loss=0.1)) == [False, False, False, True, False]
    assert held(medians([[3.1, 4.0, 6.0], [3.0, 4.2, 4.0]], errors)) == [True, False, True, True, False]
    assert held(medians(ranks, [[0.02, 0.1, 0.5], [0.03, 0.05, 0.6]])) == [True, True, False, True, True]
    assert held(medians([[3.6, 4.0, 6.0], [3.0, 3.2, 4.0]], errors)) == [True, True, True, False, True]
    assert held(medians([[3.1, 4.0, 6.0], [3.2, 3.3, 3.1]], errors)) == [True, True, True, False, True]
    # Close to the target's effective rank, deeper models need not be lower.
    assert held(medians([[3.1, 3.2, 6.0], [3.0, 3.3, 4.0]], errors)) == [True, False, True, True, True]


def test_medians_are_over_the_seeds() -> None:
    runs = [
        trained("tt", depth, scale, error, loss=0.0, rank=2.0)
        for depth in (1, 2)
        for scale in (0.1, 0.3)
        for error in (depth * scale, 7.0, 0.0)
    ]
    np.testing.assert_allclose(_Medians("tt", runs).errors, [[0.1, 0.3], [0.2, 0.6]])


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("depths", (2, 1), "whole numbers from 1 on, two or more, rising"),
        ("depths", (0, 1), "depths is a whole number from 1 on"),
        ("depths", (2,), "two or more"),
        ("scales", (0.0, 1.0), "scales is a positive number"),
        ("scales", (0.1, 0.1), "positive numbers, two or more, rising"),
        ("tucker_rank", 11, "tucker_rank lies in 1 .. tucker_size = 10"),
        ("tt_rank", 7, "tt_rank lies in 1 .. tt_size = 6"),
        ("tt_rank", 0, "tt_rank is a whole number from 1 on"),
        ("observed_share", 1.0, "between 0 and 1"),
        ("seeds", 0, "seeds is a whole number from 1 on"),
    ],
)
def test_bad_fields(field: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_recipe("deep-tensor", **{field: value})


def test_the_figure() -> None:
    figure = _figure([medians([[3.1, 4.0, 6.0], [3.0, 3.2, 4.0]], [[0.02, 0.1, 0.5], [0.03, 0.05, 0.2]])])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["depth 1", "depth 2", "target"]
    low, high = figure.axes[1].get_ylim()
    assert (low, high) == pytest.approx((1e-2, 1.25))
