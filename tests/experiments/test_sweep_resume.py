"""Sweeps that were interrupted, killed or without room go on and do nothing twice."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tnrank
from tests.experiments.tiny import Tiny, environment, table
from tnrank.experiments import Interrupted, read_metrics, run, sweep
from tnrank.experiments._sweeps import _batch
from tnrank.experiments._sweeps._batch import Trainer
from tnrank.experiments._sweeps._cells import OWNER
from tnrank.runs import RunFolder, _training

pytestmark = pytest.mark.usefixtures("tiny_known")


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Ctrl-C when the trainings have come back to the host so many times."""
    genuine, counter = Trainer.carry_out, itertools.count(1)

    def carry_out(self: Trainer, jobs: Any) -> None:
        def check() -> None:
            if next(counter) > count:
                raise KeyboardInterrupt

        self.check = check
        genuine(self, jobs)

    monkeypatch.setattr(Trainer, "carry_out", carry_out)


@pytest.mark.parametrize(
    ("backend", "count"),
    [
        *(("numpy", 20), ("torch", 5)),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("numpy", 2), ("torch", 2), ("jax", 6))),
    ],
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
import json, sys
from tests.experiments.tiny import Tiny
from tnrank.experiments import register, sweep
register(Tiny)
sweep("tiny", {"rank": [2, 3]}, **json.loads(sys.argv[1]))
"""


def killed(ready: Callable[[], bool], **given: Any) -> None:
    """A sweep in a process of its own, killed as soon as ``ready()``."""
    process = subprocess.Popen([sys.executable, "-c", _KILLED, json.dumps(given, default=str)], env=environment())
    try:
        deadline = time.monotonic() + 60
        while not ready() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_it_goes_on(tmp_path: Path, calls: list[int]) -> None:
    given: dict[str, Any] = {"seeds": 5, "overrides": {"waits": 0.1}, "out": tmp_path}
    killed(lambda: len(list(tmp_path.glob("sweep-*/0*"))) >= 3, **given)
    (folder,) = tmp_path.iterdir()
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("0*/summary.json")}
    assert 3 <= len(stamps) < 10
    done = sweep("tiny", {"rank": [2, 3]}, **given)
    assert done.folder == folder
    assert (done.computed, len(calls), done.failed) == (10 - len(stamps), 10 - len(stamps), [])
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    straight = sweep("tiny", {"rank": [2, 3]}, **{**given, "out": tmp_path / "straight"})
    assert [row["error"] for row in done.rows] == [row["error"] for row in straight.rows]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize(
    "moment", ["checkpoint", *(pytest.param(m, marks=pytest.mark.slow) for m in ("manifest", "metrics", "complete"))]
)
def test_killed_at_any_moment_a_batch_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Before anything trains, between checkpoints, after one, and when one batch of two is complete."""
    pytest.importorskip("torch")
    given: dict[str, Any] = {"seeds": 2, "batch": 2, "out": tmp_path}
    given["overrides"] = {"backend": "torch", "steps": 600, "saves": 1e-3 if moment == "checkpoint" else 60.0}
    what = {
        "manifest": "sweep-*/sweep.json",
        "metrics": "sweep-*/.0*.partial/metrics.csv",
        "checkpoint": "sweep-*/.batches/*/*.json",
        "complete": "sweep-*/0001*",
    }
    killed(lambda: any(tmp_path.glob(what[moment])), **given)
    (folder,) = tmp_path.iterdir()
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("0*/summary.json")}
    assert len(stamps) == (2 if moment == "complete" else 0)
    first: list[int] = []
    genuine = _batch.complete

    def complete(*args: Any, **options: Any) -> Any:
        steps: list[int] = []
        own = options.pop("callback")
        found = genuine(*args, callback=lambda step, loss: (steps.append(step), own(step, loss))[1], **options)
        first.append(steps[0])
        return found

    with monkeypatch.context() as patched:
        patched.setattr(_batch, "complete", complete)
        done = sweep("tiny", {"rank": [2, 3]}, **given)
    assert (done.folder, done.computed, done.failed) == (folder, 4 - len(stamps), [])
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    given["overrides"]["saves"] = 60.0
    straight = sweep("tiny", {"rank": [2, 3]}, **{**given, "out": tmp_path / "straight"})
    for one, other in zip(done.rows, straight.rows, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
        metrics = [(found.folder / one["folder"] / "metrics.csv").read_bytes() for found in (done, straight)]
        assert metrics[0] == metrics[1]
    assert (first[0] > 1) == (moment == "checkpoint")


@pytest.mark.parametrize("batch", [2, 5, *(pytest.param(batch, marks=pytest.mark.slow) for batch in (1, 4))])
def test_the_rest_of_a_batch_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Three of six cells were trained together and one of them got its name; smaller and larger batches go on."""
    pytest.importorskip("torch")
    given: dict[str, Any] = {"seeds": 6, "overrides": {"backend": "torch", "inits": 2}}
    whole = sweep("tiny", out=tmp_path / "whole", batch=3, **given)
    finish, train = RunFolder.complete, _batch.complete
    began: list[tuple[int, int]] = []

    def stop(self: RunFolder, *args: Any, **options: Any) -> Any:
        if self.final.name.startswith("0001"):
            return finish(self, *args, **options)
        raise KeyboardInterrupt

    def watched(xs: Any, *args: Any, **options: Any) -> Any:
        steps: list[int] = []
        own = options.pop("callback")
        found = train(xs, *args, callback=lambda step, loss: (steps.append(step), own(step, loss))[1], **options)
        began.append((1 if isinstance(xs, tnrank.Factorization) else len(xs), len(steps)))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "complete", stop)
        with pytest.raises(Interrupted, match="1 of 6 cells are complete"):
            sweep("tiny", out=tmp_path / "stopped", batch=3, **given)
    (folder,) = (tmp_path / "stopped").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(_batch, "complete", watched)
        patched.setattr(_training, "complete", watched)
        done = sweep("tiny", resume=folder, batch=batch)
    assert (done.computed, done.failed) == (5, [])
    assert sum(count for count, steps in began if steps) == 6
    assert sum(count for count, steps in began if not steps) == 4
    for place, (one, other) in enumerate(zip(whole.rows, done.rows, strict=True)):
        if place < 3:
            assert {**one, "seconds": 0} == {**other, "seconds": 0}
            metrics = [(found.folder / one["folder"] / "metrics.csv").read_bytes() for found in (whole, done)]
            assert metrics[0] == metrics[1]
        assert abs(one["error"] - other["error"]) <= 1e-9 * one["error"]
    assert sorted(p.name for p in done.folder.iterdir()) == sorted(p.name for p in whole.folder.iterdir())


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
            OSError,
            match=r"^cannot write to .*No space left on device.* 2 of 4 cells are complete; to go on: tnrank sweep",
        ) as e:
            sweep("tiny", seeds=4, out=tmp_path)
    assert str(e.value).count("to go on") == 1
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
    command = [sys.executable, "-W", "ignore", "-c", _LIMITED, str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert "File too large; what was recorded until then is in" in done.stdout
    (partial,) = tmp_path.iterdir()
    text = (partial / "metrics.csv").read_text()
    assert text.endswith("\n")
    assert 5000 < len(text) <= 6000
    assert all(line.count(",") == 5 for line in text.splitlines())
