"""Sweeps: what they compute, how they go on, and what they refuse."""

from __future__ import annotations

import csv
import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tests.experiments.tiny import Tiny
from tnrank.experiments import Interrupted, read_metrics, run, sweep
from tnrank.experiments._recipe import _KNOWN
from tnrank.experiments._run_folder import RunFolder
from tnrank.experiments._sweep_batch import Trainer
from tnrank.experiments._sweep_cells import OWNER
from tnrank.experiments._sweep_driver import Driver
from tnrank.experiments._sweep_workers import dask, processes


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_KNOWN, "tiny", Tiny)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many factorizations each call of ``complete`` trained."""
    found: list[int] = []
    genuine = Trainer.answer

    def answer(self: Trainer, asked: Any) -> None:
        before = len(self.calls)
        try:
            genuine(self, asked)
        finally:
            found.extend(self.calls[before:])

    monkeypatch.setattr(Trainer, "answer", answer)
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


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
    # A function of one run is none of another.
    done = sweep("tiny", {"closes_over": [1.0, 2.0]}, overrides={"steps": 3, **given}, out=tmp_path)
    assert calls == [1, 1]
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


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C when the trainings have come back to the host so many times."""
    genuine, counter = Trainer.answer, itertools.count(1)

    def answer(self: Trainer, asked: Any) -> None:
        def check() -> None:
            if next(counter) > count:
                raise KeyboardInterrupt

        self.check = check
        genuine(self, asked)

    monkeypatch.setattr(Trainer, "answer", answer)


@pytest.mark.parametrize(
    ("backend", "count"),
    [("numpy", 2), ("numpy", 20), ("torch", 2), ("torch", 5), pytest.param("jax", 6, marks=pytest.mark.slow)],
)
def test_interrupted_it_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, count: int
) -> None:
    pytest.importorskip(backend)
    given: dict[str, Any] = {"overrides": {"backend": backend}, "seeds": 3}
    whole = sweep("tiny", {"rank": [2, 3]}, out=tmp_path / "whole", **given)
    with monkeypatch.context() as patched:
        stop_after(patched, count)
        with pytest.raises(
            Interrupted, match=r"\d of 6 cells are complete, .* to go on: tnrank sweep tiny --resume"
        ) as e:
            sweep("tiny", {"rank": [2, 3]}, out=tmp_path / "stopped", **given)
    folder = e.value.kept
    assert folder is not None
    before = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    assert len(before) < 6
    assert [row["status"] == "complete" for row in table(folder / "table.csv")].count(True) == len(before)
    stamps = {path: (path / "summary.json").stat().st_mtime_ns for path in before}
    done = sweep("tiny", resume=folder)
    assert done.computed == 6 - len(before)
    assert {path: (path / "summary.json").stat().st_mtime_ns for path in before} == stamps
    for one, other in zip(whole.rows, done.rows, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
        metrics = [(sweep_.folder / one["folder"] / "metrics.csv").read_text() for sweep_ in (whole, done)]
        assert metrics[0] == metrics[1]
    assert sorted(p.name for p in done.folder.iterdir()) == sorted(p.name for p in whole.folder.iterdir())


_KILLED = """
import sys
from tests.experiments.tiny import Tiny
from tnrank.experiments import register, sweep
register(Tiny)
sweep("tiny", {"rank": [2, 3]}, seeds=5, overrides={"waits": 0.1}, out=sys.argv[1])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_it_goes_on(tmp_path: Path, calls: list[int]) -> None:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *(p for p in sys.path if p)])}
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(tmp_path)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("sweep-*/0*"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
            assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    (folder,) = tmp_path.iterdir()
    before = len(list(folder.glob("0*")))
    assert 3 <= before < 10
    done = sweep("tiny", {"rank": [2, 3]}, seeds=5, overrides={"waits": 0.1}, out=tmp_path)
    assert done.folder == folder
    assert (done.computed, len(calls), done.failed) == (10 - before, 10 - before, [])
    straight = sweep("tiny", {"rank": [2, 3]}, seeds=5, out=tmp_path / "straight")
    assert [row["error"] for row in done.rows] == [row["error"] for row in straight.rows]


def clusters(kind: str, stack: Any) -> Any:
    if kind == "threads":
        return stack.enter_context(ThreadPoolExecutor(2))
    if kind == "processes":
        return stack.enter_context(processes(2))
    distributed = pytest.importorskip("distributed")
    own = kind == "dask processes"
    cluster = stack.enter_context(
        distributed.LocalCluster(2, threads_per_worker=1, processes=own, dashboard_address=None)
    )
    if own:
        return stack.enter_context(dask(cluster.scheduler_address))
    return stack.enter_context(distributed.Client(cluster, set_as_default=False)).get_executor()


@pytest.mark.parametrize("kind", ["threads", "processes", "dask threads", "dask processes"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of a cluster that is closed
def test_executors_give_what_this_process_gives(tmp_path: Path, kind: str) -> None:
    from contextlib import ExitStack

    lines: list[str] = []
    given: dict[str, Any] = {"seeds": 3, "overrides": {"fails": 1}}
    here = sweep("tiny", {"rank": [2, 3]}, out=tmp_path / "here", **given)
    with ExitStack() as stack:
        executor = clusters(kind, stack)
        there = sweep(
            "tiny", {"rank": [2, 3]}, out=tmp_path / "there", executor=executor, progress=lines.append, **given
        )
    for one, other in zip(here.rows, there.rows, strict=True):
        assert one["status"] == other["status"]
        assert one.get("failure") == other.get("failure")
        if one["status"] == "complete":
            assert one["error"] == pytest.approx(other["error"], rel=1e-12)
    assert lines[-1].startswith("6 of 6 cells")


@pytest.mark.parametrize("kind", ["threads", "processes", pytest.param("dask processes", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of a cluster that is closed
def test_workers_save_and_stop_when_the_sweep_does(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import ExitStack

    begun = time.monotonic()

    def show(self: Driver, line: str) -> None:
        under_way = [path.stat().st_size for path in self.folder.glob(".0*.partial/metrics.csv")]
        if max(under_way, default=0) > 1000 and list(self.folder.glob("0*")):
            raise KeyboardInterrupt

    grid = {"steps": [10, 10**9]}
    with ExitStack() as stack, monkeypatch.context() as patched:
        executor = clusters(kind, stack)
        patched.setattr(Driver, "_show", show)
        with pytest.raises(Interrupted) as caught:
            sweep("tiny", grid, seeds=2, out=tmp_path, executor=executor)
    folder = caught.value.kept
    assert folder is not None
    assert time.monotonic() - begun < 40
    assert not (folder / OWNER).exists()
    kept = [path for path in folder.glob(".0*.partial") if list(path.glob("checkpoints/cp-1/*.json"))]
    assert kept
    assert all(json.loads((path / "summary.json").read_text())["status"] == "interrupted" for path in kept)


def test_a_worker_that_dies(tmp_path: Path) -> None:
    grid = {"dies": [False, True]}
    with (
        processes(1) as executor,
        pytest.raises(OSError, match=r"a worker ended before its cells did.*1 of 2 cells are complete; to go on:"),
    ):
        sweep("tiny", grid, out=tmp_path, executor=executor)
    (folder,) = tmp_path.iterdir()
    assert [row["status"] for row in table(folder / "table.csv")] == ["complete", "missing"]


def test_another_process_takes_it_up(tmp_path: Path) -> None:
    folder: list[Path] = []

    def progress(line: str) -> None:
        for path in tmp_path.glob("sweep-*"):
            if "step" in line and not folder:
                folder.append(path)
                (path / OWNER).write_text("somebody else")

    with pytest.raises(Interrupted, match="another process has taken up this sweep"):
        sweep("tiny", seeds=2, overrides={"steps": 10**9}, out=tmp_path, progress=progress)
    assert (folder[0] / OWNER).read_text() == "somebody else"


def full(monkeypatch: pytest.MonkeyPatch, when: Callable[[RunFolder], bool], number: int = errno.ENOSPC) -> None:
    genuine = RunFolder.flush

    def flush(self: RunFolder) -> None:
        if when(self):
            raise OSError(number, os.strerror(number))
        genuine(self)

    monkeypatch.setattr(RunFolder, "flush", flush)


def test_a_full_disk_keeps_what_was_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Tiny(steps=400)
    whole = run(recipe, tmp_path / "whole")
    with monkeypatch.context() as patched:
        full(patched, lambda folder: folder.rows > 20)
        with pytest.raises(
            OSError, match=r"No space left on device; what was recorded until then is in .*partial"
        ) as e:
            run(recipe, tmp_path / "full")
    assert e.value.errno == errno.ENOSPC
    assert "to go on: tnrank reproduce tiny --resume" in str(e.value)
    (partial,) = (tmp_path / "full").iterdir()
    assert len(read_metrics(partial)) > 10
    done = run(recipe, resume=partial)
    assert (done.folder / "metrics.csv").read_text() == (whole.folder / "metrics.csv").read_text()


def test_a_full_disk_ends_a_sweep_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        full(patched, lambda folder: folder.final.name.startswith("0002"))
        with pytest.raises(
            OSError, match=r"No space left on device.* 2 of 4 cells are complete; to go on: tnrank sweep"
        ):
            sweep("tiny", seeds=4, out=tmp_path)
    (folder,) = tmp_path.iterdir()
    done = sweep("tiny", resume=folder)
    assert (done.computed, done.failed) == (2, [])


_LIMITED = """
import resource, sys
from tests.experiments.tiny import Tiny
from tnrank.experiments import run
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
try:
    run(Tiny(steps=2000), sys.argv[1])
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_real_write_error(tmp_path: Path) -> None:
    """The system refuses to let files grow: the message is ours, and whole lines are left."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *(p for p in sys.path if p)])}
    command = [sys.executable, "-W", "ignore", "-c", _LIMITED, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "File too large; what was recorded until then is in" in done.stdout
    (partial,) = tmp_path.iterdir()
    text = (partial / "metrics.csv").read_text()
    assert text.endswith("\n")
    assert 5000 < len(text) <= 6000
    assert all(line.count(",") == 5 for line in text.splitlines())


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
    with pytest.raises(ValueError, match="not a sweep folder but a run folder"):
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


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port that nobody listens at."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield one.getsockname()[1]


def test_dask_that_is_not_there(deaf: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    began = time.monotonic()
    with (
        pytest.raises(ConnectionError, match="no Dask scheduler answers at tcp://127"),
        dask(f"tcp://127.0.0.1:{deaf}"),
    ):
        raise AssertionError
    assert time.monotonic() - began < 10
    for wrong in ("localhost", "tcp://localhost", "tcp://localhost:many", ""):
        with pytest.raises(ValueError, match="the address of a Dask scheduler is like"), dask(wrong):
            raise AssertionError
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'pip install "tnrank\[dask\]"'), dask("tcp://127.0.0.1:8786"):
        raise AssertionError
    with pytest.raises(ValueError, match="from 1 on, got 0"), processes(0):
        raise AssertionError


def test_workers_that_do_not_see_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tnrank.experiments import _sweep_driver

    genuine = _sweep_driver.run_group

    def elsewhere(group: Any) -> Any:
        from dataclasses import replace

        return genuine(replace(group, folder=tmp_path / "another machine"))

    monkeypatch.setattr(_sweep_driver, "run_group", elsewhere)
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(OSError, match=r"does not see the folder.*has to stand on a file system that all of them share"),
    ):
        sweep("tiny", out=tmp_path, executor=executor)
