"""Ranks of networks from evaluations, and the rate at which grid tensors are evaluated."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import tnrank
from benchmarks._harness import Report, seconds_of
from tnrank.circuits import Circuit, generalized_tensor, grid_tensor, network_ranks

Host = np.ndarray[Any, Any]


def count(value: float) -> str:
    return f"{value:,.0f}"


def error(value: float) -> str:
    return f"{value:.1e}"


def recover(report: Report, grid: tuple[int, ...], templates: int) -> None:
    """The ranks of all nodes of an order-64, width-4 circuit, from its outputs alone."""
    circuit = Circuit.deep(grid, features=templates, channels=4)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in circuit.shapes]
    inside = 0.0

    def model(x: Host) -> Any:
        nonlocal inside
        began = time.perf_counter()
        values = circuit.forward(weights, x)
        inside += time.perf_counter() - began
        return values

    name = f"circuit on {' x '.join(map(str, grid))} patches, M = {templates}, width 4"
    began = time.perf_counter()
    found = network_ranks(model, np.arange(templates), circuit.tree, order=64)
    seconds = time.perf_counter() - began
    assert found.ranks == tnrank.hierarchical_rank(circuit.to_factorization(weights))
    unknowns = found.tensor.parameter_count
    report.compare(name, "evaluations, numbers stored", found.evaluations, unknowns, at_most=3, show=count)
    report.limit(name, "error", found.error, 1e-10, show=error)
    report.limit(name, "seconds", seconds, 4.0)
    report.limit(name, "seconds in the network", inside, 2.0)


def single(report: Report) -> None:
    """The same in single precision."""
    x = tnrank.HierarchicalFactorization.random((4,) * 64, width=4, std=0.5, seed=0)
    short = x.to(dtype="float32")
    began = time.perf_counter()
    found = network_ranks(short.entries, np.arange(4), x.tree, order=64)
    seconds = time.perf_counter() - began
    assert found.ranks == tnrank.hierarchical_rank(x)
    report.limit("order 64, width 4, float32", "evaluations", found.evaluations, 100_000, show=count)
    report.limit("order 64, width 4, float32", "seconds", seconds, 8.0)


def grids(report: Report) -> None:
    """All entries of a grid tensor: against one call of the network on inputs made before, and node by node."""
    circuit = Circuit.deep(8, features=6, channels=16, pooling="max", activation="relu")
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in circuit.shapes]
    rows = rng.standard_normal((4, 6))
    total = 4**8
    places = np.stack(np.unravel_index(np.arange(total), (4,) * 8), axis=1)
    inputs = rows[places]

    def model(x: Host) -> Any:
        return circuit.forward(weights, x)

    ours = seconds_of(lambda: grid_tensor(model, rows, order=8), 5)
    peer = seconds_of(lambda: model(inputs), 5)
    report.compare("ReLU network with max pooling, 4^8", "seconds, one call", ours, peer, at_most=1.3)
    report.compare("ReLU network with max pooling, 4^8", "entries a second", total / ours, total / peer, show=count)
    nodes = seconds_of(lambda: generalized_tensor(circuit, weights, rows), 5)
    report.compare("ReLU network with max pooling, 4^8", "node by node, evaluated", nodes, ours, at_most=0.5)


def run(report: Report) -> None:
    recover(report, (64,), 8)
    recover(report, (8, 8), 4)
    single(report)
    grids(report)
