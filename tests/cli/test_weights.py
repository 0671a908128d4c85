"""``tnrank ranks`` of the weights of models."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.radar import layer_ranks, read_weights

Call = Callable[..., Any]

torch = pytest.importorskip("torch")
to_file = pytest.importorskip("safetensors.torch").save_file


def state(dtype: Any = torch.float32) -> dict[str, Any]:
    torch.manual_seed(0)
    low = torch.randn(30, 3).double() @ torch.randn(3, 20).double()
    named = {"layers.10.weight": low, "layers.2.weight": torch.randn(4, 3, 2, 2), "layers.2.bias": torch.randn(4)}
    return {name: x.to(dtype) for name, x in named.items()} | {"steps": torch.tensor(7)}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_safetensors(call: Call, tmp_path: Path, dtype: str) -> None:
    held = state(getattr(torch, dtype))
    to_file(held, tmp_path / "model.safetensors", metadata={"format": "pt"})
    done = call("ranks", "model.safetensors", "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["weights"]] == ["layers.2.weight", "layers.10.weight"]
    assert found["weights"][1]["dtype"] == dtype
    assert found["weights"][1]["matrix"]["rank"] == 3
    assert found["left_out"] == ["layers.2.bias", "steps"]
    expected = layer_ranks({name: held[name] for name in ("layers.2.weight", "layers.10.weight")})
    for row, other in zip(found["weights"], expected, strict=True):
        assert row["matrix"]["singular_values"] == pytest.approx(other.matrix.singular_values, abs=1e-5)
        assert row["matrix"]["rank"] == other.matrix.rank


def test_table_and_csv(call: Call, tmp_path: Path) -> None:
    to_file(state(), tmp_path / "model.safetensors")
    done = call("ranks", "model.safetensors", "--rtol", "0.01", "--csv", "out.csv")
    assert done.exit_code == 0, done.stderr
    assert "ranks of 2 weights, 648 parameters" in done.stdout
    assert "relative error of at most 0.01" in done.stdout
    with (tmp_path / "out.csv").open() as stream:
        assert [row["compressed_rank"] for row in csv.DictReader(stream)] == ["4", "3"]
    done = call("ranks", "model.safetensors", "--csv", "out.csv")
    assert "add --overwrite" in done.stderr


def test_a_factorization_is_still_one(call: Call, tmp_path: Path) -> None:
    tnrank.TensorTrain.random((3, 4, 5), rank=2, seed=0).save(tmp_path / "x.safetensors")
    assert "multilinear rank   (2, 4, 2)" in call("ranks", "x.safetensors").stdout
    assert "got --csv o.csv" in call("ranks", "x.safetensors", "--csv", "o.csv").stderr


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch(call: Call, tmp_path: Path, zipped: bool) -> None:
    torch.save(state(), tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    found = json.loads(call("ranks", "model.pt", "--json").stdout)
    assert {row["name"]: row["matrix"]["rank"] for row in found["weights"]} == {
        "layers.10.weight": 3,
        "layers.2.weight": 4,
    }
    moments = {"state": {0: {"exp_avg": torch.ones(3, 3)}}}
    torch.save({"model": state(), "optimizer": moments, "epoch": 3}, tmp_path / "checkpoint.pth")
    assert json.loads(call("ranks", "checkpoint.pth", "--json").stdout) == found
    torch.save({"generator": state(), "critic": {"w": torch.eye(2)}}, tmp_path / "two.pt")
    assert "two.pt has weights in several entries (generator, critic): name one by --key generator" in (
        call("ranks", "two.pt").stderr
    )
    assert len(json.loads(call("ranks", "two.pt", "--key", "critic", "--json").stdout)["weights"]) == 1
    assert "has no entry 'x': it holds generator, critic" in call("ranks", "two.pt", "--key", "x").stderr


class Bomb:
    """Writes a file if it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "exploded")


def cut(path: Path) -> None:
    torch.save(state(), path)
    path.write_bytes(path.read_bytes()[:1500])


def scripted(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(3, 3)).save(str(path))


def packed(path: Path) -> None:
    torch.save({"fc.scale": torch.tensor(1.0), "fc._packed_params._packed_params": torch.ones(2, 2)}, path)


NO_WEIGHTS = {
    "a module": (lambda path: torch.save(torch.nn.Linear(3, 3), path), "holds other objects than weights"),
    "a bomb": (lambda path: torch.save({"w": Bomb(path.with_name("trace"))}, path), "holds other objects than weights"),
    "a bare pickle": (lambda path: path.write_bytes(pickle.dumps(Bomb(path.with_name("trace")))), "holds no weights"),
    "a program": (lambda path: path.write_text("import os\nos.remove('x')\n"), "holds no weights that torch.save"),
    "nothing": (lambda path: path.write_bytes(b""), "holds no weights that torch.save"),
    "bytes": (lambda path: path.write_bytes(bytes(range(256)) * 9), "holds no weights that torch.save"),
    "a zip": (lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)), "holds no weights that torch.save"),
    "cut short": (cut, "or it is cut short or damaged"),
    "a scripted program": (scripted, "is a program of TorchScript"),
    "numbers": (lambda path: torch.save({"loss": 3.0}, path), "holds no weights: loss"),
    "packed": (packed, "has the quantized weight 'fc'"),
}


@pytest.mark.parametrize("case", NO_WEIGHTS)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_is_no_weights_is_never_unpickled(call: Call, tmp_path: Path, case: str) -> None:
    make, words = NO_WEIGHTS[case]
    make(tmp_path / "model.pt")
    done = call("ranks", "model.pt")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith("error: model.pt")
    assert words in done.stderr
    assert not (tmp_path / "trace").exists()


def test_other_bad_input(call: Call, tmp_path: Path) -> None:
    to_file(state(), tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    to_file({"fc.weight": torch.ones(3, 3, dtype=torch.int8)}, tmp_path / "whole.safetensors")
    to_file({"fc.weight": torch.ones(3, 3).to(torch.float8_e4m3fn)}, tmp_path / "eight.safetensors")
    to_file({"fc.weight": torch.full((3, 3), torch.nan)}, tmp_path / "nan.safetensors")
    to_file({"b": torch.ones(3)}, tmp_path / "vectors.safetensors")
    for args, words in [
        (("cut.safetensors",), "cut.safetensors cannot be read"),
        (("junk.safetensors",), "junk.safetensors"),
        (("whole.safetensors",), "'fc.weight' holds int8 and is quantized"),
        (("eight.safetensors",), "'fc.weight' in F8_E4M3, a quantized format"),
        (("nan.safetensors",), "nan.safetensors: the weight 'fc.weight' cannot be measured: 9 of 9 entries"),
        (("vectors.safetensors",), "vectors.safetensors: ranks are those of weights with two axes or more"),
        (("model.safetensors", "--key", "x"), "a key names an entry of a checkpoint"),
        (("model.safetensors", "--tree", "linear"), "got --tree: models have --rtol, --key, --csv"),
        (("model.safetensors", "--method", "qr"), "got --method"),
        (("model.safetensors", "--rtol", "0"), "rtol is a finite number above 0"),
        (("model.safetensors", "--csv", "x.txt"), "needed .csv"),
        (("absent.pt",), "no file absent.pt"),
    ]:
        done = call("ranks", *args)
        assert done.exit_code == 1, args
        assert words in done.stderr.replace("\n", " "), (args, done.stderr)


def test_without_torch(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(state(), tmp_path / "model.pt")
    monkeypatch.setattr("tnrank._backend._installed", lambda name: name != "torch")
    monkeypatch.delitem(tnrank._backend._LOADED, "torch", raising=False)
    done = call("ranks", "model.pt")
    assert 'pip install "tnrank[torch]"' in done.stderr


def test_arrays_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    held = {f"w{k}": np.full((2, 3), k, kind) for k, kind in enumerate(["f4", "f8", "f2", "i8", "u1", "?"])}
    save_file(held, tmp_path / "x.safetensors")
    weights = read_weights(tmp_path / "x.safetensors")
    assert list(weights) == sorted(held)
    for name, array in held.items():
        assert weights[name].dtype == array.dtype
        np.testing.assert_array_equal(weights[name], array)
    (tmp_path / "x.safetensors").write_bytes(b"gone")
    with pytest.raises(ValueError, match="'w1' is cut short"):
        weights["w1"]
    (tmp_path / "x.npy").touch()
    with pytest.raises(ValueError, match=r"unknown suffix '.npy'; weights are read from \.safetensors \.pt"):
        read_weights(tmp_path / "x.npy")
