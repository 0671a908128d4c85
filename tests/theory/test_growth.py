"""Closed forms against an ODE solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tnrank.theory import escape_time, integrated_law


def solved(sigma0, tau, gamma, K):
    def rate(t, s):
        return K * gamma(t) * np.maximum(s, 0) ** (2 - 2 / K)

    return solve_ivp(rate, (0, tau[-1]), [sigma0], t_eval=tau, rtol=1e-12, atol=1e-16).y[0]


@pytest.mark.parametrize("K", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("gamma", [0.3, -0.4])
def test_constant_projection(K, gamma):
    tau = np.linspace(0, 0.4, 9)
    found = integrated_law(0.5, tau, gamma, K)
    np.testing.assert_allclose(found, solved(0.5, tau, lambda t: gamma, K), rtol=1e-9)
    assert escape_time(0.5, found[-1], K, gamma) == pytest.approx(tau[-1], rel=1e-10)
    assert integrated_law(0.5, 0.4, gamma, K) == pytest.approx(found[-1], rel=1e-14)


@pytest.mark.parametrize("K", [2, 3, 5])
def test_measured_projection(K):
    errors = []
    for count in (101, 401):
        tau = np.linspace(0, 2, count)
        gamma = np.stack([np.cos(tau), -np.cos(2 * tau)], axis=1)
        found = integrated_law(np.array([0.1, 0.2]), tau, gamma, K)
        wanted = np.stack([solved(0.1, tau, np.cos, K), solved(0.2, tau, lambda t: -np.cos(2 * t), K)], axis=1)
        errors.append(abs(found - wanted).max())
    assert errors[1] < 1e-4
    assert errors[1] < errors[0] / 15  # second order in the spacing


def test_the_solution_ends_in_finite_time():
    assert integrated_law(1.0, [0.0, 0.4, 0.6, 2.0], 1.0, 4)[1:].tolist() == [pytest.approx(25), np.inf, np.inf]
    gamma = np.array([[1.0, -1.0], [1.0, -1.0], [-9.0, 1.0], [-9.0, 1.0]])
    found = integrated_law([1.0, 1.0], [0, 1, 2, 3], gamma, 4)
    assert np.isinf(found[1:, 0]).all()
    assert np.isfinite(found[:, 1]).all()
    assert found[3, 1] > found[1, 1]


def test_small_components_wait():
    for K, wanted in ((3, 2 ** (1 / 3)), (4, 2**0.5), (6, 2 ** (2 / 3))):
        ratio = escape_time(0.5e-30, 1.0, K, 1.0) / escape_time(1e-30, 1.0, K, 1.0)
        assert ratio == pytest.approx(wanted, rel=1e-6)
    assert escape_time(1e-4, 1.0, 2, 0.5) == pytest.approx(np.log(1e4))
    assert escape_time([0.0, 1.0, 0.5], 1.0, 3, [1.0, -1.0, -1.0]).tolist() == [np.inf, 0.0, np.inf]
    assert escape_time(0.5, 1.0, 2, 0.0) == np.inf


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: escape_time(-1.0, 1.0, 3, 1.0), "at least 0"),
        (lambda: escape_time(1.0, 1.0, 0, 1.0), "K is the number"),
        (lambda: escape_time(1.0, 1.0, 2.5, 1.0), "whole number"),
        (lambda: integrated_law(-1.0, [0, 1], 1.0, 3), "at least 0"),
        (lambda: integrated_law(1.0, [1, 0], 1.0, 3), "increases"),
        (lambda: integrated_law(1.0, [0, 1], [1.0, 1.0, 1.0], 3), r"shape \(2,\)"),
        (lambda: integrated_law([1.0, 1.0], [0, 1], [1.0, 1.0, 1.0], 3), r"\(2, 2\) \(measured\)"),
    ],
)
def test_wrong_calls(call, said):
    with pytest.raises(ValueError, match=said):
        call()
