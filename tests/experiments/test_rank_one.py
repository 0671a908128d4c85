"""Gradient flow of CP factorization beside a trajectory of rank one."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tnrank import CPFactorization
from tnrank.experiments import make_recipe, run
from tnrank.experiments.recipes._rank_one_problems import Hypothesis, hypotheses, problem_of
from tnrank.experiments.recipes.rank_one import Followed, Followings, _figure, _outcome, follow

TINY = {"size": 2, "components": 3, "span": 2.0, "points": 16, "observed_share": 1.0}


@pytest.mark.slow
def test_the_quick_preset_holds(tmp_path) -> None:
    done = run(make_recipe("rank-one"), out=tmp_path)
    assert done.outcome.holds, [check for check in done.outcome.checks if not check.holds]
    summary = json.loads((done.folder / "summary.json").read_text())
    line, blocks = (summary[f"order 3, {name}"] for name in ("rank one", "two blocks"))
    control = summary["order 3, two blocks, control"]
    for found in (line, blocks):
        assert all(h["holds"] for h in found["hypotheses"])
        assert (np.diff(found["largest_distances"]) < 0).all()
        assert found["exponent"] > 2
    assert [h["holds"] for h in control["hypotheses"]] == [True, True, True, True, False, True]
    assert min(control["largest_distances"]) > 0.5
    assert abs(control["exponent"]) < 0.1
    assert line["target_distances"][-1] < 1e-5


@pytest.mark.parametrize(
    "backend", ["numpy", *(pytest.param(name, marks=pytest.mark.slow) for name in ("torch", "jax"))]
)
def test_a_short_run_does_not_pass(tmp_path, backend: str) -> None:
    pytest.importorskip(backend)
    done = run(make_recipe("rank-one", backend=backend, scales="0.2,0.1", **TINY).limited(3), out=tmp_path)
    held = {check.claim.split(": ")[1].split()[0] for check in done.outcome.checks if check.holds}
    assert held == {"every", "the"}  # what does not need the flow
    assert {path.name for path in done.folder.iterdir()} >= {"order-3-rank-one.safetensors", "figure.png"}


@pytest.mark.slow
def test_a_time_that_is_too_long_does_not_pass(tmp_path) -> None:
    # The theorem is for a prescribed time: from weights this large the other block is fitted before it is over.
    fields = {**TINY, "scales": "0.5,0.3", "span": 40.0}
    outcome = run(make_recipe("rank-one", **fields), out=tmp_path, figure=False).outcome
    (close,) = (c for c in outcome.checks if c.claim.startswith("order 3, two blocks: the smaller"))
    assert not close.holds


@pytest.mark.parametrize("other", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_backends_find_the_same_path(other: str) -> None:
    pytest.importorskip(other)
    fields = {**TINY, "scales": "0.3,0.2"}
    found = {}
    for backend in ("numpy", other):
        recipe = make_recipe("rank-one", backend=backend, **fields)
        problem = problem_of(recipe, 3, 2)
        found[backend], _ = follow(problem, problem.starts[""], 0.3, recipe.span)
    assert found[other].complete
    assert found[other].leading == 0
    assert found[other].crossing == pytest.approx(found["numpy"].crossing, rel=1e-7)
    np.testing.assert_allclose(found[other].distances, found["numpy"].distances, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("which", ["", ", control"])
def test_against_scipy(which: str) -> None:
    recipe = make_recipe("rank-one", **TINY)
    problem = problem_of(recipe, 3, 2)
    found, _ = follow(problem, problem.starts[which], 0.2, recipe.span)
    seen, count = problem.target != 0, np.count_nonzero(problem.target)

    def flow(components: int):
        def slope(_, theta):
            a, b, c = theta.reshape(3, 2, components)
            off = np.where(seen, np.einsum("ir,jr,kr->ijk", a, b, c) - problem.target, 0.0)
            g = -np.clip(off, -problem.threshold, problem.threshold) / count
            parts = ("ijk,jr,kr->ir", g, b, c), ("ijk,ir,kr->jr", g, a, c), ("ijk,ir,jr->kr", g, a, b)
            return np.concatenate([np.einsum(*part).ravel() for part in parts])

        return slope

    def end(theta, components):
        return np.einsum("ir,jr,kr->ijk", *theta.reshape(3, 2, components)).ravel()

    def leaves(_, theta):
        return np.linalg.norm(end(theta, 3)) - problem.radius

    leaves.terminal = True
    tight = {"method": "LSODA", "rtol": 1e-10, "atol": 1e-13}
    start = np.concatenate([0.2 * a.ravel() for a in problem.starts[which]])
    first = solve_ivp(flow(3), (0.0, 1e5), start, events=leaves, **tight)
    assert found.crossing == pytest.approx(first.t[-1], rel=1e-6)
    factors = first.y[:, -1].reshape(3, 2, 3)
    norms = np.linalg.norm(factors, axis=1).prod(axis=0)
    # The control's two components are equally large but for rounding, and either path is as far.
    leading = found.leading if which else int(norms.argmax())
    assert found.leading == leading
    alone = factors[:, :, leading] / np.linalg.norm(factors[:, :, leading], axis=1, keepdims=True)
    later = solve_ivp(flow(3), (0.0, found.times[-1]), first.y[:, -1], t_eval=found.times, **tight)
    line = solve_ivp(
        flow(1), (0.0, found.times[-1]), problem.radius ** (1 / 3) * alone.ravel(), t_eval=found.times, **tight
    )
    apart = [np.linalg.norm(end(x, 3) - end(y, 1)) for x, y in zip(later.y.T, line.y.T, strict=True)]
    np.testing.assert_allclose(found.distances, np.array(apart) / np.linalg.norm(problem.target), atol=1e-6)
    assert found.largest > 1e-4  # so that the comparison says something


def theirs(gradient, values, start, threshold, radius) -> list[Hypothesis]:
    observed = SimpleNamespace(values=values)
    problem = SimpleNamespace(gradient=gradient, observed=observed, threshold=threshold, radius=radius)
    return hypotheses(problem, start)  # type: ignore[arg-type]


def test_hypotheses_by_hand() -> None:
    # -gradient = 1/4 at (0,0,0) and 1/2 at (1,1,1); the leading direction is the first axis, of norm 2.
    gradient = np.zeros((2, 2, 2))
    gradient[0, 0, 0], gradient[1, 1, 1] = -0.25, -0.5
    start = [np.array([[2.0, 0.0], [0.0, 0.5]]) for _ in range(3)]
    found = theirs(gradient, np.array([-1.5, 2.0]), start, threshold=1.0, radius=0.4)
    wanted = [
        (3, ">=", 3),
        (1.0, "<", 1.5),
        (0.0, "<", 1e-12),
        (0.25, ">", 0.0),
        (4.0, ">", np.sqrt(0.3125) / 0.25),
        (0.4, "<", 0.5),
    ]
    for h, (measured, relation, bound) in zip(found, wanted, strict=True):
        assert h.measured == pytest.approx(measured)
        assert h.relation == relation
        assert h.bound == pytest.approx(bound)
        assert h.holds
    # Order 4: the root of N - 2 = 2.
    gradient = np.zeros((2,) * 4)
    gradient[0, 0, 0, 0], gradient[1, 1, 1, 1] = -0.3, -0.4
    assert theirs(gradient, np.ones(1), [start[0]] * 4, 0.5, 0.1)[4].bound == pytest.approx(np.sqrt(0.5 / 0.3))


@pytest.mark.parametrize(
    ("position", "changes"),
    [
        (1, {"threshold": 1.5}),
        (2, {"start": [np.array([[2.0, 0.0], [0.0, 0.5]])] * 2 + [np.array([[2.0, 0.0], [0.0, 0.6]])]}),
        (3, {"start": [np.array([[s * 2.0, 0.0], [0.0, 0.5]]) for s in (1, 1, -1)]}),
        (4, {"start": [np.array([[2.0, 0.0], [0.0, 1.0]])] * 3}),
        (4, {"start": [np.array([[2.0, 0.0], [0.0, 2.0]])] * 3}),
        (5, {"radius": 0.5}),
    ],
)
def test_every_hypothesis_can_fail(position: int, changes) -> None:
    gradient = np.zeros((2, 2, 2))
    gradient[0, 0, 0], gradient[1, 1, 1] = -0.25, -0.5
    given = {
        "gradient": gradient,
        "values": np.array([-1.5, 2.0]),
        "start": [np.array([[2.0, 0.0], [0.0, 0.5]])] * 3,
        "threshold": 1.0,
        "radius": 0.4,
    }
    assert not theirs(**{**given, **changes})[position].holds


def test_a_matrix_is_not_enough() -> None:
    first = theirs(-np.eye(2), np.ones(2), [np.eye(2)] * 2, 0.5, 0.1)
    assert not first[0].holds
    assert not first[4].holds


def test_the_problems_are_what_the_page_says() -> None:
    recipe = make_recipe("rank-one")
    line, blocks = problem_of(recipe, 4, 1), problem_of(recipe, 3, 2)
    assert [np.linalg.matrix_rank(np.moveaxis(line.target, n, 0).reshape(6, -1)) for n in range(4)] == [1] * 4
    assert [np.linalg.matrix_rank(np.moveaxis(blocks.target, n, 0).reshape(6, -1)) for n in range(3)] == [2] * 3
    at = tuple(blocks.observed.indices.T)
    assert len(blocks.observed.indices) == 54
    assert (blocks.observed.values == blocks.target[at]).all()
    start, control = (CPFactorization(blocks.starts[which]) for which in ("", ", control"))
    np.testing.assert_array_equal(start.factors[0][:, [0, 2, 3]], control.factors[0][:, [0, 2, 3]])
    gradient = blocks.observed.gradient(np.zeros((6,) * 3))
    np.testing.assert_allclose(gradient[at], -blocks.threshold * np.sign(blocks.observed.values) / 54)
    slopes = np.einsum("ijk,ir,jr,kr->r", -gradient, *control.factors)
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-12)


def followings(control: bool = False, rank: int = 1, **changes) -> Followings:
    def one(scale: float, distance: float) -> Followed:
        return Followed(scale, 1.0, 0, 0.9, np.arange(2.0), np.array([0.0, distance]), 1e-3, 1e-12, True)

    runs = [one(0.1, 0.7), one(0.01, 0.69)] if control else [one(0.1, 1e-1), one(0.01, 1e-4)]
    names = ["order", "leading norm over that of any other component"]
    holds = [Hypothesis(name, 2.0, ">", 3.0 if control and k else 1.0) for k, name in enumerate(names)]
    if "runs" in changes:
        runs[-1] = replace(runs[-1], **changes["runs"])
    if "hypotheses" in changes:
        holds[changes["hypotheses"]] = replace(holds[changes["hypotheses"]], bound=1.0 if control else 3.0)
    return Followings("one", 3, control, rank, holds, runs)


@pytest.mark.parametrize(
    ("failing", "changes"),
    [
        (None, {}),
        (None, {"rank": 2}),
        (0, {"hypotheses": 1}),
        (1, {"runs": {"crossing": np.nan}}),
        (1, {"runs": {"leading": 1}}),
        (1, {"runs": {"unbalancedness": 1e-3}}),
        (2, {"runs": {"distances": np.array([0.0, 2e-3])}}),
        (2, {"runs": {"distances": np.array([0.0, 0.2])}}),
        (2, {"runs": {"distances": np.zeros(0), "times": np.zeros(0)}}),
        (3, {"runs": {"end": 0.02}}),
        (None, {"control": True}),
        (0, {"control": True, "hypotheses": 1}),
        (1, {"control": True, "runs": {"distances": np.array([0.0, 0.05])}}),
        (1, {"control": True, "runs": {"distances": np.array([0.0, 0.3])}}),
        (1, {"control": True, "runs": {"complete": False}}),
    ],
)
def test_every_check_can_fail(failing, changes) -> None:
    holds = [bool(check.holds) for check in _outcome([followings(**changes)]).checks]
    assert len(holds) == (2 if changes.get("control") else 5 - changes.get("rank", 1))
    assert holds == [k != failing for k in range(len(holds))]


def test_exponent() -> None:
    assert followings().exponent == pytest.approx(3.0)
    assert np.isnan(followings(runs={"complete": False}).exponent)


def test_the_figure_draws_what_is_there() -> None:
    cut = followings(runs={"complete": False, "distances": np.zeros(0), "times": np.zeros(0)})
    left, right = _figure([followings(), cut, followings(control=True)]).axes
    assert len(left.lines) == 4
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in right.lines]
    assert drawn == [([0.1, 0.01], [1e-1, 1e-4]), ([0.1], [1e-1]), ([0.1, 0.01], [0.7, 0.69])]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"orders": "2"}, "orders is a whole number from 3 on, got 2"),
        ({"size": 5}, "size, of two equal blocks, is even, got 5"),
        ({"components": 1}, "components is a whole number from 2 on, got 1"),
        ({"scales": "0.1"}, r"scales are positive numbers, two or more, falling, got \(0.1,\)"),
        ({"fourth_scales": "0.1,0.2"}, "fourth_scales are positive numbers, two or more, falling"),
        ({"threshold_share": 1.0}, "threshold_share is a number between 0 and 1, got 1.0"),
        ({"radius_share": 0.0}, "radius_share is a number between 0 and 1, got 0.0"),
        ({"observed_share": 0.0}, "observed_share is a number above 0, at most 1, got 0.0"),
        ({"margin": 1.0}, "margin is a number above 1, got 1.0"),
        ({"tilt": -0.1}, "tilt is a number from 0 on, got -0.1"),
        ({"span": 0.0}, "span is a positive number, got 0.0"),
        ({"dtype": "float32"}, "distances between flows need dtype float64, got float32"),
        ({"points": 4}, "points is a whole number from 16 on, got 4"),
    ],
)
def test_bad_fields(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_recipe("rank-one", **fields)
