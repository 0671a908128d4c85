"""What sweeps refuse, and that nothing is written then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.experiments.tiny import Tiny
from tnrank.experiments import run, sweep

pytestmark = pytest.mark.usefixtures("tiny_known")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "tniy"}, "did you mean 'tiny'"),
        ({"grid": {"rnak": [1]}}, "did you mean 'rank'"),
        ({"grid": {"rank": [1, "many"]}}, "the field rank is a whole number, got 'many'"),
        ({"grid": {"std": [True]}}, "the field std is a number, got True"),
        ({"grid": {"sides": ["3,x"]}}, "the field sides is whole numbers, such as 1,2, got '3,x'"),
        ({"grid": {"sides": [3]}}, "the field sides is whole numbers"),
        ({"grid": {"backend": [3]}}, "the field backend is text, got 3"),
        ({"grid": {"rank": []}}, "the grid of rank has no values"),
        ({"grid": {"rank": 3}}, "the grid of rank is a list of values, got 3"),
        ({"grid": {"rank": "12"}}, "the grid of rank is a list of values"),
        ({"grid": {"std": [0.1, "1e-1"]}}, "the grid of std has 0.1 twice"),
        ({"grid": {"std": [0.1]}, "overrides": {"std": 1.0}}, "both in the grid and set"),
        ({"grid": {"seed": [1]}, "seeds": 2}, "seed is in the grid"),
        ({"seeds": 0}, "seeds is a whole number from 1 on"),
        ({"seeds": 10**11}, "a sweep has at most 100,000 cells"),
        ({"resume": "x\0"}, "a path has no null character"),
        ({"batch": 0}, "batch is a whole number from 1 on"),
        ({"table": "excel"}, "a table is csv or parquet"),
        ({"preset": "papre"}, "did you mean 'paper'"),
        ({"overrides": {"stdd": 1}}, "did you mean 'std'"),
        ({"steps": 0}, "steps is a whole number"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        sweep(given.pop("name", "tiny"), given.pop("grid", None), out=tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()


WRONG_TYPES: dict[str, list[Any]] = {
    "name": [3, ["tiny"]],
    "grid": [[1], "rank=1"],
    "each field of grid": [{1: [2]}],
    "overrides": [[1]],
    "each field of overrides": [{1: 2}],
    "seeds": [1.5, True, "2"],
    "preset": [3],
    "steps": ["3", 2.0],
    "out": [3, None],
    "resume": [3],
    "executor": [2],
    "batch": ["8", 2.0, True],
    "progress": ["yes"],
    "command": ["tnrank"],
    "each word of command": [[1]],
    "wait": ["yes", None],
}


@pytest.mark.parametrize(("named", "value"), [(name, v) for name, values in WRONG_TYPES.items() for v in values])
def test_wrong_types_are_named_before_anything_is_written(tmp_path: Path, named: str, value: Any) -> None:
    given = {"name": "tiny", "grid": None, "out": tmp_path / "new", named.rpartition(" ")[2]: value}
    with pytest.raises(TypeError, match=rf"^{named} is .*, got "):
        sweep(**given)
    own = {argument: v for argument, v in given.items() if argument not in ("name", "grid")}
    if named.rpartition(" ")[2] in ("out", "resume", "progress", "command", "wait"):
        with pytest.raises(TypeError, match=rf"^{named} is .*, got "):
            run(Tiny(), **own)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("recipe", [None, "tiny", Tiny])
def test_runs_take_recipes(tmp_path: Path, recipe: Any) -> None:
    with pytest.raises(TypeError, match=r"^recipe is made by tnrank\.experiments\.make_recipe"):
        run(recipe, tmp_path / "new")


def test_folders_of_something_else(tmp_path: Path) -> None:
    done = sweep("tiny", {"rank": [2, 3]}, out=tmp_path)
    before = sorted(path.name for path in done.folder.iterdir())
    with pytest.raises(ValueError, match="is of the recipe 'tiny', not 'dynamics'"):
        sweep("dynamics", resume=done.folder)
    with pytest.raises(ValueError, match="another one: its grid is rank=2,3, here rank=2,4"):
        sweep("tiny", {"rank": [2, 4]}, resume=done.folder)
    with pytest.raises(ValueError, match="it has 1 seeds, here 3"):
        sweep("tiny", seeds=3, resume=done.folder)
    with pytest.raises(ValueError, match=r"its std is 0\.3, here 0\.5"):
        sweep("tiny", overrides={"std": 0.5}, resume=done.folder)
    with pytest.raises(ValueError, match="its steps is 60, here 7"):
        sweep("tiny", steps=7, resume=done.folder)
    assert sweep("tiny", {"rank": [2, 3]}, seeds=1, overrides={"std": 0.3}, resume=done.folder).computed == 0
    with pytest.raises(ValueError, match="not a sweep folder but the folder of one run"):
        sweep("tiny", resume=done.folder / done.rows[0]["folder"])
    with pytest.raises(FileNotFoundError, match="no sweep folder"):
        sweep("tiny", resume=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has no sweep\.json"):
        sweep("tiny", resume=tmp_path)
    assert sorted(path.name for path in done.folder.iterdir()) == before
    (done.folder / "sweep.json").write_text("{")
    with pytest.raises(ValueError, match=r"sweep\.json cannot be read"):
        sweep("tiny", resume=done.folder)


def test_a_place_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write a sweep into"):
        sweep("tiny", out=tmp_path / "file")
