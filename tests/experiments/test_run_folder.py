"""Run folders: hidden while written, readable when killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tnrank
from tests.experiments.tiny import Tiny
from tnrank.experiments import Interrupted, Recipe, Training, make_recipe, read_metrics, run
from tnrank.runs._folder import RunFolder, finished


def test_it_has_its_final_name_only_when_complete(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs", "try")
    assert folder.partial.name.startswith(".try-")
    assert folder.partial.name.endswith(".partial")
    folder.record("mf", 25, "loss", 0.5)
    folder.flush()
    assert read_metrics(folder.partial)[0]["value"] == 0.5
    final = folder.complete()
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [final.name]


def test_two_runs_of_one_second_do_not_meet(tmp_path: Path) -> None:
    folders = [RunFolder(tmp_path, "try") for _ in range(3)]
    assert len({folder.complete().name for folder in folders}) == 3


def test_metrics_are_tidy(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "try")
    node = tnrank.DimensionTree.balanced(4).root
    folder.record("htf", 5, "component_norms", {node: np.array([2.0, np.nan, 1.0])})
    folder.record("htf", 5, "singular_values", {(0, 2): np.array([3.0])})
    rows = read_metrics(folder.complete())
    assert [(r["node"], r["index"], r["value"]) for r in rows] == [
        ("{0,1,2,3}", 0, 2.0),
        ("{0,1,2,3}", 2, 1.0),
        ("{0,2}", 0, 3.0),
    ]


def test_json_understands_numpy_and_has_no_nan(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "try")
    folder.write_json("a.json", {"x": np.float32(1), "y": float("nan"), (0, 1): np.arange(2), "p": tmp_path})
    read = json.loads((folder.complete() / "a.json").read_text())
    assert read == {"x": 1.0, "y": None, "{0,1}": [0, 1], "p": str(tmp_path)}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_a_kill_left_is_finished(tmp_path: Path, moment: str) -> None:
    """Killed between the last file and the new name, or between the new name and the removal of checkpoints."""
    done = run(Tiny(steps=20), tmp_path)
    partial = tmp_path / f".{done.folder.name}.partial"
    left = done.folder / "checkpoints" / "cp-1"
    left.mkdir(parents=True)
    (left / "step-000000000020.json").write_text("{}")
    (left / ".tnrank.lock").write_text("[1, 'here', 'then']")
    (done.folder / ".tnrank.lock").write_text("")
    if moment == "before":
        done.folder.rename(partial)
        assert finished(tmp_path, done.folder.name)
    else:
        with pytest.raises(ValueError, match="is complete, there is nothing to resume"):
            run(Tiny(steps=20), resume=partial)
    expected = ["config.json", "cp.safetensors", "metrics.csv", "summary.json"]
    assert sorted(p.name for p in done.folder.iterdir()) == expected
    assert [p.name for p in tmp_path.iterdir()] == [done.folder.name]
    assert finished(tmp_path, done.folder.name)
    assert not finished(tmp_path, "another")


def test_what_a_user_puts_into_it_stays(tmp_path: Path) -> None:
    abandoned = RunFolder(tmp_path, "try")
    (abandoned.partial / "my notes").mkdir()
    (abandoned.partial / "checkpoints").mkdir()
    (abandoned.partial / "checkpoints" / ".mine").write_text("")
    assert abandoned.abandon() is None
    assert sorted(p.name for p in abandoned.partial.glob("**/*")) == [".mine", "checkpoints", "my notes"]
    complete = RunFolder(tmp_path, "try")
    cp = complete.checkpoints / "cp-1"
    cp.mkdir(parents=True)
    for name in ("step-000000000020.json", "step-notes.json"):
        (cp / name).write_text("")
    (complete.checkpoints / "elsewhere").symlink_to(tmp_path)
    final = complete.complete()
    assert sorted(p.name for p in (final / "checkpoints").glob("**/*")) == ["cp-1", "elsewhere", "step-notes.json"]
    cell = tmp_path / ".cell.partial"
    cell.mkdir()
    (cell / "mine").write_text("")
    RunFolder.at(tmp_path, "cell").complete()
    assert (tmp_path / "cell" / "mine").is_file()


def test_saved_models_are_worth_keeping(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "try")
    folder.write("cp.safetensors", b"1")
    assert folder.abandon() == folder.partial
    assert (folder.partial / "cp.safetensors").read_bytes() == b"1"


def test_a_failed_run_that_recorded_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype"):
        run(make_recipe("tensor-dynamics", backend="numpy", dtype="float23").limited(5), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_says_what_was_kept(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Stopped(Recipe):
        name: ClassVar[str] = "stopped"

        def execute(self, journal: Any) -> Any:
            x = tnrank.MatrixFactorization.random((3, 3), depth=2, std=0.1)
            recorder = tnrank.training.recorders.Loss(1)

            def stop(step: int, loss: float) -> bool:
                if step > 10:
                    raise KeyboardInterrupt
                return False

            yield Training("mf", x, [[0, 0]], [1.0], record=[recorder], callback=stop, steps=10**9)
            raise AssertionError

    with pytest.raises(Interrupted, match="what was recorded is in") as caught:
        run(Stopped(backend="numpy"), out=tmp_path)
    kept = caught.value.kept
    assert kept is not None
    assert json.loads((kept / "summary.json").read_text())["status"] == "interrupted"
    assert len(read_metrics(kept)) > 10
    assert tnrank.load(kept / "mf.safetensors").shape == (3, 3)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_killed_run_leaves_readable_metrics_and_no_final_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from tnrank.experiments import make_recipe, run; "
        "run(make_recipe('tensor-dynamics', backend='numpy'), out=sys.argv[1])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment)
    try:
        deadline = time.monotonic() + 60
        rows: list[dict[str, Any]] = []
        while len(rows) < 100 and time.monotonic() < deadline:
            time.sleep(0.1)
            rows = [row for partial in tmp_path.glob(".*.partial") for row in _try_read(partial)]
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    (partial,) = tmp_path.iterdir()
    assert partial.name.startswith(".tensor-dynamics-quick-numpy-")
    rows = read_metrics(partial)
    assert {"loss", "error", "component_norms"} == {row["quantity"] for row in rows}
    assert json.loads((partial / "config.json").read_text())["fields"]["seed"] == 2


def _try_read(partial: Path) -> list[dict[str, Any]]:
    try:
        return read_metrics(partial)
    except (FileNotFoundError, ValueError):
        return []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot write a run folder into"):
        RunFolder(tmp_path, "try")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(OSError, match="cannot write a run folder into"):
        RunFolder(tmp_path / "runs", "try")
