"""Sweeps on threads, processes and a Dask cluster."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.tiny import table
from tnrank.experiments import Interrupted, sweep
from tnrank.experiments._sweeps._cells import OWNER
from tnrank.experiments._sweeps._driver import Driver
from tnrank.experiments._sweeps._workers import dask, processes

pytestmark = pytest.mark.usefixtures("tiny_known")


def clusters(kind: str, stack: Any) -> Any:
    if kind == "threads":
        return stack.enter_context(ThreadPoolExecutor(2))
    if kind == "processes":
        return stack.enter_context(processes(2))
    distributed = pytest.importorskip("distributed")
    own = kind == "dask processes"
    cluster = stack.enter_context(
        distributed.LocalCluster(2, threads_per_worker=1, processes=own, dashboard_address=":0")
    )
    if own:
        return stack.enter_context(dask(cluster.scheduler_address))
    return stack.enter_context(distributed.Client(cluster, set_as_default=False)).get_executor()


@pytest.mark.parametrize(
    "kind", ["threads", "processes", "dask threads", pytest.param("dask processes", marks=pytest.mark.slow)]
)
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


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
def test_ctrl_c_does_not_reach_workers_that_begin() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with processes(1) as executor:
        future = executor.submit(abs, -3)
        for child in multiprocessing.active_children():
            os.kill(int(child.pid or 0), signal.SIGINT)
        assert future.result(30) == 3
        assert executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result(30) == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_worker_that_dies(tmp_path: Path) -> None:
    grid = {"dies": [False, True]}
    with (
        processes(1) as executor,
        pytest.raises(OSError, match=r"a worker ended before its cells did.*1 of 2 cells are complete; to go on:"),
    ):
        sweep("tiny", grid, out=tmp_path, executor=executor)
    (folder,) = tmp_path.iterdir()
    assert [row["status"] for row in table(folder / "table.csv")] == ["complete", "missing"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of a cluster that is closed
def test_a_worker_of_dask_that_dies(tmp_path: Path) -> None:
    from contextlib import ExitStack

    pytest.importorskip("distributed")
    import dask as dask_

    with ExitStack() as stack:
        stack.enter_context(dask_.config.set({"distributed.scheduler.allowed-failures": 0}))
        executor = clusters("dask processes", stack)
        with pytest.raises(OSError, match=r"a worker ended before its cells did.*KilledWorker.*; to go on:"):
            sweep("tiny", {"dies": [True]}, out=tmp_path, executor=executor)


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
    from tnrank.experiments._sweeps import _driver

    genuine = _driver.run_group

    def elsewhere(group: Any) -> Any:
        from dataclasses import replace

        return genuine(replace(group, folder=tmp_path / "another machine"))

    monkeypatch.setattr(_driver, "run_group", elsewhere)
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(OSError, match=r"does not see the folder.*has to stand on a file system that all of them share"),
    ):
        sweep("tiny", out=tmp_path, executor=executor)
