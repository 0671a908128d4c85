"""The dynamics law against automatic differentiation, at every index of every kind of network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given

import tnrank
from tnrank.theory import inner_indices, local_components, predicted_rate

torch = pytest.importorskip("torch")
from tests.theory.flows import (  # noqa: E402
    TREES,
    Flow,
    balance,
    close,
    component_norms,
    factorizations,
    hierarchy,
    networks_with_index,
)

CASES = factorizations()
cases = pytest.mark.parametrize("x", CASES.values(), ids=CASES)


def holds_at(network, arrays, index, balanced, sign=1):
    flow = Flow(network, arrays, sign=sign)
    norms, wanted = flow.derivative(lambda a: component_norms(network, a, index))
    rates = predicted_rate(network, arrays, index, flow.gradient)
    close(rates.norms, norms, 1e-12)
    close(rates.exact, wanted, 1e-9)
    if balanced:
        close(rates.balanced, wanted, 1e-9)
    # Where the bounds meet the rate they differ from it by rounding.
    slack = 1e-10 * max(abs(wanted).max(), 1e-30)
    assert (rates.lower <= wanted + slack).all()
    assert (wanted <= rates.upper + slack).all()
    return rates


@cases
def test_exact_rate_at_unbalanced_points(x):
    signs = set()
    for index in inner_indices(x):
        for sign in (1, -1):  # both signs of the projection, so both forms of the bounds
            rates = holds_at(x.network, x.arrays, index, balanced=False, sign=sign)
            signs |= set(np.sign(rates.projection))
        assert rates.order == len(x.network.holders(index))
        assert (rates.unbalancedness > 1e-3).any()
    assert signs == {-1.0, 1.0}


@cases
def test_balanced_rate_at_balanced_points(x):
    for index in inner_indices(x):
        holds_at(x.network, balance(x.network, x.arrays, index), index, balanced=True)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_every_node_of_a_jointly_balanced_hierarchy(tree):
    x = hierarchy(tree, seed=7).balance()
    for node in x.tree.interior:
        name = next(n for n, a in x.arrays.items() if a is x.matrices[node])
        index = x.network.tensors[name][0]
        rates = holds_at(x.network, x.arrays, index, balanced=True)
        assert rates.order == len(x.tree.children(node)) + 1
        close(rates.norms, x.component_norms()[node], 1e-13)
        assert rates.unbalancedness.max() < 1e-12 * rates.norms.max()


def test_trees_cover_the_orders():
    trees = [tnrank.DimensionTree(tree) for tree in TREES.values()]
    assert {len(tree.children(node)) + 1 for tree in trees for node in tree.interior} == {2, 3, 4, 5}
    assert {x.ndim for x in CASES.values()} == set(range(2, 10))


@given(networks_with_index())
def test_any_index_of_any_network(given):
    network, arrays, index = given
    holds_at(network, arrays, index, balanced=False)
    balanced = balance(network, arrays, index)
    holds_at(network, balanced, index, balanced=True)


@given(networks_with_index())
def test_sparse_gradients_are_dense_ones(given):
    network, arrays, index = given
    assume(network.output)
    shape = tnrank.contract(network, arrays).shape
    generator = np.random.default_rng(0)
    indices = generator.integers(0, shape, (3 * len(shape), len(shape)))
    values = generator.standard_normal(len(indices))
    dense = np.zeros(shape)
    np.add.at(dense, tuple(indices.T), values)
    got = predicted_rate(network, arrays, index, (indices, values))
    wanted = predicted_rate(network, arrays, index, dense)
    np.testing.assert_allclose(got.projection, wanted.projection, rtol=0, atol=1e-12 * abs(values).sum())


@pytest.mark.parametrize("opened", [False, True])
def test_sparse_gradient_by_rows(opened):
    """Order 9: one row an entry is cheaper than the whole tensor, also where the index is open."""
    x = tnrank.CPFactorization.random((6,) * 9, rank=3, seed=0)
    index = "i2" if opened else "r"
    generator = np.random.default_rng(1)
    indices, values = generator.integers(0, 6, (20, 9)), generator.standard_normal(20)
    got = predicted_rate(x, index, (indices, values)).projection
    unit = [a / np.linalg.norm(a, axis=1 if opened and n == 2 else 0, keepdims=True) for n, a in enumerate(x.factors)]
    if opened:
        unit = [a if n == 2 else f for n, (a, f) in enumerate(zip(unit, x.factors, strict=True))]
    terms = np.prod([a[indices[:, n]] for n, a in enumerate(unit)], axis=0)  # (M, R)
    if opened:
        wanted = -np.bincount(indices[:, 2], terms.sum(1) * values, minlength=6)
    else:
        wanted = -(terms * values[:, None]).sum(0)
    close(got, wanted, 1e-12)


def test_an_open_index_and_a_diagonal():
    network = tnrank.Network({"A": "eei", "B": "ej", "C": "ij"}, output="je")
    generator = np.random.default_rng(0)
    arrays = {"A": generator.standard_normal((3, 3, 2)), "B": generator.standard_normal((3, 4))}
    arrays["C"] = generator.standard_normal((2, 4))
    flow = Flow(network, arrays)

    def norms(a):
        return torch.sqrt((torch.einsum("eei->ei", a["A"]) ** 2).sum(1)) * torch.sqrt((a["B"] ** 2).sum(1))

    values, wanted = flow.derivative(norms)
    rates = predicted_rate(network, arrays, "e", flow.gradient)
    close(rates.norms, values, 1e-12)
    close(rates.exact, wanted, 1e-10)


def test_a_zero_component_does_not_move():
    factors = [np.random.default_rng(k).standard_normal((3, 2)) for k in range(3)]
    for factor in factors:
        factor[:, 1] = 0
    rates = predicted_rate(tnrank.CPFactorization(factors), "r", np.ones((3, 3, 3)))
    for value in (rates.projection, rates.exact, rates.balanced, rates.lower, rates.upper):
        assert value[1] == 0
        assert value[0] != 0


def test_tiny_weights_keep_their_norms():
    x = tnrank.CPFactorization([np.full((4, 1), 1e-170), np.full((4, 1), 1e-120), np.full((4, 1), 1e160)])
    np.testing.assert_allclose(local_components(x, "r").norms, [8e-130], rtol=1e-14)


def test_weighted_cp_is_the_star_tree():
    cp = tnrank.CPFactorization.random((3, 2, 4), rank=5, weighted=True, seed=1)
    tree = tnrank.DimensionTree.star(3)
    leaves = {(n,): f for n, f in enumerate(cp.factors)}
    star = tnrank.HierarchicalFactorization(tree, {**leaves, (0, 1, 2): cp.weights[:, None]})
    gradient = np.random.default_rng(0).standard_normal((3, 2, 4))
    one, other = predicted_rate(cp, "r", gradient), predicted_rate(star, inner_indices(star)[0], gradient)
    assert one.order == other.order == 4
    for name in ("norms", "projection", "exact", "balanced", "lower", "upper", "unbalancedness"):
        close(getattr(one, name), getattr(other, name), 1e-14)


def test_deep_matrix_factorization_is_the_unary_chain():
    x = tnrank.MatrixFactorization.random((4, 3), depth=4, seed=2)
    first, *middle, last = x.layers
    tree = tnrank.DimensionTree((((0,),), 1))
    chain, nodes = {}, tree.nodes
    unary = sorted((n for n in nodes if n.modes == (0,) and n.height), key=lambda n: n.height)
    assert len(unary) == 2
    chain[next(n for n in nodes if n.modes == (0,) and not n.height)] = first
    chain |= dict(zip(unary, middle, strict=True))
    chain[next(n for n in nodes if n.modes == (1,))] = last.T.copy()
    chain[tree.root] = np.ones((last.shape[0], 1))
    other = tnrank.HierarchicalFactorization(tree, chain)
    np.testing.assert_allclose(other.to_dense(), x.to_dense(), atol=1e-12)
    gradient = np.random.default_rng(0).standard_normal((4, 3))
    bonds = [i for i in inner_indices(other) if len(other.network.holders(i)) == 2]
    assert len(bonds) == 2
    for bond, label in zip(["h1", "h2"], bonds, strict=True):
        one, two = predicted_rate(x, bond, gradient), predicted_rate(other, label, gradient)
        assert one.order == two.order == 2
        for name in ("norms", "projection", "exact", "balanced", "lower", "upper"):
            close(getattr(one, name), getattr(two, name), 1e-12)
    # At the root the fixed weights of 1 are a third vector of the component, which changes neither norm nor direction.
    one, two = predicted_rate(x, "h3", gradient), predicted_rate(other, "r{0,1}", gradient)
    close(one.norms, two.norms, 1e-12)
    close(one.projection, two.projection, 1e-12)


@pytest.mark.parametrize("sparse", [False, True])
def test_backends_agree(backend_name, sparse):
    backend = tnrank.get_backend(backend_name)
    x = hierarchy(TREES["binary 4"])
    generator = np.random.default_rng(0)
    indices, values = generator.integers(0, 2, (6, 4)), generator.standard_normal(6)
    given = (indices, values) if sparse else generator.standard_normal((2,) * 4)
    moved = (indices, backend.asarray(values, "float64")) if sparse else backend.asarray(given, "float64")
    wanted = predicted_rate(x, "r{0,1}", given)
    got = predicted_rate(x.to(backend_name), "r{0,1}", moved)
    for name in ("norms", "projection", "exact", "balanced", "lower", "upper", "unbalancedness"):
        close(backend.to_numpy(getattr(got, name)), getattr(wanted, name), 1e-13)


def test_compiles_on_jax():
    jax = pytest.importorskip("jax")
    x = tnrank.CPFactorization.random((3, 3, 3), rank=4, seed=0, backend="jax", dtype="float64")
    indices = np.random.default_rng(0).integers(0, 3, (5, 3))

    def rate(x, values):
        return predicted_rate(x, "r", (indices, values)).exact

    values = jax.numpy.arange(5.0)
    close(jax.jit(rate)(x, values), rate(x.to("numpy"), np.arange(5.0)), 1e-13)
