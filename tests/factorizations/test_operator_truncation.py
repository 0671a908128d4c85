"""Tensor train operators from dense matrices and truncated: errors within tolerances, ranks that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import matrix_of, numbers, operators
from tnrank import TensorTrain, TensorTrainOperator


def bits(count):
    return (2,) * count


def laplacian(size):
    return 2 * np.eye(size) - np.eye(size, k=1) - np.eye(size, k=-1)


KNOWN = {
    # Kazeev & Khoromskij 2012: ranks of the discrete Laplacian and of shifts
    "laplacian": (laplacian(64), 3),
    "shift": (np.eye(64, k=1), 2),
    "identity": (np.eye(64), 1),
    "ones": (np.ones((64, 64)), 1),
    "sum of row and column": (np.add.outer(np.arange(64.0), np.arange(64.0)), 2),
    # Oseledets 2010: a function of the difference that is exponential is a product of such functions
    "exponential": (np.exp(np.subtract.outer(np.arange(64), np.arange(64)) / 50.0), 1),
    "zero": (np.zeros((64, 64)), 1),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_ranks(name):
    matrix, rank = KNOWN[name]
    A = TensorTrainOperator.from_dense(matrix, bits(6), bits(6), rtol=1e-12)
    assert max(A.tt_ranks) == rank
    np.testing.assert_allclose(A.to_matrix(), matrix, rtol=0, atol=1e-10)


def test_hilbert_matrix_is_approximated():
    # Oseledets 2010: ranks grow with the logarithm of the accuracy, and hardly with the size.
    i = np.arange(256)
    matrix = 1.0 / (1 + np.add.outer(i, i))
    for rtol, most in ((1e-4, 5), (1e-8, 9)):
        A = TensorTrainOperator.from_dense(matrix, bits(8), bits(8), rtol=rtol)
        assert max(A.tt_ranks) <= most
        assert np.linalg.norm(A.to_matrix() - matrix) <= rtol * np.linalg.norm(matrix)


@given(st.data(), st.sampled_from(["float64", "complex128"]), st.sampled_from([1e-10, 0.01, 0.1, 0.5]))
def test_errors_are_within_the_tolerance(data, dtype, rtol):
    count = data.draw(st.integers(1, 3))
    of_modes = st.lists(st.integers(1, 4), min_size=count, max_size=count)
    rows, columns = tuple(data.draw(of_modes)), tuple(data.draw(of_modes))
    tensor = numbers(data.draw, (*rows, *columns), dtype)
    matrix = tensor.reshape(np.prod(rows), -1)
    for given_array in (matrix, tensor):
        A = TensorTrainOperator.from_dense(given_array, rows, columns, rtol)
        assert np.linalg.norm(A.to_matrix() - matrix) <= (rtol + 1e-12) * np.linalg.norm(matrix)
        assert (A.row_shape, A.column_shape, A.dtype) == (rows, columns, dtype)
    # the ranks of the train over pairs of modes
    if count > 1:
        pairs = [axis for k in range(count) for axis in (k, count + k)]
        merged = tensor.transpose(pairs).reshape([m * n for m, n in zip(rows, columns, strict=True)])
        assert A.tt_ranks == TensorTrain.from_dense(merged, rtol).tt_ranks
        low = TensorTrainOperator.from_dense(matrix, rows, columns, max_rank=1)
        assert set(low.tt_ranks) == {1}
        close = TensorTrainOperator.from_dense(matrix, rows, columns, atol=1e-9)
        assert np.linalg.norm(close.to_matrix() - matrix) <= 1.1e-9


@given(st.data(), st.sampled_from(["float64", "complex128"]), st.sampled_from([None, 0.05, 0.4]))
def test_truncation(data, dtype, rtol):
    A = data.draw(operators(dtype))
    matrix = matrix_of(A)
    doubled = A + A * 0.5
    found = doubled.truncate(rtol)
    assert isinstance(found.tensor, TensorTrainOperator)
    assert all(short <= full for short, full in zip(found.tensor.tt_ranks, A.tt_ranks, strict=True))
    error, norm = np.linalg.norm(found.tensor.to_matrix() - 1.5 * matrix), 1.5 * np.linalg.norm(matrix)
    assert error <= found.error_bound + 1e-12 * norm
    assert found.relative_error_bound <= (rtol or 1e-12)
    assert set(A.truncate(max_rank=1).tensor.tt_ranks) <= {1}
    if len(A.cores) > 2:
        limits = list(range(1, len(A.cores)))
        assert all(r <= m for r, m in zip(A.truncate(max_rank=limits).tensor.tt_ranks, limits, strict=True))


@given(st.data())
def test_component_norms_are_spectra_of_matricizations(data):
    A = data.draw(operators())
    count, dense = len(A.cores), np.asarray(A.to_dense())
    found = A.component_norms()
    for k in range(1, count):
        rows = [*range(k), *range(count, count + k)]
        others = [*range(k, count), *range(count + k, 2 * count)]
        matrix = dense.transpose(rows + others).reshape(np.prod([dense.shape[m] for m in rows]), -1)
        spectrum = np.linalg.svd(matrix, compute_uv=False)
        values = found[tuple(others)]
        padded = np.zeros(max(len(spectrum), len(values)))
        padded[: len(values)] = values
        np.testing.assert_allclose(padded[: len(spectrum)], spectrum, atol=1e-10 * max(1, spectrum[0]))
    x = A.orthogonalize()
    np.testing.assert_allclose(x.to_matrix(), A.to_matrix(), atol=1e-10 * max(1.0, float(A.norm())))
    for core in x.cores[1:]:
        right = core.reshape(core.shape[0], -1)
        np.testing.assert_allclose(right @ right.T, np.eye(len(right)), atol=1e-12)


def test_what_cancels_costs_no_accuracy():
    A = TensorTrainOperator.random(bits(8), bits(8), rank=3, seed=0)
    small = 1e-7 * TensorTrainOperator.random(bits(8), bits(8), rank=1, seed=1)
    left = (A + small - A).truncate(rtol=1e-3).tensor
    assert left.tt_ranks == (1,) * 7
    assert float((left - small).norm() / small.norm()) < 1e-3
    summed = TensorTrainOperator.truncate_sum([A, small, -A], rtol=1e-3).tensor
    assert summed.tt_ranks == (1,) * 7


def test_half_precision_and_integers(backend_name):
    backend = tnrank.get_backend(backend_name)
    matrix = laplacian(8)
    for dtype in ("float16", *(["bfloat16"] if backend_name != "numpy" else [])):
        given_matrix = backend.xp.astype(backend.asarray(matrix), getattr(backend.xp, dtype))
        A = TensorTrainOperator.from_dense(given_matrix, bits(3), bits(3))
        assert (A.dtype, A.tt_ranks) == ("float32", (3, 3))
        np.testing.assert_allclose(backend.to_numpy(A.to_matrix()), matrix, atol=1e-5)
    if backend_name == "numpy":
        whole = TensorTrainOperator.from_dense(matrix.astype(np.int8), bits(3), bits(3))
        assert (whole.dtype, whole.tt_ranks) == ("float64", (3, 3))


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_ends_of_the_range(scale):
    A = TensorTrainOperator.from_dense(scale * laplacian(16), bits(4), bits(4), rtol=1e-12)
    assert A.tt_ranks == (3, 3, 3)
    np.testing.assert_allclose(A.to_matrix() / scale, laplacian(16), atol=1e-12)
    assert float(A.norm()) == pytest.approx(scale * np.linalg.norm(laplacian(16)))
    assert (A + A).truncate().tensor.tt_ranks == (3, 3, 3)


def test_other_factorizations_become_operators():
    rows, columns = (2, 3), (2, 2)
    for x in (
        tnrank.CPFactorization.random((*rows, *columns), rank=2, seed=0),
        tnrank.HierarchicalTucker.random((*rows, *columns), rank=2, seed=0),
        TensorTrain.random((*rows, *columns), rank=2, seed=0),
        tnrank.Tucker.random((*rows, *columns), rank=2, seed=0),
        tnrank.MatrixFactorization.random((3, 4)),
    ):
        A = TensorTrainOperator.from_factorization(x)
        np.testing.assert_allclose(A.to_dense(), x.to_dense(), atol=1e-12)
        short = TensorTrainOperator.from_factorization(x, max_rank=1)
        assert set(short.tt_ranks) <= {1}
    A = TensorTrainOperator.random(rows, columns, rank=2, seed=3)
    for form in (tnrank.HierarchicalTucker, TensorTrain, tnrank.Tucker):
        np.testing.assert_allclose(form.from_factorization(A).to_dense(), A.to_dense(), atol=1e-12)
    same_tree = tnrank.HierarchicalTucker.from_factorization(A)
    for total in (A + same_tree, same_tree + A):
        np.testing.assert_allclose(total.to_dense(), 2 * A.to_dense(), atol=1e-12)
