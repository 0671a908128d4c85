"""Losses and their gradients in every way that the objective can be computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tnrank
from tests.factorizations.strategies import dense
from tnrank.factorizations import _entries
from tnrank.training._objective import make_objective

LOSSES = {
    "mean": tnrank.SquaredLoss(),
    "half_sum": tnrank.SquaredLoss(reduction="half_sum"),
    "huber": tnrank.HuberLoss(delta=0.3),
    "smooth": tnrank.SmoothL1Loss(beta=0.4),
    "l1": tnrank.L1Loss(),
}
STARTS = {
    "matrix": lambda: tnrank.MatrixFactorization.random((4, 5), depth=3, hidden=(3, 2), seed=1),
    "cp": lambda: tnrank.CPFactorization.random((3, 4, 2), rank=3, seed=1),
    "weighted": lambda: tnrank.CPFactorization.random((3, 4, 2), rank=3, weighted=True, seed=1),
    "hierarchical": lambda: tnrank.HierarchicalFactorization.random(
        (3, 2, 2, 3), tree=((3, (0,)), (1, 2)), width=3, seed=1
    ),
    "classes": lambda: tnrank.HierarchicalFactorization.random((3, 2, 2), width=3, classes=2, seed=1),
}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


def observed(x, way, seed=0):
    """Indices, one of them twice, or measurements; and values."""
    generator = np.random.default_rng(seed)
    if way == "sensing":
        measured = tnrank.RankOneMeasurements([generator.standard_normal((9, d)) for d in x.shape])
        return measured, generator.standard_normal(9)
    indices = np.argwhere(generator.random(x.shape) < 0.6)
    values = generator.standard_normal(len(indices))
    return np.concatenate([indices, indices[:1]]), np.concatenate([values, values[:1]])


def residuals(x, indices, values):
    """Of a factorization with NumPy arrays, by definition."""
    end = dense(x)
    if isinstance(indices, tnrank.RankOneMeasurements):
        seen = []
        for rows in zip(*indices.vectors, strict=True):
            left = end
            for row in rows:
                left = np.tensordot(row, left, axes=(0, 0))
            seen.append(left)
        return np.asarray(seen) - values
    return end[tuple(indices.T)] - values


def loss_by_definition(loss, r):
    a = abs(r)
    if isinstance(loss, tnrank.SquaredLoss):
        return np.mean(r**2) if loss.reduction == "mean" else np.sum(r**2) / 2
    if isinstance(loss, tnrank.HuberLoss):
        terms = np.where(a <= loss.delta, r**2 / 2, loss.delta * (a - loss.delta / 2))
    elif isinstance(loss, tnrank.SmoothL1Loss):
        terms = np.where(a < loss.beta, r**2 / (2 * loss.beta), a - loss.beta / 2)
    else:
        terms = a
    return np.mean(terms) if loss.reduction == "mean" else np.sum(terms)


def use(way, monkeypatch):
    """Make the objective go this way."""
    if way != "sensing":
        monkeypatch.setattr(_entries, "_ROW_COST", {"rows": 0.0, "dense": np.inf}[way])


def loss_and_gradient(x, indices, values, loss):
    """From the public function: gradient descent with rate 1 subtracts the gradient."""
    options = {"loss": loss, "optimizer": tnrank.GradientDescent(1.0)}
    result = tnrank.complete(x, indices, values, steps=1, record=[tnrank.training.recorders.Loss(every=1)], **options)
    to_numpy = x.backend.to_numpy
    pairs = zip(x.arrays.values(), result.factorization.arrays.values(), strict=True)
    return result.history["loss"].values[0], [to_numpy(a) - to_numpy(b) for a, b in pairs]


@pytest.mark.parametrize("way", ["dense", "rows", "sensing"])
@losses
@starts
def test_against_finite_differences(way, loss, start, monkeypatch):
    use(way, monkeypatch)
    x = start()
    indices, values = observed(x, way)
    assert make_objective(x, indices, values, loss)[0].way == way
    value, gradients = loss_and_gradient(x, indices, values, loss)
    np.testing.assert_allclose(value, loss_by_definition(loss, residuals(x, indices, values)), rtol=1e-12)
    arrays = list(x.arrays.values())
    for k, gradient in enumerate(gradients):
        # along random directions, not one entry after the other
        for seed in range(2):
            direction = np.random.default_rng(seed).standard_normal(arrays[k].shape)
            ends = [
                loss_by_definition(
                    loss,
                    residuals(x.replace([*arrays[:k], arrays[k] + s * direction, *arrays[k + 1 :]]), indices, values),
                )
                for s in (1e-6, -1e-6)
            ]
            np.testing.assert_allclose((gradient * direction).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def independent_loss(x, indices, values, loss, xp, functional):
    """The same loss in the framework's own words: einsum over the network, and its loss function."""
    arrays = list(x.arrays.values())
    end = xp.einsum(x.network.to_einsum(), *arrays)
    if isinstance(indices, tnrank.RankOneMeasurements):
        letters = "abcdefgh"[: len(x.shape)]
        equation = ",".join([letters, *(f"m{c}" for c in letters)]) + "->m"
        seen = xp.einsum(equation, end, *(x.backend.asarray(v) for v in indices.vectors))
    else:
        seen = end[tuple(x.backend.asarray(np.ascontiguousarray(c)) for c in indices.T)]
    return functional(seen, x.backend.asarray(values), loss)


def assert_gradient(x, way, loss, wanted_of, monkeypatch):
    use(way, monkeypatch)
    indices, values = observed(x, way)
    assert make_objective(x, indices, values, loss)[0].way == way
    value, gradients = loss_and_gradient(x, indices, values, loss)
    wanted_value, wanted = wanted_of(indices, values)
    np.testing.assert_allclose(value, wanted_value, rtol=1e-12)
    for got, other in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(got, other, rtol=1e-10, atol=1e-12)


def torch_functional(got, wanted, loss):
    from torch.nn import functional

    if isinstance(loss, tnrank.SquaredLoss):
        return functional.mse_loss(got, wanted) * (1 if loss.reduction == "mean" else len(wanted) / 2)
    if isinstance(loss, tnrank.HuberLoss):
        return functional.huber_loss(got, wanted, delta=loss.delta, reduction=loss.reduction)
    if isinstance(loss, tnrank.SmoothL1Loss):
        return functional.smooth_l1_loss(got, wanted, beta=loss.beta, reduction=loss.reduction)
    return functional.l1_loss(got, wanted, reduction=loss.reduction)


@pytest.mark.parametrize("way", ["dense", "rows", "sensing"])
@losses
@starts
@pytest.mark.parametrize("backend_name", ["numpy", "torch"])
def test_against_torch_autograd(backend_name, way, loss, start, monkeypatch):
    torch = pytest.importorskip("torch")

    def wanted(indices, values):
        x = start().to("torch").map(lambda a: a.requires_grad_())
        value = independent_loss(x, indices, values, loss, torch, torch_functional)
        value.backward()
        return value.item(), [a.grad.numpy() for a in x.arrays.values()]

    assert_gradient(start().to(backend_name), way, loss, wanted, monkeypatch)


@pytest.mark.parametrize(
    ("start", "way"),
    [
        (STARTS["matrix"], "rows"),
        (STARTS["weighted"], "sensing"),
        (STARTS["hierarchical"], "dense"),
        *(
            pytest.param(STARTS[name], way, marks=pytest.mark.slow)
            for name, ways in (
                ("matrix", ("dense", "sensing")),
                ("weighted", ("dense", "rows")),
                ("hierarchical", ("rows", "sensing")),
            )
            for way in ways
        ),
    ],
)
def test_against_jax_grad(start, way, monkeypatch):
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    loss = LOSSES["huber"]

    def functional(got, wanted, loss):
        return optax.losses.huber_loss(got, wanted, delta=loss.delta).mean()

    def wanted(indices, values):
        fn = jax.value_and_grad(lambda x: independent_loss(x, indices, values, loss, jax.numpy, functional))
        value, gradient = jax.jit(fn)(start().to("jax"))
        return value, jax.tree.leaves(gradient)

    assert_gradient(start().to("jax"), way, loss, wanted, monkeypatch)


@losses
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_formulas_are_those_of_torch(loss, reduction):
    torch = pytest.importorskip("torch")
    if isinstance(loss, tnrank.SquaredLoss):
        reduction = loss.reduction
    loss = replace(loss, reduction=reduction)
    residual = np.concatenate([np.linspace(-2, 2, 41), [0.0, 0.3, -0.3, 0.4, -0.4]])
    given = torch.as_tensor(residual, dtype=torch.float64).requires_grad_()
    wanted = torch_functional(given, torch.zeros(len(residual), dtype=torch.float64), loss)
    wanted.backward()
    weights = np.full(len(residual), loss.weight(len(residual)))
    value, derivative = loss.weighted(residual, weights, np)
    np.testing.assert_allclose(value, wanted.item(), rtol=1e-14)
    np.testing.assert_allclose(derivative, given.grad, rtol=1e-14, atol=1e-17)
    np.testing.assert_allclose(value, loss_by_definition(loss, residual), rtol=1e-14)


def test_smooth_l1_is_huber_over_beta():
    r = np.linspace(-2, 2, 17)
    for width in (0.1, 1.0, 1.5):
        huber, smooth = tnrank.HuberLoss(width).terms(r, np), tnrank.SmoothL1Loss(width).terms(r, np)
        for a, b in zip(huber, smooth, strict=True):
            np.testing.assert_allclose(a, width * b, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tnrank.HuberLoss(delta=0), "delta of HuberLoss is a finite number above 0, got 0"),
        (lambda: tnrank.HuberLoss(delta=float("nan")), "delta of HuberLoss .* got nan"),
        (lambda: tnrank.SmoothL1Loss(beta=-1), r"beta of SmoothL1Loss, .* got -1"),
        (lambda: tnrank.SquaredLoss(reduction="sum"), "reduction='sum': needed one of 'mean', 'half_sum'"),
        (lambda: tnrank.L1Loss(reduction="none"), "needed one of 'mean', 'sum'"),
    ],
)
def test_wrong_losses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
