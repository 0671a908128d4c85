"""Every wrong call raises an error that names the tensor, the index and the sizes."""

from __future__ import annotations

import numpy as np
import pytest

import tnrank
from tnrank import Network

CP = Network({"A": "ir", "B": "jr", "C": "kr"}, "ijk")
SHAPES = {"A": (2, 5), "B": (3, 5), "C": (4, 5)}


def arrays(**changed):
    return {name: np.ones(shape) for name, shape in (SHAPES | changed).items()}


def planned(network, given):
    return CP.plan({"i": 2, "j": 3, "k": 4, "r": 5})(given)


CALLS = pytest.mark.parametrize("call", [tnrank.contract, planned], ids=["contract", "plan"])


@CALLS
def test_sizes_that_differ(call):
    with pytest.raises(ValueError, match="index 'r' has size 5 on tensor 'A' and size 6 on tensor 'B'"):
        call(CP, arrays(B=(3, 6)))


@CALLS
def test_a_size_of_one_is_not_broadcast(call):
    told = r"index 'r' has size 5 on tensor 'A' and size 1 on tensor 'C' \(sizes are never broadcast\)"
    with pytest.raises(ValueError, match=told):
        call(CP, arrays(C=(4, 1)))


@CALLS
def test_a_diagonal_that_is_not_square(call):
    network = Network({"A": "ii"}, "i")
    given = {"A": np.ones((2, 3))}
    with pytest.raises(ValueError, match="index 'i' has size 2 on tensor 'A' and size 3 on tensor 'A'"):
        tnrank.contract(network, given) if call is tnrank.contract else network.plan({"i": 2})(given)


@CALLS
def test_wrong_number_of_axes(call):
    told = r"tensor 'B' has 2 indices jr, got an array with 3 axes of shape \(3, 5, 1\)"
    with pytest.raises(ValueError, match=told):
        call(CP, arrays(B=(3, 5, 1)))


@CALLS
def test_missing_array(call):
    given = arrays()
    del given["B"]
    with pytest.raises(ValueError, match="no array for the tensor 'B': got A, C, needed A, B, C"):
        call(CP, given)


@CALLS
def test_extra_array(call):
    with pytest.raises(ValueError, match="the array 'D' belongs to no tensor: the network has A, B, C"):
        call(CP, arrays(D=(2, 5)))


@CALLS
def test_two_dtypes(call):
    given = arrays() | {"C": np.ones((4, 5), dtype="float32")}
    with pytest.raises(TypeError, match="two dtypes in one call: tensor 'A' is float64 and 'C' is float32; convert"):
        call(CP, given)


@CALLS
@pytest.mark.parametrize("other", ["jax", "torch"])
def test_two_backends(call, other):
    pytest.importorskip(other)
    given = arrays() | {"B": tnrank.get_backend(other).asarray(np.ones((3, 5)))}
    with pytest.raises(TypeError, match=f"arrays of two backends in one call: 'A' is numpy, 'B' is {other}"):
        call(CP, given)


def test_two_backends_after_a_compiled_call():
    """The fast way through a compiled call checks as well."""
    backend = pytest.importorskip("jax") and tnrank.get_backend("jax")
    plan = CP.plan({"i": 2, "j": 3, "k": 4, "r": 5})
    given = {name: backend.asarray(x) for name, x in arrays().items()}
    plan(given)
    with pytest.raises(TypeError, match="'A' is jax, 'C' is numpy"):
        plan(given | {"C": np.ones((4, 5))})
    with pytest.raises(ValueError, match="belongs to no tensor"):
        plan(given | {"D": given["A"]})
    with pytest.raises(ValueError, match="no array for the tensor 'A'"):
        plan({"B": given["B"], "C": given["C"]})
    with pytest.raises(ValueError, match="index 'r' has size 5 on tensor 'A' and size 6 on tensor 'C'"):
        plan(given | {"C": backend.asarray(np.ones((4, 6)))})
    with pytest.raises(TypeError, match="'A' is float64 and 'C' is float32"):
        plan(given | {"C": backend.asarray(np.ones((4, 5)), dtype="float32")})


@CALLS
@pytest.mark.parametrize("thing", [[[1.0]], None, 3.0, "array"])
def test_what_is_no_array(call, thing):
    with pytest.raises(TypeError, match="needed an array of a backend"):
        call(CP, arrays() | {"B": thing})


def test_arrays_without_names():
    with pytest.raises(TypeError, match=r"arrays are given by tensor name, got list: write \{'A': \.\., 'B'"):
        planned(CP, list(arrays().values()))


def test_sizes_other_than_the_plans():
    told = "made for index 'j' of size 3, got size 7 on tensor 'B': make another with network.plan"
    with pytest.raises(ValueError, match=told):
        planned(CP, arrays(B=(7, 5)))


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("ijx", "the output has the index 'x', which no tensor has; indices: i, r, j, k"),
        ("iji", "the index 'i' twice"),
    ],
)
def test_wrong_outputs(output, told):
    with pytest.raises(ValueError, match=told):
        Network(CP.tensors, output)


@pytest.mark.parametrize("labels", ["i1", "i j", "i,j"])
def test_strings_that_are_not_letters(labels):
    with pytest.raises(ValueError, match=r"tensor 'A' has labels .* one label per letter.* write a tuple, such as"):
        Network({"A": labels})


def test_labels_that_are_not_hashable():
    with pytest.raises(TypeError, match=r"tensor 'A' has the label \['i'\], which is not hashable"):
        Network({"A": (["i"], "j")})
    with pytest.raises(TypeError, match="tensor 'A' has labels 3: needed a string or a sequence"):
        Network({"A": 3})
    with pytest.raises(TypeError, match="a tensor's name is a string, got 0"):
        Network({0: "ij"})


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"i": 2, "j": 3, "r": 5}, "no size for the index 'k': got i, j, r, needed i, r, j, k"),
        ({"i": 2, "j": 3, "k": -4, "r": 5}, "the size of index 'k' is a number from 0 on, got -4"),
        ({"i": 2, "j": 3, "k": 4.0, "r": 5}, "the size of index 'k' is a number from 0 on, got 4.0"),
    ],
)
def test_wrong_sizes(sizes, told):
    with pytest.raises(ValueError, match=told):
        CP.plan(sizes)


def test_wrong_plans():
    sizes = {"i": 2, "j": 3, "k": 4, "r": 5}
    with pytest.raises(ValueError, match="unknown optimize='fast': one of auto, "):
        CP.plan(sizes, optimize="fast")
    for path in ([(0, 1)], [(0, 1), (0, 9)], [(0, 0), (0, 1)], ["ab"]):
        with pytest.raises(ValueError, match="does not contract 3 tensors"):
            CP.plan(sizes, optimize=path)
    with pytest.raises(ValueError, match="batch index 'b' is on no tensor; indices: i, r, j, k"):
        CP.plan(sizes, batch=("b",))
    for limit in (0, -1, True, 2.5, "lots", "0 B"):
        with pytest.raises(ValueError, match="memory_limit"):
            CP.plan(sizes, memory_limit=limit)


def test_wrong_names():
    with pytest.raises(ValueError, match="no tensor 'D' in the network: it has A, B, C"):
        tnrank.environment(CP, arrays(), "D")
    with pytest.raises(ValueError, match=r"index 'i' has size 2 on tensor .* and size 3 on tensor"):
        tnrank.environment(CP, arrays(), "B", cotangent=np.ones((3, 3, 4)))
