"""Minimum l2 solutions and ridge paths against NumPy, SciPy and gradient descent."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import tnrank
from tnrank.theory import minimum_l2, ridge_path


@pytest.mark.few_on_jax("8-7-3")
@pytest.mark.parametrize(("n", "d", "rank"), [(5, 9, 5), (9, 5, 5), (8, 7, 3)])
def test_minimum_l2_is_the_pseudoinverse(backend_name, n, d, rank):
    rng = np.random.default_rng(n)
    A = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    y, several = rng.standard_normal(n), rng.standard_normal((n, 3))
    backend = tnrank.get_backend(backend_name)
    inverse = scipy.linalg.pinv(A)
    for right in (y, several):
        found = minimum_l2(backend.asarray(A), backend.asarray(right))
        assert tnrank.backend_of(found) is backend
        np.testing.assert_allclose(backend.to_numpy(found), inverse @ right, rtol=1e-10, atol=1e-12)


def test_minimum_l2_of_complex_and_zero_matrices():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 5)) + 1j * rng.standard_normal((3, 5))
    y = rng.standard_normal(3)
    np.testing.assert_allclose(minimum_l2(A, y), np.linalg.pinv(A) @ y, rtol=1e-12)
    assert not minimum_l2(np.zeros((3, 5)), y).any()


def test_gradient_descent_from_zero_finds_minimum_l2():
    rng = np.random.default_rng(1)
    A, y = rng.standard_normal((4, 10)), rng.standard_normal(4)
    x = np.zeros(10)
    for _ in range(5000):
        x -= 0.02 * A.T @ (A @ x - y)
    np.testing.assert_allclose(minimum_l2(A, y), x, atol=1e-12)


def test_ridge_path_solves_the_normal_equations(backend_name):
    rng = np.random.default_rng(2)
    A, y = rng.standard_normal((4, 6)), rng.standard_normal((4, 2))
    backend = tnrank.get_backend(backend_name)
    penalties = [0.0, 1e-3, 1.0, 50.0]
    path = ridge_path(backend.asarray(A), backend.asarray(y), penalties)
    assert tuple(path.shape) == (4, 6, 2)
    path = backend.to_numpy(path)
    for x, penalty in zip(path[1:], penalties[1:], strict=True):
        np.testing.assert_allclose(x, np.linalg.solve(A.T @ A + penalty * np.eye(6), A.T @ y), atol=1e-11)
    np.testing.assert_allclose(path[0], np.linalg.pinv(A) @ y, atol=1e-12)
    assert (np.diff(np.linalg.norm(path, axis=(1, 2))) < 0).all()


def test_ridge_path_without_a_penalty_ignores_values_of_rounding_size():
    A = np.outer([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) / 3
    y = np.array([1.0, 0.0, 0.0])
    np.testing.assert_allclose(ridge_path(A, y, [0.0])[0], np.linalg.pinv(A) @ y, atol=1e-14)
    assert not ridge_path(np.zeros((2, 3)), np.ones(2), [0.0, 1.0]).any()


def test_bad_least_squares():
    A, y = np.ones((2, 3)), np.ones(2)
    with pytest.raises(ValueError, match="n = 2, the rows of A"):
        minimum_l2(A, np.ones(3))
    with pytest.raises(ValueError, match=r"matrix \(n, d\)"):
        minimum_l2(y, y)
    with pytest.raises(ValueError, match="y has NaN"):
        minimum_l2(A, np.array([1.0, np.nan]))
    with pytest.raises(TypeError, match="A has dtype int64"):
        minimum_l2(np.ones((2, 3), int), y)
    with pytest.raises(TypeError, match="y has dtype complex128"):
        minimum_l2(A, y + 1j)
    with pytest.raises(ValueError, match="penalties"):
        ridge_path(A, y, [-1.0])
    with pytest.raises(ValueError, match="penalties"):
        ridge_path(A, y, [])
