"""The code of the notebooks runs from top to bottom, and what is kept beside it came from that code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=[file.stem for file in NOTEBOOKS])
def test_every_cell_runs(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    for cell in json.loads(file.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), file.name, "exec"), space)
            printed = any(output["output_type"] == "stream" for output in cell["outputs"])
            assert bool(capsys.readouterr().out) == printed
            assert cell["outputs"] or cell["source"]
