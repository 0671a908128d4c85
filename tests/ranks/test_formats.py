"""Ranks and spectra measured in the format: against SVDs of the dense matricizations, and where nothing is dense."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import (
    CPFactorization,
    DimensionTree,
    HierarchicalFactorization,
    HierarchicalTucker,
    MatrixFactorization,
    Node,
)
from tnrank.factorizations import FactorizationSum, TensorTrain, TensorTrainOperator, Tucker, sum_of
from tnrank.ranks import (
    entanglement_entropy,
    hierarchical_rank,
    hierarchical_singular_values,
    multilinear_rank,
    rank_report,
    separation_rank,
    tt_ranks,
)
from tnrank.ranks._routes import _choose

SHAPE = (3, 4, 2, 3, 2)
WINDOWS = DimensionTree.windows(5)


def ht_sum(**options: Any) -> Any:
    terms = [
        HierarchicalTucker.random(SHAPE, WINDOWS, rank=2, seed=1, **options),
        CPFactorization.random(SHAPE, rank=2, seed=2, weighted=True, **options),
        HierarchicalFactorization.random(SHAPE, WINDOWS, width=2, seed=3, **options),
    ]
    return sum_of(terms, [1, -0.5, 0.25])


FORMATS = {
    "cp": lambda **o: CPFactorization.random(SHAPE, rank=4, weighted=True, **o),
    "cp, more components than rows": lambda **o: CPFactorization.random(SHAPE, rank=30, **o),
    "cp of order 2": lambda **o: CPFactorization.random((5, 4), rank=2, **o),
    "matrix": lambda **o: MatrixFactorization.random((6, 5), depth=4, hidden=(5, 2, 7), **o),
    "matrix of depth 1": lambda **o: MatrixFactorization.random((3, 5), depth=1, **o),
    "hierarchical": lambda **o: HierarchicalFactorization.random(SHAPE, WINDOWS, width=3, **o),
    "hierarchical, classes": lambda **o: HierarchicalFactorization.random(SHAPE, WINDOWS, width=3, classes=4, **o),
    "hierarchical, ternary": lambda **o: HierarchicalFactorization.random(SHAPE, ((4, 0, 2), 1, 3), width=3, **o),
    "hierarchical tucker": lambda **o: HierarchicalTucker.random(SHAPE, WINDOWS, rank=3, **o),
    "hierarchical tucker, too wide": lambda **o: HierarchicalTucker.random(SHAPE, WINDOWS, rank=7, **o),
    "tensor train": lambda **o: TensorTrain.random(SHAPE, rank=3, **o),
    "operator": lambda **o: TensorTrainOperator.random((3, 2, 2), (2, 1, 3), rank=3, **o),
    "operator of one core": lambda **o: TensorTrainOperator.random((3,), (4,), **o),
    "tucker": lambda **o: Tucker.random(SHAPE, rank=2, **o),
    "sum on one tree": ht_sum,
    "sum with an operator": lambda **o: sum_of(
        [
            TensorTrainOperator.random((3, 2), (2, 3), rank=2, seed=1, **o),
            CPFactorization.random((3, 2, 2, 3), rank=2, seed=2, **o),
        ],
        [1, -0.5],
    ),
    "sum of classes": lambda **o: sum_of(
        [
            HierarchicalFactorization.random(SHAPE, WINDOWS, width=2, classes=3, seed=5, **o),
            CPFactorization.random((*SHAPE, 3), rank=2, seed=6, **o),
        ]
    ),
}


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def oracle(dense: np.ndarray[Any, Any], modes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rest = [m for m in range(dense.ndim) if m not in modes]
    rows = math.prod(dense.shape[m] for m in modes)
    return np.linalg.svd(dense.transpose(*modes, *rest).reshape(rows, -1), compute_uv=False)


def compare(x: Any, tree: DimensionTree | None, method: str, tolerance: float, jit: bool = False) -> None:
    dense = host(x.to("numpy").to_dense())
    if jit:
        measure = x.backend.jit(lambda y: list(hierarchical_singular_values(y, tree, method=method).values()))
        found = dict(zip(hierarchical_singular_values(x.to("numpy"), tree), measure(x), strict=True))
    else:
        found = hierarchical_singular_values(x, tree, method=method)
    assert found
    for node, values in found.items():
        expected = oracle(dense, node.modes)
        got = np.zeros(len(expected))
        assert len(values) <= len(expected)
        got[: len(values)] = host(values)
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * expected[0])


@pytest.fixture(params=["by cost", "in the format"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "in the format":
        monkeypatch.setattr(_choose, "_IN_FAVOR_OF_THE_FORMAT", math.inf)
    return str(request.param)


method_and_route = pytest.mark.parametrize(
    ("method", "route"),
    [
        ("qr", "by cost"),
        ("gram", "in the format"),
        pytest.param("qr", "in the format", marks=pytest.mark.slow),
        pytest.param("gram", "by cost", marks=pytest.mark.slow),
    ],
    indirect=["route"],
)


@pytest.mark.parametrize("name", FORMATS)
def test_spectra_on_all_trees_are_those_of_the_dense_tensor(name: str, route: str) -> None:
    x = FORMATS[name]()
    order = len(x.shape)
    trees = [None, DimensionTree.balanced(order), DimensionTree.linear(order), DimensionTree.star(order)]
    if order == 5:
        trees.append(DimensionTree(((0, 2, 4), (1, (3,)))))
    for tree in trees:
        compare(x, tree, "qr", 1e-13)
        compare(x, tree, "gram", 2e-8)


# Few shapes, because JAX compiles each anew.
SMALL = {
    "cp": lambda **o: CPFactorization.random((2,) * 3, rank=2, weighted=True, **o),
    "hierarchical, classes": lambda **o: HierarchicalFactorization.random((2,) * 3, width=2, classes=2, **o),
    "tensor train": lambda **o: TensorTrain.random((2,) * 3, rank=2, **o),
    "sum": lambda **o: sum_of(
        [HierarchicalTucker.random((2,) * 3, rank=1, **o), CPFactorization.random((2,) * 3, rank=1, seed=1, **o)]
    ),
}


@pytest.mark.few_on_jax("cp")
@pytest.mark.parametrize("name", SMALL)
def test_backends_and_complex_numbers(name: str, backend_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_choose, "_IN_FAVOR_OF_THE_FORMAT", math.inf)
    x = SMALL[name](dtype="complex128").to(backend_name)
    assert x.backend.name == backend_name
    compare(x, None, "qr", 1e-13)
    if backend_name == "jax":  # which compiles each step
        compare(x, None, "gram", 2e-8, jit=True)
        if name != "cp":  # of the slow ones
            compare(x, DimensionTree.linear(len(x.shape)), "qr", 1e-13, jit=True)
    else:
        compare(x, None, "gram", 2e-8)
        compare(x, DimensionTree.linear(len(x.shape)), "qr", 1e-13)


@pytest.mark.parametrize("name", FORMATS)
def test_all_ranks_are_those_of_the_dense_tensor(name: str, route: str) -> None:
    x = FORMATS[name]()
    dense = host(x.to_dense())
    order = dense.ndim
    assert multilinear_rank(x) == multilinear_rank(dense)
    assert tt_ranks(x) == tt_ranks(dense) == tuple(separation_rank(dense, range(k)) for k in range(1, order))
    for tree in (None, DimensionTree.linear(order)):
        found = hierarchical_rank(x, tree)
        assert all(rank == separation_rank(dense, node.modes) for node, rank in found.items())
        entropies = entanglement_entropy(x, tree)
        for node, entropy in entropies.items():
            p = oracle(dense, node.modes) ** 2 / (abs(dense) ** 2).sum()
            p = p[p > 1e-28]
            assert float(entropy) == pytest.approx(float(-(p * np.log(p)).sum()), abs=1e-12)
    for modes in ((0,), (1,), tuple(range(0, order, 2)), (0, order - 1)):
        if 0 < len(modes) < order:
            assert separation_rank(x, modes) == separation_rank(dense, modes)


@pytest.mark.parametrize("name", FORMATS)
def test_reports_agree_with_those_of_the_dense_tensor(name: str, route: str) -> None:
    x = FORMATS[name]()
    tree = rank_report(x).tree
    if tree.order < len(x.shape):
        tree = DimensionTree.linear(len(x.shape))
    found, expected = rank_report(x, tree), rank_report(host(x.to_dense()), tree)
    assert found.norm == pytest.approx(expected.norm, rel=1e-12)
    assert found.log_norm == pytest.approx(math.log(expected.norm), abs=1e-12)
    assert found.multilinear_rank == expected.multilinear_rank
    for a, b in zip(found.nodes, expected.nodes, strict=True):
        assert (a.node, a.sides, a.rank) == (b.node, b.sides, b.rank)
        assert a.stable_rank == pytest.approx(b.stable_rank, rel=1e-10)
        assert a.entropy == pytest.approx(b.entropy, abs=1e-10)
        assert a.effective_rank == pytest.approx(b.effective_rank, rel=1e-10)


@st.composite
def bipartitions(draw: st.DrawFn) -> tuple[HierarchicalTucker, tuple[int, ...]]:
    order = draw(st.integers(3, 7))
    parts: list[Any] = list(draw(st.permutations(range(order))))
    while len(parts) > 1:
        size = min(len(parts), draw(st.integers(2, 3)))
        start = draw(st.integers(0, len(parts) - size))
        parts[start : start + size] = [tuple(parts[start : start + size])]
    dims = draw(st.lists(st.integers(1, 3), min_size=order, max_size=order))
    tree = DimensionTree(parts[0])
    ranks = {node: draw(st.integers(1, 4)) for node in tree.nodes}
    rows = draw(st.sets(st.integers(0, order - 1), min_size=1, max_size=order - 1))
    return HierarchicalTucker.random(dims, tree, ranks, seed=draw(st.integers(0, 100))), tuple(sorted(rows))


@given(bipartitions())
def test_any_bipartition_of_any_tree(case: tuple[HierarchicalTucker, tuple[int, ...]]) -> None:
    x, rows = case
    found = _choose._by_frames(x, x.tree, x.shape, [rows], "qr").run()
    expected = oracle(x.to_dense(), rows)
    got = np.zeros(max(len(expected), len(found.values[rows])))
    got[: len(found.values[rows])] = found.values[rows] * np.exp(found.log_unit())
    np.testing.assert_allclose(got[: len(expected)], expected, rtol=0, atol=1e-12 * max(expected[0], 1e-300))
    assert separation_rank(x, rows) == (expected > 1e-12 * expected[0]).sum()


def test_small_values_survive_qr_and_not_gram() -> None:
    q = [np.linalg.qr(np.random.default_rng(k).standard_normal((6, 5)))[0] for k in range(4)]
    decades = 10.0 ** -np.arange(0, 15, 3)
    x = CPFactorization(q, decades)
    # Khatri-Rao products of orthonormal columns are orthonormal: the weights are the values at every node.
    for values in hierarchical_singular_values(x).values():
        np.testing.assert_allclose(values, decades, rtol=1e-3)
    assert set(hierarchical_rank(x).values()) == {5}
    assert set(hierarchical_rank(x, rtol=1e-5, method="gram").values()) == {2}
    with pytest.raises(ValueError, match=r"below the accuracy floor 1\.49e-08 of 'gram'"):
        hierarchical_rank(x, rtol=1e-10, method="gram")


@pytest.mark.parametrize("name", ["cp", "hierarchical", "hierarchical tucker", "tensor train", "tucker", "matrix"])
def test_a_sum_with_itself_has_its_ranks(name: str) -> None:
    x = FORMATS[name]()
    twice = sum_of([x, x], [1, 2])
    assert multilinear_rank(twice) == multilinear_rank(x)
    assert hierarchical_rank(twice) == hierarchical_rank(x)
    np.testing.assert_allclose(float(rank_report(twice).norm), 3 * float(x.norm()), rtol=1e-12)


def test_what_cancels_is_noise_and_counts_as_none() -> None:
    x = HierarchicalTucker.random((4,) * 12, rank=3, seed=0, std=0.5)
    big = HierarchicalTucker.random((4,) * 12, rank=3, seed=1, std=0.5) * 1e6
    found = hierarchical_rank(sum_of([x, big, big], [1, 1, -1]))
    assert found == hierarchical_rank(x)
    large = CPFactorization.random((4,) * 12, rank=3, seed=1, std=5.0)
    small = CPFactorization.random((4,) * 12, rank=2, seed=2, std=2.0)
    assert set(hierarchical_rank(sum_of([large, small, large], [1, 1, -1])).values()) == {2}


def test_sums_of_different_trees_are_measured_where_they_can_be() -> None:
    x = HierarchicalTucker.random((2,) * 6, rank=2, seed=0)
    y = TensorTrain.random((2,) * 6, rank=2, seed=1)
    total = sum_of([x, y])
    compare(total, None, "qr", 1e-13)
    compare(total, DimensionTree.star(6), "qr", 1e-13)
    # Beyond dense tensors, all terms are brought to the tree that is asked for.
    terms = [HierarchicalTucker.random((2,) * 60, rank=2, seed=0), TensorTrain.random((2,) * 60, rank=2, seed=1)]
    found = hierarchical_rank(sum_of(terms), DimensionTree.linear(60))
    parts = [tt_ranks(term) for term in terms]
    assert [found[tuple(range(k, 60))] for k in range(1, 60)] == [
        min(a + b, 2**k, 2 ** (60 - k)) for k, (a, b) in enumerate(zip(*parts, strict=True), 1)
    ]


@pytest.mark.parametrize("method", ["qr", "gram"])
def test_many_bipartitions_are_measured_on_a_tree_of_theirs(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = TensorTrain.random((3,) * 24, rank=2, seed=0)
    tree = DimensionTree.balanced(24)
    monkeypatch.setattr(_choose, "_MANY_STEPS", 10**9)
    one_by_one, ranks = hierarchical_singular_values(x, tree, method=method), hierarchical_rank(x, tree)
    monkeypatch.setattr(_choose, "_MANY_STEPS", 0)
    assert hierarchical_rank(x, tree) == ranks
    for node, found in hierarchical_singular_values(x, tree, method=method).items():
        expected = one_by_one[node]
        shorter = min(len(found), len(expected))
        tolerance = (1e-13 if method == "qr" else 2e-8) * expected[0]
        np.testing.assert_allclose(found[:shorter], expected[:shorter], rtol=0, atol=tolerance)
        assert max([*found[shorter:], *expected[shorter:], 0.0]) < tolerance


def test_low_ranks_across_many_edges_are_found_by_a_change_of_tree() -> None:
    cp = CPFactorization([np.linalg.qr(np.random.default_rng(k).standard_normal((4, 2)))[0] for k in range(40)])
    x = HierarchicalTucker.from_factorization(cp)
    rows = tuple(range(0, 40, 2))
    found = _choose.from_factorization(x, x.shape, x.tree, [rows], "qr")
    np.testing.assert_allclose(found.values[rows][:2], [0.5**0.5, 0.5**0.5], rtol=1e-12)
    assert separation_rank(x, rows) == 2


@pytest.mark.parametrize(("order", "scale"), [(240, 10.0), pytest.param(1000, 1.0, marks=pytest.mark.slow)])
def test_orders_that_no_dense_tensor_has(order: int, scale: float) -> None:
    ones = CPFactorization([np.full((100, 1), scale)] * order)
    report = rank_report(ones)
    assert report.log_norm == pytest.approx(order * math.log(10 * scale), rel=1e-13)
    assert set(report.hierarchical_rank.values()) == {1}
    assert {entry.entropy for entry in report.nodes} == {0.0}
    # Two terms of equal norm, beyond float64, orthogonal in every mode: the spectrum is (1, 1) / sqrt(2) at every node.
    columns = scale * np.stack([np.ones(6), (-1.0) ** np.arange(6)], axis=1)
    x = CPFactorization([columns] * order)
    for tree in (None, DimensionTree.linear(order)):
        values = hierarchical_singular_values(x, tree, relative=True)
        assert all(np.allclose(s, 0.5**0.5, rtol=1e-11) for s in values.values())
        assert all(float(e) == pytest.approx(math.log(2)) for e in entanglement_entropy(x, tree).values())
    assert separation_rank(x, range(0, order, 2)) == 2
    assert set(tt_ranks(x)) == {2}
    assert np.isinf(hierarchical_singular_values(x)[0][0])
    # One term lives in the first half, the other in the second: neither half's share is a number.
    high, low = 1e3 ** (240 / order), 1e-5 ** (240 / order)
    split = CPFactorization([columns * [high, low]] * (order // 2) + [columns * [low, high]] * (order // 2))
    assert all(
        np.allclose(s, 0.5**0.5, rtol=1e-10) for s in hierarchical_singular_values(split, relative=True).values()
    )


@pytest.mark.parametrize("method", ["qr", "gram"])
@pytest.mark.parametrize("order", [100, pytest.param(1024, marks=pytest.mark.slow)])
def test_reports_at_high_orders(method: str, order: int) -> None:
    shape = (4,) * order
    for x in (
        CPFactorization([np.eye(4)[:, :3] + 0.1 * k for k in np.random.default_rng(0).random(order)]),
        HierarchicalTucker.random(shape, rank=3),
        HierarchicalFactorization.random(shape, width=3),
        TensorTrain.random((3,) * (order // 4), rank=3),
    ):
        report = rank_report(x, method=method, rtol=1e-7 if method == "gram" else None)
        assert max(report.hierarchical_rank.values()) == 3
        assert math.isfinite(report.log_norm)
        assert len(str(report).splitlines()) < 60


def test_local_components_bound_the_ranks() -> None:
    x = HierarchicalFactorization.random((4,) * 4, width=5, seed=0)
    keep = {(0, 1): 2, (2, 3): 3, (0, 1, 2, 3): 4}
    matrices = x.matrices
    for node in x.tree.interior:
        matrices[node] = matrices[node] * (np.arange(5) < keep[node.modes])[:, None]
    y = HierarchicalFactorization(x.tree, matrices)
    report = rank_report(y)
    bounds = {entry.node.modes: entry.components for entry in report.nodes}
    assert bounds == {(0,): 2, (1,): 2, (2,): 3, (3,): 3, (0, 1): 2, (2, 3): 3}
    assert all(entry.rank <= entry.components for entry in report.nodes)
    assert report.hierarchical_rank[0, 1] == report.hierarchical_rank[2, 3] == 2
    assert "components" in str(report)
    assert "components" not in str(rank_report(y, DimensionTree.linear(4)))
    assert rank_report(y, DimensionTree.linear(4)).nodes[0].components is None


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_components_bound_ranks_for_any_zeros(first: int, second: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = HierarchicalFactorization.random(
        (3,) * 5, WINDOWS, width={n: (first, second)[n.height % 2] for n in WINDOWS.interior}
    )
    x = x.map(lambda a: a * (rng.random(a.shape) < 0.7))
    assert all(entry.rank <= entry.components for entry in rank_report(x).nodes)


ZEROS = {
    "dense": np.zeros((3, 2, 2, 3)),
    "cp": CPFactorization([np.zeros((d, 2)) for d in (3, 2, 2, 3)]),
    "cp, one zero factor": CPFactorization([np.zeros((3, 2)), *(np.ones((d, 2)) for d in (2, 2, 3))]),
    "hierarchical": HierarchicalFactorization.random((3, 2, 2, 3), width=2, std=0.0),
    "hierarchical tucker": HierarchicalTucker.random((3, 2, 2, 3), rank=2, std=0.0),
    "tensor train": TensorTrain.random((3, 2, 2, 3), rank=2, std=0.0),
    "tucker": Tucker.random((3, 2, 2, 3), rank=2, std=0.0),
    "sum": FactorizationSum(
        [TensorTrain.random((3, 2, 2, 3), rank=2), TensorTrain.random((3, 2, 2, 3), rank=2)], [0, 0]
    ),
}


@pytest.mark.parametrize("name", ZEROS)
@method_and_route
def test_zero_tensors(name: str, method: str, route: str) -> None:
    x = ZEROS[name]
    for tree in (None, DimensionTree.linear(4), DimensionTree(((0, 3), (1, 2)))):
        assert set(hierarchical_rank(x, tree, method=method).values()) == {0}
        for order in (0, 0.5, 1, 2, math.inf):
            assert {float(e) for e in entanglement_entropy(x, tree, order, method).values()} == {0.0}
        assert all((host(s) == 0).all() for s in hierarchical_singular_values(x, tree, method=method).values())
    assert multilinear_rank(x) == (0,) * 4
    assert tt_ranks(x) == (0, 0, 0)
    assert separation_rank(x, (0, 2)) == 0
    report = rank_report(x, method=method)
    assert (report.norm, report.log_norm, report.relative) == (0, -math.inf, False)
    assert report.to_dict()["log_norm"] is None
    assert {(e.rank, e.effective_rank, e.stable_rank, e.entropy) for e in report.nodes} == {(0, 0.0, 0.0, 0.0)}
    assert str(report)


CALLS = {
    "spectra": hierarchical_singular_values,
    "rank": hierarchical_rank,
    "entropy": entanglement_entropy,
    "report": rank_report,
}
BAD = ["cp", "hierarchical", "hierarchical tucker", "tensor train", "tucker", "sum on one tree"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", BAD)
def test_bad_trees_and_tolerances_in_every_format(name: str, call: str) -> None:
    x, function = FORMATS[name](), CALLS[call]
    with pytest.raises(ValueError, match=r"the tree has 6 modes, .* has 5: its node \{5\} names mode 5"):
        function(x, DimensionTree.balanced(6))
    with pytest.raises(ValueError, match=r"mode 4 is missing from its root \{0,1,2,3\}"):
        function(x, DimensionTree.balanced(4))
    with pytest.raises(ValueError, match="mode 1 appears 2 times"):
        function(x, ((0, 1), (1, 2)))
    for rtol in (-1e-3, 1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"lies in \[0, 1\)"):
            function(x, rtol=rtol)
    with pytest.raises(ValueError, match=r"below the accuracy floor 2.22e-16 of 'qr' in float64"):
        function(x, rtol=1e-17)
    with pytest.raises(ValueError, match=r"below the accuracy floor 1.49e-08 of 'gram' in float64: use method='qr'"):
        function(x, rtol=1e-12, method="gram")
    with pytest.raises(ValueError, match="unknown method 'svd'"):
        function(x, method="svd")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", [*BAD, "matrix"])
def test_entries_that_are_not_finite_name_their_array(name: str, bad: float) -> None:
    x = FORMATS[name]()
    first = x.terms[1] if hasattr(x, "terms") else x
    array = next(iter(first.arrays))
    spoiled = np.array(first.arrays[array])
    spoiled.flat[1] = bad
    wrong = first.replace({array: spoiled})
    x = sum_of([x.terms[0], wrong]) if hasattr(x, "terms") else wrong
    for function in (multilinear_rank, tt_ranks, rank_report, hierarchical_rank):
        with pytest.raises(ValueError, match=f"1 of .* entries of the array {array!r} of the .* are NaN or infinite"):
            function(x)


def test_empty_modes_and_low_orders() -> None:
    empty = CPFactorization([np.ones((3, 2)), np.ones((0, 2)), np.ones((2, 2))])
    vector = CPFactorization([np.ones((3, 2))])
    for function in (multilinear_rank, hierarchical_rank, rank_report, tt_ranks, entanglement_entropy):
        with pytest.raises(
            ValueError, match=r"mode 1 of the CPFactorization of shape \(3, 0, 2\) is empty: node \{1\}"
        ):
            function(empty)
        with pytest.raises(ValueError, match=r"got a vector \(shape \(3,\)\), needed a tensor of order 2"):
            function(vector)


@pytest.mark.slow
def test_bipartitions_that_cut_too_much_give_their_sizes() -> None:
    x = HierarchicalTucker.random((6,) * 32, rank=5, std=0.3)
    assert separation_rank(x, range(7)) == 25  # the node of 8 modes less one: two edges
    assert separation_rank(x, (0, 8, 16)) == 125
    with pytest.raises(ValueError, match=r"array has .* entries, the dense tensor has 10\^24.9, the limit"):
        separation_rank(x, range(0, 32, 2))
    with pytest.raises(ValueError, match="mode 64 is out of range"):
        separation_rank(x, (0, 64))


def test_products_of_dimensions_beyond_integers() -> None:
    x = CPFactorization([np.ones((7, 1))] * 200)
    report = rank_report(x)
    assert report.nodes[-1].sides == (7**100, 7**100)
    found = report.to_dict()["nodes"][-1]
    assert found["rows"] is None
    assert found["log10_sides"][0] == pytest.approx(100 * math.log10(7))
    assert report.to_dict()["nodes"][0]["rows"] == 7


def test_wide_formats_have_no_more_values_than_the_tensor() -> None:
    x = HierarchicalTucker.random((2, 2, 2), rank=9, seed=0)
    for node, values in hierarchical_singular_values(x).items():
        assert len(values) == 2, node
    assert max(hierarchical_rank(x).values()) == 2


def test_half_precision_and_integers() -> None:
    x = CPFactorization([np.array([[1, 0], [0, 1]])] * 4)
    assert set(hierarchical_rank(x).values()) == {2}
    half = CPFactorization.random((3,) * 5, rank=2, dtype="float32").map(lambda a: a.astype(np.float16))
    assert rank_report(half).dtype == "float16"
    assert set(hierarchical_rank(half).values()) == {2}
    assert rank_report(half).nodes[0].rtol >= 2.0**-10


def test_traced_and_differentiated() -> None:
    jax = pytest.importorskip("jax")
    x = HierarchicalTucker.random((2,) * 3, rank=2)

    def entropy(y: HierarchicalTucker) -> Any:
        return tnrank.ranks.renyi_entropy_of(hierarchical_singular_values(y, relative=True)[0, 1])

    value, gradient = jax.jit(jax.value_and_grad(entropy))(x.to("jax"))
    assert float(value) == pytest.approx(float(entanglement_entropy(x)[0, 1]), abs=1e-12)
    rng = np.random.default_rng(0)
    for name, array in x.arrays.items():
        direction = rng.standard_normal(array.shape)
        up, down = (float(entropy(x.replace({name: array + t * direction}))) for t in (1e-6, -1e-6))
        assert float((gradient.arrays[name] * direction).sum()) == pytest.approx((up - down) / 2e-6, abs=1e-8)


def test_unary_nodes_count_once_in_every_format() -> None:
    for name in ("hierarchical", "hierarchical tucker"):
        found = hierarchical_rank(FORMATS[name]())
        assert Node((4,), 0) in found
        assert Node((4,), 1) not in list(found)


@pytest.mark.parametrize("seed", range(3))
def test_spectra_on_random_trees_are_quimbs_gauges(seed: int) -> None:
    qtn = pytest.importorskip("quimb.tensor")
    rng = np.random.default_rng(seed)
    parts: list[Any] = [int(mode) for mode in rng.permutation(12 + 4 * seed)]
    while len(parts) > 1:
        start, size = int(rng.integers(0, len(parts) - 1)), int(rng.integers(2, 4))
        parts[start : start + size] = [tuple(parts[start : start + size])]
    x = HierarchicalTucker.random((3,) * (12 + 4 * seed), DimensionTree(parts[0]), rank=2, seed=seed, std=0.6)
    names = dict(zip(x.tree.nodes, x.network.tensors, strict=True))
    tensors = [
        qtn.Tensor(x.arrays[name], inds=[str(label) for label in labels]) for name, labels in x.network.tensors.items()
    ]
    gauges: dict[str, np.ndarray[Any, Any]] = {}
    qtn.TensorNetwork(tensors).gauge_all_simple_(max_iterations=300, tol=1e-13, gauges=gauges)
    for node, values in hierarchical_singular_values(x, relative=True).items():
        found = np.sort(np.asarray(gauges[f"k{names[node]}"]))[::-1]
        np.testing.assert_allclose(found / np.linalg.norm(found), values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["cp", "hierarchical", "hierarchical, classes", "hierarchical tucker", "tensor train"])
@method_and_route
def test_nothing_but_rounding_has_rank_zero(name: str, method: str, route: str) -> None:
    x = FORMATS[name]()
    gone = sum_of([x, x, x], [1, 2, -3])
    assert set(hierarchical_rank(gone, DimensionTree.balanced(len(x.shape)), method=method).values()) == {0}
    assert multilinear_rank(gone, method=method) == (0,) * len(x.shape)
    assert {float(e) for e in entanglement_entropy(gone, method=method).values()} == {0.0}
    assert {entry.rank for entry in rank_report(gone, method=method).nodes} == {0}


@pytest.mark.parametrize("name", FORMATS)
def test_gram_counts_no_rounding(name: str, route: str) -> None:
    x = FORMATS[name]()
    order = len(x.shape)
    for form in (x, sum_of([x, x, x], [1, 2, -2.5])):
        for tree in (DimensionTree.balanced(order), DimensionTree.linear(order)):
            assert hierarchical_rank(form, tree, method="gram") == hierarchical_rank(x, tree)
        assert separation_rank(form, (0, order - 1) if order > 2 else 0, method="gram") == separation_rank(
            x, (0, order - 1) if order > 2 else 0
        )
