"""Runs and sweeps that are killed at any moment and go on, in children of a process that has imported everything.

A child tells what it trains and what it has saved in a log of its own, which outlives it.
"""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import tnrank
from tests.experiments.tiny import Tiny
from tnrank.experiments import register, run, sweep
from tnrank.runs import _journal
from tnrank.training import Checkpoint, _checkpoint, _run

CALLS = ("open", "write", "fsync", "fchmod", "replace", "rename", "unlink", "mkdir", "rmdir", "ftruncate")
"""System calls of the way from a result to a file that stays, but those of streams of Python."""
RECIPE = Tiny(steps=int(os.environ.get("TINY_STEPS", "40")))
EVERY = max(10, RECIPE.steps // 20)
"""Steps between two checkpoints."""
_CALLS_OF_HALF_A_RUN = 60
_TIME = re.compile(r"-\d{8}-\d{6}(-\d+)?")
_PLACE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""A disk would spend its time on synchronizing, which no kill of a process puts to the test."""
GIVEN: dict[str, Any] = {"overrides": {"steps": RECIPE.steps}}


def go_on_with_a_run(out: Path, wait: bool = False) -> None:
    """Run, or go on with what is there."""
    begun = [path.parent for path in out.glob(".*.partial/config.json")]
    complete = [path for path in out.glob("[!.]*") if path.is_dir()]
    if not begun and not complete:
        run(RECIPE, out)
        return
    try:
        run(RECIPE, resume=(complete or begun)[0], wait=wait)
    except ValueError as error:
        assert "is complete, there is nothing to resume" in str(error)  # noqa: PT017


def go_on_with_a_sweep(out: Path, wait: bool = False) -> None:
    """The same command again."""
    sweep("tiny", {"rank": [2, 3]}, out=out, wait=wait, **GIVEN)


ACTIONS = {"run": go_on_with_a_run, "sweep": go_on_with_a_sweep}


class Log:
    """What children do: lines of a file that outlives them."""

    def __init__(self, path: Path) -> None:
        self.path, self.read = path, 0
        path.touch()

    def write(self, *words: Any) -> None:
        with self.path.open("a") as stream:
            stream.write("\t".join(map(str, words)) + "\n")

    def lines(self) -> list[list[str]]:
        """All of them, as words."""
        return [line.split("\t") for line in self.path.read_text().splitlines()]

    def take(self) -> list[list[str]]:
        """The lines since the last call."""
        lines = self.lines()
        new, self.read = lines[self.read :], len(lines)
        return new


def watch(log: Log) -> None:
    """Have this process tell what it trains and what it has saved."""
    chunk, write = _run.Run._chunk, _checkpoint.write_checkpoint

    def trained(self: Any, state: Any, marks: list[int]) -> Any:
        log.write("train", key(self.keeper.folder), state["count"], os.getpid())
        return chunk(self, state, marks)

    def saved(folder: Path, step: int, *rest: Any) -> None:
        write(folder, step, *rest)
        log.write("saved", key(folder), step, os.getpid())

    _run.Run._chunk = trained  # type: ignore[method-assign]
    _checkpoint.write_checkpoint = saved
    _journal.Checkpoint = lambda folder, every: Checkpoint(folder, EVERY, "steps", keep=2)  # type: ignore[misc,assignment]


def key(folder: Path) -> str:
    """The run that a folder of checkpoints is of; names of single runs have a time in them."""
    return _TIME.sub("", folder.parents[1].name) + "/" + folder.name


def break_at(number: int, fault: str, log: Log) -> None:
    """A fault at one of this process's calls of the system."""
    count = 0

    def broken(name: str, genuine: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count
            if fault == "half" and name != "write":
                return genuine(*args, **options)
            count += 1
            if count == number:
                log.write("fault", name, *(a for a in args if isinstance(a, (str, Path))))
                if fault == "error":
                    raise OSError(errno.EIO, "made up", *(str(a) for a in args[:1] if isinstance(a, (str, Path))))
                if name == "write" and fault == "half":
                    genuine(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return genuine(*args, **options)

        return call

    for name in CALLS:
        setattr(os, name, broken(name, getattr(os, name)))


def child(action: Callable[[], None], log: Log) -> int:
    """The process that does it."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        action()
        code = 0
    except BaseException as error:
        log.write("raised", type(error).__name__, error)
    finally:
        os._exit(code)


def ended(process: int) -> int:
    """The exit code; minus the signal of a process that was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def content(out: Path) -> dict[str, Any]:
    """What has to be the same however often a run was killed: all but times."""
    found: dict[str, Any] = {}
    for path in sorted(out.glob("**/*")):
        name = _TIME.sub("", path.relative_to(out).as_posix())
        if path.name == "summary.json":
            found[name] = {k: v for k, v in json.loads(path.read_bytes()).items() if k != "seconds"}
        elif path.name == "table.csv":
            found[name] = re.sub(r",complete,[\d.]+,", ",complete,,", path.read_text())
        elif path.suffix == ".safetensors" and not path.name.startswith(("step-", ".")):
            found[name] = [array.tobytes() for array in tnrank.load(path).arrays.values()]
        elif path.is_file() and path.name != "config.json":
            found[name] = path.read_bytes()
        else:
            found[name] = None
    return found


def check(lines: list[list[str]], saved: dict[str, int]) -> int:
    """That a session computed nothing again that an earlier one had saved; its trained chunks."""
    first: dict[str, int] = {}
    for line in lines:
        if line[0] == "train":
            first.setdefault(line[1], int(line[2]))
    for name, step in first.items():
        assert step >= saved.get(name, 0), f"{name} began at {step}, but {saved[name]} was saved"
        assert saved.get(name, 0) < RECIPE.steps, f"{name} had come to its end"
    for line in lines:
        if line[0] == "saved":
            saved[line[1]] = max(saved.get(line[1], 0), int(line[2]))
    return sum(line[0] == "train" for line in lines)


class Trial:
    """One folder in which something is killed, goes on, and is compared with what was never killed."""

    def __init__(self, kind: str, whole: dict[str, Any] | None = None) -> None:
        self.action, self.whole = ACTIONS[kind], whole
        self.root = Path(tempfile.mkdtemp(dir=_PLACE))
        self.out, self.log, self.saved = self.root / "out", Log(self.root / "log"), dict[str, int]()
        self.out.mkdir()

    def watched(self, wait: bool = False, fault: tuple[int, str] | None = None) -> None:
        """What a child does."""
        watch(self.log)
        if fault is not None:
            break_at(*fault, self.log)
        self.action(self.out, wait)

    def session(
        self, fault: tuple[int, str] | None = None, seconds: float | None = None, checked: bool = True
    ) -> tuple[int, int]:
        """Exit code and trained chunks of one process, which is perhaps killed."""

        process = child(lambda: self.watched(fault=fault), self.log)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)
        code = ended(process)
        self.lines = self.log.take()
        return code, check(self.lines, self.saved) if checked else 0

    def end(self) -> None:
        """Go on to the end, and compare."""
        for _ in range(2):  # the second time there is nothing left to do
            code, _ = self.session()
            assert code == 0, self.lines
        found = content(self.out)
        # A run that was killed before its configuration was written has nothing to go on with.
        found = {k: v for k, v in found.items() if not re.match(r"\.tiny-[^/]*\.partial", k)}
        if self.whole is not None:
            assert found.keys() == self.whole.keys(), sorted(found.keys() ^ self.whole.keys())
            wrong = [name for name in found if found[name] != self.whole[name]]
            assert not wrong, wrong
        shutil.rmtree(self.root)


def whole(kind: str) -> tuple[dict[str, Any], float]:
    """What a run that is never killed leaves, and its seconds."""
    seconds = float("inf")
    for _ in range(2):
        trial = Trial(kind)
        began = time.monotonic()
        assert trial.session()[0] == 0, trial.lines
        seconds = min(seconds, time.monotonic() - began)
        found = content(trial.out)
        trial.end()
    return found, seconds


def moments(kind: str, count: int, seed: int) -> None:
    """Kill at so many random moments, up to three times in a row, and go on."""
    expected, seconds = whole(kind)
    draw, killed, between = random.Random(seed), 0, 0
    for _ in range(4 * count):
        trial = Trial(kind, expected)
        for _ in range(min(3, count - killed)):
            code, _ = trial.session(seconds=draw.uniform(0, seconds))
            if code == 0:
                break
            assert code == -signal.SIGKILL, trial.lines
            killed += 1
            between += any(0 < step < RECIPE.steps for step in trial.saved.values())
        trial.end()
        if killed == count:
            break
    print(f"{killed} kills, {between} of them between checkpoints")


def calls(kind: str, fault: str, every: int) -> None:
    """A fault at every so-many-th call of the system, and go on."""
    expected, _ = whole(kind)
    number, found = 1, dict[str, int]()
    while True:
        trial = Trial(kind, expected)
        trial.session(fault=(number, fault))
        faults = [line[1] for line in trial.lines if line[0] == "fault"]
        trial.end()
        if not faults:
            break
        found[faults[0]] = found.get(faults[0], 0) + 1
        number += every
    print(json.dumps(found))


def pairs(kind: str, count: int, seed: int) -> None:
    """Two processes at once: one is refused, and nothing is computed twice."""
    expected, seconds = whole(kind)
    draw, refused = random.Random(seed), 0
    for number in range(count):
        waits, dies = number % 2 == 1, number % 4 == 3
        trial = Trial(kind, expected)
        if kind == "run":
            trial.session(fault=(_CALLS_OF_HALF_A_RUN, "kill"))
        processes = []
        for delay in (0.0, draw.uniform(0, seconds / 2)):
            time.sleep(delay)
            processes.append(child(lambda trial=trial, waits=waits: trial.watched(waits), trial.log))  # type: ignore[misc]
        if dies:
            time.sleep(draw.uniform(0, seconds / 4))
            os.kill(processes[0], signal.SIGKILL)
        codes = [ended(process) for process in processes]
        lines = trial.log.take()
        errors = [line for line in lines if line[0] == "raised"]
        for line in errors:
            assert line[1] == "BlockingIOError", line
            assert re.search(r"is in use by process \d+ on \S+ since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", line[2]), line
        assert len(errors) <= (not waits), lines
        assert codes[1] == 0 if dies else codes.count(0) == 2 - len(errors), (codes, lines)
        refused += len(errors)
        if not dies:
            check(lines, trial.saved)
            trained = [tuple(line[1:3]) for line in lines if line[0] == "train"]
            assert len(trained) == len(set(trained)), "a step was computed twice"
        trial.end()
    print(f"{refused} refused")


def orphans(count: int, seed: int) -> None:
    """Kill a process whose workers live on: the next one waits until they have stopped."""
    draw, left = random.Random(seed), 0
    expected, _ = whole("sweep")
    for _ in range(count):
        trial = Trial("sweep", expected)

        def action(trial: Trial = trial) -> None:
            os.setsid()
            watch(trial.log)
            with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as executor:
                sweep("tiny", {"rank": [2, 3]}, out=trial.out, executor=executor, **GIVEN)

        process = child(action, trial.log)
        try:
            while sum(line[0] == "saved" for line in trial.log.lines()) < draw.randint(1, 8):
                time.sleep(0.001)
            os.kill(process, signal.SIGKILL)
            ended(process)
            before = len(trial.log.lines())
            code, _ = trial.session(checked=False)
            assert code == 0, trial.lines
        finally:
            os.killpg(process, signal.SIGKILL)
        left += any(line[-1] != trial.lines[-1][-1] for line in trial.lines[before:])
        for name in {line[1] for line in trial.lines}:
            who = [line[-1] for line in trial.lines if line[1] == name]
            assert len(list(itertools.groupby(who))) == len(set(who)), f"two at once at {name}: {trial.lines}"
        trial.end()
    print(f"{left} with workers that were left behind")


if __name__ == "__main__":
    register(Tiny)
    {"moments": moments, "calls": calls, "pairs": pairs, "orphans": orphans}[sys.argv[1]](
        *map(json.loads, sys.argv[2:])
    )
