"""What sweeps refuse, and that nothing is written then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tnrank.experiments import sweep

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
        ({"batch": 0}, "batch is a number of cells from 1 on"),
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
