"""``tnrank ranks``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank

Call = Callable[..., Any]


def test_in_a_process_of_its_own(shell: Call, tensor: Path) -> None:
    done = shell("ranks", tensor)
    assert done.returncode == 0, done.stderr
    assert "multilinear rank   (2, 2, 2)" in done.stdout
    assert done.stderr == ""


def test_json(call: Call, tensor: Path) -> None:
    found = json.loads(call("ranks", tensor, "--json").stdout)
    assert found == json.loads(json.dumps(tnrank.rank_report(np.load(tensor)).to_dict()))


@pytest.mark.parametrize("tree", ["balanced", "linear", "((0,2),1)"])
def test_trees(call: Call, tensor: Path, tree: str) -> None:
    found = json.loads(call("ranks", tensor, "--tree", tree, "--json").stdout)
    assert {node["rank"] for node in found["nodes"]} == {2}
    if tree == "((0,2),1)":
        assert [0, 2] in [node["modes"] for node in found["nodes"]]


def test_tolerance(call: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.diag([1.0, 1e-3, 1e-6]))
    assert json.loads(call("ranks", "m.npy", "--rtol", "1e-4", "--json").stdout)["matrix"]["rank"] == 2


def test_keys_csv_counts_and_factorizations(call: Call, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(3))
    (tmp_path / "m.csv").write_text("1,2\n2,4\n")
    np.save(tmp_path / "counts.npy", np.array([[1, 2], [2, 4]], np.uint8))
    tnrank.CPFactorization.random((3, 3, 3), rank=2, seed=0).save(tmp_path / "x.safetensors")
    cases = [
        (("two.npz", "--key", "b"), 3),
        (("m.csv",), 1),
        (("counts.npy",), 1),
        (("x.safetensors",), 2),
    ]
    for args, rank in cases:
        done = call("ranks", *args, "--json")
        assert done.exit_code == 0, done.stderr
        assert max(node["rank"] for node in json.loads(done.stdout)["nodes"]) == rank


def test_picture(call: Call, tensor: Path, tmp_path: Path) -> None:
    done = call("ranks", tensor, "--plot", "s.png")
    assert done.exit_code == 0
    assert (tmp_path / "s.png").read_bytes()[1:4] == b"PNG"
    assert "multilinear rank" in done.stdout
    again = call("ranks", tensor, "--plot", "s.png")
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert call("ranks", tensor, "--plot", "s.png", "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("tensr.npy",), "did you mean tensor.npy"),
        (("tensor.npy", "--tree", "oak"), "balanced, linear, star, or nested modes"),
        (("tensor.npy", "--tree", "((0,1),3)"), "mode 2 is missing"),
        (("tensor.npy", "--tree", "((0,1),(2,3))"), "modes"),
        (("tensor.npy", "--rtol", "2"), "rtol"),
        (("tensor.npy", "--plot", "s.txt"), "suffix"),
        (("tensor.npy", "--plot", "no/s.png"), "no folder"),
        (("holed.npy",), "are NaN"),
        (("words.csv",), "words.csv"),
        (("cut.npy",), "cut short or damaged"),
        (("pickled.npy",), "pickled"),
        (("vector.npy",), "a matrix or a tensor"),
    ],
)
def test_errors_are_one_line(call: Call, tmp_path: Path, holed: Path, args: tuple[str, ...], said: str) -> None:
    (tmp_path / "words.csv").write_text("a,b\nc,d\n")
    np.save(tmp_path / "vector.npy", np.ones(3))
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes(holed.read_bytes()[:-8])
    done = call("ranks", *args)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
