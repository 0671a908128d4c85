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
from tests.factorizations.strategies import nested_trees
from tnrank.circuits import min_cut


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
@settings(max_examples=60)
def test_no_rank_exceeds_the_bound(case: Any) -> None:
    x, modes = case
    assert measured(x, modes) <= min_cut(x, modes).bound


@given(cases(powers=True))
@settings(max_examples=60)
def test_generic_weights_reach_it_for_powers_of_one_number(case: Any) -> None:
    x, modes = case
    assert measured(x, modes) == min_cut(x, modes).bound


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
