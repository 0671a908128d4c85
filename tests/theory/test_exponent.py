"""The fitted exponent against SciPy, statsmodels' formula written out, and data of a known law."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tnrank.theory import fit_exponent


def data(count=200, noise=0.05, exponent=1.5, seed=0):
    generator = np.random.default_rng(seed)
    sigma = np.exp(generator.uniform(-6, 1, count))
    gamma = generator.choice([-1, 1], count) * np.exp(generator.normal(0, 1, count))
    return sigma, 4 * sigma**exponent * gamma * np.exp(generator.normal(0, noise, count)), gamma


def test_independent_points_as_scipy_fits_them():
    sigma, rate, gamma = data()
    found = fit_exponent(sigma, rate, gamma, confidence=0.9)
    line = stats.linregress(np.log(sigma), np.log(rate / gamma))
    half = stats.t.ppf(0.95, 198) * line.stderr
    np.testing.assert_allclose([found.exponent, found.half_width], [line.slope, half], rtol=1e-12)
    np.testing.assert_allclose(found.prefactor, np.exp(line.intercept), rtol=1e-12)
    assert found.count == 200


def test_groups_of_one_point_give_the_heteroscedastic_error():
    sigma, rate, gamma = data()
    found = fit_exponent(sigma, rate, gamma, groups=np.arange(200))
    X = np.stack([np.ones(200), np.log(sigma)], axis=1)
    y = np.log(rate / gamma)
    bread = np.linalg.inv(X.T @ X)
    u = y - X @ (bread @ X.T @ y)
    covariance = bread @ (X.T * u**2) @ X @ bread * 200 / 199 * 199 / 198
    np.testing.assert_allclose(found.half_width, stats.t.ppf(0.975, 199) * np.sqrt(covariance[1, 1]), rtol=1e-10)


def test_intervals_of_correlated_points_cover_the_truth_only_with_groups():
    """Each group has a slope error of its own: 40 groups of 25 points."""
    hits = {"points": 0, "groups": 0}
    for seed in range(200):
        generator = np.random.default_rng(seed)
        groups = np.repeat(np.arange(40), 25)
        sigma = np.exp(generator.uniform(-6, 1, 1000))
        tilt = generator.normal(0, 0.1, 40)[groups]
        rate = 3 * sigma ** (4 / 3) * np.exp(tilt * np.log(sigma))
        for name, given in (("points", None), ("groups", groups)):
            hits[name] += fit_exponent(sigma, rate, np.ones(1000), given).contains(4 / 3)
    assert 0.9 < hits["groups"] / 200 <= 0.99
    assert hits["points"] / 200 < 0.6


def test_points_that_tell_nothing_are_left_out():
    sigma, rate, gamma = data(noise=0)
    sigma[0], gamma[1], rate[2] = 0, 0, -rate[2]
    rate[3] = np.nan
    found = fit_exponent(sigma.reshape(20, 10), rate.reshape(20, 10), gamma.reshape(20, 10))
    assert found.count == 196
    np.testing.assert_allclose([found.exponent, found.prefactor], [1.5, 4], rtol=1e-12)
    assert found.contains(found.exponent)
    assert not found.contains(1.6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1.0, 2.0], [1.0], [1.0, 1.0]), r"have one shape, got \(2,\), \(1,\), \(2,\)"),
        (([1.0, 2.0], [1.0, 1.0], [1.0, 1.0]), "3 points or more with different norms, got 2"),
        (([1.0] * 4, [1.0] * 4, [1.0] * 4), "with different norms, got 4"),
        (([1.0, 2.0, 3.0], [1.0] * 3, [1.0] * 3, [0, 0, 0]), "points of 2 groups or more"),
        (([1.0, 2.0, 3.0], [1.0] * 3, [1.0] * 3, None, 1.0), "between 0 and 1, got 1.0"),
    ],
)
def test_wrong_calls(given, message):
    with pytest.raises(ValueError, match=message):
        fit_exponent(*given)
