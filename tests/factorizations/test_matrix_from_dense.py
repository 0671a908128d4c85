"""Balanced matrix factorizations of dense matrices: best approximations, in the dtype and on the backend given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import EPS, numbers
from tests.factorizations.test_values import DTYPES
from tnrank import MatrixFactorization

sides = st.integers(1, 7)


def best(matrix, rank):
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vh[:rank]


@given(st.data(), sides, sides, st.sampled_from([1, 2, 3, 5]), st.sampled_from(["float32", "float64", "complex128"]))
def test_the_best_approximation_of_a_rank(data, m, n, depth, dtype):
    matrix = numbers(data.draw, (m, n), dtype)
    rank = data.draw(st.integers(1, min(m, n)))
    x = MatrixFactorization.from_dense(matrix, rank, depth=depth)
    assert [a.shape for a in x.layers] == list(zip([m, *[rank] * (depth - 1)], [*[rank] * (depth - 1), n], strict=True))
    assert x.dtype == dtype
    size = np.linalg.norm(matrix)
    np.testing.assert_allclose(x.to_dense(), best(matrix, rank), rtol=0, atol=200 * EPS[dtype] * size)
    if depth > 1:
        assert x.unbalancedness() < 200 * EPS[dtype]
        s = np.linalg.svd(matrix, compute_uv=False)[:rank].astype(float)
        for layer in x.layers:
            values = np.linalg.svd(layer, compute_uv=False)
            np.testing.assert_allclose(values, s ** (1 / depth), rtol=0, atol=0.01 * EPS[dtype] ** (1 / depth) + 1e-3)


@given(st.data(), sides, sides, st.sampled_from([1e-12, 0.01, 0.3, 0.9]), st.sampled_from([1, 2, 3]))
def test_the_smallest_rank_within_a_tolerance(data, m, n, rtol, depth):
    matrix = numbers(data.draw, (m, n))
    x = MatrixFactorization.from_dense(matrix, rtol=rtol, depth=depth)
    error = np.linalg.norm(x.to_dense() - matrix) / np.linalg.norm(matrix)
    assert error <= rtol + 1e-13
    rank = x.layers[0].shape[1] if depth > 1 else np.linalg.matrix_rank(x.to_dense(), 1e-10)
    if rank > 1:
        assert np.linalg.norm(best(matrix, rank - 1) - matrix) > rtol * np.linalg.norm(matrix)


def test_without_a_tolerance_rounding_is_dropped(backend_name):
    backend, rng = tnrank.get_backend(backend_name), np.random.default_rng(0)
    matrix = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 30))
    for dtype in DTYPES[backend_name]:
        given_matrix = backend.asarray(backend.asarray(matrix), dtype)
        x = MatrixFactorization.from_dense(given_matrix, depth=3)
        assert (x.backend.name, x.dtype) == (backend_name, dtype)
        assert [a.shape for a in x.layers] == [(40, 3), (3, 3), (3, 30)]
        eps = {"bfloat16": 2**-7, "float16": 2**-10}.get(dtype, 1e-5)
        found = np.asarray(backend.to_numpy(x.to(dtype="float32").to_dense() if eps > 1e-5 else x.to_dense()))
        assert np.linalg.norm(found - matrix) <= 3 * eps * np.linalg.norm(matrix)


def test_numpys_half_precision_and_integers():
    matrix = np.outer([1, 2, 3], [1, -1])
    for dtype, kept in (("float16", "float16"), ("int8", "float64"), ("bool", "float64")):
        for depth in (1, 2):
            x = MatrixFactorization.from_dense(matrix.astype(dtype), depth=depth)
            assert x.dtype == kept
            assert depth == 1 or x.layers[0].shape == (3, 1)
            np.testing.assert_allclose(x.to_dense().astype(float), matrix.astype(dtype).astype(float), atol=1e-2)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_zero_and_the_ends_of_the_range(depth):
    zero = MatrixFactorization.from_dense(np.zeros((3, 4)), depth=depth)
    assert not zero.to_dense().any()
    assert depth == 1 or zero.layers[0].shape == (3, 1)
    for scale in (1e-300, 1e300):
        matrix = np.array([[3.0, 1.0, 0.5], [0.2, 2.0, 0.1]])
        for options in ({}, {"rank": 1}):
            x = MatrixFactorization.from_dense(scale * matrix, depth=depth, **options)
            expected = best(matrix, options.get("rank", 2))
            np.testing.assert_allclose(x.to_dense() / scale, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f: f(np.ones((3, 4)), rank=4), ValueError, "of a 3 x 4 matrix, is a whole number from 1 to 3, got 4"),
        (lambda f: f(np.ones((3, 4)), rank=0), ValueError, "from 1 to 3, got 0"),
        (lambda f: f(np.ones((3, 4)), rank=1.5), TypeError, "rank"),
        (lambda f: f(np.ones((3, 4)), rank=1, rtol=0.1), ValueError, "needed one of the two"),
        (lambda f: f(np.ones((3, 4)), rtol=1.0), ValueError, r"lies in \[0, 1\)"),
        (lambda f: f(np.ones((3, 4)), rtol=1e-20), ValueError, "below the accuracy floor"),
        (lambda f: f(np.ones((3, 4)), depth=0), ValueError, "depth"),
        (lambda f: f(np.ones(3)), ValueError, r"needed a matrix \(m, n\)"),
        (lambda f: f(np.ones((0, 3))), ValueError, "from 1 on"),
        (lambda f: f(np.array([[1.0, np.inf], [np.nan, 2.0]])), ValueError, r"2 of 4 .* the first at index \(0, 1\)"),
        (lambda f: f([[1.0]]), TypeError, "matrix"),
        (lambda f: f(np.array([["a"]])), TypeError, "needed numbers"),
        (lambda f: f(np.ma.array([[1.0, 2.0]], mask=[[True, False]])), ValueError, "mask"),
    ],
)
def test_mistakes_are_sentences(call, error, message):
    with pytest.raises(error, match=message):
        call(MatrixFactorization.from_dense)
