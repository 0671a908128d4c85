"""``tnrank complete``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank

Call = Callable[..., Any]
_QUICK = ("--backend", "numpy", "--steps", "60")


def test_missing_entries_are_filled_in(call: Call, holed: Path, tensor: Path, tmp_path: Path) -> None:
    done = call("complete", holed, "--backend", "numpy", "--steps", 2500, "--out", "full.npy")
    assert done.exit_code == 0, done.stderr
    assert "mean predictor" in done.stdout
    assert "full.npy" in done.stdout
    truth, found = np.load(tensor), np.load(tmp_path / "full.npy")
    missing = np.isnan(np.load(holed))
    assert (found[~missing] == truth[~missing]).all()
    assert np.linalg.norm(found - truth) < 0.1 * np.linalg.norm(truth)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("complete-holed-numpy-")
    assert tnrank.load(folder / "factorization.safetensors").shape == (10, 9, 8)


@pytest.mark.parametrize("model", ["cp", "htf"])
def test_models(call: Call, holed: Path, tmp_path: Path, model: str) -> None:
    done = call("complete", holed, "--model", model, "--width", 6, *_QUICK)
    assert done.exit_code == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    x = tnrank.load(folder / "factorization.safetensors")
    assert x.kind == {"cp": "cp", "htf": "hierarchical"}[model]
    assert 6 in {a.shape[1] for a in x.arrays.values()}


def test_a_mask_file(call: Call, tensor: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.random.default_rng(0).random((10, 9, 8)) < 0.25)
    done = call("complete", tensor, "--missing", "mask.npy", *_QUICK)
    assert done.exit_code == 0, done.stderr


def test_float64_on_every_backend(call: Call, shell: Call, holed: Path, tmp_path: Path, backend_name: str) -> None:
    command = ("complete", holed, "--backend", backend_name, "--dtype", "float64", "--steps", 20)
    if backend_name == "jax":  # the tests have turned float64 on in this process
        done = shell(*command)
        assert done.returncode == 0, done.stderr
    else:
        done = call(*command)
        assert done.exit_code == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert tnrank.load(folder / "factorization.safetensors").dtype == "float64"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("holed.npy", "--model", "hft"), "did you mean 'htf'"),
        (("holed.npy", "--model", "mf"), "use --model cp or htf"),
        (("holed.npy", "--backend", "jacks"), "unknown backend 'jacks'"),
        (("holed.npy", "--dtype", "float16"), "float32 or float64"),
        (("holed.npy", "--missing", "mask.npy"), "no file mask.npy"),
        (("holed.npy", "--missing", "matrix.npy"), "needed (10, 9, 8)"),
        (("holed.npy", "--out", "matrix.npy"), "exists already"),
        (("holed.npy", "--out", "full.csv"), "needed .npy"),
        (("holed.npy", "--hold-out", "1.5"), "--hold-out is a share"),
        (("holed.npy", "--tree", "(0,(1,2))"), "--tree belongs to --model htf"),
        (("tensor.npy",), "no entry of tensor.npy is NaN"),
        (("all.npy",), "are missing"),
        (("nothing.npy",), "no file nothing.npy"),
        (("holed.npy", "--runs", "matrix.npy"), "cannot write a run folder"),
    ],
)
def test_errors_are_one_line(call: Call, tmp_path: Path, holed: Path, args: tuple[str, ...], said: str) -> None:
    np.save(tmp_path / "matrix.npy", np.eye(3))
    np.save(tmp_path / "all.npy", np.full((3, 3), np.nan))
    before = (tmp_path / "matrix.npy").read_bytes()
    options = () if "--backend" in args else ("--backend", "numpy")
    done = call("complete", *args, "--steps", 5, *options)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("runs/*"))
    assert (tmp_path / "matrix.npy").read_bytes() == before


def test_tiny_tables(call: Call, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("1,2,3\n2,4,\n3,6,9\n")
    done = call("complete", "table.csv", "--backend", "numpy")
    assert done.exit_code == 1
    assert "--hold-out 0 holds none out" in done.stderr
    done = call("complete", "table.csv", "--hold-out", "0", "--out", "full.npy", *_QUICK)
    assert done.exit_code == 0, done.stderr
    assert np.isfinite(np.load(tmp_path / "full.npy")).all()
    assert "star" in call("complete", "--help").stdout
