"""Recipes that were interrupted go on where they were."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.experiments import Interrupted, Journal, Training, make_recipe, read_metrics, run
from tnrank.experiments.recipes.dynamics import Dynamics

STEPS = 300


def recipe(**overrides: Any) -> Any:
    return make_recipe("dynamics", backend="numpy", **{"htf_width": 8, **overrides}).limited(STEPS)


def weights(folder: Path) -> list[np.ndarray]:
    files = sorted(folder.glob("*.safetensors"))
    return [a for path in files for a in tnrank.load(path).arrays.values()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(recipe(), out=tmp_path_factory.mktemp("whole"), figure=False).folder


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that Ctrl-C ended while its second model was trained."""
    genuine = Journal.train

    def train(self: Journal, training: Training) -> Any:
        def callback(step: int, loss: float) -> bool | None:
            if training.names == "cp" and step >= 50:
                raise KeyboardInterrupt
            return None

        return genuine(self, replace(training, callback=callback))

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "train", train)
        with pytest.raises(Interrupted, match=r"to go on: tnrank reproduce dynamics --resume .*\.partial") as caught:
            run(recipe(), out=tmp_path / "runs", figure=False)
    assert caught.value.kept is not None
    assert not (caught.value.kept / "htf.safetensors").exists()
    return caught.value.kept


def test_a_resumed_recipe_is_an_uninterrupted_one(stopped: Path, whole: Path) -> None:
    done = run(recipe(), resume=stopped, figure=False)
    assert done.folder == stopped.parent / stopped.name[1:].removesuffix(".partial")
    assert not stopped.exists()
    assert [p.name for p in stopped.parent.iterdir()] == [done.folder.name]
    assert sorted(p.name for p in done.folder.iterdir()) == sorted(p.name for p in whole.iterdir())
    assert (done.folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    for got, wanted in zip(weights(done.folder), weights(whole), strict=True):
        np.testing.assert_array_equal(got, wanted)
    summaries = [json.loads((f / "summary.json").read_text()) for f in (done.folder, whole)]
    assert summaries[0]["status"] == "complete"
    for key in summaries[1].keys() - {"seconds"}:
        found = [json.loads(json.dumps(s[key]), parse_float=float) for s in summaries]
        assert _timeless(found[0]) == _timeless(found[1])


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if "seconds" not in k}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def test_finished_models_are_not_trained_again(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tnrank.training._run import Run

    chunks: list[int] = []
    genuine = Run._chunk

    def chunk(self: Any, state: Any, marks: list[int]) -> Any:
        chunks.append(len(self.given[0].arrays) * 1000 + state["count"])
        return genuine(self, state, marks)

    monkeypatch.setattr(Run, "_chunk", chunk)
    run(recipe(), resume=stopped, figure=False)
    started = sorted({k // 1000: k % 1000 for k in reversed(chunks)}.items())
    # Both mf and cp have three arrays: what is trained with three goes on past 50 steps, so it is cp alone.
    assert [arrays for arrays, _ in started] == [3, 7]
    assert started[0][1] >= 50
    assert started[1][1] == 0


def test_a_killed_run_goes_on(tmp_path: Path, whole: Path) -> None:
    """No checkpoint was due yet: it begins anew in its folder, and ends like any other."""
    partial = tmp_path / ".dynamics-quick-numpy-x.partial"
    partial.mkdir()
    (partial / "config.json").write_bytes((whole / "config.json").read_bytes())
    (partial / "metrics.csv").write_text("model,step,quantity,node,index,value\nmf,0,loss,,0,torn")
    done = run(recipe(), resume=tmp_path / "dynamics-quick-numpy-x", figure=False)
    assert (done.folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_what_cannot_be_resumed(stopped: Path, whole: Path, tmp_path: Path) -> None:
    before = (stopped / "metrics.csv").read_bytes()
    with pytest.raises(ValueError, match=r"has other settings: its seed is 1, here 2"):
        run(recipe(seed=2), resume=stopped)
    with pytest.raises(ValueError, match="its mf_std is"):
        run(recipe(mf_std=0.5), resume=stopped)
    with pytest.raises(ValueError, match="is of the recipe 'dynamics', not 'depth-efficiency'"):
        run(make_recipe("depth-efficiency", backend="numpy"), resume=stopped)
    with pytest.raises(ValueError, match="is complete, there is nothing to resume"):
        run(recipe(), resume=whole)
    with pytest.raises(FileNotFoundError, match="no run folder"):
        run(recipe(), resume=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        run(recipe(), resume=tmp_path / "empty")
    assert (stopped / "metrics.csv").read_bytes() == before
    assert len(read_metrics(stopped)) > 10


def test_a_second_interruption_keeps_the_folder(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(self: Any, journal: Journal) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Dynamics, "execute", execute)
        with pytest.raises(Interrupted):
            run(recipe(), resume=stopped, figure=False)
    assert list((stopped / "checkpoints").glob("mf-1/*.json"))
    assert run(recipe(), resume=stopped, figure=False).folder.is_dir()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_the_command(tmp_path: Path, whole: Path) -> None:
    pytest.importorskip("typer")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "COLUMNS": "120"}
    command = [sys.executable, "-m", "tnrank.cli", "reproduce", "dynamics"]
    first = [*command, "--backend", "numpy", "--steps", "2000", "--dtype", "float64"]
    first += ["--set", "mf_std=2e-3", "--set", "htf_width=8"]
    process = subprocess.Popen(
        [*first, "--out", str(tmp_path)], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        metrics = list(tmp_path.glob(".*.partial/metrics.csv"))
        if metrics and metrics[0].stat().st_size > 2000:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    (partial,) = tmp_path.iterdir()
    assert json.loads((partial / "summary.json").read_text())["status"] == "interrupted"
    assert f"tnrank reproduce dynamics --resume {partial}" in " ".join(said.split())
    assert list((partial / "checkpoints" / "mf-1").glob("*.json"))
    again = [*command, "--resume", str(partial)]

    def call(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*again, *more], env=environment, capture_output=True, text=True, check=False)

    refused = call("--set", "mf_std=3e-3")
    assert refused.returncode == 1
    assert "its mf_std is 0.002, here 0.003" in " ".join(refused.stderr.split())
    done = call()
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert not folder.name.startswith(".")
    assert json.loads((folder / "summary.json").read_text())["status"] == "complete"
    assert json.loads((folder / "config.json").read_text())["fields"]["mf_std"] == 2e-3
    assert tnrank.load(folder / "mf.safetensors").dtype == "float64"
    # In a process of its own as well, so that both have as many threads.
    subprocess.run([*first, "--out", str(tmp_path / "straight")], env=environment, capture_output=True, check=True)
    (straight,) = (tmp_path / "straight").iterdir()
    for got, wanted in zip(weights(folder), weights(straight), strict=True):
        np.testing.assert_array_equal(got, wanted)
