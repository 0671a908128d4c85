"""Initial weights keep outputs of size 1 at order 784 in single precision; logarithms follow any scale exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tests.circuits.strategies import circuits, host
from tnrank.circuits import Affine, Circuit, CosSin, Embedding, Gaussian, OneHot, patches

OTHERS = [("product", "jax"), ("product", "torch")]


@pytest.fixture(scope="module")
def images() -> np.ndarray[Any, Any]:
    """Digits of 28 x 28, mostly black, with white strokes and gray borders, as those of MNIST."""
    digits = pytest.importorskip("sklearn.datasets").load_digits().images[:8] / 16
    large = np.kron(digits, np.ones((4, 4)))[:, 2:30, 2:30]
    return np.asarray(np.clip(3 * large - 1.5, 0, 1), np.float32)


def circuit_for(representation: Any, shared: bool, **options: Any) -> Circuit:
    grid = (14, 14) if getattr(representation, "patch", 1) == 4 else (28, 28)
    return Circuit.deep(
        grid, representation=representation, channels=16, ragged=True, shared=shared, classes=10, **options
    )


@pytest.mark.few_on_jax("Affine(6, patch=4)-True", "Embedding(5, 256)-False", "CosSin()-True")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "representation",
    [OneHot(2), Affine(4), Affine(6, patch=4), Gaussian(4), Gaussian(8), Embedding(5, 256), CosSin()],
    ids=repr,
)
@pytest.mark.parametrize(("pooling", "backend_name"), [(p, "numpy") for p in ("product", "average")] + OTHERS)
def test_outputs_are_of_size_one_at_order_784(
    representation: Any, shared: bool, pooling: str, images: np.ndarray[Any, Any], backend_name: str
) -> None:
    pytest.importorskip(backend_name)
    backend = tnrank.get_backend(backend_name)
    circuit = circuit_for(representation, shared, pooling=pooling)
    if isinstance(representation, (OneHot, Embedding)):
        inputs = (255 * images.reshape(len(images), -1)).astype(np.uint8)
        inputs = inputs // 128 if isinstance(representation, OneHot) else inputs
    else:
        # A sum of cosine and sine is 1 for black and white only, by all linear combinations at most for two angles.
        inputs = np.round(images) if isinstance(representation, CosSin) else images
        inputs = patches(inputs, int(getattr(representation, "patch", 1) ** 0.5))
    arrays = representation.initial(seed=1, backend=backend_name, dtype="float32")
    weights = circuit.initial_weights(seed=0, backend=backend_name, dtype="float32")
    found = circuit.forward(weights, circuit.represent(arrays, backend.asarray(inputs)))
    assert backend.dtype_of(found) == "float32"
    size = abs(host(found))
    assert np.isfinite(size).all()
    assert 1e-3 < np.median(size) < 1e3
    assert size.min() > 1e-6
    assert size.max() < 1e3
    # Inputs and classes differ.
    assert size.std(axis=0).min() > 0
    assert size.std(axis=1).min() > 0


def test_shallow_outputs_are_of_size_one_at_order_784() -> None:
    circuit = Circuit.shallow((28, 28), 2, 64, classes=3)
    features = np.random.default_rng(0).integers(0, 2, (16, 784))
    size = abs(circuit.forward(circuit.initial_weights(dtype="float32"), features))
    assert size.dtype == "float32"
    assert size.min() > 1e-3
    assert size.max() < 1e3


@pytest.mark.few_on_jax("shared", "CP")
@pytest.mark.parametrize(
    "circuit",
    [
        Circuit.deep((28, 28), 2, 8, ragged=True),
        Circuit.deep((28, 28), 2, 3, ragged=True, shared=True),
        Circuit.deep(784, 3, 4, window=7, ragged=True),
        Circuit.shallow((28, 28), 2, 8),
    ],
    ids=["plane", "shared", "windows of 7", "CP"],
)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_logarithms_shift_with_the_scale_of_the_weights(circuit: Circuit, scale: float, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    weights = circuit.initial_weights(seed=0, dtype="float32")
    features = np.random.default_rng(0).integers(0, 2, (4, 784))
    run = backend.jit(lambda w, f: circuit.forward(w, f, True))
    sign, logs = circuit.forward([w.astype("float64") for w in weights], features, log=True)
    found = run([backend.asarray(np.float32(scale) * w) for w in weights], backend.asarray(features))
    matrices = sum(len(row) for row in circuit.nodes[:-1]) + 1
    shift = matrices * np.log(scale)
    assert abs(shift) > 5000
    assert np.array_equal(host(found[0]), sign)
    assert backend.dtype_of(found[1]) == "float32"
    # The logarithms themselves are rounded, and those of some hundred products add up.
    assert np.allclose(host(found[1]), logs + shift, rtol=2e-6, atol=0)


def test_logarithms_of_a_cp_with_dead_components() -> None:
    """Components that are zero somewhere have no size, and must not hide the small ones."""
    circuit = Circuit.shallow(784, 2, 3, dense=False)
    weights = np.full((784, 2, 3), 1e-3, np.float32)
    weights[:, :, 1] = 0
    weights[5, :, 2], weights[:5, :, 2], weights[6:, :, 2] = 0, 1e3, 1e3
    features = np.zeros((2, 784), int)
    sign, logs = circuit.forward([weights], features, log=True)
    assert np.array_equal(sign, [1, 1])
    assert np.allclose(logs, 784 * np.log(1e-3), rtol=1e-6)
    weights[0, :, 0] = 0
    sign, logs = circuit.forward([weights], features, log=True)
    assert np.array_equal(sign, [0, 0])
    assert np.array_equal(logs, [-np.inf, -np.inf])


def test_derivatives_stay_finite_at_order_784(images: np.ndarray[Any, Any]) -> None:
    torch = pytest.importorskip("torch")
    features = torch.tensor(images.reshape(len(images), -1) > 0.5).long()
    for circuit in (Circuit.deep((28, 28), 2, 8, ragged=True, shared=True), Circuit.shallow((28, 28), 2, 8)):
        for scale in (1e-3, 1.0, 1e3):
            weights = [scale * w for w in circuit.initial_weights(backend="torch", dtype="float32")]
            weights[0][..., 0, 0] = 0
            weights = [w.requires_grad_() for w in weights]
            circuit.forward(weights, features, log=True)[1].sum().backward()
            assert all(w.grad.isfinite().all() for w in weights)


@given(circuits(), st.integers(0, 3))
def test_shapes_padding_and_seeds(circuit: Circuit, seed: int) -> None:
    weights = circuit.initial_weights(seed=seed)
    assert [w.shape for w in weights] == list(circuit.shapes)
    assert circuit.parameter_count == sum(w.size for w in weights)
    for w, sizes in zip(weights, circuit.padding, strict=True):
        assert w.any()
        for matrix, rows, columns in zip(w, *(sizes or ((), ())), strict=False):
            assert not matrix[rows:].any()
            assert not matrix[:, columns:].any()
    again, other = circuit.initial_weights(seed=seed), circuit.initial_weights(seed=seed + 1)
    assert all(np.array_equal(a, b) for a, b in zip(weights, again, strict=True))
    assert not np.array_equal(weights[0], other[0])
    still = circuit.initial_weights(seed=seed, std=0.0)
    columns = still[0][still[0] != 0]
    assert np.array_equal(columns, np.ones_like(columns))
    for w in weights[1:]:
        sums = w.sum(axis=-2)
        assert np.allclose(sums[abs(sums) > 1e-9], 1, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_weights_on_every_backend(dtype: str, backend_name: str) -> None:
    circuit = Circuit.deep((3, 3), (1, 2, 3) * 3, 4, ragged=True, classes=2)
    here = circuit.initial_weights(seed=3, dtype=dtype)
    there = circuit.initial_weights(seed=3, backend=backend_name, dtype=dtype)
    assert all(tnrank.backend_of(w).dtype_of(w) == dtype for w in there)
    assert all(np.array_equal(a, host(b)) for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize(
    ("dtype", "eps"), [("float16", 2**-11), ("bfloat16", 2**-8), ("complex64", 2**-24), ("complex128", 0)]
)
def test_other_dtypes(dtype: str, eps: float) -> None:
    torch = pytest.importorskip("torch")
    circuit = Circuit.deep((4, 4), 2, 3)
    weights = circuit.initial_weights(backend="torch", dtype=dtype)
    for found, exact in zip(weights, circuit.initial_weights(dtype="float64"), strict=True):
        assert found.dtype is getattr(torch, dtype)
        assert (abs(found.to(torch.complex128).numpy() - exact) <= 1.01 * eps * abs(exact)).all()


def test_wrong_std() -> None:
    circuit = Circuit.deep(4, 2)
    for std in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="std is a standard deviation and at least 0"):
            circuit.initial_weights(std=std)
