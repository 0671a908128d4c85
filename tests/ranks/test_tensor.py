"""Tensors whose ranks are known, and the laws that all ranks obey."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tnrank import CPFactorization, DimensionTree, get_backend
from tnrank.dimension_tree import Node
from tnrank.factorizations import sum_of
from tnrank.ranks import (
    entanglement_entropy,
    hierarchical_rank,
    hierarchical_singular_values,
    matrix_rank,
    multilinear_rank,
    rank_report,
    separation_rank,
    tt_ranks,
)


def grid_sum(order: int, size: int) -> np.ndarray:
    """The sum of x_i with x_i on a grid of [0, 1]."""
    points = np.linspace(0, 1, size)
    return sum(np.ix_(*[points] * order)) + np.zeros((size,) * order)


def random_cp(order: int, size: int, rank: int) -> np.ndarray:
    rng = np.random.default_rng(order * 100 + rank)
    out = np.zeros((size,) * order)
    for _ in range(rank):
        component = rng.standard_normal(size)
        for _ in range(order - 1):
            component = np.multiply.outer(component, rng.standard_normal(size))
        out = out + component
    return out


def ghz(order: int) -> np.ndarray:
    out = np.zeros((2,) * order)
    out[(0,) * order] = out[(1,) * order] = 1
    return out


def w_state(order: int) -> np.ndarray:
    out = np.zeros((2,) * order)
    for mode in range(order):
        out[tuple(int(m == mode) for m in range(order))] = 1
    return out


def over_permutations(order: int, signed: bool) -> np.ndarray:
    """The determinant (signed) or the permanent as an order-n form on the rows of a matrix."""
    out = np.zeros((order,) * order)
    for permutation in itertools.permutations(range(order)):
        inversions = sum(a > b for a, b in itertools.combinations(permutation, 2))
        out[permutation] = (-1) ** inversions if signed else 1
    return out


def matrix_multiplication(m: int, n: int, k: int) -> np.ndarray:
    """The form trace(ABC): entry 1 where the indices of a_ij, b_jk and c_ki fit together."""
    fit = np.einsum("ac,bd,ef->abdefc", np.eye(m), np.eye(n), np.eye(k))
    return fit.reshape(m * n, n * k, k * m)


def hierarchical_tucker(order: int, size: int, rank: int) -> np.ndarray:
    """A random tensor in hierarchical Tucker format on the balanced binary tree, order a power of 2."""
    rng = np.random.default_rng(7)
    parts = [rng.standard_normal((size, rank)) for _ in range(order)]
    while len(parts) > 1:
        above = rank if len(parts) > 2 else 1
        parts = [
            np.einsum("...a,xb,abc->...xc", u, v, rng.standard_normal((rank, rank, above))).reshape(-1, above)
            for u, v in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0].reshape((size,) * order)


SAME_EVERYWHERE = {
    "random CP, 3": (random_cp(4, 5, 3), 3),
    "random CP, 1": (random_cp(5, 3, 1), 1),
    "sum": (grid_sum(5, 4), 2),
    "sine of the sum": (np.sin(grid_sum(5, 4)), 2),
    "squared sine of the sum": (np.sin(grid_sum(4, 5)) ** 2, 3),
    "cube of the sum": (grid_sum(4, 5) ** 3, 4),
    "cancellation": (
        np.exp(-sum(np.ix_(*[np.linspace(0, 1, 4) ** 2] * 4)))
        + np.sin(grid_sum(4, 4)) ** 2
        + np.cos(grid_sum(4, 4)) ** 2,
        2,
    ),
    "maximum": (np.indices((6,) * 4).max(axis=0) + 1, 6),
    "GHZ": (ghz(6), 2),
    "W": (w_state(6), 2),
    "<2,2,2>": (matrix_multiplication(2, 2, 2), 4),
    "det_3": (over_permutations(3, signed=True), 3),
    "perm_3": (over_permutations(3, signed=False), 3),
    "zero": (np.zeros((2, 3, 4)), 0),
    "ones": (np.ones((2, 3, 4)), 1),
}


@pytest.mark.few_on_jax("W", "zero", "perm_3")
@pytest.mark.parametrize("name", SAME_EVERYWHERE)
def test_equal_ranks_at_every_node(backend_name: str, name: str) -> None:
    x, rank = SAME_EVERYWHERE[name]
    x = get_backend(backend_name).asarray(x)
    assert multilinear_rank(x) == (rank,) * x.ndim
    for tree in (DimensionTree.balanced(x.ndim), DimensionTree.linear(x.ndim), DimensionTree.star(x.ndim)):
        assert set(hierarchical_rank(x, tree).values()) == {rank}


@pytest.mark.parametrize("signed", [True, False])
def test_determinant_and_permanent(signed: bool) -> None:
    x = over_permutations(4, signed)
    for count in (1, 2, 3):
        for modes in itertools.combinations(range(4), count):
            assert separation_rank(x, modes) == math.comb(4, count)


def test_hilbert_tensor() -> None:
    x = 1.0 / (sum(np.ix_(*[np.arange(1, 7)] * 6)) - 5)
    loose = hierarchical_rank(x, rtol=1e-4)
    tight = hierarchical_rank(x, rtol=1e-10)
    assert all(4 <= rank <= 5 for rank in loose.values())
    assert [tight[mode] for mode in range(6)] == [6] * 6
    assert all(6 <= rank <= 9 for rank in tight.values())


@pytest.mark.parametrize(("size", "rank", "split"), [(4, 3, 81), (3, 3, 81), (2, 3, 16), (3, 2, 16)])
def test_rank_depends_on_the_tree(size: int, rank: int, split: int) -> None:
    x = hierarchical_tucker(8, size, rank)
    for node, found in hierarchical_rank(x, rtol=1e-9).items():
        assert found == (min(size, rank) if node.height == 0 else rank)
    assert separation_rank(x, modes=(0, 2, 4, 6), rtol=1e-12) == split


def test_ragged_and_unary_trees() -> None:
    x = random_cp(5, 3, 2)
    windows = DimensionTree.windows(5)
    found = hierarchical_rank(x, windows)
    assert list(found.values()) == [2] * 8
    assert Node((4,), 0) in found
    assert Node((4,), 1) not in list(found)  # the unary node above it has the same matricization
    assert found[4] == found[Node((4,), 1)] == 2
    assert len(hierarchical_rank(x, DimensionTree((0, 1, (2, 3, 4))))) == 6
    assert hierarchical_rank(x, (0, 1, (2, 3, 4)))[4, 2, 3] == 2
    with pytest.raises(KeyError, match=r"no node of the modes \(0, 3\); the nodes: \{0\}"):
        found[0, 3]
    single = hierarchical_rank(x[0, 0, 0], DimensionTree((((0, 1),),)))
    assert {node.modes for node in single} == {(0,), (1,)}


@pytest.mark.parametrize("method", ["qr", "gram"])
def test_backends_agree_with_dense_decompositions(backend_name: str, method: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 2, 4, 2)) + 1j * rng.standard_normal((3, 2, 4, 2))
    backend = get_backend(backend_name)
    tree = DimensionTree(((0, 2), (1, 3)))
    found = hierarchical_singular_values(backend.asarray(x), tree, method=method)
    assert len(found) == 6
    for node, values in found.items():
        others = [mode for mode in range(4) if mode not in node.modes]
        rows = math.prod(x.shape[mode] for mode in node.modes)
        oracle = np.linalg.svd(x.transpose(*node.modes, *others).reshape(rows, -1), compute_uv=False)
        tolerance = 1e-10 if method == "qr" else 1e-7
        np.testing.assert_allclose(backend.to_numpy(values), oracle, atol=tolerance)


shapes = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)


def binary_tree(order: int, rng: np.random.Generator) -> DimensionTree:
    parts: list = list(range(order))
    while len(parts) > 1:
        i, j = sorted(rng.choice(len(parts), 2, replace=False))
        parts[i] = (parts[i], parts.pop(j))
    return DimensionTree(parts[0])


@given(shapes, st.integers(1, 3), st.integers(0, 1000))
def test_laws(shape: tuple[int, ...], rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = [rng.integers(-3, 4, (size, rank)).astype(float) for size in shape]
    x = np.zeros(shape)
    for r in range(rank):
        x = x + np.multiply.outer(1.0, math.prod(np.ix_(*[factor[:, r] for factor in factors])))
    tree = binary_tree(len(shape), rng)
    found = hierarchical_rank(x, tree)
    assert all(value <= rank for value in found.values())
    for values in hierarchical_singular_values(x, tree).values():
        assert float((values**2).sum()) == pytest.approx(float((x**2).sum()), rel=1e-12, abs=1e-12)
    everywhere = {**found, tree.root: 1 if x.any() else 0}
    for node in tree.interior:
        left, right = (everywhere[child] for child in tree.children(node))
        assert everywhere[node] <= left * right
        assert left <= everywhere[node] * right
        assert right <= everywhere[node] * left
    assert multilinear_rank(x) == tuple(found[mode] for mode in range(len(shape)))
    # Re-rooting changes no spectrum: a bipartition is the same from either side.
    modes = tuple(range(len(shape) // 2 + 1))[: len(shape) - 1]
    others = [mode for mode in range(len(shape)) if mode not in modes]
    assert separation_rank(x, modes) == separation_rank(x, others)


def test_the_default_tolerance_of_gram_is_above_its_rounding() -> None:
    x = random_cp(6, 6, 3)
    for dtype, floor in (("float64", 10 * 2**-26), ("float32", 10 * 2**-11.5)):
        narrow = x.astype(dtype)
        report = rank_report(narrow, method="gram")
        assert [entry.rtol for entry in report.nodes] == pytest.approx([floor] * 10, rel=1e-12)
        assert {entry.rank for entry in report.nodes} == {3} == set(hierarchical_rank(narrow, method="gram").values())
        assert tt_ranks(narrow, method="gram") == (3,) * 5
        assert multilinear_rank(narrow, method="gram") == (3,) * 6
        assert separation_rank(narrow, (0, 2, 4), method="gram") == 3
        zeroth = entanglement_entropy(narrow, order=0, method="gram").values()
        assert [float(value) for value in zeroth] == pytest.approx([math.log(3)] * 10, rel=1e-6)
        assert report.to_dict()["method"] == "gram"
        assert f"tolerance          {floor:.2g} of the largest value (10 * sqrt(eps)" in str(report)
    assert "sqrt(eps)" not in str(rank_report(x))
    assert hierarchical_rank(np.diag([1.0, 1e-6, 1e-8]), method="gram")[0] == 2
    short = rank_report(random_cp(3, 4, 2).astype(np.float16), method="gram")
    assert short.nodes[0].rtol == 16 * 2**-10  # rounding of the values as narrow


@given(shapes, st.integers(1, 3), st.integers(0, 1000))
def test_gram_finds_the_ranks_of_qr(shape: tuple[int, ...], rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = [rng.integers(-3, 4, (size, rank)).astype(float) for size in shape]
    x = CPFactorization(factors)
    dense, tree = np.asarray(x.to_dense()), binary_tree(len(shape), rng)
    twice = sum_of([x, x, x], [1, 2, -2.5])
    for form in (dense, x, twice):
        expected = hierarchical_rank(dense, tree)
        assert hierarchical_rank(form, tree, method="gram") == expected
        assert multilinear_rank(form, method="gram") == multilinear_rank(dense)
        assert tt_ranks(form, method="gram") == tt_ranks(dense)


def test_masked_arrays() -> None:
    x = np.ma.masked_array(np.ones((2, 3, 2)), mask=False)
    assert multilinear_rank(x) == (1, 1, 1)
    x[1, 0, 1] = 1e9
    x[1, 0, 1] = np.ma.masked
    for function in (multilinear_rank, hierarchical_rank, hierarchical_singular_values, rank_report, tt_ranks):
        with pytest.raises(ValueError, match=r"1 of 12 entries .* masked, the first at index \(1, 0, 1\).*complete"):
            function(x)
    with pytest.raises(ValueError, match="masked"):
        matrix_rank(x[0:2, 0])


class Tensor:
    """What rank functions need of a factorization with a tree."""

    def __init__(self, array: np.ndarray, tree: DimensionTree) -> None:
        self.array, self.tree, self.shape = array, tree, array.shape

    def to_dense(self) -> np.ndarray:
        return self.array


def test_factorizations_bring_their_tree() -> None:
    tree = DimensionTree(((0, 2), (1, 3)))
    x = Tensor(random_cp(4, 3, 2), tree)
    assert set(hierarchical_rank(x)) == set(tree.nodes) - {tree.root}
    assert (0, 1) in {node.modes for node in hierarchical_rank(x, DimensionTree.balanced(4))}
    classes = Tensor(random_cp(4, 3, 2), DimensionTree.balanced(3))  # the last axis holds classes
    assert set(hierarchical_rank(classes).values()) == {2}
    with pytest.raises(ValueError, match="got a Tensor of order 4, needed a matrix"):
        matrix_rank(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array(3.0), r"got a number \(shape \(\)\), needed a tensor of order 2"),
        (np.ones(3), r"got a vector \(shape \(3,\)\)"),
        (np.ones((2, 0, 3)), r"mode 1 of the array of shape \(2, 0, 3\) is empty: node \{1\} has no rows"),
        (np.array([[[np.nan]]]), r"1 of 1 entries are NaN or infinite, the first at index \(0, 0, 0\)"),
    ],
)
def test_bad_tensors(x: np.ndarray, message: str) -> None:
    for function in (multilinear_rank, hierarchical_rank, hierarchical_singular_values):
        with pytest.raises(ValueError, match=message):
            function(x)
    with pytest.raises(ValueError, match=message):
        separation_rank(x, modes=(0,))


def test_bad_trees_and_tolerances() -> None:
    x = np.ones((2, 2, 2))
    with pytest.raises(ValueError, match=r"the tree has 4 modes, .* has 3: its node \{3\} names mode 3"):
        hierarchical_rank(x, DimensionTree.balanced(4))
    with pytest.raises(ValueError, match=r"mode 2 is missing from its root \{0,1\}"):
        hierarchical_rank(x, DimensionTree.balanced(2))
    with pytest.raises(ValueError, match="mode 1 appears 2 times"):
        hierarchical_rank(x, ((0, 1), 1))
    for rtol in (-1, 1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"lies in \[0, 1\)"):
            multilinear_rank(x, rtol=rtol)
    with pytest.raises(ValueError, match="below the accuracy floor"):
        hierarchical_singular_values(x, method="gram", rtol=1e-12)
    with pytest.raises(ValueError, match="below the accuracy floor"):
        hierarchical_rank(x, rtol=1e-17)
    with pytest.raises(ValueError, match="mode 3 is out of range"):
        separation_rank(x, modes=(0, 3))
