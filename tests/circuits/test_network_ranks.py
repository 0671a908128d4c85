"""Hierarchical ranks of networks from evaluations: those of known tensors, at orders that no dense tensor has."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree
from tnrank.circuits import Circuit, NetworkRanks, generalized_tensor, grid_tensor, network_ranks

Host = np.ndarray[Any, Any]


class Counted:
    """A function that counts its inputs."""

    def __init__(self, function: Any) -> None:
        self.function, self.count = function, 0

    def __call__(self, x: Any) -> Any:
        self.count += len(x)
        return self.function(x)


def fresh_error(found: NetworkRanks, function: Any, templates: Host) -> float:
    """At inputs that the search has not seen."""
    points = np.random.default_rng(12345).integers(0, found.tensor.shape, (300, len(found.tensor.shape)))
    values = function(templates[points])
    return float(np.linalg.norm(found.tensor.entries(points) - values) / np.linalg.norm(values))


@pytest.mark.parametrize(
    ("templates", "std"),
    [
        pytest.param(*case, marks=pytest.mark.slow if case in ((4, 0.1), (8, 1.0)) else pytest.mark.nightly)
        for case in product((4, 8), (0.1, 0.5, 1.0))
    ],
)
def test_order_64_width_4_from_entries(templates: int, std: float) -> None:
    x = tnrank.HierarchicalFactorization.random((templates,) * 64, width=4, std=std, seed=0)
    model = Counted(x.entries)
    found = network_ranks(model, np.arange(templates), x.tree, order=64)
    wanted = tnrank.hierarchical_rank(x)
    assert set(wanted.values()) == {4}
    assert found.ranks == wanted
    assert found.converged
    assert fresh_error(found, x.entries, np.arange(templates)) <= 1e-11
    assert found.evaluations == model.count <= 20_000
    assert tnrank.hierarchical_rank(found.tensor) == wanted


@pytest.mark.parametrize(
    ("grid", "one_hot"),
    [
        ((64,), False),
        ((8, 8), True),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in (((64,), True), ((8, 8), False))),
    ],
)
def test_order_64_width_4_from_the_network(grid: tuple[int, ...], one_hot: bool) -> None:
    circuit = Circuit.deep(grid, features=5, channels=4)
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(shape) for shape in circuit.shapes]
    templates = np.arange(5) if one_hot else rng.standard_normal((5, 5))
    found = network_ranks(lambda x: circuit.forward(weights, x), templates, circuit.tree, order=64)
    # Templates whose features are linearly independent change no rank.
    wanted = tnrank.hierarchical_rank(circuit.to_factorization(weights))
    assert found.converged
    assert found.ranks == wanted
    assert found.error <= 1e-11
    values = tnrank.hierarchical_singular_values(found.tensor, relative=True)
    for node, s in found.singular_values.items():
        assert np.allclose(s, values[node][: len(s)], rtol=1e-10, atol=1e-14)
    if one_hot:
        exact = tnrank.hierarchical_singular_values(circuit.to_factorization(weights), relative=True)
        for node, s in found.singular_values.items():
            assert abs(s[:4] - exact[node][:4]).max() <= 1e-10
            assert np.isclose(
                found.effective_ranks[node], float(tnrank.ranks.effective_rank_of(exact[node])), rtol=1e-8
            )


def test_other_partitions_of_the_tensor_found() -> None:
    x = tnrank.HierarchicalFactorization.random((2,) * 16, width=2, seed=0)
    found = network_ranks(x.entries, np.arange(2), x.tree, order=16)
    for modes in [(0, 1), (0, 2), (0, 2, 4)]:
        assert tnrank.separation_rank(found.tensor, modes) == tnrank.separation_rank(x, modes)


@settings(max_examples=10)
@given(st.data())
def test_small_networks_against_the_grid_tensor(data: Any) -> None:
    options = {
        "pooling": data.draw(st.sampled_from(["product", "max", "average", "sum"])),
        "activation": data.draw(st.sampled_from(["identity", "relu"])),
    }
    circuit = Circuit.deep(5, features=3, channels=data.draw(st.integers(1, 3)), ragged=True, **options)
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    weights = [rng.standard_normal(shape) for shape in circuit.shapes]
    # All 243 inputs are held-out ones: the result is checked entry by entry.
    found = network_ranks(lambda i: circuit.forward(weights, i), np.arange(3), circuit.tree, order=5)
    dense = generalized_tensor(circuit, weights)
    assert found.converged
    assert found.evaluations <= 2 * 3**5 + 16
    assert np.linalg.norm(found.tensor.to_dense() - dense) <= 1e-8 * np.linalg.norm(dense)
    for node, rank in found.ranks.items():
        s = np.linalg.svd(tnrank.linalg.matricize(dense, node.modes), compute_uv=False)
        # Singular values near the tolerance may count or not: the error is of that size.
        assert (s > 2e-8 * s[0]).sum() <= rank <= (s > 1e-9 * s[0]).sum()


def test_a_sum_of_two_numbers_a_location_has_rank_2() -> None:
    rng = np.random.default_rng(0)
    templates = [rng.standard_normal((2 + n % 3, 3)) for n in range(40)]
    found = network_ranks(lambda x: np.maximum(x, 0).sum(axis=(1, 2)), templates)
    assert found.converged
    assert set(found.ranks.values()) == {2}
    assert found.tensor.shape == tuple(map(len, templates))
    wave = network_ranks(lambda x: np.exp(1j * x).sum(axis=(1, 2)), templates)
    assert set(wave.ranks.values()) == {2}
    assert wave.tensor.dtype == "complex128"


def test_torch_module_in_single_precision() -> None:
    torch = pytest.importorskip("torch")

    class Shallow(torch.nn.Module):  # type: ignore[misc, name-defined]  # torch is there at run time
        def __init__(self) -> None:
            super().__init__()
            self.convolution = torch.nn.Conv1d(3, 16, 1)
            self.dense = torch.nn.Linear(16, 2)

        def forward(self, x: Any) -> Any:
            return self.dense(torch.relu(self.convolution(x.mT)).mean(dim=2))

    torch.manual_seed(0)
    model, templates = Shallow(), torch.randn(5, 3)
    for output in (0, 1):
        found = network_ranks(model, templates, order=32, output=output)
        assert (found.status, found.dtype) == ("converged", "float32")
        assert found.rtol == 200 * 2.0**-23
        assert found.atol > 0
        assert set(found.ranks.values()) == {2}
        assert found.error <= 1e-5
    double = network_ranks(model.double(), templates.double(), order=32, output=1)
    assert (double.rtol, double.atol, double.dtype) == (1e-8, 0.0, "float64")
    assert set(double.ranks.values()) == {2}
    with pytest.raises(ValueError, match=r"show no ranks.*float32"):
        network_ranks(model.bfloat16(), templates.bfloat16(), order=64, output=0)


@pytest.mark.slow
def test_circuits_in_single_precision_keep_their_ranks() -> None:
    # Values spread over ten orders of magnitude, and each has 24 bits.
    x = tnrank.HierarchicalFactorization.random((4,) * 32, width=4, std=0.5, seed=0)
    found = network_ranks(x.to(dtype="float32").entries, np.arange(4), x.tree, order=32)
    assert found.converged
    assert found.ranks == tnrank.hierarchical_rank(x)
    assert found.error <= 1e-4


def test_jax_function() -> None:
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    filters, traced = jax.numpy.asarray(rng.standard_normal((3, 4))), []

    @jax.jit
    def model(x: Any) -> Any:
        traced.append(x.shape)
        return jax.numpy.cos((x @ filters).sum(axis=1)).sum(axis=1)

    templates = jax.numpy.asarray(rng.standard_normal((4, 3)))
    found = network_ranks(model, templates, order=16)
    assert found.converged
    # Each of four cosines of a sum has rank 2.
    assert set(found.ranks.values()) == {4, 8}
    assert {node.height for node, rank in found.ranks.items() if rank == 4} == {0}
    # Compiled for powers of two, not for every batch.
    assert len(traced) <= 9


def test_what_the_budget_does_not_allow_is_said() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((32 * 2, 16)), rng.standard_normal(16)

    def model(x: Host) -> Host:
        return np.tanh(x.reshape(len(x), -1) @ first) @ second

    counted = Counted(model)
    found = network_ranks(counted, rng.standard_normal((4, 2)), order=32, budget=3000)
    assert (found.status, found.converged) == ("budget", False)
    assert counted.count == found.evaluations <= 3000
    assert found.error > 1e-3
    text = str(found)
    assert "not converged, the next step takes more evaluations than are left" in text
    assert "read the ranks as lower bounds" in text
    assert f"error      {found.error:.1e}" in text
    capped = network_ranks(model, rng.standard_normal((4, 2)), order=32, max_rank=2, budget=20_000)
    assert capped.status == "max_rank"
    assert "max_rank is reached" in str(capped)
    assert max(capped.ranks.values()) == 2


def test_the_table() -> None:
    found = network_ranks(lambda x: np.sin(x.sum(axis=1)), np.linspace(0, 1, 3), ((0, 1), (2, 3)), order=4)
    assert found.tree == DimensionTree.balanced(4)
    lines = str(found).splitlines()
    assert lines[0] == f"ranks of a network from {found.evaluations} evaluations, order 4, float64 outputs"
    assert lines[1].startswith("status     converged")
    assert lines[3] == "tolerance  1.0e-08 of the values"
    s = tnrank.hierarchical_singular_values(grid_tensor(lambda x: np.sin(x.sum(axis=1)), np.linspace(0, 1, 3), order=4))
    row = next(line for line in lines if "{0,1}" in line).split()
    assert row[row.index("9", 3) + 1 :][0] == "2"
    assert row[-2:] == [f"{v:.3g}" for v in s[0, 1][:2]]
    assert repr(found).startswith("NetworkRanks: converged, ranks up to 2, error")
    assert found.ranks[1, 0] == found.ranks[0] == 2


def test_a_network_that_vanishes() -> None:
    found = network_ranks(lambda x: 0.0 * x[:, 0], np.arange(3.0), order=20)
    assert set(found.ranks.values()) == {0}
    assert "every value met was 0" in str(found)
    needle = network_ranks(lambda x: (x == 2).all(axis=1) * 1.0, np.arange(3.0), order=20, start=[[2] * 20])
    assert set(needle.ranks.values()) == {1}


@pytest.mark.parametrize("seed", [65, 102, pytest.param(1339, marks=pytest.mark.slow)])
def test_a_network_that_is_0_at_most_inputs(seed: int) -> None:
    # Random points are all zeros: the search starts again where one was not.
    circuit = Circuit.deep(5, features=3, channels=2, ragged=True, activation="relu")
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(shape) for shape in circuit.shapes]
    dense = generalized_tensor(circuit, weights)
    assert 0 < np.count_nonzero(dense) <= 12
    found = network_ranks(lambda i: circuit.forward(weights, i), np.arange(3), circuit.tree, order=5)
    assert found.converged
    assert found.ranks == tnrank.hierarchical_rank(dense, circuit.tree)


def test_a_seed_means_one_result() -> None:
    runs = [network_ranks(lambda x: np.cos(x.sum(axis=1)), np.arange(4.0), order=20, seed=s) for s in (0, 0, 1)]
    assert runs[0].evaluations == runs[1].evaluations
    first, again, other = (r.tensor.entries(np.zeros((1, 20), int)) for r in runs)
    assert first == again
    assert abs(first - other) <= 1e-12


def two(x: Host) -> Host:
    return np.stack([x.sum(axis=1), x.prod(axis=1)], axis=1)


def single(x: Host) -> Host:
    return x.sum(axis=1)


def random_values() -> Any:
    rng = np.random.default_rng(0)
    return lambda x: rng.standard_normal(len(x))


NUMBERS = np.array([0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: network_ranks(two, NUMBERS, order=3), ValueError, "returns 2 numbers an input: give output=0 .. 1"),
        (lambda: network_ranks(two, NUMBERS, order=3, output=2), ValueError, "output is 0 .. 1"),
        (lambda: network_ranks(two, NUMBERS, order=3, output=-1), ValueError, "output is a whole number from 0 on"),
        (lambda: network_ranks(two, NUMBERS, order=3, output="a"), TypeError, "output is a whole number"),
        (lambda: network_ranks(single, NUMBERS, order=3, output=1), ValueError, "one number an input, got output=1"),
        (lambda: network_ranks(single, NUMBERS), ValueError, "give order=N"),
        (lambda: network_ranks(single, NUMBERS, order=1), ValueError, "got one location"),
        (lambda: network_ranks(single, NUMBERS, ((0, 1), 2), order=4), ValueError, "the tree has 3 modes"),
        (lambda: network_ranks(single, NUMBERS, order=3, budget=10), ValueError, "from 100 on, got 10"),
        (lambda: network_ranks(single, NUMBERS, order=3, rtol=2.0), ValueError, "rtol"),
        (lambda: network_ranks(single, NUMBERS, order=3, rtol=1e-15), ValueError, "rounding leaves of float64 outputs"),
        (
            lambda: network_ranks(single, NUMBERS.astype("float32"), order=3, rtol=1e-6),
            ValueError,
            "rounding leaves of float32 outputs",
        ),
        (lambda: network_ranks(single, NUMBERS, order=3, atol=-1.0), ValueError, "atol"),
        (
            lambda: network_ranks(lambda x: 1 / x.sum(axis=1), NUMBERS, order=3),
            ValueError,
            r"inf at the index \(0, 0, 0\)",
        ),
        (lambda: network_ranks(lambda x: x[0], NUMBERS, order=5), TypeError, r"needed numbers of shape \(3,\)"),
        (lambda: network_ranks(random_values(), NUMBERS, order=3), ValueError, "two values for the same input"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()
