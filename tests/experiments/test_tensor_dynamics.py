"""The tensor-dynamics recipe."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tnrank
from tnrank.experiments import make_recipe, read_metrics, run
from tnrank.experiments.recipes.tensor_dynamics import _Measured as Measured
from tnrank.training import CompletionResult
from tnrank.training._result import Trace

SMALL = {"dimension": 4, "target_rank": 2, "observed": 100, "stds": (1e-1, 5e-2)}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_recipe("tensor-dynamics", backend="numpy", losses="l2,l1,huber", **SMALL).limited(60)
    return run(recipe, out=tmp_path_factory.mktemp("runs")).folder


def test_a_short_run_does_not_pass(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert summary["verdict"] == "does not hold"
    assert {name for name in summary if "std" in name} == {
        f"{loss}, std {std}" for loss in ("l2", "l1", "huber") for std in ("0.1", "0.05")
    }


def test_metrics_agree_with_the_saved_factorizations(short: Path) -> None:
    x = tnrank.load(short / "huber-std0.05.safetensors")
    assert x.rank == 64
    rows = [r for r in read_metrics(short) if r["model"] == "huber-std0.05" and r["step"] == 60]
    norms = [np.prod([np.linalg.norm(f[:, r]) for f in x.factors]) for r in range(x.rank)]
    found = [r["value"] for r in rows if r["quantity"] == "component_norms"]
    np.testing.assert_allclose(found, np.sort(norms)[::-1][:10], rtol=1e-5)
    generator = np.random.default_rng(2)
    target = np.einsum("ar,br,cr,dr->abcd", *(generator.standard_normal((4, 2)) for _ in range(4)))
    target /= np.linalg.norm(target)
    (error,) = [r["value"] for r in rows if r["quantity"] == "error"]
    assert error == pytest.approx(np.linalg.norm(x.to_dense() - target), rel=1e-5)


def test_a_seed_means_the_same_on_every_backend(short: Path, tmp_path: Path, backend_name: str) -> None:
    fields = {**SMALL, "losses": ("huber",), "stds": (5e-2,)}
    rows = read_metrics(
        run(make_recipe("tensor-dynamics", backend=backend_name, **fields).limited(20), tmp_path, figure=False).folder
    )
    all_rows = [r for r in read_metrics(short) if (r["model"], r["quantity"]) == ("huber-std0.05", "loss")]
    first = next(r["value"] for r in rows if r["quantity"] == "loss" and r["step"] == 0)
    assert first == pytest.approx(next(r["value"] for r in all_rows if r["step"] == 0), rel=1e-5)


def measured(norms: list[list[float]], losses: list[float]) -> Measured:
    steps = np.arange(len(norms)) * 25
    history = {
        "component_norms": Trace(steps, np.asarray(norms)),
        "loss": Trace(steps, np.asarray(losses)),
        "error": Trace(steps, np.linspace(1.0, 0.0, len(norms))),
    }
    result = CompletionResult(None, history, "steps", int(steps[-1]), losses[-1], 0.0, "")
    return Measured("l2", 1e-2, result, share=0.1)


def test_what_is_measured_of_a_staircase() -> None:
    norms = [[0, 0, 0], [0.5, 0, 0], [0.9, 0.2, 0], [1.0, 0.4, 0.005]]
    m = measured(norms, [1.0, 0.5, 0.1, 0.2])
    assert m.onsets == [25, 50]
    assert m.settled == pytest.approx([0.9])
    assert m.risen == 2
    assert m.best_error == pytest.approx(1 / 3)


def test_components_that_grow_together_are_not_one_at_a_time(tmp_path: Path) -> None:
    """A large start passes as no staircase."""
    recipe = make_recipe("tensor-dynamics", backend="numpy", **{**SMALL, "stds": (0.5,)}).limited(300)
    checks = {check.claim: check.holds for check in run(recipe, out=tmp_path, figure=False).outcome.checks}
    (one_at_a_time,) = [holds for claim, holds in checks.items() if "one at a time" in claim]
    assert not one_at_a_time


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"losses": ("l2", "hubber")}, "each of losses is one of l2, l1, huber, got 'hubber'; did you mean 'huber'"),
        ({"losses": ()}, "losses are some of l2, l1, huber, one or more, each once"),
        ({"stds": (1e-2, -1.0)}, "each of stds is a positive number, got -1"),
        ({"stds": (1e-2, 1e-2)}, "each once"),
        ({"observed": 2402}, r"observed lies in 1 .. 2401, .*, got 2402: leave it out to have 800"),
        ({"dimension": 1}, "dimension is a whole number from 2"),
        ({"stop_loss": 0.0}, "stop_loss is a positive number"),
        ({"huber_beta": -1.0}, "huber_beta is a positive number"),
    ],
)
def test_fields_are_checked(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("tensor-dynamics", **fields)


@pytest.mark.slow
def test_the_quick_preset_shows_one_component_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("tensor-dynamics", backend="jax"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["l2, std 0.005"]["above_one_percent"] == 3
    assert summary["l2, std 0.005"]["relative_error_at_lowest_loss"] < 1e-3
