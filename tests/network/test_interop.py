"""google/TensorNetwork node graphs: read, written, and read again."""

from __future__ import annotations

import numpy as np
import pytest
import tensornetwork as tn
from hypothesis import HealthCheck, given, settings

import tnrank
from tests.network.strategies import dense, networks, numpy_arrays, on
from tnrank import Network

THERE = {"numpy": "numpy", "jax": "jax", "torch": "pytorch"}


@pytest.fixture(autouse=True)
def no_dense_copy(monkeypatch):
    """A copy tensor that is built fails the test."""

    def refuse(*args):
        raise AssertionError("a copy tensor was built")

    monkeypatch.setattr(tn.CopyNode, "make_copy_tensor", staticmethod(refuse))


def cp_graph(backend_name="numpy", rank=4, dtype="float64", dims=(2, 3, 5)):
    """Factors around one copy node, as tensornetwork users build a CP decomposition."""
    backend = tnrank.get_backend(backend_name)
    rng = np.random.default_rng(0)
    arrays = [backend.asarray(rng.standard_normal((dim, rank)), dtype=dtype) for dim in dims]
    nodes = [tn.Node(a, name=name, backend=THERE[backend_name]) for a, name in zip(arrays, "ABC", strict=False)]
    copy = tn.CopyNode(len(nodes), rank, name="r", backend=THERE[backend_name])
    for k, node in enumerate(nodes):
        node[1] ^ copy[k]
    return nodes, copy, arrays


def snapshot(nodes):
    """What must stay as it is: names, tensors, edges and where they lead."""
    return [
        (
            id(n),
            n.name,
            id(getattr(n, "_tensor", None)),
            [(id(e), e.name, e.get_nodes(), e.is_dangling()) for e in n.edges],
        )
        for n in nodes
    ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64", "complex64", "complex128"])
def test_copy_nodes_become_hyperindices(backend_name, dtype):
    backend = tnrank.get_backend(backend_name)
    if dtype not in backend.dtypes:
        pytest.skip(f"{backend_name} has no {dtype}")
    nodes, copy, arrays = cp_graph(backend_name, dtype=dtype)
    before = snapshot([*nodes, copy])
    network, found = Network.from_nodes([*nodes, copy])
    assert snapshot([*nodes, copy]) == before
    assert list(found) == ["A", "B", "C"]
    assert all(found[name] is array for name, array in zip("ABC", arrays, strict=True))
    (hyperindex,) = network.hyperindices
    assert {labels[1] for labels in network.tensors.values()} == {hyperindex}
    result = tnrank.contract(network, found)
    assert (tnrank.backend_of(result).name, backend.dtype_of(result)) == (backend_name, dtype)
    wanted = np.einsum("ir,jr,kr->ijk", *(np.asarray(backend.to_numpy(a), dtype="complex128") for a in arrays))
    rtol = {"bfloat16": 0.1, "float32": 1e-5, "complex64": 1e-5}.get(dtype, 1e-12)
    np.testing.assert_allclose(backend.to_numpy(result), wanted, rtol=rtol, atol=rtol)
    again = tnrank.contract(*Network.from_nodes([*nodes, copy]))
    np.testing.assert_array_equal(backend.to_numpy(again), backend.to_numpy(result))


def test_a_rank_that_no_copy_tensor_could_have():
    nodes, copy, arrays = cp_graph(rank=1000)
    network, found = Network.from_nodes([*nodes, copy])
    wanted = np.einsum("ir,jr,kr->ijk", *arrays)
    np.testing.assert_allclose(tnrank.contract(network, found), wanted, rtol=1e-10, atol=1e-10)


def test_connected_copy_nodes_are_one_index():
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((k + 2, 3)) for k, name in enumerate("ABCD")}
    nodes = {name: tn.Node(a, name=name) for name, a in arrays.items()}
    one, two, three = tn.CopyNode(3, 3), tn.CopyNode(3, 3), tn.CopyNode(4, 3)
    nodes["A"][1] ^ one[0]
    nodes["B"][1] ^ one[1]
    nodes["C"][1] ^ two[0]
    nodes["D"][1] ^ two[1]
    one[2] ^ three[0]
    two[2] ^ three[1]
    three[2] ^ three[3]  # a trace edge on a copy node says nothing new
    network, found = Network.from_nodes([one, *nodes.values(), two, three])
    assert len(network.indices) == 5
    assert len(network.hyperindices) == 1
    wanted = np.einsum("ar,br,cr,dr->abcd", *arrays.values())
    np.testing.assert_allclose(tnrank.contract(network, found), wanted, rtol=1e-12)


def test_dangling_edges_of_copy_nodes():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((4, 3))
    first, second, copy = tn.Node(a, name="A"), tn.Node(b, name="B"), tn.CopyNode(4, 3, name="r")
    first[1] ^ copy[0]
    second[1] ^ copy[1]
    network, found = Network.from_nodes([first, second, copy], output=[copy[3], first[0], copy[2], second[0]])
    wanted = np.einsum("ir,jr,rs->risj", a, b, np.eye(3))
    np.testing.assert_allclose(tnrank.contract(network, found), wanted, rtol=1e-12)
    single = tn.CopyNode(3, 3)
    first = tn.Node(a)
    first[1] ^ single[0]
    single[1] ^ tn.Node(np.ones(3))[0]
    nodes = tn.reachable(first)
    network, found = Network.from_nodes(nodes, output=[single[2], first[0]])
    np.testing.assert_allclose(tnrank.contract(network, found), a.T)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_copy_nodes_alone(backend_name, rank):
    copy = tn.CopyNode(rank, 2, backend=THERE[backend_name], dtype=np.float32)
    network, found = Network.from_nodes([copy])
    backend = tnrank.get_backend(backend_name)
    wanted = np.zeros((2,) * rank)
    wanted[(range(2),) * rank] = 1
    result = tnrank.contract(network, found)
    np.testing.assert_array_equal(backend.to_numpy(result), wanted)
    assert backend.dtype_of(result) == "float32"
    closed = tn.CopyNode(2, 5)
    closed[0] ^ closed[1]
    assert tnrank.contract(*Network.from_nodes([closed])) == 5


def test_trace_edges():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 2, 3, 4)), rng.standard_normal((4, 4))
    a, b = tn.Node(x, name="a"), tn.Node(y, name="b")
    a[0] ^ a[2]
    a[3] ^ b[0]
    network, found = Network.from_nodes([a, b])
    assert network.tensors["a"][0] == network.tensors["a"][2]
    np.testing.assert_allclose(tnrank.contract(network, found), np.einsum("iaij,jk->ak", x, y), rtol=1e-12)


def test_names():
    nodes = [tn.Node(np.ones(2), name=name) for name in ("a", "a", None, "a", "a_1", None)]
    network, arrays = Network.from_nodes(nodes)
    assert list(arrays) == ["a", "a_2", "node2", "a_3", "a_1", "node5"]
    assert [node.name for node in nodes] == ["a", "a", "__unnamed_node__", "a", "a_1", "__unnamed_node__"]
    assert len(network.output) == 6


def test_labels_are_edge_names_where_these_are_unique():
    a = tn.Node(np.ones((2, 3, 4)), name="a", axis_names=["left", "bond", "x"])
    b = tn.Node(np.ones((3, 5, 4)), name="b", axis_names=["up", "right", "x"])
    a["bond"] ^ b["up"]
    network, _ = Network.from_nodes([a, b])
    assert network.tensors == {"a": ("left", "bond", "a.2"), "b": ("bond", "right", "b.2")}
    assert network.output == ("left", "a.2", "right", "b.2")
    plain, _ = Network.from_nodes([tn.Node(np.ones((2, 3)), name="a")])
    assert plain.output == ("a.0", "a.1")


def test_output_by_edge_and_by_name():
    a = tn.Node(np.ones((2, 3)), name="a", axis_names=["i", "j"])
    b = tn.Node(np.ones((2, 4)), name="b", axis_names=["i", "k"])
    a["i"] ^ b["i"]
    assert Network.from_nodes([a, b], output=[b["k"], "j"])[0].output == ("k", "j")
    assert Network.from_nodes([b, a])[0].output == ("k", "j")
    with pytest.raises(ValueError, match="'i' is no dangling edge of these nodes: 2 dangle, named j, k"):
        Network.from_nodes([a, b], output=[a["i"], a["j"], b["k"]])
    with pytest.raises(ValueError, match=r"the output has 1 edges, needed each of the 2 dangling.*left out: b\[1\]"):
        Network.from_nodes([a, b], output=[a["j"]])
    with pytest.raises(ValueError, match="the output has 3 edges"):
        Network.from_nodes([a, b], output=[a["j"], b["k"], "k"])


def test_wrong_graphs():
    a, b = tn.Node(np.ones((2, 3)), name="a"), tn.Node(np.ones((3, 4)), name="b")
    a[1] ^ b[0]
    with pytest.raises(ValueError, match="axis 1 of node 'a' is connected to node 'b', which was not given"):
        Network.from_nodes([a])
    with pytest.raises(ValueError, match="node 'a' is given twice"):
        Network.from_nodes([a, b, a])
    with pytest.raises(ValueError, match="a set of nodes has no order, and 2 edges dangle"):
        Network.from_nodes({a, b})
    with pytest.raises(TypeError, match="got Edge, needed a collection of tensornetwork nodes"):
        Network.from_nodes(a)
    a.disable()
    with pytest.raises(ValueError, match="node 'a' is disabled"):
        Network.from_nodes([a, b])
    with pytest.raises(ValueError, match="no array for the tensor 'A'"):
        Network({"A": "ij"}).to_nodes({})


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(networks())
def test_round_trip(drawn):
    network, sizes = drawn
    names = {label: f"x{k}" for k, label in enumerate(network.indices)}
    network = Network(
        {name: tuple(names[x] for x in labels) for name, labels in network.tensors.items()},
        tuple(names[x] for x in network.output),
    )
    arrays = numpy_arrays(network, {names[x]: size for x, size in sizes.items()})
    nodes = network.to_nodes(arrays)
    again, found = Network.from_nodes(nodes, output=network.output)
    assert again == network
    assert all(found[name] is arrays[name] for name in arrays)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "complex64"])
def test_round_trip_of_every_backend(backend_name, dtype):
    backend = tnrank.get_backend(backend_name)
    if dtype not in backend.dtypes:
        pytest.skip(f"{backend_name} has no {dtype}")
    network = Network({"A": "ir", "B": "jrb", "C": "krb", "D": "kk"}, "jbi")
    arrays = on(backend, numpy_arrays(network, {"i": 2, "j": 3, "k": 2, "r": 3, "b": 2}), dtype)
    nodes = network.to_nodes(arrays)
    assert [node.name for node in nodes] == ["A", "B", "C", "D", "r", "b", "k"]
    assert {node.backend.name for node in nodes} == {THERE[backend_name]}
    again, found = Network.from_nodes(nodes, output=network.output)
    assert again == network
    assert {backend.dtype_of(x) for x in found.values()} == {dtype}


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_tensornetwork_contracts_what_is_written(backend_name, dtype, monkeypatch):
    """Its own contractors build the copy tensors: with the tensors' dtype, so that torch does not refuse."""
    monkeypatch.undo()
    backend = tnrank.get_backend(backend_name)
    network = Network({"A": "ir", "B": "jr", "C": "kr", "D": "kk"}, "jri")
    arrays = numpy_arrays(network, {"i": 2, "j": 3, "k": 4, "r": 3}, dtype=dtype)
    nodes = network.to_nodes(on(backend, arrays))
    open_edges = {edge.name: edge for node in nodes for edge in node.edges if edge.is_dangling()}
    result = tn.contractors.greedy(nodes, output_edge_order=[open_edges[x] for x in network.output])
    assert backend.dtype_of(result.tensor) == dtype
    np.testing.assert_allclose(backend.to_numpy(result.tensor), dense(network, arrays), rtol=1e-4, atol=1e-5)
