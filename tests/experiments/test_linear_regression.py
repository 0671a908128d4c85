"""Gradient descent on least squares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

import tnrank
from tnrank.experiments import Outcome, Training, make_recipe, run
from tnrank.experiments.recipes import linear_regression as report
from tnrank.runs import drive


@pytest.fixture(scope="module")
def arguments() -> dict[str, Any]:
    """What a run that holds gives to its outcome."""
    seen: dict[str, Any] = {}

    def keep(*given: Any) -> Outcome:
        seen.update(zip(("problem", "rate", "descents", "shares", "probes"), given, strict=True))
        return Outcome({})

    def train(asked: Training) -> Any:
        return tnrank.complete(asked.starts, asked.indices, asked.values, record=asked.record, **asked.options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "outcome", keep)
        recipe: Any = make_recipe("linear-regression", backend="numpy", steps=4_000)
        drive(recipe.execute(None), train)
    return seen


def test_the_quick_preset_holds(tmp_path: Path) -> None:
    done = run(make_recipe("linear-regression", backend="numpy"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    assert done.outcome.summary["from_zero"]["distance_to_least_l2"] < 1e-13
    assert done.outcome.summary["from_a_random_start"]["distance_to_least_l2"] > 1
    assert {"figure.png", "metrics.csv", "from_zero.safetensors"} <= {path.name for path in done.folder.iterdir()}


@pytest.mark.slow
def test_the_quick_preset_holds_on_jax(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("linear-regression"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]


def test_every_backend_follows_the_closed_form(tmp_path: Path, backend_name: str) -> None:
    recipe = make_recipe("linear-regression", backend=backend_name, measurements=5, dimension=9).limited(150)
    found = run(recipe, out=tmp_path, figure=False).outcome.summary
    assert found["from_zero"]["from_closed_form"] < 1e-14


def test_a_short_run_does_not_pass(tmp_path: Path) -> None:
    outcome = run(make_recipe("linear-regression", backend="numpy").limited(6), out=tmp_path, figure=False).outcome
    assert [check.holds for check in outcome.checks] == [False, False, True, True, False]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [True] * 5),
        ({"descents": lambda both: both[::-1]}, [False, False, False, False, True]),
        ({"rate": lambda rate: 2 * rate}, [True, True, False, False, True]),
        ({"rate": lambda rate: rate / 3}, [True, True, False, False, True]),
        ({"probes": lambda both: both[::-1]}, [True, True, True, True, False]),
    ],
)
def test_another_run_does_not_pass(changed: Any, expected: list[bool], arguments: dict[str, Any]) -> None:
    found = report.outcome(**{**arguments, **{k: change(arguments[k]) for k, change in changed.items()}})
    assert [check.holds for check in found.checks] == expected


def test_closed_forms_against_loops_and_lstsq() -> None:
    problem = make_recipe("linear-regression", measurements=6, dimension=11, seed=4).problem()  # type: ignore[attr-defined]
    A, y, w = problem.A, problem.y, problem.start
    path = [w]
    for _ in range(40):
        path.append(path[-1] - 0.2 * A.T @ (A @ path[-1] - y))
    np.testing.assert_allclose(problem.descent(w, 0.2, np.arange(41)), path, atol=1e-13)
    moved = w + np.linalg.lstsq(A, y - A @ w, rcond=None)[0]
    np.testing.assert_allclose(problem.projection(w), moved, atol=1e-12)
    np.testing.assert_allclose(problem.curvatures, np.linalg.eigvalsh(A @ A.T)[::-1], rtol=1e-12)


def test_bounds_of_gradient_flow_are_the_known_ones() -> None:
    gap = -minimize_scalar(lambda x: np.exp(-x) - 1 / (1 + x), bounds=(0.1, 10), method="bounded").fun
    ratio = -minimize_scalar(lambda x: -(1 - np.exp(-x)) * (1 + x) / x, bounds=(0.1, 10), method="bounded").fun
    assert (round(gap, 4), round(ratio, 4)) == (0.2036, 1.2984)
    assert report.path_bounds(1e-7) == pytest.approx((gap, ratio), rel=1e-6)


@given(st.floats(0.01, 0.95), st.floats(1e-3, 1), st.integers(1, 500))
@settings(max_examples=100)
def test_no_direction_exceeds_the_bounds(step: float, share: float, count: int) -> None:
    u = step * share
    descent, ridge = 1 - (1 - u) ** count, count * u / (1 + count * u)
    gap, ratio = report.path_bounds(step)
    assert -1e-15 <= descent - ridge <= gap * (1 + 1e-6)
    assert 1 - 1e-12 <= descent / ridge <= ratio * (1 + 1e-6)


def test_a_rate_past_the_limit_raises_and_says_the_limit() -> None:
    recipe: Any = make_recipe("linear-regression", seed=2)
    limit = recipe.stability_limit
    assert limit == pytest.approx(2 / np.linalg.eigvalsh(recipe.problem().A @ recipe.problem().A.T)[-1], rel=1e-12)
    with pytest.raises(
        ValueError, match=f"learning_rate=0.9 is not between 0 and the stability limit .* = {limit:.6g} "
    ):
        make_recipe("linear-regression", seed=2, learning_rate=0.9)
    make_recipe("linear-regression", seed=2, learning_rate=0.999 * limit)


def test_the_limit_is_that_of_the_training_loss() -> None:
    recipe: Any = make_recipe("linear-regression", measurements=6, dimension=10)
    problem = recipe.problem()
    x = tnrank.MatrixFactorization([np.zeros((10, 1))])
    measured = tnrank.RankOneMeasurements([problem.A, np.ones((6, 1))])
    found = tnrank.training.stability_limit(x, measured, problem.y, tnrank.SquaredLoss("half_sum"))
    assert found == pytest.approx(recipe.stability_limit, rel=2e-3)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("measurements", 60, "got 60 measurements of 60 unknowns"),
        ("measurements", 0, "measurements is a whole number from 1 on, got 0"),
        ("noise", -1.0, "noise is a number from 0 on, got -1.0"),
        ("start", float("nan"), "start is a finite number, got nan"),
        ("probe_steps", 0, "probe_steps is a whole number from 1 on, got 0"),
        ("learning_rate", -0.1, "learning_rate=-0.1 is not between 0 and"),
    ],
)
def test_bad_fields(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_recipe("linear-regression", **{field: value})
