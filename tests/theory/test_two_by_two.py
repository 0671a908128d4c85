"""The 2 x 2 problem: its bounds at random matrices, and its flow against the published and the defining one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.linalg import polar

import tnrank
from tnrank.theory import TwoByTwo, _two_by_two_flow
from tnrank.theory._two_by_two_flow import rates

FACTS = {
    2: {4.1e-3: 0.992, 1.6e-3: 0.997, 3.3e-4: 0.9993, 7.0e-5: 0.9999},
    3: {1.3e-2: 0.974, 1e-2: 0.980, 5e-3: 0.990, 1.3e-3: 0.997},
}


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_published_growth(depth, seed):
    problem = TwoByTwo()
    losses = [*FACTS[depth], 5e-5] if depth == 2 else [*FACTS[depth], 1e-4]
    flow = problem.balanced_flow(depth, problem.start(1e-5, seed), losses)
    assert flow.loss == pytest.approx(losses, rel=1e-8)
    law = abs(flow.w[:, 0, 0]) * np.sqrt(2 * flow.loss)
    for got, wanted in zip(law, FACTS[depth].values(), strict=False):
        places = len(str(wanted)) - 2
        assert abs(got - wanted) <= 0.6 * 10**-places
    assert law[-1] >= 0.9997
    assert (abs(flow.effective_rank - 1) < 1e-4).all()
    if depth == 2:
        assert flow.log_det[-1] < -3594
        assert (flow.singular_values[:, 1] < 1e-30).all()


def test_published_growth_at_depth_4():
    problem = TwoByTwo()
    flow = problem.balanced_flow(4, problem.start(1e-4, 0), [1.3e-2, 1e-2, 5e-3, 1.3e-3, 1e-4])
    law = abs(flow.w[:, 0, 0]) * np.sqrt(2 * flow.loss)
    np.testing.assert_allclose(law[:4], [0.974, 0.980, 0.990, 0.997], atol=6e-4)
    assert law[4] >= 0.9997


def by_definition(problem, depth, w):
    """dW/dt of N20's balanced flow with matrix powers."""
    gradient = np.array([[0, w[0, 1] - problem.w12], [w[1, 0] - problem.w21, w[1, 1] - problem.w22]])
    u, s, vh = np.linalg.svd(w)
    total = 0
    for j in range(1, depth + 1):
        left, right = (u * s ** (2 * (j - 1) / depth)) @ u.T, (vh.T * s ** (2 * (depth - j) / depth)) @ vh
        total = total - left @ gradient @ right
    return total


matrices = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).standard_normal((2, 2)))


@given(matrices, st.integers(2, 5), st.sampled_from([1.0, -2.0]))
def test_rates_are_those_of_the_definition(w, depth, w12):
    problem = TwoByTwo(w12, 0.5, 0.1)
    det = np.linalg.det(w)
    assume(abs(det) > 1e-3)
    w = w if det * problem.sign > 0 else w[:, ::-1].copy()
    moved = by_definition(problem, depth, w)
    found = rates(problem, depth, w.ravel().tolist(), math.log(abs(det)))
    np.testing.assert_allclose(np.reshape(found[:4], (2, 2)), moved, atol=1e-10 * max(1, abs(moved).max()))
    assert found[4] == pytest.approx(np.trace(np.linalg.solve(w, moved)), rel=1e-9, abs=1e-9)


@given(matrices)
def test_depth_2_has_the_closed_polar_factor(w):
    """-(G Q^T W + W Q^T G) with Q = sqrt(2) (W + cof W) / |W + cof W|."""
    det = np.linalg.det(w)
    assume(abs(det) > 1e-3)
    w = w if det > 0 else w[:, ::-1].copy()
    half = w + np.array([[w[1, 1], -w[1, 0]], [-w[0, 1], w[0, 0]]])
    q = math.sqrt(2) * half / np.linalg.norm(half)
    np.testing.assert_allclose(q, polar(w)[0], atol=1e-9)
    gradient = np.array([[0, w[0, 1] - 1], [w[1, 0] - 1, w[1, 1]]])
    wanted = -(gradient @ q.T @ w + w @ q.T @ gradient)
    found = rates(TwoByTwo(), 2, w.ravel().tolist(), math.log(abs(det)))
    np.testing.assert_allclose(np.reshape(found[:4], (2, 2)), wanted, atol=1e-9)
    assert found[4] == pytest.approx(-2 * (gradient * q).sum(), abs=1e-9)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_flow_is_that_of_the_layers(depth):
    """Down to losses where factors still know the sign of their determinant."""
    problem = TwoByTwo()
    start = problem.start(0.3, seed=3)
    flow = problem.balanced_flow(depth, start, [0.2, 0.1])
    x = tnrank.MatrixFactorization([start, *[np.eye(2)] * (depth - 1)]).balance()

    def moved(_, flat):
        layers = flat.reshape(depth, 2, 2)
        end = np.linalg.multi_dot(layers)
        g = np.array([[0, end[0, 1] - 1], [end[1, 0] - 1, end[1, 1]]])
        found = []
        for j in range(depth):
            left, right = np.eye(2), np.eye(2)
            for layer in layers[:j]:
                left = left @ layer
            for layer in layers[j + 1 :]:
                right = right @ layer
            found.append(-left.T @ g @ right.T)
        return np.ravel(found)

    run = solve_ivp(moved, (0, flow.time[-1]), np.ravel(x.layers), t_eval=flow.time, rtol=1e-11, atol=1e-13)
    for k in range(2):
        np.testing.assert_allclose(np.linalg.multi_dot(run.y[:, k].reshape(depth, 2, 2)), flow.w[k], atol=1e-7)


@given(
    matrices, st.floats(-9, -1), st.sampled_from([(1.0, 1.0, 0.0), (-2.0, 0.5, 0.1), (1.0, 3.0, -0.5)]), st.floats(0, 6)
)
def test_bounds_hold(w, power, observed, stretch):
    problem = TwoByTwo(*observed)
    size = 10**power
    w = np.array([[0, observed[0]], [observed[1], observed[2]]]) + size * w
    # The least entry of the right sign for the determinant, and more.
    assume(w[1, 1] != 0)
    w[0, 0] = w[0, 1] * w[1, 0] / w[1, 1] * 10**stretch * (1 + 1e-9)
    assume(np.sign(w[0, 0] * w[1, 1] - w[0, 1] * w[1, 0]) == problem.sign)
    loss = problem.loss(w)
    s = np.linalg.svd(w, compute_uv=False)
    above = 1 + 1e-9
    assert abs(w[0, 0]) * above >= problem.entry_lower_bound(loss)
    for p in (0.3, 1, 2, math.inf):

        def schatten(a, p=p):
            return np.linalg.norm(np.linalg.svd(a, compute_uv=False), p)

        assert schatten(w) * above >= problem.norm_lower_bound(loss)
        constant = max(1, 2 ** (1 / p - 1))
        assert schatten(w) * above >= problem.norm_lower_bound(loss, schatten, constant)
    assert s[1] <= problem.distance_to_rank_one_upper_bound(loss) * above + 1e-12 * s[0]
    assert tnrank.effective_rank(w) <= problem.effective_rank_upper_bound(loss) * above


def test_bounds_say_what_the_theorem_says():
    problem = TwoByTwo()
    losses = 10.0 ** -np.arange(3, 12)
    root = np.sqrt(2 * losses)
    np.testing.assert_allclose([problem.entry_lower_bound(v) for v in losses], (1 - root) ** 2 / root, rtol=1e-12)
    excess = np.array([problem.effective_rank_upper_bound(v) for v in losses]) - 1
    assert (excess < 6 * root).all()
    assert (np.diff(excess) < 0).all()
    assert problem.norm_lower_bound(0.0) == math.inf
    assert problem.effective_rank_upper_bound(0.0) == 1.0
    assert problem.effective_rank_upper_bound(1.0) == 2.0
    assert TwoByTwo(-2, 0.5, 0.01).entry_lower_bound(0.0) == pytest.approx(100)


def test_perturbed_observations_level_off():
    problem = TwoByTwo(-2.0, 0.5, 0.1)
    flow = problem.balanced_flow(3, problem.start(1e-3, 0), [1e-3, 1e-8])
    assert problem.sign == -1
    assert np.sign(np.linalg.det(flow.w[0])) == -1
    assert abs(flow.w[-1, 0, 0]) == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: TwoByTwo(0.0), "other than 0"),
        (lambda: TwoByTwo().entry_lower_bound(-1.0), "at least 0"),
        (lambda: TwoByTwo().norm_lower_bound(1e-3, np.linalg.norm, 0.5), "at least 1"),
        (lambda: TwoByTwo().balanced_flow(1, np.eye(2), [0.1]), "depth"),
        (lambda: TwoByTwo().balanced_flow(2, np.eye(3), [0.1]), r"\(2, 2\)"),
        (lambda: TwoByTwo().balanced_flow(2, np.diag([1.0, -1.0]), [0.1]), "sign"),
        (lambda: TwoByTwo().balanced_flow(2, 0.1 * np.eye(2), [0.1, 0.2]), "decrease"),
        (lambda: TwoByTwo().balanced_flow(2, 0.1 * np.eye(2), [5.0]), "below that of the start"),
        (lambda: TwoByTwo().balanced_flow(2, 0.1 * np.eye(2), [0.1, -0.1]), "above 0"),
    ],
)
def test_wrong_calls(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_time_runs_out():
    problem = TwoByTwo()
    start = problem.start(0.1, 0)
    times = problem.balanced_flow(3, start, [0.9, 1e-4]).time
    flow = problem.balanced_flow(3, start, [0.9, 1e-4], max_time=times.mean())
    assert flow.loss.tolist() == [pytest.approx(0.9)]
    assert flow.time == pytest.approx(times[:1])
    assert len(problem.balanced_flow(3, problem.start(1e-6, 0), [0.9], max_time=1.0).loss) == 0


def test_a_flow_into_the_wrong_basin_is_told(monkeypatch):
    """W22 keeps the sign that it has when W12 and W21 have theirs; with the wrong one the loss ends at e^2 / 2."""
    problem = TwoByTwo(-2.0, 0.5, 0.01)
    start = [[3.4558419206478604e-06, 8.216181435011584e-06], [3.3043707618338715e-06, -1.3031572316043611e-05]]
    monkeypatch.setattr(_two_by_two_flow, "_MOST_CALLS", 20_000)  # of 100,000, which take seconds
    with pytest.raises(RuntimeError, match=r"goes nowhere.*max_time="):
        problem.balanced_flow(3, start, [1e-2, 1e-5])
    flow = problem.balanced_flow(3, start, [1e-2, 1e-5], max_time=1e6)
    assert len(flow.loss) == 1
