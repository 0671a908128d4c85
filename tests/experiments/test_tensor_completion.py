"""The tensor-completion recipe."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorly
from tensorly.decomposition import parafac

from tnrank.data import low_rank_tensor, observe
from tnrank.experiments import make_recipe, read_metrics, run
from tnrank.experiments._recipes._cp_rank import fewest_components
from tnrank.experiments._recipes._tensor_completion import _Settled
from tnrank.experiments._recipes._tensor_completion_runs import Continued, quartiles

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


def test_a_seed_means_the_same_on_every_backend(short: Path, tmp_path: Path, backend_name: str) -> None:
    recipe = make_recipe("tensor-completion", backend=backend_name, **SMALL).limited(30)
    found = {
        tuple(row[k] for k in ("count", "std", "seed")): float(row["error"])
        for row in table(run_folder(recipe, tmp_path))
    }
    expected = {
        tuple(row[k] for k in ("count", "std", "seed")): float(row["error"])
        for row in table(short)
        if row["order"] == "3"
    }
    assert found == pytest.approx(expected, rel=1e-3)


def run_folder(recipe: object, out: Path) -> Path:
    return run(recipe, out=out).folder  # type: ignore[arg-type]


def test_runs_stop_at_the_first_step_below_the_loss(tmp_path: Path) -> None:
    recipe = make_recipe("tensor-completion", backend="numpy", stop_loss=1e-5, steps=400, continued_steps=20, **SMALL)
    rows = table(run(recipe, out=tmp_path).folder)
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
    from tnrank.experiments._recipes import _tensor_completion

    recipe = make_recipe("tensor-completion", backend="numpy", **SMALL).limited(40)
    whole = run(recipe, out=tmp_path / "whole").folder
    asked = 0

    def interrupt(self: _Settled, step: int, loss: float) -> bool:
        nonlocal asked
        asked += step > 0
        if asked == 3:
            raise KeyboardInterrupt
        return False

    with monkeypatch.context() as patch:
        patch.setattr(_tensor_completion._Settled, "ends", interrupt)
        with pytest.raises(Interrupted) as caught:
            run(recipe, out=tmp_path / "part")
    assert caught.value.kept is not None
    resumed = run(recipe, resume=caught.value.kept).folder
    assert (resumed / "runs.csv").read_bytes() == (whole / "runs.csv").read_bytes()
    assert (resumed / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"orders": (2,)}, "orders are 3 or 4 or both"),
        ({"orders": ()}, "orders are 3 or 4 or both"),
        ({"seeds": 0}, "the field seeds is a whole number from 1 on, got 0"),
        ({"dimension": 1}, "the field dimension is a whole number from 2 on"),
        ({"stds": (0.0,)}, "stds are one or more positive numbers"),
        ({"counts": (0, 100)}, r"numbers of observed entries at order 3 lie in 1 .. 512"),
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
    assert summary["order_3"]["zero-filling"]["40"]["error"] == pytest.approx(list(quartiles(errors)))


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
    continued = Continued([0, 1, 2], np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0]]), np.array([[9.0, 7.0, 5.0]] * 2))
    np.testing.assert_array_equal(continued.at_lowest, [7.0, 5.0])
    assert np.isnan(quartiles([None])).all()


@pytest.mark.slow
def test_the_quick_preset_recovers_the_targets(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("tensor-completion", backend="jax"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    found = json.loads((done.folder / "summary.json").read_text())["order_3"]["std 0.001"]["300"]
    assert found["repetitions"] == 10
    assert found["error"][1] < 1e-5
    assert found["cp_rank"] == [1.0, 1.0, 1.0]
