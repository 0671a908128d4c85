"""Tensor train operators: products, sums, transposes and traces are those of their matrices."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.factorizations.strategies import matrix_of, numbers, operators
from tnrank import TensorTrain, TensorTrainOperator
from tnrank.factorizations import _operator_apply

DTYPES = st.sampled_from(["float64", "complex128"])


def close(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10 * max(1.0, abs(expected).max(initial=0)))


# the matrix


@given(st.data(), DTYPES)
def test_the_matrix_and_its_tensor(data, dtype):
    A = data.draw(operators(dtype))
    matrix = matrix_of(A)
    close(A.to_matrix(), matrix)
    close(A.to_dense(), matrix.reshape(*A.row_shape, *A.column_shape))
    assert A.matrix_shape == matrix.shape
    assert A.shape == (*A.row_shape, *A.column_shape)
    close(A.norm(), np.linalg.norm(matrix))
    close(A.inner(A), np.vdot(matrix, matrix))
    close(A.T.to_matrix(), matrix.T)
    close(A.transpose().to_matrix(), matrix.T)
    close(A.H.to_matrix(), matrix.conj().T)
    indices = np.argwhere(np.ones(A.shape))[:: max(1, matrix.size // 5)]
    close(A.entries(indices), A.to_dense()[tuple(indices.T)])


@given(st.data(), DTYPES)
def test_sums_and_multiples(data, dtype):
    A = data.draw(operators(dtype))
    B = data.draw(operators(rows=A.row_shape, columns=A.column_shape))
    a, b = matrix_of(A), matrix_of(B)
    total = A + B
    close(total.to_matrix(), a + b)
    assert total.tt_ranks == tuple(map(sum, zip(A.tt_ranks, B.tt_ranks, strict=True)))
    close((A - B).to_matrix(), a - b)
    close((2.5 * A / 2 - A).to_matrix(), 0.25 * a)
    close((-A).to_matrix(), -a)
    close((1j * A).to_matrix(), 1j * a)
    close(sum([A, B]).to_matrix(), a + b)
    close((A * B).to_matrix(), a * b)
    assert (A * B).tt_ranks == tuple(map(math.prod, zip(A.tt_ranks, B.tt_ranks, strict=True)))


# products


@given(st.data(), DTYPES, DTYPES, st.integers(1, 3))
def test_times_dense_arrays(data, dtype, other, batch):
    A = data.draw(operators(dtype))
    matrix = matrix_of(A)
    rows, columns = matrix.shape
    for shape in ((columns,), (columns, batch), (columns, 0)):
        v = numbers(data.draw, shape, other)
        close(A @ v, matrix @ v)
    for shape in ((rows,), (batch, rows)):
        v = numbers(data.draw, shape, other)
        close(v @ A, v @ matrix)


@given(st.data(), DTYPES, DTYPES)
def test_times_operators_and_trains(data, dtype, other):
    A = data.draw(operators(dtype))
    B = data.draw(operators(other, rows=A.column_shape))
    product = A @ B
    assert isinstance(product, TensorTrainOperator)
    close(product.to_matrix(), matrix_of(A) @ matrix_of(B))
    assert product.tt_ranks == tuple(map(math.prod, zip(A.tt_ranks, B.tt_ranks, strict=True)))
    if len(A.cores) > 1:
        for shape, apply, matrix in (
            (A.column_shape, lambda x: A @ x, matrix_of(A)),
            (A.row_shape, lambda x: x @ A, matrix_of(A).T),
        ):
            x = TensorTrain.random(shape, rank=2, seed=data.draw(st.integers(0, 99)), dtype=other)
            y = apply(x)
            assert isinstance(y, TensorTrain)
            assert y.tt_ranks == tuple(2 * r for r in A.tt_ranks)
            close(y.to_dense().ravel(), matrix @ x.to_dense().ravel())


@given(st.data(), DTYPES)
def test_trace(data, dtype):
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    A = data.draw(operators(dtype, rows=shape, columns=shape))
    close(A.trace(), np.trace(matrix_of(A)))


def test_identity_and_initial_values(backend_name):
    A = TensorTrainOperator.identity((2, 3, 4), backend=backend_name, dtype="float64")
    assert (A.backend.name, A.tt_ranks) == (backend_name, (1, 1))
    close(A.backend.to_numpy(A.to_matrix()), np.eye(24))
    for shape in ((3,), (2, 2)):
        B = TensorTrainOperator.random(shape, shape, rank=3, std=0.5, init="identity")
        close(B.to_matrix(), 0.5 ** len(shape) * np.eye(math.prod(shape)))
    C = TensorTrainOperator.random((40, 40), (30, 50), rank=3, std=0.2, mean=1.0, seed=4)
    assert C.tt_ranks == (3,)
    entries = np.concatenate([core.ravel() for core in C.cores])
    assert entries.mean() == pytest.approx(1.0, abs=0.01)
    assert entries.std() == pytest.approx(0.2, rel=0.03)
    same = TensorTrainOperator.random((40, 40), (30, 50), (3,), std=0.2, mean=1.0, seed=4, backend=backend_name)
    for a, b in zip(C.cores, same.cores, strict=True):
        np.testing.assert_allclose(same.backend.to_numpy(b), a, rtol=1e-6)


def test_many_cores():
    # 2^600 rows: products of numbers that no float holds, in the format.
    A = TensorTrainOperator.random((2,) * 600, (2,) * 600, rank=2, seed=0)
    assert float((A / A.norm()).norm()) == pytest.approx(1.0)
    shift = A - A @ TensorTrainOperator.identity((2,) * 600)
    assert float(shift.norm() / A.norm()) < 1e-12
    assert float(TensorTrainOperator.identity((2,) * 600).trace()) == 2.0**600
    assert "10^180.6 x 10^180.6" in repr(A)


# the order in which cores meet a dense vector


def work(division, rows, columns, ranks, batch):
    """What one division of the cores into blocks costs, written out step by step."""
    total, done = 0.0, batch
    for start, end in division:
        m, n = rows[end - 1], columns[end - 1]
        for k in range(end - 2, start - 1, -1):
            m, n = m * rows[k], n * columns[k]
            total += ranks[k] * m * n * ranks[end] * ranks[k + 1]
        others = done * math.prod(columns[end:])
        elements = ranks[start] * m * n * ranks[end]
        moved = others * (ranks[start] * n + m * ranks[end]) + elements
        total += others * elements + _operator_apply._MOVED * moved
        done *= m
    return total


@given(st.data())
def test_the_order_is_the_cheapest_and_never_forms_the_matrix(data):
    count = data.draw(st.integers(1, 6))
    some = st.lists(st.integers(1, 9), min_size=count, max_size=count)
    rows, columns, ranks = data.draw(some), data.draw(some), [1, *data.draw(some)[1:], 1]
    batch = data.draw(st.integers(1, 100))
    found = _operator_apply._blocks(rows, columns, ranks, batch)
    divisions = []
    for cuts in itertools.product([False, True], repeat=count - 1):
        ends = [0, *(k + 1 for k, cut in enumerate(cuts) if cut), count]
        if count == 1 or any(cuts):
            divisions.append(tuple(itertools.pairwise(ends)))
    assert found in divisions
    least = min(work(division, rows, columns, ranks, batch) for division in divisions)
    assert work(found, rows, columns, ranks, batch) == pytest.approx(least)


def test_the_matrix_is_not_formed():
    # 2^38 entries
    A = TensorTrainOperator.identity((2,) * 19)
    v = np.arange(2.0**19)
    np.testing.assert_array_equal(A @ v, v)


# others' libraries


def test_like_quimb():
    qtn = pytest.importorskip("quimb.tensor")
    mpo = qtn.MPO_rand(5, bond_dim=3, seed=1)
    arrays = [np.asarray(mpo[k].transpose(*_quimb_order(mpo, k)).data) for k in range(5)]
    A = TensorTrainOperator(arrays)
    close(A.to_matrix(), mpo.to_dense())
    close(A.trace(), mpo.trace())
    mps = qtn.MPS_rand_state(5, bond_dim=2, seed=2)
    x = TensorTrain.from_dense(np.asarray(mps.to_dense()).reshape((2,) * 5))
    close((A @ x).to_dense().ravel(), np.asarray(mpo.apply(mps).to_dense()).ravel())
    close((A @ A).to_matrix(), mpo.apply(mpo).to_dense())


def _quimb_order(mpo, k):
    left = [mpo.bond(k - 1, k)] if k else []
    right = [mpo.bond(k, k + 1)] if k < mpo.L - 1 else []
    return [*left, mpo.upper_ind(k), mpo.lower_ind(k), *right]


def test_like_tensorly():
    tl_tt = pytest.importorskip("tensorly.tt_matrix")
    A = TensorTrainOperator.random((2, 3, 4), (3, 2, 2), rank=(2, 3), seed=0)
    close(tl_tt.tt_matrix_to_matrix(list(A.cores)), A.to_matrix())


# backends


def everything(A, B, x, v):
    """What products, sums, transposes and traces give, in arrays."""
    return [
        A @ v,
        v.mT @ A,
        (A @ B).to_matrix(),
        (A @ x).to_dense(),
        (x @ B).to_dense(),
        (A + 2 * A).to_matrix(),
        (A @ B).trace(),
        A.H.to_matrix(),
        A.norm(),
    ]


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_backends_agree(backend_name, dtype):
    A = TensorTrainOperator.random((2, 3, 2), (3, 2, 2), rank=2, seed=0, dtype=dtype)
    B = TensorTrainOperator.random((3, 2, 2), (2, 3, 2), rank=2, seed=1, dtype=dtype)
    x = TensorTrain.random((3, 2, 2), rank=2, seed=2, dtype=dtype)
    v = np.random.default_rng(3).standard_normal((12, 3))
    backend = tnrank.get_backend(backend_name)
    there = [y.to(backend_name) for y in (A, B, x)]
    for actual, expected in zip(
        backend.jit(everything)(*there, backend.asarray(v)), everything(A, B, x, v), strict=True
    ):
        close(backend.to_numpy(actual), expected)


def test_decompositions_on_every_backend(backend_name):
    A = TensorTrainOperator.random((2, 3), (3, 2), rank=2, seed=0).to(backend_name)
    host, matrix = A.backend.to_numpy, matrix_of(A.to("numpy"))
    made = TensorTrainOperator.from_dense(A.to_matrix(), A.row_shape, A.column_shape)
    assert (made.backend.name, made.dtype) == (backend_name, "float64")
    close(host(made.to_matrix()), matrix)
    short = (made + made).truncate().tensor
    assert short.tt_ranks == (2,)
    close(host(short.to_matrix()), 2 * matrix)


# integers


def test_integers_are_exact_or_refused():
    rng = np.random.default_rng(0)
    cores = [rng.integers(-2, 3, shape).astype(np.int16) for shape in ((1, 2, 3, 2), (2, 3, 2, 1))]
    A = TensorTrainOperator(cores)
    matrix = matrix_of(TensorTrainOperator([c.astype(float) for c in cores]))
    v = rng.integers(-3, 4, 6).astype(np.int16)
    for actual, expected in (
        (A @ v, matrix @ v),
        ((A @ A.T).to_matrix(), matrix @ matrix.T),
        ((A @ A.T).trace(), np.trace(matrix @ matrix.T)),
        ((A + A).to_matrix(), 2 * matrix),
    ):
        assert actual.dtype == np.int16
        np.testing.assert_array_equal(actual, expected)
    assert (A @ (v + 0.5)).dtype == np.float64
    large = TensorTrainOperator([np.full((2, 2), 100, np.int8)])
    for refused in (
        lambda: large + large,
        lambda: large @ large,
        lambda: large * large,
        lambda: large @ np.ones(2, "int8"),
    ):
        with pytest.raises(OverflowError, match="wrap around"):
            refused()
    train = TensorTrain([np.ones((2, 2), np.int8), np.ones((2, 2), np.int8)])
    both = TensorTrainOperator([np.full((1, 2, 2, 1), 100, np.int8)] * 2)
    with pytest.raises(OverflowError, match="sums of products may be as large as 200"):
        both @ train


# mistakes


ROWS = TensorTrainOperator.random((2, 3), (3, 2), rank=2, seed=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: TensorTrainOperator([]), ValueError, "got no cores"),
        (lambda: TensorTrainOperator([np.ones((2, 3, 2))]), ValueError, r"core 0 .* needed \(1, m, n, 1\) or \(m, n\)"),
        (lambda: TensorTrainOperator([np.ones((2, 2, 2, 2))] * 2), ValueError, r"core 0 .*: needed \(1, m, n, r\)"),
        (
            lambda: TensorTrainOperator([np.ones((2, 2, 2)), np.ones((3, 2, 2))]),
            ValueError,
            "ends in rank 2 and core 1",
        ),
        (lambda: TensorTrainOperator([np.ones((2, 2, 2)), np.ones((2, 2))]), ValueError, r"core 1 .*\(r, m, n, 1\)"),
        (
            lambda: TensorTrainOperator([np.ones((2, 2, 2)), np.ones((2, 2, 2)), np.ones((2, 2, 2))]),
            ValueError,
            r"core 1 has shape \(2, 2, 2\): needed \(r, m, n, r'\)",
        ),
        (lambda: TensorTrainOperator.random((2, 2), (2,)), ValueError, "modes of size 1 fill up the shorter"),
        (lambda: TensorTrainOperator.random((), ()), ValueError, "at least one of each"),
        (lambda: TensorTrainOperator.random((2, 2), (2, 2), (1, 2)), ValueError, "needed 1 ranks"),
        (lambda: TensorTrainOperator.random((2, 0), (2, 2)), ValueError, "row_shape"),
        (lambda: TensorTrainOperator.from_dense(np.ones((4, 4)), (2, 2), (2, 3)), ValueError, r"the matrix \(4, 6\)"),
        (
            lambda: TensorTrainOperator.from_dense(np.array([[1.0, np.nan]]), (1, 1), (2, 1)),
            ValueError,
            r"1 of 2 entries of the matrix are NaN or infinite, the first at index \(0, 1\)",
        ),
        (lambda: TensorTrainOperator.from_dense(np.ones((4, 4)), (2, 2), (2, 2), rtol=2.0), ValueError, "rtol"),
        (lambda: TensorTrainOperator.from_dense([[1.0]], (1,), (1,)), TypeError, "matrix"),
        (lambda: ROWS @ np.ones(5), ValueError, r"a matrix 6 x 6 times an array of shape \(5,\): needed \(6,\)"),
        (lambda: ROWS @ np.ones((2, 3, 2)), ValueError, r"needed \(6,\) or \(6, B\)"),
        (lambda: ROWS @ ROWS, ValueError, r"column_shape \(3, 2\) of the first and the row_shape \(2, 3\)"),
        (lambda: ROWS @ TensorTrain.random((2, 3), 1), ValueError, r"and the shape \(2, 3\)"),
        (lambda: ROWS @ tnrank.CPFactorization.random((3, 2)), TypeError, "TensorTrain.from_factorization"),
        (lambda: tnrank.CPFactorization.random((3, 2)) @ ROWS, TypeError, "CPFactorization @ TensorTrainOperator"),
        (lambda: ROWS @ 3, TypeError, "needed a dense array, a TensorTrain or another TensorTrainOperator, got 3"),
        (lambda: ROWS @ "v", TypeError, "needed a dense array"),
        (lambda: ROWS @ np.array(["a"] * 6), TypeError, "needed numbers|got"),
        (lambda: ROWS.trace(), ValueError, "row_shape and column_shape to be equal"),
        (lambda: ROWS + ROWS.T, ValueError, "sum of a TensorTrainOperator and a TensorTrainOperator of shapes"),
        (lambda: ROWS + np.ones((6, 6)), TypeError, "needed another TensorTrainOperator"),
        (lambda: ROWS / 0, ZeroDivisionError, "over 0"),
        (lambda: ROWS.balance(), NotImplementedError, "orthogonalize"),
        (lambda: ROWS.replace([np.ones((2, 2, 2))]), ValueError, "needed 2"),
        (
            lambda: TensorTrainOperator.from_factorization(tnrank.CPFactorization.random((2, 2, 2))),
            ValueError,
            "a row mode for each column mode, got a tensor of order 3",
        ),
        (
            lambda: TensorTrainOperator.truncate_sum([ROWS], tnrank.DimensionTree.balanced(4)),
            ValueError,
            "HierarchicalTucker.truncate_sum",
        ),
    ],
)
def test_mistakes_are_sentences(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_two_backends_in_one_product():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="'the operator' is numpy, 'the array' is torch"):
        ROWS @ torch.ones(6)
    with pytest.raises(TypeError, match="'the first' is numpy, 'the second' is torch"):
        ROWS @ ROWS.T.to("torch")
