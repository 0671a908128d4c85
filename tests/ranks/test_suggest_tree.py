"""Suggested dimension trees: hidden trees are found, and the suggestion is never worse than the usual trees."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree, HierarchicalTucker, Node
from tnrank.ranks import TreeCandidate, TreeSuggestion, suggest_tree

NDArray = np.ndarray[Any, Any]


def splits(tree: DimensionTree) -> set[frozenset[frozenset[int]]]:
    """The bipartitions of the modes that the edges make: the tree up to complements at the root."""
    everything = frozenset(range(tree.order))
    found = (frozenset(node.modes) for node in tree.nodes if node != tree.root)
    return {frozenset({modes, everything - modes}) for modes in found}


@st.composite
def binary_trees(draw: Any, least: int, most: int) -> DimensionTree:
    level: list[Any] = list(draw(st.permutations(range(draw(st.integers(least, most))))))
    while len(level) > 2:
        place = draw(st.integers(0, len(level) - 2))
        level[place : place + 2] = [(level[place], level[place + 1])]
    return DimensionTree(tuple(level))


def columns(dense: NDArray, modes: tuple[int, ...], share: float) -> int:
    """Columns of a truncation that may lose a share of the norm."""
    rest = [m for m in range(dense.ndim) if m not in modes]
    rows = prod(dense.shape[m] for m in modes)
    values = np.linalg.svd(dense.transpose(*modes, *rest).reshape(rows, -1), compute_uv=False)
    tails = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]
    return max(1, int((tails > share * np.linalg.norm(dense)).sum()))


def parameters(candidate: TreeCandidate, shape: tuple[int, ...]) -> int:
    """Of a tensor in the format with these ranks."""
    x = HierarchicalTucker.random(shape, candidate.tree, dict(candidate.ranks))
    return sum(prod(a.shape) for a in x.nodes.values())


@settings(max_examples=10)
@given(binary_trees(4, 6), st.integers(0, 10**6))
def test_hidden_trees_are_found(tree: DimensionTree, seed: int) -> None:
    hidden = HierarchicalTucker.random((4,) * tree.order, tree, 2, seed=seed)
    for x in (hidden.to_dense(), hidden):
        found = suggest_tree(x)
        assert splits(found["by rank"].tree) == splits(tree)
        assert set(found["by rank"].ranks.values()) == {2}
        assert found.storage == found["by rank"].storage


def test_a_hidden_tree_behind_another_one_in_the_format() -> None:
    from tnrank.factorizations._nodes._change import change_tree

    tree = DimensionTree.balanced(8).permute((3, 0, 6, 5, 1, 7, 2, 4))
    hidden = HierarchicalTucker.random((4,) * 8, tree, 2, seed=3)
    other = DimensionTree.linear(8)
    x = HierarchicalTucker._of_nodes(other, change_tree(tree, hidden.nodes, other).nodes)
    assert max(x.ranks.values()) > 4
    found = suggest_tree(x)
    assert splits(found.tree) == splits(tree)
    assert set(found.ranks.values()) == {2}


@pytest.mark.parametrize("kind", [pytest.param("tree", marks=pytest.mark.slow), "cp"])
def test_orders_that_no_dense_tensor_has(kind: str) -> None:
    if kind == "tree":
        tree = DimensionTree.balanced(24).permute(np.random.default_rng(0).permutation(24))
        x: Any = HierarchicalTucker.random((3,) * 24, tree, 2, seed=0)
        found = suggest_tree(x)
        assert splits(found["by rank"].tree) == splits(found.tree) == splits(tree)
        assert found["own"].storage == found.storage
    else:
        x = tnrank.CPFactorization.random((3,) * 24, rank=2, seed=0)
        found = suggest_tree(x)
        assert {tuple(c.ranks.values()) for c in found.candidates} == {(2,) * 46}
        assert found.chosen.name == "balanced"  # of several, the first


def test_tree_ranks_4_that_need_tensor_train_ranks_16() -> None:
    x = HierarchicalTucker.random((8,) * 6, DimensionTree.balanced(6), 4, seed=0).to_dense()
    found = suggest_tree(x)
    assert found["balanced"].largest_rank == 4
    assert found["linear"].largest_rank == 16
    assert found.chosen.largest_rank == 4
    table = str(found).splitlines()
    assert any(
        line.split() == ["linear", "16", str(parameters(found["linear"], x.shape)), "0.0032"] for line in table
    ), table
    assert sum("(chosen)" in line for line in table) == 1


@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([None, 0.3, 1e-2]), st.integers(2, 4))
def test_never_worse_than_the_usual_trees(seed: int, order: int, rtol: float | None, most: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 5, order))
    x = rng.standard_normal(shape) * np.exp(-sum(np.ogrid[tuple(slice(d) for d in shape)]))
    for criterion in ("rank", "effective_rank"):
        found = suggest_tree(x, rtol, max_children=most, criterion=criterion)  # type: ignore[arg-type]
        assert found.storage == min(c.storage for c in found.candidates if c.storage is not None)
        assert max(len(found["by rank"].tree.children(node)) for node in found["by rank"].tree.interior) <= most
        for candidate in found.candidates:
            assert candidate.storage == parameters(candidate, shape)
            assert set(candidate.ranks) == set(candidate.tree.nodes) - {candidate.tree.root}
            for node, rank in candidate.ranks.items():
                share = 1e-13 if rtol is None else rtol / max(1, 2 * order - 3) ** 0.5
                assert rank == columns(x, node.modes, share)


def test_a_truncation_needs_no_more_than_was_said() -> None:
    rng = np.random.default_rng(0)
    grid = np.meshgrid(*[np.linspace(0, 1, d) for d in (5, 6, 4, 5, 6)], indexing="ij")
    x = np.exp(-((grid[0] - grid[3]) ** 2)) / (1 + grid[1] * grid[4] + grid[2]) + 1e-4 * rng.standard_normal(
        grid[0].shape
    )
    for rtol in (1e-1, 1e-2, 1e-3):
        found = suggest_tree(x, rtol)
        y = HierarchicalTucker.from_dense(x, found.tree, rtol)
        assert np.linalg.norm(y.to_dense() - x) <= rtol * np.linalg.norm(x)
        assert found.storage is not None
        assert sum(prod(a.shape) for a in y.nodes.values()) <= found.storage
        assert found["linear"].storage is not None
        assert found.storage <= found["linear"].storage


def test_pixels_of_digits_in_powers_of_two() -> None:
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    # Row bits 1-3, column bits 4-6: neighbors in the image are modes far apart.
    x = load_digits().images.reshape(-1, 2, 2, 2, 2, 2, 2)[:300]
    found = suggest_tree(x, 0.2)
    assert found["balanced"].storage is not None
    assert found["linear"].storage is not None
    assert found.storage is not None
    assert found.storage < min(found["balanced"].storage, found["linear"].storage)


def test_the_format_and_the_dense_tensor_agree() -> None:
    cp = tnrank.CPFactorization.random((5, 4, 6, 3, 5, 4), rank=3, seed=0)
    htf = tnrank.HierarchicalFactorization.random((5, 4, 6, 3, 5, 4), ((0, 3), (1, (2, 5)), 4), width=2, seed=0)
    train = HierarchicalTucker.random((5, 4, 6, 3, 5, 4), DimensionTree.linear(6), 3, seed=0)
    for x in (cp, htf, train):
        inside, outside = suggest_tree(x), suggest_tree(np.asarray(x.to_dense()))
        for name in ("by rank", "by affinity", "balanced", "linear"):
            assert inside[name].ranks == outside[name].ranks
            assert inside[name].tree == outside[name].tree
        assert inside.given.endswith(type(x).__name__)


def test_backends_agree(backend_name: str) -> None:
    hidden = HierarchicalTucker.random((4,) * 5, (((0, 3), 1), (2, 4)), 2, seed=0, dtype="float64")
    expected = suggest_tree(hidden.to_dense())
    backend = tnrank.get_backend(backend_name)
    assert suggest_tree(backend.asarray(hidden.to_dense())) == expected
    moved = hidden.to(backend_name) if backend_name != "numpy" else hidden
    assert suggest_tree(moved)["by rank"] == suggest_tree(hidden)["by rank"]


def test_functions_are_sampled() -> None:
    # Three pairs of variables far apart: exp(-(x_0 - x_3)^2) and so on.
    calls = []

    def function(indices: NDArray) -> NDArray:
        calls.append(len(indices))
        x = indices / 20
        return np.exp(-((x[:, 0] - x[:, 3]) ** 2) - (x[:, 1] - x[:, 5]) ** 2 - (x[:, 2] - x[:, 4]) ** 2)

    found = suggest_tree(function, 1e-3, shape=(20,) * 6, samples=24)
    pairs = {frozenset({0, 3}), frozenset({1, 5}), frozenset({2, 4})}
    assert {frozenset({pair, frozenset(range(6)) - pair}) for pair in pairs} <= splits(found.tree)
    assert all(found.ranks[tuple(sorted(pair))] == 1 for pair in pairs)
    assert sum(calls) <= found.evaluations * 24**2
    assert "from submatrices of 24 rows and columns" in str(found)
    assert found == suggest_tree(function, 1e-3, shape=(20,) * 6, samples=24)
    # The same ranks as all entries give.
    small = np.indices((5, 4, 5, 4, 5, 4)).reshape(6, -1).T
    everything = suggest_tree(function(small).reshape(5, 4, 5, 4, 5, 4))
    sampled = suggest_tree(function, shape=(5, 4, 5, 4, 5, 4))
    assert sampled["by rank"].ranks == everything["by rank"].ranks


def test_wider_nodes_save_storage_where_ranks_are_full() -> None:
    x = np.random.default_rng(0).standard_normal((3, 3, 3, 3))
    assert suggest_tree(x, max_children=4).tree == DimensionTree.star(4)
    narrow, wide = suggest_tree(x), suggest_tree(x, max_children=4)
    assert wide.storage == 4 * 9 + 81
    assert narrow.storage is not None
    assert narrow.storage > wide.storage
    # A hidden node of three children is found again.
    hidden = HierarchicalTucker.random(
        (4,) * 6, ((0, 4, 2), (1, 5, 3)), {**dict.fromkeys(range(6), 4), (0, 2, 4): 2, (1, 3, 5): 2}
    )
    found = suggest_tree(hidden.to_dense(), max_children=3)
    assert frozenset({frozenset({0, 2, 4}), frozenset({1, 3, 5})}) in splits(found.tree)
    assert found.storage == 6 * 16 + 2 * 64 * 2 + 4


def test_the_effective_rank_sees_what_the_rank_does_not() -> None:
    # All ranks are full; the modes 0, 2 and 1, 3 belong together but for a little noise.
    rng = np.random.default_rng(0)
    pairs = np.einsum("ac,bd->abcd", *rng.standard_normal((2, 4, 4)))
    x = pairs + 1e-3 * rng.standard_normal(pairs.shape)
    found = suggest_tree(x, criterion="effective_rank")
    assert frozenset({frozenset({0, 2}), frozenset({1, 3})}) in splits(found["by rank"].tree)
    assert suggest_tree(x, rtol=1e-2).ranks[0, 2] == 1


def test_zero_and_complex_tensors() -> None:
    found = suggest_tree(np.zeros((3, 3, 3, 3)))
    assert set(found.ranks.values()) == {1}
    hidden = HierarchicalTucker.random((4,) * 5, (((0, 3), 1), (2, 4)), 2, seed=0, dtype="complex128")
    assert (
        splits(suggest_tree(hidden.to_dense()).tree)
        == splits(suggest_tree(hidden)["by rank"].tree)
        == splits(hidden.tree)
    )


def test_ranks_too_large_for_the_memory_are_said() -> None:
    tree = DimensionTree(tuple((k, k + 8) for k in range(8)))  # eight pairs far apart, under one root
    nested: Any = tree.nested[0]
    for pair in tree.nested[1:]:
        nested = (nested, pair)
    x = HierarchicalTucker.random((6,) * 16, nested, 5, seed=0)
    found = suggest_tree(x, memory_limit=20_000)
    assert found["linear"].storage is None
    assert found["linear"].largest_rank is None
    assert found["by rank"].storage is not None
    assert any(line.split() == ["linear", "too", "large"] for line in str(found).splitlines())


def test_values() -> None:
    found = suggest_tree(np.ones((2, 3, 4)))
    assert isinstance(found, TreeSuggestion)
    assert found.evaluations <= 2**3
    assert found.ranks[Node((1,), 0)] == 1
    assert found.shape == (2, 3, 4)
    with pytest.raises(FrozenInstanceError):
        found.rtol = 1.0  # type: ignore[misc]
    with pytest.raises(KeyError, match="no candidate 'star'; there are balanced, linear, by rank, by affinity"):
        found["star"]
    matrix = suggest_tree(np.ones((3, 4)))
    assert matrix.tree == DimensionTree.balanced(2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: suggest_tree(np.ones(3)), "order 2 or more"),
        (lambda: suggest_tree(np.ones((2, 0, 2))), "mode 1"),
        (lambda: suggest_tree(np.full((2, 2), np.nan)), "NaN|not finite|finite"),
        (lambda: suggest_tree(np.ones((2, 2)), rtol=1.0), r"\[0, 1\)"),
        (lambda: suggest_tree(lambda i: i[:, 0]), "shape=\\("),
        (lambda: suggest_tree(lambda i: i[:, 0], shape=(3,)), "order 2 or more"),
        (lambda: suggest_tree(lambda i: i[:, 0], shape=(3, 3), samples=1), "at least 2, got 1"),
        (lambda: suggest_tree(lambda i: i, shape=(3, 3)), r"gave shape \(9, 2\)"),
        (lambda: suggest_tree(lambda i: i[:, 0] * np.nan, shape=(3, 3)), "NaN or infinite"),
        (lambda: suggest_tree(np.ones((2, 2)), max_children=1), "at least 2, got 1"),
        (lambda: suggest_tree(np.ones((2, 2)), criterion="size"), "'rank' or 'effective_rank', got 'size'"),  # type: ignore[arg-type]
    ],
)
def test_wrong_calls_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_components_are_measured_as_the_dense_tensor_is() -> None:
    """More components than the format is regrouped for: ranks to a tolerance, of every node of every candidate."""
    shape = (3, 4, 2, 3, 4, 3, 2, 3)
    rng = np.random.default_rng(0)
    x = tnrank.CPFactorization(
        [rng.standard_normal((d, 9)) * 10.0 ** rng.integers(-3, 3) for d in shape], 0.3 ** np.arange(9)
    )
    found = suggest_tree(x, rtol=1e-2)
    assert found.given == "a CPFactorization"
    dense = x.to_dense()
    share = 1e-2 / np.sqrt(2 * len(shape) - 3)
    for candidate in found.candidates:
        for node, rank in candidate.ranks.items():
            assert rank == columns(dense, node.modes, share)
    assert found.storage == suggest_tree(dense, rtol=1e-2).storage


def test_data_of_order_64_in_time() -> None:
    pytest.importorskip("sklearn")
    images, labels = tnrank.data.digits()
    x = tnrank.data_tensor(images[:20].reshape(20, 64), 2.0 * (labels[:20] > 4) - 1)
    found = suggest_tree(x, rtol=0.05, seconds=0.5)
    assert found.storage is not None
    assert found.storage <= min(c.storage for c in found.candidates if c.storage is not None)
    sizes = tnrank.hierarchical_singular_values(x, found.tree)
    share = 0.05 / np.sqrt(125)
    for node, rank in found.ranks.items():
        tails = np.sqrt(np.cumsum(np.asarray(sizes[node])[::-1] ** 2))[::-1]
        assert rank == max(1, int((tails > share * np.sqrt((np.asarray(sizes[node]) ** 2).sum())).sum()))


@pytest.mark.parametrize("moment", [0, 5, 40, 120])
def test_when_the_time_is_up_there_is_a_tree(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every measurement takes a second of the test's clock."""
    from tnrank.ranks._suggest import _jobs, _suggest_tree

    passed = iter(range(10**9))
    for module in (_jobs, _suggest_tree):
        monkeypatch.setattr(module, "monotonic", lambda: next(passed))
    x = tnrank.CPFactorization.random((2,) * 12, 8, seed=1)
    found = suggest_tree(x, rtol=1e-3, seconds=moment)
    assert found.stopped
    assert "seconds= gives it more" in str(found)
    assert found.tree.order == 12
    assert found.storage == parameters(found.chosen, found.shape)
