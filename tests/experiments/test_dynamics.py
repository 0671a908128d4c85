"""The three-panel figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank.experiments import make_recipe, read_metrics, run


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_recipe("dynamics", backend="numpy", seed=3).limited(120)
    return run(recipe, out=tmp_path_factory.mktemp("runs"), command=["tnrank", "test"]).folder


def test_the_folder_has_everything(short: Path) -> None:
    assert sorted(p.name for p in short.iterdir()) == [
        "config.json",
        "cp.safetensors",
        "figure.png",
        "figure.svg",
        "htf.safetensors",
        "metrics.csv",
        "mf.safetensors",
        "summary.json",
    ]
    config = json.loads((short / "config.json").read_text())
    assert config["fields"]["seed"] == 3
    assert config["command"] == ["tnrank", "test"]
    assert config["versions"]["numpy"] == np.__version__


def test_metrics_agree_with_the_saved_factorizations(short: Path) -> None:
    rows = [r for r in read_metrics(short) if r["quantity"] == "component_norms" and r["step"] == 120]
    found = [r["value"] for r in rows if r["model"] == "mf"]
    expected = np.linalg.svd(tnrank.load(short / "mf.safetensors").to_dense(), compute_uv=False)
    np.testing.assert_allclose(found, expected[:15], rtol=1e-4, atol=1e-6)
    x = tnrank.load(short / "htf.safetensors")
    root = [r["value"] for r in rows if r["model"] == "htf" and r["node"] == "{0,1,2,3}"]
    np.testing.assert_allclose(root, np.sort(x.component_norms()[x.tree.root])[::-1][:15], rtol=1e-4)


def test_a_short_run_does_not_pass(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert summary["verdict"] == "does not hold"
    assert summary["mf"]["status"] == "steps"
    assert summary["htf"]["effective_ranks"]["{0,2}"]["target"] > 5


def test_it_is_deterministic(short: Path, tmp_path: Path) -> None:
    again = run(make_recipe("dynamics", backend="numpy", seed=3).limited(120), out=tmp_path).folder
    assert (again / "metrics.csv").read_bytes() == (short / "metrics.csv").read_bytes()


def test_a_seed_means_the_same_on_every_backend(short: Path, tmp_path: Path, backend_name: str) -> None:
    recipe = make_recipe("dynamics", backend=backend_name, seed=3).limited(20)
    rows = read_metrics(run(recipe, out=tmp_path).folder)
    losses = {r["model"]: r["value"] for r in rows if r["quantity"] == "loss" and r["step"] == 0}
    expected = {r["model"]: r["value"] for r in read_metrics(short) if r["quantity"] == "loss" and r["step"] == 0}
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_quick_preset_shows_incremental_learning(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("dynamics", backend="jax"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["verdict"] == "holds"
    assert summary["mf"]["above_one_percent"] == summary["cp"]["above_one_percent"] == 5
    ranks = summary["htf"]["effective_ranks"]
    assert ranks["{0,1}"]["model"] < 5.5 < ranks["{0,2}"]["model"]
