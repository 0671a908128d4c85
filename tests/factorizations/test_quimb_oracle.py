"""Hierarchical singular values against quimb's gauges, an independent implementation."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank import DimensionTree, HierarchicalTucker


@pytest.mark.parametrize(
    "tree",
    [
        DimensionTree.balanced(12),
        DimensionTree.linear(9),
        DimensionTree.balanced(20),
        DimensionTree.balanced(9, arity=3),
    ],
    ids=repr,
)
def test_spectra_are_quimbs_gauges(tree: DimensionTree) -> None:
    qtn = pytest.importorskip("quimb.tensor")
    x = HierarchicalTucker.random((4,) * tree.order, tree, rank=3, seed=1, std=0.5)
    tensors = [
        qtn.Tensor(x.arrays[name], inds=[str(label) for label in labels]) for name, labels in x.network.tensors.items()
    ]
    gauges: dict[str, np.ndarray] = {}
    qtn.TensorNetwork(tensors).gauge_all_simple_(max_iterations=200, tol=1e-13, gauges=gauges)
    for node, values in x.singular_values(relative=True).items():
        name = f"leaf {node.modes[0]}" if not node.height else str(node)
        found = np.sort(np.asarray(gauges[f"k{name}"]))[::-1]
        assert np.allclose(found / np.linalg.norm(found), values, rtol=0, atol=1e-10), node


def test_dense_tucker_of_tensorly() -> None:
    tucker = pytest.importorskip("tensorly.decomposition").tucker
    tl = pytest.importorskip("tensorly")
    rng = np.random.default_rng(0)
    core, factors = rng.standard_normal((2, 3, 2)), [rng.standard_normal((d, k)) for d, k in ((5, 2), (6, 3), (4, 2))]
    tensor = tl.tucker_to_tensor((core, factors))
    x = HierarchicalTucker.from_dense(tensor, DimensionTree.star(3), rtol=1e-12)
    assert tnrank.multilinear_rank(x) == (2, 3, 2)
    best, frames = tucker(tensor, rank=[2, 3, 2])
    assert np.allclose(tl.tucker_to_tensor((best, frames)), x.to_dense(), atol=1e-10)
