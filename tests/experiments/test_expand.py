"""Networks trained expanded, and collapsed afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import expand

pytest.importorskip("torch")
SMALL = {"limit": 80, "test_limit": 50, "channels": "4,5", "rate": 2, "seeds": 2, "steps": 20, "batch": 40}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(make_recipe("expand", **SMALL), out=tmp_path_factory.mktemp("runs")).folder


def test_summary_and_figure(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    of = {model: [one for one in summary["runs"] if one["model"] == model] for model in ("compact", "expanded")}
    assert {one["collapsed"] for one in summary["runs"]} == {4 * 9 + 4 + 5 * 4 * 9 + 5 + 5 * 10 + 10}
    assert all(one["trained"] == one["collapsed"] and max(one["collapse_error"]) == 0 for one in of["compact"])
    assert all(0 < max(one["collapse_error"]) < 1e-12 for one in of["expanded"])
    last = [np.array([one["test_accuracy"][-1] for one in of[model]]) for model in ("expanded", "compact")]
    gain = last[0] - last[1]
    assert summary["gain"] == pytest.approx(gain.mean())
    assert summary["gain_error"] == pytest.approx(gain.std(ddof=1) / 2**0.5)
    assert (short / "figure.png").stat().st_size > 3_000


def test_every_claim_can_fail() -> None:
    def holds(error: float = 1e-14, collapsed: int = 50, dtype: str = "float64") -> list[bool]:
        recipe: Any = make_recipe("expand", dtype=dtype)
        found = [
            {"model": "compact", "collapse_error": np.zeros(3), "collapsed": 50},
            {"model": "expanded", "collapse_error": np.array([1e-15, error, 1e-15]), "collapsed": collapsed},
        ]
        return [bool(check.holds) for check in expand._claims(recipe, found)]

    assert holds() == [True, True]
    assert holds(error=2e-10) == [False, True]
    assert holds(error=2e-10, dtype="float32") == [True, True]
    assert holds(collapsed=51) == [True, False]


def test_single_precision_is_held_to_its_own_rounding(tmp_path: Path) -> None:
    recipe = make_recipe("expand", dtype="float32", **{**SMALL, "seeds": 1, "steps": 5})
    outcome = run(recipe, out=tmp_path, figure=False).outcome
    assert outcome.holds
    assert outcome.summary["gain_error"] == 0


@pytest.mark.slow
def test_the_quick_preset_holds_and_both_learn(tmp_path: Path) -> None:
    done = run(make_recipe("expand"), out=tmp_path, figure=False)
    assert done.outcome.holds
    found = json.loads((done.folder / "summary.json").read_text())["runs"]
    assert min(one["test_accuracy"][-1] for one in found) > 0.8
