"""How a run goes: recorded steps, stopping, failing, being interrupted, seeds, dtypes, compilation."""

from __future__ import annotations

import logging
import warnings
from functools import partial

import numpy as np
import pytest

import tnrank
from tnrank.training import Stop, gradient_flow, recorders

TARGET = np.einsum("ar,br,cr->abc", *(np.random.default_rng(k).standard_normal((4, 2)) for k in range(3)))
INDICES = np.argwhere(np.random.default_rng(5).random(TARGET.shape) < 0.7)
VALUES = TARGET[tuple(INDICES.T)]


def start(backend="numpy", seed=0, dtype="float64", std=0.5):
    return tnrank.CPFactorization.random((4, 4, 4), rank=5, std=std, seed=seed, backend=backend, dtype=dtype)


def run(x, steps=200, optimizer=None, **options):
    optimizer = optimizer or tnrank.GradientDescent(0.02)
    return tnrank.complete(x, INDICES, VALUES, steps=steps, optimizer=optimizer, **options)


def host(x):
    return [x.backend.to_numpy(a) for a in x.arrays.values()]


def loss_of(x):
    return float(np.mean((np.asarray(x.backend.to_numpy(x.entries(INDICES)), np.float64) - VALUES) ** 2))


def every_loss(backend, steps, **options):
    return run(start(backend), steps, record=[recorders.Loss(every=1)], **options).history["loss"].values


# what comes back


@pytest.mark.few_on_jax("jax")
def test_result(backend_name):
    x = start(backend_name)
    before = [a.copy() for a in host(x)]
    result = run(x, 150)
    assert (result.status, result.steps, result.message) == ("steps", 150, "all 150 steps done")
    assert type(result.factorization) is type(x)
    assert result.factorization.backend is x.backend
    assert (result.factorization.dtype, result.factorization.device) == (x.dtype, x.device)
    np.testing.assert_allclose(result.loss, loss_of(result.factorization), rtol=1e-12)
    assert result.loss < 0.9 * loss_of(x)
    assert result.history == {}
    assert result.seconds > 0
    assert "steps: all 150 steps done" in repr(result)
    for a, b in zip(host(x), before, strict=True):
        np.testing.assert_array_equal(a, b)
    again = tnrank.complete(result.factorization, INDICES, VALUES, optimizer=tnrank.GradientDescent(0.02), steps=10)
    np.testing.assert_allclose(again.loss, run(x, 160).loss, rtol=1e-9)


@pytest.mark.few_on_jax("jax")
def test_no_steps(backend_name):
    x = start(backend_name)
    result = run(x, 0, record=[recorders.Loss()])
    assert (result.status, result.steps) == ("steps", 0)
    np.testing.assert_array_equal(result.history["loss"].steps, [0])
    for a, b in zip(host(x), host(result.factorization), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.few_on_jax("optimizer1")
@pytest.mark.parametrize("optimizer", [tnrank.GroupRMSProp(), tnrank.Adam(), tnrank.GradientDescent(0.1, momentum=0.9)])
def test_deterministic(backend_name, optimizer):
    a, b = (run(start(backend_name, seed=3), 50, optimizer) for _ in range(2))
    assert a.loss == b.loss
    for p, q in zip(host(a.factorization), host(b.factorization), strict=True):
        np.testing.assert_array_equal(p, q)
    assert run(start(backend_name, seed=4), 50, optimizer).loss != a.loss


@pytest.mark.few_on_jax("jax")
def test_indices_and_values_of_the_backend(backend_name):
    backend = tnrank.get_backend(backend_name)
    options = {"optimizer": tnrank.GradientDescent(0.02), "steps": 5}
    got = tnrank.complete(start(backend_name), backend.asarray(INDICES), backend.asarray(VALUES), **options)
    assert got.loss == run(start(backend_name), 5).loss
    assert tnrank.complete(start(backend_name), INDICES.tolist(), VALUES.tolist(), **options).loss == got.loss


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_lower_precision(backend_name, dtype):
    if dtype == "bfloat16" and backend_name == "numpy":
        pytest.skip("NumPy has no bfloat16")
    rtol = {"float32": 1e-3, "bfloat16": 0.25}[dtype]
    for optimizer in (tnrank.Adam(0.02), tnrank.GroupRMSProp(0.02)):
        wide = run(start(), 40, optimizer)
        result = run(
            start(backend_name, dtype=dtype),
            40,
            optimizer,
            record=[recorders.Loss(), recorders.Error(TARGET)],
        )
        assert result.factorization.dtype == dtype
        assert result.loss < 0.95 * loss_of(start())
        np.testing.assert_allclose(result.loss, wide.loss, rtol=rtol)
        together = run([start(backend_name, dtype=dtype)] * 2, 40, optimizer)
        assert [one.factorization.dtype for one in together] == [dtype] * 2
        np.testing.assert_allclose([one.loss for one in together], wide.loss, rtol=rtol)


# recorded steps


@pytest.mark.few_on_jax("options0", "options4")
@pytest.mark.parametrize(
    ("options", "steps", "wanted"),
    [
        ({"every": 40}, 100, [0, 40, 80, 100]),
        ({"every": 50}, 100, [0, 50, 100]),
        ({"every": 1}, 130, list(range(131))),
        ({"every": 1000}, 100, [0, 100]),
        ({"at": [3, 70, 7, 7]}, 100, [3, 7, 70, 100]),
        ({"at": [0, 100, 200]}, 100, [0, 100]),
        ({"at": []}, 100, [100]),
    ],
)
def test_recorded_steps(backend_name, options, steps, wanted):
    result = run(start(backend_name), steps, record=[recorders.Loss(**options)])
    trace = result.history["loss"]
    np.testing.assert_array_equal(trace.steps, wanted)
    assert len(trace) == len(wanted)
    losses = every_loss("numpy", steps)
    np.testing.assert_allclose(trace.values, losses[wanted], rtol=1e-9)
    assert f"{len(wanted)} steps" in repr(trace)


@pytest.mark.few_on_jax("jax")
def test_recorders_of_different_steps(backend_name):
    seen = []
    record = [recorders.Loss(every=7), recorders.Error(TARGET, every=5), recorders.LearningRate(at=[2])]
    result = run(start(backend_name), 20, record=iter(record), on_record=lambda *what: seen.append(what))
    assert {name: trace.steps.tolist() for name, trace in result.history.items()} == {
        "loss": [0, 7, 14, 20],
        "error": [0, 5, 10, 15, 20],
        "learning_rate": [2, 20],
    }
    assert [(name, step) for name, step, _, run in seen if run == 0 and name == "loss"] == [
        ("loss", k) for k in (0, 7, 14, 20)
    ]
    np.testing.assert_array_equal([v for name, _, v, _ in seen if name == "error"], result.history["error"].values)


# stopping


@pytest.mark.few_on_jax("jax")
def test_stops_at_the_first_step_below(backend_name):
    losses = every_loss("numpy", 200)
    level = float(losses[70] * (1 + 1e-6))
    first = int(np.argmax(losses < level))
    assert 0 < first <= 70
    result = run(start(backend_name), 200, stop=level, record=[recorders.Loss(every=50)])
    assert (result.status, result.steps) == ("converged", first)
    assert result.loss < level
    np.testing.assert_allclose(result.loss, losses[first], rtol=1e-9)
    np.testing.assert_array_equal(result.history["loss"].steps, [*range(0, first, 50), first])
    assert f"{level:g}" in result.message


@pytest.mark.few_on_jax("jax")
def test_patience_and_distance_of_checks(backend_name):
    losses = every_loss("numpy", 200)
    assert (np.diff(losses) < 0).all()  # so that a loss below stays below
    level = float(losses[70] * (1 + 1e-6))
    for patience, every in ((5, 1), (2, 10), (0, 25)):
        checks = [k for k in range(0, 201, every) if losses[k] < level]
        result = run(start(backend_name), 200, stop=Stop(loss=level, patience=patience, every=every))
        assert (result.status, result.steps) == ("converged", checks[patience])


@pytest.mark.few_on_jax("jax")
def test_patience_counts_checks_in_a_row(backend_name):
    """A damped oscillation: the loss dips below the level, and rises above it again."""
    x = tnrank.MatrixFactorization([np.asarray([[1.0]])]).to(backend_name)
    optimizer = tnrank.GradientDescent(0.1, momentum=0.95)
    options = {"loss": tnrank.SquaredLoss(reduction="half_sum"), "optimizer": optimizer, "steps": 300}
    losses = tnrank.complete(x, [[0, 0]], [0.0], record=[recorders.Loss(every=1)], **options).history["loss"].values
    level, in_a_row, wanted = 0.01, 0, -1
    for k, value in enumerate(losses):
        in_a_row = in_a_row + 1 if value < level else 0
        if in_a_row > 5:
            wanted = k
            break
    assert wanted > np.argmax(losses < level) + 10, "the test needs a loss that rises again"
    result = tnrank.complete(x, [[0, 0]], [0.0], stop=Stop(loss=level, patience=5), **options)
    assert (result.status, result.steps) == ("converged", wanted)


@pytest.mark.few_on_jax("jax")
def test_stops_before_the_first_step(backend_name):
    result = run(start(backend_name), 100, stop=1e9)
    assert (result.status, result.steps) == ("converged", 0)


@pytest.mark.parametrize("options", [{"loss": -1.0}, {"loss": float("nan")}, {"patience": -1}, {"every": 0}])
def test_wrong_stops(options):
    with pytest.raises(ValueError, match="of Stop is a"):
        Stop(**options)


# failing

DIVERGES = tnrank.GradientDescent(100.0)


def good_steps(x, optimizer):
    """Steps until the loss is not finite, one call a step."""
    for count in range(50):
        result = tnrank.complete(x, INDICES, VALUES, optimizer=optimizer, steps=1)
        if result.status == "nan":
            return count, x
        x = result.factorization
    raise AssertionError("the test needs a rate that diverges")


@pytest.mark.few_on_jax("optax")
@pytest.mark.parametrize("optimizer", [DIVERGES, "torch", "optax"])
def test_nan_keeps_the_last_good_factorization(backend_name, optimizer):
    if optimizer in ("torch", "optax"):
        if {"torch": "torch", "optax": "jax"}[optimizer] != backend_name:
            pytest.skip("another framework's optimizer")
        module = pytest.importorskip(optimizer)
        optimizer = module.sgd(100.0) if optimizer == "optax" else partial(module.optim.SGD, lr=100.0)
    count, last = good_steps(start(), DIVERGES)
    assert count > 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(start(backend_name), 1000, optimizer, record=[recorders.Loss(every=1), recorders.Error(TARGET)])
    assert (result.status, result.steps) == ("nan", count)
    assert f"not finite after step {count + 1}; kept step {count}" in result.message
    assert np.isfinite(result.loss)
    np.testing.assert_allclose(result.loss, loss_of(last), rtol=1e-6)
    for got, wanted in zip(host(result.factorization), host(last), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    np.testing.assert_array_equal(result.history["loss"].steps, np.arange(count + 1))
    assert np.isfinite(result.history["loss"].values).all()
    assert result.history["error"].steps.tolist() == [0, count]


@pytest.mark.few_on_jax("jax")
def test_nan_long_after_the_start(backend_name):
    """Many steps into a compiled chunk, the state one step before is still found."""
    x = tnrank.MatrixFactorization([np.asarray([[1.0]])]).to(backend_name)
    options = {"loss": tnrank.SquaredLoss(reduction="half_sum"), "optimizer": tnrank.GradientDescent(2.5)}
    result = tnrank.complete(x, [[0, 0]], [0.0], steps=10_000, **options)
    # w is multiplied by -1.5 a step, and the loss w^2 / 2 leaves the range of float64.
    count = int(np.floor(np.log(np.finfo(float).max) / np.log(1.5) / 2))
    assert result.status == "nan"
    assert abs(result.steps - count) <= 2
    np.testing.assert_allclose(abs(float(result.factorization.layers[0][0, 0])), 1.5**result.steps, rtol=1e-9)
    assert np.isfinite(result.loss)


@pytest.mark.few_on_jax("jax")
def test_an_infinite_start(backend_name):
    x = start(backend_name, std=1e120)
    with pytest.raises(
        ValueError, match=r"the loss of the initial factorization is (inf|nan): start from smaller weights"
    ):
        run(x)


# callbacks


@pytest.mark.few_on_jax("jax")
def test_callback_stops(backend_name):
    seen = []

    def callback(step, loss):
        seen.append((step, loss))
        return len(seen) == 2

    result = run(start(backend_name), 10**9, callback=callback, record=[recorders.Loss(every=1)])
    assert result.status == "stopped"
    assert result.steps == seen[-1][0] == result.history["loss"].steps[-1]
    np.testing.assert_allclose(result.loss, seen[-1][1], rtol=1e-12)
    np.testing.assert_allclose(result.loss, loss_of(result.factorization), rtol=1e-10)


@pytest.mark.few_on_jax("jax")
def test_interrupt_keeps_what_there_is(backend_name):
    def callback(step, loss):
        if step >= 5:
            raise KeyboardInterrupt

    result = run(start(backend_name), 10**9, callback=callback, record=[recorders.Loss(every=1)])
    assert result.status == "interrupted"
    assert result.steps >= 5
    np.testing.assert_array_equal(result.history["loss"].steps, np.arange(result.steps + 1))
    np.testing.assert_allclose(result.loss, loss_of(result.factorization), rtol=1e-10)


@pytest.mark.parametrize("kind", ["interrupted", "stopped"])
@pytest.mark.few_on_jax("stopped")
def test_interrupting_a_sequence_ends_all_of_it(backend_name, kind):
    calls = []

    def callback(step, loss):
        calls.append(step)
        if kind == "interrupted" and len(calls) == 3:
            raise KeyboardInterrupt
        return len(calls) >= 3

    results = run([start(backend_name, seed=k) for k in range(3)], 10**7, callback=callback)
    assert len(results) == 3
    assert {one.status for one in results} == {kind}
    assert all(np.isfinite(one.loss) for one in results)


@pytest.mark.few_on_jax("jax")
def test_other_errors_of_a_callback_are_raised(backend_name):
    def callback(step, loss):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        run(start(backend_name), callback=callback)


@pytest.mark.few_on_jax("jax")
def test_progress(backend_name, capsys):
    lines = []
    run(start(backend_name), 300, progress=lines.append)
    assert "step 300 of 300" in lines[-1]
    assert "steps/s" in lines[-1]
    assert "loss" in lines[-1]
    assert "left" in lines[-1]
    assert capsys.readouterr() == ("", "")
    run(start(backend_name), 30, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert "step 30 of 30" in captured.err


# batches


@pytest.mark.few_on_jax("optimizer0")
@pytest.mark.parametrize("optimizer", [tnrank.GroupRMSProp(0.02), tnrank.Adam(0.01), tnrank.GradientDescent(0.02, 0.9)])
def test_batched_runs_are_single_runs(backend_name, optimizer):
    given = [start(backend_name, seed=k) for k in range(3)]
    record = [recorders.Loss(every=10), recorders.ComponentNorms(every=30), recorders.LearningRate(every=50)]
    together = run(given, 100, optimizer, record=record)
    for x, one in zip(given, together, strict=True):
        alone = run(x, 100, optimizer, record=record)
        assert (one.status, one.steps) == (alone.status, alone.steps)
        np.testing.assert_allclose(one.loss, alone.loss, rtol=1e-12)
        for a, b in zip(host(one.factorization), host(alone.factorization), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * abs(b).max())
        assert one.history.keys() == alone.history.keys()
        for name, trace in alone.history.items():
            np.testing.assert_array_equal(one.history[name].steps, trace.steps)
            np.testing.assert_allclose(one.history[name].values, trace.values, rtol=1e-11)


@pytest.mark.parametrize("way", ["rows", "sensing"])
def test_batched_in_the_other_ways(backend_name, way, monkeypatch):
    from tests.training.test_gradients import STARTS, observed, use

    use(way, monkeypatch)
    given = [STARTS["hierarchical"]().map(lambda a, s=s: s * a).to(backend_name) for s in (0.5, 0.7)]
    indices, values = observed(given[0], way)
    together = tnrank.complete(given, indices, values, optimizer=tnrank.GradientDescent(0.01), steps=20)
    for x, one in zip(given, together, strict=True):
        alone = tnrank.complete(x, indices, values, optimizer=tnrank.GradientDescent(0.01), steps=20)
        np.testing.assert_allclose(one.loss, alone.loss, rtol=1e-12)
        for a, b in zip(host(one.factorization), host(alone.factorization), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.few_on_jax
def test_finished_runs_are_frozen(backend_name):
    """One converges early, one diverges, one goes on to the end; none disturbs the others."""
    optimizer = tnrank.GradientDescent(0.02)
    trained = run(start(seed=1), 1500).factorization
    easy = trained.to(backend_name)
    wild = start(backend_name, seed=2).map(lambda a: 30 * a)
    slow = start(backend_name, seed=3)
    level = 0.5 * (loss_of(trained) + loss_of(run(trained, 60).factorization))
    record = [recorders.Loss(every=20)]
    together = run([easy, wild, slow], 300, optimizer, stop=level, record=record)
    assert [one.status for one in together] == ["converged", "nan", "steps"]
    for x, one in zip([easy, wild, slow], together, strict=True):
        alone = run(x, 300, optimizer, stop=level, record=record)
        assert (one.status, one.steps, one.message) == (alone.status, alone.steps, alone.message)
        np.testing.assert_allclose(one.loss, alone.loss, rtol=1e-8)
        np.testing.assert_array_equal(one.history["loss"].steps, alone.history["loss"].steps)
        np.testing.assert_allclose(one.history["loss"].values, alone.history["loss"].values, rtol=1e-8)
        for a, b in zip(host(one.factorization), host(alone.factorization), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-8 * abs(b).max())


def test_batched_with_the_frameworks_optimizers(backend_name):
    if backend_name == "numpy":
        pytest.skip("NumPy has no optimizers")
    if backend_name == "jax":
        optax = pytest.importorskip("optax")
        # the norm that clips is each run's own
        optimizer = optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.01))
    else:
        optimizer = partial(pytest.importorskip("torch").optim.Adam, lr=0.01)
    given = [start(backend_name, seed=k, std=0.3 + 0.3 * k) for k in range(3)]
    for x, one in zip(given, run(given, 40, optimizer), strict=True):
        np.testing.assert_allclose(one.loss, run(x, 40, optimizer).loss, rtol=1e-11)


def test_a_generator_of_recorders_serves_all_runs(backend_name):
    results = run([start(backend_name, seed=k) for k in range(2)], 5, record=(r for r in [recorders.Loss()]))
    assert [list(one.history) for one in results] == [["loss"], ["loss"]]


@pytest.mark.few_on_jax("jax")
def test_a_sequence_of_one(backend_name):
    (result,) = run([start(backend_name)], 20)
    np.testing.assert_allclose(result.loss, run(start(backend_name), 20).loss, rtol=1e-12)


# compilation


class Compilations(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.names = []

    def emit(self, record):
        if "Finished XLA compilation of" in record.getMessage():
            self.names.append(record.getMessage())


@pytest.fixture
def compilations():
    jax = pytest.importorskip("jax")
    handler, logger = Compilations(), logging.getLogger("jax._src.dispatch")
    kept = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    with jax.log_compiles():
        yield handler.names
    logger.removeHandler(handler)
    logger.propagate = kept


@pytest.mark.parametrize("several", [False, True])
def test_equal_structure_compiles_nothing_twice(compilations, several):
    def once(seed, generator):
        chosen = generator.permutation(len(INDICES))[:30]
        given = [start("jax", seed=seed), start("jax", seed=seed + 1)] if several else start("jax", seed=seed)
        record = [
            recorders.Loss(),
            recorders.ComponentNorms(),
            recorders.SingularValues(),
            recorders.Error(TARGET),
        ]
        return tnrank.complete(
            given,
            INDICES[chosen],
            VALUES[chosen],
            steps=100,
            record=record,
            optimizer=tnrank.GroupRMSProp(0.0123),
        )

    once(0, np.random.default_rng(0))
    assert compilations
    compilations.clear()
    once(10, np.random.default_rng(1))
    assert compilations == []


def test_a_balanced_start_compiles_nothing_new(compilations):
    optimizer = tnrank.GroupRMSProp(0.0124)
    run(start("jax"), 50, optimizer)
    x = start("jax", seed=3).balance()
    compilations.clear()
    run(x, 50, optimizer)
    assert compilations == []


@pytest.mark.parametrize("way", ["dense", "entries"])
def test_logistic_loss_finds_log_odds(backend_name, way):
    """Of probabilities at every place: their least loss is their entropy, at ``log(p / (1 - p))``."""
    shape = (4, 3) if way == "dense" else (40, 30)
    chances = np.random.default_rng(0).uniform(0.2, 0.8, shape)
    indices = np.argwhere(np.ones(shape))
    if way == "entries":
        indices = np.array([[0, 0], [1, 2], [30, 29], [17, 4], [5, 5]])
    values = chances[tuple(indices.T)]
    x = tnrank.MatrixFactorization.random(
        shape, depth=2, hidden=4, std=0.3, seed=1, backend=backend_name, dtype="float64"
    )
    found = tnrank.complete(x, indices, values, loss=tnrank.LogisticLoss(), optimizer=tnrank.Adam(0.02), steps=4000)
    outputs = x.backend.to_numpy(found.factorization.entries(indices))
    np.testing.assert_allclose(outputs, np.log(values / (1 - values)), atol=1e-5)
    entropy = -(values * np.log(values) + (1 - values) * np.log(1 - values)).mean()
    assert found.loss == pytest.approx(entropy, rel=1e-8)


def test_losses_say_what_they_are_for(backend_name):
    x = tnrank.MatrixFactorization.random((3, 3), depth=2, backend=backend_name, dtype="float64")
    for train in (partial(tnrank.complete, steps=2), partial(gradient_flow, until=0.1)):
        with pytest.raises(ValueError, match=r"CrossEntropyLoss is of the scores of several classes.*LogisticLoss\(\)"):
            train(x, [[0, 0]], [1], loss=tnrank.CrossEntropyLoss())
        with pytest.raises(ValueError, match=r"LogisticLoss needs targets in \[0, 1\].*got 2 \.\. 2"):
            train(x, [[0, 0]], [2.0], loss=tnrank.LogisticLoss())
