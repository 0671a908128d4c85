"""``tnrank recipes``, recipes of one's own files, and tensors of one's own in stock recipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnrank.experiments._recipe import _KNOWN, ORIGINS

Call = Callable[..., Any]
EXAMPLE = Path(__file__).parents[2] / "examples" / "own_recipe.py"
SMALL = ("--backend", "numpy", "--steps", 5, "--set", "observed=60", "--set", "stds=0.1")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The file's recipe is forgotten after each test."""
    yield
    _KNOWN.pop("depth-and-rank", None)
    ORIGINS.pop("depth-and-rank", None)
    sys.modules.pop("own_recipe", None)


def test_the_list_and_the_fields_of_one(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = call("recipes").stdout
    assert all(name in shown for name in ("dynamics", "tree-bias", "rank-of-architecture"))
    monkeypatch.setenv("COLUMNS", "250")
    lines = {line.split()[0]: line for line in call("recipes", "tensor-dynamics").stdout.splitlines() if line.strip()}
    assert "positive numbers, one or more, each once" in lines["stds"]
    assert "0.05,0.01,0.005" in lines["stds"]
    assert "standard deviations of the initial weights." in lines["stds"]
    assert ("6000" in lines["steps"], "30000" in lines["steps"]) == (True, True)
    assert "of targets, observed entries and initial weights" in lines["seed"]


def test_every_field_of_every_recipe_has_its_line_of_help() -> None:
    from tnrank.experiments import known_recipes
    from tnrank.experiments.fields import fields_of

    for name, kind in known_recipes().items():
        if kind.__module__.startswith("tnrank."):
            for field in fields_of(kind).values():
                assert field.help, (name, field.name)
                assert "see above" not in field.help, (name, field.name)


def test_an_unknown_field_lists_the_fields(call: Call, tmp_path: Path) -> None:
    for command in ("reproduce", "sweep"):
        done = call(command, "tensor-dynamics", "--backend", "numpy", "--set", "stdss=1")
        assert done.exit_code == 1
        assert done.stderr.startswith("error: the recipe 'tensor-dynamics' has no field 'stdss'; did you mean 'stds'")
        assert "learning_rate" in done.stderr
        assert "a positive number" in done.stderr
    assert not list(tmp_path.glob("runs/*"))


def test_a_file_with_a_recipe(call: Call, tmp_path: Path) -> None:
    assert "depth-and-rank" in call("recipes", "--module", EXAMPLE).stdout
    small = ("--module", EXAMPLE, "depth-and-rank", "--backend", "numpy", "--set", "size=6", "--set", "share=1")
    done = call("reproduce", *small, "--steps", 5, "--no-figure")
    assert done.exit_code == 0, done.stderr
    (folder,) = (tmp_path / "runs").glob("depth-and-rank*")
    assert not (folder / "figure.png").exists()
    done = call("sweep", *small, "--steps", 5, "--seeds", 2, "--no-figure")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file mine.py with recipes"),
        ("1 +", "mine.py cannot be imported: SyntaxError"),
        ("x = 1", "mine.py registers no recipe"),
    ],
)
@pytest.mark.parametrize("command", ["reproduce", "sweep", "recipes"])
def test_files_without_recipes(call: Call, tmp_path: Path, content: str | None, said: str, command: str) -> None:
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    done = call(command, "depth-and-rank", "--module", "mine.py")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_a_file_in_place_of_a_name(call: Call) -> None:
    done = call("reproduce", "mine.py")
    assert done.exit_code == 1
    assert done.stderr == "error: unknown recipe 'mine.py': give --module mine.py and a recipe's name\n"


def test_a_tensor_of_ones_own(call: Call, tmp_path: Path) -> None:
    """It is what is completed: its first singular value is the first component's norm."""
    generator = np.random.default_rng(0)
    np.save(tmp_path / "mine.npy", np.einsum("a,b,c->abc", *(generator.standard_normal(d) for d in (5, 4, 3))))
    done = call("reproduce", "tensor-dynamics", "--target", "mine.npy", "--no-figure", *SMALL)
    assert done.exit_code == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    fields = json.loads((folder / "config.json").read_text())["fields"]
    assert fields["target"] == "mine.npy"
    assert "as many as the target has" not in done.stdout


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones(5), "the target mine.npy has shape (5,): needed a tensor of order 2 or more"),
        (np.full((3, 3, 3), np.nan), "the target mine.npy has nan at index (0, 0, 0)"),
        (np.ones((3, 3, 3)) * 1j, "the target mine.npy holds complex numbers"),
        (np.zeros((3, 3, 3)), "all entries of the target mine.npy are 0"),
        (np.ones((3, 3, 3)), "observed lies in 1 .. 27, the entries of mine.npy, got 60"),
    ],
)
def test_targets_that_are_none(call: Call, tmp_path: Path, array: Any, said: str) -> None:
    np.save(tmp_path / "mine.npy", array)
    done = call("reproduce", "tensor-dynamics", "--target", "mine.npy", *SMALL)
    assert done.exit_code == 1
    assert said in done.stderr
    assert not list((tmp_path / "runs").glob("*"))


def test_recipes_that_make_their_own_target(call: Call, tmp_path: Path) -> None:
    done = call("reproduce", "norms-to-infinity", "--target", "mine.npy", "--backend", "numpy")
    assert done.exit_code == 1
    assert "the recipe 'norms-to-infinity' makes its own target; --target is for " in done.stderr
    assert "no file" in call("reproduce", "tensor-dynamics", "--target", "mine.npy", *SMALL).stderr.lower()
