"""Tensors with known ranks, dense and in a format at orders that no dense tensor has, and the laws of ranks."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import CPFactorization, DimensionTree, HierarchicalTucker
from tnrank.factorizations import sum_of
from tnrank.ranks import (
    hierarchical_rank,
    hierarchical_singular_values,
    multilinear_rank,
    rank_report,
    separation_rank,
    tt_ranks,
)


def random_cp(order: int) -> CPFactorization:
    """Three components of norm 1, whose factors have angles that do not vanish with the order."""
    rng = np.random.default_rng(order)
    columns = [rng.standard_normal((5, 3)) for _ in range(order)]
    return CPFactorization([a / np.linalg.norm(a, axis=0) for a in columns])


def total(order: int) -> CPFactorization:
    """x_1 + .. + x_d on a grid of [0, 1]: d components."""
    x = np.linspace(0, 1, 4)
    return CPFactorization([np.stack([x if k == n else x**0 for k in range(order)], axis=1) for n in range(order)])


def waves(order: int, terms: dict[float, complex]) -> CPFactorization:
    """The sum of ``weight * exp(i frequency (x_1 + .. + x_d))``."""
    x = np.linspace(0, 1, 5)
    columns = np.stack([np.exp(1j * f * x) for f in terms], axis=1)
    return CPFactorization([columns] * order, np.array(list(terms.values()), complex))


def sine(order: int) -> CPFactorization:
    return waves(order, {1: -0.5j, -1: 0.5j})


def squared_sine(order: int) -> CPFactorization:
    return waves(order, {0: 0.5, 2: -0.25, -2: -0.25})


def squared_cosine(order: int) -> CPFactorization:
    return waves(order, {0: 0.5, 2: 0.25, -2: 0.25})


def cancelling(order: int) -> CPFactorization:
    """exp(-|x|^2) + sin^2 + cos^2 with 1 + 3 + 3 components."""
    x = np.linspace(0, 1, 5)
    bell = CPFactorization([np.exp(-(x**2))[:, None] + 0j] * order)
    return sum_of([bell, squared_sine(order), squared_cosine(order)])


def maximum(order: int) -> CPFactorization:
    """max(i_1, .., i_d) for i from 1 to 6: 6 - sum over k of the indicator that all are at most k."""
    below = np.stack([np.ones(6), *((np.arange(1, 7) <= k) * 1.0 for k in range(1, 6))], axis=1)
    return CPFactorization([below] * order, np.array([6.0, -1, -1, -1, -1, -1]))


def ghz(order: int) -> CPFactorization:
    return CPFactorization([np.eye(2)] * order)


def w_state(order: int) -> CPFactorization:
    rows = np.eye(order)
    return CPFactorization([np.stack([1 - rows[n], rows[n]]) for n in range(order)])


def strassen() -> CPFactorization:
    """<2,2,2>, the form trace(ABC), by seven multiplications."""
    a = [[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 0], [-1, 0, 1, 0], [0, 1, 0, -1]]
    b = [[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]]
    c = [[1, 0, 0, 1], [0, 1, 0, -1], [0, 0, 1, 1], [1, 1, 0, 0], [-1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    return CPFactorization([np.array(m, float).T for m in (a, b, c)])


def over_permutations(order: int, signed: bool) -> CPFactorization:
    """The determinant (signed) or the permanent as a form on the rows of a matrix: one component a permutation."""
    listed = list(itertools.permutations(range(order)))
    signs = [(-1.0) ** sum(a > b for a, b in itertools.combinations(p, 2)) if signed else 1.0 for p in listed]
    return CPFactorization([np.eye(order)[:, [p[n] for p in listed]] for n in range(order)], np.array(signs))


def grid(order: int, size: int) -> np.ndarray[Any, Any]:
    points = np.linspace(0, 1, size)
    return sum(np.ix_(*[points] * order)) + np.zeros((size,) * order)


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(x.to_dense())


# format of order d, its dense definition or None, d for the dense comparison, d for the format alone, the rank
KNOWN: dict[str, tuple[Any, Any, int, int, int]] = {
    "random CP, R = 3": (random_cp, None, 5, 80, 3),
    "sum of x_i": (total, lambda d: grid(d, 4), 5, 40, 2),
    "sin": (sine, lambda d: np.sin(grid(d, 5)), 4, 100, 2),
    "sin^2": (squared_sine, lambda d: np.sin(grid(d, 5)) ** 2, 4, 40, 3),
    "cancellation": (
        cancelling,
        lambda d: np.exp(-sum(np.ix_(*[np.linspace(0, 1, 5) ** 2] * d))) + 1.0,
        5,
        30,
        2,
    ),
    "maximum, n = 6": (maximum, lambda d: np.indices((6,) * d).max(axis=0) + 1.0, 4, 10, 6),
    "GHZ": (ghz, None, 6, 150, 2),
    "W": (w_state, None, 6, 50, 2),
}

LONG = ("sum of x_i", "W")
"""Two whose dense tensors are decomposed at many bipartitions."""


@pytest.mark.parametrize("method", ["qr", "gram"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else ()) for n in KNOWN])
def test_one_rank_at_every_bipartition(name: str, method: str) -> None:
    make, dense, small, large, rank = KNOWN[name]
    x = make(small)
    tensor = host(x)
    if dense is not None:
        np.testing.assert_allclose(tensor, dense(small), atol=1e-13 * abs(tensor).max())
    rtol = 1e-6 if method == "gram" else None
    for given_one in (tensor, x):
        for count in range(1, small):
            for modes in itertools.combinations(range(small), count):
                assert separation_rank(given_one, modes, rtol=rtol, method=method) == rank
    high = make(large)
    for tree in (DimensionTree.balanced(large), DimensionTree.linear(large), DimensionTree.balanced(large, arity=5)):
        assert set(hierarchical_rank(high, tree, rtol=rtol, method=method).values()) == {rank}
    assert set(tt_ranks(high, rtol=rtol, method=method)) == {rank}


def test_cube_of_the_sum() -> None:
    assert set(hierarchical_rank(grid(5, 5) ** 3).values()) == {4}
    x = HierarchicalTucker.from_factorization(total(24)).truncate().tensor
    assert max(x.ranks.values()) == 2
    cube = x * x * x
    assert max(cube.ranks.values()) == 8
    for tree in (None, DimensionTree.star(24)):
        assert set(hierarchical_rank(cube, tree, rtol=1e-12).values()) == {4}


@pytest.mark.parametrize("name", ["<2,2,2>", "det_3", "perm_3"])
def test_three_modes(name: str) -> None:
    if name == "<2,2,2>":
        x, rank = strassen(), 4
        form = np.einsum("il,jm,kn->ijmknl", *[np.eye(2)] * 3).reshape(4, 4, 4)  # a_ij b_jk c_ki
        assert np.array_equal(host(x), form)
    else:
        x, rank = over_permutations(3, name == "det_3"), 3
    assert multilinear_rank(x) == multilinear_rank(host(x)) == (rank,) * 3
    assert multilinear_rank(HierarchicalTucker.from_dense(host(x))) == (rank,) * 3


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("order", [3, 4, 5])
def test_determinants_and_permanents(order: int, signed: bool) -> None:
    x = over_permutations(order, signed)
    dense = host(x)
    if order == 3:
        matrix = np.random.default_rng(0).standard_normal((3, 3))
        value = np.einsum("abc,a,b,c->", dense, *matrix)
        assert not signed or value == pytest.approx(np.linalg.det(matrix))
    for count in range(1, order):
        for modes in itertools.combinations(range(order), count):
            assert separation_rank(dense, modes) == math.comb(order, count)
    for tree in (DimensionTree.balanced(order), DimensionTree.linear(order)):
        found = hierarchical_rank(x, tree)
        assert all(rank == math.comb(order, len(node.modes)) for node, rank in found.items())


def test_hilbert_tensor() -> None:
    dense = 1.0 / (sum(np.ix_(*[np.arange(1, 7)] * 6)) - 5)
    for x in (dense, HierarchicalTucker.from_dense(dense, rtol=1e-12)):
        tight, loose = hierarchical_rank(x, rtol=1e-10), hierarchical_rank(x, rtol=1e-4)
        assert [tight[mode] for mode in range(6)] == [6] * 6
        assert {6 <= rank <= 9 for rank in tight.values()} == {True}
        assert {4 <= rank <= 5 for rank in loose.values()} == {True}


@pytest.mark.parametrize(("size", "rank", "split"), [(4, 3, 81), (3, 3, 81), (2, 3, 16), (3, 2, 16)])
def test_rank_depends_on_the_tree(size: int, rank: int, split: int) -> None:
    x = HierarchicalTucker.random((size,) * 8, rank=rank, seed=3)
    for given_one in (x, host(x)):
        for node, found in hierarchical_rank(given_one, rtol=1e-10).items():
            assert found == (min(size, rank) if node.height == 0 else rank)
        assert separation_rank(given_one, (0, 2, 4, 6), rtol=1e-12) == split


# laws


@st.composite
def trees(draw: st.DrawFn, order: int, binary: bool = False) -> DimensionTree:
    parts: list[Any] = list(draw(st.permutations(range(order))))
    while len(parts) > 1:
        size = min(len(parts), 2 if binary else draw(st.integers(2, 3)))
        start = draw(st.integers(0, len(parts) - size))
        parts[start : start + size] = [tuple(parts[start : start + size])]
    return DimensionTree(parts[0])


@st.composite
def tensors(draw: st.DrawFn, binary: bool = True) -> HierarchicalTucker:
    order = draw(st.integers(3, 6))
    tree = draw(trees(order, binary))
    dims = draw(st.lists(st.integers(2, 4), min_size=order, max_size=order))
    return HierarchicalTucker.random(dims, tree, draw(st.integers(1, 4)), seed=draw(st.integers(0, 10**6)))


def counted(tree: DimensionTree) -> int:
    """Distinct bipartitions of a tree without unary nodes: 2d - 3 if it is binary."""
    nodes = len(tree.nodes) - 1
    return nodes - 1 if len(tree.children(tree.root)) == 2 else nodes


@given(tensors(binary=False), st.integers(1, 3))
def test_truncation_error_is_quasi_optimal(x: HierarchicalTucker, most: int) -> None:
    dense = host(x)
    assert not x.tree.is_binary or counted(x.tree) == 2 * x.ndim - 3
    tails = {node: (np.asarray(s)[most:] ** 2).sum() for node, s in hierarchical_singular_values(dense, x.tree).items()}
    below = x.tree.children(x.tree.root)
    distinct = sum(tail for node, tail in tails.items() if len(below) != 2 or node != below[1])
    slack = 1e-20 * (dense**2).sum()
    for y in (x.truncate(max_rank=most).tensor, HierarchicalTucker.from_dense(dense, x.tree, max_rank=most)):
        error = ((host(y) - dense) ** 2).sum()
        assert error <= distinct * (1 + 1e-10) + slack
        # No tensor of these ranks is nearer than the largest tail, so this is (2d - 3) times the best.
        assert error <= counted(x.tree) * max(tails.values()) * (1 + 1e-10) + slack


@given(tensors(binary=False), st.data())
def test_rerooting_changes_no_spectrum(x: HierarchicalTucker, data: st.DataObject) -> None:
    at = data.draw(st.sampled_from([node for node in x.tree.nodes if node != x.tree.root]))
    here = hierarchical_singular_values(x, relative=True)
    moved = x.change_root(at) if hasattr(x, "change_root") else None
    tree = x.tree.with_root(at)
    for found in (
        hierarchical_singular_values(x, tree, relative=True),
        hierarchical_singular_values(x if moved is None else moved, tree, relative=True),
    ):
        for node, s in found.items():
            rest = tuple(m for m in range(x.ndim) if m not in node.modes)
            modes = node.modes if node.modes in {n.modes for n in here} else rest
            np.testing.assert_allclose(_padded(s, here[modes]), here[modes], rtol=0, atol=1e-13)


def _padded(s: Any, like: Any) -> np.ndarray[Any, Any]:
    made = np.zeros(max(len(s), len(like)))
    made[: len(s)] = s
    assert (made[len(like) :] < 1e-13).all()
    return made[: len(like)]


@settings(max_examples=10)
@given(tensors())
def test_ranks_of_neighbors_and_squares(x: HierarchicalTucker) -> None:
    squared = float((host(x) ** 2).sum())
    for s in hierarchical_singular_values(x).values():
        assert float((s**2).sum()) == pytest.approx(squared, rel=1e-12)
    ranks = {**hierarchical_rank(x), x.tree.root: 1}
    for node in x.tree.interior:
        left, right = (ranks[child] for child in x.tree.children(node))
        assert ranks[node] <= left * right
        assert left <= ranks[node] * right
        assert right <= ranks[node] * left
    for entry in rank_report(x).nodes:
        assert 1 - 1e-12 <= entry.effective_rank <= entry.rank * (1 + 1e-10)
        assert 1 - 1e-12 <= entry.stable_rank <= entry.rank * (1 + 1e-10)
        assert -1e-12 <= entry.entropy <= math.log(entry.rank) + 1e-10


@given(tensors(binary=False))
def test_tt_ranks_are_those_of_the_linear_tree(x: HierarchicalTucker) -> None:
    linear = DimensionTree.linear(x.ndim)
    found = hierarchical_rank(host(x), linear)
    expected = tuple(found[tuple(range(k, x.ndim))] for k in range(1, x.ndim))
    assert tt_ranks(x) == tt_ranks(host(x)) == expected
    train = tnrank.TensorTrain.from_dense(host(x), rtol=1e-12) if hasattr(tnrank, "TensorTrain") else None
    assert train is None or tuple(train.tt_ranks) == expected


@settings(max_examples=15)
@given(st.data())
def test_ranks_of_sums_and_products(data: st.DataObject) -> None:
    x = data.draw(tensors(binary=False))
    y = HierarchicalTucker.random(x.shape, x.tree, data.draw(st.integers(1, 3)), seed=data.draw(st.integers(0, 99)))
    a, b, added, product = (hierarchical_rank(z) for z in (x, y, sum_of([x, y]), x * y))
    dense_sum, dense_product = (
        hierarchical_rank(host(x) + host(y), x.tree),
        hierarchical_rank(host(x) * host(y), x.tree),
    )
    for node in a:
        assert added[node] == dense_sum[node] <= a[node] + b[node]
        assert product[node] == dense_product[node] <= a[node] * b[node]


@settings(max_examples=20)
@given(tensors(), st.floats(1e-6, 0.3))
def test_truncation_is_idempotent(x: HierarchicalTucker, rtol: float) -> None:
    once = x.truncate(max_rank=2).tensor
    again = once.truncate(rtol=1e-12).tensor
    assert hierarchical_rank(once) == hierarchical_rank(again)
    np.testing.assert_allclose(host(again), host(once), rtol=0, atol=1e-11 * abs(host(once)).max())
    assert max(again.ranks.values()) <= 2
