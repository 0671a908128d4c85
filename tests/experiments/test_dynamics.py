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
    recipe = make_recipe("dynamics", backend="numpy", seed=3, htf_width=8).limited(50)
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
    assert (short / "figure.png").stat().st_size > 10_000
    config = json.loads((short / "config.json").read_text())
    assert config["fields"]["seed"] == 3
    assert config["command"] == ["tnrank", "test"]
    assert config["versions"]["numpy"] == np.__version__


def test_metrics_agree_with_the_saved_factorizations(short: Path) -> None:
    rows = [r for r in read_metrics(short) if r["quantity"] == "component_norms" and r["step"] == 50]
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
    recipe = make_recipe("dynamics", backend="numpy", seed=3, htf_width=8).limited(50)
    again = run(recipe, out=tmp_path, figure=False).folder
    assert (again / "metrics.csv").read_bytes() == (short / "metrics.csv").read_bytes()


def test_a_seed_means_the_same_on_every_backend(backend_name: str) -> None:
    here, there = make_recipe("dynamics", backend="numpy"), make_recipe("dynamics", backend=backend_name)
    for model, target in here.targets().items():
        expected, found = here.training(model, target), there.training(model, target)
        assert found.starts.backend.name == backend_name
        np.testing.assert_allclose(
            found.starts.to("numpy").to_dense(), expected.starts.to_dense(), rtol=1e-3, atol=1e-9
        )
        np.testing.assert_array_equal(found.values, expected.values)


def test_a_matrix_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "matrix.csv"
    np.savetxt(file, np.random.default_rng(0).standard_normal((6, 2)) @ np.ones((2, 5)), delimiter=",")
    recipe = make_recipe("dynamics", backend="numpy", target=str(file), observed=20, mf_std=0.1).limited(50)
    done = run(recipe, tmp_path)
    x = tnrank.load(done.folder / "mf.safetensors")
    assert [layer.shape for layer in x.layers] == [(6, 5), (5, 5), (5, 5)]
    assert [table.columns for table in done.outcome.tables] == [("model", "quantity", "measured")]
    assert "published" not in done.outcome.tables[0].note
    (check,) = done.outcome.checks
    assert check.claim == "MF: two or more singular values set in, strictly one after the other"
    assert len(done.outcome.figure.axes) == 1


@pytest.mark.parametrize(("shape", "off"), [((5, 4, 3), 0), ((4, 3, 2, 3), 2), ((2,) * 5, 3)])
def test_a_tensor_of_ones_own(tmp_path: Path, shape: tuple[int, ...], off: int) -> None:
    tensor = tnrank.data.low_rank_tensor(shape, 2, norm=3.0, seed=0)
    np.save(tmp_path / "tensor.npy", tensor)
    fields = {"target": str(tmp_path / "tensor.npy"), "observed": 30, "htf_width": 4, "cp_std": 0.1, "htf_std": 0.3}
    recipe = make_recipe("dynamics", "paper", **{"backend": "numpy", **fields}).limited(20)
    targets = recipe.targets()
    assert list(targets) == ["cp", "htf"]
    np.testing.assert_allclose(targets["htf"], tensor * np.sqrt(tensor.size) / 3.0)
    done = run(recipe, tmp_path, figure=off == 0)
    assert tnrank.load(done.folder / "cp.safetensors").rank == tensor.size // max(shape)
    ranks = done.outcome.tables[2].rows
    assert [row[1] for row in ranks].count("off") == off
    assert len(ranks) - off == 2 * len(shape) - 3
    assert not any(
        word in check.claim for check in done.outcome.checks for word in ("exactly", "about 5", "at least", "4 or more")
    )
    assert len(done.outcome.checks) == 5
    assert off or len(done.outcome.figure.axes) == 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(7), r"target\.npy has shape \(7,\): needed a tensor of order 2 or more"),
        (np.array([[1.0, np.nan]]), r"target\.npy has nan at index \(0, 1\)"),
        (np.ones((2, 3)), r"observed lies in 1 \.\. 6, the entries of .*target\.npy, got 7"),
    ],
)
def test_targets_that_cannot_be_trained(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "target.npy", array)
    recipe = make_recipe("dynamics", backend="numpy", target=str(tmp_path / "target.npy"), observed=7).limited(2)
    with pytest.raises(ValueError, match=message):
        run(recipe, tmp_path)


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
