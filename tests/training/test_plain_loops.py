"""Training follows plain NumPy loops step by step: other orders, ragged trees, losses, depths and balanced starts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import tnrank
from tests.training import plain_loops as plain
from tnrank.training import recorders

STEPS = 600
EVERY = 40
RTOL = 1e-9
TREES = {
    (5, 2): (((0, 1), (2, 3)), ((4,),)),
    (6, 3): ((0, 1, 2), (3, 4, 5)),
    (7, 3): ((0, 1, 2), (3, 4, 5), (6,)),
    (8, 2): (((0, 1), (2, 3)), ((4, 5), (6, 7))),
    (9, 3): ((0, 1, 2), (3, 4, 5), (6, 7, 8)),
    (10, 3): (((0, 1, 2), (3, 4, 5), (6, 7, 8)), ((9,),)),
    (10, 4): ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9)),
}


@dataclass(frozen=True)
class Case:
    """One run; ``std`` is that of the weights, for balanced matrix layers that of their product."""

    kind: str
    shape: tuple[int, ...]
    widths: tuple[int, ...]
    std: float
    observed: int
    pool: int = 0
    balanced: bool = False
    loss: str = "squared"
    beta: float = 0.0
    rate: float = 0.0
    quick: bool = False

    @property
    def losses(self) -> tuple[Any, Any]:
        return {
            "squared": (plain.squared, tnrank.SquaredLoss()),
            "half_sum": (plain.half_sum, tnrank.SquaredLoss(reduction="half_sum")),
            "smooth_l1": (plain.smooth_l1(self.beta), tnrank.SmoothL1Loss(beta=self.beta or 1.0)),
        }[self.loss]

    @property
    def rates(self) -> tuple[Any, Any]:
        if self.rate:
            return plain.constant(self.rate), tnrank.GradientDescent(self.rate)
        return plain.group_rmsprop(), tnrank.GroupRMSProp(1e-2)


# One rounding of the initial weights moves the loss of each of these runs by less than 1e-13 in 600 steps. Others, that
# wait at a saddle while the adaptive rate ripples, move by 1e-2: no implementation follows those.
CASES = {
    "mf depth 1": Case("mf", (14, 9), (), 0.05, 70),
    "mf depth 2 balanced": Case("mf", (9, 14), (9,), 0.01, 80, balanced=True),
    "mf depth 4": Case("mf", (12, 7), (9, 11, 8), 0.2, 50, quick=True),
    "mf depth 4 balanced, smooth l1": Case(
        "mf", (7, 12), (7,) * 3, 1e-2, 50, balanced=True, loss="smooth_l1", beta=0.5
    ),
    "mf 3 x 3 depth 4, descent": Case("mf", (3, 3), (3,) * 3, 0.3, 8, loss="half_sum", rate=0.01),
    "mf 2 x 2 depth 4, balanced descent": Case(
        "mf", (2, 2), (2,) * 3, 0.1, 3, balanced=True, loss="half_sum", rate=0.01
    ),
    "cp order 3, smooth l1": Case("cp", (7, 5, 6), (42,), 0.05, 120, loss="smooth_l1", beta=0.2, quick=True),
    "cp order 4 balanced": Case("cp", (5, 4, 3, 5), (60,), 0.1, 150, balanced=True),
    "cp order 5": Case("cp", (3, 4, 3, 4, 3), (36,), 0.2, 220),
    "cp order 5 balanced, smooth l1": Case("cp", (3,) * 5, (81,), 0.2, 120, balanced=True, loss="smooth_l1", beta=1.0),
    "htf order 5 pool 2": Case("htf", (4,) * 5, (9, 8, 7), 0.3, 500, pool=2),
    "htf order 5 pool 2 balanced": Case("htf", (4, 3, 5, 3, 4), (9, 8, 7), 0.3, 350, pool=2, balanced=True),
    "htf order 6 pool 3 balanced, smooth l1": Case(
        "htf", (3,) * 6, (8, 8), 0.5, 300, pool=3, balanced=True, loss="smooth_l1", beta=1.0
    ),
    "htf order 7 pool 3, smooth l1": Case(
        "htf", (3,) * 7, (7, 6), 0.3, 600, pool=3, loss="smooth_l1", beta=0.5, quick=True
    ),
    "htf order 7 pool 3, few observed": Case("htf", (5,) * 7, (7, 6), 0.3, 60, pool=3),
    "htf order 8 pool 2": Case("htf", (2,) * 8, (6, 6, 6), 0.4, 128, pool=2),
    "htf order 9 pool 3": Case("htf", (2,) * 9, (8, 8), 0.4, 256, pool=3),
    "htf order 10 pool 3 balanced": Case("htf", (2,) * 10, (6, 6, 4), 0.5, 300, pool=3, balanced=True),
    "htf order 10 pool 4": Case("htf", (2,) * 10, (6, 6), 0.5, 400, pool=4),
}


def starting_model(case: Case, std: float, widths: tuple[int, ...], seed: int) -> Any:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return std * rng.standard_normal(shape)

    if case.kind == "mf":
        sizes = (case.shape[0], *widths, case.shape[1])
        if case.balanced and seed == 0:
            end = draw(*case.shape)
            end *= np.sign(np.linalg.det(end)) if case.shape == (2, 2) else 1
            return plain.Matrix(plain.balanced_matrix(end, len(widths) + 1))
        return plain.Matrix([draw(a, b) for a, b in itertools.pairwise(sizes)])
    if case.kind == "cp":
        factors = [draw(d, widths[0]) for d in case.shape]
        return plain.CP(plain.balanced_cp(factors) if case.balanced else factors)
    counts = [len(case.shape)]
    while counts[-1] > 1:
        counts.append(-(-counts[-1] // case.pool))
    levels = [[draw(d, widths[0]) for d in case.shape]]
    for number, count in enumerate(counts[1:-1]):
        levels.append([draw(widths[number], widths[number + 1]) for _ in range(count)])
    root = draw(widths[-1], 1)
    return (plain.balanced_hierarchy if case.balanced else plain.Hierarchy)(levels, root, case.pool)


def target_of(case: Case) -> np.ndarray:
    """A random tensor of low rank, with entries of mean square 1."""
    if case.loss == "half_sum":
        return np.eye(case.shape[0])[::-1].copy()
    small = tuple(2 for _ in case.widths) if case.kind != "cp" else (3,)
    dense = plain.end_tensor(starting_model(case, 1.0, small, seed=1))
    return dense * np.sqrt(dense.size) / np.linalg.norm(dense)


def observed_of(case: Case) -> np.ndarray:
    every = np.array(list(itertools.product(*map(range, case.shape))))
    if case.loss == "half_sum":
        return every[1:]
    return every[np.random.default_rng(2).permutation(len(every))[: case.observed]]


@cache
def plain_run(name: str) -> Any:
    case = CASES[name]
    target, at = target_of(case), observed_of(case)
    y = target[tuple(at.T)]
    model = starting_model(case, case.std, case.widths, seed=0)
    before = [a.copy() for a in model.weights]
    found = plain.train(model, at, y, case.losses[0], case.rates[0], STEPS, EVERY, target)
    return target, at, y, before, found, model


def factorization(case: Case, weights: list[np.ndarray]) -> tnrank.Factorization:
    if case.kind == "mf":
        return tnrank.MatrixFactorization(weights)
    if case.kind == "cp":
        return tnrank.CPFactorization(weights)
    tree = tnrank.DimensionTree(TREES[len(case.shape), case.pool])
    assert tree == tnrank.DimensionTree.windows(len(case.shape), case.pool)
    # Within a level both go from the first modes to the last.
    return tnrank.HierarchicalFactorization(tree, dict(zip(tree.nodes, weights, strict=True)))


def assert_close(got: Any, wanted: Any, what: str) -> None:
    """Up to the tolerance times the largest entry: small singular values carry the rounding of the largest."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.shape == wanted.shape, what
    error = abs(got - wanted).max() / abs(wanted).max()
    assert error <= RTOL, f"{what}: off by {error:.1e}"


def matricized(end: np.ndarray, modes: tuple[int, ...]) -> np.ndarray:
    moved = np.moveaxis(end, modes, range(len(modes)))
    return np.linalg.svd(moved.reshape(np.prod(moved.shape[: len(modes)]), -1), compute_uv=False)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if c.quick else pytest.mark.slow) for n, c in CASES.items()])
def test_every_step(backend_name: str, name: str) -> None:
    case = CASES[name]
    target, at, y, before, (losses, rates, rows), after = plain_run(name)
    assert losses[-1] < 0.9 * losses[0], "a run that stays where it starts shows nothing"
    x = factorization(case, before).to(backend_name)
    if case.balanced:
        assert x.unbalancedness() < 1e-9
    record = [recorders.Loss(every=1), recorders.LearningRate(every=1), recorders.Error(target, every=EVERY)]
    record += [recorders.ComponentNorms(top=10, every=EVERY), recorders.SingularValues(top=10, every=EVERY)]
    result = tnrank.complete(x, at, y, loss=case.losses[1], optimizer=case.rates[1], steps=STEPS, record=record)
    assert (result.status, result.steps) == ("steps", STEPS)
    history = {name: trace.values for name, trace in result.history.items()}
    np.testing.assert_allclose(history["loss"], losses, rtol=RTOL)
    np.testing.assert_allclose(history["learning_rate"][1:], rates, rtol=RTOL)
    np.testing.assert_allclose(history["error"], [error for error, _, _ in rows], rtol=RTOL)
    for k, (_, norms, end) in enumerate(rows):
        step = f"at step {k * EVERY}"
        if case.kind == "htf":
            nodes = {(node.height, node.modes): node for node in x.tree.interior}
            for (level, position), modes in after.modes().items():
                got = history["component_norms"][nodes[level, modes]][k]
                assert_close(got, norms[level, position][:10], f"component norms of {modes} {step}")
        else:
            assert_close(history["component_norms"][k], norms["end"][:10], f"component norms {step}")
        spectra = history["singular_values"]
        for modes, s in spectra.items() if isinstance(spectra, dict) else [((0,), spectra)]:
            assert_close(s[k], matricized(end, modes)[:10], f"singular values of {modes} {step}")
    for got, wanted in zip(result.factorization._values, after.weights, strict=True):
        assert_close(x.backend.to_numpy(got), wanted, "weights at the end")


@pytest.mark.parametrize(
    "name", ["mf depth 1", "mf depth 4", "cp order 5", "htf order 5 pool 2", "htf order 10 pool 4"]
)
@pytest.mark.parametrize("loss", [plain.squared, plain.half_sum, plain.smooth_l1(0.7)])
def test_the_gradients_of_the_plain_loops_are_differences_of_their_losses(name: str, loss: Any) -> None:
    case = CASES[name]
    model = starting_model(case, 0.7, case.widths, seed=0)
    at = observed_of(case)[:40]
    y = np.random.default_rng(3).standard_normal(len(at))

    def level() -> float:
        return loss(model.forward(at)[0] - y)[0]

    values, kept = model.forward(at)
    gradients = model.backward(at, kept, loss(values - y)[1])
    rng = np.random.default_rng(4)
    for weights, gradient in zip(model.weights, gradients, strict=True):
        direction = rng.standard_normal(weights.shape)
        kept_weights, size, found = weights.copy(), 1e-6, []
        for sign in (1, -1):
            weights[:] = kept_weights + sign * size * direction
            found.append(level())
        weights[:] = kept_weights
        difference = (found[0] - found[1]) / (2 * size)
        np.testing.assert_allclose((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-8 * abs(gradient).max())
