"""Gradient flow from small weights beside greedy low-rank learning."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tnrank import CPFactorization, HierarchicalFactorization, MatrixFactorization
from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes import _flow_paths as paths
from tnrank.experiments.recipes._greedy_steps import Greedy, Saddle, best_rank_one, directions
from tnrank.experiments.recipes.greedy_low_rank import Compared, Descent, _outcome
from tnrank.training import SquaredLoss

SMALL = {"matrix_size": 4, "tensor_size": 3, "cp_rank": 4, "htf_width": 4, "matrix_values": "2,1", "depths": "2"}
SCALES = {"scales": "0.3,0.1", "shallow_scales": "0.1,0.01", "htf_scales": "0.3,0.1"}


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path) -> None:
    done = run(make_recipe("greedy-low-rank"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    summary = json.loads((done.folder / "summary.json").read_text())
    for name in ("MF depth 2", "MF depth 3", "CP"):
        assert [saddle["ranks"][0] for saddle in summary[name]["greedy"]] == [0, 1, 2, 3]
    assert [saddle["ranks"] for saddle in summary["HTF"]["greedy"]] == [[0, 0, 0], [1, 1, 1], [2, 2, 1], [2, 2, 2]]
    for found in (summary[name] for name in ("MF depth 2", "MF depth 3", "CP", "HTF")):
        assert (np.diff(found["saddle_distances"]) < 0).all()
        assert (np.diff(found["path_distances"]) < 0).all()
        assert found["control"]["saddles"] > 5 * found["saddle_distances"][-1]


@pytest.mark.parametrize(
    "backend", ["numpy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("torch", "jax"))]
)
def test_a_short_run_does_not_pass(tmp_path, backend: str) -> None:
    pytest.importorskip(backend)
    recipe = make_recipe("greedy-low-rank", backend=backend, whole=True, most_saddles=2, points=16, **SMALL, **SCALES)
    done = run(recipe.limited(4), out=tmp_path)
    assert not done.outcome.holds
    assert {path.name for path in done.folder.iterdir()} >= {
        "mf-depth-2.safetensors",
        "cp.safetensors",
        "htf.safetensors",
        "figure.png",
    }


@pytest.mark.parametrize("other", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_backends_follow_the_same_flow(other: str) -> None:
    pytest.importorskip(other)
    x = CPFactorization.random((3, 3, 3), rank=3, std=0.4, balanced=True, seed=0)
    found = {}
    for backend in ("numpy", other):
        path = replace(problem((3, 3, 3)), backend=backend).at(x, np.linspace(0.0, 4.0, 9))
        assert not path.cut
        found[backend] = path
    np.testing.assert_allclose(found[other].points, found["numpy"].points, atol=1e-6)
    np.testing.assert_allclose(found[other].losses, found["numpy"].losses, rtol=1e-5)


def problem(shape: tuple[int, ...], steps: int = 10_000) -> paths.Observed:
    generator = np.random.default_rng(1)
    indices = np.argwhere(generator.random(shape) < 0.8)
    return paths.Observed(indices, generator.standard_normal(len(indices)), SquaredLoss(reduction="half_sum"), steps)


def test_gradient_of_the_end_tensor() -> None:
    found, point = problem((3, 4)), np.random.default_rng(2).standard_normal((3, 4))
    dense, seen = np.zeros((3, 4)), np.zeros((3, 4), bool)
    dense[tuple(found.indices.T)], seen[tuple(found.indices.T)] = found.values, True
    np.testing.assert_allclose(found.gradient(point), np.where(seen, point - dense, 0.0), atol=1e-14)


@pytest.mark.slow
def test_a_flow_is_recorded_where_it_moves() -> None:
    # s' = 2 s (1 - s) from 1e-12: nothing for a long time, then all at once.
    x = MatrixFactorization([np.full((1, 1), 1e-6)] * 2)
    one = paths.Observed(np.zeros((1, 2), int), np.ones(1), SquaredLoss(reduction="half_sum"), 10_000)
    path = one.flow(x, 2000.0)
    s = 1 / (1 + (1e12 - 1) * np.exp(-2 * path.times))
    np.testing.assert_allclose(path.points[:, 0], s, atol=1e-5)
    assert np.diff(path.points[:, 0]).max() <= 0.04
    assert paths.travelled(path.points)[-1] == pytest.approx(1.0, abs=1e-6)
    cut = replace(one, steps=3).flow(x, 2000.0)
    assert cut.cut


def test_a_dip_counts_if_the_gradient_rises_threefold_on_both_sides() -> None:
    def found(*slopes):
        losses = 1e3 - np.concatenate([[0.0], np.cumsum(np.square(slopes))])
        return paths.plateaus(paths.Path(np.arange(len(losses), dtype=float), losses, losses[:, None], None))

    assert found(10, 1, 4) == [1]
    assert found(10, 1, 3) == []
    assert found(3, 1, 10) == []
    assert found(10, 1, 2.9, 2, 10) == [1]
    assert found(5, 2) == []


def test_a_saddle_is_found_between_two_rises() -> None:
    t = np.linspace(0, 12, 400)
    first, second = (1 / (1 + np.exp(-4 * (t - centre))) for centre in (3, 9))
    points = np.stack([first, second], axis=1)
    loss = 0.5 * ((points - 1) ** 2).sum(axis=1)
    path = paths.Path(t, loss, points, None)
    (k,) = paths.plateaus(path)
    np.testing.assert_allclose(points[k], [1, 0], atol=1e-3)
    greedy = Greedy(tuple(Saddle("", 1.0, np.array(a), 0.0) for a in ([0.0, 0], [1.0, 0], [1.0, 1])), points)
    found = Descent(0.1, path, greedy, None)
    assert [which for which, _ in found.stops] == [1]
    assert found.visited < 1e-3
    assert found.apart == 0


def test_distances_of_polylines() -> None:
    generator = np.random.default_rng(0)
    a, b = (np.cumsum(generator.standard_normal((n, 3)), axis=0) for n in (7, 9))

    def dense(x):
        return np.concatenate([np.linspace(p, q, 120) for p, q in pairwise(x)])

    apart = np.linalg.norm(dense(a)[:, None] - dense(b)[None], axis=2)
    corners = np.linalg.norm(a[:, None] - dense(b)[None], axis=2).min(axis=1)
    np.testing.assert_allclose(paths.distances_to(a, b), corners, atol=0.02)
    # The farthest point of a path from another need not be a corner, so that dense paths are compared.
    wanted = max(apart.min(axis=0).max(), apart.min(axis=1).max())
    assert paths.path_distance(dense(a), dense(b)) == pytest.approx(wanted, abs=0.03)
    assert paths.path_distance(a, a) == 0
    np.testing.assert_allclose(paths.distances_to(a, b[:1]), np.linalg.norm(a - b[0], axis=1))


def test_best_rank_one() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((4, 5))
    size, (u, v) = best_rank_one(matrix)
    assert size == pytest.approx(np.linalg.norm(matrix, 2))
    assert u @ matrix @ v == pytest.approx(size)
    q = [np.linalg.qr(generator.standard_normal((4, 2)))[0] for _ in range(3)]
    size, vectors = best_rank_one(np.einsum("r,ir,jr,kr->ijk", [3.0, 1.0], *q))
    assert size == pytest.approx(3.0)
    assert [abs(u @ w[:, 0]) for u, w in zip(vectors, q, strict=True)] == pytest.approx([1.0] * 3)
    assert best_rank_one(np.array([[[-2.0]]]))[0] == pytest.approx(2.0)
    assert best_rank_one(np.zeros((2, 3)))[0] == 0


def saddle(kind: str):
    generator = np.random.default_rng(3)

    def partly(a):
        a = np.zeros_like(a)
        a[tuple(slice(0, 1) if n == 4 else slice(None) for n in a.shape)] = 1.0
        return a * generator.standard_normal(a.shape)

    if kind == "mf":
        return MatrixFactorization([partly(np.ones(s)) for s in ((3, 4), (4, 4), (4, 5))])
    if kind == "cp":
        return CPFactorization([partly(np.ones((3, 4))) for _ in range(3)])
    return HierarchicalFactorization.random((3, 3, 3), width=4, seed=0).map(partly)


@pytest.mark.parametrize("kind", ["mf", "cp", "htf", "htf whole"])
def test_a_direction_changes_the_end_tensor_by_gamma(kind: str) -> None:
    x = saddle(kind.split()[0])
    gradient = np.random.default_rng(4).standard_normal(x.shape)
    found = directions(x, gradient, whole="whole" in kind)
    assert [d.gamma for d in found] == sorted((d.gamma for d in found), reverse=True)
    assert len(found) == (2 if kind == "htf" else 1)
    for one in found:
        change = one.add(0.1).to_dense() - x.to_dense()
        assert -np.sum(gradient * change) == pytest.approx(one.gamma * 0.1 ** len(one.vectors), rel=1e-9)


def test_no_room_left() -> None:
    x = MatrixFactorization([np.eye(2)] * 2)
    with pytest.raises(ValueError, match="all 2 components are in use at a saddle: greedy learning needs a wider"):
        directions(x, np.eye(2))[0].add(0.1)


def changed(found, **changes):
    found = copy.copy(found)
    vars(found).update(changes)
    return found


def compared(**changes) -> Compared:
    def tensor(*values):
        return np.diag([*values, *[0.0] * (3 - len(values))])

    states = [tensor(), tensor(2), tensor(2, 1)]
    saddles = [Saddle("", 1.0, a, loss) for a, loss in zip(states, (2.5, 0.5, 0.0), strict=True)]
    line = paths.Path(np.arange(3.0), np.array([2.5, 0.5, 1e-9]), np.stack([a.ravel() for a in states]), None)
    greedy = Greedy(saddles, line.points)

    def descent(scale, visited, apart, stops):
        return changed(Descent(scale, line, greedy, None), visited=visited, apart=apart, stops=stops)

    parts = {
        "name": "one",
        "components": 2,
        "greedy": greedy,
        "whole": None,
        "descents": [descent(0.1, 0.2, 0.3, ()), descent(0.01, 0.01, 0.1, ((1, 0.01),))],
        "control": descent(1.0, 0.5, 0.6, ()),
    }
    for name, change in changes.items():
        old = parts[name]
        parts[name] = [*old[:-1], changed(old[-1], **change)] if name == "descents" else changed(old, **change)
    return Compared(**parts)


@pytest.mark.parametrize(
    ("failing", "changes"),
    [
        (None, {}),
        (0, {"greedy": {"saddles": compared().greedy.saddles[:2]}}),
        (1, {"descents": {"visited": 0.21}}),
        (1, {"descents": {"visited": 0.06}}),
        (2, {"descents": {"apart": 0.25}}),
        (2, {"control": {"apart": 0.3}}),
        (3, {"descents": {"stops": ()}}),
        (3, {"descents": {"stops": ((1, 0.2),)}}),
        (3, {"descents": {"stops": ((1, 0.0), (1, 0.0))}}),
        (4, {"control": {"visited": 0.2}}),
        (4, {"control": {"stops": ((1, 0.01),)}}),
    ],
)
def test_every_check_can_fail(failing, changes) -> None:
    holds = [bool(check.holds) for check in _outcome([compared(**changes)]).checks]
    assert len(holds) == 5
    assert holds.count(False) == (0 if failing is None else 1) or failing == 0
    assert failing is None or not holds[failing]


def test_no_saddle_is_not_a_stop_at_each() -> None:
    found = compared(greedy={"saddles": compared().greedy.saddles[:2]}, descents={"stops": ()})
    assert not _outcome([found]).checks[3].holds


def test_exponent() -> None:
    assert compared().exponent == pytest.approx(np.log(0.3 / 0.1) / np.log(10))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scales": "0.1"}, r"scales are positive numbers, two or more, falling, got \(0.1,\)"),
        ({"htf_scales": "0.1,0.3"}, "htf_scales are positive numbers, two or more, falling"),
        ({"large": 0.2}, "large, the scale of the control, is above all scales, got 0.2"),
        ({"cp_values": "1,1,1,1,1,1"}, "cp_values are 1 to 5 positive numbers"),
        ({"dtype": "float32"}, "distances to saddles need dtype float64, got float32"),
        ({"depths": "1,2"}, "depths is a whole number from 2 on, got 1"),
        ({"observed_share": 0.0}, "observed_share is a number above 0, at most 1, got 0.0"),
        ({"step_size": 1.0}, "step_size is a number between 0 and 1, got 1.0"),
        ({"points": 4}, "points is a whole number from 16 on, got 4"),
        ({"cp_rank": 0}, "cp_rank is a whole number from 1 on, got 0"),
    ],
)
def test_bad_fields(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("greedy-low-rank", **fields)
