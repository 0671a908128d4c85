"""Norms have subgradient 0 at zero, as ``torch.linalg.norm`` has, and components that are not zero keep theirs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import tnrank
from tnrank.factorizations import NetworkFactorization, sum_of

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")

RING = tnrank.Network({"A": "aib", "B": "bjc", "C": "cka"}, output="ijk")
MAKE: dict[str, Any] = {
    "cp": lambda: tnrank.CPFactorization.random((3, 4, 5), rank=3, weighted=True),
    "cp by inner products": lambda: tnrank.CPFactorization.random((20, 20, 20), rank=2),
    "matrix": lambda: tnrank.MatrixFactorization.random((3, 4), depth=2),
    "hierarchical": lambda: tnrank.HierarchicalFactorization.random((3,) * 3, width=2),
    "train": lambda: tnrank.TensorTrain.random((3, 4, 5), rank=2),
    "operator": lambda: tnrank.TensorTrainOperator.random((3, 2), (2, 3), rank=2),
    "tucker": lambda: tnrank.Tucker.random((3, 4, 5), rank=2),
    "hierarchical tucker": lambda: tnrank.HierarchicalTucker.random((3,) * 4, rank=2),
    "network": lambda: NetworkFactorization.random(RING, {"i": 3, "j": 4, "k": 5, "a": 2, "b": 2, "c": 2}),
    "sum": lambda: sum_of(
        [tnrank.CPFactorization.random((3, 4, 5), rank=3), tnrank.TensorTrain.random((3, 4, 5), rank=2)]
    ),
}


def total(norms: Any) -> Any:
    return sum(part.sum() for part in norms.values()) if isinstance(norms, dict) else norms.sum()


FUNCTIONS: dict[str, Any] = {
    "norm": lambda x: x.norm(),
    "component_norms": lambda x: total(x.component_norms()),
    "log_norm": lambda x: x.log_norm(),
}


def dying(arrays: list[np.ndarray], how: str) -> list[np.ndarray]:
    """All arrays zero, the first, or the last slice of the first, as of a component that is dead."""
    made = [np.array(a) for a in arrays]
    if how == "all":
        return [0 * a for a in made]
    made[0][... if how == "first" else (..., -1)] = 0
    return made


@cache
def program(fn: Any, tree: Any) -> Any:
    """The gradients by JAX over a batch, compiled once for all arrays."""
    return jax.jit(jax.vmap(jax.grad(lambda leaves: fn(jax.tree.unflatten(tree, leaves)))))


def gradients(fn: Any, x: Any, arrays: list[np.ndarray]) -> list[list[np.ndarray]]:
    """By JAX (twice over a batch) and by PyTorch."""
    batched = program(fn, jax.tree.structure(x.to("jax")))([np.stack([a, a]) for a in arrays])
    for leaf in batched:
        np.testing.assert_array_equal(leaf[0], leaf[1])
    spec = torch.utils._pytree.tree_flatten(x.to("torch"))[1]
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    fn(torch.utils._pytree.tree_unflatten(leaves, spec)).backward()
    by_torch = [np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for leaf in leaves]
    return [[np.asarray(leaf)[0] for leaf in batched], by_torch]


# One program for JAX each: most of them compile with the slow tests.
SOME = [kind if kind in ("cp", "matrix") else pytest.param(kind, marks=pytest.mark.slow) for kind in MAKE]


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("how", ["all", "first", "slice"])
def test_zero_has_the_subgradient_zero(kind: str, how: str) -> None:
    x = MAKE[kind]()
    arrays = dying([np.asarray(leaf) for leaf in jax.tree.leaves(x.to("jax"))], how)
    for name, fn in FUNCTIONS.items():
        if (kind == "sum" and name == "component_norms") or (name == "log_norm" and not hasattr(x, name)):
            continue
        for found in gradients(fn, x, arrays):
            assert all(np.isfinite(g).all() for g in found), (name, how)
            if how == "all" or (how == "first" and kind != "sum" and name == "norm"):
                assert all((g == 0).all() for g in found), (name, how)


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("how", ["none", "slice"])
def test_gradients_elsewhere_are_those_of_the_dense_norm(kind: str, how: str) -> None:
    x = MAKE[kind]()
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(x.to("jax"))]
    arrays = dying(arrays, how) if how == "slice" else arrays
    tree = jax.tree.structure(x.to("jax"))
    wanted = jax.grad(lambda leaves: jax.numpy.sqrt((jax.tree.unflatten(tree, leaves).to_dense() ** 2).sum()))(arrays)
    for found in gradients(FUNCTIONS["norm"], x, arrays):
        for g, w in zip(found, wanted, strict=True):
            np.testing.assert_allclose(g, w, atol=1e-10 * float(abs(w).max() or 1))


def test_dead_components_leave_the_others_alone() -> None:
    """The gradient of the product of norms ``||u|| ||v||`` is ``u ||v|| / ||u||``."""
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((3, 2)), rng.standard_normal((4, 2))
    u[:, 1] = 0
    x = tnrank.CPFactorization([u, v])
    wanted = np.zeros_like(u)
    wanted[:, 0] = u[:, 0] * np.linalg.norm(v[:, 0]) / np.linalg.norm(u[:, 0])
    for found in gradients(FUNCTIONS["component_norms"], x, [u, v]):
        np.testing.assert_allclose(found[0], wanted, rtol=1e-12)
        assert (found[1][:, 1] == 0).all()


def test_complex_norms_at_zero() -> None:
    x = tnrank.CPFactorization.random((3, 4), rank=2, dtype="complex128")
    arrays = [np.zeros_like(a) for a in x._values]
    for found in gradients(FUNCTIONS["norm"], x, arrays):
        assert all((g == 0).all() for g in found)
