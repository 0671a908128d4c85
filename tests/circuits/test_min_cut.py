"""The minimum cut bounds the rank, and is reached by generic arrays whose sizes are powers of one number."""

from __future__ import annotations

from itertools import combinations
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tnrank
from tests.circuits.exact import exact_rank, whole_numbers
from tests.factorizations.strategies import nested_trees
from tests.network.strategies import networks
from tnrank.circuits import Circuit, min_cut


def exhaustive(network: tnrank.Network, sizes: dict[Any, int], modes: tuple[int, ...]) -> int:
    """The least cut over all assignments of tensors to sides."""
    names = list(network.tensors)
    sides = {label: (k in modes) for k, label in enumerate(network.output)}
    least = None
    for bits in range(2 ** len(names)):
        where = {name: bool(bits >> k & 1) for k, name in enumerate(names)}
        size = 1
        for label in network.indices:
            touched = {where[name] for name, labels in network.tensors.items() if label in labels}
            touched |= {sides[label]} if label in sides else set()
            size *= sizes[label] if len(touched) == 2 else 1
        least = size if least is None else min(least, size)
    assert least is not None
    return least


@st.composite
def cases(draw: Any, powers: bool = False) -> tuple[tnrank.Factorization, tuple[int, ...]]:
    order = draw(st.integers(2, 5))
    some = (1, 2, 4) if powers else (1, 2, 3, 5)
    tree = tnrank.DimensionTree(draw(nested_trees(order)))
    width = {node: draw(st.sampled_from(some)) for node in tree.interior}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = [draw(st.sampled_from(some[1:])) for _ in range(order)]
    matrices = {}
    for node in tree.nodes:
        parent = tree.parent(node)
        rows = width[node] if node.height else shape[node.modes[0]]
        matrices[node] = rng.standard_normal((rows, 1 if parent is None else width[parent]))
    x = tnrank.HierarchicalFactorization(tree, matrices)
    modes = draw(st.sets(st.integers(0, order - 1), min_size=1, max_size=order - 1))
    return x, tuple(sorted(modes))


def measured(x: tnrank.Factorization, modes: tuple[int, ...]) -> int:
    dense = np.asarray(x.to_dense())
    rest = [m for m in range(dense.ndim) if m not in modes]
    rows = prod(dense.shape[m] for m in modes)
    return int(np.linalg.matrix_rank(dense.transpose(*modes, *rest).reshape(rows, -1), rtol=1e-9))


@given(cases())
def test_no_rank_exceeds_the_bound(case: Any) -> None:
    x, modes = case
    assert measured(x, modes) <= min_cut(x, modes).bound


@given(cases(powers=True))
def test_generic_weights_reach_it_for_powers_of_one_number(case: Any) -> None:
    x, modes = case
    assert measured(x, modes) == min_cut(x, modes).bound


@st.composite
def sized_networks(draw: Any, some: tuple[int, ...]) -> tuple[tnrank.Network, dict[Any, int], tuple[int, ...], int]:
    """Any network with two modes or more: hyperindices, traces, sums over an index of one tensor, parts apart."""
    network, sizes = draw(networks(st.sampled_from(some)).filter(lambda found: len(found[0].output) > 1))
    order = len(network.output)
    modes = draw(st.sets(st.integers(0, order - 1), min_size=1, max_size=order - 1))
    return network, sizes, tuple(sorted(modes)), draw(st.integers(0, 2**32 - 1))


def formats(some: tuple[int, ...]) -> st.SearchStrategy[tnrank.Factorization]:
    """CP, matrix, tensor train and Tucker factorizations; only their networks and sizes matter."""
    size, seed = st.sampled_from(some), st.integers(0, 2**32 - 1)
    shape = st.lists(size, min_size=2, max_size=4).map(tuple).filter(lambda found: prod(found) <= 1024)
    pair = st.tuples(size, size)
    return st.one_of(
        st.builds(tnrank.CPFactorization.random, shape, rank=size, seed=seed),
        st.builds(tnrank.MatrixFactorization.random, pair, depth=st.integers(1, 4), hidden=size, seed=seed),
        st.builds(tnrank.TensorTrain.random, shape, rank=size, seed=seed),
        st.builds(tnrank.TensorTrainOperator.random, pair, pair, rank=size, seed=seed),
        st.builds(tnrank.Tucker.random, shape, rank=size, seed=seed),
    )


def sizes_of(x: tnrank.Factorization) -> dict[Any, int]:
    return dict(x.network.sizes(x.arrays))


@given(sized_networks((1, 2, 3, 5)))
def test_no_rank_of_any_network_exceeds_the_bound(case: Any) -> None:
    network, sizes, modes, seed = case
    assert exact_rank(network, whole_numbers(network, sizes, seed), modes) <= min_cut(network, modes, sizes).bound


@settings(max_examples=12)
@pytest.mark.parametrize("some", [(1, 2, 4), (1, 3)])
@given(data=st.data())
def test_generic_networks_reach_it_for_powers_of_one_number(some: tuple[int, ...], data: st.DataObject) -> None:
    network, sizes, modes, seed = data.draw(sized_networks(some))
    assert exact_rank(network, whole_numbers(network, sizes, seed), modes) == min_cut(network, modes, sizes).bound


@settings(max_examples=12)
@pytest.mark.parametrize("some", [(1, 2, 4, 8), (1, 3, 9)])
@given(data=st.data())
def test_generic_formats_reach_it_for_powers_of_one_number(some: tuple[int, ...], data: st.DataObject) -> None:
    x = data.draw(formats(some))
    modes = tuple(sorted(data.draw(st.sets(st.integers(0, x.ndim - 1), min_size=1, max_size=x.ndim - 1))))
    arrays = whole_numbers(x.network, sizes_of(x), data.draw(st.integers(0, 2**32 - 1)))
    assert exact_rank(x.network, arrays, modes) == min_cut(x, modes).bound


@given(st.integers(2, 5), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1), st.data())
def test_shared_weights_keep_the_bound(order: int, features: int, channels: int, seed: int, data: Any) -> None:
    circuit = Circuit.deep(order, features=features, channels=channels, shared=True, ragged=True)
    rng = np.random.default_rng(seed)
    x = circuit.to_factorization([rng.integers(1, 2**31 - 1, shape) for shape in circuit.shapes])
    modes = tuple(sorted(data.draw(st.sets(st.integers(0, order - 1), min_size=1, max_size=order - 1))))
    assert exact_rank(x.network, dict(x.arrays), modes) <= min_cut(x, modes).bound


@pytest.mark.parametrize("seed", range(5))
def test_shared_weights_may_miss_it_where_others_reach_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for shared, rank in ((True, 3), (False, 4)):
        circuit = Circuit.deep(4, features=2, channels=4, shared=shared)
        x = circuit.to_factorization([rng.integers(1, 2**31 - 1, shape) for shape in circuit.shapes])
        assert min_cut(x, (0, 1)).bound == 4
        assert exact_rank(x.network, dict(x.arrays), (0, 1)) == rank


@pytest.mark.parametrize("seed", range(12))
def test_least_of_all_cuts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters = "abcdefg"
    tensors = {f"T{k}": "".join(rng.choice(list(letters), rng.integers(1, 5), replace=False)) for k in range(6)}
    used = sorted(set("".join(tensors.values())))
    output = "".join(used[: max(2, len(used) // 2)])
    network = tnrank.Network(tensors, output)
    sizes = {label: int(rng.integers(1, 8)) for label in used}
    for count in range(1, len(output)):
        for modes in combinations(range(len(output)), count):
            found = min_cut(network, modes, sizes)
            assert found.bound == exhaustive(network, sizes, modes)


def test_depth_is_exponentially_efficient() -> None:
    odd = tuple(range(0, 16, 2))
    deep = tnrank.HierarchicalFactorization.random((4,) * 16, tnrank.DimensionTree.balanced(16), width=3, seed=0)
    shallow = tnrank.CPFactorization.random((4,) * 16, rank=3, seed=0)
    assert min_cut(deep, odd).bound == 3**8
    assert min_cut(shallow, odd).bound == 3
    for x in (deep, tnrank.HierarchicalTucker.random((4,) * 1000, rank=3)):
        assert min_cut(x, range(x.ndim // 2)).bound == 3
    assert "cut through" in str(min_cut(shallow, odd))


def test_wrong_calls_say_what_is_wrong() -> None:
    network = tnrank.Network({"A": "ir", "B": "jr"}, "ij")
    for make, message in (
        (lambda: min_cut(network, (0,)), "no size for the index"),
        (lambda: min_cut(network, (2,), {"i": 2, "j": 2, "r": 2}), "mode"),
        (lambda: min_cut(network, (0, 1), {"i": 2, "j": 2, "r": 2}), "mode"),
        (lambda: min_cut(network, (), {"i": 2, "j": 2, "r": 2}), "mode"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    with pytest.raises(TypeError, match="Network"):
        min_cut(np.ones((2, 2)), (0,))  # type: ignore[arg-type]  # the mistake
