"""Wrong types are one sentence."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import data
from tnrank.experiments import read_metrics

GARBAGE = (None, True, -1, 0.5, float("nan"), "", "x", b"x", [], {}, ["a"], object(), np.zeros(3), np.array(["a"]), int)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: data.read_array(x),
        lambda x: data.read_idx(x),
        lambda x: data.read_mask("m.npy", x),
        lambda x: tnrank.load(x),
        lambda x: data.low_rank_matrix(x, 1),
        lambda x: data.low_rank_tensor((3, 3), x),
        lambda x: data.low_rank_tensor((3, 3), 1, seed=x),
        lambda x: data.observe(np.ones(4), x),
        lambda x: data.observe(np.ones(4), 2, seed=x),
        lambda x: data.mnist(x, "nowhere"),
        lambda x: data.CsvFormat(decimal=x),
    ],
)
def test_garbage(call: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("m.npy", np.eye(2))
    found: list[Exception] = []
    for value in GARBAGE:
        try:
            call(value)
        except (TypeError, ValueError, OSError) as error:
            found.append(error)
    assert len(found) >= len(GARBAGE) - 2  # None and another may have a meaning
    for error in found:
        last = traceback.extract_tb(error.__traceback__)[-1]
        assert "/tnrank/" in last.filename, error
        assert str(last.line).startswith("raise"), error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": 5}, "key is the name of an array"),
        ({"csv": {"decimal": ","}}, "csv is a format such as CsvFormat(decimal=',')"),
        ({"csv": data.CsvFormat(decimal=",")}, "is no .csv file"),
    ],
)
def test_options_of_read_array(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    np.save(tmp_path / "x.npy", np.eye(2))
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        data.read_array(tmp_path / "x.npy", **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delimiter": ";;"}, "delimiter is one character"),
        ({"delimiter": "1"}, "no part of a number"),
        ({"decimal": ";"}, "decimal is '.' or ','"),
        ({"decimal": ",", "thousands": ","}, "two meanings"),
        ({"header": "yes"}, "header is True, False or None"),
    ],
)
def test_csv_formats(options: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(said)):
        data.CsvFormat(**options)


def test_metrics_of_a_run_that_goes_on(tmp_path: Path) -> None:
    """The last line may be half written; in a complete folder that is damage."""
    text = "model,step,quantity,node,index,value\nmf,0,loss,,0,1.5\nmf,10,lo"
    for name in (".run.partial", "run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text(text)
    row = {"model": "mf", "step": 0, "quantity": "loss", "node": "", "index": 0, "value": 1.5}
    assert read_metrics(tmp_path / ".run.partial") == [row]
    with pytest.raises(ValueError, match=r"metrics\.csv is cut short: its last line is 'mf,10,lo'"):
        read_metrics(tmp_path / "run")
    (tmp_path / "run" / "metrics.csv").write_text(f"{text}ss,,0,1_0\n")
    with pytest.raises(ValueError, match=r"metrics\.csv, line 3: its value is '1_0'"):
        read_metrics(tmp_path / "run")
