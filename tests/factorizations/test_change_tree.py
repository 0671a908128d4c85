"""Change of root, change of tree and permuted modes in the hierarchical Tucker format; against dense tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree, HierarchicalTucker, Node
from tnrank.factorizations._nodes._change import change_root, change_tree, permute

NDArray = np.ndarray[Any, Any]


def host(x: Any) -> NDArray:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def built(tree: DimensionTree, nodes: Mapping[Node, Any]) -> HierarchicalTucker:
    """With the check that all sizes fit."""
    assert set(nodes) == set(tree.nodes)
    return HierarchicalTucker._of_nodes(tree, nodes)


def dense_of(x: HierarchicalTucker) -> NDArray:
    """The definition, frame by frame: columns of a node as a tensor of its modes, the rank last."""
    frames: dict[Node, NDArray] = {}
    for node in x.tree.nodes:
        made = host(x.nodes[node])
        made = made[..., None] if node == x.tree.root else made
        order: list[int] = []
        for child in x.tree.children(node):
            made = np.tensordot(made, frames.pop(child), axes=([0], [-1]))  # the child's modes go to the end
            order += child.modes
        frames[node] = np.moveaxis(made, 0, -1) if node.height else made
        if node.height:
            frames[node] = frames[node].transpose(*np.argsort(order), len(order))
    return frames[x.tree.root][..., 0]


def trees_of(draw: Any, order: int) -> DimensionTree:
    """Any tree over 0 .. order-1: k-ary, ragged, modes in any order, unary nodes and roots."""
    level: list[Any] = list(draw(st.permutations(range(order))))
    for _ in range(draw(st.integers(0, 9))):
        size = draw(st.integers(1, len(level)))
        start = draw(st.integers(0, len(level) - size))
        level[start : start + size] = [tuple(level[start : start + size])]
    return DimensionTree(tuple(level))


@st.composite
def tensors(draw: Any, most: int = 7) -> HierarchicalTucker:
    order = draw(st.integers(1, most))
    tree = trees_of(draw, order)
    dims = draw(st.lists(st.integers(1, 3), min_size=order, max_size=order))
    rank = draw(st.integers(1, 3)) if max(len(tree.children(n)) for n in tree.interior) < 5 else 2
    dtype = draw(st.sampled_from(["float64", "complex128"]))
    return HierarchicalTucker.random(dims, tree, rank, seed=draw(st.integers(0, 10**6)), dtype=dtype)


def svd_of(dense: NDArray, modes: tuple[int, ...]) -> NDArray:
    rest = [m for m in range(dense.ndim) if m not in modes]
    rows = int(np.prod([dense.shape[m] for m in modes]))
    return np.linalg.svd(dense.transpose(*modes, *rest).reshape(rows, -1), compute_uv=False)


def agree(a: Any, b: Any, tolerance: float) -> None:
    """Equal spectra up to zeros at the end."""
    a, b = host(a), host(b)
    size = max(len(a), len(b))
    difference = np.pad(a, (0, size - len(a))) - np.pad(b, (0, size - len(b)))
    assert abs(difference).max() <= tolerance * a[0]


def sum_of_modes(tree: DimensionTree, size: int) -> dict[Node, NDArray]:
    """The tensor x_1 + .. + x_N with x_n = 0 .. size-1: columns 1 and the sum of the modes below."""
    nodes: dict[Node, NDArray] = {}
    for node in tree.nodes:
        if not node.height:
            nodes[node] = np.stack([np.ones(size), np.arange(size)], axis=1)
            continue
        count = len(tree.children(node))
        transfer = np.zeros((2,) * (count + 1))
        transfer[(0,) * (count + 1)] = 1
        for k in range(count):
            transfer[(*(int(k == m) for m in range(count)), 1)] = 1
        nodes[node] = transfer[..., 1] if node == tree.root else transfer
    return nodes


@given(tensors(), st.data())
def test_another_root_is_the_same_tensor(x: HierarchicalTucker, data: Any) -> None:
    at = data.draw(st.sampled_from(x.tree.nodes))
    on_edge = at.height == 0 or data.draw(st.booleans())
    tree, nodes = change_root(x.tree, x.nodes, at, on_edge)
    y = built(tree, nodes)
    assert tree == x.tree.with_root(at, on_edge)
    dense = dense_of(x)
    assert np.allclose(dense_of(y), dense, rtol=0, atol=1e-13 * abs(dense).max())


@given(tensors(), st.data())
def test_another_root_changes_no_spectrum(x: HierarchicalTucker, data: Any) -> None:
    at = data.draw(st.sampled_from(x.tree.nodes))
    y = built(*change_root(x.tree, x.nodes, at, at.height == 0 or data.draw(st.booleans())))
    everything = set(range(x.ndim))
    before = {frozenset(node.modes): values for node, values in x.singular_values().items()}
    for node, values in y.singular_values().items():
        modes = frozenset(node.modes)
        found = before.get(modes, before.get(frozenset(everything - modes)))
        if found is not None:
            agree(found, values, 1e-13)
        else:  # an old node of all modes or of one child more
            assert len(modes) in (0, x.ndim)


@pytest.mark.parametrize(("order", "rank"), [(16, 4), (64, 5), (200, 3)])
def test_another_root_far_away_changes_no_spectrum(order: int, rank: int) -> None:
    x = HierarchicalTucker.random((4,) * order, DimensionTree.linear(order), rank, seed=1)
    before = x.singular_values(relative=True)
    y = built(*change_root(x.tree, x.nodes, (order - 2, order - 1)))
    after = {node.modes: values for node, values in y.singular_values(relative=True).items()}
    compared = 0
    for node, values in before.items():
        others = tuple(m for m in range(order) if m not in node.modes)
        if node.modes in after or others in after:
            agree(values, after.get(node.modes, after.get(others)), 1e-13)
            compared += 1
    assert compared == len(before)


def test_orthonormal_frames_stay_orthonormal_and_the_others_stay_the_same() -> None:
    tree = DimensionTree(((0, (1, 2)), ((3, 4), (5, 6, 7))))
    x = HierarchicalTucker.random((3,) * 8, tree, 4, seed=0).orthogonalize()
    for at, on_edge in (((1, 2), True), ((1, 2), False), ((5, 6, 7), False), (6, True), ((0, 1, 2), True)):
        new_tree, nodes = change_root(x.tree, x.nodes, at, on_edge)
        for node, array in nodes.items():
            if node != new_tree.root:
                columns = host(array).reshape(-1, array.shape[-1])
                assert np.allclose(columns.T @ columns, np.eye(columns.shape[1]), atol=1e-13)
        assert np.isclose(np.linalg.norm(host(nodes[new_tree.root])), float(x.norm()), rtol=1e-13)
        path = {tree.node(at)}
        while (above := tree.parent(next(iter(sorted(path, key=lambda n: -n.height))))) is not None:
            path.add(above)
        assert all(nodes[node] is x.nodes[node] for node in tree.nodes if node not in path)


def test_no_node_is_wider_than_it_must_be() -> None:
    # The root that vanishes has ranks 2 and 5: its bond has rank 2 afterwards.
    x = HierarchicalTucker.random(
        (6,) * 6, ((0, 1, 2), (3, (4, 5))), {**dict.fromkeys(range(6), 6), (0, 1, 2): 2, (3, 4, 5): 5, (4, 5): 6}
    )
    for at in ((4, 5), 3):
        y = built(*change_root(x.tree, x.nodes, at))
        assert y.ranks[Node((0, 1, 2), 1)] == 2
    x = HierarchicalTucker.random(
        (6,) * 6, ((0, 1, 2), (3, (4, 5))), {**dict.fromkeys(range(6), 6), (0, 1, 2): 5, (3, 4, 5): 2, (4, 5): 6}
    )
    y = built(*change_root(x.tree, x.nodes, (4, 5)))
    assert y.ranks[Node((0, 1, 2), 1)] == 2
    assert np.allclose(dense_of(y), dense_of(x), rtol=0, atol=1e-12 * abs(dense_of(x)).max())


@pytest.mark.parametrize("order", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_norms_that_no_number_holds(order: int) -> None:
    x = HierarchicalTucker.random((10,) * order, DimensionTree.linear(order), rank=2, std=3.0, seed=0)
    assert float(x.log_norm()) > 710
    for at in ((order - 2, order - 1), tuple(range(order // 2, order)), 0):
        y = built(*change_root(x.tree, x.nodes, at))
        assert all(np.isfinite(host(a)).all() for a in y.nodes.values())
        assert np.isclose(float(y.log_norm()), float(x.log_norm()), rtol=1e-12)


@given(tensors(), st.data())
def test_another_tree_is_the_same_tensor_with_its_spectra(x: HierarchicalTucker, data: Any) -> None:
    tree = trees_of(data.draw, x.ndim)
    found = change_tree(x.tree, x.nodes, tree)
    y, dense = built(tree, found.nodes), dense_of(x)
    assert np.linalg.norm(dense_of(y) - dense) <= 1e-13 * np.linalg.norm(dense)
    assert found.relative_error_bound <= 1e-13
    for node, values in y.singular_values().items():
        if len(node.modes) < x.ndim:
            expected = svd_of(dense, node.modes)
            agree(expected, values, 1e-13)
            # No column stands for rounding noise.
            assert y.ranks[node] <= max(1, (expected > 1e-14 * expected[0]).sum())


def test_balanced_and_linear_at_order_64() -> None:
    order = 64
    trees = [DimensionTree.balanced(order), DimensionTree.linear(order), DimensionTree.windows(order, 4)]
    shuffled = trees[0].permute(np.random.default_rng(0).permutation(order))
    for old, new in ((0, 1), (1, 0), (2, 1), (0, 3)):
        start, goal = [*trees, shuffled][old], [*trees, shuffled][new]
        found = change_tree(start, sum_of_modes(start, 5), goal)
        y, wanted = built(goal, found.nodes), built(goal, sum_of_modes(goal, 5))
        assert set(y.ranks.values()) == {2}
        assert float((y - wanted).log_norm()) < float(wanted.log_norm()) + np.log(1e-12)
        values = y.singular_values(relative=True)
        for node, expected in wanted.singular_values(relative=True).items():
            agree(expected, values[node], 1e-12)


def test_there_and_back_with_large_ranks_between() -> None:
    tree = DimensionTree.balanced(12)
    other = tree.permute(np.random.default_rng(1).permutation(12))
    x = HierarchicalTucker.random((4,) * 12, tree, 2, seed=1)
    there = change_tree(tree, x.nodes, other)
    assert max(built(other, there.nodes).ranks.values()) == 16
    back = built(tree, change_tree(other, there.nodes, tree).nodes)
    assert back.ranks == x.ranks
    assert float((back - x).norm() / x.norm()) < 1e-13


def test_backends_and_dtypes(backend_name: str) -> None:
    # JAX compiles every shape anew, which takes seconds: few shapes there.
    jax = backend_name == "jax"
    tree, goal = DimensionTree((((2,), 0), (3, 1, 4))), DimensionTree(((0, 1), ((2, 3), 4)))
    if jax:
        tree, goal = DimensionTree((((2,), 0), 1)), DimensionTree((0, (1, 2)))
    dtypes = {"float64": 1e-13, "float32": 1e-5, "complex128": 1e-13}
    for dtype, eps in list(dtypes.items())[: 1 if jax else 3]:
        x = HierarchicalTucker.random((2,) * tree.order, tree, 2, seed=0, backend=backend_name, dtype=dtype)
        dense = dense_of(x)
        made = [built(goal, change_tree(tree, x.nodes, goal).nodes)]
        made += [] if jax else [built(*change_root(tree, x.nodes, (0, 2)))]  # the next test
        for y in made:
            assert y.backend.name == backend_name
            assert y.dtype == dtype
            assert np.linalg.norm(dense_of(y) - dense) <= eps * np.linalg.norm(dense)


def test_another_root_compiles_on_jax() -> None:
    jax = pytest.importorskip("jax")
    x = HierarchicalTucker.random((3,) * 5, DimensionTree.balanced(5), 2, seed=0, backend="jax", dtype="float64")
    tree = x.tree.with_root((0, 1))

    @jax.jit
    def rooted(nodes: list[Any]) -> list[Any]:
        return [change_root(x.tree, dict(zip(x.tree.nodes, nodes, strict=True)), (0, 1))[1][n] for n in tree.nodes]

    y = built(tree, dict(zip(tree.nodes, rooted(list(x.nodes.values())), strict=True)))
    assert np.allclose(dense_of(y), dense_of(x), rtol=0, atol=1e-12 * abs(dense_of(x)).max())


@pytest.mark.parametrize("rtol", [1e-1, 1e-3, 1e-6, 1e-10])
def test_a_tolerance_bounds_the_error(rtol: float) -> None:
    grid = np.meshgrid(*[np.arange(1.0, d + 1) for d in (5, 4, 6, 3, 4, 3, 5)], indexing="ij")
    dense = 1 / sum(grid)  # all ranks are full, with spectra that fall fast
    start = DimensionTree.balanced(7)
    exact = HierarchicalTucker.from_dense(dense, start, rtol=1e-15)
    for goal in (
        DimensionTree.linear(7),
        start.permute((3, 0, 5, 1, 6, 2, 4)),
        DimensionTree(((6, 0), (1, 4, 2), (3, 5))),
    ):
        found = change_tree(start, exact.nodes, goal, rtol)
        y = built(goal, found.nodes)
        error = np.linalg.norm(dense_of(y) - dense) / np.linalg.norm(dense)
        assert error <= found.relative_error_bound + 1e-13
        assert found.relative_error_bound <= rtol
        # As few columns as dropping a fixed share of the tolerance everywhere gives.
        share = rtol / 2 / len(goal.nodes) ** 0.5
        for node, rank in y.ranks.items():
            tails = np.sqrt(np.cumsum(svd_of(dense, node.modes)[::-1] ** 2))[::-1]
            assert rank <= max(1, (tails > share * np.linalg.norm(dense)).sum())


@given(tensors(), st.data(), st.floats(1e-8, 0.9))
def test_the_bound_holds_where_much_is_dropped(x: HierarchicalTucker, data: Any, rtol: float) -> None:
    tree = trees_of(data.draw, x.ndim)
    found = change_tree(x.tree, x.nodes, tree, rtol)
    dense = dense_of(x)
    error = np.linalg.norm(dense_of(built(tree, found.nodes)) - dense) / np.linalg.norm(dense)
    assert error <= found.relative_error_bound + 1e-12
    assert found.relative_error_bound <= rtol


@given(tensors(), st.data())
def test_permuted_modes(x: HierarchicalTucker, data: Any) -> None:
    order = data.draw(st.permutations(range(x.ndim)))
    tree, nodes = permute(x.tree, x.nodes, order)
    dense = dense_of(x)
    assert np.allclose(dense_of(built(tree, nodes)), dense.transpose(order), rtol=0, atol=1e-13 * abs(dense).max())
    assert {id(a) for a in nodes.values()} == {id(a) for a in x.nodes.values()}
    back = built(x.tree, change_tree(tree, nodes, x.tree).nodes)
    assert np.linalg.norm(dense_of(back) - dense.transpose(order)) <= 1e-12 * np.linalg.norm(dense)


def test_zero_tensor() -> None:
    x = HierarchicalTucker.from_dense(np.zeros((3, 3, 3, 3)))
    for y in (
        built(*change_root(x.tree, x.nodes, (0, 1))),
        built(*change_root(x.tree, x.nodes, 2)),
        built(DimensionTree.linear(4), change_tree(x.tree, x.nodes, DimensionTree.linear(4)).nodes),
    ):
        assert (dense_of(y) == 0).all()
        assert set(y.ranks.values()) == {1}


LINEAR = HierarchicalTucker.random((4,) * 8, DimensionTree.linear(8), 3, seed=0)
SHUFFLED = DimensionTree(((0, 4), (1, 5), (2, 6), (3, 7)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: change_root(LINEAR.tree, LINEAR.nodes, 3, on_edge=False), r"node \{3\} is a leaf"),
        (lambda: change_root(LINEAR.tree, LINEAR.nodes, (1, 3)), "no node of the modes"),
        (lambda: change_tree(LINEAR.tree, LINEAR.nodes, DimensionTree.linear(7)), "7 modes and the tensor has 8"),
        (lambda: change_tree(LINEAR.tree, LINEAR.nodes, SHUFFLED, rtol=1.0), r"\[0, 1\)"),
        (lambda: change_tree(LINEAR.tree, LINEAR.nodes, SHUFFLED, rtol=1e-17), "floor"),
        (lambda: change_tree(LINEAR.tree, LINEAR.nodes, SHUFFLED, memory_limit=500), "memory_limit"),
        (
            lambda: change_tree(LINEAR.tree, {n: a * np.nan for n, a in LINEAR.nodes.items()}, SHUFFLED),
            "NaN or infinite",
        ),
        (lambda: permute(LINEAR.tree, LINEAR.nodes, (0, 1, 2)), "permutation of the modes 0 .. 7"),
    ],
)
def test_wrong_calls_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        make()
