"""Nothing much larger than what goes in and comes out is formed, and largest ranks are given in three ways."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import tnrank
from tnrank import CPFactorization, HierarchicalTucker, MatrixFactorization, TensorTrain, Tucker

LONG = 3000
SHAPES = [(1, LONG, 2), (LONG, 1, 2), (2, LONG, 1, 1), (2, 1, LONG), (1, 1, LONG, 1)]
FORMS = (TensorTrain, Tucker, HierarchicalTucker)


def peak(call):
    """The most memory that Python and NumPy held during a call, over that before, and its result."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    result = call()
    most = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return most, result


def elements(x):
    return sum(a.nbytes for a in x._values) if hasattr(x, "_values") else getattr(x, "nbytes", 0)


CALLS = {
    "truncate": lambda x: x.truncate(max_rank=1).tensor,
    "sum": lambda x: x + x,
    "product": lambda x: x * x,
    "multiple": lambda x: 2 * x,
    "norm": lambda x: x.norm(),
    "spectra": lambda x: x.singular_values(),
    "orthogonalize": lambda x: x.orthogonalize(),
    "contract": lambda x: x.sum(0),
    "slice": lambda x: x[0],
    "root": lambda x: x.change_root((0,)),
    "permute": lambda x: x.permute(tuple(reversed(range(x.ndim)))),
    "tree": lambda x: x.change_tree(tnrank.DimensionTree.star(x.ndim)),
    "ranks": tnrank.hierarchical_rank,
    "to train": TensorTrain.from_factorization,
    "to tree": lambda x: HierarchicalTucker.from_factorization(x, tnrank.DimensionTree.balanced(x.ndim)),
    "to Tucker": Tucker.from_factorization,
    "sum of terms": lambda x: type(x).truncate_sum([x, x]).tensor,
    "dense": lambda x: x.to_dense(),
    "random": lambda x: type(x).random(x.shape, rank=2),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_long_modes(form, shape):
    tensor = np.random.default_rng(0).standard_normal(shape)
    for call in CALLS.values():
        call(form.random((3,) * len(shape), rank=2))  # imports and plans
    form.from_dense(tensor[..., :2])
    most, x = peak(lambda: form.from_dense(tensor))
    assert most < 8 * tensor.nbytes
    np.testing.assert_allclose(x.to_dense(), tensor, rtol=1e-12, atol=1e-12)
    for name, call in CALLS.items():
        most, y = peak(lambda call=call: call(x))
        assert most < 8 * (tensor.nbytes + elements(x) + elements(y)) + 2**18, name


def wide(*shape):
    return np.random.default_rng(1).standard_normal(shape)


@pytest.mark.parametrize(
    "x",
    [
        MatrixFactorization([wide(2, LONG)]),
        MatrixFactorization([wide(LONG, 2)]),
        MatrixFactorization([wide(2, LONG), wide(LONG, 3)]),
        MatrixFactorization([wide(2, 5), wide(5, LONG), wide(LONG, 3), wide(3, 4)]),
        CPFactorization.random((2, LONG, 2), rank=3),
        CPFactorization.random((2, 3, 2), rank=400, weighted=True),
    ],
    ids=str,
)
def test_conversions(x):
    dense = x.to_dense()
    convert = {
        "train": lambda: TensorTrain.from_factorization(x),
        "short train": lambda: TensorTrain.from_factorization(x, rtol=1e-10),
        "Tucker": lambda: Tucker.from_factorization(x),
    }
    if not isinstance(x, CPFactorization) or x.rank < 10:  # the transfer tensors of a tree have R^3 entries
        convert["tree"] = lambda: HierarchicalTucker.from_factorization(x)
    convert["short tree"] = lambda: HierarchicalTucker.from_factorization(x, rtol=1e-10)
    for name, call in convert.items():
        call()
        most, y = peak(call)
        np.testing.assert_allclose(y.to_dense(), dense, rtol=1e-9, atol=1e-9 * abs(dense).max(), err_msg=name)
        assert most < 10 * (elements(x) + elements(y)) + 2**18, name


def test_trains_with_tall_and_with_flat_cores():
    rng = np.random.default_rng(2)
    x = TensorTrain([rng.standard_normal(s) for s in ((9, 2), (2, 3, 4), (4, 50, 2), (2, 7))])
    y = TensorTrain([rng.standard_normal(s) for s in ((9, 3), (3, 3, 1), (1, 50, 2), (2, 7))])
    assert max(a.size for a in x.nodes.values()) <= max(a.size for a in x._values)
    same = HierarchicalTucker._of_nodes(x.tree, x.nodes)
    for a, b in (
        (same.to_dense(), x.to_dense()),
        ((x + y).to_dense(), x.to_dense() + y.to_dense()),
        ((x * y).to_dense(), x.to_dense() * y.to_dense()),
        ((x + same).to_dense(), 2 * x.to_dense()),
        (x.truncate().tensor.to_dense(), x.to_dense()),
        (x.orthogonalize().to_dense(), x.to_dense()),
    ):
        np.testing.assert_allclose(a, b, atol=1e-12 * abs(b).max(), rtol=1e-10)
    assert ((x + y).tt_ranks, (x * y).tt_ranks) == ((5, 5, 4), (6, 4, 4))


TENSOR = np.random.default_rng(3).standard_normal((4, 5, 6, 3))


@pytest.mark.parametrize(
    ("form", "most", "ranks"),
    [
        (Tucker, 2, (2, 2, 2, 2)),
        (Tucker, np.int64(2), (2, 2, 2, 2)),
        (Tucker, {(0,): 2}, (2, 5, 6, 3)),
        (Tucker, {0: 2, 3: 1}, (2, 5, 6, 1)),
        (Tucker, (2, 3, 4, 1), (2, 3, 4, 1)),
        (TensorTrain, 2, (2, 2, 2)),
        (TensorTrain, (2, 3, 1), (2, 3, 1)),
        (TensorTrain, [4, 2, 3], (4, 2, 3)),
        (TensorTrain, {0: 1}, (1, 18, 3)),
        (TensorTrain, {(0, 1): 2}, (4, 2, 3)),
        (TensorTrain, {(2, 3): 2}, (4, 2, 3)),
        (HierarchicalTucker, {(0, 1): 3, 2: 2}, (4, 5, 2, 3, 3, 3)),
        (HierarchicalTucker, (1, 2, 3, 3, 2, 2), (1, 2, 3, 3, 2, 2)),
    ],
)
def test_largest_ranks(form, most, ranks):
    exact = form.from_dense(TENSOR)
    for x in (form.from_dense(TENSOR, max_rank=most), exact.truncate(max_rank=most).tensor):
        found = x.tt_ranks if form is TensorTrain else tuple(x.ranks.values())
        assert found == ranks
    assert form.from_factorization(exact, max_rank=most).shape == TENSOR.shape
    assert form.truncate_sum([exact, exact], max_rank=most).tensor.shape == TENSOR.shape


@pytest.mark.parametrize(
    ("form", "most", "error", "message"),
    [
        (Tucker, (2, 3), ValueError, "max_rank has 2 numbers, needed 4, for the nodes {0}, {1}, {2}, {3}"),
        (TensorTrain, (2, 3), ValueError, "needed 3, for the nodes {1,2,3}, {2,3}, {3}"),
        (TensorTrain, {1: 2}, ValueError, "no rank of its own"),
        (Tucker, {(0, 1): 2}, ValueError, "no node of the modes"),
        (Tucker, 2.5, TypeError, "max_rank, the most columns of a frame, is a whole number from 1 on"),
        (Tucker, "ab", TypeError, "whole number from 1 on"),
        (Tucker, {0: 0}, ValueError, "whole number from 1 on"),
        (HierarchicalTucker, True, TypeError, "whole number from 1 on"),
    ],
)
def test_largest_ranks_that_make_no_sense(form, most, error, message):
    for call in (
        lambda: form.from_dense(TENSOR, max_rank=most),
        lambda: form.random((4, 5, 6, 3)).truncate(max_rank=most),
    ):
        with pytest.raises(error) as caught:
            call()
        assert message in str(caught.value)


@pytest.mark.parametrize(
    "build", [tnrank.DimensionTree.balanced, tnrank.DimensionTree.linear, tnrank.DimensionTree.star]
)
def test_trees_beyond_memory(build):
    with pytest.raises(
        ValueError, match="order, the number of modes, is a whole number from 1 to 1048576, got 1000000"
    ):
        build(10**20)


@pytest.mark.slow
def test_a_linear_tree_whose_nodes_do_not_fit():
    with pytest.raises(ValueError, match="use a flatter tree"):
        _ = tnrank.DimensionTree.linear(20_000).nodes
