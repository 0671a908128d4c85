"""Hierarchical Tucker: construction, spectra straight from the format, truncation; against dense SVDs."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree, HierarchicalTucker, Node

TREES = [
    DimensionTree.balanced(4),
    DimensionTree.linear(5),
    DimensionTree.star(3),
    DimensionTree.windows(5),
    DimensionTree(((0, 3), (2, (1, 4)))),
    DimensionTree(((4, 0, 2), (3, 1), 5)),
    DimensionTree.balanced(2),
]


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def draw(tree: DimensionTree, rank: int = 3, seed: int = 0, **options: Any) -> HierarchicalTucker:
    dims = [3, 4, 2, 3, 2, 4][: tree.order]
    if options.get("backend") == "jax":  # which compiles each shape anew
        dims, rank = [2] * tree.order, 2
    return HierarchicalTucker.random(dims, tree, rank, seed=seed, **options)


def recursive(x: HierarchicalTucker) -> np.ndarray[Any, Any]:
    """The definition, frame by frame."""

    def frame(node: Node) -> tuple[tuple[int, ...], np.ndarray[Any, Any]]:
        array = host(x.nodes[node])
        if not node.height:
            return node.modes, array
        modes: tuple[int, ...] = ()
        made = array if node != x.tree.root else array[..., None]
        for child in x.tree.children(node):
            below, columns = frame(child)
            made = np.tensordot(made, columns, axes=([0], [-1]))  # its modes go to the end
            modes += below
        return modes, np.moveaxis(made, 0, -1)

    modes, made = frame(x.tree.root)
    return made[..., 0].transpose(np.argsort(modes))


def matricized(dense: np.ndarray[Any, Any], modes: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rest = [m for m in range(dense.ndim) if m not in modes]
    return dense.transpose(*modes, *rest).reshape(int(np.prod([dense.shape[m] for m in modes])), -1)


@pytest.mark.few_on_jax("star(3)", "windows")
@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_end_tensor_is_the_definition(tree: DimensionTree, backend_name: str) -> None:
    x = draw(tree, backend=backend_name, dtype="float64")
    assert np.allclose(host(x.to_dense()), recursive(x), rtol=0, atol=1e-12 * abs(recursive(x)).max())
    assert np.isclose(float(x.norm()), np.linalg.norm(recursive(x)), rtol=1e-12)
    y = x.orthogonalize()
    assert np.allclose(host(y.to_dense()), recursive(x), rtol=0, atol=1e-12 * abs(recursive(x)).max())
    for node, array in y.nodes.items():
        if node != tree.root:
            columns = host(array).reshape(-1, array.shape[-1])
            assert np.allclose(columns.T @ columns, np.eye(columns.shape[1]), atol=1e-13)


@pytest.mark.few_on_jax("star(3)-float64")
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_spectra_are_those_of_the_matricizations(tree: DimensionTree, dtype: str, backend_name: str) -> None:
    x = draw(tree, backend=backend_name, dtype=dtype)
    dense = host(x.to_dense())
    for method, floor in (("qr", 1e-13), ("gram", 1e-7)):
        found = x.singular_values(method)
        assert set(found) == set(tree.nodes) - {tree.root}
        for node, values in found.items():
            expected = np.linalg.svd(matricized(dense, node.modes), compute_uv=False)
            got = host(values)
            padded = np.zeros(max(len(got), len(expected)))
            padded[: len(got)] = got
            assert np.allclose(padded[: len(expected)], expected, rtol=0, atol=floor * expected[0])


def test_small_values_survive_qr_and_not_gram() -> None:
    decades = 10.0 ** -np.arange(0, 13, 3)
    rng = np.random.default_rng(0)
    q = [np.linalg.qr(rng.standard_normal((25, 5)))[0] for _ in range(2)]
    frames = {m: np.eye(5) for m in range(4)}
    x = HierarchicalTucker(
        DimensionTree.balanced(4),
        frames,
        {(0, 1): q[0].reshape(5, 5, 5), (2, 3): q[1].reshape(5, 5, 5), (0, 1, 2, 3): np.diag(decades)},
    )
    assert np.allclose(x.singular_values("qr")[Node((0, 1), 1)], decades, rtol=0.1, atol=0)
    with pytest.raises(ValueError, match="floor"):
        x.truncate(rtol=1e-10, method="gram")


@pytest.mark.few_on_jax("star(3)-0.001")
@pytest.mark.parametrize("rtol", [1e-1, 1e-3, 1e-6, 1e-11])
@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_dense_tensors_to_a_tolerance(tree: DimensionTree, rtol: float, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    dims = [5, 4, 6, 3, 4, 3][: tree.order]
    grid = np.meshgrid(*[np.arange(1, d + 1) for d in dims], indexing="ij")
    tensor = 1.0 / sum(grid)
    x = HierarchicalTucker.from_dense(backend.asarray(tensor), tree, rtol=rtol)
    error = np.linalg.norm(host(x.to_dense()) - tensor) / np.linalg.norm(tensor)
    assert error <= rtol
    assert x.backend.name == backend_name


@given(st.integers(0, 10**6), st.sampled_from(TREES), st.floats(1e-6, 0.5))
def test_truncation_keeps_its_bounds(seed: int, tree: DimensionTree, rtol: float) -> None:
    x = draw(tree, rank=3, seed=seed) + draw(tree, rank=2, seed=seed + 1) * 1e-2
    dense = recursive(x)
    result = x.truncate(rtol=rtol)
    error = np.linalg.norm(recursive(result.tensor) - dense)
    assert error <= result.error_bound * (1 + 1e-10) + 1e-13 * np.linalg.norm(dense)
    assert error <= rtol * np.linalg.norm(dense) * (1 + 1e-10)
    # The bound is quasi-optimal: each node alone drops no more than the best tensor of those ranks must.
    again = result.tensor.truncate(rtol=1e-13)
    assert again.tensor.ranks == result.tensor.truncate(rtol=1e-13).tensor.ranks
    for node, values in result.singular_values.items():
        assert np.isclose(np.sqrt((host(values) ** 2).sum()), 1, rtol=1e-10), node


@pytest.mark.few_on_jax("star(3)")
@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_arithmetic(tree: DimensionTree, backend_name: str) -> None:
    x = draw(tree, backend=backend_name, dtype="float64")
    y = draw(tree, rank=2, seed=1, backend=backend_name, dtype="float64")
    a, b = recursive(x), recursive(y)
    assert np.allclose(recursive(x + y), a + b, atol=1e-12 * abs(a).max())
    assert np.allclose(recursive(x - 2.5 * y), a - 2.5 * b, atol=1e-12 * abs(a).max())
    same = (x + x).truncate().tensor
    assert np.allclose(recursive(same), 2 * a, rtol=0, atol=1e-12 * abs(a).max())
    assert all(same.ranks[node] <= rank for node, rank in x.ranks.items())
    assert np.isclose(float(x.inner(y)), (a * b).sum(), rtol=1e-10)
    indices = np.stack([np.random.default_rng(0).integers(0, d, 20) for d in x.shape], axis=1)
    assert np.allclose(host(x.entries(indices)), a[tuple(indices.T)], atol=1e-12 * abs(a).max())


def test_cp_and_hierarchical_factorizations_convert_exactly(backend_name: str) -> None:
    cp = tnrank.CPFactorization.random((3, 4, 2, 3), rank=3, weighted=True, backend=backend_name, dtype="float64")
    htf = tnrank.HierarchicalFactorization.random(
        (3, 4, 2, 3, 2), DimensionTree.windows(5), width=3, backend=backend_name, dtype="float64"
    )
    for given_one, tree in ((cp, None), (cp, DimensionTree.linear(4)), (cp, DimensionTree.star(4)), (htf, None)):
        x = HierarchicalTucker.from_factorization(given_one, tree)
        dense = host(given_one.to_dense())
        assert np.allclose(host(x.to_dense()), dense, rtol=0, atol=1e-12 * abs(dense).max())


def test_order_1000_has_its_log_norm_and_ranks() -> None:
    ones = HierarchicalTucker.random((10,) * 1000, rank=1, std=0.0, mean=1.0)
    assert np.isclose(float(ones.log_norm()), 500 * np.log(10), rtol=1e-13)
    cp = tnrank.CPFactorization([np.stack([np.ones(4), np.arange(4.0)], axis=1)] * 300)
    x = HierarchicalTucker.from_factorization(cp)
    assert np.isfinite(float(x.log_norm()))


def test_zero_tensor() -> None:
    x = HierarchicalTucker.from_dense(np.zeros((3, 3, 3, 3)))
    assert float(x.norm()) == 0
    assert float(x.log_norm()) == -np.inf
    assert all((host(s) == 0).all() for s in x.singular_values().values())
    assert max(x.truncate(rtol=1e-3).tensor.ranks.values()) == 1


def test_max_rank_and_the_bound_that_goes_with_it() -> None:
    tensor = np.random.default_rng(0).standard_normal((4,) * 4)
    x = HierarchicalTucker.from_dense(tensor)
    result = x.truncate(max_rank=2)
    assert max(result.tensor.ranks.values()) == 2
    assert np.linalg.norm(recursive(result.tensor) - tensor) <= result.error_bound
    assert max(HierarchicalTucker.from_dense(tensor, max_rank=3).ranks.values()) == 3


@pytest.mark.few_on_jax("jax")
def test_files_pickles_and_pytrees(tmp_path: Any, backend_name: str) -> None:
    x = draw(TREES[3], backend=backend_name)
    x.save(tmp_path / "x.safetensors")
    for again in (tnrank.load(tmp_path / "x.safetensors"), pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
        assert isinstance(again, HierarchicalTucker)
        assert again.tree == x.tree
        assert (host(again.to_dense()) == host(x.to_dense())).all()


def test_jit_and_gradient_on_jax() -> None:
    jax = pytest.importorskip("jax")
    x = draw(TREES[2], backend="jax", dtype="float64")
    traced = []

    @jax.jit
    def largest(y: HierarchicalTucker) -> Any:
        traced.append(1)
        return y.log_norm()

    log_norm = float(x.to("numpy").log_norm())
    assert np.isclose(float(largest(x)), log_norm)
    assert np.isclose(float(largest(x * 2.0)), log_norm + np.log(2))
    gradient = jax.jit(jax.grad(lambda y: y.log_norm()))(x)
    direction = draw(TREES[2], seed=3, backend="jax", dtype="float64")
    slope = sum(float((a * b).sum()) for a, b in zip(gradient._values, direction._values, strict=True))
    moved = [
        float(largest(x.replace([a + t * b for a, b in zip(x._values, direction._values, strict=True)])))
        for t in (1e-6, -1e-6)
    ]
    assert len(traced) == 1
    assert np.isclose(slope, (moved[0] - moved[1]) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HierarchicalTucker(((0, 1),), {}, {}), "no array for the node"),
        (
            lambda: HierarchicalTucker((0, 1), {0: np.ones((3, 2)), 1: np.ones((3, 2))}, {(0, 1): np.ones((2, 3))}),
            "rank 2",
        ),
        (lambda: HierarchicalTucker((0, 1), {0: np.ones(3), 1: np.ones((3, 2))}, {(0, 1): np.ones((2, 2))}), "2 axes"),
        (lambda: HierarchicalTucker.from_dense(np.full((2, 2), np.nan)), "NaN or infinite"),
        (lambda: HierarchicalTucker.from_dense(np.ones((2, 2)), DimensionTree.balanced(3)), "3 modes"),
        (lambda: HierarchicalTucker.from_dense(np.ones((2, 0, 2))), "mode 1"),
        (lambda: HierarchicalTucker.from_dense(np.ones((2, 2)), rtol=1.5), "rtol"),
        (lambda: HierarchicalTucker.from_dense(np.ones((2, 2)), rtol=1e-9, method="gram"), "floor"),
        (lambda: HierarchicalTucker.from_dense(np.ones((2, 2)), max_rank=0), "max_rank"),
        (lambda: HierarchicalTucker.from_dense(np.ones(3)), "order 2"),
        (lambda: HierarchicalTucker.random((2, 2), rank=0), "rank"),
        (lambda: draw(TREES[0]) + draw(TREES[1]), "equal shapes"),
        (
            lambda: HierarchicalTucker.from_factorization(
                tnrank.HierarchicalFactorization.random((2, 2), width=2, classes=3)
            ),
            "one class first",
        ),
    ],
)
def test_wrong_calls_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_rank_functions_measure_in_the_format(backend_name: str) -> None:
    x = tnrank.CPFactorization.random((4,) * 12, rank=3, seed=0, std=0.5, backend=backend_name, dtype="float64")
    assert set(tnrank.hierarchical_rank(x).values()) == {3}
    assert set(tnrank.hierarchical_rank(x, tree=DimensionTree.linear(12)).values()) == {3}
    assert tnrank.multilinear_rank(x) == (3,) * 12
    values = tnrank.hierarchical_singular_values(x)[0, 1]
    gram = np.ones((3, 3))
    for mode in range(2, 12):
        gram *= host(x.factors[mode]).T @ host(x.factors[mode])
    columns = np.einsum("ir,jr->ijr", host(x.factors[0]), host(x.factors[1])).reshape(16, 3)
    expected = np.sqrt(np.linalg.eigvalsh(columns @ gram @ columns.T)[::-1][:3])
    assert np.allclose(host(values), expected, rtol=1e-8)


@pytest.mark.parametrize("order", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_entries_of_orders_that_no_dense_tensor_has(order: int) -> None:
    ones = HierarchicalTucker.random((10,) * order, rank=1, std=0.0, mean=1.0)
    assert (ones.entries(np.arange(3 * order).reshape(3, order) % 10) == 1).all()


@pytest.mark.parametrize(("order", "dim"), [(240, 400), pytest.param(1000, 6, marks=pytest.mark.slow)])
def test_orders_that_no_dense_tensor_has(order: int, dim: int) -> None:
    # Two orthogonal terms of one norm, dim^(order / 2): beyond float64 at once, and rank 2 at every node.
    columns = np.stack([np.ones(dim), (-1.0) ** np.arange(dim)], axis=1)
    total = tnrank.CPFactorization([columns] * order)
    assert set(tnrank.hierarchical_rank(total).values()) == {2}
    cut = HierarchicalTucker.from_factorization(total).truncate().tensor
    assert np.isclose(float(cut.log_norm()), order / 2 * np.log(dim) + np.log(2) / 2, rtol=1e-13)
    x = HierarchicalTucker.random((6,) * 32, rank=5, seed=0, std=0.3)
    assert set(tnrank.hierarchical_rank(x).values()) == {5}
    assert set((x + x).truncate().tensor.ranks.values()) == {5}
    some = HierarchicalTucker.random((10,) * 330, rank=1)
    assert some.network.plan(some._sizes).flops > 10**329
