"""Optimizers of optax and torch that evaluate the loss themselves get it, each run of a batch for itself."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.training import Checkpoint, recorders

RIDGE = np.asarray([[3.0, 1.0, 0.5], [1.0, 2.0, 0.3], [0.2, 0.1, 1.0], [0.7, 0.4, 2.0]])


def least_squares(backend: str) -> tuple[Any, Any, Any, Any]:
    """A factorization of one array with rank-one measurements: linear least squares, and its exact solution."""
    values = np.asarray([1.0, -2.0, 0.5, 3.0])
    x = tnrank.MatrixFactorization([np.zeros((3, 1))]).to(backend)
    return x, tnrank.RankOneMeasurements([RIDGE, np.ones((4, 1))]), values, np.linalg.lstsq(RIDGE, values)[0]


def entries_problem(backend: str, seed: int = 0) -> tuple[Any, Any, Any]:
    x = tnrank.MatrixFactorization.random((3, 4), depth=2, std=0.5, seed=seed, dtype="float64").to(backend)
    indices = np.argwhere(np.ones((3, 4)))[:11]
    return x, indices, np.random.default_rng(5).standard_normal(11)


def optimizers(backend: str) -> list[Any]:
    if backend == "torch":
        torch = pytest.importorskip("torch")
        exact = partial(torch.optim.LBFGS, tolerance_grad=1e-12, tolerance_change=1e-14)
        return [exact, partial(exact, line_search_fn="strong_wolfe")]
    optax = pytest.importorskip("optax")
    return [optax.lbfgs()]


@pytest.mark.few_on_jax("jax")
@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_lbfgs_finds_the_least_squares_solution(backend_name: str) -> None:
    for optimizer in optimizers(backend_name):
        x, measured, values, wanted = least_squares(backend_name)
        result = tnrank.complete(x, measured, values, optimizer=optimizer, steps=40)
        found = x.backend.to_numpy(result.factorization.to_dense())[:, 0]
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_lbfgs_reaches_what_scipys_reaches(backend_name: str) -> None:
    from scipy.optimize import minimize

    x, indices, values = entries_problem(backend_name)
    mask, target = np.zeros((3, 4)), np.zeros((3, 4))
    mask[tuple(indices.T)], target[tuple(indices.T)] = 1 / 11, values
    # An over-determined fit by two vectors: a minimum above 0.
    x = x.replace([a[..., :1] if a.shape[1] == 3 else a[:1] for a in x.arrays.values()])
    shapes = [tuple(a.shape) for a in x.arrays.values()]
    names = [f"{a}x{b}" for a, b in shapes]
    assert sorted(names) == ["1x4", "3x1"]

    def loss(flat: Any) -> float:
        column, row = flat[:3], flat[3:]
        return float((mask * (np.outer(column, row) - target) ** 2).sum())

    wanted = minimize(loss, np.full(7, 0.5), method="L-BFGS-B", tol=1e-14).fun
    best = min(wanted, *(minimize(loss, np.random.default_rng(k).standard_normal(7)).fun for k in range(3)))
    result = tnrank.complete(x, indices, values, optimizer=optimizers(backend_name)[-1], steps=80)
    np.testing.assert_allclose(result.loss, best, rtol=1e-6)


@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_each_run_of_a_batch_has_its_own_line_search(backend_name: str) -> None:
    optimizer = optimizers(backend_name)[-1]
    x, indices, values = entries_problem(backend_name)
    other = entries_problem(backend_name, seed=1)[0].map(lambda a: 30 * a)
    record = [recorders.Loss(every=1)]
    # The whole and part of the entries: each run has observations of its own, too.
    seen = [(x, indices, values), (other, indices[:9], values[:9])]
    alone = [tnrank.complete(*one, optimizer=optimizer, steps=6, record=record) for one in seen]
    starts, places, numbers = (list(column) for column in zip(*seen, strict=True))
    together = tnrank.complete(starts, places, numbers, optimizer=optimizer, steps=6, record=record)
    for one, wanted in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.history["loss"].values, wanted.history["loss"].values, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_a_resumed_run_is_the_same_bit_for_bit(backend_name: str, tmp_path: Path) -> None:
    optimizer = optimizers(backend_name)[-1]
    x, indices, values = entries_problem(backend_name)
    kept = Checkpoint(tmp_path, every=3, unit="steps")
    straight = tnrank.complete([x, x], indices, values, optimizer=optimizer, steps=6)
    tnrank.complete([x, x], indices, values, optimizer=optimizer, steps=3, checkpoint=kept)
    resumed = tnrank.complete([x, x], indices, values, optimizer=optimizer, steps=6, checkpoint=kept, resume=True)
    for one, other in zip(straight, resumed, strict=True):
        for a, b in zip(one.factorization.arrays.values(), other.factorization.arrays.values(), strict=True):
            np.testing.assert_array_equal(np.asarray(x.backend.to_numpy(a)), x.backend.to_numpy(b))


@pytest.mark.parametrize(
    "kind", ["line search", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("polyak", "plateau"))]
)
def test_what_steps_from_the_loss_trains_as_by_hand(kind: str) -> None:
    optax = pytest.importorskip("optax")
    import jax

    x, indices, values = entries_problem("jax")

    def loss(arrays: Any) -> Any:
        moved = x.replace(list(arrays))
        return jax.numpy.mean((moved.to_dense()[tuple(indices.T)] - values) ** 2)

    optimizer = {
        "polyak": lambda: optax.polyak_sgd(),
        "line search": lambda: optax.chain(
            optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)
        ),
        "plateau": lambda: optax.chain(optax.adam(1e-2), optax.contrib.reduce_on_plateau(patience=1, factor=0.5)),
    }[kind]()
    arrays = tuple(x.arrays.values())
    state = optimizer.init(arrays)

    @jax.jit
    def step(arrays: Any, state: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(arrays)
        updates, state = optimizer.update(gradient, state, arrays, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(arrays, updates), state

    for _ in range(5):
        arrays, state = step(arrays, state)
    result = tnrank.complete(x, indices, values, optimizer=optimizer, steps=5)
    np.testing.assert_allclose(result.loss, float(loss(arrays)), rtol=1e-10)


def test_a_closure_is_evaluated_where_a_foreign_optimizer_calls_it() -> None:
    torch = pytest.importorskip("torch")

    class Extragradient(torch.optim.SGD):  # type: ignore[misc,name-defined]
        """Looks ahead by ``.data``, which no version counter of torch sees, before it asks for the gradient."""

        def step(self, closure: Any = None) -> Any:
            (group,) = self.param_groups
            before = [p.clone() for p in group["params"]]
            for p in group["params"]:
                p.data -= 0.1 * p.grad
            loss = closure()
            for p, old in zip(group["params"], before, strict=True):
                p.data.copy_(old - 0.1 * p.grad)
            return loss

    x, measured, values, _ = least_squares("torch")
    w = np.zeros(3)
    for _ in range(4):
        ahead = w - 0.1 * 2 / 4 * RIDGE.T @ (RIDGE @ w - values)
        w = w - 0.1 * 2 / 4 * RIDGE.T @ (RIDGE @ ahead - values)
    for start in (x, [x, x]):
        found = tnrank.complete(start, measured, values, optimizer=Extragradient, steps=4)
        last = (found if start is x else found[1]).factorization
        np.testing.assert_allclose(x.backend.to_numpy(last.to_dense())[:, 0], w, rtol=1e-12)


@pytest.mark.parametrize("name", ["Rprop", "Adagrad", "ASGD", "Adafactor", "Muon"])
def test_batches_of_other_optimizers_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    kind = getattr(torch.optim, name, None)
    if kind is None:
        pytest.skip(f"this torch has no {name}")
    x, indices, values = entries_problem("torch")
    other = entries_problem("torch", seed=1)[0]
    together = tnrank.complete([x, other], indices, values, optimizer=kind, steps=8)
    for start, result in zip((x, other), together, strict=True):
        alone = tnrank.complete(start, indices, values, optimizer=kind, steps=8)
        np.testing.assert_allclose(result.loss, alone.loss, rtol=1e-12)


def refused(backend: str) -> list[tuple[Any, str]]:
    if backend == "torch":
        torch = pytest.importorskip("torch")
        return [
            (torch.optim.SparseAdam, "SparseAdam is for sparse gradients"),
            (torch.optim.Adam([torch.ones(2)]), "a Adam that holds parameters already, needed its class"),
            (partial(torch.optim.Adam, lr=-1.0), "Adam cannot be made .*: Invalid learning rate"),
            (lambda leaves: 3, "made a int, needed a torch.optim.Optimizer"),
            (torch.nn.Linear, "Linear cannot be made"),
            (tnrank.Adam, r"got the class Adam, needed an optimizer: tnrank.Adam\(1e-2\)"),
        ]
    optax = pytest.importorskip("optax")
    needy = optax.GradientTransformationExtraArgs(lambda p: (), lambda g, s, p=None, *, hessian, **_: (g, s))
    return [
        (optax.adam, "got the optimizer a function on the jax backend: needed .* optax.adam"),
        (optax.GradientTransformation, "got the optimizer the class GradientTransformation"),
        (optax.lookahead(optax.sgd(0.1), 5, 0.5), "does not move a tuple of arrays .*fast"),
        (needy, re.escape("value_fn and grad_fn, which is all that complete has") + ".*hessian"),
        (tnrank.GroupRMSProp, "got the class GroupRMSProp"),
    ]


@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_what_cannot_train_is_refused_in_a_sentence(backend_name: str) -> None:
    x, indices, values = entries_problem(backend_name)
    for optimizer, said in refused(backend_name):
        with pytest.raises(TypeError, match=said):
            tnrank.complete(x, indices, values, optimizer=optimizer, steps=2)
