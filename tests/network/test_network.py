"""The network as a value, and einsum equations."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given

import tnrank
from tests.network.strategies import networks
from tnrank import Network


def test_strings_and_tuples_are_the_same():
    assert Network({"A": "ir", "B": "jr"}) == Network({"A": ("i", "r"), "B": ["j", "r"]}, ("i", "j"))
    assert Network({"A": "ir"}).tensors["A"] == ("i", "r")


def test_equality_ignores_the_order_of_tensors():
    one = Network({"A": "ir", "B": "jr"}, "ij")
    two = Network({"B": "jr", "A": "ir"}, "ij")
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two}) == 1
    assert one != Network({"A": "ir", "B": "jr"}, "ji")
    assert one != Network({"A": "ri", "B": "jr"}, "ij")
    assert one != Network({"A": "ir", "C": "jr"}, "ij")
    assert one != "ir,jr->ij"


def test_indices():
    network = Network({"A": "bir", "B": "bjr", "C": "kr", "D": "kk"}, "bij")
    assert network.indices == ("b", "i", "r", "j", "k")
    assert network.hyperindices == ("r",)
    assert network.batch_indices == ("b",)
    assert network.holders("k") == ("C", "D")
    assert len(network) == 4
    assert Network({"A": "bir", "B": "bjr"}).output == ("i", "j")


def test_it_is_immutable():
    network = Network({"A": "ir"})
    with pytest.raises(AttributeError, match="immutable"):
        network.output = ("r", "i")
    for change in (
        lambda: network.tensors.update(B="ij"),
        lambda: network.tensors.pop("A"),
        lambda: network.tensors.__setitem__("A", ("j",)),
        lambda: network.tensors.__ior__({"B": ("j",)}),
    ):
        with pytest.raises(TypeError, match="immutable"):
            change()
    assert network == Network({"A": "ir"})


@given(networks())
def test_it_survives_a_pickle(drawn):
    network, sizes = drawn
    network.plan(sizes)  # plans that are kept do not travel
    again = pickle.loads(pickle.dumps(network))
    assert again == network
    assert hash(again) == hash(network)
    assert list(again.tensors) == list(network.tensors)


def test_repr():
    assert repr(Network({"A": "ir", "B": "jr"})) == "Network({'A': ir, 'B': jr} -> ij)"
    assert repr(Network({"A": ("left", "r")})) == "Network({'A': [left r]} -> [left r])"
    assert repr(Network({f"A{k}": "r" for k in range(30)}, "")).endswith(", .. 30 tensors} -> )")


@pytest.mark.parametrize("equation", ["ir,jr,kr->ijk", " ab , bc -> ac", "ii->", ",a->a", "ba", "ab,bc", "->", ""])
def test_from_einsum(equation):
    network = Network.from_einsum(equation)
    shapes = [
        [{"i": 2, "j": 3, "k": 4, "r": 5, "a": 2, "b": 3, "c": 4}[x] for x in t] for t in network.tensors.values()
    ]
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape) for name, shape in zip(network.tensors, shapes, strict=True)}
    wanted = np.einsum(equation, *arrays.values())
    np.testing.assert_allclose(tnrank.contract(network, arrays), wanted, rtol=1e-12)


def test_names_of_an_equation():
    assert list(Network.from_einsum("ab,bc->ac", ("left", "right")).tensors) == ["left", "right"]
    for names in (("left",), ("left", "left"), ("a", "b", "c")):
        with pytest.raises(ValueError, match="has 2 tensors, got the names"):
            Network.from_einsum("ab,bc->ac", names)


@pytest.mark.parametrize(
    ("equation", "told"),
    [
        ("...i->i", "an ellipsis"),
        ("a1,b->ab", "'1'"),
        ("a->b->c", "'-'"),
        ("ab->c", "'c', which no tensor has"),
    ],
)
def test_wrong_equations(equation, told):
    with pytest.raises(ValueError, match=told):
        Network.from_einsum(equation)


@given(networks())
def test_einsum_round_trip(drawn):
    network, _ = drawn
    again = Network.from_einsum(network.to_einsum(), list(network.tensors))
    assert again.to_einsum() == network.to_einsum()
    assert len(again.indices) == len(network.indices)


def test_letters_stay():
    network = Network({"A": ("i", "bond"), "B": ("bond", "a")})
    assert network.to_einsum() == "ib,ba->ia"
    many = Network({f"A{k}": (k, k + 1) for k in range(90)})
    assert len(set(many.to_einsum()) - set(",->")) == 91
    with pytest.raises(ValueError, match="scalar 1"):
        Network({}).to_einsum()
