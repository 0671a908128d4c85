"""Bounds of the distance to low hierarchical rank, on random hierarchies, against distances and ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank.theory import near_low_rank_bound, prune_components

TREES = [
    (0, 1),
    (0, 1, 2),
    ((0, 1), (2, 3)),
    ((0, 1), 2),
    (((0, 1), 2), (3, (4,))),
    ((2, 0, 1), (4, 3)),
    (((0,),), (1, 2)),
]


@st.composite
def hierarchies(draw):
    """A hierarchy with weights of very different sizes, and how many components are kept at each node."""
    tree = tnrank.DimensionTree(draw(st.sampled_from(TREES)))
    widths = {node: draw(st.integers(1, 5)) for node in tree.interior}
    shape = [draw(st.integers(1, 3)) for _ in range(tree.order)]
    classes = draw(st.sampled_from([1, 1, 3]))
    seed = draw(st.integers(0, 2**32 - 1))
    x = tnrank.HierarchicalFactorization.random(shape, tree=tree, width=widths, classes=classes, seed=seed)
    generator = np.random.default_rng(seed)
    spread = draw(st.sampled_from([0.0, 1.0, 3.0]))
    arrays = {name: a * np.exp(spread * generator.standard_normal(a.shape)) for name, a in x.arrays.items()}
    return x.replace(arrays), {node: draw(st.integers(1, widths[node] + 1)) for node in tree.interior}


@given(hierarchies())
def test_the_pruned_factorization_is_within_the_bounds(case):
    x, kept = case
    found, pruned = near_low_rank_bound(x, kept), prune_components(x, kept)
    actual = np.linalg.norm(x.to_dense() - pruned.to_dense())
    slack = 1e-12 * np.prod([np.linalg.norm(a) for a in x.arrays.values()])
    assert actual <= found.bound + slack
    assert found.bound <= found.theorem * (1 + 1e-12)
    if all(kept[node] >= len(norms) for node, norms in x.component_norms().items()):
        assert found.bound == found.theorem == 0
        assert actual <= slack


@given(hierarchies())
def test_ranks_of_the_pruned_are_those_kept_at_the_parent(case):
    x, kept = case
    pruned = prune_components(x, kept)
    dense = np.asarray(pruned.to_dense())
    for node in x.tree.nodes:
        parent = x.tree.parent(node)
        if parent is None:
            continue
        rows = np.moveaxis(dense, node.modes, range(len(node.modes))).reshape(
            np.prod([x.shape[m] for m in node.modes]), -1
        )
        assert np.linalg.matrix_rank(rows, tol=1e-10 * max(np.linalg.norm(rows), 1e-300)) <= kept[parent]


@given(hierarchies())
def test_the_formula_written_out(case):
    x, kept = case
    tree, matrices = x.tree, x.matrices
    N, T = tree.order, len(tree.nodes)
    size = max(np.linalg.norm(a) for a in matrices.values())
    needed, total = [], 0.0
    for node in tree.interior:
        norms = np.sort(x.component_norms()[node])[::-1]
        tail = norms[kept[node] :].sum()
        needed.append(tail * (T - N) * size ** (T - 1 - len(tree.children(node))))
        total += tail * np.prod(
            [np.linalg.norm(a) for n, a in matrices.items() if n not in {node, *tree.children(node)}]
        )
        np.testing.assert_allclose(near_low_rank_bound(x, kept).tails[node], tail, rtol=1e-12, atol=1e-300)
    found = near_low_rank_bound(x, kept)
    np.testing.assert_allclose([found.theorem, found.bound], [max(needed), total], rtol=1e-10)


def test_the_bound_is_met_by_one_component_a_node():
    """At a star of orthogonal rank-one pieces no inequality on the way to the bound is strict."""
    tree = tnrank.DimensionTree.star(3)
    eye = np.eye(2)
    x = tnrank.HierarchicalFactorization(tree, {(0,): eye, (1,): eye, (2,): eye, (0, 1, 2): np.array([[3.0], [0.25]])})
    found = near_low_rank_bound(x, 1)
    assert found.bound == found.theorem == 0.25
    assert np.linalg.norm(x.to_dense() - prune_components(x, 1).to_dense()) == 0.25


def test_the_distance_of_the_truncated_tensor(backend_name):
    x = tnrank.HierarchicalFactorization.random((3,) * 4, width=5, std=0.5, seed=3).to(backend_name)
    host = x.to("numpy")
    dense = np.asarray(host.to_dense())
    for kept in (2,) if backend_name == "jax" else (1, 2, 3):  # JAX compiles each
        found = near_low_rank_bound(x, kept)
        wanted = near_low_rank_bound(host, kept)
        np.testing.assert_allclose(float(found.theorem), float(wanted.theorem), rtol=1e-10)
        pruned = np.asarray(prune_components(x, kept).to("numpy").to_dense())
        np.testing.assert_allclose(pruned, prune_components(host, kept).to_dense(), rtol=1e-10, atol=1e-12)
        best = np.linalg.norm(dense - tnrank.HierarchicalTucker.from_dense(dense, x.tree, max_rank=kept).to_dense())
        # The hierarchical SVD is within sqrt(2N - 3) of the best tensor of that rank.
        assert best <= np.sqrt(5) * np.linalg.norm(dense - pruned)


def test_it_can_be_compiled():
    jax = pytest.importorskip("jax")
    x = tnrank.HierarchicalFactorization.random((3,) * 4, width=5, seed=3, backend="jax", dtype="float64")
    fn = jax.jit(lambda y: (near_low_rank_bound(y, 2).bound, prune_components(y, 2).to_dense()))
    bound, pruned = fn(x)
    np.testing.assert_allclose(bound, near_low_rank_bound(x.to("numpy"), 2).bound, rtol=1e-12)
    np.testing.assert_allclose(pruned, prune_components(x.to("numpy"), 2).to_dense(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("kept", "error", "message"),
    [
        (0, ValueError, "kept is a whole number from 1 on at every node, got 0 at"),
        (1.5, ValueError, "got 1.5 at"),
        ({(0, 1): True}, ValueError, "got True at"),
        ({(0, 2): 1}, ValueError, r"\(0, 2\)"),
        ({(0,): 1}, ValueError, r"a number for \{0\}, but \{0\} is a leaf"),
    ],
)
@pytest.mark.parametrize("call", [near_low_rank_bound, prune_components])
def test_wrong_calls(call, kept, error, message):
    x = tnrank.HierarchicalFactorization.random((2,) * 4, width=3)
    with pytest.raises(error, match=message):
        call(x, kept)


def test_other_factorizations_have_no_local_components():
    with pytest.raises(TypeError, match="got a CPFactorization, needed a HierarchicalFactorization"):
        near_low_rank_bound(tnrank.CPFactorization.random((2, 2), rank=2), 1)
