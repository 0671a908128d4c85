"""Matrix completion beside the nuclear norm, and commuting measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

import tnrank
from tnrank.experiments import Outcome, make_recipe, read_metrics, run
from tnrank.experiments.recipes import matrix_completion as recipe
from tnrank.experiments.recipes._commuting import Combined, Commuting, asymmetry, sensing_checks
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


def test_a_short_run_does_not_pass(short: Outcome) -> None:
    held = [check.holds for check in short.checks]
    # Symmetry does not depend on the steps.
    assert held[:7] == [False, False, False, False, False, True, False]


def test_a_seed_means_the_same_on_every_backend(short: Outcome, tmp_path: Path, backend_name: str) -> None:
    fewer = {**SMALL, "observed": (20,), "depths": (1, 2, 3), "scales": (1e-6, 1e-6, 1e-4)}
    made = make_recipe("matrix-completion", backend=backend_name, **fewer).limited(12)
    found = run(made, out=tmp_path, figure=False).outcome.summary
    for part in ("completion", "few_observations", "commuting"):
        models = {fit.get("model") for fit in found[part]}
        same = [fit for fit in short.summary[part] if fit.get("observed") in (None, 20) and fit.get("model") in models]
        expected = [fit["loss"] for fit in same if "loss" in fit]
        assert [fit["loss"] for fit in found[part] if "loss" in fit] == pytest.approx(expected, rel=1e-4)


def written(folder: Path, array: Any) -> str:
    np.save(folder / "own.npy", array)
    return str(folder / "own.npy")


def test_a_target_of_ones_own(tmp_path: Path) -> None:
    own = np.arange(40.0).reshape(5, 8) % 7
    fields = {**SMALL, "seeds": 2, "observed": (20, 30), "target": written(tmp_path, own)}
    made = make_recipe("matrix-completion", backend="numpy", **fields)
    outcome = run(made.limited(12), out=tmp_path, figure=False).outcome
    found = outcome.summary["completion"]
    assert {fit["seed"] for fit in found} == {0, 1}
    own /= np.sqrt(np.mean(own**2))
    for fit in found:
        if fit["model"] == "zero-fill":
            indices, _ = tnrank.data.observe(own, fit["observed"], seed=fit["seed"])
            own_filled = np.zeros_like(own)
            own_filled[tuple(indices.T)] = own[tuple(indices.T)]
            assert fit["error"] == pytest.approx(np.linalg.norm(own - own_filled) / np.linalg.norm(own))
    claims = [check.claim for check in outcome.checks]
    assert len(claims) == 7
    assert not any("recover the target" in claim for claim in claims)
    assert sum("nuclear norm" in claim for claim in claims) == 4
    # The starts have the scales asked for.
    problem = recipe._Problem(own, 30, seed=0)
    for depth in (1, 2, 3):
        x = next(made._trained("", problem, depth, 0.5)).starts
        assert x.shape == (5, 8)
        assert float(x.norm()) / np.sqrt(40) == pytest.approx(0.5, rel=0.5)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((5, 5, 5)), r"own.npy has shape \(5, 5, 5\): needed a tensor of order 2"),
        (np.array([[1.0, np.nan], [2.0, 3.0]]), r"own.npy has nan at index \(0, 1\)"),
        (np.ones((5, 5)), r"observed lies in 1 .. 25, the entries of .*own.npy, got 40: leave it out to observe"),
        (np.eye(50, 1) * np.ones((1, 50)), "entries of the target that seed 7 observes are 0"),
    ],
)
def test_wrong_targets(tmp_path: Path, array: Any, said: str) -> None:
    fields = {**SMALL, "seed": 7, "target": written(tmp_path, array)}
    with pytest.raises(ValueError, match=said):
        run(make_recipe("matrix-completion", backend="numpy", **fields), out=tmp_path)


def test_shares_of_a_target_of_ones_own_are_observed(tmp_path: Path) -> None:
    own = make_recipe("matrix-completion", target=written(tmp_path, np.ones((8, 4))))
    assert own._counts((8, 4)) == ([6, 8, 10, 12, 16, 24], 6)
    assert own._counts((1, 4)) == ([1, 2, 3], 1)
    assert make_recipe("matrix-completion")._counts((32, 32)) == ([192, 256, 320, 384, 512, 768], 192)
    with pytest.raises(ValueError, match=r"few lies in 1 \.\. 32"):
        make_recipe("matrix-completion", few=33, observed=(16,))._counts((8, 4))


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


Fit = dict[str, Any]


def fits(**changed: Fit) -> list[Fit]:
    """A run that holds, unless ``changed``: model -> entries of all its fits."""
    errors = {"least_nuclear_norm": (0.2, 0.0), "zero-fill": (0.9, 0.6), "depth_1": (0.9, 0.6), "depth_2": (0.2, 0.01)}
    errors["depth_3"] = (0.03, 0.01)
    common = {"seed": 0, "effective_rank": 2.0, "ratio": 1.0, "from_zeros": 0.0}
    return [
        {"model": model.replace("_", " "), "observed": count, "error": error, **common, **changed.get(model, {})}
        for model, own in errors.items()
        for count, error in zip((10, 14), own, strict=True)
    ]


def few(**changed: Fit) -> list[Fit]:
    """The same for few observations, ``changed`` from the smallest scale with one seed."""
    common = {"observed": 5, "effective_rank": 3.0, "ratio": 1.0}
    found: list[Fit] = [{"model": "least nuclear norm", "seed": seed, **common} for seed in (0, 1)]
    for model in ("depth_2", "depth_3"):
        for scale in (1e-2, 1e-4):
            for seed in (0, 1):
                made = {"model": model.replace("_", " "), "seed": seed, "scale": scale, "loss": 1e-6, **common}
                own = changed.get(model, {}) if scale == 1e-4 and seed == 1 else {}
                found.append({**made, "effective_rank": 2.5, "ratio": 1.1, **own})
    return found


def sensed(*distances: float, **changed: float) -> list[dict[str, Any]]:
    """The same for commuting measurements, one a scale."""
    one = {"excess": 1e-4, "asymmetry": 1e-7, **changed}
    return [{**one, "scale": 10.0**-k, "distance": distance} for k, distance in enumerate(distances)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (fits(), [True, True, True]),
        (fits(depth_1={"from_zeros": 0.02}), [False, True, True]),
        (fits(depth_2={"error": 0.06}), [True, False, True]),
        (fits(depth_3={"error": 0.06}), [True, False, False]),
        (fits(least_nuclear_norm={"error": 0.04}), [True, True, False]),
        (fits(least_nuclear_norm={"error": 0.06}, depth_3={"error": 0.04}), [True, False, False]),
    ],
)
def test_wrong_completions_do_not_pass(given: list[Fit], expected: list[bool]) -> None:
    assert [check.holds for check in recipe._completion_checks(given)] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (few(), [True, True]),
        (few(depth_2={"effective_rank": 3.1}), [False, True]),
        (few(depth_3={"ratio": 1.008}), [True, False]),
        (few(depth_3={"loss": 1e-2}), [True, False]),
    ],
)
def test_wrong_few_observations_do_not_pass(given: list[Fit], expected: list[bool]) -> None:
    assert [check.holds for check in recipe._few_checks(given)] == expected


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
def test_wrong_sensing_does_not_pass(given: list[dict[str, Any]], expected: list[bool]) -> None:
    eps = float(np.finfo(np.float32).eps)
    assert [check.holds for check in sensing_checks(given, eps)] == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seeds": 0}, "seeds is a whole number from 1 on, got 0"),
        ({"rank": 33}, "a rank from 1 to 32, got rank=33"),
        ({"observed": (100, 2000)}, r"observed lies in 1 .. 1024, the entries of the target, got 2000"),
        ({"few": 1025}, r"few lies in 1 .. 1024, .*, got 1025: leave it out to observe 192"),
        ({"few": 0}, "few is a whole number from 1 on, or none, got 0"),
        ({"observed": ()}, r"observed are whole numbers from 1 on, one or more, or none, got \(\)"),
        ({"depths": (1, 2, 3)}, r"scales has one number for each of depths=\(1, 2, 3\), got"),
        ({"depths": (2, 3), "scales": (1e-3, 1e-3)}, r"depths has 1, 2 and 3 in it, .* got \(2, 3\)"),
        ({"sensing_scales": "1e-2,-1"}, "sensing_scales is a positive number, got -1.0"),
        ({"sensing_rank": 9}, "sensing_rank is at most 8, measurements or sensing_size, got 9"),
    ],
)
def test_bad_fields(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_recipe("matrix-completion", **fields)
