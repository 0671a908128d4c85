"""Models of a framework in recipes: measured, interrupted and resumed like factorizations."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tnrank
from tnrank._backend import _LOADED
from tnrank.experiments import Fitting, Interrupted, Outcome, Recipe, read_metrics, run, sweep
from tnrank.experiments._recipe import _KNOWN
from tnrank.experiments.fields import Positive, Steps
from tnrank.runs import FittingJob, _fitting

pytest.importorskip("torch")


@dataclass(frozen=True, kw_only=True)
class Fits(Recipe):
    name: ClassVar[str] = "fits"

    backend: str = "own"
    steps: Steps = 120
    rate: Positive = 0.02
    checkpoint: float | None = 60.0

    def execute(self, journal: Any) -> Generator[Fitting, Any, Outcome]:
        trainer = tnrank.get_backend(self.backend).trainer("line", seed=self.seed, rate=self.rate)
        fitted = yield Fitting("line", trainer, self.steps, every=20, checkpoint=self.checkpoint)
        assert fitted.trainer is trainer
        return Outcome({"loss": fitted.history["loss"][-1], "weight": fitted.history["weight"][-1]})


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from tests.runs.own_backend import OwnBackend

    monkeypatch.setitem(_KNOWN, "fits", Fits)
    tnrank.register_backend(OwnBackend())
    yield
    _LOADED.pop("own", None)


def without_seconds(folder: Path) -> dict[str, Any]:
    return {k: v for k, v in json.loads((folder / "summary.json").read_text()).items() if k != "seconds"}


def test_a_recipe_trains_a_model_of_a_framework(tmp_path: Path) -> None:
    """The line through points without noise is found; metrics hold what the trainer measured."""
    done = run(Fits(), tmp_path)
    np.testing.assert_allclose(done.outcome.summary["weight"], [1.0, -2.0, 0.5], atol=5e-3)
    rows = read_metrics(done.folder)
    assert [r["step"] for r in rows if r["quantity"] == "loss"] == [0, 20, 40, 60, 80, 100, 120]
    first = [r["value"] for r in rows if r["quantity"] == "weight" and r["step"] == 0]
    assert first == [0.0, 0.0, 0.0]
    assert not (done.folder / "checkpoints").exists()


@pytest.mark.parametrize("at", [0, 45, 100])
def test_interrupted_it_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    monkeypatch.setattr(_fitting, "_LOOK_SECONDS", 0.0)
    whole = run(Fits(), tmp_path / "whole")
    from tests.runs.trainers.line import Line

    genuine = Line.advance

    def advance(self: Line, steps: int) -> None:
        for _ in range(steps):
            if self.done == at:
                raise KeyboardInterrupt
            genuine(self, 1)

    with monkeypatch.context() as patched:
        patched.setattr(Line, "advance", advance)
        with pytest.raises(Interrupted) as caught:
            run(Fits(), tmp_path / "stopped")
    assert caught.value.kept is not None
    begun: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(Line, "advance", lambda self, steps: (begun.append(self.done), genuine(self, steps))[1])
        done = run(Fits(), resume=caught.value.kept)
    assert begun[0] == at // 20 * 20
    assert (done.folder / "metrics.csv").read_bytes() == (whole.folder / "metrics.csv").read_bytes()
    assert without_seconds(done.folder) == without_seconds(whole.folder)


def test_sweeps_train_them_one_by_one(tmp_path: Path) -> None:
    done = sweep("fits", {"rate": [0.01, 0.02]}, seeds=2, out=tmp_path)
    assert not done.failed
    alone = run(Fits(seed=1), tmp_path)
    assert done.rows[3]["loss"] == alone.outcome.summary["loss"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = FittingJob.train_alone

    def train_alone(self: FittingJob, *args: Any) -> None:
        assert self.file is not None
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(b"nothing")
        genuine(self, *args)

    monkeypatch.setattr(FittingJob, "train_alone", train_alone)
    with pytest.raises(ValueError, match=r"line-1\.trainer is no checkpoint of a trainer"):
        run(Fits(), tmp_path)


def test_unknown_trainers_and_what_is_none() -> None:
    with pytest.raises(ValueError, match="the own backend has no trainer 'lines'; it has line"):
        tnrank.get_backend("own").trainer("lines")
    with pytest.raises(ValueError, match="the numpy backend has no trainer 'line'; it has none"):
        tnrank.get_backend("numpy").trainer("line")
    trainer = tnrank.get_backend("own").trainer("line", seed=0)
    with pytest.raises(ValueError, match="every of Fitting"):
        Fitting("line", trainer, 10, every=0)
