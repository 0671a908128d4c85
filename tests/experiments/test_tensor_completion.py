"""The tensor-completion recipe."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorly
from tensorly.decomposition import parafac

from tnrank.data import low_rank_tensor, observe
from tnrank.experiments import make_recipe, read_metrics, run
from tnrank.experiments.recipes._tensor_completion_claims import claims, fewest_components, quartiles, rebound
from tnrank.experiments.recipes.tensor_completion import TensorCompletion, _Settled

SMALL = {"dimension": 4, "counts": (10, 40), "seeds": 2, "claim_count": 40, "stds": (1e-1, 1e-2)}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    both = {"orders": (3, 4), "order4_counts": (60,), "order4_seeds": 2}
    recipe = make_recipe("tensor-completion", backend="numpy", **both, **SMALL)
    return run(recipe.limited(30), out=tmp_path_factory.mktemp("runs")).folder


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_a_short_run_does_not_pass(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    assert summary["verdict"] == "does not hold"
    assert sum(check["holds"] for check in summary["checks"]) < len(summary["checks"]) / 2
    assert set(summary["order_3"]) == {"zero-filling", "std 0.1", "std 0.01"}


def test_every_run_is_in_the_table(short: Path) -> None:
    rows = table(short)
    assert len(rows) == 2 * 2 * 2 + 2 * 2
    assert {row["order"] for row in rows} == {"3", "4"}
    metrics = read_metrics(short)
    for row in rows:
        name = f"order{row['order']}-n{row['count']}-std{float(row['std']):g}-seed{row['seed']}"
        own = [r for r in metrics if r["model"] == name]
        (error,) = [r["value"] for r in own if r["quantity"] == "error" and r["step"] == int(row["lowest_step"])]
        assert error == pytest.approx(float(row["error"]), rel=1e-6)
        assert min(r["value"] for r in own if r["quantity"] == "loss") == pytest.approx(float(row["loss"]), rel=1e-6)


@pytest.mark.few_on_jax
def test_a_seed_means_the_same_on_every_backend(short: Path, tmp_path: Path, backend_name: str) -> None:
    recipe = make_recipe("tensor-completion", backend=backend_name, **{**SMALL, "stds": (1e-1,)}).limited(30)
    found, expected = (
        {
            (row["count"], row["seed"]): float(row["error"])
            for row in table(folder)
            if (row["order"], row["std"]) == ("3", "0.1")
        }
        for folder in (run(recipe, out=tmp_path, figure=False).folder, short)
    )
    assert len(found) == 4
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_runs_stop_at_the_first_step_below_the_loss(tmp_path: Path) -> None:
    recipe = make_recipe("tensor-completion", backend="numpy", stop_loss=1e-5, steps=400, continued_steps=20, **SMALL)
    rows = table(run(recipe, out=tmp_path, figure=False).folder)
    reached = [row for row in rows if row["reached"] == "True"]
    assert reached
    for row in reached:
        assert float(row["loss"]) < 1e-5
        assert row["steps"] == row["lowest_step"]
        assert int(row["steps"]) < 400
    metrics = read_metrics(next(tmp_path.iterdir()))
    # Earlier losses that were written are above it.
    name = "order3-n{count}-std{std}-seed{seed}".format(**reached[0])
    losses = [r["value"] for r in metrics if r["model"] == name and r["quantity"] == "loss"]
    assert sum(loss < 1e-5 for loss in losses) == 1


def test_interrupted_runs_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C leaves checkpoints, and the resumed recipe ends as if it had not been interrupted."""
    from tnrank.experiments import Interrupted

    recipe = make_recipe("tensor-completion", backend="numpy", **SMALL).limited(20)
    whole = run(recipe, out=tmp_path / "whole", figure=False).folder
    asked = 0

    def interrupt(self: _Settled, step: int, loss: float) -> bool:
        nonlocal asked
        asked += step > 0
        if asked == 3:
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patch:
        patch.setattr(_Settled, "ends", interrupt)
        with pytest.raises(Interrupted) as caught:
            run(recipe, out=tmp_path / "part", figure=False)
    assert caught.value.kept is not None
    resumed = run(recipe, resume=caught.value.kept, figure=False).folder
    assert (resumed / "runs.csv").read_bytes() == (whole / "runs.csv").read_bytes()
    assert (resumed / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"orders": (2,)}, "each of orders is one of 3, 4, got 2"),
        ({"orders": ()}, "orders are some of 3, 4, one or more"),
        ({"orders": (3, 3)}, "each once"),
        ({"seeds": 0}, "seeds is a whole number from 1 on, got 0"),
        ({"dimension": 1}, "dimension is a whole number from 2 on"),
        ({"stds": (0.0,)}, "stds is a positive number, got 0.0"),
        ({"patience": 0}, "patience is a whole number from 1 on"),
        ({"counts": (0, 100)}, "counts is a whole number from 1 on, got 0"),
        ({"counts": (513, 100)}, r"numbers of observed entries at order 3 lie in 1 .. 512"),
        ({"orders": (4,), "order4_counts": (4097,)}, r"at order 4 lie in 1 .. 4096"),
    ],
)
def test_fields_are_checked(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("tensor-completion", **fields)


def test_cp_rank_of_tensors_whose_rank_is_known() -> None:
    assert fewest_components(np.zeros((4, 4, 4))) == 0
    assert fewest_components(1e-4 * np.ones((4, 4, 4))) == 0
    for rank in (1, 2, 4):
        assert fewest_components(low_rank_tensor((8, 8, 8), rank, norm=1.0, seed=rank)) == rank
    # The rank of W is 3: in the limit two components fit it, so the tolerance decides.
    w = np.zeros((2, 2, 2))
    w[0, 0, 1] = w[0, 1, 0] = w[1, 0, 0] = 1.0
    assert fewest_components(w, tolerance=1e-2) == 2
    unit = np.zeros((3, 3, 3))
    unit[range(3), range(3), range(3)] = 1.0
    assert fewest_components(unit, tolerance=1e-10) == 3


def test_cp_rank_tolerates_a_mean_squared_error() -> None:
    """An independent implementation finds as few components, and fails with one less, at about the same error."""
    target = low_rank_tensor((6, 6, 6), 3, norm=1.0, seed=4)
    noisy = target + 1e-3 * np.random.default_rng(0).standard_normal(target.shape)
    assert fewest_components(noisy, tolerance=2e-6) == 3
    errors = {}
    for rank in (2, 3):
        fit = parafac(tensorly.tensor(noisy), rank, init="svd", n_iter_max=500, tol=1e-12)
        errors[rank] = float(((tensorly.cp_to_tensor(fit) - noisy) ** 2).mean())
    assert errors[3] < 2e-6 < errors[2]
    assert fewest_components(noisy, tolerance=1.01 * errors[2]) == 2


def test_the_baseline_has_the_unobserved_entries_as_its_error(short: Path) -> None:
    summary = json.loads((short / "summary.json").read_text())
    errors = []
    for seed in range(2):
        target = low_rank_tensor((4,) * 3, 1, norm=1.0, seed=seed)
        _, values = observe(target, 40, seed=seed)
        errors.append(np.sqrt(1 - float((values**2).sum())))
    assert summary["order_3"]["zero-filling"]["40"]["error"] == pytest.approx(np.quantile(errors, (0.25, 0.5, 0.75)))


def test_when_runs_that_train_together_may_end() -> None:
    settled = _Settled(2, stop_loss=1e-8, patience=10)
    for step, losses in ((0, (1.0, 1.0)), (5, (1e-9, 0.9)), (20, (1e-9, 0.9)), (25, (1e-9, 1e-3))):
        for run_, loss in enumerate(losses):
            settled.see("loss", step, loss, run_)
        # One is done; the other has not left the origin, and then has just fallen.
        assert not settled.ends(step, 0.0)
    settled.see("loss", 36, 2e-3, 1)
    assert settled.ends(36, 0.0)


def test_the_error_at_the_lowest_loss() -> None:
    losses, errors = np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0]]), np.array([[9.0, 7.0, 5.0]] * 2)
    assert rebound({"steps": [0, 1, 2], "loss": losses, "error": errors}) == (6.0, 5.0)


def test_quartiles_are_of_what_was_measured() -> None:
    found = [{"std": 1.0, "cp_rank": rank} for rank in (1, 2, None, 3)] + [{"std": 2.0, "cp_rank": 9}]
    assert quartiles(found, "cp_rank", std=1.0) == (1.5, 2.0, 2.5)
    assert np.isnan(quartiles(found, "cp_rank", std=3.0)).all()


def test_every_claim_can_fail() -> None:
    recipe = TensorCompletion(orders=(3, 4), counts=(300,), order4_counts=(1000,))
    errors, at = np.array([[1.0, 1e-6, 1e-2]] * 10), {"steps": [0, 1, 2]}
    continued = {**at, "loss": errors, "error": errors}

    def found(**changed: Any) -> list[dict[str, Any]]:
        common = {"cp_rank": 1, "reached": True}
        return [
            {"order": order, "count": count, "std": std, "seed": seed, "error": error, **common, **own}
            for order, count in ((3, 300), (4, 1000))
            for std, error in ((1e-3, 1e-6), (1e-2, 1e-4), ("zeros", 0.5))
            for own in ({"cp_rank": 9} if std == "zeros" else {},)
            for own in ({**own, **changed.get(f"order{order}", {})} if std == 1e-3 else own,)
            for seed in range(10)
        ]

    def held(found: list[dict[str, Any]], continued: Any = continued) -> list[bool]:
        return [check.holds for check in claims(recipe, found, continued)]

    assert held(found()) == [True] * 7
    assert held(found()[1:]) == [False, *[True] * 6]
    assert held(found(order3={"error": 2e-5})) == [False, *[True] * 6]
    assert held(found(order3={"error": 2e-4})) == [False, True, True, False, True, True, True]
    assert held(found(order3={"cp_rank": 2})) == [True, False, *[True] * 5]
    assert held(found(), None) == [True, True, False, *[True] * 4]
    assert held(found(), {**at, "loss": errors, "error": errors[:, [0, 1, 1]]}) == [True, True, False, *[True] * 4]
    assert held(found(order3={"error": 0.1, "cp_rank": 9})) == [False, False, True, False, False, True, True]
    assert held(found(order4={"error": 6e-5})) == [*[True] * 6, False]
    assert held(found(order4={"cp_rank": 10})) == [*[True] * 5, False, False]


@pytest.mark.slow
def test_the_quick_preset_recovers_the_targets(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("tensor-completion", backend="jax"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    found = json.loads((done.folder / "summary.json").read_text())["order_3"]["std 0.001"]["300"]
    assert found["repetitions"] == 10
    assert found["error"][1] < 1e-5
    assert found["cp_rank"] == [1.0, 1.0, 1.0]
