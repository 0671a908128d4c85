"""Mappings by node: the laws of a dictionary, read by modes; printing; pytrees."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tnrank
from tnrank import DimensionTree, Node
from tnrank.ranks import ByNode
from tnrank.training import recorders

TREE = DimensionTree(((0, 1), (2, (3,))))
TENSOR = np.random.default_rng(0).standard_normal((2, 3, 2, 2))


def mappings():
    htf = tnrank.HierarchicalFactorization.random((2, 3, 2, 2), width=2)
    ht, tt, tucker = (
        form.from_dense(TENSOR) for form in (tnrank.HierarchicalTucker, tnrank.TensorTrain, tnrank.Tucker)
    )
    cross = tnrank.HierarchicalTucker.from_function(lambda k: k.sum(axis=1) * 1.0, (3, 3, 3, 3))
    run = tnrank.complete(
        htf,
        [[0, 0, 0, 0]],
        [1.0],
        steps=2,
        record=[recorders.ComponentNorms(every=1)],
        optimizer=tnrank.GradientDescent(),
    )
    yield from {
        "rank": tnrank.hierarchical_rank(TENSOR),
        "values": tnrank.hierarchical_singular_values(TENSOR),
        "entropy": tnrank.ranks.entanglement_entropy(TENSOR),
        "report": tnrank.rank_report(TENSOR).hierarchical_rank,
        "matrices": htf.matrices,
        "norms": htf.component_norms(),
        "HT norms": ht.component_norms(),
        "HT ranks": ht.ranks,
        "TT nodes": tt.nodes,
        "TT values": tt.singular_values(relative=True),
        "Tucker nodes": tucker.nodes,
        "truncation": ht.truncate(max_rank=1).singular_values,
        "cross": cross.ranks,
        "tails": tnrank.theory.near_low_rank_bound(htf, 1).tails,
        "recorded": run.history["component_norms"].values,
    }.items()


def test_every_mapping_by_node_is_one_class():
    for name, found in mappings():
        assert type(found) is ByNode, name
        for node in found:
            for key in (node.modes, list(reversed(node.modes)), set(node.modes), np.array(node.modes)):
                assert key in found, (name, key)
                assert found[key] is found[node] is found.get(key), (name, key)
        assert (0, 2) not in found, name
        assert found.get((0, 2), "none") == "none", name


def test_numbers_are_plain_and_print_as_such():
    found = tnrank.hierarchical_rank(np.ones((2, 2)))
    assert repr(found) == str(found) == "ByNode({0}: 1, {1}: 1)"
    assert {type(value) for value in found.values()} == {int}
    assert repr(ByNode({Node((0, 1), 1): np.int64(3)})) == "ByNode({0,1}: 3)"
    spectra = repr(tnrank.hierarchical_singular_values(np.ones((2, 2))))
    assert "modes=" not in spectra
    assert "{0}: [2, " in spectra
    twice = ByNode({Node((0,), 0): 1, Node((0,), 1): 2})
    assert repr(twice) == "ByNode({0} (height 0): 1, {0} (height 1): 2)"


keys = st.recursive(st.integers(0, 3), lambda inner: st.lists(inner, min_size=1, max_size=3).map(tuple), max_leaves=4)


@given(key=keys)
def test_a_key_is_in_it_exactly_if_it_is_found(key):
    found = ByNode({node: node.modes for node in DimensionTree.balanced(4) if len(node.modes) < 4})
    flat = tuple(sorted(int(digit) for digit in str(key) if digit.isdigit()))
    known = {node.modes for node in found}
    assert (key in found) == (flat in known) == (key in found.keys())  # noqa: SIM118
    assert found.get(key) == (flat if flat in known else None)
    assert copy.copy(found).pop(key, None) == found.get(key)
    if flat not in known:
        with pytest.raises(KeyError, match="no node of the modes"):
            found[key]


@pytest.mark.parametrize("key", ["01", None, 0.5, True, (), (0, 0), -1, object(), {}, [None]])
def test_what_names_no_node(key):
    found = ByNode({Node((0,), 0): 1, Node((0, 1), 1): 2})
    assert key not in found
    assert found.get(key) is None
    with pytest.raises(KeyError):
        found[key]


def test_unary_nodes():
    found = ByNode({node: k for k, node in enumerate(TREE)})
    assert found[Node((3,), 0)] != found[Node((3,), 1)]
    assert (3,) not in found
    with pytest.raises(KeyError, match="name 2 nodes"):
        found[3]
    # A rank is one of both: a Node of another height finds it.
    assert ByNode({Node((3,), 0): 7})[Node((3,), 1)] == 7


def test_changes_speak_of_the_same_nodes():
    found = ByNode({Node((0,), 0): 1, Node((0, 1), 1): 2})
    found[1, 0] = 5
    found[Node((1,), 0)] = 6
    assert found == {0: 1, (0, 1): 5, 1: 6}
    assert dict({(0,): 1, (0, 1): 5, (1,): 6}) == found
    assert found != {0: 1, (0, 1): 5}
    assert found != {0: 1, (0, 1): 5, 2: 6}
    assert (found | {(0, 1): 9})[0, 1] == 9
    assert found.setdefault((0, 1), 3) == 5
    assert found.pop((1,)) == 6
    del found[0]
    assert list(found) == [Node((0, 1), 1)]
    with pytest.raises(KeyError, match=r"no node of the modes \(2,\)"):
        found[2] = 1
    with pytest.raises(TypeError, match="are Nodes"):
        ByNode({(0, 1): 3})


def test_copies():
    found = tnrank.hierarchical_singular_values(TENSOR)
    for other in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found)), found.copy()):
        assert type(other) is ByNode
        assert other == found
        assert list(other) == list(found)
    assert type(dict(found)) is dict


def test_a_pytree_of_jax():
    jax = pytest.importorskip("jax")
    tensor = jax.numpy.asarray(TENSOR)
    eager = tnrank.hierarchical_singular_values(TENSOR)
    compiled = jax.jit(tnrank.hierarchical_singular_values)(tensor)
    assert type(compiled) is ByNode
    np.testing.assert_allclose(compiled[0, 1], eager[0, 1], rtol=1e-12, atol=1e-12)
    doubled = jax.tree.map(lambda a: 2 * a, compiled)
    assert type(doubled) is ByNode
    assert doubled[0, 1].shape == eager[0, 1].shape
    x = tnrank.HierarchicalFactorization.random((2, 3, 2), width=2, backend="jax")
    np.testing.assert_allclose(
        jax.jit(lambda y: y.component_norms())(x)[0, 1], x.to("numpy").component_norms()[0, 1], rtol=1e-12
    )
    leaves = jax.grad(lambda h: sum(a.sum() for a in h.values()))(eager)
    assert (0, 1) in leaves


def test_a_pytree_of_torch():
    torch = pytest.importorskip("torch")
    from torch.utils import _pytree

    stack = torch.as_tensor(np.stack([TENSOR, 2 * TENSOR]))
    found = torch.func.vmap(tnrank.hierarchical_singular_values)(stack)
    assert type(found) is ByNode
    wanted = np.linalg.svd(TENSOR.reshape(6, 4), compute_uv=False)
    np.testing.assert_allclose(found[0, 1], np.stack([wanted, 2 * wanted]), rtol=1e-12)
    assert type(_pytree.tree_map(lambda a: a + 1, found)) is ByNode
