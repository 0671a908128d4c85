"""Generalized tensor products and grid tensors of circuits built node by node."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank.circuits import Circuit, Level, generalized_product, generalized_tensor, grid_tensor

Host = np.ndarray[Any, Any]

OPERATORS = {
    "product": lambda a, b: a * b,
    "max": max,
    "sum": lambda a, b: a + b,
    "relu_product": lambda a, b: max(a, 0) * max(b, 0),
    "relu_max": lambda a, b: max(a, b, 0),
    "relu_sum": lambda a, b: max(a, 0) + max(b, 0),
}
SMALL = st.integers(-3, 3).map(float)


def drawn(data: Any) -> Host:
    shape = tuple(data.draw(st.lists(st.integers(1, 3), max_size=3)))
    size = int(np.prod(shape))
    return np.array(data.draw(st.lists(SMALL, min_size=size, max_size=size))).reshape(shape)


@given(st.data(), st.sampled_from(sorted(OPERATORS)))
def test_the_product_entry_by_entry(data: Any, name: str) -> None:
    a, b = drawn(data), drawn(data)
    found = generalized_product(a, b, name)
    assert found.shape == a.shape + b.shape
    for i, j in itertools.product(np.ndindex(a.shape), np.ndindex(b.shape)):
        assert found[i + j] == OPERATORS[name](a[i], b[j])
    assert (generalized_product(a, b, lambda x, y: 2 * x - y) == np.subtract.outer(2 * a, b)).all()


@given(st.data(), st.sampled_from(sorted(OPERATORS)))
def test_associative_and_commutative(data: Any, name: str) -> None:
    # Small whole numbers: no rounding.
    a, b, c = (drawn(data) for _ in range(3))
    left = generalized_product(generalized_product(a, b, name), c, name)
    assert (left == generalized_product(a, generalized_product(b, c, name), name)).all()
    turned = np.moveaxis(generalized_product(b, a, name), range(b.ndim), range(a.ndim, a.ndim + b.ndim))
    assert (turned == generalized_product(a, b, name)).all()


def test_the_outer_product_on_every_backend(backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((4,))
    for name, g in OPERATORS.items():
        found = generalized_product(backend.asarray(a), backend.asarray(b), name)
        assert tnrank.backend_of(found) is backend
        assert (backend.to_numpy(found) == np.vectorize(g)(a[..., None], b)).all()


def windows(data: Any, sides: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Ragged windows that leave one location."""
    found = []
    while max(sides) > 1:
        window = tuple(data.draw(st.integers(1, min(3, s)), label="window") for s in sides)
        if max(window) == 1:
            window = tuple(min(2, s) for s in sides)
        found.append(window)
        sides = tuple(-(-s // w) for s, w in zip(sides, window, strict=True))
    return found


@given(st.data())
def test_generalized_tensor_is_the_grid_tensor(data: Any) -> None:
    grid = data.draw(st.sampled_from([(2,), (3,), (5,), (6,), (2, 2), (2, 3), (3, 2)]))
    order = int(np.prod(grid))
    features, classes = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    circuit = Circuit.deep(
        grid,
        features=features,
        channels=data.draw(st.integers(1, 3)),
        window=windows(data, grid),
        classes=classes,
        shared=data.draw(st.booleans()),
        ragged=True,
        pooling=data.draw(st.sampled_from(["product", "max", "average", "sum"])),
        activation=data.draw(st.sampled_from(["identity", "relu"])),
    )
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    weights = [rng.standard_normal(shape) for shape in circuit.shapes]
    rows = [rng.standard_normal((data.draw(st.integers(1, 3)), features)) for _ in range(order)]
    found = generalized_tensor(circuit, weights, rows)
    wanted = grid_tensor(lambda x: circuit.forward(weights, x), rows)
    assert found.shape == wanted.shape
    assert abs(found - wanted).max() <= 1e-12 * max(1, abs(wanted).max())
    same = generalized_tensor(circuit, weights, rows[0])
    assert abs(same - generalized_tensor(circuit, weights, [rows[0]] * order)).max() == 0


def test_locations_that_differ_in_channels() -> None:
    levels = (Level((2, 2, 3, 3, 3), (2,)), Level((2, 2, 2), (3,)))
    for pooling in ("product", "max", "average", "sum"):
        circuit = Circuit((5,), (3, 2, 2, 1, 3), levels, classes=2, pooling=pooling, ragged=True)
        weights = circuit.initial_weights(seed=1)
        found = generalized_tensor(circuit, weights)
        indices = [np.arange(size) for size in (3, 2, 2, 1, 3)]
        wanted = grid_tensor(lambda i, c=circuit, w=weights: c.forward(w, i), indices)
        assert found.shape == (3, 2, 2, 1, 3, 2)
        assert abs(found - wanted).max() <= 1e-12 * abs(wanted).max()


@pytest.mark.parametrize("grid", [(8,), (2, 4), (7,)])
def test_products_give_the_coefficient_tensor(grid: tuple[int, ...], backend_name: str) -> None:
    circuit = Circuit.deep(
        grid, features=2, channels=3, window=[2, 2, 2] if len(grid) == 1 else [2, (1, 2)], ragged=True
    )
    weights = circuit.initial_weights(seed=0, backend=backend_name, dtype="float64")
    backend = tnrank.get_backend(backend_name)
    found = backend.to_numpy(generalized_tensor(circuit, weights))
    dense = backend.to_numpy(circuit.to_factorization(weights).to_dense())
    assert abs(found - dense).max() <= 1e-12 * abs(dense).max()


def test_matrix_and_cp_factorizations() -> None:
    cp = tnrank.CPFactorization.random((2, 3, 4), rank=5, seed=0)
    mf = tnrank.MatrixFactorization.random((3, 4), depth=3, std=1.0, seed=0)
    for x in (cp, mf):
        circuit = Circuit.from_factorization(x)
        found = generalized_tensor(circuit, circuit.weights_of(x))
        assert abs(found - x.to_dense()).max() <= 1e-12 * abs(x.to_dense()).max()


def relu_and_twin(order: int = 6, channels: int = 4, features: int = 3) -> tuple[Any, Any, list[Host]]:
    options: dict[str, Any] = {"features": features, "channels": channels, "ragged": True}
    relu = Circuit.deep(order, **options, pooling="max", activation="relu")
    twin = Circuit.deep(order, **options)
    weights = [np.random.default_rng(0).standard_normal(shape) for shape in relu.shapes]
    return relu, twin, weights


def test_ranks_by_the_toolkit() -> None:
    relu, twin, weights = relu_and_twin(8)
    of_relu = tnrank.hierarchical_rank(generalized_tensor(relu, weights), relu.tree)
    of_twin = tnrank.hierarchical_rank(generalized_tensor(twin, weights), twin.tree)
    assert of_twin == tnrank.hierarchical_rank(twin.to_factorization(weights))
    # The width bounds the ranks of products alone: those of maxima go beyond.
    assert max(of_twin.values()) <= 4 < max(of_relu.values())


@pytest.mark.parametrize("channels", [1, 7, 50])
def test_shallow_relu_with_average_pooling_is_additive(channels: int) -> None:
    # Every entry is a sum of functions of one location each: ranks are at most 2 at any width and partition
    # (Cohen & Shashua 2016: not universal).
    circuit = Circuit.shallow(6, features=3, channels=channels, pooling="average", activation="relu")
    weights = [np.random.default_rng(channels).standard_normal(shape) for shape in circuit.shapes]
    tensor = generalized_tensor(circuit, weights)
    for modes in [(0,), (0, 1, 2), (0, 2, 4), (1, 2, 5)]:
        assert tnrank.separation_rank(tensor, modes) == 2


def test_deep_relu_with_average_pooling_is_not() -> None:
    circuit = Circuit.deep(4, features=3, channels=4, pooling="average", activation="relu")
    weights = [np.random.default_rng(0).standard_normal(shape) for shape in circuit.shapes]
    assert tnrank.separation_rank(generalized_tensor(circuit, weights), (0, 2)) > 2


def test_shallow_relu_with_max_pooling_is_universal() -> None:
    # M^N + 1 channels give any tensor: channel d is 0 where all indices are those of d and 1 elsewhere, the last is 1.
    shape = (2, 3, 2)
    target = np.random.default_rng(0).standard_normal(shape)
    places = list(np.ndindex(shape))
    filters = np.ones((3, 3, len(places) + 1))
    for channel, place in enumerate(places):
        for n, index in enumerate(place):
            filters[n, index, channel] = 0.0
    dense = np.array([*(-target[place] for place in places), target.sum()])[:, None]
    circuit = Circuit.shallow(3, features=3, channels=len(places) + 1, pooling="max", activation="relu")
    templates = [np.eye(3)[:size] for size in shape]
    found = generalized_tensor(circuit, [filters, dense], templates)
    assert abs(found - target).max() <= 1e-14 * len(places)
    assert tnrank.hierarchical_rank(found) == tnrank.hierarchical_rank(target)


def test_depth_efficiency_of_maxima_is_not_complete() -> None:
    # Where one location outweighs all others, the deep network is a function of it alone: ranks are 1 on an open set
    # of weights. Its arithmetic twin has the generic odd/even rank min(M, R)^(N/2) there.
    relu, twin, weights = relu_and_twin(8, channels=2, features=2)
    rng = np.random.default_rng(1)
    for _ in range(3):
        first = rng.uniform(-2.0, -1.0, weights[0].shape)
        first[0] = rng.uniform(1.0, 2.0, first[0].shape)
        # Positive filters keep channels of the first window above the others, which are 0.
        changed = [first, *(rng.uniform(0.5, 1.5, w.shape) for w in weights[1:])]
        odd = (0, 2, 4, 6)
        assert tnrank.separation_rank(generalized_tensor(relu, changed), odd) == 1
        assert tnrank.separation_rank(generalized_tensor(twin, changed), odd) == 2**4


def circuit_and_weights() -> tuple[Circuit, Any]:
    circuit = Circuit.deep(4, features=2, channels=3)
    return circuit, circuit.initial_weights(seed=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c, w: generalized_product(np.ones(2), np.ones(2), "min"), ValueError, "one of product, max, sum"),
        (lambda c, w: generalized_product([1.0], np.ones(2)), TypeError, "list"),
        (lambda c, w: generalized_product(np.ones(2), np.ones(3), lambda a, b: a), ValueError, r"needed \(2, 3\)"),
        (lambda c, w: generalized_product(np.ones(2), np.ones(3), lambda a, b: 1.0), ValueError, r"gave shape \(\)"),
        (lambda c, w: generalized_tensor(c, w[:1]), ValueError, "weights"),
        (
            lambda c, w: generalized_tensor(c, w, np.ones((3, 5))),
            ValueError,
            r"location 0 have shape \(3, 5\).*\(M, 2\)",
        ),
        (lambda c, w: generalized_tensor(c, w, [np.ones((3, 2))] * 3), ValueError, "for 3 locations: .* has 4"),
        (lambda c, w: generalized_tensor(c, w, np.ones((0, 2))), ValueError, r"\(0, 2\)"),
        (lambda c, w: generalized_tensor(c, w, np.ones((3, 2)), memory_limit=80), ValueError, "network_ranks"),
    ],
)
def test_bad_input(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(*circuit_and_weights())


def test_larger_than_memory_raises() -> None:
    circuit = Circuit.deep(64, features=4, channels=3)
    with pytest.raises(ValueError, match=r"for 3 channels of order 65 .* takes 10\^\d+ GiB"):
        generalized_tensor(circuit, circuit.initial_weights(seed=0))
