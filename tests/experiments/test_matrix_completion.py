"""Matrix completion beside the nuclear norm, and commuting measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

import tnrank
from tnrank.experiments import Outcome, make_recipe, read_metrics, run
from tnrank.experiments._recipes import _matrix_completion_report as report
from tnrank.experiments._recipes._commuting import Combined, Commuting, asymmetry
from tnrank.plots import matrix_completion
from tnrank.theory import minimum_nuclear_norm_sensing

SMALL = {
    "seeds": 1,
    "size": 8,
    "rank": 1,
    "observed": (20, 40),
    "few": 20,
    "few_scales_2": (1e-2,),
    "few_scales_3": (1e-2,),
    "sensing_size": 6,
    "sensing_rank": 2,
    "measurements": 4,
    "sensing_scales": (1e-2, 1e-3),
}


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("matrix-completion"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    # The solver's solution is the planted one, and another solution has rank 1: the norm is what decides.
    commuting = done.outcome.summary["commuting"]
    assert max(one["planted_distance"] for one in commuting) < 1e-7
    assert min(one["effective_rank"] for one in commuting) > 2
    rows = read_metrics(done.folder)
    assert {"depth_4_192_seed_0", "few_depth_3_scale_1e-05_seed_1", "sensing_scale_1e-08_seed_1"} <= {
        row["model"] for row in rows
    }


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    recipe = make_recipe("matrix-completion", backend="numpy", **SMALL).limited(12)
    return run(recipe, out=tmp_path_factory.mktemp("runs")).outcome


def losses(outcome: Outcome) -> list[float]:
    return [fit["loss"] for part in outcome.summary.values() for fit in part if "loss" in fit]


def test_a_short_run_does_not_pass(short: Outcome) -> None:
    held = [check.holds for check in short.checks]
    # Symmetry does not depend on the steps.
    assert held[:7] == [False, False, False, False, False, True, False]


def test_a_seed_means_the_same_on_every_backend(
    short: Outcome, tmp_path: Path, backend_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "matrix_completion", lambda *_: None)
    outcome = run(make_recipe("matrix-completion", backend=backend_name, **SMALL).limited(12), out=tmp_path).outcome
    assert losses(outcome) == pytest.approx(losses(short), rel=1e-4)


def test_planted_solutions_against_a_linear_program() -> None:
    for seed in range(4):
        problem = Commuting.planted(10, 6, 3, seed)
        A = problem.matrices
        for a in A:
            np.testing.assert_allclose(a @ A[0], A[0] @ a, atol=1e-12)
        program = linprog(np.ones(10), A_eq=problem.mixing, b_eq=problem.values)
        np.testing.assert_allclose(program.x, problem.diagonal, atol=1e-9)
        found = minimum_nuclear_norm_sensing(A, problem.values, psd=True)
        np.testing.assert_allclose(found.matrix, problem.solution, atol=1e-7)
        np.testing.assert_allclose(np.einsum("nab,ab->n", A, problem.solution), problem.values, atol=1e-12)
        # A solution of rank 1 has the same nuclear norm.
        v = problem.basis @ np.sqrt(problem.diagonal)
        np.testing.assert_allclose(np.einsum("nab,a,b->n", A, v, v), problem.values, atol=1e-12)
        assert v @ v == pytest.approx(found.objective, rel=1e-8)


def test_the_combined_loss_is_that_of_the_measurement_matrices() -> None:
    problem = Commuting.planted(5, 3, 2, seed=1)
    _, diagonal, loss = problem.observations()
    draw = np.random.default_rng(0)
    X = draw.standard_normal((5, 5))
    seen = np.einsum("ja,jb,ab->j", problem.basis.T, problem.basis.T, X)
    value, slope = loss.weighted(seen - diagonal, np.ones(5), np)
    errors = np.einsum("nab,ab->n", problem.matrices, X) - problem.values
    assert value == pytest.approx(errors @ errors / 2, rel=1e-12)
    np.testing.assert_allclose(slope, problem.mixing.T @ errors, atol=1e-12)
    both, slopes = loss.weighted(np.stack([seen - diagonal, 2 * seen]), np.ones(5), np, axes=(1,))
    assert both[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slopes[0], slope, atol=1e-14)
    assert loss == Combined(loss.rows)
    assert hash(loss) == hash(Combined(loss.rows))


def test_symmetric_training_is_descent_on_one_factor(backend_name: str) -> None:
    problem = Commuting.planted(7, 4, 2, seed=3)
    measured, values, loss = problem.observations()
    start = problem.start(0.1, seed=5)
    U, rate = np.asarray(start.layers[0]), 0.05
    for _ in range(300):
        errors = np.einsum("nab,ab->n", problem.matrices, U @ U.T) - problem.values
        U = U - rate * np.einsum("n,nab->ab", errors, problem.matrices) @ U
    found = tnrank.complete(
        start.to(backend_name, dtype="float64"),
        measured,
        values,
        loss=loss,
        optimizer=tnrank.GradientDescent(rate),
        steps=300,
    ).factorization
    np.testing.assert_allclose(np.asarray(found.to("numpy").layers[0]), U, atol=1e-13)
    assert asymmetry(found) < 1e-13
    assert asymmetry(tnrank.MatrixFactorization.random((4, 4), depth=2, seed=0)) > 0.1


def fits(**changed: Any) -> list[report.Fit]:
    """A run that holds, unless ``changed``: model -> fields of all its fits."""
    draw = np.random.default_rng(0)
    filled = draw.standard_normal((4, 4))
    errors = {report.NUCLEAR: (0.2, 0.0), report.ZERO: (0.9, 0.6), "depth 1": (0.9, 0.6), "depth 2": (0.2, 0.01)}
    errors["depth 3"] = (0.03, 0.01)
    found = []
    for model, own in errors.items():
        for count, error in zip((10, 14), own, strict=True):
            made = report.Fit(model, count, 0, error, 2.0, 5.0, filled)
            found.append(replace(made, **changed.get(model.replace(" ", "_"), {})))
    return found


def few(**changed: Any) -> list[report.Fit]:
    """The same for few observations."""
    found = [report.Fit(report.NUCLEAR, 5, seed, 0.5, 3.0, 5.0, None) for seed in (0, 1)]
    for model in ("depth 2", "depth 3"):
        for scale in (1e-2, 1e-4):
            for seed in (0, 1):
                made = report.Fit(model, 5, seed, 0.6, 2.5, 5.5, None, scale, 1e-6)
                smallest_of_one = scale == 1e-4 and seed == 1
                found.append(replace(made, **(changed.get(model.replace(" ", "_"), {}) if smallest_of_one else {})))
    return found


def sensed(*distances: float, **changed: Any) -> list[report.Sensed]:
    """The same for commuting measurements, one a scale."""
    one = report.Sensed(0.0, 0, 0.0, 1e-4, 3.0, 1e-7, 0.0, 1e-9, 100, "steps")
    return [replace(one, scale=10.0**-k, distance=d, **changed) for k, d in enumerate(distances)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (fits(), [True, True, True]),
        (fits(depth_1={"matrix": np.zeros((4, 4))}), [False, True, True]),
        (fits(depth_2={"error": 0.06}), [True, False, True]),
        (fits(depth_3={"error": 0.06}), [True, False, False]),
        (fits(least_nuclear_norm={"error": 0.04}), [True, True, False]),
        (fits(least_nuclear_norm={"error": 0.06}, depth_3={"error": 0.04}), [True, False, False]),
    ],
)
def test_wrong_completions_do_not_pass(given: list[report.Fit], expected: list[bool]) -> None:
    assert [check.holds for check in report._completion_checks(given)] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (few(), [True, True]),
        (few(depth_2={"effective_rank": 3.1}), [False, True]),
        (few(depth_3={"nuclear_norm": 5.04}), [True, False]),
        (few(depth_3={"loss": 1e-2}), [True, False]),
    ],
)
def test_wrong_few_observations_do_not_pass(given: list[report.Fit], expected: list[bool]) -> None:
    assert [check.holds for check in report._few_checks(given)] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (sensed(1e-1, 1e-2, 5e-4), [True, True, True]),
        (sensed(1e-1, 1e-2, 5e-3), [True, False, True]),
        (sensed(1e-3, 2e-3, 5e-4), [True, True, False]),
        (sensed(5e-4), [True, True, False]),
        (sensed(1e-1, 5e-4, excess=2e-3), [True, False, True]),
        (sensed(1e-1, 5e-4, asymmetry=1e-3), [False, True, True]),
    ],
)
def test_wrong_sensing_does_not_pass(given: list[report.Sensed], expected: list[bool]) -> None:
    eps = float(np.finfo(np.float32).eps)
    assert [check.holds for check in report._sensing_checks(given, eps)] == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seeds": 0}, "seeds is how many targets, from 1 on, got 0"),
        ({"rank": 33}, "a rank from 1 to 32, got rank=33"),
        ({"observed": (100, 2000)}, r"observed and few lie in 1 .. 1024, got 2000"),
        ({"few": 0}, r"observed and few lie in 1 .. 1024, got 0"),
        ({"observed": ()}, "observed is empty"),
        ({"depths": (1, 2, 3)}, r"got depths=\(1, 2, 3\), scales="),
        ({"depths": (2, 3), "scales": (1e-3, 1e-3)}, r"depths has 1, 2 and 3 in it, .* got \(2, 3\)"),
        ({"sensing_scales": "1e-2,-1"}, r"sensing_scales are positive numbers, got \(0.01, -1.0\)"),
        ({"sensing_rank": 9}, "got sensing_rank=9 with 8 measurements of a matrix of size 16"),
    ],
)
def test_bad_fields(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_recipe("matrix-completion", **fields)


def test_a_figure_needs_curves() -> None:
    with pytest.raises(ValueError, match="got no curves"):
        matrix_completion([], [])
