"""The rank of architectures: the models, the training, the claims."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank.circuits import grid_tensor
from tnrank.experiments import make_recipe, read_metrics, run
from tnrank.experiments.recipes._rank_of_architecture_models import (
    Problem,
    Trainer,
    architectures,
    effective_ranks,
    grid_features,
    record,
    small_weights,
)
from tnrank.experiments.recipes.rank_of_architecture import Findings, checks
from tnrank.linalg import matricize

NAMES = ("circuit", "relu-max", "relu-average", "mlp", "attention")
ORDER, SIZE = 4, 3
MODELS = {model.name: model for model in architectures(ORDER, SIZE, width=4, hidden=5)}
ALL = grid_features(ORDER, SIZE)


def drawn(name: str, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape) for shape in MODELS[name].shapes]


def tensor(name: str, weights: Any) -> np.ndarray:
    return np.asarray(MODELS[name].forward(weights, ALL)).reshape((SIZE,) * ORDER)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def test_there_are_five_of_the_names_that_the_report_uses() -> None:
    assert tuple(MODELS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_grid_tensors(name: str) -> None:
    weights = drawn(name)
    found = tensor(name, weights)
    again = grid_tensor(lambda x: MODELS[name].forward(weights, x), np.eye(SIZE), order=ORDER)
    assert again.shape == (SIZE,) * ORDER
    np.testing.assert_allclose(found, again, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_values_agree_on_all_backends(name: str, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    weights = tuple(backend.asarray(w) for w in drawn(name))
    forward = backend.jit(MODELS[name].forward)
    found = backend.to_numpy(forward(weights, backend.asarray(ALL[::5])))
    np.testing.assert_allclose(found, MODELS[name].forward(drawn(name), ALL[::5]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str) -> None:
    pytest.importorskip("torch")
    backend = tnrank.get_backend("torch")
    both = backend.value_and_grad(lambda given, x: backend.xp.sum(MODELS[name].forward(given, x) ** 2))
    _, slopes = both(tuple(backend.asarray(w) for w in drawn(name)), backend.asarray(ALL[::5]))
    direction = drawn(name, seed=1)
    slope = sum(float(np.vdot(backend.to_numpy(g), d)) for g, d in zip(slopes, direction, strict=True))

    def along(t: float) -> float:
        moved = [w + t * d for w, d in zip(drawn(name), direction, strict=True)]
        return float(np.sum(np.asarray(MODELS[name].forward(moved, ALL[::5])) ** 2))

    h = 1e-6
    assert slope == pytest.approx((along(h) - along(-h)) / (2 * h), rel=1e-5)


def test_the_perceptron_is_what_it_is_called() -> None:
    first, bias, second, bias2, last = drawn("mlp")
    index = (2, 0, 1, 1)
    x = sum(first[SIZE * n + d] for n, d in enumerate(index))
    expected = relu(relu(x + bias) @ second + bias2) @ last
    assert tensor("mlp", drawn("mlp"))[index] == pytest.approx(float(expected[0]), rel=1e-12)


def test_attention_is_what_it_is_called() -> None:
    embedding, query, key, value, out, up, bias, down, last = drawn("attention")
    index = (2, 0, 1, 1)
    x = np.stack([embedding[n, d] for n, d in enumerate(index)])
    heads = []
    for part in (slice(0, 2), slice(2, 4)):
        scores = (x @ query[:, part]) @ (x @ key[:, part]).T / np.sqrt(2)
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        heads.append(shares @ (x @ value[:, part]))
    x = x + np.concatenate(heads, axis=1) @ out
    x = x + relu(x @ up + bias) @ down
    expected = float((x.mean(axis=0) @ last)[0])
    assert tensor("attention", drawn("attention"))[index] == pytest.approx(expected, rel=1e-12)


def test_the_circuit_is_a_hierarchical_factorization() -> None:
    weights = drawn("circuit")
    x = MODELS["circuit"].circuit.to_factorization(weights)  # type: ignore[attr-defined]
    np.testing.assert_allclose(tensor("circuit", weights), x.to_dense(), rtol=1e-10)


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_average_pooling_has_rank_two_at_most_between_the_halves(seed: int) -> None:
    s = np.linalg.svd(matricize(tensor("relu-average", drawn("relu-average", seed)), (0, 1)), compute_uv=False)
    assert s[2] <= 1e-10 * s[0] + 1e-12


@pytest.mark.parametrize("name", ["mlp", "attention"])
def test_models_without_a_tree_know_no_order_of_locations(name: str) -> None:
    weights, order = drawn(name), [2, 0, 3, 1]
    moved = list(weights)
    by_location = weights[0].reshape(ORDER, SIZE, -1)[order]
    moved[0] = by_location.reshape(weights[0].shape)
    np.testing.assert_allclose(tensor(name, moved), tensor(name, weights).transpose(order), rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_small_weights(name: str) -> None:
    ordinary, small = small_weights(MODELS[name], seed=3, level=1e-4)
    assert np.sqrt(np.mean(tensor(name, small) ** 2)) == pytest.approx(1e-4, rel=1e-5)
    ratios = [b / a for a, b in zip(ordinary, small, strict=True) if a.any()]
    np.testing.assert_allclose(np.concatenate([r.ravel() for r in ratios]), ratios[0].flat[0], rtol=1e-12)


def test_targets_have_low_rank_on_one_tree_and_mirrored_ones_on_the_other() -> None:
    recipe: Any = make_recipe("rank-of-architecture", size=5)
    assert recipe.trees == (((0, 1), (2, 3)), ((0, 2), (1, 3)))
    plain, mirrored = recipe.problems(seed=2)
    assert np.mean(plain.target**2) == pytest.approx(1)
    assert len(plain.observed) == len(set(plain.observed)) == 312
    for a, b in ((plain, mirrored), (mirrored, plain)):
        for on, off in zip(*recipe.trees, strict=True):
            s, t = (np.linalg.svd(matricize(x.target, m), compute_uv=False) for x, m in ((a, on), (b, off)))
            np.testing.assert_allclose(s, t, atol=1e-10)
    s = np.linalg.svd(matricize(plain.target, (0, 1)), compute_uv=False)
    np.testing.assert_allclose(s[:3] / s[0], [1, 0.75, 0.5], rtol=1e-10)
    assert s[3] < 1e-10
    assert np.linalg.matrix_rank(matricize(plain.target, (0, 2))) == 9


@pytest.mark.parametrize("name", [pytest.param("jax", marks=pytest.mark.slow), "torch"])
def test_the_batch_trains_as_complete_trains_factorizations(name: str) -> None:
    backend = pytest.importorskip(name) and tnrank.get_backend(name)
    recipe: Any = make_recipe("rank-of-architecture", size=SIZE, rank=2)
    problems = [recipe.problems(seed)[0] for seed in (0, 1)]
    model: Any = MODELS["circuit"]
    starts = [drawn("circuit", seed) for seed in (5, 6)]
    optimizer = tnrank.GroupRMSProp(1e-2)
    trainer = Trainer(model, problems, starts, optimizer, backend, "float64")
    trainer.advance(30)
    for k, (problem, start) in enumerate(zip(problems, starts, strict=True)):
        result = tnrank.complete(
            model.circuit.to_factorization(start),
            np.stack(np.unravel_index(problem.observed, problem.target.shape), axis=1),
            problem.target.ravel()[problem.observed],
            optimizer=optimizer,
            steps=30,
        )
        np.testing.assert_allclose(trainer.tensors[k], result.factorization.to_dense(), rtol=1e-8, atol=1e-10)
        assert trainer.losses[k] == pytest.approx(result.loss, rel=1e-10)


def test_what_is_recorded() -> None:
    pytest.importorskip("torch")
    recipe: Any = make_recipe("rank-of-architecture", size=SIZE, rank=2)
    problems = [recipe.problems(0)[0]]
    model = MODELS["mlp"]
    trainer = Trainer(model, problems, [drawn("mlp")], tnrank.Adam(1e-3), tnrank.get_backend("torch"), "float64")
    found = list(record(trainer, [(0, 1)], steps=7, every=3))
    assert [step for step, *_ in found] == [0, 3, 6, 7]
    _, losses, errors, ranks = found[0]
    assert losses.shape == errors.shape == ranks[0, 1].shape == (1,)
    start, target = tensor("mlp", drawn("mlp")), problems[0].target
    s = np.linalg.svd(matricize(start, (0, 1)), compute_uv=False)
    p = s / s.sum()
    assert ranks[0, 1][0] == pytest.approx(np.exp(-np.sum(p * np.log(p + (p == 0)))), rel=1e-10)
    seen_mask = np.zeros(target.size, bool)
    seen_mask[problems[0].observed] = True
    rest = (start - target).ravel()[~seen_mask]
    expected = np.linalg.norm(rest) / np.linalg.norm(target.ravel()[~seen_mask])
    assert errors[0] == pytest.approx(expected, rel=1e-10)
    assert losses[0] == pytest.approx(np.mean((start - target).ravel()[seen_mask] ** 2), rel=1e-10)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    pytest.importorskip("torch")
    problem = Problem(np.full((SIZE,) * ORDER, 1e200), np.arange(9))
    trainer = Trainer(MODELS["mlp"], [problem], [drawn("mlp")], tnrank.Adam(), tnrank.get_backend("torch"), "float64")
    with pytest.raises(ValueError, match=r"mlp: the loss is not finite after step 0.*learning_rate"):
        list(record(trainer, [(0, 1)], 1, 1))


SEEDS, MARKS = 2, 3


def findings(**changes: Any) -> dict[str, Findings]:
    """Recorded numbers for which every claim holds, and changes: ``circuit_on=..`` and the like."""
    on = {"circuit": (7, 1.5, 3), "relu-max": (2, 2, 4), "relu-average": (1, 2, 2), "mlp": (9, 9, 9)}
    off = {"circuit": (20, 5, 7), "relu-max": (4, 4, 8), "relu-average": (2, 5, 5), "mlp": (9, 9, 9)}
    found = {}
    for name, model in MODELS.items():
        key = name.replace("-", "_")

        def spread(field: str, usual: Any, key: str = key) -> np.ndarray:
            return np.broadcast_to(np.asarray(changes.get(f"{key}_{field}", usual), float), (2 * SEEDS, MARKS))

        error = np.full((2 * SEEDS, MARKS), 1.0)
        if name == "circuit":
            error[:SEEDS] = 0.05
        ranks = {
            (0, 1): spread("on", on.get(name, (2, 4, 4))),
            (0, 2): spread("off", off.get(name, (2, 4, 4))),
        }
        errors = spread("error", error)
        moments = [
            (k, error[:, k] * 0 + 0.1, errors[:, k], {m: x[:, k] for m, x in ranks.items()}) for k in range(MARKS)
        ]
        found[name] = Findings(model, moments, ranks, (((0, 1),), ((0, 2),)))
    return found


def failing(found: dict[str, Findings]) -> list[int]:
    claims = checks(found, np.array([[3.0, 3.0], [7.0, 7.0]]))
    return [k for k, check in enumerate(claims) if not check.holds]


def one_bad_seed(usual: float, bad: float) -> np.ndarray:
    """``(runs, 1)``: the second seed is worse on both targets."""
    return np.array([[usual], [bad], [usual], [bad]])


def test_all_claims_hold_for_the_numbers_that_they_are_about() -> None:
    assert failing(findings()) == []


@pytest.mark.parametrize(
    ("changes", "claims"),
    [
        ({"circuit_on": (7, 3, 3)}, [0]),  # no rise
        ({"circuit_on": (2, 1.5, 3)}, [0]),  # starts low
        ({"circuit_on": (7, 1.5, 3.6)}, [1]),
        ({"circuit_error": one_bad_seed(0.05, 0.3) * [[1], [1], [20], [20]]}, [1]),
        ({"mlp_error": 0.1}, [2]),
        ({"circuit_error": 0.05}, [3]),
        ({"attention_error": [[1.0], [1.0], [1.0], [1.6]]}, [4]),
        ({"relu_max_on": one_bad_seed(1, 2) * (2, 2, 4)}, [5]),
        ({"relu_max_on": (4, 4, 8)}, [5]),
        ({"mlp_on": one_bad_seed(9, 8)}, [6]),
        ({"attention_off": (2, 5, 5)}, [6]),
        ({"relu_average_on": (1, 2, 2.1)}, [7]),
    ],
)
def test_each_claim_can_fail(changes: dict[str, Any], claims: list[int]) -> None:
    assert failing(findings(**changes)) == claims


def test_the_preference_forgets_the_target() -> None:
    # Ranks that follow the target exactly: 3 on and 6 off, then 6 on and 3 off.
    ranks = np.array([[3.0], [3.0], [6.0], [6.0]])
    found = findings(circuit_on=ranks, circuit_off=ranks[::-1])["circuit"]
    np.testing.assert_allclose(found.preference, 1, rtol=1e-12)
    found = findings(circuit_on=ranks, circuit_off=2 * ranks[::-1])["circuit"]
    np.testing.assert_allclose(found.preference, 2, rtol=1e-12)


def test_numpy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--backend jax or --backend torch"):
        run(make_recipe("rank-of-architecture", backend="numpy"), out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimizer", "adm", "optimizer is one of group-rmsprop, adam, got 'adm'; did you mean 'adam'"),
        ("order", 6, "power of two"),
        ("rank", 7, r"1 .. size = 6, got 7"),
        ("width", 5, "even"),
        ("seeds", 0, "from 1 on, got 0"),
        ("observed_share", 1.0, "between 0 and 1"),
        ("level", 0.0, "positive"),
    ],
)
def test_fields_out_of_range(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("rank-of-architecture", **{field: value})


@pytest.mark.parametrize("name", ["mlp", *(pytest.param(n, marks=pytest.mark.slow) for n in NAMES if n != "mlp")])
def test_training_is_the_same_on_jax_and_torch(name: str) -> None:
    problems = [make_recipe("rank-of-architecture", size=SIZE, rank=2).problems(seed)[1] for seed in (0, 1)]  # type: ignore[attr-defined]
    found = []
    for backend in ("jax", "torch"):
        pytest.importorskip(backend)
        starts = [drawn(name, seed) for seed in (5, 6)]
        backend_ = tnrank.get_backend(backend)
        trainer = Trainer(MODELS[name], problems, starts, tnrank.GroupRMSProp(1e-2), backend_, "float64")
        trainer.advance(10)
        found.append(trainer.tensors)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10, atol=1e-10)


def test_a_short_run_does_not_pass(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    recipe = make_recipe("rank-of-architecture", backend="torch", size=4, seeds=2, record_every=4).limited(8)
    done = run(recipe, out=tmp_path)
    folder = done.folder
    assert json.loads((folder / "summary.json").read_text())["verdict"] == "does not hold"
    rows = read_metrics(folder)
    assert {r["step"] for r in rows} == {0, 4, 8}
    assert {r["index"] for r in rows} == {0, 1}
    assert {r["quantity"] for r in rows} == {
        f"{what}, {side}" for what in ("loss", "unobserved error", "effective rank") for side in ("target", "mirrored")
    }
    assert {r["node"] for r in rows} == {"", "{0,1}", "{2,3}", "{0,2}", "{1,3}"}
    figure = done.outcome.figure
    assert [axes.get_title(loc="left") for axes in figure.axes[:5]] == [MODELS[name].title for name in NAMES]
    assert len(figure.axes) == 15
    means = [line for line in figure.axes[0].lines if line.get_label() == "on the tree"]
    start = [
        r["value"] for r in rows if (r["model"], r["step"], r["quantity"]) == ("circuit", 0, "effective rank, target")
    ]
    by_seed = np.asarray(start).reshape(4, 2)[:2].mean(axis=0)
    assert means[0].get_ydata()[0] == pytest.approx(np.exp(np.log(by_seed).mean()), rel=1e-6)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("jax")
    return run(make_recipe("rank-of-architecture"), out=tmp_path_factory.mktemp("runs")).folder


@pytest.mark.slow
def test_the_verdict_of_the_quick_preset_holds(quick: Path) -> None:
    summary = json.loads((quick / "summary.json").read_text())
    assert summary["verdict"] == "holds", [check for check in summary["checks"] if not check["holds"]]
    assert len(summary["checks"]) == 8
    # Training lowers the rank on the tree for the circuit alone, against its own random weights.
    for name in NAMES:
        random, end = (summary[name]["effective_ranks"][key] for key in ("random_weights", "end_target"))
        assert (np.mean(end["on"]) < random[0]) == (name == "circuit")


@pytest.mark.slow
def test_the_saved_circuit_has_the_recorded_ranks(quick: Path) -> None:
    x: Any = tnrank.load(quick / "circuit.safetensors").to("numpy", dtype="float64")
    summary = json.loads((quick / "summary.json").read_text())
    found = effective_ranks(x.to_dense()[None], (0, 1))
    assert found[0] == pytest.approx(summary["circuit"]["effective_ranks"]["end_target"]["on"][0], rel=1e-4)
    values = tnrank.hierarchical_singular_values(x)
    s = next(np.asarray(v) for node, v in values.items() if tuple(node.modes) == (0, 1))
    assert tnrank.ranks.effective_rank_of(s) == pytest.approx(found[0], rel=1e-3)
