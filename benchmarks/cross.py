"""Cross approximation: evaluations and seconds, against the unknowns, growth with the order and TensorLy's."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

import tnrank
from benchmarks._harness import Report
from tnrank.factorizations import CrossApproximation, cross_approximation

Host = np.ndarray[Any, Any]


def count(value: float) -> str:
    return f"{value:,.0f}"


def error(value: float) -> str:
    return f"{value:.1e}"


def timed(function: Any, shape: tuple[int, ...], **options: Any) -> tuple[CrossApproximation, float, float]:
    """The approximation, its seconds without those of the function, and the function's."""
    inside = 0.0

    def watched(index: Host) -> Any:
        nonlocal inside
        began = time.perf_counter()
        values = function(index)
        inside += time.perf_counter() - began
        return values

    began = time.perf_counter()
    found = cross_approximation(watched, shape, **options)
    return found, time.perf_counter() - began - inside, inside


def hilbert(index: Host) -> Host:
    return 1.0 / (1 + index.sum(axis=1))


def tensorly_error(rank: int) -> tuple[float, float]:
    """TensorLy's cross approximation of the Hilbert tensor of order 6: relative error and seconds."""
    from tensorly.contrib.decomposition import tensor_train_cross
    from tensorly.tt_tensor import tt_to_tensor

    dense = 1.0 / (1 + sum(np.ogrid[(slice(8),) * 6]))
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = tensor_train_cross(dense, [1, *([rank] * 5), 1], random_state=0)
    seconds = time.perf_counter() - began
    return float(np.linalg.norm(tt_to_tensor(found) - dense) / np.linalg.norm(dense)), seconds


def run(report: Report) -> None:
    """Tensors of known ranks through their entries alone; a function of decaying spectra."""
    times = {}
    for order, rank, n in ((16, 4, 8), (64, 4, 8), (256, 4, 8), (16, 20, 20)):
        name = f"order {order}, n = {n}, rank {rank}"
        x = tnrank.HierarchicalTucker.random((n,) * order, rank=rank, std=0.5, seed=0)
        found, seconds, _ = timed(x.entries, x.shape)
        assert set(found.ranks.values()) == {rank}
        unknowns = order * n * rank + (order - 2) * rank**3
        report.compare(name, "evaluations, unknowns", found.evaluations, unknowns, at_most=3, show=count)
        report.limit(name, "error", found.error, 1e-10, show=error)
        report.limit(name, "seconds", seconds, 0.04 * order + 5.0 * (rank == 20))
        times[order, rank] = seconds
    report.compare("order 256, rank 4", "seconds, order 64", times[256, 4], times[64, 4], at_most=8)

    x = tnrank.HierarchicalFactorization.random((8,) * 64, tnrank.DimensionTree.quad(8, 8), width=4, std=0.5, seed=0)
    found, _, _ = timed(x.entries, x.shape, tree=x.tree)
    assert set(found.ranks.values()) == {4}
    unknowns = 64 * 8 * 4 + 20 * 4**5 + 4**4
    report.compare(
        "order 64, quad tree, rank 4", "evaluations, unknowns", found.evaluations, unknowns, at_most=3, show=count
    )

    tree = tnrank.DimensionTree.linear(6)
    found, seconds, _ = timed(hilbert, (8,) * 6, tree=tree, rtol=1e-6)
    dense = 1.0 / (1 + sum(np.ogrid[(slice(8),) * 6]))
    ours = float(np.linalg.norm(found.tensor.to_dense() - dense) / np.linalg.norm(dense))
    theirs, peer = tensorly_error(max(found.ranks.values()))
    report.compare(
        "1 / (1 + i_1 + .. + i_6), 8^6", "evaluations, entries", found.evaluations, 8**6, at_most=0.1, show=count
    )
    report.compare("1 / (1 + i_1 + .. + i_6), 8^6", "error, TensorLy's", ours, theirs, at_most=1, show=error)
    report.compare("1 / (1 + i_1 + .. + i_6), 8^6", "seconds, TensorLy's", seconds, peer)
