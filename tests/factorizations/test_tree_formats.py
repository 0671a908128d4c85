"""Tensor train, Tucker and hierarchical Tucker share one machinery: each operation against NumPy and TensorLy."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import nested_trees
from tnrank import DimensionTree, HierarchicalTucker, Node, TensorTrain, Tucker
from tnrank.factorizations import TreeFormat


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def close(got: Any, wanted: Any, size: float = 1.0) -> bool:
    got = host(got.to_dense() if isinstance(got, tnrank.Factorization) else got)
    return got.shape == np.shape(wanted) and bool(np.allclose(got, wanted, rtol=0, atol=1e-12 * size))


SHAPE = (3, 4, 2, 5)


def examples(backend: str = "numpy", dtype: str = "float64", seed: int = 0) -> list[TreeFormat]:
    options: Any = {"backend": backend, "dtype": dtype, "seed": seed}
    return [
        HierarchicalTucker.random(SHAPE, rank=3, **options),
        HierarchicalTucker.random(SHAPE, DimensionTree((((0, 3),), (2, 1))), rank=2, **options),
        TensorTrain.random(SHAPE, rank=(2, 3, 4), **options),
        Tucker.random(SHAPE, rank=(2, 3, 2, 4), **options),
    ]


def test_end_tensors_are_those_of_tensorly() -> None:
    tensorly = pytest.importorskip("tensorly")
    train = TensorTrain.random(SHAPE, rank=(2, 3, 4), seed=1)
    wanted = tensorly.tt_to_tensor([np.asarray(core) for core in train.cores])
    assert close(train, wanted, abs(wanted).max())
    tucker = Tucker.random(SHAPE, rank=(2, 3, 2, 4), seed=1)
    wanted = tensorly.tucker_to_tensor((tucker.core, list(tucker.factors)))
    assert close(tucker, wanted, abs(wanted).max())
    assert close(TensorTrain(train.cores), host(train.to_dense()))


def test_tt_svd_and_multilinear_svd_have_the_errors_of_tensorly() -> None:
    decomposition = pytest.importorskip("tensorly.decomposition")
    tensorly = pytest.importorskip("tensorly")
    tensor = 1.0 / (1 + sum(np.ogrid[:6, :5, :7, :4]))
    ours = TensorTrain.from_dense(tensor, max_rank=3)
    theirs = tensorly.tt_to_tensor(decomposition.tensor_train(tensor, rank=[1, 3, 3, 3, 1]))
    assert ours.tt_ranks == (3, 3, 3)
    best = np.linalg.norm(theirs - tensor)
    assert np.linalg.norm(host(ours.to_dense()) - tensor) <= 1.5 * best
    tucker = Tucker.from_dense(tensor, max_rank=(2, 3, 2, 3))
    core, factors = decomposition.tucker(tensor, rank=[2, 3, 2, 3])
    best = np.linalg.norm(tensorly.tucker_to_tensor((core, factors)) - tensor)
    assert tucker.core.shape == (2, 3, 2, 3)
    assert np.linalg.norm(host(tucker.to_dense()) - tensor) <= 1.5 * best


@pytest.mark.parametrize("rtol", [0.1, 1e-3, 1e-9])
def test_dense_tensors_to_a_tolerance(rtol: float, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    tensor = 1.0 / (1 + sum(np.ogrid[:6, :5, :7, :4]))
    given_tensor = backend.asarray(tensor)
    made: list[TreeFormat] = [TensorTrain.from_dense(given_tensor, rtol), Tucker.from_dense(given_tensor, rtol)]
    for direction in ("leaves to root", "root to leaves"):
        for tree in (DimensionTree.balanced(4), DimensionTree.linear(4), DimensionTree(((0, 3), (2,), (1,)))):
            made.append(HierarchicalTucker.from_dense(given_tensor, tree, rtol, direction=direction))
    for x in made:
        error = np.linalg.norm(host(x.to_dense()) - tensor)
        assert error <= rtol * np.linalg.norm(tensor)
        assert x.backend.name == backend_name
        short = type(x).from_dense(given_tensor, atol=rtol * float(np.linalg.norm(tensor)))
        assert np.linalg.norm(host(short.to_dense()) - tensor) <= rtol * np.linalg.norm(tensor)


@given(st.data(), st.integers(0, 10**6), st.floats(1e-4, 0.5))
def test_both_directions_keep_the_tolerance_on_any_tree(data: Any, seed: int, rtol: float) -> None:
    tree = DimensionTree(data.draw(nested_trees(4)))
    rng = np.random.default_rng(seed)
    tensor = rng.standard_normal((3, 4, 2, 3)) * 10.0 ** -rng.integers(0, 4, (3, 1, 2, 1))
    for direction in ("leaves to root", "root to leaves"):
        x = HierarchicalTucker.from_dense(tensor, tree, rtol, direction=direction)
        assert np.linalg.norm(x.to_dense() - tensor) <= rtol * np.linalg.norm(tensor)
        exact = HierarchicalTucker.from_dense(tensor, tree, direction=direction)
        assert np.linalg.norm(exact.to_dense() - tensor) <= 1e-13 * np.linalg.norm(tensor)


@pytest.mark.parametrize("direction", ["leaves to root", "root to leaves"])
def test_the_edge_of_a_binary_root_drops_its_share_once(direction: str) -> None:
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.standard_normal((n, 60)))[0] for n in (100, 80))
    matrix = (u * 0.95 ** np.arange(60)) @ v.T
    for tree in ((0, 1), ((0,), 1), ((0, 1),)):
        x = HierarchicalTucker.from_dense(matrix, tree, rtol=0.1, direction=direction)
        assert np.linalg.norm(x.to_dense() - matrix) <= 0.1 * np.linalg.norm(matrix)


def test_large_leaves_by_sketches(backend_name: str) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((400, 12)) @ rng.standard_normal((12, 900))
    matrix += 1e-6 * rng.standard_normal(matrix.shape)
    given_matrix = tnrank.get_backend(backend_name).asarray(matrix.reshape(400, 30, 30))
    x = HierarchicalTucker.from_dense(given_matrix, ((0,), (1, 2)), rtol=1e-3, method="randomized")
    assert x.ranks[Node((0,), 0)] == 12
    assert np.linalg.norm(host(x.to_dense()).reshape(400, 900) - matrix) <= 1e-3 * np.linalg.norm(matrix)


def test_each_node_may_have_its_own_tolerance_and_rank() -> None:
    tensor = 1.0 / (1 + sum(np.ogrid[:6, :6, :6, :6]))
    x = HierarchicalTucker.from_dense(tensor, rtol={(0, 1): 1e-2}, max_rank={3: 2})
    assert x.ranks[Node((3,), 0)] == 2
    assert x.ranks[Node((0, 1), 1)] < 6
    assert x.ranks[Node((0,), 0)] == 6
    y = HierarchicalTucker.from_dense(tensor).truncate(rtol={(0, 1): 1e-2}, max_rank={3: 2})
    assert all(y.tensor.ranks[node] == x.ranks[node] for node in (Node((3,), 0), Node((0, 1), 1)))
    assert y.tensor.ranks[Node((2,), 0)] == 6
    z = HierarchicalTucker.from_dense(tensor, atol={(0, 1): 1e-2 * float(np.linalg.norm(tensor))})
    assert z.ranks[Node((0, 1), 1)] == x.ranks[Node((0, 1), 1)]
    assert z.ranks[Node((3,), 0)] == 6
    with pytest.raises(ValueError, match="atol"):
        x.truncate(atol=-1.0)
    with pytest.raises(ValueError, match="no node"):
        x.truncate(rtol={(0, 2): 1e-2})


@pytest.mark.parametrize("dtype", ["float64", pytest.param("complex128", marks=pytest.mark.slow)])
def test_arithmetic(backend_name: str, dtype: str) -> None:
    # JAX compiles each shape anew, a second at a time: the third and the fourth example there.
    some = slice(2, 4) if backend_name == "jax" else slice(None)
    for x, y in zip(examples(backend_name, dtype)[some], examples(backend_name, dtype, seed=5)[some], strict=True):
        a, b = host(x.to_dense()), host(y.to_dense())
        size = abs(a).max() * max(1.0, abs(b).max())
        assert close(x + y, a + b, size)
        assert close(x - 2.5 * y, a - 2.5 * b, size)
        assert close(x * y, a * b, size)
        assert close(-x / 4, -a / 4, size)
        assert close(np.float64(2) * x, 2 * a, size)
        assert type(x + y) is type(x)
        assert np.isclose(float(x.norm()), np.linalg.norm(a), rtol=1e-13)
        assert np.isclose(complex(x.inner(y)), np.vdot(a, b), rtol=1e-11)
        assert close(x.orthogonalize(), a, size)
        cut = (x + x).truncate().tensor
        assert close(cut, 2 * a, size)
        assert type(cut) is type(x)
        assert cut.parameter_count <= x.parameter_count


@pytest.mark.parametrize(("order", "dim"), [(250, 1000), pytest.param(1000, 10, marks=pytest.mark.slow)])
def test_norms_beyond_floating_point_numbers(order: int, dim: int) -> None:
    ones, log_norm = TensorTrain.random((dim,) * order, rank=1, std=0.0, mean=1.0), order / 2 * np.log(dim)
    assert np.isclose(float(ones.log_norm()), log_norm, rtol=1e-13)
    assert np.isclose(float(ones.mean()), 1, rtol=1e-12)
    with pytest.raises(OverflowError, match="normalize=True"):
        ones.orthogonalize()
    assert np.isclose(float(ones.orthogonalize(normalize=True).norm()), 1, rtol=1e-12)
    squared = ones * ones
    assert np.isclose(float((squared * 1e-200).log_norm()), log_norm - 200 * np.log(10), rtol=1e-12)
    assert float(squared.truncate(rtol=1e-3).tensor[(3,) * order]) == pytest.approx(1, rel=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_modes_are_contracted_multiplied_and_summed(backend_name: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    backend = tnrank.get_backend(backend_name)
    for x in examples(backend_name, dtype):
        a = host(x.to_dense())
        size = abs(a).max() * 100
        vectors = {m: rng.standard_normal(d).astype(dtype) for m, d in enumerate(SHAPE)}
        given_vectors = {m: backend.asarray(v) for m, v in vectors.items()}
        for modes in ((0,), (3,), (1, 2), (0, 3), (0, 1, 2), (1, 2, 3), (0, 1, 2, 3)):
            rest = [m for m in range(4) if m not in modes]
            wanted = np.einsum(a, range(4), *[part for m in modes for part in (vectors[m], [m])], rest)
            made = x.contract_modes({m: given_vectors[m] for m in modes})
            assert close(made, wanted, size), (x, modes)
            assert isinstance(made, type(x)) == (len(rest) > 1)
        matrix = rng.standard_normal((6, 2)).astype(dtype)
        wanted = np.einsum("abcd,ec->abed", a, matrix)
        assert close(x.mode_products({-2: backend.asarray(matrix)}), wanted, size)
        assert close(x.sum(), a.sum(), size)
        assert close(x.sum([0, -1]), a.sum((0, 3)), size)
        assert close(x.mean(1), a.mean(1), size)
        assert close(x.marginal([0, 2]), a.sum((1, 3)), size)


INDICES = [
    0,
    (slice(None), 1),
    (Ellipsis, -1),
    (0, slice(1, 3), slice(None), slice(None, None, 2)),
    (slice(None, None, -1), Ellipsis, slice(4, 0, -2)),
    ([2, 0], slice(None), slice(None), 3),
    (slice(None), np.array([True, False, True, True])),
    (1, 2, 0, slice(None)),
    (1, 2, slice(None), slice(None)),
    (1, 2, 0, 4),
    ([0, 1, 2], [3, 0, 1], [0, 1, 1], [4, 4, 0]),
    (np.array([[0], [2]]), np.array([1, 3, 0]), 1, np.array([0, 0, 4])),
    np.ix_([0, 2], [1, 3, 0], [1], [4, 2]),
    Ellipsis,
]


@pytest.mark.few_on_jax("-1)", "index11")
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_is_that_of_numpy(index: Any, backend_name: str) -> None:
    for x in examples(backend_name)[slice(2, 4) if backend_name == "jax" else slice(None)]:
        a = host(x.to_dense())
        assert close(x[index], a[index], abs(a).max())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (3, "outside its dimension 3"),
        ((0,) * 5, "5 indices for a tensor of order 4"),
        ((Ellipsis, 0, Ellipsis), "one ellipsis"),
        (None, "None"),
        (True, "True"),
        (slice(3, 1), "empty"),
        ([], "empty"),
        (([0, 1], [1, 2]), "np.ix_"),
        ([0.5], "float64"),
        ([True, False], r"mask of mode 0 has shape \(2,\)"),
    ],
)
def test_wrong_indices_say_what_is_wrong(index: Any, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        examples()[0][index]


def test_sums_are_truncated_without_loss(backend_name: str) -> None:
    tree = DimensionTree.balanced(6)
    large = HierarchicalTucker.random((4,) * 6, tree, rank=3, seed=0, backend=backend_name, dtype="float64")
    tiny = tnrank.CPFactorization.random((4,) * 6, rank=1, seed=1, backend=backend_name, dtype="float64")
    tiny = tiny.map(lambda a: a * 10**-1.5)
    result = HierarchicalTucker.truncate_sum([large, tiny, -large], max_rank=1)
    wanted = host(tiny.to_dense())
    error = np.linalg.norm(host(result.tensor.to_dense()) - wanted)
    # A dense sum has this error too; Gramians of the parts would lose everything below 1e-8 of the large terms.
    assert error <= 100 * 2**-52 * float(large.norm())
    assert error <= 1e-3 * np.linalg.norm(wanted)


@pytest.mark.parametrize("rank", [150, pytest.param(700, marks=pytest.mark.slow)])
def test_cp_goes_in_without_its_superdiagonals(rank: int) -> None:
    cp = tnrank.CPFactorization.random((5,) * 8, rank, seed=0, std=0.1)  # a transfer tensor of 700^3 is 2.7 GB
    x = HierarchicalTucker.from_factorization(cp, rtol=1e-12)
    indices = np.random.default_rng(0).integers(0, 5, (50, 8))
    assert np.allclose(x.entries(indices), cp.entries(indices), rtol=0, atol=1e-12 * float(x.norm()))
    with pytest.raises(ValueError, match="equal shapes"):
        HierarchicalTucker.truncate_sum([x, x[0]])
    with pytest.raises(ValueError, match="no terms"):
        HierarchicalTucker.truncate_sum([])


def test_formats_convert_into_each_other(backend_name: str) -> None:
    matrix = tnrank.MatrixFactorization.random((4, 5), depth=3, seed=0, backend=backend_name, dtype="float64")
    a = host(matrix.to_dense())
    for depth in (1, 2, 3):
        matrix = tnrank.MatrixFactorization.random((4, 5), depth=depth, seed=0, backend=backend_name, dtype="float64")
        a = host(matrix.to_dense())
        for tree in ((0, 1), (1, 0), ((0,), 1), (((1,),), 0)):
            assert close(HierarchicalTucker.from_factorization(matrix, DimensionTree(tree)), a, abs(a).max())
    cp = tnrank.CPFactorization.random(SHAPE, rank=2, seed=0, backend=backend_name, dtype="float64")
    b = host(cp.to_dense())
    size = abs(b).max()
    tucker = Tucker.from_factorization(cp)
    train = TensorTrain.from_factorization(cp)
    assert close(tucker, b, size)
    assert close(train, b, size)
    assert train.tt_ranks == (2, 2, 2)
    assert close(HierarchicalTucker.from_factorization(train), b, size)
    assert close(HierarchicalTucker.from_factorization(tucker, DimensionTree(((0, 2), (1, 3)))), b, size)
    assert close(TensorTrain.from_factorization(tucker), b, size)
    assert Tucker.from_factorization(train, rtol=1e-12).core.shape == (2, 2, 2, 2)


@pytest.mark.few_on_jax("jax")
def test_files_pickles_and_gradients(tmp_path: Any, backend_name: str) -> None:
    for x in examples(backend_name)[2:]:
        path = tmp_path / f"{x.kind}.safetensors"
        x.save(path)
        for again in (tnrank.load(path), pickle.loads(pickle.dumps(x))):
            assert type(again) is type(x)
            assert (host(again.to_dense()) == host(x.to_dense())).all()
        assert x.replace(list(x.arrays.values())).shape == SHAPE


@pytest.mark.few_on_jax
def test_spectra_agree_with_the_dense_matricizations(backend_name: str) -> None:
    # JAX compiles each shape anew: the train alone there.
    for x in examples(backend_name)[slice(2, 3) if backend_name == "jax" else slice(None)]:
        a = host(x.to_dense())
        for node, values in x.singular_values().items():
            rest = [m for m in range(4) if m not in node.modes]
            rows = int(np.prod([SHAPE[m] for m in node.modes]))
            wanted = np.linalg.svd(a.transpose(*node.modes, *rest).reshape(rows, -1), compute_uv=False)
            got = host(values)[: len(wanted)]
            assert np.allclose(got, wanted[: len(got)], rtol=0, atol=1e-12 * wanted[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorTrain([np.ones((3, 2))]), "two or more"),
        (lambda: TensorTrain([np.ones((3, 2)), np.ones((3, 2))]), "ends in rank 2"),
        (lambda: TensorTrain([np.ones((2, 3, 2)), np.ones((2, 3))]), r"core 0 has shape \(2, 3, 2\)"),
        (lambda: TensorTrain.random((3, 3), rank=0), "rank is a whole number from 1 on"),
        (lambda: TensorTrain.random((3, 3, 3), rank=(2,)), "2 ranks"),
        (lambda: TensorTrain.from_dense(np.ones(3)), "order 2"),
        (lambda: TensorTrain.from_dense(np.array([[1.0, np.nan]])), "NaN"),
        (lambda: Tucker(np.ones((2, 2)), [np.ones((3, 2)), np.ones((3, 3))]), "factor 1"),
        (lambda: Tucker(np.ones((2, 2)), [np.ones((3, 2))]), "1 factors"),
        (lambda: Tucker.random((3, 3), rank=(1, 2, 3)), "2 ranks"),
        (lambda: Tucker.from_dense(np.ones((2, 0))), "empty"),
        (lambda: HierarchicalTucker.from_dense(np.ones((2, 2)), direction="up"), "direction"),
        (lambda: examples()[0] + examples()[2], "equal trees"),
        (lambda: examples()[0].sum([0, 0]), "each once"),
        (lambda: examples()[0].sum(4), "mode 4"),
        (lambda: examples()[0].contract_modes({0: np.ones(4)}), r"needed \(3,\)"),
        (lambda: examples()[0].mode_products({1: np.ones((2, 3))}), r"needed \(m, 4\)"),
    ],
)
def test_wrong_calls_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_trees_roots_and_modes_change(backend_name: str) -> None:
    x = examples(backend_name)[0]
    assert isinstance(x, HierarchicalTucker)
    a = host(x.to_dense())
    size = abs(a).max()
    assert close(
        HierarchicalTucker(
            x.tree,
            {m: x.nodes[Node((m,), 0)] for m in range(4)},
            {node: array for node, array in x.nodes.items() if node.height},
        ),
        a,
        size,
    )
    assert close(x.permute((2, 0, 3, 1)), a.transpose(2, 0, 3, 1), size)
    assert close(x.change_root((2,)), a, size)
    assert close(x.change_tree(((0, 2), (1, 3))), a, size)
    htf = tnrank.HierarchicalFactorization.random(SHAPE, width=2, seed=0, backend=backend_name, dtype="float64")
    b = host(htf.to_dense())
    train = TensorTrain.from_factorization(htf)
    assert close(train, b, abs(b).max())
    assert train.tt_ranks[1] == 2


@pytest.mark.parametrize(
    "pairs", [0, 1, 2, ((0,), (2,)), ((0, 2, 1), (2, 1, 0)), ((3, 1), (3, 0)), ((0, 1, 2, 3), (2, 0, 1, 3))]
)
@pytest.mark.parametrize(
    "trees", [(None, None), (((0, 2), (1, 3)), (0, 1, (2, 3))), ((((0, 3),), (2, 1)), (3, (1, (0, 2))))]
)
def test_tensordot_is_that_of_numpy(pairs: Any, trees: Any) -> None:
    _check_tensordot(pairs, trees, "numpy")


@pytest.mark.few_on_jax("jax")
def test_tensordot_on_backends(backend_name: str) -> None:
    if backend_name != "jax":
        _check_tensordot(((3, 1), (3, 0)), (((0, 2), (1, 3)), (0, 1, (2, 3))), backend_name)
        return
    # It compiles each shape anew: few there, and the others run with the slow tests.
    x, y = (HierarchicalTucker.random((2, 2, 2), rank=2, seed=seed, backend="jax", dtype="float64") for seed in (0, 1))
    a, b = host(x.to_dense()), host(y.to_dense())
    assert close(x.tensordot(y, ((0,), (2,))), np.tensordot(a, b, ((0,), (2,))), abs(a).max() * abs(b).max() * 8)


@pytest.mark.slow
def test_tensordot_on_jax_changes_trees() -> None:
    pytest.importorskip("jax")
    _check_tensordot(((3, 1), (3, 0)), (((0, 2), (1, 3)), (0, 1, (2, 3))), "jax")


def _check_tensordot(pairs: Any, trees: Any, backend_name: str) -> None:
    shapes = {0: ((3, 2, 4, 3), (4, 3, 2, 3)), 1: ((2, 3, 2, 4), (4, 3, 2)), 2: ((2, 3, 4, 3), (4, 3, 2, 5))}
    if isinstance(pairs, int):
        first, second = shapes[pairs]
    else:
        first, free = (2, 3, 4, 5), iter((6, 7, 8, 9))
        matched = dict(zip(pairs[1], pairs[0], strict=True))
        second = tuple(first[matched[m]] if m in matched else next(free) for m in range(4))
    options: Any = {"backend": backend_name, "dtype": "complex128"}
    trees = trees if len(second) == 4 else (trees[0], None)
    x = HierarchicalTucker.random(first, trees[0], rank=2, seed=0, **options)
    y = HierarchicalTucker.random(second, trees[1], rank=3, seed=1, **options)
    a, b = host(x.to_dense()), host(y.to_dense())
    wanted = np.tensordot(a, b, pairs)
    assert close(x.tensordot(y, pairs), wanted, abs(a).max() * abs(b).max() * a.size)
    if not isinstance(pairs, int) and len(pairs[0]) == 3:
        whole = x.contract_modes({3: tnrank.get_backend(backend_name).asarray(np.ones(5, complex))})
        left = whole.tensordot(y, (pairs[0], pairs[1]))
        assert close(left, np.tensordot(a.sum(3), b, pairs), abs(a).max() * abs(b).max() * a.size)
    with pytest.raises(ValueError, match="needed"):
        x.tensordot(y, ((0,), (9,)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: x + tnrank.CPFactorization.random(SHAPE, rank=2), "sum_of"),
        (lambda x: x * tnrank.CPFactorization.random(SHAPE, rank=2), "from_factorization"),
        (lambda x: x + 1, "from_dense"),
        (lambda x: np.ones(SHAPE) + x, "from_dense"),
        (lambda x: x - np.ones(SHAPE), "from_dense"),
        (lambda x: np.asarray(x), "to_dense"),
        (lambda x: type(x).from_dense(x), "from_factorization"),
        (lambda x: type(x).from_dense([[1.0]]), "numpy.asarray"),
        (lambda x: type(x).from_dense("x.npy"), "read_array"),
        (lambda x: x + x[:, :2], r"shapes \(3, 4, 2, 5\) and \(3, 2, 2, 5\)"),
        (lambda x: x + x.to("torch"), "two backends"),
        (lambda x: x.save("x.npy"), ".safetensors"),
        (lambda x: x.change_tree("linear"), r"DimensionTree.linear\(order\)"),
        (lambda x: x.change_tree("((0,1),(2,3))"), "from_text"),
        (lambda x: TensorTrain.random((3, 3), rank=2.5), "rank is a sequence of whole numbers"),  # type: ignore[arg-type]  # the mistake
    ],
)
def test_likely_mistakes_name_the_way_out(make: Any, message: str) -> None:
    for x in examples():
        with pytest.raises((TypeError, ValueError), match=message):
            make(x)


def test_python_sums_and_other_trees_of_all_formats() -> None:
    for x in examples():
        a = host(x.to_dense())
        assert close(sum([x, x, x]), 3 * a, 3 * abs(a).max())  # type: ignore[arg-type]  # sum begins with 0
        for y, wanted in ((x.permute((1, 3, 0, 2)), a.transpose(1, 3, 0, 2)), (x.change_tree(((3, 0), (1, 2))), a)):
            assert isinstance(y, HierarchicalTucker)
            assert close(y, wanted, abs(a).max())
        assert close(x.tensordot(x, ((0, 3), (0, 3))), np.tensordot(a, a, ((0, 3), (0, 3))), abs(a).max() ** 2 * a.size)
    assert "relative_error_bound" in repr(examples()[0].truncate())
