"""Entanglement of data sets: against the dense tensor and other libraries, its twins, levels and texts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import DimensionTree, entanglement_report
from tnrank.ranks._entanglement._levels import levels_of
from tnrank.ranks._entanglement._twins import twin_of

NDArray = np.ndarray[Any, Any]


def dense(X: NDArray, y: NDArray, scale: float) -> NDArray:
    """The data tensor by its definition."""
    made: Any = 0.0
    for row, label in zip(X, y, strict=True):
        term: Any = label
        for x in row:
            term = np.multiply.outer(term, [np.cos(np.pi * scale * x), np.sin(np.pi * scale * x)])
        made = made + term
    return np.asarray(made)


def of_matrix(tensor: NDArray, modes: tuple[int, ...]) -> tuple[float, float]:
    """Entropy and geometric entanglement of one matricization."""
    rest = [mode for mode in range(tensor.ndim) if mode not in modes]
    s = np.linalg.svd(tensor.transpose(*modes, *rest).reshape(2 ** len(modes), -1), compute_uv=False)
    p = s**2 / (s**2).sum()
    p = p[p > 1e-30]
    return float(-(p * np.log(p)).sum()), float(np.sqrt(p[1:].sum()))


TREES = {
    "balanced": DimensionTree.balanced(9),
    "quad": DimensionTree.quad(3, 3),
    "linear": DimensionTree.linear(9),
    "star": DimensionTree.star(9),
    "windows": DimensionTree.windows(9, 2),
}


@pytest.mark.parametrize("scale", [0.085, 0.3, 0.5])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_is_that_of_the_dense_tensor(name: str, labels: bool, scale: float) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.random((20, 9)), np.where(np.arange(20) % 3 == 0, 1, 0)
    X[4], X[5, 2], X[6, 2] = X[3], 0.0, 1.0  # equal samples, and features that are orthogonal
    signs = np.where(y == 1, 1.0, -1.0) if labels else np.ones(20)
    report = entanglement_report(X, y if labels else None, tree=TREES[name], scale=scale, twins=False)
    tensor = dense(X, signs, scale)
    for level, chosen in zip(report.levels, levels_of(TREES[name], 64, 0), strict=True):
        expected = np.array([of_matrix(tensor, modes) for modes in chosen.chosen])
        assert level.natural.entropy == pytest.approx(expected[:, 0].mean(), abs=1e-10)
        assert level.natural.geometric == pytest.approx(expected[:, 1].mean(), abs=1e-8)
        if len(expected) > 1:
            error = expected[:, 0].std(ddof=1) / math.sqrt(len(expected))
            assert level.natural.error == pytest.approx(error, abs=1e-10)
        else:
            assert math.isnan(level.natural.error)


def test_is_that_of_quimb() -> None:
    qtn = pytest.importorskip("quimb.tensor")
    X = np.random.default_rng(1).random((12, 8))
    state = None
    for row in X:
        product = qtn.MPS_product_state([np.array([np.cos(np.pi * x / 2), np.sin(np.pi * x / 2)]) for x in row])
        state = product if state is None else state + product
    state.normalize()
    report = entanglement_report(X, tree=DimensionTree.linear(8), twins=False)
    (root,) = entanglement_report(X, twins=False).levels[:1]
    assert root.natural.entropy == pytest.approx(state.entropy(4) * math.log(2), abs=1e-10)
    assert report.levels[-1].features == (1, 1)


def test_is_that_of_the_library_at_order_64() -> None:
    pytest.importorskip("sklearn")
    from tnrank.data import digits

    images, labels = digits()
    X, y = images[:40], labels[:40] % 2
    report = entanglement_report(X, y, twins=False)
    x = tnrank.data_tensor(X.reshape(40, 64), np.where(y == 1, 1.0, -1.0))
    expected = tnrank.entanglement_entropy(x, DimensionTree.quad(8, 8))
    for level in report.levels:
        nodes = [node for node in report.tree.nodes if len(node.modes) == level.features[0]]
        assert len(nodes) == level.count
        assert level.natural.entropy == pytest.approx(np.mean([expected[node] for node in nodes]), abs=1e-10)


def test_large_products_neither_underflow_nor_cost_a_large_array() -> None:
    X = np.random.default_rng(0).integers(0, 2, (10, 4096)).astype(float)
    report = entanglement_report(X, twins=False)
    assert report.levels[0].natural.entropy == pytest.approx(math.log(10), abs=1e-10)
    assert report.suits is None


def test_twins() -> None:
    X = np.random.default_rng(0).random((30, 6))
    shuffled, independent, uniform = (twin_of(X, name, 5) for name in ("shuffled", "independent", "uniform"))
    order = [int(np.flatnonzero((column[:, None] == X).all(axis=0))[0]) for column in shuffled.T]
    assert sorted(order) == list(range(6))
    assert (np.sort(independent, axis=0) == np.sort(X, axis=0)).all()
    assert abs(np.corrcoef(independent[:, 0], X[:, 0])[0, 1]) < 0.5
    assert uniform.shape == X.shape
    assert not (uniform == X).any()
    assert (twin_of(X, "shuffled", 5) == shuffled).all()


def test_levels_of_a_regular_tree_are_its_depths() -> None:
    levels = levels_of(DimensionTree.quad(8, 8), 10, 0)
    assert [(level.size, len(level.chosen), len(level.chosen[0])) for level in levels] == [
        (4, 4, 16),
        (16, 10, 4),
        (64, 10, 1),
    ]
    assert levels == levels_of(DimensionTree.quad(8, 8), 10, 0)
    assert levels[2].chosen != levels_of(DimensionTree.quad(8, 8), 10, 1)[2].chosen
    halves = levels_of(DimensionTree.balanced(8), 64, 0)
    assert [(level.size, len(level.chosen)) for level in halves] == [(1, 1), (4, 4), (8, 8)]


def test_levels_of_other_trees_are_sizes() -> None:
    levels = levels_of(DimensionTree.linear(20), 64, 0)
    assert [sorted({len(modes) for modes in level.chosen}) for level in levels] == [
        [16, 17, 18, 19],
        [8, 9, 10, 11, 12, 13, 14, 15],
        [4, 5, 6, 7],
        [2, 3],
        [1],
    ]


def test_seeds_samples_and_frameworks(backend_name: str) -> None:
    X = np.random.default_rng(0).random((40, 16))
    y = np.arange(40) % 2
    backend = tnrank.get_backend(backend_name)
    report = entanglement_report(backend.asarray(X), backend.asarray(y), samples=25, blocks=3, seed=7)
    assert report.to_dict() == entanglement_report(X, y == 1, samples=25, blocks=3, seed=7).to_dict()
    assert report.samples == 25
    assert sum(report.classes or ()) == 25
    other = entanglement_report(X, y, samples=25, blocks=3, seed=8)
    assert other.levels[1].natural != report.levels[1].natural
    assert entanglement_report(np.repeat(X, 13, axis=0), twins=False).samples == 500
    assert entanglement_report(X, samples=41, seed=7).to_dict() == entanglement_report(X, seed=7).to_dict()


def test_text_and_dictionary() -> None:
    rng = np.random.default_rng(0)
    report = entanglement_report(rng.random((30, 16, 16)), rng.integers(0, 2, 30))
    text = str(report)
    assert text.startswith("entanglement of 30 samples, 16 x 16 features, classes of ")
    assert "at most ln M = 3.40" in text
    assert "64 of 256" in text
    assert text.count("saturated") == 2
    assert text.count(" ± ") == 1 + 4 * 4
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert content["levels"][0]["natural"]["entropy"] == report.levels[0].natural.entropy
    assert DimensionTree.from_text(content["tree"]) == report.tree
    alone = entanglement_report(rng.random((30, 8)), twins=False)
    assert "shuffled" not in str(alone)
    assert alone.levels[0].shuffled is None
    assert json.loads(json.dumps(alone.to_dict(), allow_nan=False))["levels"][0]["natural"]["error"] is None


def test_shuffled_features_are_the_same_where_they_are_alone() -> None:
    X = np.random.default_rng(0).random((20, 9)) ** 3
    report = entanglement_report(X, tree=DimensionTree.quad(3, 3), blocks=3)
    alone = report.levels[-1]
    assert (alone.count, alone.measured, alone.features) == (9, 3, (1, 1))
    assert alone.shuffled == alone.natural
    # The shuffled twin by its definition, at the places where the permutation has put those features.
    twin = twin_of(X, "shuffled", 0)
    tensor = dense(twin, np.ones(20), 0.5)
    places = [
        int(np.flatnonzero((twin == X[:, list(modes)]).all(axis=0))[0])
        for modes in levels_of(report.tree, 3, 0)[-1].chosen
    ]
    expected = np.mean([of_matrix(tensor, (place,))[0] for place in places])
    assert alone.shuffled.entropy == pytest.approx(expected, abs=1e-10)


def test_only_drawn_samples_are_read(tmp_path: Path) -> None:
    X = np.random.default_rng(0).random((40, 6))
    chosen = entanglement_report(X, samples=10, twins=False)
    np.save(tmp_path / "x.npy", X)
    assert entanglement_report(np.load(tmp_path / "x.npy", mmap_mode="r"), samples=10, twins=False) == chosen
    wrong = np.full((40, 6), np.nan)
    wrong[5:] = X[5:]
    told = "the first is feature 0 of sample [0-4]: leave those samples out"
    with pytest.raises(ValueError, match=told):
        entanglement_report(wrong, samples=39)


def test_samples_of_one_class_by_chance() -> None:
    X, y = np.random.default_rng(0).random((50, 4)), np.arange(50) == 0
    with pytest.raises(ValueError, match="the 2 samples that were drawn are of one class"):
        entanglement_report(X, y, samples=2)
