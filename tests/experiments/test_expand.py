"""Layers expanded into three, and the compact ones that they collapse to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import expand

torch = pytest.importorskip("torch")
trainer = pytest.importorskip("tnrank_torch.trainers.expanded_cnn")
SMALL = {"limit": 60, "channels": "2,3", "hidden": 4, "expansion": 2, "seeds": 2, "epochs": 2, "batch": 30}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("expand", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert [len(summary[kind]["test_accuracy"]) for kind in ("compact", "expanded")] == [2, 2]
    assert summary["expanded"]["parameters"][0] > summary["compact"]["parameters"][0]
    gains = np.subtract(summary["expanded"]["test_accuracy"], summary["compact"]["test_accuracy"])
    np.testing.assert_allclose(summary["gain"], gains)
    assert (short / "figure.png").stat().st_size > 5_000


@pytest.mark.parametrize("make", [trainer.convolution, trainer.linear])
def test_collapsed_layers_compute_the_same(make) -> None:
    """The weight itself is the response to unit inputs, which no formula of ours enters."""
    torch.manual_seed(0)
    layer = make(3, 5, 4).double()
    x = torch.randn(7, 3, 6, 6, dtype=torch.float64) if make is trainer.convolution else torch.randn(7, 3).double()
    one = trainer.collapsed(layer)
    assert (one(x) - layer(x)).abs().max() < 1e-13
    assert repr(one) == repr(make(3, 5, 0))


def test_claims_can_fail() -> None:
    recipe = make_recipe("expand", **SMALL)
    compact = {"kind": "compact", "parameters": [10.0], "collapsed_parameters": [10.0], "collapse_error": [0.0]}
    good = {**compact, "kind": "expanded", "parameters": [99.0], "collapse_error": [1e-15]}
    bad = {**good, "collapsed_parameters": [11.0], "collapse_error": [1e-6]}
    assert all(check.holds for check in expand._claims(recipe, [compact, good]))
    assert not any(check.holds for check in expand._claims(recipe, [compact, bad]))


@pytest.mark.slow
def test_quick_preset_holds(tmp_path: Path) -> None:
    assert run(make_recipe("expand"), out=tmp_path).outcome.holds
