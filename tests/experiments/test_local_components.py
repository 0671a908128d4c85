"""Local components near zero against the distance to low hierarchical rank, in training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank.experiments import make_recipe, read_metrics, run
from tnrank.experiments.recipes.local_components import Measured, outcome
from tnrank.theory import near_low_rank_bound

SMALL = {"dim": 4, "width": 6, "stds": "0.3,0.1", "record_every": 10}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_recipe("local-components", backend="numpy", seed=3, **SMALL).limited(40)
    return run(recipe, out=tmp_path_factory.mktemp("runs")).folder


def test_metrics_agree_with_the_saved_factorizations(short: Path) -> None:
    rows = [r for r in read_metrics(short) if r["quantity"] == "near_low_rank" and r["step"] == 40]
    for std in ("0.3", "0.1"):
        x = tnrank.load(short / f"std{std}-3.safetensors")
        found = {r["node"]: r["value"] for r in rows if r["model"] == f"std{std}-3"}
        for kept in (1, 2, 3, 4):
            assert found[f"{{theorem,{kept}}}"] == pytest.approx(float(near_low_rank_bound(x, kept).theorem), rel=1e-8)
        assert found["{norm,0}"] == pytest.approx(float(x.norm()), rel=1e-8)


def test_a_short_run_does_not_pass(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert summary["verdict"] == "does not hold"
    holds = [check["holds"] for check in summary["checks"]]
    # The bound holds whatever the weights are; the claims about the end do not.
    assert holds[:2] == [True, True]
    assert holds[3] is False


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_backends_agree(short: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    recipe = make_recipe("local-components", backend=backend, seed=3, **SMALL).limited(20)
    rows = read_metrics(run(recipe, out=tmp_path, figure=False).folder)
    wanted = {(r["model"], r["node"]): r["value"] for r in read_metrics(short) if is_start(r)}
    assert {(r["model"], r["node"]): r["value"] for r in rows if is_start(r)} == pytest.approx(wanted, rel=1e-6)


def is_start(row: dict) -> bool:
    return row["step"] == 0 and row["quantity"] == "near_low_rank"


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory):
    return run(make_recipe("local-components", backend="numpy"), out=tmp_path_factory.mktemp("runs"))


@pytest.mark.slow
def test_the_quick_preset_holds(quick) -> None:
    assert quick.outcome.holds, [check for check in quick.outcome.checks if not check.holds]
    summary = json.loads((quick.folder / "summary.json").read_text())
    end = summary["std0.025-0"]
    assert end["lower"]["2"] <= end["pruned"]["2"] <= end["bound"]["2"] <= end["theorem"]["2"] < 0.02


def measured(**changes) -> Measured:
    """A run in which all is as claimed, but for the changes."""
    x = tnrank.HierarchicalFactorization.random((3,) * 4, width=3, seed=0)
    result = tnrank.complete(
        x,
        [[0, 0, 0, 0]],
        [float(x.to_dense()[0, 0, 0, 0])],
        steps=0,
        record=[tnrank.training.recorders.Error(x.to_dense()), tnrank.training.recorders.ComponentNorms()],
    )
    sizes = {1: 0.5, 2: 0.001}
    made = {
        name: {k: np.array([scale * size]) for k, size in sizes.items()}
        for name, scale in (("theorem", 5.0), ("bound", 4.0), ("pruned", 2.0), ("lower", 1.0), ("truncated", 1.5))
    }
    own = {name: change for name, change in changes.items() if name not in made}
    made |= {name: change for name, change in changes.items() if name in made}
    return replace(Measured(0.1, 0, result, np.array([0]), np.array([0]), made, {1: 1, 2: 2}), **own)


def checks(*runs: Measured) -> list[bool]:
    return [bool(check.holds) for check in outcome(runs, 2).checks]


def test_every_check_can_fail() -> None:
    # The largest number kept, 2, is what most claims are about.
    far = measured(std=0.2, theorem={1: np.array([9.0]), 2: np.array([3.0])})
    assert checks(far, measured()) == [True] * 6
    wrong = {
        0: {"bound": {1: np.array([0.9]), 2: np.array([0.004])}},
        1: {"ranks": {1: 1, 2: 3}},
        3: {"pruned": {1: np.array([1.0]), 2: np.array([0.02])}, "bound": {1: np.array([2.0]), 2: np.array([0.03])}},
        4: {"lower": {1: np.array([0.05]), 2: np.array([0.001])}},
    }
    for place, changes in wrong.items():
        assert checks(far, measured(**changes))[place] is False
    assert checks(measured(std=0.2), measured()) == [True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stds": "0.1"}, "stds are positive numbers, two or more, falling, got"),
        ({"stds": "0.1,0.2"}, "falling, got"),
        ({"target_width": 5}, "target_width is below width and dim, got 5, 16 and 5"),
        ({"seeds": 0}, "seeds is a whole number from 1 on, got 0"),
        ({"observed": 1.5}, "observed is a number above 0, at most 1, got 1.5"),
    ],
)
def test_bad_fields(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("local-components", **fields)
