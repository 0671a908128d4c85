"""``tnrank``, ``tnrank backends``, ``tnrank reproduce`` and ``tnrank demo``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.cli import _console

Call = Callable[..., Any]


def test_help_and_version(call: Call) -> None:
    shown = call("--help").stdout
    assert all(name in shown for name in ("reproduce", "ranks", "complete", "backends", "demo"))
    assert call("--version").stdout == f"tnrank {tnrank.__version__}\n"


def test_backends(call: Call) -> None:
    done = call("backends")
    assert done.exit_code == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert np.__version__ in lines["numpy"]
    assert "float64" in lines["numpy"]
    for name in ("jax", "torch"):
        installed = name in tnrank.available_backends()
        assert ("cpu" in lines[name]) if installed else ('pip install "tnrank[' in lines[name])


def test_a_missing_backend_shows_its_pip_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tnrank._backend._installed", lambda name: name == "numpy")
    assert 'pip install "tnrank[torch]"' in call("backends").stdout


def test_reproduce_writes_a_run_folder(call: Call, tmp_path: Path) -> None:
    done = call("reproduce", "dynamics", "--backend", "numpy", "--steps", 30, "--seed", 5, "--set", "htf_width=8")
    assert done.exit_code == 0, done.stderr
    assert "verdict: does not hold" in done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder.relative_to(tmp_path)) in done.stdout
    fields = json.loads((folder / "config.json").read_text())["fields"]
    assert (fields["seed"], fields["htf_width"], fields["mf_steps"]) == (5, 8, 30)


def test_float64_by_the_recipe(call: Call, tmp_path: Path) -> None:
    given = ("--steps", 3, "--dtype", "float64", "--out", "here", "--no-figure")
    done = call("reproduce", "dynamics", "--backend", "numpy", *given)
    assert done.exit_code == 0, done.stderr
    (folder,) = (tmp_path / "here").iterdir()
    assert tnrank.load(folder / "mf.safetensors").dtype == "float64"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("dynamcis",), "did you mean 'dynamics'"),
        (("dynamics", "--preset", "fast"), "no preset 'fast'"),
        (("dynamics", "--set", "mf_stdd=1"), "did you mean 'mf_std'"),
        (("dynamics", "--steps", "0"), "steps is"),
        (("dynamics", "--seed", "-3"), "a seed is"),
        (("dynamics", "--threads", "-1"), "threads is"),
    ],
)
def test_errors_are_one_line(call: Call, tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    done = call("reproduce", *args, "--backend", "numpy")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    first, *more = done.stderr.splitlines()
    assert said in first
    # After a misspelt field its recipe's fields are listed.
    assert not more or ("has no field" in first and more[0].startswith("fields of dynamics"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "args", [("reproduce",), ("dance",), ("ranks", "x.npy", "--no"), ("reproduce", "dynamics", "--set", "x")]
)
def test_wrong_usage_exits_with_2(call: Call, args: tuple[str, ...]) -> None:
    assert call(*args).exit_code == 2


def test_debug_shows_the_traceback(call: Call) -> None:
    done = call("--debug", "ranks", "nothing.npy")
    assert isinstance(done.exception, FileNotFoundError)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_exits_with_130_and_says_what_was_kept(tmp_path: Path) -> None:
    pytest.importorskip("typer")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    # A shell that runs the tests in the background has its children ignore Ctrl-C.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from tnrank.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "reproduce", "dynamics", "--backend", "numpy", "--out", str(tmp_path)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        while not any(file.stat().st_size > 2000 for file in tmp_path.glob(".*.partial/metrics.csv")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130
    assert "what was recorded is in" in said
    assert ".partial" in said
    assert "Traceback" not in said


def test_without_typer_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['typer'] = None; from tnrank.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "tnrank[cli]"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_heavy_is_imported_for_help() -> None:
    pytest.importorskip("typer")
    code = (
        "import sys; from tnrank.cli._app import app; "
        "assert not {'numpy', 'jax', 'torch', 'matplotlib', 'scipy'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.slow
def test_the_demo_recovers_digits(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = call("demo")
    assert done.exit_code == 0, done.stderr
    assert "verdict: holds" in done.stdout
    assert "of the variance recovered" in done.stdout
    found = re.search(r"hid: root mean squared error ([\d.]+), mean predictor ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) < 0.7 * float(found[2])
    assert (tmp_path / "runs" / "digits-spectra.png").exists()


def test_small_arrays_get_one_thread() -> None:
    pytest.importorskip("typer")
    code = (
        "import os; from tnrank.cli import _reproduce\n"
        "try: _reproduce.reproduce('no such recipe')\n"
        "except ValueError: print(os.environ['OMP_NUM_THREADS'])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_console.settings, "debug", False)

    def command() -> None:
        warnings.warn("the disk is full; training goes on", RuntimeWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        _console.guarded(command)()
    assert capsys.readouterr().err == "warning: the disk is full; training goes on\n"
