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


def test_auto_tree(call: Call, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "pairs.npy", np.einsum("ac,bd->abcd", *rng.standard_normal((2, 4, 4))))
    done = call("ranks", "pairs.npy", "--tree", "auto", "--json")
    assert "tree chosen from the data: " in done.stderr
    found = {tuple(node["modes"]): node["rank"] for node in json.loads(done.stdout)["nodes"]}
    assert found[0, 2] == 1
    assert (0, 1) not in found


def big(path: Path, rank: int = 3, dtype: str = "float64") -> np.ndarray:
    """A file of 160,000 numbers, with noise; five times --memory 300kB."""
    x = np.asarray(tnrank.HierarchicalTucker.random((20,) * 4, rank=rank, seed=0).to_dense())
    x = x / np.linalg.norm(x) + 1e-6 * np.random.default_rng(0).standard_normal(x.shape) / x.size**0.5
    np.save(path, x.astype(dtype))
    return x


@pytest.mark.parametrize("dtype", ["float64", ">f4"])
@pytest.mark.parametrize("tree", ["balanced", "auto", "((0,3),(1,2))"])
def test_large_files_are_read_in_chunks(call: Call, tmp_path: Path, tree: str, dtype: str) -> None:
    x = big(tmp_path / "big.npy", dtype=dtype)
    done = call("ranks", "big.npy", "--memory", "300 kB", "--tree", tree, "--json")
    assert done.exit_code == 0, done.stderr
    assert "big.npy has" in done.stderr
    assert "relative error of at most 0.001" in done.stderr
    found = json.loads(done.stdout)
    assert found["rtol"] == 1e-3
    exact = tnrank.hierarchical_singular_values(x, tree=found["tree"])
    for node in found["nodes"]:
        assert node["rank"] == sum(exact[tuple(node["modes"])] > 1e-3 * exact[tuple(node["modes"])][0])
        s = np.array(node["singular_values"])
        assert np.allclose(s, exact[tuple(node["modes"])][: len(s)], atol=1e-5)


def test_what_large_files_cannot_have(call: Call, tmp_path: Path) -> None:
    x = big(tmp_path / "big.npy")
    for args, said in [
        (("--method", "qr"), "got --method qr: raise --memory"),
        (("--rtol", "1e-9"), "the floor of the Gram matrices"),
        (("--rtol", "1e-7", "--memory", "299kB"), "the floor of the Gram matrices"),
        (("--rtol", "2e-7"), "raise --memory, raise --rtol (now 2e-07), or choose a --tree"),
    ]:
        done = call("ranks", "big.npy", "--memory", "300 kB", *args)
        assert done.exit_code == 1
        assert said in done.stderr.splitlines()[-1]
        assert done.stdout == ""
    x[3, 4, 5, 6] = np.inf
    np.save(tmp_path / "wrong.npy", x)
    assert "index (3, 4, 5, 6)" in call("ranks", "wrong.npy", "--memory", "300 kB").stderr


@pytest.mark.parametrize("tree", ["((0,3),(1,2))", pytest.param("auto", marks=pytest.mark.slow)])
def test_large_files_within_memory_are_compressed_first(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: str
) -> None:
    from tnrank.cli import _large

    monkeypatch.setattr(_large, "_WORTH_IT", 10**6)
    x = big(tmp_path / "big.npy")
    args = ("ranks", "big.npy", "--tree", tree, "--json")
    done = call(*args, "--rtol", "1e-4", "--save", "x.safetensors")
    assert "big.npy has 1.28 MB: it is compressed to" in done.stderr
    assert "relative error of at most 1e-05" in done.stderr
    found = json.loads(done.stdout)
    exact = tnrank.hierarchical_singular_values(x, tree=found["tree"])
    for node in found["nodes"]:
        s = exact[tuple(node["modes"])]
        assert node["rank"] == sum(s > 1e-4 * s[0])
        values = np.array(node["singular_values"])
        assert np.allclose(values, s[: len(values)], rtol=0, atol=1e-5)
    saved = tnrank.load(tmp_path / "x.safetensors")
    assert saved.tree == tnrank.DimensionTree(found["tree"])
    assert np.linalg.norm(saved.to_dense() - x) < 1e-5 * np.linalg.norm(x)
    again = call(*args, "--rtol", "1e-4", "--save", "x.safetensors")
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert call(*args, "--rtol", "1e-4", "--save", "x.safetensors", "--overwrite").exit_code == 0
    for exactly in ((), ("--rtol", "1e-4", "--method", "qr"), ("--rtol", "1e-8")):
        done = call(*args, *exactly)
        assert "compressed" not in done.stderr
        assert json.loads(done.stdout)["given"] == "array"


def test_large_files_within_memory_that_are_not_of_low_rank(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tnrank.cli import _large

    monkeypatch.setattr(_large, "_WORTH_IT", 10**5)
    x = np.random.default_rng(0).standard_normal((30, 30, 30))
    np.save(tmp_path / "noise.npy", x)
    done = call("ranks", "noise.npy", "--rtol", "1e-3", "--json")
    assert "not of low rank to that tolerance" in done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(tnrank.rank_report(x, rtol=1e-3).to_dict()))
    x[3, 4, 5] = np.nan
    np.save(tmp_path / "noise.npy", x)
    done = call("ranks", "noise.npy", "--rtol", "1e-3")
    assert done.exit_code == 1
    assert "1 of 27,000 entries of noise.npy are NaN" in done.stderr
    assert done.stderr.count("\n") == 1


def test_saving_what_was_measured(call: Call, tensor: Path, tmp_path: Path) -> None:
    done = call("ranks", tensor, "--rtol", "1e-6", "--tree", "linear", "--save", "x.safetensors")
    assert done.exit_code == 0, done.stderr
    assert "numbers saved in x.safetensors" in done.stderr
    assert "multilinear rank   (2, 2, 2)" in done.stdout
    x, saved = np.load(tensor), tnrank.load(tmp_path / "x.safetensors")
    assert saved.tree == tnrank.DimensionTree.linear(3)
    assert np.linalg.norm(saved.to_dense() - x) <= 1e-6 * np.linalg.norm(x)
    big(tmp_path / "big.npy")
    done = call("ranks", "big.npy", "--memory", "300 kB", "--save", "big.safetensors")
    assert done.exit_code == 0, done.stderr
    y = np.load(tmp_path / "big.npy")
    assert np.linalg.norm(tnrank.load(tmp_path / "big.safetensors").to_dense() - y) <= 1e-3 * np.linalg.norm(y)


def test_gram_alone(call: Call, tmp_path: Path) -> None:
    x = np.asarray(tnrank.CPFactorization.random((6,) * 5, rank=3, seed=0).to_dense())
    np.save(tmp_path / "x.npy", x)
    found = json.loads(call("ranks", "x.npy", "--method", "gram", "--json").stdout)
    assert {node["rank"] for node in found["nodes"]} == {3}


def test_the_progress_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rich = pytest.importorskip("rich.console")
    from tnrank.cli import _console, _large

    shown = rich.Console(record=True, force_terminal=True, width=100)
    monkeypatch.setattr(_console, "errors", lambda: shown)
    big(tmp_path / "big.npy")
    array = np.load(tmp_path / "big.npy", mmap_mode="r")
    with shown.capture() as capture:
        _large.compress_file(tmp_path / "big.npy", array, None, 1e-3, 300_000)
    assert "pass 1: Gram matrices" in capture.get()
    assert "100%" in capture.get()


def test_json_of_a_norm_beyond_numbers(call: Call, tmp_path: Path) -> None:
    tnrank.HierarchicalTucker.random((10,) * 640, rank=1, std=0.0, mean=1.0).save(tmp_path / "ones.safetensors")
    done = call("ranks", "ones.safetensors", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["frobenius_norm"] is None
    assert max(node["rank"] for node in found["nodes"]) == 1


def test_saved_factorizations_keep_their_tree(call: Call, tmp_path: Path) -> None:
    for x in (
        tnrank.TensorTrain.random((4, 5, 4, 3), rank=3, seed=0),
        tnrank.TensorTrainOperator.random((4, 5), (3, 2), rank=3, seed=0),
        tnrank.Tucker.random((4, 5, 4), rank=2, seed=0),
        tnrank.HierarchicalTucker.random((4,) * 4, tree=((0, 3), (1, 2)), rank=2, seed=0),
        tnrank.HierarchicalFactorization.random((3,) * 4, tree=((0, 3), (1, 2)), width=2, seed=0),
        tnrank.MatrixFactorization.random((6, 5), depth=2, seed=0),
        tnrank.CPFactorization.random((3, 3, 3), rank=2, seed=0),
    ):
        x.save(tmp_path / "x.safetensors")
        done = call("ranks", "x.safetensors", "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout) == json.loads(json.dumps(tnrank.rank_report(x).to_dict()))
        assert call("ranks", "x.safetensors").stdout == f"{tnrank.rank_report(x)}\n"


def test_method(call: Call, tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.diag([1.0, 1e-10]))
    assert call("ranks", "m.npy", "--method", "qr", "--rtol", "1e-12").exit_code == 0
    done = call("ranks", "m.npy", "--method", "gram", "--rtol", "1e-12")
    assert done.exit_code == 1
    assert "below the accuracy floor" in done.stderr


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
        (("tensor.npy", "--method", "lu"), "unknown method 'lu'"),
        (("tensor.npy", "--memory", "some"), "such as '1 GiB'"),
        (("tensor.npy", "--key", "a"), "a key names an array of an .npz file"),
        (("tensor.npy", "--plot", "s.txt"), "suffix"),
        (("tensor.npy", "--plot", "no/s.png"), "no folder"),
        (("tensor.npy", "--save", "new.safetensors"), "give --rtol"),
        (("tensor.npy", "--save", "x.npy", "--rtol", "1e-3"), "needed .safetensors"),
        (("x.safetensors", "--save", "y.safetensors"), "holds a factorization already"),
        (("x.foo",), ".safetensors"),
        (("two.npz",), "the arrays a, b: name one by --key"),
        (("tensor.npy", "--tree", "(0,1)"), "use --tree balanced or another tree"),
        (("tensor.npy", "--method", "gram", "--rtol", "1e-9"), "use --method qr"),
        (("tensor.npy", "--rtol", "1e-17"), "raise --rtol, or leave it out"),
        (("holed.npy",), "are NaN"),
        (("words.csv",), "words.csv"),
        (("cut.npy",), "cut short or damaged"),
        (("pickled.npy",), "pickled"),
        (("vector.npy",), "a matrix or a tensor"),
    ],
)
def test_errors_are_one_line(call: Call, tmp_path: Path, holed: Path, args: tuple[str, ...], said: str) -> None:
    (tmp_path / "words.csv").write_text("a,b\nc,d\n")
    (tmp_path / "x.foo").touch()
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones(2))
    tnrank.CPFactorization.random((3, 3, 3), rank=2, seed=0).save(tmp_path / "x.safetensors")
    np.save(tmp_path / "vector.npy", np.ones(3))
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes(holed.read_bytes()[:-8])
    done = call("ranks", *args)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
