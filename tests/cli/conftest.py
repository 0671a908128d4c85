"""Calling the command in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command in a fresh folder: ``call("ranks", "x.npy")`` gives click's result."""
    runner = pytest.importorskip("typer.testing").CliRunner()
    from tnrank.cli._app import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *args: runner.invoke(app, [str(a) for a in args], prog_name="tnrank")


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a process of its own."""
    pytest.importorskip("typer")

    def call(*args: Any) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "COLUMNS": "120",
        }
        command = [sys.executable, "-m", "tnrank.cli", *map(str, args)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return call


@pytest.fixture
def tensor(tmp_path: Path) -> Path:
    """A file with a 10 x 9 x 8 tensor of CP rank 2."""
    from tnrank.data import low_rank_tensor

    path = tmp_path / "tensor.npy"
    np.save(path, low_rank_tensor((10, 9, 8), rank=2, seed=0))
    return path


@pytest.fixture
def holed(tensor: Path) -> Path:
    """The same with a third of its entries missing."""
    array = np.load(tensor)
    array[np.random.default_rng(0).random(array.shape) < 1 / 3] = np.nan
    path = tensor.with_name("holed.npy")
    np.save(path, array)
    return path
