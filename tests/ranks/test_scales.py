"""Ranks and formats know no scale: tensors from one end of the range of numbers to the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import CPFactorization, DimensionTree, HierarchicalTucker, TensorTrain, Tucker

SCALES = [("float64", 1e160), ("float64", 1e-165), ("float64", 1e300), ("float64", 1e-300), ("float32", 1e19),
          ("float32", 1e-25)]  # fmt: skip


def total(dtype: str, scale: float) -> Any:
    """The sum of four indices, rank 2 at every node, times a number whose square is none."""
    return (sum(np.ogrid[:4, :4, :4, :4]) * 1.0 * scale).astype(dtype)


def error(x: Any, tensor: Any) -> float:
    scale = abs(tensor).max()
    difference = np.asarray(x.to_dense()) / scale - tensor / scale
    return float(np.linalg.norm(difference) / np.linalg.norm(tensor / scale))


@pytest.mark.parametrize("rtol", [None, 0.01])
@pytest.mark.parametrize(("dtype", "scale"), SCALES)
def test_dense_tensors_of_any_scale(dtype: str, scale: float, rtol: float | None) -> None:
    tensor = total(dtype, scale)
    for cls in (HierarchicalTucker, TensorTrain, Tucker):
        x: Any = cls.from_dense(tensor, rtol=rtol)
        assert max(x.ranks.values()) in (2, 4)  # a train has the dimensions of its modes at its leaves
        assert error(x, tensor) <= (rtol or 1e-13 if dtype == "float64" else 1e-2)
        assert set(tnrank.multilinear_rank(x, rtol=0.01)) == {2}
        assert set(tnrank.tt_ranks(x, rtol=0.01)) == {2}
    x = HierarchicalTucker.from_dense(tensor, rtol=rtol, direction="root to leaves")
    assert error(x, tensor) <= (rtol or 1e-13 if dtype == "float64" else 1e-2)
    unscaled = tnrank.entanglement_entropy(total(dtype, 1.0))
    for given in (tensor, x):
        for node, value in tnrank.entanglement_entropy(given).items():
            assert np.isclose(float(value), float(unscaled[node.modes]), rtol=1e-4)
        relative = tnrank.hierarchical_singular_values(given, relative=True)
        assert np.isclose(np.linalg.norm(relative[0, 1]), 1, rtol=1e-5)
    assert tnrank.suggest_tree(tensor).storage == tnrank.suggest_tree(total(dtype, 1.0)).storage


@pytest.mark.parametrize(("dtype", "scale"), SCALES)
def test_components_of_any_scale(dtype: str, scale: float) -> None:
    plain = CPFactorization.random((4,) * 4, rank=2, seed=0, dtype=dtype)
    cp = CPFactorization(plain.factors, np.array([scale, 2 * scale], dtype))
    tree = DimensionTree.balanced(4)
    htf = tnrank.HierarchicalFactorization.random((4,) * 4, tree, width=2, seed=0, dtype=dtype)
    large = htf.replace([*list(htf.arrays.values())[:-1], list(htf.arrays.values())[-1] * np.asarray(scale, dtype)])
    for x in (cp, large):
        for rtol in (None, 0.001):
            assert set(tnrank.hierarchical_rank(x, rtol=rtol).values()) == {2}
    assert np.isclose(float(cp.norm()) / scale, float(CPFactorization(plain.factors, np.array([1, 2], dtype)).norm()))


def test_every_frame_of_an_edge_counts_in_the_bound() -> None:
    x = HierarchicalTucker.random((4,) * 4, rank=3, seed=0)
    dense = x.to_dense()
    for options in (
        {"max_rank": {(2, 3): 1}},
        {"max_rank": {(0, 1): 1}},
        {"rtol": {(2, 3): 0.5}},
        {"atol": {(2, 3): 0.5 * float(x.norm())}},
    ):
        result = x.truncate(**options)  # type: ignore[arg-type]  # one keyword of several
        lost = np.linalg.norm(result.tensor.to_dense() - dense)
        assert 0 < lost <= result.error_bound * (1 + 1e-12)
    for name, value in (("rtol", {(2, 3): 0.3}), ("rtol", {(0, 1): 0.3}), ("max_rank", {(2, 3): 2})):
        short = HierarchicalTucker.from_dense(dense, **{name: value})  # type: ignore[arg-type]  # as above
        assert short.ranks[x.tree.node((0, 1))] == short.ranks[x.tree.node((2, 3))] < 3
    train = TensorTrain.random((4,) * 4, rank=3).truncate(max_rank={0: 1})
    assert train.tensor.tt_ranks[0] == 1
    with pytest.raises(ValueError, match="no rank of its own"):
        TensorTrain.random((4,) * 4, rank=3).truncate(max_rank={1: 1})


def test_unary_nodes_below_a_binary_root_drop_their_share_once() -> None:
    for seed in range(40):
        tensor = np.random.default_rng(seed).standard_normal((4, 3))
        for tree in (((1,), 0), (((0,),), (1,)), ((((0,),), 1),)):
            for direction in ("leaves to root", "root to leaves"):
                x = HierarchicalTucker.from_dense(tensor, tree, 0.5, direction=direction)
                assert np.linalg.norm(x.to_dense() - tensor) <= 0.5 * np.linalg.norm(tensor)


def test_sums_keep_what_is_left_and_no_noise() -> None:
    x, y = TensorTrain.random((4,) * 5, rank=2, seed=0), TensorTrain.random((4,) * 5, rank=1, seed=1)
    assert TensorTrain.truncate_sum([x, -x, y * 1e-6]).tensor.tt_ranks == (1, 1, 1, 1)
    for terms, tree in (([HierarchicalTucker.random((4,) * 5, rank=2)], None), ([x], DimensionTree.balanced(5))):
        with pytest.raises(ValueError, match="DimensionTree"):
            TensorTrain.truncate_sum(terms, tree)
    zero = HierarchicalTucker.random((4,) * 5, rank=2) * 0.0
    tiny = HierarchicalTucker.random((4,) * 5, rank=1, seed=1) * 1e-280
    assert set(HierarchicalTucker.truncate_sum([zero, tiny]).tensor.ranks.values()) == {1}


def test_masks_and_imaginary_parts_are_not_lost() -> None:
    masked = np.ma.masked_array(np.ones((2, 2)), mask=[[0, 0], [0, 1]])
    with pytest.raises((TypeError, ValueError), match="complete"):
        HierarchicalTucker.from_dense(masked)
    with pytest.raises(ValueError, match="complex"):
        tnrank.data_tensor(np.full((2, 3), 0.5), np.array([1j, 1.0]))
