"""Whole factorizations through the transformations of JAX and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tests.factorizations.strategies import dense
from tests.factorizations.test_values import MAKE, kinds


def loss_of(x, target):
    return ((x.to_dense() - target) ** 2).sum()


def gradient_by_differences(x, target, step=1e-6):
    """Central differences of ``loss_of``, one array after the other."""
    found = []
    arrays = [np.asarray(a, np.float64) for a in x.arrays.values()]
    for k, array in enumerate(arrays):
        gradient = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            values = []
            for sign in (1, -1):
                moved = array.copy()
                moved[at] += sign * step
                values.append(float(((dense(x.replace([*arrays[:k], moved, *arrays[k + 1 :]])) - target) ** 2).sum()))
            gradient[at] = (values[0] - values[1]) / (2 * step)
        found.append(gradient)
    return found


@pytest.fixture
def jax():
    return pytest.importorskip("jax")


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@kinds
def test_jax_flattens_to_the_arrays(jax, make):
    x = make(backend="jax")
    leaves, structure = jax.tree.flatten(x)
    assert [a is b for a, b in zip(leaves, x.arrays.values(), strict=True)] == [True] * len(leaves)
    y = jax.tree.unflatten(structure, leaves)
    assert type(y) is type(x)
    assert y.network is x.network
    assert jax.tree.structure(make(backend="jax", seed=5)) == structure
    # placeholders pass: unflattening validates nothing
    jax.tree.map(lambda _: None, x)
    jax.tree.map(lambda _: object(), x)


@kinds
def test_jax_grad(jax, make):
    host = make(seed=1, dtype="float64", std=0.5)
    target = np.random.default_rng(0).standard_normal(host.shape)
    gradient = jax.jit(jax.grad(loss_of))(host.to("jax"), target)
    assert type(gradient) is type(host)
    for got, wanted in zip(gradient.arrays.values(), gradient_by_differences(host, target), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-7)


@kinds
def test_jax_vmap(jax, make):
    several = [make(seed=k, dtype="float64") for k in range(3)]
    leaves = [jax.tree.leaves(x.to("jax")) for x in several]
    stacked = jax.tree.unflatten(jax.tree.structure(several[0].to("jax")), map(np.stack, zip(*leaves, strict=True)))
    # In one program: step by step, each step is compiled.
    got = jax.jit(jax.vmap(lambda x: (x.norm(), x.entries([[1] * x.ndim]))))(stacked)
    np.testing.assert_allclose(got[0], [x.norm() for x in several], rtol=1e-12)
    np.testing.assert_allclose(got[1], [x.entries([[1] * x.ndim]) for x in several], rtol=1e-12)
    scale = jax.jit(jax.vmap(lambda x, s: x.map(lambda a: s * a), in_axes=(None, 0)))
    scaled = scale(several[0].to("jax"), np.asarray([1.0, 2.0]))
    np.testing.assert_allclose(jax.tree.leaves(scaled)[0][1], 2 * np.asarray(leaves[0][0]), rtol=1e-12)


@kinds
def test_jax_compiles_once_for_equal_structure(jax, make):
    traces = []

    @jax.jit
    def fn(x):
        traces.append(repr(x))
        return (
            x.to_dense(),
            x.norm(),
            x.component_norms(),
            x.entries([[0] * x.ndim, [1] * x.ndim]),
            x.inner(x),
        )

    first = make(seed=0, backend="jax")
    fn(first)
    fn(make(seed=1, backend="jax"))
    fn(first.map(lambda a: 2 * a))
    fn(first.replace(first.arrays))
    fn(make(seed=2).to("jax"))
    # built anew from its parts: trees and networks are equal by value, not the same objects
    if isinstance(first, tnrank.HierarchicalFactorization):
        tree = tnrank.DimensionTree(first.tree.nested)
        assert tree is not first.tree
        fn(tnrank.HierarchicalFactorization(tree, first.matrices))
    fn(make(seed=3, backend="jax", balanced=True))
    fn(make(seed=3, backend="jax").balance())
    assert len(traces) == 1
    assert fn._cache_size() == 1
    fn.eval_shape(make(seed=0, backend="jax", dtype="float32"))  # traced, and not compiled
    assert len(traces) == 2


def test_jax_tells_structures_apart(jax):
    traces = []

    @jax.jit
    def fn(x):
        traces.append(1)
        return x.to_dense()

    matrices = [np.random.default_rng(k).standard_normal((2, 2)) for k in range(7)]
    roots = {
        "balanced": tnrank.DimensionTree(((0, 1), (2, 3))),
        "crossed": tnrank.DimensionTree(((0, 2), (1, 3))),
    }
    for tree in roots.values():
        given = dict(zip(tree.nodes, matrices, strict=True))
        given[tree.root] = matrices[6][:, :1]
        x = tnrank.HierarchicalFactorization(tree, given)
        np.testing.assert_allclose(fn(x.to("jax")), dense(x), rtol=1e-12)
    assert len(traces) == 2


def test_jax_scan_carries_a_factorization(jax):
    x = tnrank.CPFactorization.random((3, 3), rank=2, backend="jax", dtype="float64")
    last, norms = jax.lax.scan(lambda y, _: (y.map(lambda a: a / 2), y.norm()), x, None, length=3)
    np.testing.assert_allclose(norms, np.asarray(x.norm()) * np.asarray([1, 1 / 4, 1 / 16]), rtol=1e-12)
    np.testing.assert_allclose(last.to_dense(), x.to_dense() / 64, rtol=1e-12)


def test_optax_over_a_factorization(jax):
    optax = pytest.importorskip("optax")
    x = tnrank.CPFactorization.random((3, 3), rank=2, backend="jax", dtype="float64")
    optimizer = optax.adam(1e-2)
    state = optimizer.init(x)
    updates, state = optimizer.update(jax.grad(loss_of)(x, np.eye(3)), state, x)
    y = optax.apply_updates(x, updates)
    assert loss_of(y, np.eye(3)) < loss_of(x, np.eye(3))


# PyTorch


@kinds
def test_torch_pytree(torch, make):
    from torch.utils import _pytree

    x = make(backend="torch")
    leaves, structure = _pytree.tree_flatten(x)
    assert all(a is b for a, b in zip(leaves, x.arrays.values(), strict=True))
    y = _pytree.tree_unflatten(leaves, structure)
    assert type(y) is type(x)
    assert y.network is x.network


@kinds
def test_torch_grad(torch, make):
    host = make(seed=1, dtype="float64", std=0.5)
    target = np.random.default_rng(0).standard_normal(host.shape)
    gradient = torch.func.grad(loss_of)(host.to("torch"), torch.as_tensor(target))
    assert type(gradient) is type(host)
    wanted = gradient_by_differences(host, target)
    for got, expected in zip(gradient.arrays.values(), wanted, strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6, atol=1e-7)
    x = host.to("torch").map(lambda a: a.requires_grad_())
    loss_of(x, torch.as_tensor(target)).backward()
    for a, expected in zip(x.arrays.values(), wanted, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), expected, rtol=1e-6, atol=1e-7)


@kinds
def test_torch_vmap(torch, make):
    several = [make(seed=k, backend="torch", dtype="float64") for k in range(3)]
    stacked = torch.utils._pytree.tree_map(lambda *a: torch.stack(a), *several)
    got = torch.func.vmap(lambda x: (x.norm(), x.entries([[1] * x.ndim])))(stacked)
    np.testing.assert_allclose(got[0], [x.norm() for x in several], rtol=1e-12)
    np.testing.assert_allclose(got[1], np.stack([x.entries([[1] * x.ndim]).numpy() for x in several]), rtol=1e-12)
    gradients = torch.func.vmap(torch.func.grad(lambda x: x.norm()))(stacked)
    single = torch.func.grad(lambda x: x.norm())(several[1])
    for a, b in zip(gradients.arrays.values(), single.arrays.values(), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-10, atol=1e-12)


@kinds
def test_gradients_pass_through_every_method(torch, make):
    x = make(backend="torch", dtype="float64").map(lambda a: a.requires_grad_())
    norms = x.component_norms()
    total = sum(v.sum() for v in norms.values()) if isinstance(norms, dict) else norms.sum()
    for value in (x.to_dense().sum(), x.entries([[0] * x.ndim]).sum(), x.norm(), x.inner(x), total):
        assert value.requires_grad
    y = x.to(dtype="float32")
    (gradient,) = torch.autograd.grad(y.norm(), [next(iter(x.arrays.values()))])
    assert gradient.dtype == torch.float64


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=() if name == "cp" else pytest.mark.slow)  # seconds each
        for name, make in MAKE.items()
    ],
)
def test_torch_compiles_to_one_graph(torch, make):
    torch._dynamo.reset()
    x, y = make(seed=0, backend="torch"), make(seed=1, backend="torch")
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def fn(x):
        return x.map(lambda a: 2 * a).to_dense(), x.norm(), x.component_norms()

    compiled = torch.compile(fn, fullgraph=True, backend=backend)
    for z in (x, y):
        dense, norm, components = compiled(z)
        wanted = fn(z)
        np.testing.assert_allclose(dense, wanted[0], rtol=1e-6)
        np.testing.assert_allclose(norm, wanted[1], rtol=1e-6)
        pairs = zip(components.values(), wanted[2].values(), strict=True) if isinstance(components, dict) else ()
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-6)
    assert len(graphs) == 1
