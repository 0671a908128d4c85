"""Representation functions against their formulas, and patches against loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tests.circuits.strategies import host
from tnrank.circuits import Affine, Circuit, CosSin, Embedding, Gaussian, OneHot, Representation, patches


def formula(layer: Representation, arrays: dict[str, Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Function by function and patch by patch."""
    found = np.zeros((*x.shape[:2], layer.features))
    for b, n in np.ndindex(*x.shape[:2]):
        for d in range(layer.features):
            if isinstance(layer, CosSin):
                found[b, n, d] = (np.cos, np.sin)[d](np.pi / 2 * x[b, n, 0])
            elif isinstance(layer, Affine):
                found[b, n, d] = max(0.0, arrays["kernel"][:, d] @ x[b, n] + arrays["bias"][d])
            elif isinstance(layer, Gaussian):
                away = np.linalg.norm(x[b, n] - arrays["centers"][d]) / np.exp(arrays["log_width"][d])
                found[b, n, d] = np.exp(-(away**2) / 2)
            else:
                found[b, n, d] = arrays["table"][x[b, n], d]
    return found


LAYERS = [CosSin(), Affine(3), Affine(5, patch=4), Gaussian(4), Gaussian(3, patch=4), Gaussian(1), Embedding(3, 6)]


def inputs_for(layer: Representation, batch: int = 2, count: int = 5) -> np.ndarray[Any, Any]:
    if isinstance(layer, (OneHot, Embedding)):
        return np.random.default_rng(0).integers(0, getattr(layer, "values", layer.features), (batch, count))
    return np.random.default_rng(0).uniform(-1, 2, (batch, count, getattr(layer, "patch", 1)))


@pytest.mark.few_on_jax("float64", "float32-CosSin")
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_are_those_of_the_formula(layer: Representation, dtype: str, backend_name: str) -> None:
    backend = tnrank.get_backend(backend_name)
    arrays = layer.initial(seed=3, backend=backend_name, dtype=dtype)
    assert {name: tuple(a.shape) for name, a in arrays.items()} == layer.shapes
    # Anything but the initial values, whose biases are all alike.
    arrays = {
        name: backend.asarray(host(a) + 0.1 * np.random.default_rng(len(name)).standard_normal(a.shape), dtype)
        for name, a in arrays.items()
    }
    x = inputs_for(layer)
    x = x if x.dtype.kind == "i" else x.astype(dtype)
    found = backend.jit(layer)(arrays, backend.asarray(x))
    assert tuple(found.shape) == (2, 5, layer.features)
    assert tnrank.backend_of(found) is backend
    assert backend.dtype_of(found) == dtype
    wanted = formula(layer, {name: host(a).astype(float) for name, a in arrays.items()}, x)
    assert np.allclose(host(found), wanted, rtol=0, atol=1e-14 if dtype == "float64" else 1e-6)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_initial_values_follow_the_seed_on_every_backend(layer: Representation, backend_name: str) -> None:
    here, there = layer.initial(seed=5), layer.initial(seed=5, backend=backend_name, dtype="float64")
    assert set(here) == set(there) == set(layer.shapes)
    assert all(np.array_equal(here[name], host(there[name])) for name in here)


def test_one_hot_looks_nothing_up(backend_name: str) -> None:
    x = tnrank.get_backend(backend_name).asarray(np.array([[0, 2, 1]]))
    assert OneHot(3)({}, x) is x


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64", "bool"])
def test_embedding_of_any_whole_numbers(kind: str, backend_name: str) -> None:
    backend, layer = tnrank.get_backend(backend_name), Embedding(2, values=2)
    arrays = layer.initial(backend=backend_name, dtype="float64")
    x = np.array([[0, 1, 1]])
    assert np.array_equal(host(layer(arrays, backend.asarray(x.astype(kind)))), host(arrays["table"])[x])


@pytest.mark.parametrize(
    "layer", [*LAYERS, OneHot(4), Gaussian(2), Gaussian(9), Affine(1), Affine(20, patch=9)], ids=repr
)
def test_ones_gives_one_for_typical_patches(layer: Representation) -> None:
    """Exactly where the functions can, and for the darkest patch always: most of an image is background."""
    ones = layer.ones()
    assert ones.shape == (layer.features,)
    if isinstance(layer, (OneHot, Embedding)):
        x = np.arange(getattr(layer, "values", layer.features))[None]
    elif isinstance(layer, CosSin):
        x = np.array([[[0.0], [1.0]]])
    else:
        x = np.random.default_rng(0).uniform(size=(1, 200, layer.patch))  # type: ignore[attr-defined]  # Affine and Gaussian have it
        x[0, 0] = 0
    features = layer(layer.initial(seed=7), x)[0]
    values = np.eye(layer.features)[features] @ ones if isinstance(layer, OneHot) else features @ ones
    if not isinstance(layer, Gaussian):
        assert np.allclose(values, 1, rtol=0, atol=1e-12)
    elif layer.features > 1:
        assert abs(values[0] - 1) < 1e-9
        # Three templates leave much of four dimensions empty; of 40 samples the mean error was 0.29 to 0.35.
        assert abs(values - 1).mean() < (0.2 if layer.patch == 1 else 0.4)


@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 3, 6, 4)])
@pytest.mark.parametrize("size", [1, 2])
def test_patches_are_those_of_a_loop(shape: tuple[int, ...], size: int, backend_name: str) -> None:
    images = np.random.default_rng(0).standard_normal(shape)
    four = images.reshape(shape[0], -1, *shape[-2:])
    rows, columns = shape[-2] // size, shape[-1] // size
    wanted = np.zeros((shape[0], rows * columns, four.shape[1] * size * size))
    for r, c in np.ndindex(rows, columns):
        block = four[:, :, r * size : (r + 1) * size, c * size : (c + 1) * size]
        wanted[:, r * columns + c] = block.reshape(shape[0], -1)
    assert np.array_equal(host(patches(tnrank.get_backend(backend_name).asarray(images), size)), wanted)


def test_represented_images_go_through_a_circuit(backend_name: str) -> None:
    backend, layer = tnrank.get_backend(backend_name), Gaussian(3, patch=4)
    circuit = Circuit.deep((2, 4), representation=layer, channels=3)
    arrays = layer.initial(backend=backend_name, dtype="float64")
    images = backend.asarray(np.random.default_rng(0).uniform(size=(2, 4, 8)))
    features = backend.jit(lambda a, x: circuit.represent(a, patches(x, 2)))(arrays, images)
    assert tuple(features.shape) == (2, 8, 3)
    weights = circuit.initial_weights(backend=backend_name, dtype="float64")
    assert np.isfinite(host(backend.jit(circuit.forward)(weights, features))).all()
    with pytest.raises(ValueError, match=r"got inputs of shape \(2, 4, 8\), needed \(batch, 8, \.\.\).*patches"):
        circuit.represent(arrays, images)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: OneHot(0), ValueError, "got 0 representation functions, needed at least 1"),
        (lambda: CosSin(3), ValueError, "a cosine and a sine are 2"),
        (lambda: Embedding(2, values=0), ValueError, "got values=0, needed at least 1"),
        (lambda: Affine(2, patch=0), ValueError, "got patch=0, needed at least 1"),
        (lambda: Gaussian(2, patch=-1), ValueError, "got patch=-1, needed at least 1"),
        (lambda: OneHot(3)({}, np.zeros((2, 4))), ValueError, r"whole numbers below 3 of shape \(batch, N\)"),
        (lambda: Embedding(2, 5)({"table": np.ones((5, 2))}, np.zeros((2, 4))), ValueError, "whole numbers below 5"),
        (lambda: CosSin()({}, np.zeros((2, 4))), ValueError, r"needed real numbers of shape \(batch, N, 1\)"),
        (lambda: CosSin()({}, np.zeros((2, 4, 1), int)), ValueError, r"got int64 inputs"),
        (lambda: Gaussian(2, 4)({}, np.zeros((2, 4, 3))), ValueError, r"\(batch, N, 4\): tnrank.circuits.patches"),
        (lambda: patches(np.zeros((4, 4))), ValueError, r"needed \(batch, H, W\)"),
        (lambda: patches(np.zeros((1, 4, 6)), 4), ValueError, "patches of 4 x 4 do not divide images of 4 x 6"),
        (lambda: patches(np.zeros((1, 4, 6)), 0), ValueError, "patches of 0 x 0"),
        (lambda: Circuit((4,), 3, Circuit.deep(4, 3).levels, representation=OneHot(2)), ValueError, "got features=3"),
        (lambda: Circuit.deep(4), ValueError, "needed features=.* or representation="),
    ],
)
def test_wrong_calls(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("bad", [-1, 5, 2**40])
def test_embedding_of_a_number_out_of_range(bad: int, backend_name: str) -> None:
    """JAX cannot raise on values, and gives NaN; NumPy would take -1 for the last."""
    backend, layer = tnrank.get_backend(backend_name), Embedding(2, values=5)
    arrays, x = layer.initial(backend=backend_name), backend.asarray(np.array([[0, 4], [bad, 1]]))
    if backend_name == "jax":
        found = host(layer(arrays, x))
        assert np.isnan(found[1, 0]).all()
        assert np.isfinite(found[0]).all()
    else:
        with pytest.raises(IndexError, match=f"got {bad} at patch 0 of input 1, needed a number from 0 to 4"):
            layer(arrays, x)


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_inputs_of_another_backend(name: str) -> None:
    pytest.importorskip(name)
    arrays = Embedding(2, 5).initial(backend=name)
    with pytest.raises(TypeError, match=r"two backends.*numpy"):
        Embedding(2, 5)(arrays, np.zeros((1, 2), int))
    arrays = Affine(2).initial(backend=name)
    with pytest.raises(TypeError, match=r"two backends.*numpy"):
        Affine(2)(arrays, np.zeros((1, 2, 1)))
