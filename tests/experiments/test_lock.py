"""The lock of a folder: who has it, and when it ends."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.tiny import Tiny, environment
from tnrank._lock import Lock
from tnrank.experiments import run, sweep
from tnrank.runs._folder import RunFolder

NAMED = r"is in use by process (\d+) on (\S+) since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def test_one_at_a_time(tmp_path: Path) -> None:
    lock, lines = Lock(tmp_path).acquire(), []
    with pytest.raises(BlockingIOError, match=rf"^{re.escape(str(tmp_path))} {NAMED}; or not$") as caught:
        Lock(tmp_path, advice="; or not").acquire()
    assert re.search(NAMED, str(caught.value))[1] == str(os.getpid())  # type: ignore[index]
    with pytest.raises(BlockingIOError):
        Lock(tmp_path, shared=True).acquire()
    threading.Timer(0.5, lock.release).start()
    second = Lock(tmp_path).acquire(30, lines.append)
    assert lines[0].startswith(f"waiting for process {os.getpid()} on ")
    second.release()
    assert os.listdir(tmp_path) == []
    second.release()  # once more does nothing
    del lock, second


def test_several_may_share(tmp_path: Path) -> None:
    shared = [Lock(tmp_path, "workers", shared=True).acquire() for _ in range(3)]
    for lock in shared:
        with pytest.raises(BlockingIOError):
            Lock(tmp_path, "workers").acquire()
        lock.release()
    Lock(tmp_path, "workers").acquire().release()
    assert os.listdir(tmp_path) == []


def test_it_is_given_back_where_nobody_holds_on_to_it(tmp_path: Path) -> None:
    Lock(tmp_path).acquire()
    Lock(tmp_path).acquire().release()


_HOLDS = """
import os, pathlib, subprocess, sys, time
from tnrank._lock import Lock
lock = Lock(pathlib.Path(sys.argv[1])).acquire()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
forked = os.fork() or time.sleep(60) or os._exit(0)
print(child.pid, forked, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
def test_it_ends_with_its_process(tmp_path: Path) -> None:
    """Killed by SIGKILL, and neither the child that it forked nor the program that it started keeps the lock."""
    command = [sys.executable, "-c", _HOLDS, str(tmp_path)]
    holder = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    children = [int(word) for word in holder.stdout.readline().split()]
    try:
        with pytest.raises(BlockingIOError, match=rf"process {holder.pid} on"):
            Lock(tmp_path).acquire()
        holder.kill()
        holder.wait()
        Lock(tmp_path).acquire(20).release()  # the forked child may only just have begun
        for child in children:
            os.kill(child, 0)  # both are there still
    finally:
        holder.stdout.close()
        for child in children:
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    import fcntl

    def flock(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(RuntimeWarning, match="has no locks .*: let no other process work there"):
        Lock(tmp_path).acquire().release()


def test_other_errors_are_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "nowhere").acquire(60)


@pytest.mark.usefixtures("tiny_known")
def test_runs_and_sweeps_say_who_is_at_work(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "tiny")
    folder.write_json("config.json", {"recipe": "tiny", "fields": {**vars(Tiny())}})
    given = f"{NAMED}: wait until it has ended \\(wait=True\\), or end it"
    with pytest.raises(BlockingIOError, match=given):
        run(Tiny(), resume=folder.partial)
    done = sweep("tiny", {"rank": [2]}, out=tmp_path)
    lock, lines = Lock(done.folder).acquire(), []
    with pytest.raises(BlockingIOError, match=given):
        sweep("tiny", {"rank": [2]}, out=tmp_path)
    cell = done.folder / done.rows[0]["folder"]
    partial = cell.rename(cell.parent / f".{cell.name}.partial")
    with pytest.raises(BlockingIOError, match=given):
        run(Tiny(rank=2), resume=partial)  # whoever holds a sweep holds its cells
    threading.Timer(0.5, lock.release).start()
    assert sweep("tiny", {"rank": [2]}, out=tmp_path, wait=lines.append).rows[0]["status"] == "complete"
    assert "waiting for process" in lines[0]
    threading.Timer(0.5, folder.abandon).start()
    folder.record("cp", 0, "loss", 1.0)
    assert run(Tiny(), resume=folder.partial, wait=True).folder == folder.final


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.slow
def test_the_command_waits(tmp_path: Path) -> None:
    """It is refused in one line, waits with --wait, and Ctrl-C ends that; when the holder is gone it goes on."""
    pytest.importorskip("typer")
    command = [sys.executable, "-m", "tnrank.cli", "sweep", "tensor-dynamics", "--backend", "numpy", "--steps", "2"]
    command += ["--set", "dimension=4", "--set", "observed=100", "--no-figure", "--out", str(tmp_path)]
    options: dict[str, Any] = {"env": {**environment(), "COLUMNS": "200"}, "text": True, "stderr": subprocess.PIPE}
    options |= {"stdout": subprocess.PIPE}
    overrides = {"backend": "numpy", "dimension": 4, "observed": 100}
    folder = sweep("tensor-dynamics", steps=2, overrides=overrides, out=tmp_path, figure=False).folder
    lock = Lock(folder).acquire()
    refused = subprocess.run(command, check=False, **options)
    assert refused.returncode == 1
    assert re.fullmatch(rf"error: {folder} {NAMED}: wait until it has ended \(--wait\), or end it\n", refused.stderr)
    for ends in ("Ctrl-C", "release"):
        process = subprocess.Popen([*command, "--wait"], **options)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(f"waiting for process {os.getpid()} on ")
        process.send_signal(signal.SIGINT) if ends == "Ctrl-C" else lock.release()
        process.communicate(timeout=60)
        assert process.returncode == (130 if ends == "Ctrl-C" else 0)
