"""Recorded rates and conserved quantities, against the theory at each point and against the increments measured."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank.theory import conserved_quantities, inner_indices, predicted_rate, singular_value_rate, unbalancedness
from tnrank.training import gradient_flow, rates_of, recorders

FIELDS = ("norms", "projection", "exact", "balanced", "lower", "upper", "unbalancedness")
STARTS = {
    "matrix": lambda: tnrank.MatrixFactorization.random((4, 3), depth=3, seed=1, std=0.6),
    "cp": lambda: tnrank.CPFactorization.random((3, 4, 2), rank=5, weighted=True, std=0.6, seed=1),
    "hierarchical": lambda: tnrank.HierarchicalFactorization.random(
        (3, 2, 2, 3, 2), tree=((3, 0), (1, 2, 4)), width=4, std=0.6, seed=1
    ),
    "train": lambda: tnrank.TensorTrain.from_dense(np.random.default_rng(4).standard_normal((3, 2, 4)), max_rank=2),
}
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


def problem(shape, share=0.7):
    generator = np.random.default_rng(0)
    indices = np.argwhere(generator.random(shape) < share)
    return indices, generator.standard_normal(len(indices))


def gradient_at(x, indices, values):
    """Of the mean squared error, with respect to the end tensor."""
    end = np.asarray(x.backend.to_numpy(x.to_dense()))
    found = np.zeros(x.shape)
    found[tuple(indices.T)] = 2 * (end[tuple(indices.T)] - values) / len(values)
    return found


@starts
@pytest.mark.parametrize("several", [False, True])
def test_values(backend_name, start, several):
    x = start().to(backend_name)
    indices, values = problem(x.shape)
    record = [
        recorders.Rates(every=4),
        recorders.ConservedQuantities(every=4),
        recorders.Unbalancedness(every=4),
        recorders.EffectiveTime(every=4),
    ]
    options = {"optimizer": tnrank.GradientDescent(0.01), "steps": 8, "record": record}
    given = [x, x.map(lambda a: 0.9 * a)] if several else x
    result = tnrank.complete(given, indices, values, **options)
    result = result[0] if several else result
    history = result.history
    assert history["rates"].steps.tolist() == [0, 1, 4, 5, 8]
    np.testing.assert_allclose(history["effective_time"].values, [0, 0.04, 0.08], rtol=1e-12)
    for row, y in ((0, x), (-1, result.factorization)):
        y = y.to("numpy")
        gradient = gradient_at(y, indices, values)
        got = history["rates"].values
        assert {index for index, _ in got} == set(inner_indices(y))
        for index in inner_indices(y):
            wanted = predicted_rate(y, index, gradient)
            for field in FIELDS:
                np.testing.assert_allclose(got[index, field][row], getattr(wanted, field), rtol=1e-8, atol=1e-12)
            np.testing.assert_allclose(got[index, "time"][row], 0.08 if row else 0, rtol=1e-12)
            for pair, value in conserved_quantities(y, index).items():
                found = history["conserved_quantities"].values[index, *pair][row]
                np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(history["unbalancedness"].values[row], unbalancedness(y), rtol=1e-9)


@pytest.mark.parametrize("several", [False, True])
def test_singular_values(backend_name, several):
    x = STARTS["matrix"]().to(backend_name)
    indices, values = problem(x.shape)
    options = {"optimizer": tnrank.GroupRMSProp(0.01), "steps": 3, "record": [recorders.SingularValueRates(every=1)]}
    result = tnrank.complete([x, x.map(lambda a: 2 * a)] if several else x, indices, values, **options)
    result = result[0] if several else result
    trace = result.history["singular_value_rates"]
    assert trace.steps.tolist() == [0, 1, 2, 3]
    for row, y in ((0, x), (-1, result.factorization)):
        y = y.to("numpy")
        wanted = singular_value_rate(y, gradient_at(y, indices, values))
        for field in ("singular_values", "projection", "exact", "balanced"):
            np.testing.assert_allclose(trace.values[field][row], getattr(wanted, field), rtol=1e-8)
    np.testing.assert_allclose(np.cumsum(trace.values["rate"]), trace.values["time"], rtol=1e-12)


@pytest.mark.parametrize("name", ["matrix", "cp", "hierarchical"])
def test_what_is_measured_nears_what_is_predicted_as_steps_shrink(name):
    x = STARTS[name]()
    indices, values = problem(x.shape)
    record = [recorders.Rates(every=7)] + ([recorders.SingularValueRates(every=7)] if name == "matrix" else [])
    errors = []
    for rate in (1e-3, 5e-4):
        result = tnrank.complete(x, indices, values, optimizer=tnrank.GradientDescent(rate), steps=20, record=record)
        found = [rates_of(result.history["rates"], index) for index in inner_indices(x)]
        found += [rates_of(trace) for name, trace in result.history.items() if name == "singular_value_rates"]
        for rates in found:
            assert rates.steps.tolist() == [0, 7, 14]
            np.testing.assert_allclose(rates.interval, rate)
        errors.append([abs(r.measured - r.exact)[0].max() / abs(r.exact)[0].max() for r in found])
    np.testing.assert_allclose(np.divide(*errors), 2, rtol=0.02)
    assert np.max(errors) < 0.02


@pytest.mark.few_on_jax
def test_components_keep_their_order_and_can_be_chosen(backend_name):
    # JAX compiles the rates of CP factorizations faster.
    kind, r = ("cp", "r") if backend_name == "jax" else ("hierarchical", "r{0,3}")
    x = STARTS[kind]().to(backend_name)
    indices, values = problem(x.shape)
    options = {"optimizer": tnrank.GradientDescent(0.01), "steps": 3}
    whole, part = (
        tnrank.complete(x, indices, values, record=[recorders.Rates(r, some, every=1)], **options).history["rates"]
        for some in (None, [3, 1])
    )
    assert {index for index, _ in whole.values} == {r}
    for field in FIELDS:
        wanted = whole.values[r, field][:, [3, 1]]
        np.testing.assert_allclose(part.values[r, field], wanted, rtol=1e-12, atol=1e-15)
    assert rates_of(part).measured.shape == (3, 2)


def test_observations_that_are_few_of_many():
    x = tnrank.CPFactorization.random((60, 50, 40), rank=3, std=0.5, seed=0)
    indices = np.random.default_rng(1).integers(0, 40, (50, 3))
    indices = np.unique(indices, axis=0)
    values = np.random.default_rng(2).standard_normal(len(indices))
    options = {"optimizer": tnrank.GradientDescent(1e-4), "steps": 1}
    result = tnrank.complete(x, indices, values, record=[recorders.Rates(every=1)], **options)
    wanted = predicted_rate(x, "r", gradient_at(x, indices, values))
    np.testing.assert_allclose(result.history["rates"].values["r", "exact"][0], wanted.exact, rtol=1e-10)


@pytest.mark.parametrize("name", ["cp", "hierarchical", "matrix"])
def test_flow(name):
    x = STARTS[name]()
    x = x if name == "cp" else x.balance()
    indices, values = problem(x.shape)
    record = [recorders.Rates(), recorders.Unbalancedness(), recorders.EffectiveTime(), recorders.ConservedQuantities()]
    record += [recorders.SingularValueRates()] if name == "matrix" else []
    result = gradient_flow(x, indices, values, until=1.0, rtol=1e-12, record=record)
    np.testing.assert_array_equal(result.history["effective_time"].values, result.history["rates"].times)
    for value in result.history["conserved_quantities"].values.values():
        assert abs(value - value[0]).max() < 1e-10
    found = [rates_of(result.history["rates"], index) for index in inner_indices(x)]
    found += [rates_of(result.history["singular_value_rates"])] if name == "matrix" else []
    for rates in found:
        wanted = rates.exact if name == "cp" else rates.balanced
        scale = abs(wanted).max()
        # One-sided differences at the ends of the spline are less accurate.
        np.testing.assert_allclose(rates.measured[5:-5], wanted[5:-5], rtol=1e-6, atol=1e-6 * scale)
        np.testing.assert_allclose(rates.exact, wanted, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        (lambda: recorders.Rates("q"), ValueError, r"no index 'q': needed one of 'r'"),
        (lambda: recorders.Rates(["r", "q"]), ValueError, r"no index 'q': needed one of 'r'"),
        (lambda: recorders.Rates(components=[0, 5]), ValueError, r"components \[0, 5\]: needed positions from 0 to 4"),
        (lambda: recorders.Rates(components=[]), ValueError, r"components \[\]: needed positions from 0 to 4"),
        (lambda: recorders.Unbalancedness("q"), ValueError, r"no index 'q'"),
        (lambda: recorders.ConservedQuantities("q"), ValueError, r"no index 'q'"),
        (lambda: recorders.SingularValueRates(), TypeError, r"is for a MatrixFactorization, got CP.*: record Rates"),
    ],
)
def test_wrong_recorders(record, error, message):
    x = STARTS["cp"]()
    with pytest.raises(error, match=message):
        tnrank.complete(x, *problem(x.shape), record=[record()], steps=1)


def test_traces_without_rates():
    x = STARTS["hierarchical"]()
    record = [recorders.Rates(every=1), recorders.Loss(every=1)]
    history = tnrank.complete(x, *problem(x.shape), record=record, steps=2).history
    with pytest.raises(ValueError, match=r"needed the trace of recorders.Rates or SingularValueRates"):
        rates_of(history["loss"])
    with pytest.raises(ValueError, match=r"several indices were recorded: give one of 'r\{0,3\}'"):
        rates_of(history["rates"])
    with pytest.raises(ValueError, match=r"no rates of the index 'r' were recorded: needed 'r\{0,3\}'"):
        rates_of(history["rates"], "r")
    m = STARTS["matrix"]()
    record = [recorders.SingularValueRates(every=1)]
    with pytest.raises(ValueError, match="belong to no index, got index='h1'"):
        rates_of(tnrank.complete(m, *problem(m.shape), record=record, steps=2).history["singular_value_rates"], "h1")
    with pytest.raises(ValueError, match="no two successive steps"):
        rates_of(tnrank.complete(m, *problem(m.shape), record=record, steps=0).history["singular_value_rates"])
    with pytest.raises(ValueError, match="a flow at 3 times is too coarse"):
        rates_of(gradient_flow(m, *problem(m.shape), times=[0, 1, 2], record=record).history["singular_value_rates"])


def test_runs_on_other_entries_record_their_own_projections(backend_name):
    x = tnrank.CPFactorization.random((60, 60, 60), rank=2, std=0.5, seed=0)
    for seed in (0, 1):
        # Few entries of a large tensor: rows are gathered, and programs of equal sizes are shared.
        rng = np.random.default_rng(seed)
        indices = np.stack([rng.permutation(60)[:20] for _ in range(3)], axis=1)
        values = rng.standard_normal(20)
        gathered = [f[indices[:, n]] for n, f in enumerate(x.factors)]
        gradient = 2 / 20 * (np.prod(gathered, axis=0).sum(axis=1) - values)
        unit = [f / np.linalg.norm(f, axis=0) for f in x.factors]
        wanted = -np.einsum("m,mr,mr,mr->r", gradient, *(f[indices[:, n]] for n, f in enumerate(unit)))
        result = tnrank.complete(
            x.to(backend_name), indices, values, steps=1, record=[recorders.Rates(every=1), recorders.Loss(every=1)]
        )
        found = result.history["rates"].values["r", "projection"][0]
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-9)
        flow = gradient_flow(x.to(backend_name), indices, values, times=[0.0, 1e-3], record=[recorders.Rates()])
        np.testing.assert_allclose(flow.history["rates"].values["r", "projection"][0], wanted, rtol=1e-9)
