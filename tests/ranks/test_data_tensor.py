"""Tensors of data sets: ranks from M x M Gram matrices, at orders that no dense tensor has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import CPFactorization, DimensionTree, data_tensor, get_backend
from tnrank.ranks import entanglement_entropy, hierarchical_rank, hierarchical_singular_values, separation_rank


def definition(X: np.ndarray[Any, Any], y: np.ndarray[Any, Any], features: Any) -> np.ndarray[Any, Any]:
    made: Any = 0.0
    for row, label in zip(X, y, strict=True):
        term: Any = label
        for x in row:
            term = np.multiply.outer(term, features(x))
        made = made + term
    return np.asarray(made)


FEATURES = {
    "cos_sin": lambda x: np.array([np.cos(np.pi * x / 2), np.sin(np.pi * x / 2)]),
    "linear": lambda x: np.array([1.0, x]),
    "polynomial": lambda x: np.array([1.0, x, x * x]),
}


@pytest.mark.parametrize("features", FEATURES)
def test_is_its_definition(features: str, backend_name: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.random((7, 5)), rng.standard_normal(7)
    backend = get_backend(backend_name)
    x = data_tensor(backend.asarray(X), backend.asarray(y), features)
    assert isinstance(x, CPFactorization)
    assert x.backend.name == backend_name
    np.testing.assert_allclose(backend.to_numpy(x.to_dense()), definition(X, y, FEATURES[features]), atol=1e-13)
    own = data_tensor(X, y, lambda Z: np.stack([np.ones_like(Z), Z, Z**2, Z**3], axis=-1))
    assert own.shape == (4,) * 5
    unweighted = data_tensor(X, features=features).to_dense()
    np.testing.assert_allclose(unweighted, definition(X, np.ones(7), FEATURES[features]), atol=1e-13)


def test_spectra_are_those_of_the_dense_tensor() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.random((20, 8)), rng.choice([-1.0, 1.0], 20)
    x = data_tensor(X, y)
    dense = definition(X, y, FEATURES["cos_sin"])
    for method, tolerance in (("qr", 1e-13), ("gram", 2e-8)):
        found = hierarchical_singular_values(x, method=method)
        expected = hierarchical_singular_values(dense)
        for node, s in found.items():
            np.testing.assert_allclose(s, expected[node][: len(s)], rtol=0, atol=tolerance * expected[node][0])


def test_digits_of_order_64() -> None:
    pytest.importorskip("sklearn")
    from tnrank.data import digits

    images, labels = digits()
    chosen = labels < 2
    X, y = images[chosen].reshape(-1, 64)[:60], np.where(labels[chosen] == 0, 1.0, -1.0)[:60]
    x = data_tensor(X, y)
    tree = DimensionTree.quad(8, 8)
    accurate = hierarchical_singular_values(x, tree, relative=True)
    fast = hierarchical_singular_values(x, tree, method="gram", relative=True)
    for node, s in accurate.items():
        assert float((s**2).sum()) == pytest.approx(1, rel=1e-12)
        np.testing.assert_allclose(fast[node], s[: len(fast[node])], rtol=0, atol=1e-7)
    # An oracle by another way: the left half against the right, from inner products of samples alone.
    left = [row * 8 + column for row in range(8) for column in range(4)]
    gram = [
        np.cos(np.pi / 2 * (X[:, None, modes] - X[None, :, modes])).prod(axis=-1)
        for modes in (left, sorted(set(range(64)) - set(left)))
    ]
    squares = np.sort(np.linalg.eigvals(gram[0] @ (y[:, None] * gram[1] * y)).real)[::-1]
    expected = np.sqrt(np.clip(squares, 0, None))
    assert separation_rank(x, left, rtol=1e-6) == (expected > 1e-6 * expected[0]).sum()
    # Neighbors share more of an image than scattered pixels do.
    entropy = entanglement_entropy(x, tree, method="gram")
    assert 0 < float(entropy[0, 1, 8, 9]) < float(entropy[tuple(m for m in range(64) if m % 8 < 4 and m < 32)]) + 5


def test_images_of_order_784(data_dir: Path) -> None:
    from tnrank.data import mnist

    images, labels = mnist("test", data_dir=data_dir)
    X = np.asarray(images[:80], float).reshape(80, 784) / 255
    x = data_tensor(X, np.where(labels[:80] % 2 == 0, 1.0, -1.0))
    assert x.shape == (2,) * 784
    found = hierarchical_singular_values(x, DimensionTree.quad(28, 28), method="gram", relative=True)
    assert len(found) > 784
    for s in found.values():
        assert float((s**2).sum()) == pytest.approx(1, rel=1e-10)
    assert max(hierarchical_rank(x, rtol=1e-3).values()) <= 80


@pytest.mark.parametrize(
    ("X", "y", "features", "error", "message"),
    [
        (np.ones(3), None, "linear", ValueError, r"\(M, N\), got shape \(3,\)"),
        (np.ones((0, 3)), None, "linear", ValueError, r"\(M, N\), got shape \(0, 3\)"),
        (np.ones((2, 3)), np.ones(3), "linear", ValueError, r"one label a sample, \(2,\), got shape \(3,\)"),
        (
            np.array([[1.0, np.nan]]),
            None,
            "linear",
            ValueError,
            r"1 of 2 entries of X are NaN or infinite, first at \(0, 1\)",
        ),
        (np.ones((2, 3)), np.array([1.0, np.inf]), "linear", ValueError, "1 of 2 entries of y are NaN"),
        (np.ones((2, 3)), None, "fourier", ValueError, "unknown features 'fourier': give 'cos_sin'"),
        (
            np.ones((2, 3)),
            None,
            lambda X: X,
            ValueError,
            r"features\(X\) has shape \(2, 3\), needed \(M, N, d\) = \(2, 3, d\)",
        ),
        (
            np.zeros((2, 3)),
            None,
            lambda X: X[..., None] / np.float64(np.inf) + np.nan,
            ValueError,
            r"6 of 6 entries of features",
        ),
        (np.array([[0.0, 16.0]]), None, "cos_sin", ValueError, r"from 0 to 16: .* pass X / X.max\(\)"),
        (np.array([[0, 16]]), None, "cos_sin", ValueError, r"from 0 to 16"),
        (np.array([[-1.0, 1.0]]), None, "cos_sin", ValueError, r"from -1 to 1: .* pass \(X - X.min\(\)\)"),
        ([[1.0]], None, "linear", TypeError, "needed an array"),
    ],
)
def test_bad_data(X: Any, y: Any, features: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data_tensor(X, y, features)


def test_the_range_of_cos_sin(backend_name: str) -> None:
    backend = get_backend(backend_name)
    with pytest.raises(ValueError, match=r"pass X / X.max"):
        data_tensor(backend.asarray(np.array([[0.0, 16.0, 4.0]])))
    X = np.array([[0.0, 16.0, 4.0], [1.0, 2.0, 3.0]])
    x = data_tensor(backend.asarray(X / 16), features="cos_sin")
    assert np.isclose(
        float(backend.to_numpy(x.to_dense())[0, 1, 0]), definition(X / 16, np.ones(2), FEATURES["cos_sin"])[0, 1, 0]
    )
    assert data_tensor(backend.asarray(X), features="linear").shape == (2, 2, 2)
    single = np.float32(1) + np.finfo(np.float32).eps
    assert data_tensor(backend.asarray(np.full((1, 2), single))).rank == 1


def test_a_sample_with_the_label_zero_does_not_count() -> None:
    X = np.random.default_rng(3).random((4, 3))
    half = data_tensor(X, np.array([0.0, 1, 0, 1])).to_dense()
    np.testing.assert_allclose(half, data_tensor(X[1::2]).to_dense(), atol=1e-15)


def test_counts_and_booleans_are_numbers() -> None:
    x = data_tensor(np.array([[0, 1], [1, 1]]), np.array([True, False]), "linear")
    assert np.array_equal(x.to_dense(), definition(np.array([[0, 1], [1, 1]]), np.array([1, 0]), FEATURES["linear"]))
    assert tnrank.data_tensor is data_tensor
