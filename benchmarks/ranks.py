"""Hierarchical singular values straight from the format, against quimb and against growth with the order."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import tnrank
from benchmarks._harness import Report, seconds_of


def quimb_seconds(x: tnrank.HierarchicalTucker) -> tuple[float, float]:
    """Seconds of quimb's simple-update gauges, the spectra of a tree, and the largest difference from ours."""
    import quimb.tensor as qtn

    tensors = [
        qtn.Tensor(x.arrays[name], inds=[str(label) for label in labels]) for name, labels in x.network.tensors.items()
    ]
    seconds: list[float] = []
    gauges: dict[str, Any] = {}
    for _ in range(3):  # the first call compiles
        network, gauges = qtn.TensorNetwork(tensors), {}
        began = time.perf_counter()
        network.gauge_all_simple_(max_iterations=100, tol=1e-12, gauges=gauges)
        seconds.append(time.perf_counter() - began)
    worst = 0.0
    for node, values in x.singular_values(relative=True).items():
        name = f"leaf {node.modes[0]}" if not node.height else str(node)
        found = np.sort(np.asarray(gauges[f"k{name}"]))[::-1]
        worst = max(worst, float(abs(found / np.linalg.norm(found) - values).max()))
    return min(seconds), worst


def run(report: Report) -> None:
    """Order 64 and 1024, ranks 5, 20 and 50."""
    small = tnrank.HierarchicalTucker.random((8,) * 64, rank=5, seed=0, std=0.3)
    peer, difference = quimb_seconds(small)
    report.limit("order 64, rank 5", "difference from quimb", difference, 1e-10, show=lambda value: f"{value:.1e}")
    times = {}
    for order, rank in ((64, 5), (64, 20), (64, 50), (1024, 5), (1024, 20)):
        x = tnrank.HierarchicalTucker.random((max(rank, 8),) * order, rank=rank, seed=0, std=0.3)
        for method in ("gram", "qr"):
            x.singular_values(method, relative=True)
            times[order, rank, method] = seconds_of(lambda x=x, m=method: x.singular_values(m, relative=True), repeat=7)
    for method, target in (("gram", 1 / 400), ("qr", 1 / 200)):
        report.compare("order 64, rank 5", f"{method} against quimb", times[64, 5, method], peer, at_most=target)
        report.compare(
            "order 1024, rank 5", f"{method} against order 64", times[1024, 5, method], times[64, 5, method], at_most=20
        )
    matrix = np.random.default_rng(0).standard_normal((1000, 1000))
    rate = 1000**3 / seconds_of(lambda: matrix @ matrix, repeat=7)
    for order, rank in ((64, 50),):
        ideal = (14 * rank**4 * (order - 1) + 4 * order * rank * rank**2) / rate
        for method, target in (("gram", 3.5), ("qr", 6.0)):
            report.compare(
                f"order {order}, rank {rank}",
                f"{method} against its multiplications",
                times[order, rank, method],
                ideal,
                at_most=target,
            )
