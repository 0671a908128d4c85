from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tnrank import get_backend, ranks

S = np.array([[4.0, 3.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
NUMBERS = [
    ("effective_rank_of", (), [math.exp(-4 / 7 * math.log(4 / 7) - 3 / 7 * math.log(3 / 7)), 3, 0]),
    ("spectral_entropy_of", (), [-4 / 7 * math.log(4 / 7) - 3 / 7 * math.log(3 / 7), math.log(3), 0]),
    ("stable_rank_of", (), [25 / 16, 3, 0]),
    ("participation_ratio_of", (), [625 / 337, 3, 0]),
    ("numerical_rank_of", (), [2, 3, 0]),
    ("numerical_rank_of", (0.8,), [1, 3, 0]),
    ("numerical_rank_of", (0.1, 3.5), [1, 0, 0]),
    ("numerical_rank_of", (None, 1.0), [2, 0, 0]),
    ("schatten_norm_of", (2,), [5, math.sqrt(3), 0]),
    ("schatten_norm_of", (0.5,), [(2 + math.sqrt(3)) ** 2, 9, 0]),
    ("schatten_norm_of", (math.inf,), [4, 1, 0]),
    ("schatten_norm_of", (1,), [7, 3, 0]),
    ("nuclear_norm_of", (), [7, 3, 0]),
    ("ky_fan_norm_of", (2,), [7, 2, 0]),
    ("condition_number_of", (), [math.inf, 1, math.inf]),
    ("distance_to_rank_of", (1,), [3, math.sqrt(2), 0]),
    ("distance_to_rank_of", (0,), [5, math.sqrt(3), 0]),
    ("distance_to_rank_of", (3,), [0, 0, 0]),
    ("distance_to_rank_of", (9,), [0, 0, 0]),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), NUMBERS)
def test_against_closed_forms(backend_name: str, name: str, arguments: tuple, expected: list) -> None:
    backend = get_backend(backend_name)
    function = getattr(ranks, name)
    found = backend.to_numpy(function(backend.asarray(S), *arguments))
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)
    for row, value in zip(S, expected, strict=True):
        one = backend.to_numpy(function(backend.asarray(row), *arguments))
        np.testing.assert_allclose(one, value, rtol=1e-13, atol=1e-14)
        assert one.shape == ()


spectra = hnp.arrays(np.float64, st.integers(1, 8), elements=st.one_of(st.just(0.0), st.floats(1e-120, 1e120))).map(
    lambda s: np.sort(s)[::-1].copy()
)


@given(spectra)
def test_laws(s: np.ndarray) -> None:
    rank = int((s > 0).sum())
    zero = rank == 0
    for name in ("effective_rank_of", "stable_rank_of", "participation_ratio_of"):
        value = float(getattr(ranks, name)(s))
        assert (value == 0) if zero else (1 - 1e-12 <= value <= rank * (1 + 1e-12))
    assert float(ranks.stable_rank_of(s)) <= float(ranks.participation_ratio_of(s)) ** 2 * (1 + 1e-12)
    if not zero:
        assert float(ranks.effective_rank_of(s)) == pytest.approx(math.exp(float(ranks.spectral_entropy_of(s))))
    assert float(ranks.ky_fan_norm_of(s, len(s))) == pytest.approx(float(ranks.nuclear_norm_of(s)))
    assert float(ranks.schatten_norm_of(s, 1)) == pytest.approx(float(ranks.nuclear_norm_of(s)))
    norms = [float(ranks.schatten_norm_of(s, p)) for p in (0.5, 1, 2, 3.5, math.inf)]
    assert all(a >= b * (1 - 1e-12) for a, b in itertools.pairwise(norms))


@given(spectra, st.floats(0.05, 8), st.floats(0.05, 8))
def test_schatten_norms_fall_with_the_exponent(s: np.ndarray, p: float, q: float) -> None:
    """Quasi-norms too; they are absolutely homogeneous, and at most count^(1/p - 1/q) apart."""
    p, q = sorted((p, q))
    larger, smaller = (float(ranks.schatten_norm_of(s, e)) for e in (p, q))
    assert smaller <= larger * (1 + 1e-11)
    assert larger <= smaller * int((s > 0).sum()) ** (1 / p - 1 / q) * (1 + 1e-9)
    assert float(ranks.schatten_norm_of(2 * s, p)) == pytest.approx(2 * larger, rel=1e-12)
    oracle = scipy.special.logsumexp(p * np.log(s[s > 0])) / p if s[0] > 0 else -math.inf
    assert larger == pytest.approx(math.exp(oracle), rel=1e-7)


@given(spectra, st.integers(0, 9))
def test_distances_and_partial_sums_complement_each_other(s: np.ndarray, r: int) -> None:
    whole, tail = float(ranks.schatten_norm_of(s, 2)), float(ranks.distance_to_rank_of(s, r))
    assert tail <= whole * (1 + 1e-12)
    if 1 <= r <= len(s):
        head = float(ranks.schatten_norm_of(s[:r], 2))
        assert math.hypot(head, tail) == pytest.approx(whole, rel=1e-12)
        rest = float(ranks.nuclear_norm_of(s)) - float(ranks.ky_fan_norm_of(s, r))
        assert rest == pytest.approx(float(s[r:].sum()), rel=1e-9, abs=1e-12 * float(s.sum()))
    assert (tail == 0) == (r >= int((s > 0).sum()))


@given(spectra)
def test_condition_number(s: np.ndarray) -> None:
    found = float(ranks.condition_number_of(s))
    assert found == (math.inf if s[-1] == 0 else pytest.approx(s[0] / s[-1]))


@given(spectra, st.sampled_from([1e-150, 1e-3, 7.0, 1e150]))
def test_ranks_do_not_depend_on_scale(s: np.ndarray, scale: float) -> None:
    for name in ("effective_rank_of", "stable_rank_of", "participation_ratio_of"):
        function = getattr(ranks, name)
        assert float(function(s * scale)) == pytest.approx(float(function(s)), rel=1e-9)


def test_integers_and_float32(backend_name: str) -> None:
    backend = get_backend(backend_name)
    assert float(ranks.stable_rank_of(backend.asarray(np.array([2, 1])))) == 1.25
    found = ranks.effective_rank_of(backend.asarray(np.ones(4, np.float32)))
    assert backend.dtype_of(found) == "float32"
    assert float(found) == pytest.approx(4, rel=1e-6)


@pytest.mark.parametrize(
    ("s", "message"),
    [
        (np.array([1.0, -1.0, -2.0]), r"2 of 3 are not, the first is -1.0 at index \(1,\)"),
        (np.array([np.nan, 1.0]), r"first is nan at index \(0,\)"),
        (np.array([np.inf, 1.0]), "first is inf"),
        (np.array([1.0, 2.0]), r"got 1.0 before 2.0 at index \(0,\): sort"),
        (np.array(1.0), r"got shape \(\)"),
        (np.zeros((2, 0)), r"got shape \(2, 0\)"),
    ],
)
def test_no_spectrum(s: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ranks.effective_rank_of(s)


def test_wrong_arguments() -> None:
    s = np.array([2.0, 1.0])
    with pytest.raises(TypeError, match="dtype complex128"):
        ranks.stable_rank_of(s + 0j)
    with pytest.raises(TypeError, match=r"got builtins\.list"):
        ranks.stable_rank_of([2.0, 1.0])
    with pytest.raises(ValueError, match=r"p = 0 count values by numerical_rank_of"):
        ranks.schatten_norm_of(s, 0)
    with pytest.raises(ValueError, match="positive or inf, got nan"):
        ranks.schatten_norm_of(s, math.nan)
    with pytest.raises(TypeError, match="got 'fro'"):
        ranks.schatten_norm_of(s, "fro")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"k lies in 1 .. 2, the number of singular values, got 3"):
        ranks.ky_fan_norm_of(s, 3)
    with pytest.raises(ValueError, match="got r = -1"):
        ranks.distance_to_rank_of(s, -1)
    with pytest.raises(TypeError, match="r is an integer"):
        ranks.distance_to_rank_of(s, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"lies in \[0, 1\), got 2"):
        ranks.numerical_rank_of(s, 2)
    with pytest.raises(ValueError, match="atol is a number of at least 0, got -1"):
        ranks.numerical_rank_of(s, atol=-1)
