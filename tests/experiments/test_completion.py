"""Completing a person's own tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.data import low_rank_tensor
from tnrank.experiments import run
from tnrank.experiments.recipes.completion import Completion


def holed(
    shape: tuple[int, ...], path: Path, share: float = 0.4, scale: float = 300.0
) -> tuple[np.ndarray, np.ndarray]:
    tensor = low_rank_tensor(shape, rank=2, seed=0) * scale
    missing = np.random.default_rng(1).random(shape) < share
    np.save(path, np.where(missing, np.nan, tensor))
    return tensor, missing


@pytest.mark.parametrize(("shape", "model"), [((30, 20), "mf"), ((12, 10, 8), "cp"), ((8, 7, 6), "htf")])
def test_a_low_rank_tensor_of_any_scale_is_recovered(tmp_path: Path, shape: tuple[int, ...], model: str) -> None:
    tensor, missing = holed(shape, tmp_path / "t.npy")
    recipe = Completion(source=str(tmp_path / "t.npy"), model=model, backend="numpy", steps=4000)
    done = run(recipe, out=tmp_path / "runs")
    found = np.load(done.folder / "completed.npy")
    assert (found[~missing] == tensor[~missing]).all()
    error = np.linalg.norm((found - tensor)[missing]) / np.linalg.norm(tensor[missing])
    assert error < 0.1
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["held_out_error"] < 0.2 * summary["mean_predictor_error"]
    dense = tnrank.load(done.folder / "factorization.safetensors").to_dense()
    np.testing.assert_allclose(found[missing], dense[missing], rtol=1e-4, atol=1e-3)


def test_centering_gives_the_mean_back(tmp_path: Path) -> None:
    tensor, missing = holed((20, 15), tmp_path / "t.npy", scale=1.0)
    np.save(tmp_path / "t.npy", np.where(missing, np.nan, tensor + 100))
    done = run(
        Completion(source=str(tmp_path / "t.npy"), backend="numpy", steps=3000, center=True),
        out=tmp_path / "runs",
    )
    found = np.load(done.folder / "completed.npy")
    assert np.sqrt(np.mean((found - tensor - 100)[missing] ** 2)) < 0.3
    assert done.outcome.summary["offset"] == pytest.approx(100, abs=1)


def test_nothing_held_out(tmp_path: Path) -> None:
    holed((8, 8), tmp_path / "t.npy")
    recipe = Completion(source=str(tmp_path / "t.npy"), backend="numpy", steps=50, hold_out=0)
    done = run(recipe, out=tmp_path / "runs")
    assert "held_out_error" not in done.outcome.summary
    assert done.outcome.summary["steps"] == 50


def test_a_mask_says_what_is_missing(tmp_path: Path) -> None:
    tensor, missing = holed((9, 9), tmp_path / "t.npy")
    np.save(tmp_path / "t.npy", tensor)
    np.save(tmp_path / "m.npy", missing)
    recipe = Completion(source=str(tmp_path / "t.npy"), missing=str(tmp_path / "m.npy"), backend="numpy", steps=20)
    assert run(recipe, out=tmp_path / "runs").outcome.summary["missing"] == missing.sum()


def _case(name: str) -> tuple[Any, dict[str, Any]]:
    full, some = np.ones((4, 4)), np.ones((4, 4))
    some[0, 0] = np.nan
    infinite = some.copy()
    infinite[1, 1] = np.inf
    return {
        "no nan": (full, {}),
        "all missing": (np.full((4, 4), np.nan), {}),
        "infinite": (infinite, {}),
        "zero": (0 * some, {}),
        "vector": (some[0], {}),
        "complex": (some + 1j, {}),
        "mf of order 3": (np.stack([some, some]), {"model": "mf"}),
        "tree of cp": (np.stack([some, some]), {"model": "cp", "tree": (0, (1, 2))}),
        "too few": (some[:1, :3], {}),
    }[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no nan", "no entry of .* is NaN"),
        ("all missing", "all 16 entries .* are missing"),
        ("infinite", r"inf at index \(1, 1\)"),
        ("zero", "all observed entries are 0"),
        ("vector", "needed a matrix or a tensor"),
        ("complex", "complex"),
        ("mf of order 3", "model='cp' or model='htf'"),
        ("tree of cp", "belongs to the model htf"),
        ("too few", "0 holds none out"),
    ],
)
def test_bad_input_is_explained(tmp_path: Path, name: str, said: str) -> None:
    array, fields = _case(name)
    np.save(tmp_path / "t.npy", array)
    with pytest.raises(TypeError if name == "complex" else ValueError, match=said):
        run(Completion(source=str(tmp_path / "t.npy"), backend="numpy", **fields), out=tmp_path / "runs")
    assert not list(tmp_path.glob("runs/*"))


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    holed((4, 4), tmp_path / "t.npy")
    np.save(tmp_path / "m.npy", np.ones((4, 5), bool))
    recipe = Completion(source=str(tmp_path / "t.npy"), missing=str(tmp_path / "m.npy"), backend="numpy")
    with pytest.raises(ValueError, match=r"\(4, 5\), needed \(4, 4\)"):
        run(recipe, out=tmp_path / "runs")
