"""No named search runs away, and dynamic programming finds the best of all orders."""

from __future__ import annotations

import random
import time
from contextlib import nullcontext
from itertools import combinations

import networkx
import numpy as np
import opt_einsum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.network.strategies import networks
from tnrank import Network
from tnrank.network._plan import Numbers
from tnrank.network._subsets import TooMuchWork, connected_path


def bonds(graph, size=2):
    """One tensor a node and one index an edge."""
    tensors = {str(node): [] for node in graph}
    for number, (a, b) in enumerate(graph.edges):
        tensors[str(a)].append(number)
        tensors[str(b)].append(number)
    network = Network(tensors, ())
    return network, dict.fromkeys(network.indices, size)


def flops_of(network, sizes, ssa):
    """Multiplications of a path, counted here."""
    arrays = [frozenset(labels) for labels in network.tensors.values()]
    total = 0
    for a, b in ssa:
        both = arrays[a] | arrays[b]
        total += int(np.prod([sizes[x] for x in both], dtype=object))
        arrays[a] = arrays[b] = frozenset()
        left = frozenset().union(*arrays, network.output)
        arrays.append(both & left)
    return total


def fewest_flops(arrays, output, sizes):
    """The least that any order costs in which each step contracts two tensors that share an index."""
    best = 0 if len(arrays) == 1 else None
    for a, b in combinations(range(len(arrays)), 2):
        both = arrays[a] | arrays[b]
        if not arrays[a] & arrays[b]:
            continue
        rest = [array for k, array in enumerate(arrays) if k not in (a, b)]
        after = fewest_flops([*rest, both & frozenset().union(*rest, output)], output, sizes)
        cost = int(np.prod([sizes[x] for x in both], dtype=object)) + after
        best = cost if best is None else min(best, cost)
    return best


@given(networks(sizes=st.integers(1, 5)))
def test_dynamic_programming_finds_the_best_of_all_orders(drawn):
    network, sizes = drawn
    numbers = Numbers(network, sizes)
    problem = numbers.problem(())
    if len(problem.inputs) < 2:
        return
    inputs, output = [frozenset(member) for member in problem.inputs], frozenset(problem.output)
    plain = Network({str(k): member for k, member in enumerate(problem.inputs)}, problem.output)
    mine = connected_path(problem.inputs, problem.output, problem.sizes, 10**30)
    assert sorted(k for pair in mine for k in pair) == list(range(2 * len(inputs) - 2))
    together = networkx.Graph([(a, b) for a, x in enumerate(inputs) for b, y in enumerate(inputs) if x & y])
    if len(together) == len(inputs) and networkx.is_connected(together):  # outer products may go in any order
        assert flops_of(plain, problem.sizes, mine) == fewest_flops(inputs, output, problem.sizes)


def test_a_grid_of_25_tensors_is_solved_exactly():
    """opt_einsum's own dynamic programming, run for minutes, gives 1988."""
    network, sizes = bonds(networkx.grid_2d_graph(5, 5))
    assert network.plan(sizes, optimize="dp").flops == 1988


def test_the_search_stops_when_its_work_is_done():
    numbers = Numbers(*bonds(networkx.grid_2d_graph(6, 6)))
    problem = numbers.problem(())
    with pytest.raises(TooMuchWork):
        connected_path(problem.inputs, problem.output, problem.sizes, 10**9, work=10_000)


@pytest.mark.slow
def test_all_orders_of_few_tensors_and_none_of_many():
    few, sizes = bonds(networkx.random_regular_graph(3, 8, seed=1))
    inputs, output = [frozenset(x) for x in few.tensors.values()], frozenset()
    theirs = opt_einsum.paths.linear_to_ssa(opt_einsum.paths.optimal(inputs, output, sizes))
    assert few.plan(sizes, optimize="optimal").flops == flops_of(few, sizes, theirs)
    many, sizes = bonds(networkx.grid_2d_graph(5, 8))
    told = (
        r"compares all orders of at most 12 tensors, and this network has 40: use optimize='dp' or 'auto-hq', or give"
    )
    with pytest.raises(ValueError, match=told):
        many.plan(sizes, optimize="optimal")
    with pytest.raises(ValueError, match=r"optimize='dp' is given up .* 40 tensors .* use optimize='auto-hq'"):
        many.plan(sizes, optimize="dp")


def test_planning_leaves_pythons_generator_alone():
    network, sizes = bonds(networkx.grid_2d_graph(3, 3))
    random.seed(1)
    state = random.getstate()
    network.plan(sizes, optimize="random-greedy")
    assert random.getstate() == state


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimize", ["auto", "auto-hq", "dp", "optimal", "random-greedy", "greedy", "cotengra", "tree"]
)
@pytest.mark.parametrize(
    "graph",
    [
        networkx.grid_2d_graph(6, 6),
        networkx.grid_2d_graph(10, 10),
        networkx.random_regular_graph(3, 120, seed=0),
        networkx.complete_graph(12),
        networkx.complete_graph(30),
        networkx.gnp_random_graph(60, 0.5, seed=0),
    ],
    ids=["grid6", "grid10", "regular120", "complete12", "complete30", "dense60"],
)
def test_every_search_ends(graph, optimize):
    network, sizes = bonds(graph)
    began = time.process_time()
    may_raise = pytest.raises(ValueError, match="use optimize=") if optimize == "tree" else nullcontext()
    if len(network) > 12 and optimize in ("dp", "optimal"):
        may_raise = pytest.raises(ValueError, match="use optimize=")
    with may_raise:
        plan = network.plan(sizes, optimize=optimize)
        assert len(plan.steps) == len(network) - 1
        if optimize == "auto-hq":
            assert plan.flops <= network.plan(sizes, optimize="greedy").flops
    assert time.process_time() - began < 20
