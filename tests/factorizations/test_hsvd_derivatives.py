"""Hierarchical singular values under the transformations of JAX and torch: derivatives, compilation, batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank import DimensionTree, HierarchicalTucker


def host(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(tnrank.backend_of(x).to_numpy(x))


def spectral_function(x: HierarchicalTucker, method: str, relative: bool) -> Any:
    """A sum over all nodes in which every value has its own weight."""
    xp = x.backend.xp
    total = 0.0
    for number, (node, values) in enumerate(x.singular_values(method, relative).items()):
        weights = np.cos(number + np.arange(values.shape[0]) + len(node.modes))
        total = total + xp.sum(x.backend.asarray(weights, "float64") * values**2 / (1 + values))
    return total


def gradient_of(x: HierarchicalTucker, fn: Any) -> list[np.ndarray[Any, Any]]:
    both = x.backend.jit(x.backend.value_and_grad(lambda arrays: fn(x.replace(list(arrays)))))
    _, gradients = both(tuple(x._values))
    return [host(g) for g in gradients]


@pytest.mark.parametrize("method", ["qr", "gram"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("backend_name", ["jax", "torch"])
def test_derivatives_are_finite_differences(method: str, relative: bool, backend_name: str) -> None:
    pytest.importorskip(backend_name)
    tree = DimensionTree((((0, 2), 1), (3, 4)))
    plain = HierarchicalTucker.random((3, 4, 3, 2, 3), tree, 2, seed=0)
    x = plain.to(backend_name)
    gradients = gradient_of(x, lambda y: spectral_function(y, method, relative))
    rng = np.random.default_rng(1)
    directions = [rng.standard_normal(a.shape) for a in plain._values]
    step = 1e-6
    ends = [
        float(
            spectral_function(
                plain.replace([a + t * d for a, d in zip(plain._values, directions, strict=True)]), "qr", relative
            )
        )
        for t in (step, -step)
    ]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    assert np.isclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("backend_name", ["jax", "torch"])
@pytest.mark.parametrize("kind", ["sum", "wide", "zero"])
def test_derivatives_stay_finite_without_full_rank(kind: str, backend_name: str) -> None:
    pytest.importorskip(backend_name)
    x = HierarchicalTucker.random((2, 3, 2, 3), None, 2, seed=0, backend=backend_name, dtype="float64")
    if kind == "sum":
        x = x + x  # linearly dependent columns, and zeros among the values
    elif kind == "wide":
        x = HierarchicalTucker.random((2, 3, 2, 3), None, 5, seed=0, backend=backend_name, dtype="float64")
    else:
        x = x * 0.0
    gradients = gradient_of(x, lambda y: sum(y.backend.xp.sum(s) for s in y.singular_values().values()))
    assert all(np.isfinite(g).all() for g in gradients)
    if kind == "zero":
        return
    # The nuclear norm at all nodes grows in proportion with the root.
    root = host(x.nodes[x.tree.root])
    total = sum(float(host(s).sum()) for s in x.singular_values().values())
    assert np.isclose((gradients[-1] * root).sum(), total, rtol=1e-10)


def test_the_whole_measurement_is_compiled_on_jax() -> None:
    jax = pytest.importorskip("jax")
    x = HierarchicalTucker.random((4,) * 4, rank=3, seed=0)
    cancelling = HierarchicalTucker.random((4,) * 4, rank=1, seed=1) * 1e-2
    pair = x, (x - (x + cancelling))
    for method in ("qr", "gram"):
        measured = jax.jit(lambda y, m=method: y.singular_values(m, relative=True))
        for y in pair if method == "qr" else pair[1:]:  # each shape is compiled
            found, expected = measured(y.to("jax")), y.singular_values(method, relative=True)
            for node, values in expected.items():
                assert np.allclose(host(found[node]), values, rtol=0, atol=2e-7)


def test_a_batch_of_tensors_on_torch() -> None:
    torch = pytest.importorskip("torch")
    tensors = [HierarchicalTucker.random((3,) * 4, rank=2, seed=seed) for seed in range(3)]
    stacked = tuple(torch.stack([torch.as_tensor(x._values[k]) for x in tensors]) for k in range(7))
    for method in ("qr", "gram"):

        def measured(*arrays: Any, method: str = method) -> Any:
            return tuple(tensors[0].to("torch").replace(list(arrays)).singular_values(method).values())

        found = torch.func.vmap(measured)(*stacked)
        for k, x in enumerate(tensors):
            for got, expected in zip(found, x.singular_values(method).values(), strict=True):
                assert np.allclose(got[k].numpy(), expected, rtol=0, atol=1e-6)


NORMED: dict[str, Any] = {
    "train": lambda: tnrank.TensorTrain.random((3, 4, 3), rank=2, seed=1),
    "operator": lambda: tnrank.TensorTrainOperator.random((3, 2), (2, 2), rank=2, seed=1),
    "tucker": lambda: tnrank.Tucker.random((3, 2, 3), rank=2, seed=1),
    "hierarchical tucker": lambda: HierarchicalTucker.random((2, 3, 2, 3), rank=2, seed=1),
    "complex": lambda: tnrank.TensorTrain.random((3, 2, 3), rank=2, seed=1, dtype="complex128"),
    "terms that cancel": lambda: (
        tnrank.TensorTrain.random((3, 4, 3), rank=2, seed=1)
        - (1 + 1e-4) * tnrank.TensorTrain.random((3, 4, 3), rank=2, seed=1)
        + 1e-5 * tnrank.TensorTrain.random((3, 4, 3), rank=1, seed=2)
    ),
}


@pytest.mark.parametrize("kind", NORMED)
@pytest.mark.parametrize("fn", ["norm", "log_norm"])
def test_second_derivatives_of_norms_are_those_of_the_dense_tensor(kind: str, fn: str) -> None:
    torch = pytest.importorskip("torch")
    x = NORMED[kind]().to("torch")
    arrays = [torch.as_tensor(a) for a in x._values]
    draws = [np.random.default_rng(k).standard_normal((2, *a.shape)) for k, a in enumerate(arrays)]
    directions = [torch.as_tensor(d[0] + 1j * d[1] if kind == "complex" else d[0]) for d in draws]

    def dense(*arrays: Any) -> Any:
        size = torch.linalg.vector_norm(x.replace(list(arrays)).to_dense())
        return size if fn == "norm" else torch.log(size)

    def slope(function: Any) -> Any:
        """The Hessian times the directions."""
        every = tuple(range(len(arrays)))
        gradient = torch.func.grad(function, every)

        def along(*arrays: Any) -> Any:
            return sum((g.conj() * d).sum().real for g, d in zip(gradient(*arrays), directions, strict=True))

        return torch.func.grad(along, every)

    found = slope(lambda *arrays: getattr(x.replace(list(arrays)), fn)())(*arrays)
    expected = slope(dense)(*arrays)
    for got, right in zip(found, expected, strict=True):
        assert np.allclose(host(got), host(right), rtol=0, atol=1e-10 * float(abs(right).max()))


@pytest.mark.slow
def test_second_derivatives_of_norms_on_jax() -> None:
    jax = pytest.importorskip("jax")
    x = NORMED["train"]().to("jax")

    def hessian(fn: Any) -> Any:
        return jax.hessian(lambda arrays: fn(x.replace(arrays)))(list(x._values))

    for fn in ("norm", "log_norm"):
        found = hessian(lambda y, fn=fn: getattr(y, fn)())
        dense = (
            (lambda y: (y.to_dense() ** 2).sum() ** 0.5)
            if fn == "norm"
            else (lambda y: jax.numpy.log((y.to_dense() ** 2).sum()) / 2)
        )
        for got, right in zip(jax.tree.leaves(found), jax.tree.leaves(hessian(dense)), strict=True):
            assert np.allclose(host(got), host(right), rtol=0, atol=1e-10 * float(abs(right).max()))
