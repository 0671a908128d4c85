"""Core consistency against the dense least-squares problem with Kronecker products."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import CPFactorization
from tnrank.ranks import core_consistency

Host = np.ndarray[Any, Any]


def reference(tensor: Host, factors: list[Host]) -> float:
    """The formula of Bro and Kiers on components of equal norms."""
    rank = factors[0].shape[1]
    norms = np.stack([np.linalg.norm(f, axis=0) for f in factors])
    common = np.prod(norms, axis=0) ** (1 / len(factors))
    factors = [f / n * common for f, n in zip(factors, norms, strict=True)]
    core = np.linalg.lstsq(reduce(np.kron, factors), tensor.ravel(), rcond=None)[0].reshape((rank,) * len(factors))
    ones = np.zeros_like(core)
    ones[(np.arange(rank),) * len(factors)] = 1
    return float(100 * (1 - np.sum(np.abs(core - ones) ** 2) / rank))


def drawn(shape: tuple[int, ...], rank: int, seed: int, dtype: str = "float64") -> list[Host]:
    rng = np.random.default_rng(seed)
    factors = [rng.standard_normal((d, rank)) for d in shape]
    return [f + 1j * rng.standard_normal(f.shape) if dtype == "complex128" else f for f in factors]


@given(
    st.lists(st.integers(2, 5), min_size=2, max_size=4),
    st.integers(1, 4),
    st.sampled_from(["float64", "complex128"]),
    st.integers(0, 99),
)
def test_it_is_the_least_squares_core(shape: list[int], rank: int, dtype: str, seed: int) -> None:
    factors = drawn(tuple(shape), rank, seed, dtype)
    tensor = np.random.default_rng(seed + 1).standard_normal(shape)
    expected = reference(tensor, factors)
    found = core_consistency(tensor, CPFactorization(factors))
    assert abs(found - expected) <= 1e-9 * max(100, abs(expected))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(("shape", "rank"), [((4, 5, 6), 4), ((3, 4, 3, 5), 3), ((7, 6), 2)])
def test_the_components_of_a_tensor_are_consistent(shape: tuple[int, ...], rank: int, dtype: str) -> None:
    x = CPFactorization(drawn(shape, rank, 0, dtype))
    assert abs(core_consistency(x.to_dense(), x) - 100) < 1e-9


def test_too_many_components_are_not() -> None:
    rng = np.random.default_rng(0)
    tensor = CPFactorization([rng.random((d, 3)) for d in (5, 6, 7)]).to_dense()
    tensor = tensor + 0.03 * rng.standard_normal(tensor.shape)
    right, many = (core_consistency(tensor, CPFactorization.from_dense(tensor, rank=r)) for r in (3, 4))
    assert right > 99
    assert many < 0


def test_rank_one() -> None:
    tensor = np.random.default_rng(0).standard_normal((3, 4, 5))
    best = CPFactorization.from_dense(tensor, rank=1)
    assert abs(core_consistency(tensor, best) - 100) < 1e-6
    # The core is a number, and 1 for the best scale: twice the components leave 1/2.
    double = best.replace({name: a * (2 if name == "A0" else 1) for name, a in best.arrays.items()})
    assert abs(core_consistency(tensor, double) - 75) < 1e-6
    assert core_consistency(tensor, CPFactorization([np.zeros((d, 1)) for d in (3, 4, 5)])) == 0


def test_scales_weights_and_backends_do_not_count(backend_name: str) -> None:
    factors = drawn((3, 4, 5), 2, 0)
    tensor = np.random.default_rng(1).standard_normal((3, 4, 5))
    expected = core_consistency(tensor, CPFactorization(factors))
    scaled = [factors[0] * 10, factors[1] * np.array([0.1, 1e-3]), factors[2]]
    weighted = CPFactorization(scaled, np.array([1.0, 100.0])).to(backend_name, dtype="float64")
    backend = tnrank.get_backend(backend_name)
    assert abs(core_consistency(backend.asarray(tensor, dtype="float64"), weighted) - expected) < 1e-10
    assert abs(core_consistency(CPFactorization.from_dense(tensor, rank=9), CPFactorization(factors)) - expected) < 1e-3


def test_more_components_than_a_mode_is_long_need_no_large_core() -> None:
    factors = drawn((6, 6, 6, 6), 60, 0)  # the core would have 60^4 entries
    found = core_consistency(CPFactorization(factors).to_dense(), CPFactorization(factors))
    small = drawn((2, 2, 2), 5, 0)
    tensor = CPFactorization(small).to_dense()
    assert abs(core_consistency(tensor, CPFactorization(small)) - reference(tensor, small)) < 1e-9
    assert found < 100


def test_bad_input() -> None:
    x = CPFactorization(drawn((3, 4, 5), 2, 0))
    with pytest.raises(ValueError, match=r"shape \(3, 4, 6\) and x has \(3, 4, 5\)"):
        core_consistency(np.ones((3, 4, 6)), x)
    with pytest.raises(ValueError, match="NaN or infinite"):
        core_consistency(np.full((3, 4, 5), np.nan), x)
    with pytest.raises(TypeError, match="needed a CPFactorization"):
        core_consistency(np.ones((3, 4)), tnrank.MatrixFactorization([np.ones((3, 4))]))  # type: ignore[arg-type]
