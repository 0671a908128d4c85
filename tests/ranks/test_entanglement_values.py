"""What the entanglement report takes: columns in different units, labels of any two values, a tree by name."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank import entanglement_report
from tnrank.ranks._entanglement._values import rescaled


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
        assert entanglement_report(X, labels).to_dict() == expected  # type: ignore[arg-type]


def test_tree_from_correlations_by_name() -> None:
    X = np.random.default_rng(0).random((60, 16)) * 5
    tree = tnrank.correlation_tree(X, grid=(4, 4))
    named = entanglement_report(X, tree="correlation", grid=(4, 4), rescale=True, samples=20)
    assert named.tree == tree
    assert named.samples == 20
    assert entanglement_report(X, tree="correlation", rescale=True).tree == tnrank.correlation_tree(X)
