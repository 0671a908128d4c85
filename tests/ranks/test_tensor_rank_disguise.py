"""Known tensors in other coordinates: whole-number ones, where ranks are proven, and real ones, to rounding."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnrank import get_backend, tensor_rank
from tnrank.ranks._certified._exact import exact_core
from tnrank.ranks._certified._lattice import finer_core, short_core
from tnrank.ranks._certified._numerical_algebra import numerical_algebra_bound
from tnrank.ranks._certified._search import _to_rounding
from tnrank.ranks._certified._target import Target

Host = np.ndarray[Any, Any]
EPS = 2.0**-52


def matrix_product() -> Host:
    t = np.zeros((4, 4, 4), dtype=int)
    for i, j, k in itertools.product(range(2), repeat=3):
        t[2 * i + j, 2 * j + k, 2 * k + i] = 1
    return t


def modulo(*coefficients: int) -> Host:
    """Multiplication of polynomials modulo ``x^n - sum c_k x^k``."""
    n = len(coefficients)
    powers = [list(row) for row in np.eye(n, dtype=int)]
    while len(powers) < 2 * n - 1:
        last = powers[-1]
        powers.append([shifted + last[-1] * c for shifted, c in zip([0, *last[:-1]], coefficients, strict=True)])
    return np.array([[powers[i + j] for j in range(n)] for i in range(n)])


def quaternions() -> Host:
    one, i, j = np.eye(2), np.array([[1j, 0], [0, -1j]]), np.array([[0, 1], [-1, 0]])
    basis = np.array([one, i, j, i @ j])
    products = np.einsum("aij,bjk->abik", basis, basis)
    return np.rint(np.einsum("abij,cij->abc", products, basis.conj()).real / 2).astype(int)


def triangular() -> Host:
    """Upper triangular 2 x 2 matrices."""
    t = np.zeros((3, 3, 3), dtype=int)
    t[0, 0, 0] = t[0, 1, 1] = t[1, 2, 1] = t[2, 2, 2] = 1
    return t


def direct_sum(a: Host, b: Host) -> Host:
    n, m = len(a), len(b)
    t = np.zeros((n + m,) * 3, dtype=int)
    t[:n, :n, :n], t[n:, n:, n:] = a, b
    return t


def w(order: int) -> Host:
    t = np.zeros((2,) * order, dtype=int)
    for k in range(order):
        t[tuple(int(i == k) for i in range(order))] = 1
    return t


def times(t: Host, matrices: list[Host]) -> Host:
    for mode, matrix in enumerate(matrices):
        t = np.moveaxis(np.tensordot(matrix, t, axes=(1, mode)), 0, mode)
    return t


def whole_numbers(t: Host, seed: int, reach: int = 3) -> Host:
    """The tensor times matrices of whole numbers, the first of them not unimodular."""
    rng, matrices = np.random.default_rng(seed), list[Host]()
    while len(matrices) < t.ndim:
        matrix = rng.integers(-reach, reach + 1, (t.shape[len(matrices)],) * 2)
        if abs(np.linalg.det(matrix)) > (0.5 if matrices else 1.5):
            matrices.append(matrix)
    return times(t, matrices)


def real_numbers(t: Host, seed: int, orthogonal: bool) -> Host:
    rng = np.random.default_rng(seed)
    matrices = [rng.standard_normal((d, d)) for d in t.shape]
    return times(t.astype(float), [np.linalg.qr(m)[0] for m in matrices] if orthogonal else matrices)


def sum_of(content: dict[str, Any]) -> Host:
    """The sum of the rational components that a certificate holds, by hand."""
    shape, upper = content["tensor"]["shape"], content["upper"]
    factors = [
        np.array([Fraction(q) for q in f], dtype=object).reshape(d, upper)
        for f, d in zip(content["witness"]["factors"], shape, strict=True)
    ]
    total = np.zeros(shape, dtype=object)
    for place in itertools.product(*map(range, shape)):
        for r in range(upper):
            total[place] += np.prod([f[i, r] for f, i in zip(factors, place, strict=True)])
    return total


@pytest.mark.parametrize(
    ("tensor", "rank"),
    [
        # Strassen 1969 and Winograd 1971.
        pytest.param(whole_numbers(matrix_product(), 0), 7, id="<2,2,2>", marks=pytest.mark.slow),
        pytest.param(whole_numbers(matrix_product(), 3).transpose(2, 0, 1), 7, id="<2,2,2> permuted"),
        # Alder & Strassen 1981: 2 dim - maximal ideals, which these reach.
        pytest.param(whole_numbers(modulo(-1, 0), 1), 3, id="complex numbers"),
        pytest.param(whole_numbers(triangular(), 1), 4, id="triangular"),
        pytest.param(whole_numbers(direct_sum(modulo(-1, 0), np.ones((1, 1, 1), int)), 2), 4, id="C + R"),
    ],
)
def test_whole_number_changes_of_basis_hide_no_proof(tensor: Host, rank: int) -> None:
    found = tensor_rank(tensor)
    assert (found.lower, found.upper, found.upper_proof) == (rank, rank, "rational")
    assert found.exact
    assert found.certificate.verify()
    assert np.all(sum_of(found.certificate.content) == tensor)


@pytest.mark.parametrize("seed", range(3))
def test_whole_number_changes_of_basis_hide_no_slices_to_remove(seed: int) -> None:
    found = tensor_rank(whole_numbers(w(4), seed), max_rank=1)  # no search
    values = {b.name.split()[0].rstrip(","): b.value for b in found.bounds}
    assert values["substitution"] == 4 == max(values.values())
    assert found.certificate.checked()[-2].status == "proven"


@pytest.mark.parametrize("orthogonal", [True, False])
@pytest.mark.parametrize(
    ("algebra", "real", "over_complex"),
    [
        pytest.param(matrix_product(), 7, 7, id="<2,2,2>"),
        pytest.param(quaternions(), 8, 7, id="quaternions"),  # Howell & Lafon 1975; over C these are <2,2,2>
        pytest.param(modulo(0, 0, 0), 5, 5, id="x^3"),
        pytest.param(modulo(-1, 0), 3, 2, id="complex numbers"),
        pytest.param(modulo(2, 0, 0), 4, 3, id="x^3 - 2"),
        pytest.param(triangular(), 4, 4, id="triangular"),
        pytest.param(direct_sum(matrix_product(), modulo(0, 1)), 9, 9, id="<2,2,2> + R + R"),
    ],
)
def test_algebras_after_real_changes_of_basis(algebra: Host, real: int, over_complex: int, orthogonal: bool) -> None:
    for seed, dtype in ((0, np.float64), (1, np.float32)):
        t = real_numbers(algebra, seed, orthogonal).astype(dtype)
        eps = float(np.finfo(dtype).eps)
        for field, known in (("real", real), ("complex", over_complex)):
            found = numerical_algebra_bound(t.astype(float), field, eps)
            if found is None:  # too badly conditioned for its dtype, and no claim
                assert dtype == np.float32
                assert not orthogonal
                continue
            assert found[0] == known
            assert found[1] < 1e5 * eps


@pytest.mark.parametrize("backend", [pytest.param("numpy", marks=pytest.mark.slow), "jax", "torch"])
def test_the_matrix_product_in_real_coordinates_settles_to_rounding(backend: str) -> None:
    t = real_numbers(matrix_product(), 0, orthogonal=True)
    found = tensor_rank(get_backend(backend).asarray(t, dtype="float32"))
    assert (found.lower, found.upper, found.border_lower) == (7, 7, 6)
    assert not found.exact
    bound = next(b for b in found.bounds if b.value == 7)
    assert bound.name.startswith("algebra")
    assert not bound.exact
    assert bound.margin is not None
    assert bound.margin < 1e-5  # off from associative by rounding
    assert found.certificate.verify()
    assert not found.certificate.exact
    assert {b.status for b in found.certificate.checked()} == {"numerical"}


def test_what_is_an_algebra_only_nearly_gets_no_bound() -> None:
    rng = np.random.default_rng(0)
    t = real_numbers(matrix_product(), 0, orthogonal=True)
    assert numerical_algebra_bound(t + 1e-9 * rng.standard_normal(t.shape), "real", EPS) is None
    assert numerical_algebra_bound(t + 1e-9 * rng.standard_normal(t.shape), "real", 1e-9) is not None
    assert numerical_algebra_bound(rng.standard_normal((3, 3, 3)), "real", 2.0**-23) is None
    # x^2 = 1e-14 has two real roots, that no rounding of x^2 = 0 has: neither 2 nor 3 is claimed.
    between = np.array([[[1.0, 0], [0, 1]], [[0, 1], [1e-12, 0]]])
    assert numerical_algebra_bound(between, "real", EPS) is None
    apart = np.array([[[1.0, 0], [0, 1]], [[0, 1], [1e-6, 0]]])
    found = numerical_algebra_bound(apart, "real", EPS)
    assert found is not None
    assert found[0] == 2


def test_a_witness_refutes_a_numerical_bound_above_it() -> None:
    # Of rank 2, and so near to W that its algebra is that of x^2 = 0 to rounding in single precision.
    rng = np.random.default_rng(0)
    for size in (1e-2, 3e-3):
        t = np.array([[[1.0, 0], [0, 1]], [[0, 1], [size**2, 0]]])
        found = tensor_rank(times(t, list(rng.standard_normal((3, 2, 2)))).astype(np.float32))
        assert found.lower <= found.upper
        assert found.certificate.verify()


@settings(max_examples=10)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=4), st.integers(0, 999))
def test_short_coordinates_are_the_same_tensor(shape: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    t = times(rng.integers(-1, 2, shape), [rng.integers(-4, 5, (d, d)) for d in shape]).astype(object)
    core, bases = exact_core(t)
    for made, found in (short_core(core, bases), finer_core(core, bases)):
        assert np.all(times(made, found) == t)
        assert all(isinstance(entry, int) for entry in made.ravel())
        assert np.sum(made**2) <= np.sum(core**2)


def test_long_coordinates_lose_no_residual() -> None:
    # The core is short, its bases are not: what solves the one to rounding need not solve the other.
    roots = np.array([2**0.5, -(2**0.5)])
    product = np.array([[[1, 0], [0, 1]], [[0, 1], [2, 0]]])
    vectors = [
        np.array([np.ones(2), roots]),
        np.array([np.ones(2), roots]),
        np.array([np.ones(2) / 2, 1 / (2 * roots)]),
    ]
    np.testing.assert_allclose(np.einsum("ir,jr,kr->ijk", *vectors), product, atol=1e-15)
    long = np.array([[1, 0], [10**5, 1]])
    t = times(product, [long] * 3)
    target = Target(t.astype(float), None, 1, "real", EPS)
    off = np.random.default_rng(0).standard_normal((3, 2, 2))
    off = [long @ (v + 1e-8 * o) for v, o in zip(vectors, off, strict=True)]
    error = np.linalg.norm(np.einsum("ir,jr,kr->ijk", *off) - t) / np.linalg.norm(t)
    assert error > 1e-9
    found = _to_rounding(target, off, 1e-11)
    assert found is not None
    assert np.linalg.norm(np.einsum("ir,jr,kr->ijk", *found) - t) / np.linalg.norm(t) <= 1e-11
    away = [f + 1.0 for f in off[:1]] + [np.zeros((2, 2))] * 2
    assert _to_rounding(target, away, 1e-11) is None


@pytest.mark.parametrize("seed", range(40))
def test_sums_that_cancel_are_zero_on_every_processor(seed: int) -> None:
    # Algebras of two dimensions are commutative: what is left of their commutators is rounding, in noisy copies too.
    assert numerical_algebra_bound(real_numbers(modulo(-1, 0), seed, True), "real", 2.0**-52)[0] == 3
    found = numerical_algebra_bound(real_numbers(modulo(-1, 0), seed, False), "complex", 2.0**-52)
    assert found is None or found[0] == 2
    hidden = real_numbers(modulo(-1, 0), seed, False)
    condition = max(np.linalg.cond(np.moveaxis(hidden, mode, 0).reshape(2, 4)) for mode in range(3))
    assert (found is not None) or condition > 100
