"""Names, numbers and files that nobody expects: one line, no traceback, no work that cannot end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.data import low_rank_tensor

Call = Callable[..., Any]
ODD = "[red]r[/x]:smile:\\"
"""Markup that is never closed and closed that was never opened, an emoji, a backslash; a file in a folder."""


def is_one_error(done: Any) -> bool:
    first, *more = done.stderr.splitlines() or [""]
    # After a misspelt field its recipe's fields are listed.
    listed = "has no field" in first and bool(more) and more[0].startswith("fields of ")
    return done.exit_code == 1 and first.startswith("error: ") and (listed or not more)


def test_names_are_printed_as_they_are(call: Call, tmp_path: Path, holed: Path) -> None:
    (tmp_path / ODD).parent.mkdir()
    np.save(tmp_path / f"{ODD}.npy", np.load(holed))
    shown = call("ranks", f"{ODD}.npy")
    assert is_one_error(shown)
    assert f"{ODD}.npy" in shown.stderr
    options = ("--backend", "numpy", "--steps", 5, "--out", f"{ODD}-full.npy", "--runs", f"{ODD}-runs")
    done = call("complete", f"{ODD}.npy", *options)
    assert done.exit_code == 0, done.stderr
    assert f"completed tensor: {ODD}-full.npy" in done.stdout
    assert f"run folder: {ODD}-runs/complete-x]:smile:" in done.stdout
    more = ("--rtol", "0.5", "--plot", f"{ODD}.png", "--save", f"{ODD}.safetensors")
    measured = call("ranks", f"{ODD}-full.npy", *more)
    assert measured.exit_code == 0, measured.stderr
    assert f"drawn in {ODD}.png\n" in measured.stderr
    assert f"saved in {ODD}.safetensors\n" in measured.stderr
    for args in (("circuit", f"{ODD}.safetensors"), ("complete", f"{ODD}.bmp"), ("reproduce", ODD), ("sweep", ODD)):
        done = call(*args)
        assert is_one_error(done)
        assert "red]r[/x]:smile:" in done.stderr
    done = call("reproduce", "dynamics", "--backend", "numpy", "--steps", 3, "--out", f"{ODD}-runs", "--no-figure")
    assert done.exit_code == 0, done.stderr
    assert f"written to {ODD}-runs/dynamics-quick-numpy-" in done.stdout


def test_names_in_progress_lines_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rich = pytest.importorskip("rich.console")
    from tnrank.cli import _console, _large

    shown = rich.Console(force_terminal=True, width=100, **_console._PLAIN)
    monkeypatch.setattr(_console, "errors", lambda: shown)
    with shown.capture() as capture:
        with _console.progress_line(f"reading {ODD}") as progress:
            progress(f"step 3 of {ODD}")
        with _large.progress_bar() as bar:
            bar(f"pass 1 of {ODD}", 0.5)
    assert ODD in capture.get()


@pytest.mark.parametrize(
    "error", [KeyError("x"), AssertionError(), RecursionError("deep [/x]"), IndexError("a\nb"), SystemError("?")]
)
def test_a_fault_of_ours_asks_for_a_report(call: Call, tensor: Path, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tnrank.rank_report", fail)
        done = call("ranks", tensor)
        debugged = call("--debug", "ranks", tensor)
    assert is_one_error(done)
    assert type(error).__name__ in done.stderr
    assert "please report it with what tnrank --debug" in done.stderr
    assert type(debugged.exception) is type(error)


@pytest.mark.filterwarnings("always")
def test_warnings_are_one_line(call: Call, tensor: Path) -> None:
    def warn(*_: Any, **__: Any) -> Any:
        warnings.warn("two\nlines, [/x]", UserWarning, stacklevel=2)
        return "report"

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tnrank.rank_report", warn)
        assert call("ranks", tensor).stderr == "warning: two lines, [/x]\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_behind_standard_output(tensor: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tnrank.cli", "ranks", str(tensor)],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "error: [Errno 28] No space left on device\n")


def test_names_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe") + "é.npy"
    np.save(tmp_path / name, np.eye(2) * np.nan)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONIOENCODING": "ascii"}
    for file, code in ((name, 1), ("tensor.npy", 0)):
        np.save(tmp_path / "tensor.npy", np.eye(2))
        command = [sys.executable, "-m", "tnrank.cli", "ranks", file]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


HUGE = "9" * 30
NUMBERS = {
    "complete holed.npy --backend numpy": {
        "--depth": (0, -1, 100_000, HUGE),
        "--rank": (0, -1, HUGE),
        "--steps": (0, -1, HUGE),
        "--std": (0, -1, "nan", "inf"),
        "--hold-out": (1, -0.1, "nan", "inf"),
        "--seed": (-1, HUGE),
        "--threads": (-1, HUGE),
    },
    "ranks tensor.npy": {
        "--rtol": (-1, 1, "nan", "inf"),
        "--memory": (0, -1, "nan", "1e400 GiB", ".", "1e5 lightyears"),
    },
    "circuit": {
        "--grid": (0, "0x0", "100000x100000", "9" * 5000, "nan"),
        "--features": (0, -1, HUGE),
        "--channels": (0, HUGE, "1,,2"),
        "--window": (0, HUGE, "9" * 5000),
        "--classes": (0, -1, HUGE),
    },
    "reproduce dynamics --backend numpy": {
        "--steps": (0, -1, HUGE),
        "--seed": (-1, HUGE),
        "--seeds": (0, HUGE),
        "--threads": (-1, HUGE),
        "--set": ("mf_std=nan", "mf_std=inf", "mf_std=1_0", "width=10000000", "mf_steps=99999999999", "rank=1e400"),
    },
    "sweep dynamics --backend numpy": {
        "--seeds": (0, -1, 100_000_000_000),
        "--steps": (0, HUGE),
        "--workers": (0, -1, HUGE),
        "--batch": (0, -1, HUGE),
        "--threads": (-1, HUGE),
        "--grid": ("mf_std=nan", "mf_std=1_0,2", "seed=99999999999999999999"),
    },
}


@pytest.mark.parametrize("command", NUMBERS)
def test_numbers_that_make_no_sense_are_refused_at_once(call: Call, holed: Path, command: str) -> None:
    for option, values in NUMBERS[command].items():
        for value in values:
            began = time.process_time()
            done = call(*command.split(), f"{option}={value}")
            assert is_one_error(done), (option, value, done.exit_code, done.stderr, done.exception)
            assert time.process_time() - began < 5
            assert len(done.stderr.splitlines()[0]) < 300
    assert not Path("runs").exists()


def test_many_cells_and_deep_layers_say_their_limit(call: Call, holed: Path) -> None:
    assert (
        "--seeds is at most 100,000, got 100000000000: each seed is a run"
        in call("sweep", "dynamics", "--seeds", 10**11).stderr
    )
    assert "at most 100,000 cells" in call("sweep", "dynamics", "--grid", "mf_std=1,2", "--seeds", 60_000).stderr
    assert "--depth is at most 1,000, got 100000: each layer" in call("complete", holed, "--depth", 100_000).stderr


def test_what_is_done_is_said_after_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tnrank.cli import _console

    assert 0.5 < _console._PATIENCE <= 1
    monkeypatch.setattr(_console, "_PATIENCE", 3600)
    with _console.progress_line("thinking"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(_console, "_PATIENCE", 0)
    with _console.progress_line("thinking"):
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer) and thread.interval == 0:
                thread.join()
    assert capsys.readouterr().err == "thinking ..\n"


@pytest.mark.parametrize("dtype", ["float16", ">f2", ">f4", "complex64", "longdouble"])
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_the_tolerance_is_that_of_the_dtype_in_the_file(call: Call, tmp_path: Path, dtype: str, suffix: str) -> None:
    x = low_rank_tensor((5, 6, 7), rank=2, seed=0).astype(dtype)
    (np.save if suffix == "npy" else np.savez)(tmp_path / f"x.{suffix}", x)
    for args in ((), ("--tree", "auto"), ("--tree", "linear"), ("--save", "s.safetensors", "--rtol", "0.01")):
        done = call("ranks", f"x.{suffix}", "--json", *args, "--overwrite")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["multilinear_rank"] == [2, 2, 2]


def test_half_precision_of_large_files(call: Call, tmp_path: Path) -> None:
    x = low_rank_tensor((30, 20, 20, 10), rank=3, seed=0).astype(np.float16)
    np.save(tmp_path / "x.npy", x)
    done = call("ranks", "x.npy", "--memory", "300 kB", "--json")
    assert "relative error of at most 0.0292969" in done.stderr  # 30 * 2^-10
    assert json.loads(done.stdout)["multilinear_rank"] == [3, 3, 3, 3]
    np.save(tmp_path / "long.npy", np.ones((1100, 20, 20), np.float16))
    for more in ((), ("--memory", "300 kB")):
        done = call("ranks", "long.npy", *more)
        assert is_one_error(done)
        assert "give --rtol" in done.stderr


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_of_saved_factorizations(call: Call, tmp_path: Path, dtype: str) -> None:
    pytest.importorskip("torch")
    dense = low_rank_tensor((5, 6, 7), rank=2, seed=0)
    for x in (
        tnrank.CPFactorization.random((5, 6, 7), 2, seed=0),
        tnrank.HierarchicalTucker.from_dense(dense, rtol=1e-9),
    ):
        # More columns than the tensor needs, as far as the rounding of the numbers tells.
        x.to(backend="torch", dtype=dtype).save(tmp_path / "x.safetensors")
        done = call("ranks", "x.safetensors", "--json")
        assert done.exit_code == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["dtype"], found["multilinear_rank"]) == (dtype, [2, 2, 2])


def test_pictures_are_measured_to_their_rounding(call: Call, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    smooth = np.outer(np.linspace(0.2, 1, 60), np.linspace(0.3, 1, 50))
    image.fromarray(np.round(smooth * 255).astype(np.uint8)).save(tmp_path / "smooth.png")
    image.fromarray(np.round(smooth * 65535).astype(np.uint16)).save(tmp_path / "deep.png")
    image.fromarray(np.eye(6) > 0).save(tmp_path / "black.png")
    for name, said in (("smooth.png", "in steps of 1/255"), ("deep.png", "in steps of 1/65535")):
        done = call("ranks", name, "--json")
        assert said in done.stderr
        assert json.loads(done.stdout)["matrix"]["rank"] == 1
        assert json.loads(call("ranks", name, "--json", "--rtol", "1e-12").stdout)["matrix"]["rank"] >= 40
    done = call("ranks", "black.png", "--json")
    assert (done.stderr, json.loads(done.stdout)["matrix"]["rank"]) == ("", 6)


@pytest.mark.filterwarnings("always")
def test_tables_in_other_styles(call: Call, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name;2019;2020\nx;1.000,5;2\ny;2.001;4\nz;1,5;3\n")
    style = ("--decimal", ",", "--thousands", ".", "--header", "--index-column")
    found = json.loads(call("ranks", "x.csv", "--json", *style).stdout)
    expected = np.linalg.norm([[1000.5, 2], [2001, 4], [1.5, 3]])
    assert found["shape"] == [3, 2]
    assert found["frobenius_norm"] == pytest.approx(expected, rel=1e-12)
    (tmp_path / "y.csv").write_text(",a,b\n0,1.5,2\n1,3,4\n")
    done = call("ranks", "y.csv", "--json")
    assert json.loads(done.stdout)["shape"] == [2, 2]
    assert "warning: y.csv: the first column has no name" in done.stderr
    assert "--no-index-column keeps it" in done.stderr
    (tmp_path / "z.csv").write_text("1|0\n")
    assert json.loads(call("ranks", "z.csv", "--json", "--delimiter", "|").stdout)["shape"] == [1, 2]
    (tmp_path / "w.csv").write_text("1,5;2\n")
    for args, said in (
        (("w.csv",), "give --decimal ','"),
        (("x.csv", "--decimal", ";"), "decimal is '.' or ','"),
        (("tensor.npy", "--decimal", ","), "tensor.npy is no .csv file"),
        (("x.csv", "--delimiter", "ab"), "delimiter is one character"),
    ):
        np.save(tmp_path / "tensor.npy", np.eye(2))
        done = call("ranks", *args)
        assert is_one_error(done)
        assert said in done.stderr


def test_completing_a_table_in_another_style(call: Call, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a;b;c\n" + "\n".join("1,5;;3,5" if k == 2 else f"{k},5;2,5;3,5" for k in range(8)))
    done = call(
        "complete", "x.csv", "--decimal", ",", "--backend", "numpy", "--steps", 5, "--hold-out", 0, "--out", "y.npy"
    )
    assert done.exit_code == 0, done.stderr
    found = np.load(tmp_path / "y.npy")
    np.testing.assert_array_equal(found[3], [3.5, 2.5, 3.5])
    assert found.shape == (8, 3)
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "config.json").read_text())["fields"]["csv"] == [["decimal", ","]]
