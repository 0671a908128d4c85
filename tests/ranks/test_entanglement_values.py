"""What the entanglement report takes: columns in different units, labels of any two values, a tree by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import DimensionTree, entanglement_report
from tnrank.ranks._entanglement._values import rescaled

NDArray = np.ndarray[Any, Any]


def test_columns_are_scaled_by_their_own_range() -> None:
    table = np.array([[4254.0, -1.0, 7.0], [0.0, 1.0, 7.0], [1063.5, 0.0, 7.0]])
    expected = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.25, 0.5, 0.0]]
    np.testing.assert_array_equal(rescaled(table, pixels=False), expected)
    np.testing.assert_array_equal(rescaled(np.array([[0.0, 4.0], [1.0, 2.0]]), pixels=True), [[0, 1], [0.25, 0.5]])
    np.testing.assert_array_equal(rescaled(np.full((2, 2), 3.0), pixels=True), np.zeros((2, 2)))
    np.testing.assert_array_equal(rescaled(np.array([[-1.7e308], [1.7e308]]), pixels=False), [[0.0], [1.0]])


def test_columns_are_scaled_as_scikit_learn_does() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    table = np.random.default_rng(0).normal(size=(40, 12)) * 10.0 ** np.arange(-6, 6)
    expected = entanglement_report(preprocessing.MinMaxScaler().fit_transform(table))
    report = entanglement_report(table, rescale=True)
    for actual, wanted in zip(report.levels, expected.levels, strict=True):
        assert actual.natural.entropy == pytest.approx(wanted.natural.entropy, abs=1e-9)


def test_images_are_scaled_by_one_range() -> None:
    images = np.random.default_rng(0).integers(3, 17, (20, 4, 4))
    low, high = images.min(), images.max()
    expected = entanglement_report((images - low) / (high - low)).levels
    for X, grid in [(images, None), (images.reshape(20, 16), (4, 4))]:
        levels = entanglement_report(X, grid=grid, rescale=True).levels
        assert [level.natural.entropy for level in levels] == pytest.approx(
            [level.natural.entropy for level in expected], abs=1e-9
        )
    by_column = entanglement_report(images.reshape(20, 16), rescale=True).levels
    assert by_column[-1].natural != expected[-1].natural


def test_labels_are_any_two_values() -> None:
    X = np.random.default_rng(0).random((12, 6))
    y = np.arange(12) % 3 == 0
    expected = entanglement_report(X, y).to_dict()
    assert expected["classes"] == [8, 4]
    for labels in (
        np.where(y, 7.5, -2),
        np.where(y, "versicolor", "setosa"),
        np.where(y, "b", "a").astype(object),
        np.where(y, b"b", b"a"),
        ["yes" if label else "no" for label in y],
        y.tolist(),
    ):
        assert entanglement_report(X, labels).to_dict() == expected


def test_tree_from_correlations_by_name() -> None:
    X = np.random.default_rng(0).random((60, 16)) * 5
    tree = tnrank.correlation_tree(X, grid=(4, 4))
    named = entanglement_report(X, tree="correlation", grid=(4, 4), rescale=True, samples=20)
    assert named.tree == tree
    assert named.samples == 20
    assert entanglement_report(X, tree="correlation", rescale=True).tree == tnrank.correlation_tree(X)


@pytest.mark.parametrize(
    ("X", "named", "error", "message"),
    [
        (
            np.zeros(3),
            {},
            ValueError,
            r"X has shape \(3,\), needed \(M, N\), one row a sample, or \(M, H, W\), one gray",
        ),
        (np.zeros((2, 1, 5, 4)), {}, ValueError, r"one gray image a sample: pass X.reshape\(2, 5, 4\)"),
        (np.zeros((2, 5, 4, 1)), {}, ValueError, r"one gray image a sample: pass X.reshape\(2, 5, 4\)"),
        (np.zeros((2, 3, 4, 4)), {}, ValueError, r"pass tnrank.data.gray\(numpy.moveaxis\(X, 1, -1\)\)"),
        (np.zeros((2, 3, 4, 5)), {}, ValueError, r"pass tnrank.data.gray\(numpy.moveaxis\(X, 1, -1\)\)"),
        (np.zeros((2, 2, 4, 5)), {}, ValueError, r"pass X.reshape\(2, -1\)"),
        (np.zeros((2, 4, 4, 3)), {}, ValueError, r"X has shape \(2, 4, 4, 3\), .*: pass tnrank.data.gray\(X\)"),
        (np.zeros((1, 4)), {}, ValueError, "X has 1 sample, needed 2"),
        (np.zeros((4, 1)), {}, ValueError, "X has 1 feature, needed 2"),
        (np.zeros((4, 4)) + 0j, {}, ValueError, "X has dtype complex128, needed real numbers"),
        (np.array([[0.0, np.nan], [1, 1]]), {}, ValueError, "1 of 4 entries of X are NaN or infinite, the first is"),
        (
            np.array([[0.0, 16], [1, 1]]),
            {},
            ValueError,
            r"0 to 16, needed \[0, 1\]: pass rescale=True, .* each column by",
        ),
        (np.full((4, 2, 2), 3.0), {}, ValueError, "pass rescale=True, which scales all pixels by their one range"),
        (np.full((4, 4), 3.0), {"grid": (2, 2)}, ValueError, "which scales all pixels by their one range"),
        (np.array([[0, 200], [1, 1]], np.uint8), {}, ValueError, "pass X / 255 for pixels; for columns .* rescale"),
        (np.full((4, 2, 2), 3, np.uint8), {}, ValueError, "pass X / 255$"),
        (np.zeros((4, 6)), {"grid": (2, 2)}, ValueError, "got grid 2 x 2 for 6 features"),
        (np.zeros((4, 2, 3)), {"grid": (3, 2)}, ValueError, r"images of shape \(2, 3\), got grid \(3, 2\)"),
        (np.zeros((4, 6)), {"tree": DimensionTree.balanced(5)}, ValueError, "5 modes, and X has 6 features"),
        (np.zeros((4, 6)), {"tree": DimensionTree.balanced(6), "grid": (2, 3)}, ValueError, "leave grid out"),
        (np.zeros((4, 6)), {"tree": "balanced"}, TypeError, "tree is a DimensionTree"),
        (np.zeros((4, 6)), {"y": np.zeros(3)}, ValueError, r"y has shape \(3,\), needed \(4,\), one label a sample"),
        (np.zeros((4, 6)), {"y": np.zeros((4, 1))}, ValueError, r"one label a sample: pass y.reshape\(-1\)"),
        (np.zeros((4, 6)), {"y": np.zeros(4) + 1j}, ValueError, "y has dtype complex128, needed numbers, booleans or"),
        (np.zeros((4, 6)), {"y": np.array(["a", "b", "c", "a"])}, ValueError, "'b', 'c'.*, needed two: pass y == 'a'"),
        (np.zeros((4, 6)), {"y": np.array(["a", 2, 2, "a"], object)}, ValueError, r"pass y.astype\(str\)"),
        (np.zeros((4, 6)), {"y": np.ones(4)}, ValueError, r"labels of one class \(1\), needed two: leave y out"),
        (
            np.zeros((4, 6)),
            {"y": np.arange(4)},
            ValueError,
            r"labels of 4 classes \(0, 1, 2, ..\), needed two: pass y == 0,",
        ),
        (np.zeros((4, 6)), {"y": np.array([0, 1, np.nan, 1])}, ValueError, "1 labels that are NaN or infinite"),
        (np.zeros((4, 6)), {"y": np.array([0, 1, 1, 0])}, ValueError, "every sample has a copy with the other label"),
        (np.zeros((4, 6)), {"scale": 0.6}, ValueError, "scale is a finite number above 0 and of at most 0.5"),
        (np.zeros((4, 6)), {"scale": 0}, ValueError, "scale is a finite number above 0"),
        (np.zeros((4, 6)), {"samples": 1}, ValueError, "samples is a whole number from 2"),
        (np.zeros((4, 6)), {"rescale": "yes"}, TypeError, "rescale is True or False"),
        (np.zeros((4, 6)), {"blocks": 0}, ValueError, "blocks is a whole number from 1"),
        (np.zeros((4, 6)), {"seed": -1}, ValueError, "seed is a whole number from 0"),
        (np.zeros((4, 6)), {"twins": "no"}, TypeError, "twins is True or False"),
    ],
)
def test_bad_input(X: NDArray, named: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        entanglement_report(X, **named)
