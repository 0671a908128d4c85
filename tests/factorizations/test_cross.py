"""Cross approximation: exact on tensors of low hierarchical rank, honest where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import nested_trees
from tnrank import DimensionTree, HierarchicalTucker
from tnrank.factorizations import CrossApproximation, cross_approximation

Host = np.ndarray[Any, Any]


def total(index: Host) -> Host:
    return index.sum(axis=1) * 1.0


def fresh(shape: tuple[int, ...], count: int = 300) -> Host:
    return np.random.default_rng(12345).integers(0, shape, (count, len(shape)))


def relative_error(found: CrossApproximation, function: Any) -> float:
    """At points that the approximation has not seen."""
    points = fresh(found.tensor.shape)
    values = function(points)
    return float(np.linalg.norm(found.tensor.entries(points) - values) / np.linalg.norm(values))


class Counted:
    """A function that keeps what it was asked."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, []

    def __call__(self, index: Host) -> Host:
        self.calls.append(index.copy())
        return self.function(index)

    @property
    def points(self) -> Host:
        return np.concatenate(self.calls)


KNOWN = {
    "sum": (total, 2),
    "sine of the sum": (lambda i: np.sin(total(i)), 2),
    "cube of the sum": (lambda i: total(i) ** 3, 4),
    "wave and cosine": (lambda i: np.exp(1j * total(i)) + np.cos(0.3 * total(i)), 3),
    "product": (lambda i: (1.0 + i).prod(axis=1), 1),
}
TREES = [
    DimensionTree.balanced(12),
    DimensionTree.linear(12),
    DimensionTree.balanced(12, arity=3),
    DimensionTree.windows(12, 5),
    DimensionTree(((((0, 7), 3, 11),), (1, (2, (4, (5,)))), ((6, 8), (9, 10)))),
]


@pytest.mark.parametrize(
    "tree",
    [pytest.param(tree, id=str(k), marks=pytest.mark.nightly if k in (2, 3) else ()) for k, tree in enumerate(TREES)],
)
@pytest.mark.parametrize("name", KNOWN)
def test_known_ranks_are_found_exactly(name: str, tree: DimensionTree) -> None:
    function, rank = KNOWN[name]
    found = cross_approximation(function, (6,) * 12, tree, rtol=1e-11)
    assert found.converged
    assert found.error <= 1e-11
    assert relative_error(found, function) <= 1e-10
    assert set(found.ranks.values()) == {rank}
    assert set(tnrank.hierarchical_rank(found.tensor).values()) == {rank}


@pytest.mark.parametrize("tree", [DimensionTree.balanced(6), DimensionTree.linear(6)], ids=["balanced", "linear"])
def test_maximum_from_its_corner(tree: DimensionTree) -> None:
    # Only one entry of 6^6 tells the rank 6 from 5: it has to be shown.
    found = cross_approximation(lambda i: i.max(axis=1), (6,) * 6, tree, rtol=1e-10, start=[[0] * 6])
    dense = np.stack(np.meshgrid(*[np.arange(6.0)] * 6, indexing="ij")).max(axis=0)
    assert set(tnrank.hierarchical_rank(found.tensor).values()) == {6}
    assert abs(found.tensor.to_dense() - dense).max() <= 1e-10 * 5
    assert found.evaluations < 6**6 / 4


@pytest.mark.parametrize("order", [6, 10])
def test_maximum_with_no_hint(order: int) -> None:
    # Values below 3 come at one random point in 1,000 at order 10; pivots lead to where they are.
    found = cross_approximation(lambda i: i.max(axis=1), (6,) * order, DimensionTree.linear(order), rtol=1e-10)
    assert set(tnrank.hierarchical_rank(found.tensor).values()) == {6}


def test_hilbert_tensor_to_a_tolerance() -> None:
    found = cross_approximation(lambda i: 1 / (1 + total(i)), (6,) * 6, rtol=1e-6)
    dense = 1 / (1 + sum(np.ogrid[(slice(6),) * 6]))
    assert found.converged
    assert np.linalg.norm(found.tensor.to_dense() - dense) <= 1e-6 * np.linalg.norm(dense)
    best = HierarchicalTucker.from_dense(dense, rtol=3e-7)
    assert all(rank <= best.ranks[node] for node, rank in found.ranks.items())


@pytest.mark.parametrize(
    ("kind", "tree"),
    [
        pytest.param("circuit", DimensionTree.balanced(32), id="circuit"),
        pytest.param("circuit", DimensionTree.quad(8, 8), id="circuit on a quad tree", marks=pytest.mark.slow),
        pytest.param("complex", DimensionTree.balanced(32, arity=3), id="complex, ternary", marks=pytest.mark.slow),
        pytest.param("complex", DimensionTree.linear(64), id="complex, linear", marks=pytest.mark.slow),
        pytest.param("transfer tensors", DimensionTree.windows(64), id="transfer tensors", marks=pytest.mark.slow),
    ],
)
def test_high_orders_from_entries_alone(kind: str, tree: DimensionTree) -> None:
    x: Any
    if kind == "circuit":
        x = tnrank.HierarchicalFactorization.random((5,) * tree.order, tree, width=4, std=0.5, seed=1)
    else:
        dtype = "complex128" if kind == "complex" else "float64"
        ranks = {node: 3 + node.modes[0] % 2 for node in tree.nodes}
        x = HierarchicalTucker.random((5,) * tree.order, tree, ranks, std=0.5, seed=2, dtype=dtype)
    found = cross_approximation(x.entries, x.shape, tree)
    assert found.converged
    assert relative_error(found, x.entries) <= 1e-10
    assert found.ranks == dict(tnrank.hierarchical_rank(x))
    assert dict(tnrank.hierarchical_rank(found.tensor)) == found.ranks
    assert found.tensor.dtype == x.dtype


@pytest.mark.parametrize("order", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_orders_that_no_dense_tensor_has(order: int) -> None:
    n = 5
    found = cross_approximation(lambda i: np.sin(total(i)), (n,) * order)
    assert found.error <= 1e-10
    assert found.max_error <= 1e-10
    assert set(tnrank.hierarchical_rank(found.tensor).values()) == {2}
    # The sum of sin^2 = (1 - cos 2s) / 2 over all indices; the cosines cancel to nothing.
    assert np.isclose(float(found.tensor.log_norm()), (order * np.log(n) - np.log(2)) / 2, rtol=1e-12)


@pytest.mark.parametrize("order", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_values_from_one_end_of_the_floating_point_range_to_the_other(order: int) -> None:
    # Two terms whose ratio, like the entries, spreads over tens of orders of magnitude.
    factors = np.random.default_rng(0).uniform(0.25, 1.6, (order, 3, 2))
    for scale in (1e-200, 1e200):
        found = cross_approximation(
            lambda i, s=scale: s * factors[np.arange(order), i].prod(axis=1).sum(axis=1), (3,) * order
        )
        assert found.error <= 1e-10
        assert set(found.ranks.values()) == {2}


@settings(max_examples=12)
@given(st.data())
def test_any_tree_against_the_dense_tensor(data: Any) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=6)))
    tree = DimensionTree(data.draw(nested_trees(len(shape))))
    seed = data.draw(st.integers(0, 10**6))
    dtype = data.draw(st.sampled_from(["float64", "complex128"]))
    dense = HierarchicalTucker.random(shape, tree, data.draw(st.integers(1, 3)), seed=seed, dtype=dtype).to_dense()
    function = Counted(lambda index: dense[tuple(index.T)])
    found = cross_approximation(function, shape, tree, rtol=1e-11, seed=seed)
    assert abs(found.tensor.to_dense() - dense).max() <= 1e-10 * abs(dense).max()
    assert tnrank.hierarchical_rank(found.tensor, rtol=1e-9) == tnrank.hierarchical_rank(dense, tree, rtol=1e-9)
    assert found.evaluations == len(np.unique(function.points, axis=0)) == len(function.points) <= dense.size


@pytest.mark.parametrize("orders", [(6, 12, 24), pytest.param((16, 32, 64, 128), marks=pytest.mark.slow)])
def test_evaluations_are_few_and_grow_with_the_order_alone(orders: tuple[int, ...]) -> None:
    n, k, counts = 8, 4, []
    for order in orders:
        x = HierarchicalTucker.random((n,) * order, rank=k, std=0.5, seed=0)
        found = cross_approximation(x.entries, x.shape)
        assert set(found.ranks.values()) == {k}
        counts.append(found.evaluations)
        # n or k^2 rows and k + 4 columns a node; fibers and single points where errors were looked for.
        assert counts[-1] <= (order * n + (order - 2) * k**2) * (k + 4) + 6 * order * n + 1500
    slopes = np.diff(counts) / np.diff(orders)
    assert max(slopes) <= 1.2 * min(slopes)


@pytest.mark.parametrize("budget", [1, 30, 200, 1000, 3000])
def test_the_budget_holds(budget: int) -> None:
    function = Counted(lambda i: 1 / (1 + total(i)))
    found = cross_approximation(function, (8,) * 16, rtol=1e-12, budget=budget)
    assert len(function.points) == found.evaluations <= budget
    assert found.status == "budget"
    assert not found.converged
    assert 1e-12 < found.error <= 1
    assert np.isclose(found.error, min([1.0, *(error for _, error in found.history)]), rtol=1e-6)
    if budget >= 3000:
        assert found.error < 0.1


def test_what_ends_the_search() -> None:
    def hilbert(index: Host) -> Host:
        return 1 / (1 + total(index))

    capped = cross_approximation(hilbert, (8,) * 16, max_rank=2)
    assert (capped.status, max(capped.ranks.values())) == ("max_rank", 2)
    assert 1e-8 < capped.error < 0.5
    enough = cross_approximation(lambda i: np.sin(total(i)), (8,) * 16, max_rank=2)
    assert enough.status == "converged"
    short = cross_approximation(hilbert, (8,) * 16, rtol=1e-13, sweeps=1)
    assert (short.status, len(short.history)) == ("sweeps", 2)
    assert "sweeps" in repr(short)


def test_a_tensor_that_is_zero_almost_everywhere_is_found() -> None:
    # Rectified filters: four entries of 243 are not zero, and the first random points are none of them.
    generator = np.random.default_rng(27)
    shapes = [(5, 3, 2), (3, 2, 2), (2, 2, 2), (2, 2), (2, 1)]
    leaves, level, upper, top, root = [generator.standard_normal(shape) for shape in shapes]

    def function(index: Host) -> Host:
        x = np.maximum(leaves[np.arange(5), index], 0)
        x = np.stack([x[:, 0] * x[:, 1], x[:, 2] * x[:, 3], x[:, 4]])
        x = np.maximum(x @ level, 0)
        x = np.stack([x[0] * x[1], x[2]])
        x = np.maximum(x @ upper, 0)
        return np.asarray(np.maximum((x[0] * x[1]) @ top, 0) @ root)[:, 0]

    dense = function(np.indices((3,) * 5).reshape(5, -1).T).reshape((3,) * 5)
    assert 0 < np.count_nonzero(dense) < 10
    found = cross_approximation(function, (3,) * 5)
    assert found.converged
    assert np.linalg.norm(found.tensor.to_dense() - dense) < 1e-8 * np.linalg.norm(dense)


def test_calls_are_batches_of_indices() -> None:
    function = Counted(lambda i: np.sin(total(i)))
    cross_approximation(function, (300, 4, 5, 6, 300), batch_size=70)
    assert max(len(index) for index in function.calls) == 70
    assert all(index.dtype == np.int64 and index.shape[1] == 5 for index in function.calls)
    assert len(np.unique(function.points, axis=0)) == len(function.points)
    assert (function.points.max(axis=0) == [299, 3, 4, 5, 299]).all()


def test_a_seed_means_one_result() -> None:
    first, again, other = (cross_approximation(lambda i: np.sin(total(i)), (8,) * 16, seed=s) for s in (3, 3, 4))
    assert first.evaluations == again.evaluations
    assert all((a == b).all() for a, b in zip(first.tensor._values, again.tensor._values, strict=True))
    assert any(
        a.shape != b.shape or (a != b).any() for a, b in zip(first.tensor._values, other.tensor._values, strict=True)
    )


def test_zero_and_needles() -> None:
    zero = cross_approximation(lambda i: 0 * i[:, 0], (5,) * 10)
    assert (zero.status, zero.error, set(zero.ranks.values())) == ("converged", 0.0, {1})
    assert (zero.tensor.entries(fresh((5,) * 10)) == 0).all()

    def needles(index: Host) -> Host:
        return (index == 3).all(axis=1) + 2.0 * (index == 1).all(axis=1)

    missed = cross_approximation(needles, (5,) * 20)
    assert (missed.error, float(missed.tensor.norm())) == (0.0, 0.0)  # what the documentation warns of
    found = cross_approximation(needles, (5,) * 20, start=[[3] * 20, [1] * 20])
    assert np.isclose(float(found.tensor.norm()), 5**0.5, rtol=1e-12)
    assert set(found.ranks.values()) == {2}


def test_noise_below_atol_is_no_rank() -> None:
    grid = np.linspace(-4, 4, 20)

    def bump(index: Host) -> Host:
        noise = np.sin(1e4 * np.sin(index @ np.arange(1, 7) * 12.9898))
        return np.exp(-(grid[index] ** 2).sum(axis=1)) + 1e-16 * noise

    found = cross_approximation(bump, (20,) * 6, atol=1e-15)
    assert found.converged
    assert set(found.ranks.values()) == {1}
    # Without it the far values of the bump, which are noise, count as much as others.
    assert cross_approximation(bump, (20,) * 6, budget=found.evaluations * 4).status == "budget"


def noisy(index: Host) -> Host:
    return 1e-6 * np.sin(1e4 * np.sin(index @ np.arange(1, 7) * 12.9898)) + 1 / (1 + total(index))


@pytest.mark.parametrize("atol", [3e-6, 1e-5, 1e-4])
def test_atol_loosens_the_stop_and_the_ranks(atol: float) -> None:
    found = cross_approximation(noisy, (8,) * 6, atol=atol, budget=50_000)
    assert found.converged
    assert found.evaluations < 20_000
    assert max(found.ranks.values()) <= 8
    points = fresh((8,) * 6)
    difference = found.tensor.entries(points) - 1 / (1 + total(points))
    assert np.sqrt((difference**2).mean()) <= 2 * atol


@pytest.mark.slow
def test_rtol_alone_asks_for_what_noise_does_not_allow() -> None:
    assert cross_approximation(noisy, (8,) * 6, budget=50_000).status == "budget"


def test_the_looser_of_both_tolerances_counts() -> None:
    loose = cross_approximation(noisy, (8,) * 6, rtol=1e-3, atol=1e-5)
    assert loose.converged
    assert loose.error <= 1e-3
    assert max(loose.ranks.values()) <= 5
    # An atol far below the accuracy that rtol asks for changes no rank.
    for function, rank in (KNOWN["cube of the sum"], KNOWN["sine of the sum"]):
        found = cross_approximation(function, (6,) * 12, atol=1e-14)
        assert found.converged
        assert set(found.ranks.values()) == {rank}
    # All of a function may be below it.
    assert cross_approximation(noisy, (8,) * 6, atol=10.0).converged


def test_values_of_other_backends_and_dtypes(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)

    def function(index: Host) -> Any:
        return backend.asarray(np.sin(total(index)).astype(np.float32))

    found = cross_approximation(function, (5,) * 8, rtol=2e-5)
    assert found.converged
    assert found.error <= 1e-6
    assert found.tensor.dtype == "float64"
    with pytest.raises(ValueError, match="float32 values"):
        cross_approximation(function, (5,) * 8, rtol=1e-6)
    counts = cross_approximation(lambda i: i.sum(axis=1) > 10, (5,) * 6, rtol=1e-8)
    dense = sum(np.ogrid[(slice(5),) * 6]) > 10
    assert abs(counts.tensor.to_dense() - dense).max() <= 1e-6


def test_order_one() -> None:
    found = cross_approximation(lambda i: i[:, 0] ** 2, (7,))
    assert np.allclose(found.tensor.to_dense(), np.arange(7) ** 2, atol=1e-13)


def nan_at(index: Host) -> Host:
    return np.where((index == [1, 2, 3]).all(axis=1), np.nan, 1.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cross_approximation(nan_at, (4,) * 3), ValueError, r"nan at the index \(1, 2, 3\)"),
        (lambda: cross_approximation(lambda i: np.full(len(i), np.inf), (4,) * 3), ValueError, "inf at the index"),
        (lambda: cross_approximation(lambda i: total(i)[:, None], (4,) * 3), TypeError, r"shape \(64,\)"),
        (lambda: cross_approximation(lambda i: 1.0, (4,) * 3), TypeError, "one number a row"),
        (lambda: cross_approximation(lambda i: ["a"] * len(i), (4,) * 3), TypeError, "one number a row"),
        (lambda: cross_approximation(lambda i: None, (4,) * 3), TypeError, "one number a row"),
        (lambda: cross_approximation(lambda i: [[1], [1, 2]], (4,) * 3), TypeError, "one number a row"),
        (lambda: cross_approximation(total, (4,) * 3, DimensionTree.balanced(4)), ValueError, "4 modes"),
        (lambda: cross_approximation(total, (4, 0, 2)), ValueError, "mode 1|dimension"),
        (lambda: cross_approximation(total, (4,) * 3, rtol=1e-15), ValueError, "below"),
        (lambda: cross_approximation(total, (4,) * 3, rtol=1.0), ValueError, "rtol"),
        (lambda: cross_approximation(total, (4,) * 3, rtol=None), TypeError, "rtol"),  # type: ignore[arg-type]
        (lambda: cross_approximation(total, (4,) * 3, budget=0), ValueError, "budget"),
        (lambda: cross_approximation(total, (4,) * 3, max_rank=0), ValueError, "max_rank"),
        (lambda: cross_approximation(total, (4,) * 3, test_points=0.5), TypeError, "test_points"),  # type: ignore[arg-type]
        (lambda: cross_approximation(total, (4,) * 3, atol=-1.0), ValueError, "atol"),
        (lambda: cross_approximation(total, (4,) * 3, start=[[0, 0, 4]]), ValueError, "out of range"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
