"""Our optimizers against formulas and frameworks; the frameworks' own inside complete."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import tnrank
from tests.training.test_gradients import observed
from tnrank.training import recorders

STEPS = 60


def start(backend="numpy"):
    return tnrank.CPFactorization.random((3, 4, 3), rank=3, std=0.7, seed=2, dtype="float64").to(backend)


def run(x, optimizer, steps=STEPS):
    indices, values = observed(start(), "dense")
    record = [recorders.Loss(every=1), recorders.LearningRate(every=1)]
    return tnrank.complete(x, indices, values, optimizer=optimizer, steps=steps, record=record)


def by_torch(make_optimizer, steps=STEPS):
    """A plain torch loop over the same problem: losses and the last arrays."""
    torch = pytest.importorskip("torch")
    indices, values = observed(start(), "dense")
    x = start("torch").map(lambda a: a.clone().requires_grad_())
    arrays = list(x.arrays.values())
    optimizer = make_optimizer(arrays)
    losses = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        end = torch.einsum("ar,br,cr->abc", *arrays)
        loss = torch.nn.functional.mse_loss(end[tuple(torch.as_tensor(indices.T))], torch.as_tensor(values))
        losses.append(loss.item())
        loss.backward()
        if len(losses) <= steps:
            optimizer.step()
    return losses, [a.detach().numpy() for a in arrays]


def assert_same_run(result, losses, arrays, rtol=1e-10):
    np.testing.assert_allclose(result.history["loss"].values, losses, rtol=rtol)
    x = result.factorization
    for got, wanted in zip(x.arrays.values(), arrays, strict=True):
        np.testing.assert_allclose(x.backend.to_numpy(got), wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.few_on_jax("0.9")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradient_descent_is_sgd(backend_name, momentum):
    torch = pytest.importorskip("torch")
    result = run(start(backend_name), tnrank.GradientDescent(0.05, momentum=momentum))
    assert_same_run(result, *by_torch(partial(torch.optim.SGD, lr=0.05, momentum=momentum)))


def test_adam_is_torchs(backend_name):
    torch = pytest.importorskip("torch")
    result = run(start(backend_name), tnrank.Adam(0.02, beta1=0.8, beta2=0.95, eps=1e-6))
    assert_same_run(result, *by_torch(partial(torch.optim.Adam, lr=0.02, betas=(0.8, 0.95), eps=1e-6)))


def test_adam_is_optaxs():
    optax = pytest.importorskip("optax")
    ours = run(start("jax"), tnrank.Adam(0.02))
    theirs = run(start("jax"), optax.adam(0.02))
    assert_same_run(theirs, ours.history["loss"].values, [np.asarray(a) for a in ours.factorization.arrays.values()])


@pytest.mark.few_on_jax("0.1")
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_group_rmsprop_by_its_formula(backend_name, weight_decay):
    indices, values = observed(start(), "dense")
    arrays = [a.copy() for a in start().arrays.values()]
    at, v, losses, rates = tuple(indices.T), 0.0, [], [0.0]
    for t in range(1, STEPS + 2):
        end = np.einsum("ar,br,cr->abc", *arrays)
        residual = end[at] - values
        losses.append(np.mean(residual**2))
        seen = np.zeros_like(end)
        np.add.at(seen, at, 2 * residual / len(values))
        a, b, c = arrays
        gradients = [
            np.einsum("abc,br,cr->ar", seen, b, c),
            np.einsum("abc,ar,cr->br", seen, a, c),
            np.einsum("abc,ar,br->cr", seen, a, b),
        ]
        gradients = [g + weight_decay * p for g, p in zip(gradients, arrays, strict=True)]
        v = 0.9 * v + 0.1 * sum((g**2).sum() for g in gradients)
        rate = 0.03 / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)
        if t <= STEPS:
            rates.append(rate)
            arrays = [p - rate * g for p, g in zip(arrays, gradients, strict=True)]
    optimizer = tnrank.GroupRMSProp(0.03, decay=0.9, eps=1e-3, weight_decay=weight_decay)
    result = run(start(backend_name), optimizer)
    assert_same_run(result, losses, arrays)
    np.testing.assert_allclose(result.history["learning_rate"].values, rates, rtol=1e-10)


def test_constant_rates_are_recorded(backend_name):
    rates = run(start(backend_name), tnrank.GradientDescent(0.05), steps=3).history["learning_rate"]
    np.testing.assert_allclose(rates.values[1:], 0.05)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "AdamW"])
def test_torch_optimizers_inside_complete(name):
    torch = pytest.importorskip("torch")
    make = partial(getattr(torch.optim, name), lr=0.01)
    result = run(start("torch"), make)
    assert_same_run(result, *by_torch(make))
    assert np.isnan(result.history["learning_rate"].values).all()
    # a class, and any function of the parameters
    assert run(start("torch"), torch.optim.Adam, steps=2).steps == 2
    assert run(start("torch"), lambda parameters: torch.optim.SGD(parameters, lr=0.1), steps=2).steps == 2


def test_optax_transformations_inside_complete():
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(optax.cosine_decay_schedule(0.05, STEPS)))
    result = run(start("jax"), optimizer)
    indices, values = observed(start(), "dense")
    x = start("jax")
    state = optimizer.init(x)
    losses = []

    def loss(x):
        return ((jax.numpy.einsum("ar,br,cr->abc", *x.factors)[tuple(indices.T)] - values) ** 2).mean()

    @jax.jit
    def step(x, state):
        value, gradient = jax.value_and_grad(loss)(x)
        updates, state = optimizer.update(gradient, state, x)
        return value, optax.apply_updates(x, updates), state

    for _ in range(STEPS + 1):
        value, y, state = step(x, state)
        losses.append(float(value))
        x = y if len(losses) <= STEPS else x
    assert_same_run(result, losses, [np.asarray(a) for a in x.factors])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: tnrank.GradientDescent(0.0),
            "learning_rate of GradientDescent is a finite number above 0, got 0.0",
        ),
        (lambda: tnrank.GradientDescent(0.1, momentum=1.0), r"momentum=1.0: needed a number in \[0, 1\)"),
        (lambda: tnrank.GroupRMSProp(-1.0), "learning_rate of GroupRMSProp is a finite number above 0, got -1.0"),
        (lambda: tnrank.GroupRMSProp(0.1, decay=1.0), "decay=1.0"),
        (lambda: tnrank.Adam(float("nan")), "learning_rate of Adam is .* got nan"),
        (lambda: tnrank.Adam(0.1, beta2=1.0), "beta2=1.0"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("optimizer", ["adam", object(), 0.1])
def test_unknown_optimizers(backend_name, optimizer):
    with pytest.raises(TypeError, match=rf"got the optimizer .* on the {backend_name} backend: needed .*GroupRMSProp"):
        run(start(backend_name), optimizer)


def test_optimizers_of_another_framework():
    optax, torch = pytest.importorskip("optax"), pytest.importorskip("torch")
    with pytest.raises(TypeError, match="on the torch backend: needed"):
        run(start("torch"), optax.adam(1e-2))
    with pytest.raises(TypeError, match="on the jax backend: needed"):
        run(start("jax"), torch.optim.Adam)
    with pytest.raises(TypeError, match="on the numpy backend: needed"):
        run(start("numpy"), optax.adam(1e-2))
