"""How accurate hierarchical singular values are, and what truncation by them costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import nested_trees
from tnrank import DimensionTree, HierarchicalTucker, Node

EPS = 2.0**-52
DECADES = 10.0 ** -np.arange(0, 16, 3)
ONE_EDGE = 4.0
"""Bounds error / (eps * condition * largest value) after a gauge change at one edge; measured: up to 0.9."""
EVERY_EDGE = 0.2
"""Bounds error / (eps * condition^3 * largest value) after gauge changes at all edges; measured: up to 0.06."""


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def orthonormal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An array whose columns, along its last axis, are orthonormal."""
    rows = int(np.prod(shape[:-1]))
    return np.linalg.qr(rng.standard_normal((rows, shape[-1])))[0].reshape(shape)


def graded(order: int, seed: int = 0) -> HierarchicalTucker:
    """Orthonormal leaves and transfer tensors, and diag(1, 1e-3, .., 1e-15) at the root."""
    rng, rank = np.random.default_rng(seed), len(DECADES)
    tree = DimensionTree.balanced(order)
    leaves = {mode: orthonormal(rng, (8, rank)) for mode in range(order)}
    transfers = {node: orthonormal(rng, (rank,) * 3) for node in tree.interior}
    return HierarchicalTucker(tree, leaves, {**transfers, tree.root: np.diag(DECADES)})


def change_gauges(
    x: HierarchicalTucker, condition: float, seed: int = 0, only: Node | None = None
) -> HierarchicalTucker:
    """A matrix of the given condition and its inverse between nodes, or one, and their parents: the same tensor."""
    rng = np.random.default_rng(seed)
    nodes = dict(x.nodes)
    for node in x.tree.nodes:
        parent = x.tree.parent(node)
        if parent is None or only not in (None, node):
            continue
        k = nodes[node].shape[-1]
        u, v = (np.linalg.qr(rng.standard_normal((k, k)))[0] for _ in range(2))
        steps = np.geomspace(1, 1 / condition, k)
        axis = x.tree.children(parent).index(node)
        nodes[node] = nodes[node] @ (u * steps) @ v.T
        inverse = (v / steps) @ u.T
        nodes[parent] = np.moveaxis(np.tensordot(inverse, nodes[parent], axes=([1], [axis])), 0, axis)
    return x._of_nodes(x.tree, nodes)


def matricized(dense: np.ndarray[Any, Any], modes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rest = [m for m in range(dense.ndim) if m not in modes]
    return dense.transpose(*modes, *rest).reshape(int(np.prod([dense.shape[m] for m in modes])), -1)


@st.composite
def tuckers(draw: Any) -> HierarchicalTucker:
    """On k-ary, ragged trees with unary nodes; ranks of every kind, also larger than the matricization's sides."""
    shape = draw(st.lists(st.integers(2, 4), min_size=2, max_size=5))
    tree = DimensionTree(draw(nested_trees(len(shape))))
    ranks = {node: draw(st.integers(1, 4)) for node in tree.nodes if node != tree.root}
    return HierarchicalTucker.random(shape, tree, ranks, seed=draw(st.integers(0, 10**6)))


@pytest.mark.parametrize("order", [4, 32])
def test_qr_recovers_fifteen_decades(order: int, backend_name: str) -> None:
    x = graded(order).to(backend_name)
    found = x.backend.jit(lambda y: y.singular_values("qr"))(x)
    for node in x.tree.children(x.tree.root):
        assert np.allclose(host(found[node]), DECADES, rtol=0.1, atol=0)


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e6])
@pytest.mark.parametrize("order", [4, 16])
def test_a_gauge_costs_eps_times_its_condition(order: int, condition: float) -> None:
    x = graded(order)
    expected = x.singular_values("qr")
    floor = tnrank.linalg.accuracy_floor("gram", "float64")
    for seed, edge in enumerate(expected):
        y = change_gauges(x, condition, seed, edge)
        for method, allowed in (("qr", ONE_EDGE * EPS * condition), ("gram", 10 * floor)):
            for node, values in y.singular_values(method).items():
                assert abs(values - expected[node]).max() <= allowed * expected[node][0], (method, edge, node)


@pytest.mark.parametrize("condition", [1e1, 1e2, 1e3])
@pytest.mark.parametrize("order", [4, 16])
def test_gauges_at_every_edge_cost_their_cube(order: int, condition: float) -> None:
    # Two inverses and one gauge meet in a transfer tensor, whose own rounding errors are as large.
    x = graded(order)
    expected = x.singular_values("qr")
    floor = tnrank.linalg.accuracy_floor("gram", "float64")
    for seed in range(5):
        y = change_gauges(x, condition, seed)
        for method, allowed in (("qr", 0.0), ("gram", 10 * floor)):
            for node, values in y.singular_values(method).items():
                error = abs(values - expected[node]).max() / expected[node][0]
                assert error <= EVERY_EDGE * EPS * condition**3 + allowed, (method, node)


@pytest.mark.parametrize("gap", [1e-3, 1e-9])
def test_gram_survives_cancellation(gap: float, backend_name: str) -> None:
    x = HierarchicalTucker.random((4,) * 6, rank=2, seed=0, backend=backend_name, dtype="float64")
    y = HierarchicalTucker.random((4,) * 6, rank=2, seed=1, backend=backend_name, dtype="float64")
    difference = x - (x + gap * y)
    expected = y.to("numpy").singular_values("qr", relative=True)
    found = x.backend.jit(lambda z: z.singular_values("gram", relative=True))(difference)
    for node, values in expected.items():
        assert np.allclose(host(found[node])[:2], values, rtol=0, atol=1e-7 + 100 * EPS / gap)
        assert (host(found[node])[2:] <= 1e-7 + 100 * EPS / gap).all()


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
@pytest.mark.parametrize("method", ["gram", "qr"])
def test_scales_beyond_squares(scale: float, method: str) -> None:
    x = HierarchicalTucker.random((4,) * 8, rank=3, seed=0)
    expected = x.singular_values("qr", relative=True)
    scaled = x.map(lambda a: a * scale)
    found = scaled.singular_values(method, relative=True)
    assert all(np.allclose(found[n], s, rtol=0, atol=1e-8) for n, s in expected.items())
    assert np.isclose(scaled.log_norm(), x.log_norm() + len(x.tree.nodes) * np.log(scale), rtol=1e-13)


@pytest.mark.few_on_jax("qr")
@pytest.mark.parametrize("method", ["gram", "qr"])
def test_zero_in_one_place_is_the_zero_tensor(method: str, backend_name: str) -> None:
    x = HierarchicalTucker.random((3,) * 5, rank=2, seed=0, backend=backend_name, dtype="float64")
    measured = {r: x.backend.jit(lambda y, r=r: y.singular_values(method, r)) for r in (True, False)}
    for place in (0, 6, len(x.tree.nodes) - 1):
        zero = x.replace([a * 0 if k == place else a for k, a in enumerate(x._values)])
        for fn in measured.values():
            assert all((host(s) == 0).all() for s in fn(zero).values())


def test_gram_refuses_a_tolerance_below_its_floor() -> None:
    floor = tnrank.linalg.accuracy_floor("gram", "float64")
    with pytest.raises(ValueError, match="floor"):
        graded(4).truncate(rtol=0.9 * floor, method="gram")
    with pytest.raises(ValueError, match="floor"):
        tnrank.hierarchical_rank(graded(4), rtol=0.9 * floor, method="gram")
    result = graded(4).truncate(rtol=2 * floor, method="gram")
    assert result.tensor.ranks[Node((0, 1), 1)] == 3


@given(tuckers())
def test_laws_of_the_spectra(x: HierarchicalTucker) -> None:
    dense, tree = host(x.to_dense()), x.tree
    norm = np.linalg.norm(dense)
    for method, close in (("qr", 1e-12), ("gram", 1e-7)):
        found = x.singular_values(method)
        for node, values in found.items():
            expected = np.linalg.svd(matricized(dense, node.modes), compute_uv=False) if node != tree.root else [norm]
            count = min(len(values), len(expected))
            assert np.allclose(values[:count], expected[:count], rtol=0, atol=close * norm)
            assert (abs(values[count:]) <= close * norm).all()
            assert (abs(expected[count:]) <= close * norm).all()
            assert np.isclose((values**2).sum(), norm**2, rtol=1e-10)
    ranks = {node: int((s > 1e-10 * s[0]).sum()) for node, s in x.singular_values("qr").items()} | {tree.root: 1}
    for node in tree.interior:
        below = tree.children(node)
        assert ranks[node] <= np.prod([ranks[c] for c in below])
        for child in below:
            assert ranks[child] <= ranks[node] * np.prod([ranks[c] for c in below if c != child])


@given(tuckers(), st.integers(1, 3))
def test_laws_of_truncation(x: HierarchicalTucker, most: int) -> None:
    dense = host(x.to_dense())
    norm = np.linalg.norm(dense)
    result = x.truncate(max_rank=most)
    error = np.linalg.norm(host(result.tensor.to_dense()) - dense)
    distinct: dict[frozenset[int], float] = {}
    everything = frozenset(range(dense.ndim))
    for node in x.singular_values():
        side = frozenset(node.modes)
        if side == everything:
            continue
        tail = np.linalg.svd(matricized(dense, node.modes), compute_uv=False)[most:]
        # Both sides of a bipartition have one spectrum.
        distinct[min(side, everything - side, key=sorted)] = float((tail**2).sum())
    rounding = 1e-12 * norm
    assert error <= np.sqrt(sum(distinct.values())) + rounding
    # No tensor of these ranks comes closer than the best truncation of any one node.
    best = max(distinct.values())
    assert error <= np.sqrt(len(distinct) * best) + rounding
    assert error >= np.sqrt(best) - rounding
    again = result.tensor.truncate(max_rank=most).tensor
    assert again.ranks == result.tensor.ranks
    assert np.allclose(host(again.to_dense()), host(result.tensor.to_dense()), rtol=0, atol=1e-12 * norm)
