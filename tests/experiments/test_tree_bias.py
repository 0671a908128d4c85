"""Tree bias: the quick preset's verdict, and that every claim can fail."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.experiments import Outcome, make_recipe, read_metrics, run
from tnrank.experiments.recipes._tree_bias_runs import PAIRS, Comparison, effective_ranks, in_order
from tnrank.experiments.recipes.tree_bias import TreeBias
from tnrank.factorizations import HierarchicalFactorization

SMALL = {"htf_size": 3, "htf_rank": 2, "htf_width": 4, "size": 3, "rank": 2, "width": 4}


def failing(found: Outcome) -> list[str]:
    return [check.claim for check in found.checks if not check.holds]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    recipe = make_recipe("tree-bias", backend="numpy").limited(1)
    return run(recipe, out=tmp_path_factory.mktemp("runs")).outcome


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    done = run(make_recipe("tree-bias"), out=tmp_path)
    assert failing(done.outcome) == []
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["verdict"] == "holds"
    large = summary["htf"]["large_singular_values"]
    assert large["{0,1}"] <= 5 < 20 <= large["{0,2}"]
    assert len(summary["comparison"]) == 18
    x = tnrank.load(done.folder / "htf.safetensors").to("numpy")
    values = np.linalg.svd(np.asarray(x.to_dense()).reshape(64, 64), compute_uv=False)
    rows = [r for r in read_metrics(done.folder) if r["quantity"] == "singular_values" and r["node"] == "{0,1}"]
    last = max(r["step"] for r in rows)
    np.testing.assert_allclose([r["value"] for r in rows if r["step"] == last], values[:30], rtol=1e-4, atol=1e-3)


def test_without_training_no_claim_holds(untrained: Outcome) -> None:
    assert len(failing(untrained)) == len(untrained.checks) == 5


def short(out: Path, backend: str, observations: str) -> dict[str, Any]:
    options = {**SMALL, "observations": observations, "dtype": "float64", "htf_every": 5}
    recipe = make_recipe("tree-bias", backend=backend, **options).limited(5)
    return dict(run(recipe, out=out, figure=False).outcome.summary)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("reference")
    return {name: short(out / name, "numpy", name) for name in ("entries", "rank-one")}


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
@pytest.mark.parametrize("observations", ["entries", "rank-one"])
def test_every_backend_runs_the_same(
    tmp_path: Path, backend: str, observations: str, reference: dict[str, dict[str, Any]]
) -> None:
    pytest.importorskip(backend)
    found, wanted = short(tmp_path, backend, observations), reference[observations]
    assert found["htf"]["loss"] == pytest.approx(wanted["htf"]["loss"], rel=1e-9)
    errors = [[one["relative_error"] for one in summary["comparison"]] for summary in (found, wanted)]
    assert len(errors[0]) == 18
    assert errors[0] == pytest.approx(errors[1], rel=1e-9)


@pytest.mark.parametrize("pair", PAIRS)
def test_targets_have_low_rank_on_their_tree_alone(pair: tuple[int, int]) -> None:
    target = TreeBias().target(3, pair)
    assert np.mean(target**2) == pytest.approx(1)
    for other in PAIRS:
        rows = np.transpose(target, in_order(other)).reshape(36, 36)
        assert np.linalg.matrix_rank(rows, rtol=1e-9) == (3 if other == pair else 9)
    for mode in range(4):
        assert np.linalg.matrix_rank(np.moveaxis(target, mode, 0).reshape(6, -1), rtol=1e-9) == 3


def test_a_turned_target_is_on_the_tree_of_the_model() -> None:
    """Exchanging modes is what makes one tree stand for all of its kind."""
    for pair in PAIRS:
        a, b = (mode for mode in range(4) if mode not in pair)
        tree = tnrank.DimensionTree((pair, (a, b)))
        x = HierarchicalFactorization.random((2, 3, 4, 5), tree=tree, width=2, seed=1)
        order = in_order(pair)
        plain = tnrank.DimensionTree(((0, 1), (2, 3)))
        shape = tuple(x.shape[mode] for mode in order)
        turned = HierarchicalFactorization.random(shape, tree=plain, width=2, seed=1)
        at = {order.index(node.modes[0]): node for node in x.tree.leaves}
        leaves = {leaf: x.matrices[at[leaf.modes[0]]] for leaf in plain.leaves}
        pairs = {tuple(sorted(order.index(m) for m in node.modes)): x.matrices[node] for node in tree.interior}
        y = HierarchicalFactorization(plain, {**leaves, **{plain.node(k): v for k, v in pairs.items()}})
        assert y.shape == turned.shape
        np.testing.assert_allclose(y.to_dense(), np.transpose(x.to_dense(), order), rtol=1e-12)


def test_measurements_are_those_of_outer_products() -> None:
    recipe = TreeBias(observations="rank-one", size=3, observed_share=1.0)
    target = recipe.target(0, (0, 2))
    measured, values = recipe.observed(target, 7)
    assert (measured.shape, len(measured)) == ((3, 3, 3, 3), 81)
    outer = np.ones(())
    for v in measured.vectors:
        outer = np.multiply.outer(outer, v[5])
    assert values[5] == pytest.approx(np.sum(outer * target))
    # In the mean, the squared norm of an outer product is then 1.
    assert np.mean(np.concatenate(measured.vectors) ** 2) == pytest.approx(81 ** (-1 / 4), rel=0.15)


def test_effective_ranks_are_by_definition() -> None:
    tensor = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    s = np.linalg.svd(tensor.transpose(0, 2, 1, 3).reshape(8, 15), compute_uv=False)
    p = s / s.sum()
    assert effective_ranks(tensor)[0, 2] == pytest.approx(np.exp(-(p * np.log(p)).sum()))


def runs(own: float, right: float, wrong: float, foreign: float) -> list[dict[str, Any]]:
    """Models with given effective ranks on their own tree and errors."""
    found: list[dict[str, Any]] = []
    for of, on in [*product(PAIRS, PAIRS)] * 2:
        ranks = {
            pair: {"model": own if pair == on else foreign, "target": 3.0 if pair == of else 8.0} for pair in PAIRS
        }
        error = right if of == on else wrong
        found.append({"relative_error": error, "effective_ranks": ranks, "effective_rank_at_the_start": 10.0})
    return found


def test_every_claim_about_trees_can_fail() -> None:

    def held(**changes: float) -> list[bool]:
        return [check.holds for check in Comparison(runs(**{**good, **changes})).checks()]

    good = {"own": 3.0, "right": 0.01, "wrong": 0.8, "foreign": 9.0}
    assert held() == [True, True, True, True]
    assert held(right=0.3) == [False, True, True, True]
    assert held(right=0.5) == [False, False, True, True]
    assert held(own=7.5) == [True, True, False, True]
    assert held(own=8.5) == [True, True, False, False]
    assert held(foreign=2.5) == [True, True, False, False]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("observations", "entry", "observations is one of entries, rank-one, got 'entry'; did you mean 'entries'"),
        ("observed_share", 0.0, "observed_share is a number above 0, at most 1, got 0.0"),
        ("observed_share", 1.5, "observed_share is a number above 0, at most 1, got 1.5"),
        ("seeds", 0, "seeds is a whole number from 1 on, got 0"),
        ("rank", 7, "rank lies in 1 .. size = 6, got 7"),
        ("htf_width", 0, "htf_width is a whole number from 1 on, got 0"),
    ],
)
def test_bad_fields(field: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_recipe("tree-bias", **{field: value})


def test_the_figure_has_the_errors_and_the_ranks_by_tree(untrained: Outcome) -> None:
    *_, errors, ranks = untrained.figure.axes
    assert len(untrained.figure.axes) == 6
    assert len(errors.texts) == 18
    assert [len(line.get_xdata()) for line in ranks.lines] == [2, 3, 6, 6, 12]


def test_presets_have_the_published_settings() -> None:
    paper = make_recipe("tree-bias", "paper")
    assert isinstance(paper, TreeBias)
    assert (paper.htf_size, paper.htf_rank, paper.htf_width, paper.htf_std) == (8, 5, 512, 1e-2)
    assert (paper.learning_rate, paper.stop_loss, paper.observed_share * 8**4) == (1e-2, 5e-5, 2048)
