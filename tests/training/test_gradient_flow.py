"""Gradient flow against closed forms, conserved quantities, gradient descent with small steps, and itself elsewhere."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest

import tnrank
from tnrank.training import FlowFailed, gradient_flow, recorders

HALF = tnrank.SquaredLoss(reduction="half_sum")
SHAPES = {"mf2": (5, 4), "mf3": (5, 4), "cp": (4, 3, 5), "htf": (3, 2, 3, 2)}


def problem(kind):
    """A factorization far from balance, and observations of a tensor of its shape."""
    shape = SHAPES[kind]
    options = {"std": 0.5, "seed": 3, "dtype": "float64"}
    if kind.startswith("mf"):
        x = tnrank.MatrixFactorization.random(shape, depth=int(kind[2:]), **options)
    elif kind == "cp":
        x = tnrank.CPFactorization.random(shape, rank=4, **options)
    else:
        x = tnrank.HierarchicalFactorization.random(shape, width=4, **options)
    rng = np.random.default_rng(7)
    indices = np.argwhere(rng.random(shape) < 0.6)
    return x, indices, rng.standard_normal(len(indices))


def host(x):
    return {name: np.asarray(x.backend.to_numpy(a)) for name, a in x.arrays.items()}


@cache
def reference(kind):
    x, indices, values = problem(kind)
    return end(gradient_flow(x, indices, values, times=[4.0], loss=HALF).factorization)


def conserved(x):
    """What every gradient flow conserves, computed here from the arrays alone."""
    arrays = host(x)
    if isinstance(x, tnrank.MatrixFactorization):
        layers = list(arrays.values())
        return np.concatenate([(a.T @ a - b @ b.T).ravel() for a, b in pairwise(layers)])
    if isinstance(x, tnrank.CPFactorization):
        squares = [(a**2).sum(axis=0) for a in arrays.values()]
        return np.concatenate([squares[0] - other for other in squares[1:]])
    by_label = {}
    for name, labels in x.network.tensors.items():
        for axis, label in enumerate(labels):
            squares = np.moveaxis(arrays[name] ** 2, axis, 0)
            by_label.setdefault(label, []).append(squares.reshape(len(squares), -1).sum(axis=1))
    found = [group[0] - other for group in by_label.values() for other in group[1:]]
    assert len(found) >= 6  # each of three interior nodes and its two children
    return np.concatenate(found)


def end(x):
    return np.asarray(x.backend.to_numpy(x.to_dense()))


@pytest.mark.parametrize("kind", SHAPES)
def test_conserves_and_agrees_between_backends(backend_name, kind):
    if (backend_name, kind) == ("jax", "mf2"):
        pytest.skip("compiling takes seconds, and depth 3 is the harder case")
    x, indices, values = problem(kind)
    result = gradient_flow(x.to(backend_name), indices, values, until=4.0, loss=HALF, record=[recorders.Loss()])
    assert (result.status, result.time) == ("times", 4.0)
    assert result.factorization.backend.name == backend_name
    before, after = conserved(x), conserved(result.factorization)
    assert abs(before).max() > 0.1
    np.testing.assert_allclose(after, before, atol=1e-8)
    losses = result.history["loss"]
    np.testing.assert_array_equal(losses.times, np.linspace(0, 4, 101))
    assert (np.diff(losses.values) < 0).all()
    assert losses.values[-1] == result.loss < 0.5 * losses.values[0]
    np.testing.assert_allclose(end(result.factorization), reference(kind), atol=1e-8)


@pytest.mark.few_on_jax
def test_a_product_of_two_numbers(backend_name):
    """``d s / d tau = 2 s (a - s)`` for a balanced product s fitted to a."""
    target, start = 1.7, 0.01
    times = np.array([0.0, 0.3, 1.0, 1.5, 2.0, 4.0, 20.0])
    x = tnrank.MatrixFactorization([np.full((1, 1), start**0.5)] * 2).to(backend_name)
    record = [recorders.Function("end", lambda y: y.to_dense())]
    result = gradient_flow(x, [[0, 0]], [target], loss=HALF, times=times, record=record, rtol=1e-11)
    grown = np.exp(2 * target * times)
    wanted = target * start * grown / (target + start * (grown - 1))
    np.testing.assert_allclose(result.history["end"].values[:, 0, 0], wanted, rtol=1e-9)


def test_an_unbalanced_product_of_two_numbers(backend_name):
    """With target 0 and ``u^2 - v^2 = c``: ``d(u^2)/d tau = -2 u^2 (u^2 - c)``, a logistic equation again."""
    u, v, time = 1.5, -0.4, 0.8
    c = u * u - v * v
    x = tnrank.MatrixFactorization([np.array([[u]]), np.array([[v]])]).to(backend_name)
    result = gradient_flow(x, [[0, 0]], [0.0], loss=HALF, times=[time])
    grown = np.exp(2 * c * time)
    squared = c * u * u * grown / (c + u * u * (grown - 1))
    np.testing.assert_allclose(float(result.factorization.layers[0][0, 0]) ** 2, squared, rtol=1e-9)


@pytest.mark.parametrize("loss", [tnrank.SquaredLoss(), tnrank.HuberLoss(0.3, reduction="sum")])
def test_gradient_descent_converges_to_it_at_first_order(loss):
    x, indices, values = problem("cp")
    exact = end(gradient_flow(x, indices, values, loss=loss, times=[1.5]).factorization)
    errors = []
    for steps in (150, 300, 600, 1200):
        descent = tnrank.complete(
            x, indices, values, loss=loss, optimizer=tnrank.GradientDescent(1.5 / steps), steps=steps
        )
        errors.append(np.linalg.norm(end(descent.factorization) - exact))
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    np.testing.assert_allclose(ratios, 2.0, atol=0.06)
    assert abs(ratios[-1] - 2) < 0.02


def test_records_at_every_time(backend_name):
    x, indices, values = problem("htf")
    times = [0.25, 1.0, 1.75]
    record = [recorders.ComponentNorms(top=2), recorders.LearningRate(), recorders.Loss(every=1000)]
    result = gradient_flow(x.to(backend_name), indices, values, times=times, record=iter(record))
    assert set(result.history) == {"component_norms", "learning_rate", "loss"}
    norms = result.history["component_norms"]
    np.testing.assert_array_equal(norms.times, times)
    assert len(norms) == 3
    for node, wanted in result.factorization.component_norms().items():
        wanted = np.sort(np.asarray(x.to(backend_name).backend.to_numpy(wanted)))[::-1][:2]
        np.testing.assert_allclose(norms.values[node][-1], wanted, rtol=1e-12)
    assert np.isnan(result.history["learning_rate"].values).all()
    assert "3 times" in repr(norms)
    assert "reached time 1.75" in repr(result)


def test_sensing_follows_the_equivalent_entries():
    """Measuring with unit vectors is observing entries."""
    x, indices, values = problem("cp")
    vectors = [np.eye(d)[indices[:, mode]] for mode, d in enumerate(x.shape)]
    found = gradient_flow(
        x.to("torch") if find_spec("torch") else x, tnrank.RankOneMeasurements(vectors), values, times=[1.0]
    )
    wanted = gradient_flow(x, indices, values, times=[1.0])
    np.testing.assert_allclose(end(found.factorization), end(wanted.factorization), atol=1e-10)


def test_the_tolerance_acts():
    x, indices, values = problem("mf3")
    exact = end(gradient_flow(x, indices, values, times=[3.0], rtol=1e-13, atol=1e-15).factorization)
    errors, steps = [], []
    for rtol in (1e-4, 1e-7, 1e-10):
        result = gradient_flow(x, indices, values, times=[3.0], rtol=rtol, atol=rtol / 1e3)
        errors.append(abs(end(result.factorization) - exact).max())
        steps.append(result.steps)
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert errors[2] < 1e-10
    assert steps[0] < steps[1] < steps[2]


def test_single_precision(backend_name):
    x, indices, values = problem("mf2")
    found = gradient_flow(x.to(backend_name, dtype="float32"), indices, values, times=[1.0], rtol=1e-5, atol=1e-6)
    assert found.factorization.dtype == "float32"
    wanted = gradient_flow(x, indices, values, times=[1.0])
    np.testing.assert_allclose(end(found.factorization), end(wanted.factorization), atol=1e-4)
    with pytest.raises(ValueError, match=r"float32 keeps 1e-05 at best, x\.to\(dtype='float64'\)"):
        gradient_flow(x.to(backend_name, dtype="float32"), indices, values, times=[1.0])


def test_a_solver_that_fails_hands_over_what_it_reached(backend_name):
    x, indices, values = problem("cp")
    options = {"times": [0.0, 0.01, 50.0], "record": [recorders.Loss()]}
    with pytest.raises(
        FlowFailed, match=r"got to time 0\.01 of 50.*8 steps were not enough.*max_steps above 8"
    ) as caught:
        gradient_flow(x.to(backend_name), indices, values, max_steps=8, **options)
    result = caught.value.result
    assert (result.status, result.time, result.steps) == ("failed", 0.01, 8)
    np.testing.assert_array_equal(result.history["loss"].times, [0.0, 0.01])
    same = gradient_flow(x, indices, values, times=[0.01])
    np.testing.assert_allclose(end(result.factorization), end(same.factorization), atol=1e-9)


def test_a_kink_is_no_gradient_flow(backend_name):
    """The flow of an L1 loss reaches its kink in finite time; no solver of smooth equations follows it there."""
    x = tnrank.MatrixFactorization([np.array([[1.0]])]).to(backend_name)
    assert gradient_flow(x, [[0, 0]], [0.0], loss=tnrank.L1Loss(), times=[0.75]).loss == pytest.approx(0.25)
    with pytest.raises(FlowFailed, match="HuberLoss, not L1Loss") as caught:
        gradient_flow(x, [[0, 0]], [0.0], loss=tnrank.L1Loss(), times=[0.75, 2.0], max_steps=100)
    assert caught.value.result.time == 0.75


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"either times=\[0, 1, 10\] or until=10\.0"),
        ({"times": [0, 1], "until": 1.0}, "either times"),
        ({"times": [1.0, 1.0]}, "increasing numbers from 0 on"),
        ({"times": [-1.0, 1.0]}, "increasing numbers from 0 on"),
        ({"times": [0.0, np.nan]}, "1 of 2 times are NaN"),
        ({"times": []}, "increasing numbers from 0 on"),
        ({"until": 0.0}, "until is a finite number above 0"),
        ({"until": np.inf}, "until is a finite number above 0"),
        ({"until": 1.0, "rtol": 1e-15}, "float64 keeps 1e-13 at best"),
        ({"until": 1.0, "rtol": float("nan")}, "rtol is a finite number, got nan"),
        ({"until": 1.0, "rtol": 2.0}, "a tolerance below 1"),
        ({"until": 1.0, "atol": -1.0}, "atol is a finite number of at least 0"),
        ({"until": 1.0, "max_steps": 0}, "max_steps is a whole number from 1 on"),
    ],
)
def test_wrong_options(options, message):
    x, indices, values = problem("cp")
    with pytest.raises(ValueError, match=message):
        gradient_flow(x, indices, values, **options)


def test_wrong_problems(backend_name):
    x, indices, values = problem("mf2")
    x = x.to(backend_name)
    xp = x.backend.xp
    flow = {"until": 1.0}
    with pytest.raises(TypeError, match=r"got complex128: x\.to\(dtype='float64'\)"):
        gradient_flow(x.to(dtype="complex128"), indices, values, **flow)
    whole = tnrank.MatrixFactorization([xp.ones((5, 4), dtype=xp.int64)])
    with pytest.raises(TypeError, match=r"got int64: x\.to\(dtype='float64'\)"):
        gradient_flow(whole, indices, values, **flow)
    with pytest.raises(ValueError, match=r"1 of .* values are NaN or infinite, the first at position 2"):
        gradient_flow(x, indices, np.where(np.arange(len(values)) == 2, np.nan, values), **flow)
    with pytest.raises(TypeError, match=r"loss is a loss such as tnrank\.SquaredLoss"):
        gradient_flow(x, indices, values, loss="squared", **flow)
    with pytest.raises(TypeError, match="starts from one factorization, got list"):
        gradient_flow([x, x], indices, values, **flow)
    with pytest.raises(TypeError, match="got the recorder 'loss'"):
        gradient_flow(x, indices, values, record=["loss"], **flow)
    with pytest.raises(ValueError, match="20 of 20 weights in the array 'W0' of the initial factorization are NaN or"):
        gradient_flow(x.map(lambda a: a * xp.inf), indices, values, **flow)
    with pytest.raises(ValueError, match=r"loss of the initial factorization is (inf|nan)"):
        gradient_flow(x.map(lambda a: a * 1e200), indices, values, **flow)


def test_other_solvers_can_stand_in(monkeypatch):
    """A backend that names the capability is asked; one that does not gets SciPy's."""
    numpy = tnrank.get_backend("numpy")
    x, indices, values = problem("mf2")
    asked = []

    def odeint(self, fn, state, times, data, rtol, atol, max_steps):
        asked.append((list(times), rtol, atol, max_steps))
        return [state for _ in times], 1, ""

    monkeypatch.setattr(type(numpy), "odeint", odeint)
    gradient_flow(x, indices, values, times=[1.0])
    assert not asked
    monkeypatch.setattr(type(numpy), "capabilities", frozenset({"odeint"}))
    result = gradient_flow(x, indices, values, times=[1.0, 2.0], rtol=1e-6, atol=1e-8, max_steps=77)
    assert asked == [([1.0, 2.0], 1e-6, 1e-8, 77)]
    np.testing.assert_array_equal(end(result.factorization), end(x))
