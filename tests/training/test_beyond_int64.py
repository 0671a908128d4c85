"""Tensors whose entries int64 cannot count, or with more modes than an array has axes, train like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank.factorizations._entries import codes
from tnrank.training import Checkpoint, recorders, stability_limit

LARGE, MANY = (10**5, 10**5, 10**5, 10**5), (2,) * 70
RATE, STEPS = 1e-3, 3


def problem(shape: tuple[int, ...], seed: int = 0) -> tuple[tnrank.CPFactorization, Any, Any]:
    # Entries of products of 70 numbers near 1 stay near 1.
    x = tnrank.CPFactorization.random(shape, rank=2, seed=seed, std=0.1 if shape == MANY else 1.0)
    x = x.map(lambda a: a + 1.0) if shape == MANY else x
    rng = np.random.default_rng(7)
    indices = np.stack([rng.integers(0, size, 25) for size in shape], axis=1)
    return x, indices, rng.standard_normal(25)


def loss_and_gradient(factors: Any, indices: Any, values: Any) -> tuple[float, list[Any]]:
    """The mean squared error of a CP factorization, and its gradient by the formula."""
    rows = np.stack([a[indices[:, n]] for n, a in enumerate(factors)])
    residual = rows.prod(axis=0).sum(axis=1) - values
    found = [np.zeros_like(a) for a in factors]
    for n, gradient in enumerate(found):
        others = np.delete(rows, n, axis=0).prod(axis=0)
        np.add.at(gradient, indices[:, n], 2 / len(values) * residual[:, None] * others)
    return float(np.mean(residual**2)), found


def by_hand(x: Any, indices: Any, values: Any) -> tuple[list[Any], list[float]]:
    """Gradient descent on the gathered rows, and the loss before each step and after the last."""
    factors, losses = [np.array(a) for a in x.factors], []
    for _ in range(STEPS):
        loss, gradient = loss_and_gradient(factors, indices, values)
        losses.append(loss)
        factors = [a - RATE * g for a, g in zip(factors, gradient, strict=True)]
    return factors, [*losses, loss_and_gradient(factors, indices, values)[0]]


@pytest.mark.parametrize("shape", [LARGE, MANY])
def test_training_is_plain_gradient_descent(backend_name: str, shape: tuple[int, ...]) -> None:
    if backend_name == "jax" and shape == MANY:
        pytest.skip("the next test: the program of 70 tensors takes long to compile")
    x, indices, values = problem(shape)
    factors, losses = by_hand(x, indices, values)
    seen = [recorders.Loss(1), recorders.HeldOutError(indices[:5], values[:5], every=1)]
    start = x.to(backend_name)
    optimizer = tnrank.GradientDescent(RATE)
    result = tnrank.complete(start, indices, values, optimizer=optimizer, steps=STEPS, record=seen)
    np.testing.assert_allclose(result.history["loss"].values, losses, rtol=1e-10)
    for got, wanted in zip(result.factorization.factors, factors, strict=True):
        np.testing.assert_allclose(start.backend.to_numpy(got), wanted, rtol=1e-10, atol=1e-12)
    rows = np.stack([a[indices[:, n]] for n, a in enumerate(factors)])
    entries = rows.prod(axis=0).sum(axis=1)
    np.testing.assert_allclose(start.backend.to_numpy(result.factorization.entries(indices)), entries, rtol=1e-9)
    error = np.sqrt(np.mean((entries[:5] - values[:5]) ** 2))
    np.testing.assert_allclose(result.history["held_out_error"].values[-1], error, rtol=1e-9)


@pytest.mark.slow
def test_seventy_modes_compile() -> None:
    pytest.importorskip("jax")
    x, indices, values = problem(MANY)
    _, losses = by_hand(x, indices, values)
    result = tnrank.complete(x.to("jax"), indices, values, optimizer=tnrank.GradientDescent(RATE), steps=STEPS)
    np.testing.assert_allclose(result.loss, losses[-1], rtol=1e-10)


def test_batches_and_checkpoints(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    x, indices, values = problem(MANY)
    xs = [x.to("torch"), problem(MANY, seed=1)[0].to("torch")]
    together = tnrank.complete(xs, [indices, indices[::-1]], [values, values[::-1]], steps=8)
    alone = [tnrank.complete(one, indices, values, steps=8) for one in xs]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-10)
    kept = Checkpoint(tmp_path, every=2, unit="steps")
    tnrank.complete(x, indices, values, steps=4, checkpoint=kept)
    resumed = tnrank.complete(x, indices, values, steps=8, checkpoint=kept, resume=True)
    assert resumed.loss == tnrank.complete(x, indices, values, steps=8).loss


def train_many() -> Any:
    return tnrank.TensorTrain.random(MANY, rank=2, seed=0)


@pytest.mark.parametrize(
    "make",
    [
        train_many,
        lambda: tnrank.HierarchicalTucker.from_factorization(train_many()),
        lambda: tnrank.HierarchicalFactorization.random(MANY, tnrank.DimensionTree.balanced(70), width=2, seed=0),
        lambda: tnrank.Tucker.random((10**6, 10**6, 10**5, 10**4), rank=2, seed=0),
    ],
)
def test_other_formats(make: Any) -> None:
    x = make()
    rng = np.random.default_rng(1)
    indices = np.stack([rng.integers(0, size, 12) for size in x.shape], axis=1)
    found = x.entries(indices)
    shift = np.where(np.arange(12) < 6, 0.0, 1.0) * np.abs(found).max()
    result = tnrank.complete(x, indices, found + shift, steps=0)
    np.testing.assert_allclose(result.loss, np.mean(shift**2), rtol=1e-9)


def test_modes_of_size_one_do_not_ask_for_an_array_of_seventy_axes(backend_name: str) -> None:
    x = tnrank.CPFactorization.random((3, *(1,) * 65, 4), rank=2, seed=0).to(backend_name)
    host = [x.backend.to_numpy(a) for a in x.factors]
    end = np.einsum("ir,r,jr->ij", host[0], np.prod([a[0] for a in host[1:-1]], axis=0), host[-1])
    indices = np.zeros((12, 67), int)
    indices[:, [0, -1]] = np.argwhere(np.ones((3, 4)))
    np.testing.assert_allclose(x.backend.to_numpy(x.entries(indices)), end.ravel(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("shape", [LARGE, MANY, (2**62, 2**62), (5, 2**63 - 1, 3)])
def test_an_entry_observed_twice_is_found(shape: tuple[int, ...]) -> None:
    from tnrank.factorizations._observed import checked_entries

    rng = np.random.default_rng(3)
    indices = np.stack([rng.integers(0, size, 50) for size in shape], axis=1)
    # Neighbors in the last modes are other entries: a code that wraps around would confuse them.
    near = indices.copy()
    near[:, -1] = (near[:, -1] + 1) % shape[-1]
    values = np.arange(100.0)
    indices = np.concatenate([indices, near])
    if len({tuple(row) for row in indices.tolist()}) == 100:
        checked_entries(indices, values, shape)
    again = np.concatenate([indices[:60], indices[41:42]])
    wanted = str(tuple(indices[41].tolist())).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"{wanted} is observed twice.* 41 at position 41, -1 at 60"):
        checked_entries(again, [*values[:60], -1.0], shape)
    checked_entries(again, [*values[:60], values[41]], shape)


@given(st.data())
def test_codes_order_and_identify_rows(data: Any) -> None:
    size = st.sampled_from([1, 2, 3, 2**20, 10**9, 2**40, 2**62, 2**63 - 1])
    shape = data.draw(st.lists(size, min_size=1, max_size=12))
    row = st.tuples(*(st.one_of(st.integers(0, min(d, 3) - 1), st.integers(0, d - 1)) for d in shape))
    rows = data.draw(st.lists(row, min_size=1, max_size=12))
    found = codes(np.asarray(rows, np.int64).reshape(len(rows), len(shape)), shape).tolist()
    for a, one in zip(rows, found, strict=True):
        for b, other in zip(rows, found, strict=True):
            assert ((a > b) - (a < b)) == ((one > other) - (one < other))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        (LARGE, "float32"),
        (LARGE, "float64"),
        # the Hessian takes longer than what it is for
        *(pytest.param(MANY, dtype, marks=pytest.mark.slow) for dtype in ("float32", "float64")),
    ],
)
def test_stability_limit(shape: tuple[int, ...], dtype: str) -> None:
    x, indices, values = problem(shape)
    x = x.to(dtype=dtype)
    # The slices that are observed have all the curvature: the Hessian of a factorization of those alone.
    rows = [np.unique(column, return_inverse=True) for column in indices.T]
    small = [np.float64(a[kept]) for a, (kept, _) in zip(x.factors, rows, strict=True)]
    places = np.stack([place for _, place in rows], axis=1)
    flat, cuts = np.concatenate([a.ravel() for a in small]), np.cumsum([a.size for a in small])[:-1]

    def gradient(point: Any) -> Any:
        factors = [part.reshape(-1, 2) for part in np.split(point, cuts)]
        return np.concatenate([g.ravel() for g in loss_and_gradient(factors, places, values)[1]])

    hessian = np.stack([(gradient(flat + e) - gradient(flat - e)) / 2e-5 for e in 1e-5 * np.eye(len(flat))])
    limit = 2 / float(np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1])
    np.testing.assert_allclose(stability_limit(x, indices, values), limit, rtol=2e-3)
