"""``tnrank circuit``."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest

import tnrank
from tnrank.circuits import Circuit

Call = Callable[..., Any]
QUAD = tnrank.DimensionTree.quad(4, 4)


def test_defaults(call: Call) -> None:
    done = call("circuit")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{Circuit.deep((8, 8), 2, 16, classes=10)}\n")
    assert done.stderr == "a picture of the three: add --save circuit.png\n"


def test_tree_parameters_and_levels(call: Call) -> None:
    out = call("circuit", "--grid", "8", "--channels", "4,5,6", "--classes", 1).stdout
    drawn = Circuit.deep(8, 2, [4, 5, 6])
    assert drawn.tree.draw() in out
    assert f"parameters  {drawn.parameter_count:,} = 64 + 80 + 60 + 6" in out
    table = out.partition("level by level")[2].splitlines()[1:]
    heights = [row.split("height ")[1][0] for row in table if "height" in row]
    assert heights == ["3", "2", "1", "0"]
    row = next(row for row in table if "height 1" in row)
    assert "1x1 convolution, 4 -> 5 channels" in row
    assert "4 matrices, 4 x 5" in row
    assert "2 hyperindices of size 5" in out
    assert out.isascii() or "├" in out


def test_large_trees_are_counted(call: Call) -> None:
    out = call("circuit", "--grid", "28x28", "--ragged", "--shared").stdout
    assert "784 of height 0, 196 of height 1, 49 of height 2, 16 of height 3, 4 of height 4, 1 of height 5" in out
    assert "one matrix, 784 times, 2 x 16" in out


@pytest.mark.parametrize(
    ("args", "drawn"),
    [
        ((), Circuit.deep((8, 8), 2, 16, classes=10)),
        (("--grid", "4x6", "--window", "2x3,2"), Circuit.deep((4, 6), 2, 16, [(2, 3), 2], classes=10)),
        (("--grid", "27", "--window", "3", "--features", "4"), Circuit.deep(27, 4, 16, 3, classes=10)),
        (("--shallow", "--channels", "5", "--shared"), Circuit.shallow((8, 8), 2, 5, classes=10, shared=True)),
        (("--grid", "5", "--ragged", "--classes", "1"), Circuit.deep(5, 2, 16, ragged=True)),
        (
            ("--pooling", "max", "--activation", "relu"),
            Circuit.deep((8, 8), 2, 16, classes=10, pooling="max", activation="relu"),
        ),
    ],
)
def test_json(call: Call, args: tuple[str, ...], drawn: Circuit) -> None:
    done = call("circuit", *args, "--json")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["tree"] == drawn.tree.text
    assert found["parameters"] == sum(prod(shape) for shape in drawn.shapes)
    assert [tuple(level["weights"]) for level in found["levels"]] == list(drawn.shapes[:-1])
    assert [tuple(level["window"]) for level in found["levels"]] == [level.window for level in drawn.levels]
    assert [level["shared"] for level in found["levels"]] == [level.shared for level in drawn.levels]
    assert (found["kind"], found["classes"], found["pooling"]) == (drawn.kind, drawn.classes, drawn.pooling)
    assert found["is_tensor_network"] == (drawn.pooling == "product")
    assert found["nodes"] == [[list(node.modes) for node in row] for row in drawn.nodes]


def test_files(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for x, kind, grid in (
        (tnrank.MatrixFactorization.random((6, 5), depth=3, seed=0), "matrix", [2]),
        (tnrank.CPFactorization.random((3, 4, 5), rank=2, seed=0), "cp", [3]),
        (tnrank.HierarchicalFactorization.random((2,) * 16, QUAD, width=3, seed=0), "hierarchical", [4, 4]),
    ):
        x.save(path)
        found = json.loads(call("circuit", path, "--json").stdout)
        assert (found["kind"], found["grid"]) == (kind, grid)
        assert found["parameters"] >= sum(prod(a.shape) for a in x.arrays.values())
        assert call("circuit", path).stdout.startswith(f"{Circuit.from_factorization(x)}\n")


def test_classes_of_a_cp_file(call: Call, tmp_path: Path) -> None:
    tnrank.CPFactorization.random((3, 3, 3, 3, 7), rank=2, seed=0).save(tmp_path / "cp.safetensors")
    found = json.loads(call("circuit", "cp.safetensors", "--classes", 7, "--grid", "2x2", "--json").stdout)
    assert (found["classes"], found["grid"], found["dense"]) == (7, [2, 2], [2, 7])
    done = call("circuit", "cp.safetensors", "--classes", 10)
    assert done.exit_code == 1
    assert "got --classes 10, and the last mode of cp.safetensors has dimension 7" in done.stderr


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_pictures(call: Call, tmp_path: Path, suffix: str, start: bytes) -> None:
    pytest.importorskip("matplotlib")
    done = call("circuit", "--grid", "2x2", "--save", f"x.{suffix}")
    assert done.exit_code == 0, done.stderr
    assert done.stderr == f"circuit, tensor network and dimension tree drawn in x.{suffix}\n"
    assert (tmp_path / f"x.{suffix}").read_bytes().startswith(start)
    if suffix == "png":
        assert "--overwrite" in call("circuit", "--grid", "2x2", "--save", f"x.{suffix}").stderr
        assert call("circuit", "--grid", "2x2", "--save", f"x.{suffix}", "--overwrite").exit_code == 0


def test_poolings_without_a_network(call: Call) -> None:
    out = call("circuit", "--pooling", "average").stdout
    assert "only product pooling without an activation is a tensor network" in out
    assert "hyperind" not in out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--grid 5x5", "of level 0 does not divide the grid 5 x 5: add --ragged for short windows"),
        ("--grid 6x6", "of level 1 does not divide the grid 3 x 3: add --ragged for short windows"),
        ("--pooling median", "unknown --pooling median: 'product', 'max', 'average', 'sum'"),
        ("--activation tanh", "unknown --activation tanh: 'identity', 'relu'"),
        ("--grid 4x4x4", "got --grid 4x4x4, needed one or two sides"),
        ("--grid 8by8", "got --grid 8by8, needed whole numbers such as 2 or 8x8"),
        ("--grid 0", "got --grid (0,), needed (N,) or (H, W)"),
        ("--channels 4,4", "got --channels for 2 levels; the grid 8 x 8 needs 3 levels"),
        ("--channels many", "got --channels many, needed whole numbers such as 16 or 16,32"),
        ("--channels 0", "got --channels 0, needed at least 1"),
        ("--features 0", "got --features 0, needed at least one representation function"),
        ("--classes 0", "got --classes 0, needed 1 or more"),
        ("--window 0", "got --window 0, needed 2 sides from 1 on"),
        ("--window 1", "never reduces the grid 8 x 8"),
        ("--window 2,2", "2 x 2 locations are left: give more or larger windows"),
        ("--shallow --window 2", "--shallow pools all locations at once, got --window"),
        ("--shallow --channels 4,4", "--shallow has one level, got --channels 4,4"),
        ("none.safetensors", "no file 'none.safetensors'"),
        ("x.npy", "x.npy has the suffix '.npy': needed .safetensors"),
        ("x.safetensors --channels 4 --shared", "got --channels and --shared: leave it out, or leave FILE"),
        ("tt.safetensors", "tt.safetensors holds a TensorTrain, a circuit computes a MatrixFactorization, CPF"),
        ("tt.safetensors", "tnrank.CPFactorization.from_dense(x.to_dense(), rank).save(path)"),
        ("linear.safetensors", "is not a pooling window"),
        ("quad.safetensors --grid 16", "or --grid for another layout"),
        ("quad.safetensors --classes 3", "got --classes 3, and quad.safetensors has 1"),
        ("--save x.txt", "needed .png or .svg or .pdf"),
        ("--save none/x.png", "there is no folder none"),
    ],
)
def test_bad_input(call: Call, tmp_path: Path, args: str, said: str) -> None:
    tnrank.TensorTrain.random((4,) * 4, rank=3, seed=0).save(tmp_path / "tt.safetensors")
    random, linear = tnrank.HierarchicalFactorization.random, tnrank.DimensionTree.linear(4)
    random((2,) * 4, linear, width=2, seed=0).save(tmp_path / "linear.safetensors")
    random((2,) * 16, QUAD, width=2, seed=0).save(tmp_path / "quad.safetensors")
    done = call("circuit", *args.split())
    assert done.exit_code == 1
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_the_way_out_of_a_tensor_train(call: Call, tmp_path: Path) -> None:
    x = tnrank.CPFactorization.random((3,) * 4, rank=2, seed=0)
    tnrank.CPFactorization.from_dense(x.to_dense(), 2).save(tmp_path / "cp.safetensors")
    assert call("circuit", "cp.safetensors").exit_code == 0
