"""Measured separation ranks beside bounds: against dense SVDs, and for tables, partitions and wrong calls."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.network.strategies import dense as dense_of
from tests.network.strategies import networks, numpy_arrays
from tnrank.circuits import Circuit, grid_tensor, min_cut, partitions, separation_report


def measured(dense: Any, modes: tuple[int, ...]) -> int:
    dense = np.asarray(dense)
    rest = [m for m in range(dense.ndim) if m not in modes]
    rows = prod(dense.shape[m] for m in modes)
    return int(np.linalg.matrix_rank(dense.transpose(*modes, *rest).reshape(rows, -1), rtol=1e-9))


def made(kind: str) -> tnrank.Factorization:
    if kind == "mf":
        return tnrank.MatrixFactorization.random((4, 8), depth=3, hidden=2, seed=0)
    if kind == "cp":
        return tnrank.CPFactorization.random((2, 3, 2, 3), rank=4, seed=0)
    if kind == "htf":
        return tnrank.HierarchicalFactorization.random((2,) * 8, tnrank.DimensionTree.balanced(8), width=4, seed=0)
    if kind == "quad":
        return tnrank.HierarchicalFactorization.random((2,) * 8, tnrank.DimensionTree.quad(2, 4), width=2, seed=0)
    if kind == "tt":
        return tnrank.TensorTrain.random((2,) * 6, rank=3, seed=0)
    if kind == "tucker":
        return tnrank.Tucker.random((4,) * 4, rank=(2, 4, 1, 2), seed=0)
    return tnrank.HierarchicalTucker.random((4,) * 4, rank=3, seed=0)


@pytest.mark.parametrize("kind", ["mf", "cp", "htf", "quad", "tt", "tucker", "ht"])
def test_every_format_against_its_dense_tensor(kind: str) -> None:
    x = made(kind)
    dense = x.to_dense()
    report = separation_report(x)
    assert len(report) == (4 if kind == "quad" else 2)
    for row in report:
        assert row.rank == measured(dense, row.modes) <= row.bound
        assert row.reached is (row.rank == row.bound)
        assert row.cut == min_cut(x, row.modes)
    if kind in ("mf", "htf", "quad", "tucker"):
        assert report.base == 2
        assert all(row.reached for row in report)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("grid", [(8,), (2, 4)])
def test_from_the_weights_and_from_the_grid_tensor(grid: tuple[int, ...], shared: bool) -> None:
    circuit = Circuit.deep(grid, features=2, channels=2, ragged=True, shared=shared)
    weights = [np.random.default_rng(k).standard_normal(shape) for k, shape in enumerate(circuit.shapes)]
    report = separation_report(circuit, weights=weights)
    tensor = grid_tensor(lambda which: circuit.forward(weights, which), np.arange(2), order=8)
    assert [row.name for row in report] == list(partitions(grid))
    assert report.shared is shared
    for row in report:
        assert row.rank == tnrank.separation_rank(tensor, row.modes) == measured(tensor, row.modes) <= row.bound
        assert shared or row.reached


def test_a_generalized_circuit_is_measured_by_its_grid_tensor() -> None:
    circuit = Circuit.deep(4, features=3, channels=3, pooling="max", activation="relu")
    weights = circuit.initial_weights(seed=0, std=1.0)
    with pytest.raises(ValueError, match="grid_tensor"):
        separation_report(circuit, weights=weights)
    tensor = grid_tensor(lambda which: circuit.forward(weights, which), np.arange(3), order=4)
    for row in separation_report(tensor):
        assert row.rank == measured(tensor, row.modes)
        assert row.bound == 9


def test_classes_are_on_the_other_side() -> None:
    circuit = Circuit.deep(4, features=3, channels=2, classes=5)
    weights = [np.random.default_rng(k).standard_normal(shape) for k, shape in enumerate(circuit.shapes)]
    dense = circuit.to_factorization(weights).to_dense()
    report = separation_report(circuit, weights=weights)
    assert report.shape == (3, 3, 3, 3, 5)
    assert report["odd/even"].modes == (0, 2)
    for row in report:
        assert row.rank == measured(dense, row.modes) == row.bound


@given(networks(st.sampled_from((1, 2, 4))).filter(lambda found: len(found[0].output) > 1), st.integers(0, 99))
def test_any_network_with_its_arrays(case: Any, seed: int) -> None:
    network, sizes = case
    arrays = numpy_arrays(network, sizes, seed)
    dense = dense_of(network, arrays)
    for row in separation_report(network, weights=arrays):
        assert row.rank is not None
        assert row.rank <= row.bound
        assert row.rank == measured(dense, row.modes)


def test_rounding_of_a_long_network_does_not_count() -> None:
    rng = np.random.default_rng(0)
    names = [f"T{k}" for k in range(30)]
    network = tnrank.Network({name: (("b", k), ("b", k + 1)) for k, name in enumerate(names)}, (("b", 0), ("b", 30)))
    arrays = {name: rng.standard_normal((4, 4)) for name in names}
    arrays["T15"] = np.outer([1.0, 1, 1, 1], rng.standard_normal(4))
    assert separation_report(network, {"ends": (0,)}, weights=arrays)["ends"].rank == 1


def test_shared_weights_and_the_one_case_where_they_cost_a_rank() -> None:
    rng = np.random.default_rng(0)
    for shared, rank in ((True, 3), (False, 4)):
        circuit = Circuit.deep(4, features=2, channels=4, shared=shared)
        weights = [rng.standard_normal(shape) for shape in circuit.shapes]
        report = separation_report(circuit, {"halves": (0, 1)}, weights=weights)
        assert (report.shared, report.base) == (shared, 2)
        assert (report["halves"].rank, report["halves"].bound) == (rank, 4)
        assert report["halves"].reached is not shared
        assert ("need not be reached" in str(report)) is shared


def test_bounds_without_weights() -> None:
    circuit = Circuit.deep((28, 28), features=4, channels=4, shared=True, ragged=True)
    report = separation_report(circuit)
    assert report.shared
    assert all(row.rank is None and row.reached is None for row in report)
    # After two levels the middle runs through the fourth of 7 rows: a cut in each of its 7 nodes, and one at the root.
    assert report["top/bottom"].bound == 4**8
    network = tnrank.Network({"A": "ir", "B": "jr"}, "ij")
    assert separation_report(network, [(0,)], sizes={"i": 8, "j": 8, "r": 3})["{0}"].bound == 3


def test_what_takes_too_long_is_not_measured() -> None:
    x = tnrank.HierarchicalFactorization.random((4,) * 64, tnrank.DimensionTree.balanced(64), width=3, seed=0)
    report = separation_report(x)
    assert (report["left/right"].rank, report["left/right"].bound) == (3, 3)
    assert (report["odd/even"].rank, report["odd/even"].bound) == (None, 3**32)
    assert "1.8e15" in str(report)
    small = made("htf")
    assert separation_report(small, limit=1)["odd/even"].rank is None
    assert separation_report(small, limit=None)["odd/even"].rank == 16


def test_it_prints_as_a_table() -> None:
    lines = str(separation_report(made("htf"))).splitlines()
    assert lines[0] == "separation ranks of a HierarchicalFactorization, shape 2^8"
    assert lines[1].split() == ["partition", "one", "side", "rank", "bound", "bound", "reached", "cut"]
    assert lines[2].split()[:5] == ["odd/even", "{0,2,4,6}", "16", "16", "yes"]
    assert lines[3].split()[:5] == ["left/right", "{0,1,2,3}", "4", "4", "yes"]
    assert "powers of 2" in lines[-1]
    assert "not powers of one number" in str(separation_report(made("tt")))


def test_a_rank_below_the_bound_is_said() -> None:
    x = made("htf")
    node = next(node for node in x.tree.nodes if node.modes == (0, 1, 2, 3))
    matrices = {**x.matrices, node: np.outer(x.matrices[node][:, 0], np.ones(4))}
    report = separation_report(tnrank.HierarchicalFactorization(x.tree, matrices))
    assert (report["left/right"].rank, report["left/right"].bound, report["left/right"].reached) == (1, 4, False)
    assert report["odd/even"].reached
    assert " no " in str(report)


@pytest.mark.slow
def test_a_format_on_jax() -> None:
    pytest.importorskip("jax")
    x = made("cp").to("jax", dtype="float64")
    assert [row.rank for row in separation_report(x)] == [4, 4]


def test_on_every_backend(backend_name: str) -> None:
    x = tnrank.CPFactorization.random((2,) * 4, rank=3, seed=0).to(backend_name, dtype="float64")
    if backend_name != "jax":  # which compiles each step; the ranks of formats have their own test on JAX
        assert [row.rank for row in separation_report(x)] == [3, 3]
    assert [row.rank for row in separation_report(x.network, weights=x.arrays)] == [3, 3]


def test_partitions_of_grids() -> None:
    assert partitions(5) == {"odd/even": (0, 2, 4), "left/right": (0, 1)}
    assert partitions((2, 4)) == {
        "odd/even": (0, 2, 4, 6),
        "left/right": (0, 1, 4, 5),
        "top/bottom": (0, 1, 2, 3),
        "checkerboard": (0, 2, 5, 7),
    }
    assert partitions((3, 1)) == {"odd/even": (0, 2), "top/bottom": (0,)}
    assert partitions((1, 3)) == {"odd/even": (0, 2), "left/right": (0,)}
    for grid in ((2,), (3, 3), (7, 2)):
        assert all(0 < len(side) < prod(grid) for side in partitions(grid).values())


def test_wrong_calls_say_what_is_wrong() -> None:
    x, network = made("cp"), tnrank.Network({"A": "ir", "B": "jr"}, "ij")
    circuit = Circuit.deep(4, features=2, channels=2)
    for make, message in (
        (lambda: partitions(1), "two or more"),
        (lambda: partitions((2, 2, 2)), "needed"),
        (lambda: separation_report(x, {"all": range(4)}), "mode"),
        (lambda: separation_report(x, {"far": (9,)}), "mode"),
        (lambda: separation_report(x, weights=[1]), "belong to a Circuit or a Network"),
        (lambda: separation_report(network), "no size for the index 'i'"),
        (lambda: separation_report(circuit, weights=circuit.initial_weights()[:-1]), "weights"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="needed a factorization"):
        separation_report("circuit")
    with pytest.raises(KeyError, match="there are odd/even"):
        separation_report(x)["up/down"]
