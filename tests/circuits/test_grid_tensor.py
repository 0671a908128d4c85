"""Grid tensors of functions and networks against direct evaluation at every combination of templates."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank.circuits import Circuit, grid_tensor
from tnrank.circuits._memory import available_memory

Host = np.ndarray[Any, Any]


class Watched:
    """A function that keeps the shapes of its inputs."""

    def __init__(self, function: Any) -> None:
        self.function, self.shapes = function, []

    def __call__(self, x: Any) -> Any:
        self.shapes.append(tuple(x.shape))
        return self.function(x)


def mixing(x: Any) -> Any:
    """No symmetry between locations; every number counts."""
    weights = np.arange(1, 1 + int(np.prod(x.shape[1:]))).reshape(x.shape[1:])
    return np.tanh((x * weights).reshape(len(x), -1).sum(axis=1) / 10)


@given(st.data())
def test_every_entry_is_one_evaluation(data: Any) -> None:
    order = data.draw(st.integers(1, 4))
    patch = tuple(data.draw(st.lists(st.integers(1, 3), max_size=2)))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    templates = [rng.standard_normal((data.draw(st.integers(1, 4)), *patch)) for _ in range(order)]
    function = Watched(mixing)
    batch = data.draw(st.integers(1, 7))
    found = grid_tensor(function, templates, batch_size=batch)
    assert found.shape == tuple(map(len, templates))
    for place in itertools.product(*map(range, found.shape)):
        single = np.stack([t[k] for t, k in zip(templates, place, strict=True)])[None]
        assert abs(found[place] - mixing(single)[0]) <= 1e-14
    assert all(shape[0] <= batch and shape[1:] == (order, *patch) for shape in function.shapes)


def test_one_array_serves_all_locations() -> None:
    templates = np.random.default_rng(0).standard_normal((3, 2))
    assert (grid_tensor(mixing, templates, order=4) == grid_tensor(mixing, [templates] * 4)).all()
    assert (grid_tensor(mixing, templates.tolist(), order=4) == grid_tensor(mixing, templates, order=4)).all()
    numbers = grid_tensor(lambda x: x[:, 0] - 2 * x[:, 1], [[0.0, 1.0], [0.0, 1.0, 2.0]])
    assert (numbers == [[0, -2, -4], [1, -1, -3]]).all()


def test_classes_are_the_last_mode() -> None:
    def two(x: Host) -> Host:
        return np.stack([x.sum(axis=1), x.prod(axis=1)], axis=1)

    found = grid_tensor(two, np.array([1.0, 2.0, 3.0]), order=3, batch_size=5)
    axes = np.ogrid[1:4, 1:4, 1:4]
    assert found.shape == (3, 3, 3, 2)
    assert (found[..., 0] == axes[0] + axes[1] + axes[2]).all()
    assert (found[..., 1] == axes[0] * axes[1] * axes[2]).all()
    one = grid_tensor(lambda x: two(x)[:, 1:], np.array([1.0, 2.0, 3.0]), order=3)
    assert one.shape == (3, 3, 3)  # one class is one number
    assert (one == found[..., 1]).all()


def test_dtypes_of_outputs_are_kept() -> None:
    whole = np.arange(3)
    assert grid_tensor(lambda i: i.sum(axis=1), whole, order=2).dtype == np.float64
    assert grid_tensor(lambda i: i.sum(axis=1) > 2, whole, order=2).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 1]]
    assert grid_tensor(lambda i: np.exp(1j * i.sum(axis=1)), whole, order=2).dtype == np.complex128
    assert grid_tensor(lambda x: x.sum(axis=1), whole.astype(np.float32), order=2).dtype == np.float32


def test_known_ranks(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    templates = backend.asarray(np.linspace(-1, 1, 4))
    found = grid_tensor(backend.jit(lambda x: backend.xp.sin(backend.xp.sum(x, axis=1))), templates, order=6)
    assert isinstance(found, np.ndarray)
    assert set(tnrank.hierarchical_rank(found).values()) == {2}
    largest = grid_tensor(backend.jit(lambda x: backend.xp.max(x, axis=1)), templates, order=4)
    assert tnrank.separation_rank(largest, modes=(0, 1)) == 4


@pytest.mark.few_on_jax("3")
@pytest.mark.parametrize("templates", [1, 3, pytest.param(4, marks=pytest.mark.slow)])
def test_the_coefficient_tensor_of_a_circuit(templates: int, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    circuit = Circuit.deep((2, 4), features=templates, channels=3, window=[(2, 2), (1, 2)])
    weights = circuit.initial_weights(seed=0, backend=backend_name, dtype="float64")
    found = grid_tensor(
        backend.jit(lambda i: circuit.forward(weights, i)),
        backend.asarray(np.arange(templates)),
        order=8,
        batch_size=100,
    )
    dense = backend.to_numpy(circuit.to_factorization(weights).to_dense())
    assert abs(found - dense).max() <= 1e-12 * abs(dense).max()


def test_torch_module() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(16, 3)
    )
    templates = torch.randn(3, 2)
    with pytest.raises(ValueError, match=r"two values for the same input.*model\.eval"):
        grid_tensor(model, templates, order=4)
    model.eval()
    found = grid_tensor(model, templates, order=4, batch_size=10)
    assert found.shape == (3, 3, 3, 3, 3)
    assert found.dtype == np.float32
    with torch.no_grad():
        wanted = model(torch.stack([templates[0], templates[2], templates[1], templates[2]])[None])[0]
    assert np.allclose(found[0, 2, 1, 2], wanted.numpy(), rtol=1e-5, atol=1e-6)
    assert grid_tensor(model.double(), templates.double(), order=4).dtype == np.float64


def test_compiled_jax_functions_see_few_batch_sizes() -> None:
    jax = pytest.importorskip("jax")
    traced = []

    @jax.jit
    def model(x: Any) -> Any:
        traced.append(x.shape)
        return jax.numpy.tanh(x).sum(axis=(1, 2))

    templates = jax.numpy.asarray(np.random.default_rng(0).standard_normal((3, 2)))
    found = grid_tensor(model, templates, order=5, batch_size=100)
    assert sorted(traced) == [(64, 5, 2), (100, 5, 2)]
    rows = np.tanh(np.asarray(templates)).sum(axis=1)
    assert np.allclose(found, sum(np.ix_(*[rows] * 5)), rtol=1e-12, atol=1e-12)


def test_larger_than_memory_raises_before_anything_is_allocated() -> None:
    function = Watched(lambda x: x.sum(axis=1))
    with pytest.raises(ValueError, match=r"order 64 and shape \(8, 8, 8, \.\., 8\) takes 10\^49 GiB.*network_ranks"):
        grid_tensor(function, np.arange(8.0), order=64)
    assert sum(shape[0] for shape in function.shapes) <= 8
    with pytest.raises(ValueError, match=r"takes 0\.00745 GiB in float64, more than .* memory_limit='1 MiB'"):
        grid_tensor(function, np.arange(10.0), order=6, memory_limit="1 MiB")
    with pytest.raises(ValueError, match="memory_limit=999"):
        grid_tensor(function, np.arange(10.0), order=3, memory_limit=999)
    assert grid_tensor(function, np.arange(10.0), order=3, memory_limit=1000).shape == (10, 10, 10)
    # Classes count as well.
    with pytest.raises(ValueError, match=r"shape \(10, 10, 10, 2\)"):
        grid_tensor(lambda x: x[:, :2], np.arange(10.0), order=3, memory_limit=1000)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="the system does not say how much memory it has")
def test_available_memory_is_what_the_machine_has() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 2**26 <= available_memory() <= total


def nan_at(x: Host) -> Host:
    return np.where((x == [1, 2, 3]).all(axis=1), np.nan, 1.0)


HALF = np.array([0.0, 1.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grid_tensor(nan_at, np.arange(4), order=3), ValueError, r"nan at the index \(1, 2, 3\)"),
        (lambda: grid_tensor(lambda x: x, HALF, order=3, batch_size=2), None, ""),
        (
            lambda: grid_tensor(lambda x: x.sum(), HALF, order=3),
            TypeError,
            r"shape \(\).*needed numbers of shape \(2,\)",
        ),
        (lambda: grid_tensor(lambda x: x[:1, 0], HALF, order=3), TypeError, r"shape \(1,\)"),
        (lambda: grid_tensor(lambda x: x[:, :, None], HALF, order=3), TypeError, r"shape \(2, 3, 1\)"),
        (lambda: grid_tensor(lambda x: None, HALF, order=3), TypeError, "dtype object"),
        (lambda: grid_tensor(lambda x: x[:, :0], HALF, order=3), TypeError, r"shape \(2, 0\)"),
        (lambda: grid_tensor(3, HALF, order=3), TypeError, "needed a function or a network"),
        (lambda: grid_tensor(mixing, HALF), ValueError, "give order=N"),
        (lambda: grid_tensor(mixing, [HALF, HALF], order=3), ValueError, "got 2 arrays of templates and order=3"),
        (lambda: grid_tensor(mixing, []), ValueError, "no templates"),
        (lambda: grid_tensor(mixing, [HALF, HALF[:0]]), ValueError, "location 1 has no templates"),
        (lambda: grid_tensor(mixing, HALF[:0], order=2), ValueError, "location 0 has no templates"),
        (lambda: grid_tensor(mixing, [HALF, np.ones((2, 3))]), ValueError, "all patches need the same shape"),
        (lambda: grid_tensor(mixing, ["ab", "cd"]), TypeError, "needed|of numbers"),
        (lambda: grid_tensor(mixing, 3.0), TypeError, "N arrays, got 3.0"),
        (lambda: grid_tensor(mixing, HALF, order=0), ValueError, "from 1 to 1048576, got 0"),
        (lambda: grid_tensor(mixing, HALF, order=2, batch_size=0), ValueError, "batch_size"),
        (lambda: grid_tensor(mixing, HALF, order=2, batch_size=2.5), TypeError, "batch_size"),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    if error is None:
        assert call().shape == (2, 2, 2, 3)
        return
    with pytest.raises(error, match=message):
        call()


def test_values_out_of_range_name_the_way_out() -> None:
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"inf at the index .*scale weights.*float32"):
        grid_tensor(lambda x: x.prod(axis=1), np.array([1e30, 1.0], np.float32), order=2)
    with pytest.raises(ValueError, match=r"nan class 1 at the index \(0, 0\)"):
        grid_tensor(lambda x: np.stack([x[:, 0], 0 * x[:, 0] + np.nan], axis=1), HALF, order=2)


def test_arrays_of_two_backends() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="'location 0' is numpy, 'location 1' is torch"):
        grid_tensor(mixing, [HALF, torch.ones(2)])
