"""Killed at any moment and at any call of the system, runs and sweeps go on: nothing is lost, nothing computed again.

What is killed and how it is compared stands in ``killing.py``; here is how often.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.experiments.tiny import environment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")


def killing(*words: Any, steps: int = 40) -> str:
    """What the last line says, once nothing was found wrong."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.experiments.killing", words[0], *map(json.dumps, words[1:])]
    given = {**environment(), "TINY_STEPS": str(steps)}
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("kind", "count"), [("sweep", 2), *(pytest.param(kind, 30, marks=pytest.mark.slow) for kind in ("run", "sweep"))]
)
def test_at_random_moments(kind: str, count: int) -> None:
    said = killing("moments", kind, count, 14, steps=1000)
    assert said.startswith(f"{count} kills, ")
    assert count < 10 or int(said.split()[2]) >= count // 5


@pytest.mark.parametrize(
    ("kind", "fault", "every"),
    [
        ("run", "kill", 16),
        ("run", "error", 17),
        *(pytest.param("run", fault, 1, marks=pytest.mark.slow) for fault in ("kill", "half", "error")),
        pytest.param("sweep", "kill", 5, marks=pytest.mark.slow),
        pytest.param("sweep", "error", 7, marks=pytest.mark.slow),
    ],
)
def test_at_calls_of_the_system(kind: str, fault: str, every: int) -> None:
    """A kill before every call, in the middle of every write, and an error of every call."""
    calls = json.loads(killing("calls", kind, fault, every))
    if every == 1:
        needed = {"write"} if fault == "half" else {"open", "write", "fsync", "replace", "rename", "unlink", "mkdir"}
        assert needed <= calls.keys()
        assert sum(calls.values()) >= (10 if fault == "half" else 80)
    else:
        assert sum(calls.values()) >= 5


@pytest.mark.parametrize("count", [1, pytest.param(15, marks=pytest.mark.slow)])
def test_workers_that_outlive_the_process_they_work_for(count: int) -> None:
    """They save and stop, and nobody else works at their cells before."""
    said = killing("orphans", count, 5, steps=3000)
    assert int(said.split()[0]) >= 1


@pytest.mark.parametrize(
    ("kind", "count"), [("run", 4), *(pytest.param(kind, 10, marks=pytest.mark.slow) for kind in ("run", "sweep"))]
)
def test_two_processes(kind: str, count: int) -> None:
    """One is refused, or waits; where the first is killed, the one that waits goes on. No step is computed twice."""
    assert killing("pairs", kind, count, 3).endswith(" refused")
