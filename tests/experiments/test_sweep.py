"""Sweeps: the cells, the table, and what trains together."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tests.experiments.tiny import Tiny, table
from tnrank.experiments import read_metrics, run, sweep

pytestmark = pytest.mark.usefixtures("tiny_known")


def test_a_cell_a_point_and_seed(tmp_path: Path) -> None:
    done = sweep("tiny", {"std": [0.3, "1e-1"], "sides": ["3,3,3", (2, 3, 4)]}, seeds=2, out=tmp_path)
    found = table(done.table)
    expected = itertools.product(["0.3", "0.1"], ["3,3,3", "2,3,4"], ["0", "1"])
    assert [(row["std"], row["sides"], row["seed"]) for row in found] == list(expected)
    assert done.table.parent == done.folder
    assert done.folder.parent == tmp_path
    for row in found:
        folder = done.folder / row["folder"]
        fields = json.loads((folder / "config.json").read_text())["fields"]
        assert [fields["std"], fields["sides"], fields["seed"]] == [
            float(row["std"]),
            [int(k) for k in row["sides"].split(",")],
            int(row["seed"]),
        ]
        summary = json.loads((folder / "summary.json").read_text())
        assert float(row["error"]) == summary["error"]
        assert float(row["loss.last"]) == summary["loss"]["last"]
        assert float(row["errors.0"]) == summary["errors"][0]
        assert (row["status"], row["verdict"]) == ("complete", "holds")
    assert sorted(p.name for p in done.folder.iterdir()) == sorted(
        ["sweep.json", "table.csv", *(row["folder"] for row in found)]
    )


def test_seeds_in_the_grid(tmp_path: Path) -> None:
    done = sweep("tiny", {"rank": [2, 3], "seed": [7, 5]}, out=tmp_path)
    assert [(row["rank"], row["seed"]) for row in done.rows] == [(2, 7), (2, 5), (3, 7), (3, 5)]
    assert done.fields == ("rank", "seed")
    assert sweep("tiny", resume=done.folder).computed == 0


def test_what_is_complete_is_not_computed_again(tmp_path: Path, calls: list[int]) -> None:
    first = sweep("tiny", {"rank": [2, 3]}, seeds=2, out=tmp_path)
    assert (first.computed, len(calls)) == (4, 4)
    again = sweep("tiny", {"rank": [2, 3]}, seeds=2, out=tmp_path)
    resumed = sweep("tiny", resume=first.folder)
    assert (again.folder, again.computed, again.rows) == (first.folder, 0, first.rows)
    assert (resumed.folder, resumed.computed, resumed.rows) == (first.folder, 0, first.rows)
    other = sweep("tiny", {"rank": [2, 4]}, seeds=2, out=tmp_path)
    assert (other.folder == first.folder, other.computed, len(calls)) == (False, 4, 8)


def test_one_compiled_call_gives_what_single_runs_give(tmp_path: Path, backend_name: str, calls: list[int]) -> None:
    """Other observations, other targets, other initial scales: the same numbers as one by one."""
    given = {"backend": backend_name, "holds_out": True}
    done = sweep("tiny", {"std": [0.3, 0.1], "observed": [20, 15]}, seeds=2, overrides=given, out=tmp_path)
    assert calls == ([1] * 8 if backend_name == "numpy" else [8])
    for row in done.rows:
        recipe = Tiny(std=row["std"], observed=row["observed"], seed=row["seed"], holds_out=True)
        alone = run(recipe, tmp_path / "alone")
        metrics = [read_metrics(folder) for folder in (done.folder / row["folder"], alone.folder)]
        assert [{**m, "value": 0} for m in metrics[0]] == [{**m, "value": 0} for m in metrics[1]]
        np.testing.assert_allclose(*[[m["value"] for m in one] for one in metrics], rtol=1e-8)
        one, other = (
            tnrank.load(f / "cp.safetensors").to("numpy").to_dense()
            for f in (done.folder / row["folder"], alone.folder)
        )
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_a_sweep_compiles_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Other seeds, initial scales and observations compile nothing more."""
    jax = pytest.importorskip("jax")
    given: dict[str, Any] = {"seeds": 4, "overrides": {"backend": "jax"}, "steps": 20}

    def compiled() -> list[str]:
        said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Finished XLA compilation of")]
        caplog.clear()
        return said

    with jax.log_compiles():
        sweep("tiny", {"rank": [6], "std": [0.3, 0.1]}, out=tmp_path / "a", **given)
        assert sum("jit(_advance)" in one for one in compiled()) == 1
        given["overrides"]["seed"] = 100
        sweep("tiny", {"rank": [6], "std": [0.2, 0.05]}, out=tmp_path / "b", **given)
        assert compiled() == []


def test_trainings_that_disagree_train_in_calls_of_their_own(tmp_path: Path, calls: list[int]) -> None:
    pytest.importorskip("torch")
    given = {"backend": "torch"}
    sweep("tiny", {"rank": [2, 3], "steps": [5, 10]}, seeds=3, overrides=given, out=tmp_path)
    assert calls == [3, 3, 3, 3]
    calls.clear()
    done = sweep("tiny", {"inits": [2]}, seeds=3, steps=5, overrides=given, out=tmp_path)
    assert calls == [6]
    assert not done.failed
    calls.clear()
    sweep("tiny", {"calls_back": [True]}, seeds=3, overrides=given, out=tmp_path)
    assert calls == [1, 1, 1]
    calls.clear()
    # Whole end tensors hide that numbers of observations differ, large ones do not.
    large = {"sides": (40, 40, 40), "rank": 1, "steps": 3, **given}
    sweep("tiny", {"observed": [20, 15]}, seeds=2, overrides=large, out=tmp_path)
    assert calls == [2, 2]
    calls.clear()
    # Functions that recipes make on their way are measured run by run.
    done = sweep("tiny", {"closes_over": [1.0, 2.0]}, overrides={"steps": 3, **given}, out=tmp_path)
    assert calls == [2]
    last = [read_metrics(done.folder / row["folder"])[-1] for row in done.rows]
    assert [(row["quantity"], row["value"]) for row in last] == [("own", 1.0), ("own", 2.0)]
    calls.clear()
    sweep("tiny", seeds=7, steps=5, batch=3, overrides=given, out=tmp_path)
    assert calls == [3, 3, 1]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_an_error_ends_its_own_cell(tmp_path: Path, calls: list[int], backend: str) -> None:
    """One fails before it trains, one when it begins to train: its loss is infinite."""
    pytest.importorskip(backend)
    grid = {"std": [0.3, 1e150]}
    done = sweep("tiny", grid, seeds=3, overrides={"fails": 1, "backend": backend}, out=tmp_path)
    assert [row["status"] == "complete" for row in done.rows] == [True, False, True, False, False, False]
    told = [row.get("failure", "") for row in done.rows]
    assert told[1] == told[4] == "ValueError: this seed fails"
    assert "the loss of the initial factorization is nan" in told[3]
    # The others train together all the same.
    assert calls == ([1, 1, 1, 1] if backend == "numpy" else [2])
    assert [row["cell"] for row in done.failed] == [1, 3, 4, 5]
    calls.clear()
    again = sweep("tiny", grid, seeds=3, overrides={"fails": 1, "backend": backend}, out=tmp_path)
    assert again.computed == 4
    assert calls == ([1, 1] if backend == "numpy" else [])
    assert [row["cell"] for row in again.failed] == [1, 3, 4, 5]


def test_parquet_has_what_csv_has(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    given: dict[str, Any] = {"seeds": 3, "overrides": {"fails": 1}, "out": tmp_path}
    plain = sweep("tiny", {"std": [0.3, 1]}, **given)
    done = sweep("tiny", {"std": [0.3, 1]}, table="parquet", **given)
    assert done.computed == 2
    read = parquet.read_table(done.table).to_pylist()
    for one, other in zip(table(plain.table), read, strict=True):
        assert one == {name: "" if value is None else str(value) for name, value in other.items()}
    assert isinstance(read[0]["error"], float)


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(ImportError, match=r'pip install "tnrank\[dask\]"'):
        sweep("tiny", table="parquet", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
