"""Tensor train operators: a matrix with 2^20 columns on dense vectors, against quimb and the dense matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import quimb.tensor as qtn

import tnrank
from benchmarks._harness import Report, alternate, seconds_of


def random_operator(modes: int, size: int, rank: int) -> tnrank.TensorTrainOperator:
    return tnrank.TensorTrainOperator.random((size,) * modes, (size,) * modes, rank, std=0.3, seed=0)


def in_quimb(A: tnrank.TensorTrainOperator) -> Any:
    """The same operator as quimb's linear operator, which contracts the network with a vector along its own path."""
    mpo = qtn.MatrixProductOperator([np.asarray(core) for core in _without_ends(A)], shape="lrud")
    return mpo.aslinearoperator(list(mpo.upper_inds), list(mpo.lower_inds))


def _without_ends(A: tnrank.TensorTrainOperator) -> list[Any]:
    cores = [np.asarray(core).transpose(0, 3, 1, 2) for core in A.cores]
    return [cores[0][0], *cores[1:-1], cores[-1][:, 0]]


def against_quimb(report: Report) -> None:
    rng = np.random.default_rng(0)
    for modes, size, rank, at_most in ((20, 2, 8, 0.9), (20, 2, 2, 1.2), (10, 4, 8, 1.2), (5, 16, 4, 1.2)):
        A = random_operator(modes, size, rank)
        v = rng.standard_normal(size**modes)
        theirs = in_quimb(A)
        np.testing.assert_allclose(A @ v, theirs @ v, atol=1e-8 * float(abs(A @ v).max()))
        ours, peer = alternate(lambda A=A, v=v: A @ v, lambda t=theirs, v=v: t @ v, repeat=9)
        name = f"{modes} modes of {size}, ranks {rank}"
        report.compare(name, "quimb, A @ v", ours, peer, at_most=at_most)
    A, B = random_operator(20, 2, 8), random_operator(20, 2, 6)
    x = tnrank.TensorTrain.random((2,) * 20, 10, seed=1)
    report.limit("20 modes of 2, ranks 8 and 10", "A @ x", seconds_of(lambda: A @ x), 0.01)
    report.limit("20 modes of 2, ranks 8 and 6", "(A @ B).truncate(rtol=1e-8)", seconds_of(lambda: _product(A, B)), 0.5)


def _product(A: Any, B: Any) -> Any:
    return (A @ B).truncate(rtol=1e-8)


def against_dense(report: Report) -> None:
    rng = np.random.default_rng(0)
    for modes, size, batch in ((6, 4, 1), (6, 4, 64)):
        A = random_operator(modes, size, 8)
        dense, v = A.to_matrix(), rng.standard_normal((size**modes, batch))
        ours, peer = alternate(lambda A=A, v=v: A @ v, lambda d=dense, v=v: d @ v, repeat=15)
        report.compare(f"{size**modes} columns, ranks 8, {batch} vectors", "dense matrix", ours, peer, at_most=0.7)


def run(report: Report) -> None:
    against_quimb(report)
    against_dense(report)
