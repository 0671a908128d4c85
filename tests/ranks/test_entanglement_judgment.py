"""The judgment of the entanglement report: its rule, its words, and what it says of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import DimensionTree, entanglement_report
from tnrank.ranks import Entanglement, EntanglementReport, LevelEntanglement
from tnrank.ranks._entanglement._judgment import judge

NDArray = np.ndarray[Any, Any]


def waves(count: int, order: int) -> NDArray:
    """Samples whose neighbors are alike."""
    steps = np.random.default_rng(0).normal(size=(count, order)).cumsum(axis=1)
    return 1 / (1 + np.exp(-2 * steps))


def test_judgments() -> None:
    X = waves(60, 64)
    good = entanglement_report(X)
    assert good.suits is True
    assert good.judgment.startswith("Well arranged: ")
    assert "A locally connected network suits the data." in good.judgment
    shuffled = entanglement_report(X[:, np.random.default_rng(1).permutation(64)])
    assert shuffled.suits is None
    assert "correlation_tree(X) may find a better arrangement" in shuffled.judgment
    found = entanglement_report(X[:, ::-1], tree=tnrank.correlation_tree(X[:, ::-1]))
    assert found.suits is True
    strided = DimensionTree.balanced(256).permute([(k % 16) * 16 + k // 16 for k in range(256)])
    little = entanglement_report(waves(60, 256), tree=strided)
    assert little.suits is False
    assert "less than 1.2 times lower, and the difference exceeds two standard errors" in little.judgment
    assert "Another tree may be better" in little.judgment
    for report, words in [
        (entanglement_report(X, twins=False), "pass twins=True"),
        (entanglement_report(X, tree=DimensionTree.star(64)), "no level with nodes of 4 to 64"),
        (entanglement_report(np.full((9, 16), 0.5)), "not entangled at all"),
        (entanglement_report(X[:3]), "are saturated, within ln 2 of ln 3"),
        (entanglement_report(X[:, :8]), "one partition"),
    ]:
        assert report.suits is None
        assert report.judgment.startswith("No judgment: ")
        assert words in report.judgment


def test_noise_and_shuffles_are_never_called_good() -> None:
    rng = np.random.default_rng(0)
    for seed in range(6):
        assert entanglement_report(rng.random((60, 64)), seed=seed).suits is not True
        assert entanglement_report(waves(60, 64)[:, rng.permutation(64)], seed=seed).suits is not True


@pytest.mark.parametrize(
    ("natural", "shuffled", "error", "suits", "words"),
    [
        # Two standard errors of a difference are 2 * sqrt(2) of one: 2.828 times the error of the shuffled mean.
        (0.15, 0.20, 0.02, None, "0.15 against 0.20 nats for shuffled features, nodes of 8 features, a difference"),
        (0.15, 0.20, 0.02, None, "within two standard errors (0.06). More samples or features may tell."),
        (0.15, 0.20, 0.017, True, "1.3 times lower and a difference of more than two standard errors (0.05)"),
        (1.00, 1.19, 0.06, False, "less than 1.2 times lower, and the difference exceeds two standard errors (0.17)"),
        (1.00, 1.21, 0.07, True, "1.2 times lower"),
        (1.00, 1.21, 0.08, None, "Undecided"),
        (1.00, 0.80, 0.08, None, "Undecided"),
        (1.00, 0.80, 0.06, False, "higher, the arrangement does harm"),
        (1.00, 1.00, 0.0, None, "within two standard errors (0.00)"),
        (1.00, 1.21, 0.001, True, "(0.0028)"),
    ],
)
def test_rule_of_the_judgment(natural: float, shuffled: float, error: float, suits: bool | None, words: str) -> None:
    means = {"natural": Entanglement(natural, 0.1, 0.1), "shuffled": Entanglement(shuffled, error, 0.1)}
    actual, text = judge([LevelEntanglement(3, 8, 8, (8, 8), 8.0, False, **means)], 100, False)
    assert actual is suits
    assert words in text


def level(report: EntanglementReport, features: int) -> LevelEntanglement:
    return min(report.levels, key=lambda entry: abs(entry.mean_features - features))


def test_images_are_less_entangled_than_their_shuffled_pixels(data_dir: Path) -> None:
    """Published numbers: MNIST 1.38, 2.78 shuffled, 1.93 independent, 4.01 uniform; CIFAR-10 2.40, 3.53, 3.87, 4.01."""
    from tnrank.data import cifar10, mnist

    images, labels = mnist("train", data_dir=data_dir)
    found = entanglement_report(images[:60] / 255, labels[:60] % 2)
    assert found.suits is True
    at_16 = next(entry for entry in found.levels if entry.features == (16, 16))
    assert at_16.shuffled.entropy >= 1.3 * at_16.natural.entropy
    assert at_16.natural.entropy == pytest.approx(1.38, abs=0.15)
    assert at_16.uniform.entropy == pytest.approx(4.01, abs=0.01)

    images, labels = cifar10("train", data_dir=data_dir)
    first = np.flatnonzero(labels < 2)[:60]
    found = entanglement_report(images[first].mean(axis=-1) / 255, labels[first])
    at_16 = level(found, 16)
    assert found.suits is True
    assert at_16.shuffled.entropy >= 1.3 * at_16.natural.entropy
    expected = (2.40, 3.53, 3.87, 4.01)
    actual = [getattr(at_16, name).entropy for name in ("natural", "shuffled", "independent", "uniform")]
    np.testing.assert_allclose(actual, expected, atol=0.02)


def test_digits_are_less_entangled_than_noise() -> None:
    pytest.importorskip("sklearn")
    from tnrank.data import digits

    images, _ = digits()
    at_16 = level(entanglement_report(images[:100]), 16)
    assert at_16.natural.entropy < at_16.uniform.entropy - 0.5
