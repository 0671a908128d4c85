"""``tnrank sweep``, ``tnrank recipes``, seeds and TOML files, and what goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tnrank.experiments import Interrupted, Journal, Outcome, Recipe, Training
from tnrank.experiments._recipe import _KNOWN

Call = Callable[..., Any]
_SMALL = ("--backend", "numpy", "--steps", "3", "--set", "htf_width=4", "--no-figure")


def rows(tmp_path: Path) -> list[dict[str, str]]:
    (path,) = tmp_path.glob("runs/sweep-*/table.csv")
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_same_command_goes_on(call: Call, tmp_path: Path) -> None:
    command = ("sweep", "dynamics", "--grid", "cp-std=1e-2,1e-3", "--seeds", 2, *_SMALL)
    done = call(*command)
    assert done.exit_code == 0, done.stderr
    assert "4 cells" in done.stdout
    assert "2 of 2" in done.stdout
    assert [(row["cp_std"], row["seed"]) for row in rows(tmp_path)] == [
        ("0.01", "1"),
        ("0.01", "2"),
        ("0.001", "1"),
        ("0.001", "2"),
    ]
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder) in done.stdout
    again = call(*command)
    assert "4 cells were complete before" in again.stdout
    assert "4 cells were complete before" in call("sweep", "dynamics", "--resume", folder).stdout
    refused = call("sweep", "dynamics", "--resume", folder, "--dtype", "float64")
    assert refused.exit_code == 1
    assert "its dtype is 'float32', here 'float64'" in refused.stderr


@pytest.mark.slow
def test_in_processes_of_this_machine(shell: Call, tmp_path: Path) -> None:
    done = shell("sweep", "dynamics", "--seeds", 2, "--workers", 2, "--table", "parquet", *_SMALL)
    assert done.returncode == 0, done.stderr
    (table,) = (tmp_path / "runs").glob("sweep-*/table.parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    assert parquet.read_table(table)["status"].to_pylist() == ["complete"] * 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of a cluster that is closed
def test_on_a_dask_cluster(call: Call, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster:
        done = call("sweep", "dynamics", "--seeds", 3, "--dask", cluster.scheduler_address, *_SMALL)
    assert done.exit_code == 0, done.stderr
    assert [row["status"] for row in rows(tmp_path)] == ["complete"] * 3


def test_failed_cells_are_told(call: Call, tmp_path: Path) -> None:
    done = call("sweep", "dynamics", "--grid", "observed=2048,5000", *_SMALL[:-1])
    assert done.exit_code == 1
    assert "1 of 2 cells failed, the first of them cell 1: ValueError" in done.stderr
    assert [row["status"] for row in rows(tmp_path)] == ["complete", "failed"]
    (complete, _) = rows(tmp_path)
    assert next(tmp_path.glob(f"runs/sweep-*/{complete['folder']}/figure.png")).stat().st_size > 10_000


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("dynamcis",), "did you mean 'dynamics'"),
        (("dynamics", "--grid", "cp_stdd=1"), "did you mean 'cp_std'"),
        (("dynamics", "--grid", "cp_std=1,x"), "the field cp_std is a number, got 'x'"),
        (("dynamics", "--grid", "cp_std="), "the grid of cp_std has no values"),
        (("dynamics", "--grid", "cp_std=1", "--grid", "cp-std=2"), "cp_std is in the grid twice"),
        (("dynamics", "--grid", "cp_std=1,1.0"), "the grid of cp_std has 1.0 twice"),
        (("dynamics", "--workers", "2", "--dask", "tcp://127.0.0.1:1"), "--workers and --dask"),
        (("dynamics", "--workers", "0"), "from 1 on, got 0"),
        (("dynamics", "--dask", "somewhere"), "is like tcp://127.0.0.1:8786"),
        (("dynamics", "--dask", "tcp://127.0.0.1:1"), "no Dask scheduler answers at tcp://127.0.0.1:1"),
        (("dynamics", "--seeds", "0"), "seeds is a whole number from 1 on"),
        (("dynamics", "--batch", "0"), "batch is a whole number from 1 on"),
        (("dynamics", "--table", "excel"), "csv or parquet"),
        (("dynamics", "--resume", "nowhere"), "no sweep folder nowhere"),
        (("dynamics", "--config", "none.toml"), "none.toml: No such file"),
        (("dynamics", "--grid", "backend=numpy,jacks"), "unknown backend 'jacks'"),
    ],
)
def test_errors_are_one_line(call: Call, tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    if "--dask" in args:
        pytest.importorskip("distributed")
    backend = () if "backend=numpy,jacks" in args else ("--backend", "numpy")
    done = call("sweep", *args, *backend)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    first, *more = done.stderr.splitlines()
    assert said in first
    # After a misspelt field its recipe's fields are listed.
    assert not more or ("has no field" in first and more[0].startswith("fields of dynamics"))
    assert not (tmp_path / "runs").exists()


def test_a_place_that_is_taken(call: Call, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    done = call("sweep", "dynamics", "--out", "taken", *_SMALL)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: cannot write a sweep into ")
    assert done.stderr.count("\n") == 1


def test_wrong_usage_exits_with_2(call: Call) -> None:
    assert call("sweep").exit_code == 2
    assert call("sweep", "dynamics", "--grid", "cp_std").exit_code == 2


def test_a_file_says_what_flags_leave_out(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        'backend = "numpy"\ndtype = "float64"\nhtf-width = 4\nmf_std = 0.5\nmf_steps = 3\ncp_steps = 3\nhtf_steps = 3\n'
    )
    done = call("reproduce", "dynamics", "--config", "a.toml", "--set", "mf_std=0.25", "--seed", 4, "--no-figure")
    assert done.exit_code == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    fields = json.loads((folder / "config.json").read_text())["fields"]
    expected = {"backend": "numpy", "dtype": "float64", "htf_width": 4, "mf_std": 0.25, "mf_steps": 3, "seed": 4}
    assert {name: fields[name] for name in expected} == expected
    done = call("reproduce", "dynamics", "--config", "a.toml", "--dtype", "float32", "--out", "second", "--no-figure")
    (folder,) = (tmp_path / "second").iterdir()
    assert json.loads((folder / "config.json").read_text())["fields"]["dtype"] == "float32"


def test_a_grid_in_a_file(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("htf_width = 4\n[grid]\ncp_std = [1e-2, 1e-3]\n")
    given = ("--config", "a.toml", "--backend", "numpy", "--steps", 2, "--no-figure")
    assert call("sweep", "dynamics", *given).exit_code == 0
    assert [row["cp_std"] for row in rows(tmp_path)] == ["0.01", "0.001"]
    refused = call("reproduce", "dynamics", "--config", "a.toml", "--backend", "numpy")
    assert "has a grid: tnrank sweep dynamics --config a.toml" in refused.stderr


def test_the_singular_of_a_list_is_one_value_a_cell(call: Call, tmp_path: Path) -> None:
    small = ("--backend", "numpy", "--steps", 2, "--set", "dimension=4", "--set", "observed=100", "--no-figure")
    done = call("sweep", "tensor-dynamics", "--grid", "std=1e-1,1e-2", "--seeds", 2, *small)
    assert done.exit_code == 0, done.stderr
    assert [row["stds"] for row in rows(tmp_path)] == ["0.1", "0.1", "0.01", "0.01"]
    lists = call("sweep", "tensor-dynamics", "--grid", "stds=1e-1,1e-2;1e-3", *small, "--out", "lists")
    assert lists.exit_code == 0, lists.stderr
    with next((tmp_path / "lists").glob("*/table.csv")).open(newline="") as stream:
        assert [row["stds"] for row in csv.DictReader(stream)] == ["0.1,0.01", "0.001"]
    wrong = call("sweep", "tensor-dynamics", "--grid", "std=1e-1,abc")
    assert "the field stds is numbers, such as 1e-1,1e-2, got 'abc'" in wrong.stderr
    twice = call("sweep", "tensor-dynamics", "--grid", "std=1e-1", "--grid", "stds=1e-2")
    assert "stds is in the grid twice" in twice.stderr
    assert "no field 'sts'" in call("sweep", "tensor-dynamics", "--grid", "sts=1").stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mf_stdd = 1.0", "did you mean 'mf_std'"),
        ("mf_std = 'small'", "the field mf_std is a number"),
        ("mf_std = ", "a.toml is not a TOML file"),
        ("backend = 3", "backend is text, got 3"),
        ("preset = 'papre'", "did you mean 'paper'"),
    ],
)
def test_wrong_files_are_named(call: Call, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    done = call("reproduce", "dynamics", "--config", "a.toml", *(() if "backend" in text else ("--backend", "numpy")))
    assert done.exit_code == 1
    first, *more = done.stderr.splitlines()
    assert said in first
    # After a misspelt field its recipe's fields are listed.
    assert not more or ("has no field" in first and more[0].startswith("fields of dynamics"))


def test_recipes_without_repetitions_point_to_sweeps(call: Call) -> None:
    done = call("reproduce", "dynamics", "--seeds", 3)
    assert done.exit_code == 1
    assert "tnrank sweep dynamics --seeds 3" in done.stderr
    assert "from 1 on, got 0" in call("reproduce", "dynamics", "--seeds", 0).stderr


def test_seeds_set_the_field(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Repeats(Recipe):
        name: ClassVar[str] = "repeats"
        dtype: str = "float64"
        seeds: int = 2

        def execute(self, journal: Any) -> Outcome:
            return Outcome({"seeds": self.seeds, "dtype": self.dtype})

    monkeypatch.setitem(_KNOWN, "repeats", Repeats)
    for flags, expected in (((), (2, "float64")), (("--seeds", 5, "--dtype", "float32"), (5, "float32"))):
        out = tmp_path / f"out-{len(flags)}"
        done = call("reproduce", "repeats", "--backend", "numpy", "--out", out, *flags)
        assert done.exit_code == 0, done.stderr
        (folder,) = out.iterdir()
        summary = json.loads((folder / "summary.json").read_text())
        assert (summary["seeds"], summary["dtype"]) == expected


def test_all_recipes_are_listed(call: Call) -> None:
    from tnrank.experiments import known_recipes

    shown = call("recipes").stdout
    for name, kind in known_recipes().items():
        assert name in shown
        assert kind.title.split()[0] in shown


def test_a_run_folder_of_another_recipe(call: Call, tmp_path: Path, holed: Path) -> None:
    folder = stopped_completion(call, tmp_path, holed)
    assert "is of the recipe 'complete', not 'dynamics'" in call("reproduce", "dynamics", "--resume", folder).stderr
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "recipe": "dynamics"}))
    assert "tnrank reproduce dynamics --resume" in call("complete", "--resume", folder).stderr


def stopped_completion(call: Call, tmp_path: Path, holed: Path, *more: Any) -> Path:
    """The folder of a completion that Ctrl-C ended at step 20 or later."""
    genuine = Journal.train

    def train(self: Journal, asked: Training) -> Any:
        own = asked.callback

        def callback(step: int, loss: float) -> bool | None:
            if step >= 20:
                raise KeyboardInterrupt
            return own(step, loss) if own is not None else None

        return genuine(self, replace(asked, callback=callback))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "train", train)
        done = call("complete", holed, "--backend", "numpy", "--steps", 900, "--rank", 4, *more)
    assert done.exit_code == 130
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"to go on: tnrank complete --resume runs/{folder.name}" in " ".join(done.stderr.split())
    return folder


def test_a_completion_goes_on(call: Call, tmp_path: Path, holed: Path) -> None:
    folder = stopped_completion(call, tmp_path, holed, "--model", "htf", "--tree", "(0,(1,2))")
    refused = call("complete", "--resume", folder, "--rank", 5)
    assert refused.exit_code == 1
    assert "its rank is 4, here 5" in refused.stderr
    assert "its source is" in call("complete", "other.npy", "--resume", folder).stderr
    done = call("complete", "--resume", folder, "--out", "full.npy")
    assert done.exit_code == 0, done.stderr
    (finished,) = (tmp_path / "runs").iterdir()
    assert not finished.name.startswith(".")
    options = ("--backend", "numpy", "--steps", 900, "--rank", 4, "--model", "htf", "--tree", "(0,(1,2))")
    call("complete", holed, *options, "--out", "straight.npy", "--runs", "straight")
    np.testing.assert_array_equal(np.load(tmp_path / "full.npy"), np.load(tmp_path / "straight.npy"))
    assert "a FILE to complete is needed" in call("complete").stderr


def test_an_unregistered_recipe_says_no_command() -> None:
    assert "to go on" not in str(Interrupted(Path("runs/x")))
    assert "to go on: tnrank complete --resume runs/x" in str(Interrupted(Path("runs/x"), "tnrank complete"))


def start(tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    """A sweep in a process group of its own, which is what a terminal gives it."""
    return subprocess.Popen(
        [sys.executable, "-m", "tnrank.cli", "sweep", "dynamics", "--backend", "numpy", *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "COLUMNS": "120"},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(ready: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_workers_end_with_the_process_that_is_killed(call: Call, tmp_path: Path) -> None:
    args = ("--seeds", "6", "--batch", "1", "--steps", "200", "--set", "htf_width=4", "--workers", "2")
    with start(tmp_path, *args) as process:
        wait_until(lambda: list(tmp_path.glob("runs/sweep-*/0*")))
        process.kill()
        process.communicate(timeout=30)

    def gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(gone, 20)
    (folder,) = (tmp_path / "runs").iterdir()
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("0*/summary.json")}
    assert 1 <= len(stamps) < 6
    done = call("sweep", "dynamics", "--backend", "numpy", *args[:-2])
    assert done.exit_code == 0, done.stderr
    assert f"{len(stamps)} cell" in done.stdout
    assert " complete before" in done.stdout
    assert [row["status"] for row in rows(tmp_path)] == ["complete"] * 6
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_ctrl_c_saves_and_exits_with_130(shell: Call, tmp_path: Path, workers: tuple[str, ...]) -> None:
    process = start(tmp_path, "--seeds", "3", *workers)
    partial = "runs/sweep-*/.0*.partial/metrics.csv"
    wait_until(lambda: any(path.stat().st_size > 2000 for path in tmp_path.glob(partial)))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    (folder,) = (tmp_path / "runs").iterdir()
    told = " ".join(said.split())
    assert "interrupted; 0 of 3 cells are complete" in told
    assert f"to go on: tnrank sweep dynamics --resume {folder}" in told
    kept = [path for path in folder.glob(".0*.partial") if list(path.glob("checkpoints/mf-1/*.json"))]
    assert len(kept) >= 1
    assert all(json.loads((path / "summary.json").read_text())["status"] == "interrupted" for path in kept)
