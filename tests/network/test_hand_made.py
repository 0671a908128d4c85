"""Plans and orders that are given: understood, or refused in one sentence, whatever the number of tensors."""

from __future__ import annotations

import json
import os
import random

import numpy as np
import opt_einsum
import pytest

import tnrank
from tests.network.strategies import numpy_arrays
from tnrank import ContractionPlan, Network

EQUATIONS = ["", "ab->a", "ab,bc->ac", "ab,bc,cd->ad", "abx,bc,cd,de,ef,fa->x"]
MATRICES = Network.from_einsum("ab,bc,cd->ad")
SIZES = {"a": 2, "b": 3, "c": 4, "d": 5}


def drawn(equation):
    network = Network.from_einsum(equation) if equation else Network({})
    sizes = {label: 2 + k % 3 for k, label in enumerate(network.indices)}
    arrays = numpy_arrays(network, sizes)
    return network, sizes, arrays, np.einsum(equation, *arrays.values()) if equation else 1.0


class Unhashable:
    __hash__ = None

    def __call__(self, inputs, output, sizes, memory_limit):
        return opt_einsum.paths.greedy(inputs, output, sizes)


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("kind", [None, True, 5, 2.5, b"auto", {}, object(), Unhashable, np.float64(3), np.ones(3)])
def test_other_kinds_are_refused(equation, kind):
    network, sizes, _, _ = drawn(equation)
    with pytest.raises(TypeError, match=r"optimize is|a path"):
        network.plan(sizes, optimize=kind)


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("path", [[(0, 9)], [(0, -1)], [(0, 0)], [()], [(0, 1)] * 9])
def test_paths_that_do_not_fit_are_refused(equation, path):
    network, sizes, _, _ = drawn(equation)
    with pytest.raises(ValueError, match=r"does not contract \d tensors"):
        network.plan(sizes, optimize=path)


@pytest.mark.parametrize("equation", EQUATIONS[1:])
def test_what_numpy_and_opt_einsum_return_is_a_path(equation):
    network, sizes, arrays, wanted = drawn(equation)
    mine = np.einsum_path(equation, *arrays.values(), optimize="greedy")
    theirs = opt_einsum.contract_path(equation, *arrays.values(), optimize="greedy")
    for given in (mine, mine[0], theirs, theirs[0], theirs[1], iter(theirs[0]), [list(step) for step in theirs[0]]):
        plan = network.plan(sizes, optimize=given)
        assert plan.method == "given path"
        np.testing.assert_allclose(plan(arrays), wanted, rtol=1e-12)
    pairs = network.plan(sizes, optimize=theirs[0])
    if len(arrays) == 3:
        assert network.plan(sizes, optimize=np.array(theirs[0])) is pairs


@pytest.mark.parametrize("equation", EQUATIONS[1:])
def test_finders_of_both_libraries(equation):
    cotengra = pytest.importorskip("cotengra")
    network, sizes, arrays, wanted = drawn(equation)
    quick = {"max_repeats": 2, "parallel": False, "methods": ("greedy",), "optlib": "random"}
    sliced = {**quick, "slicing_opts": {"target_slices": 4}}
    finders = [
        cotengra.GreedyOptimizer(),
        cotengra.OptimalOptimizer(),
        cotengra.RandomGreedyOptimizer(max_repeats=2, parallel=False),
        cotengra.AutoOptimizer(**quick),
        cotengra.presets.greedy_optimize,
        cotengra.HyperOptimizer(**sliced),
        cotengra.HyperOptimizer(**quick, slicing_reconf_opts={"target_size": 4}),
        cotengra.ReusableHyperOptimizer(**sliced),
        opt_einsum.RandomGreedy(max_repeats=2),
        opt_einsum.DynamicProgramming(),
        opt_einsum.paths.greedy,
        Unhashable(),
    ]
    for finder in finders:
        plan = network.plan(sizes, optimize=finder)
        np.testing.assert_allclose(plan(arrays), wanted, rtol=1e-12)
        if "Hyper" in type(finder).__name__ and len(arrays) > 2:
            assert plan.slices, finder
    for wrong in (lambda: [(0, 1)], lambda inputs: inputs):
        with pytest.raises(TypeError, match="the path finder a function takes"):
            network.plan(sizes, optimize=wrong)


def test_slices_of_a_finder_hold_with_the_batch_index():
    """An optimizer that keeps to a size must see the index that makes the arrays large."""
    cotengra = pytest.importorskip("cotengra")
    network = Network({"A": "zij", "B": "zjk", "C": "zkl", "D": "zli"}, "z")
    sizes = {"z": 50, "i": 4, "j": 4, "k": 4, "l": 4}
    finder = cotengra.HyperOptimizer(
        max_repeats=4, parallel=False, methods=["greedy"], slicing_opts={"target_size": 100}
    )
    plan = network.plan(sizes, optimize=finder)
    assert plan.largest_intermediate <= 100
    arrays = numpy_arrays(network, sizes)
    np.testing.assert_allclose(plan(arrays), np.einsum("zij,zjk,zkl,zli->z", *arrays.values()), rtol=1e-10)


def test_contraction_trees_with_slices():
    cotengra = pytest.importorskip("cotengra")
    network, sizes, arrays, wanted = drawn(EQUATIONS[-1])
    # Names of its own: axes say which index is which.
    tree = cotengra.einsum_tree("pqx,qr,rs,st,tu,up->x", *[x.shape for x in arrays.values()], optimize="greedy")
    for given in (tree, tree.slice(target_slices=4), tree.remove_ind("x")):
        plan = network.plan(sizes, optimize=given)
        assert len(plan.slices) == len(given.sliced_inds)
        assert plan.largest_intermediate == given.max_size()
        np.testing.assert_allclose(plan(arrays), wanted, rtol=1e-12)
    assert network.plan(sizes, optimize=tree.remove_ind("x")).slices == {"x": 1}
    with pytest.raises(ValueError, match="keeps only element 1 of the index 'q'"):
        network.plan(sizes, optimize=tree.remove_ind("q", project=1))
    for other in ("ab,bc->ac", "abx,bc,cd,de,ef,ga->x", "ab,bc,cd,de,ef,fa->"):
        another = Network.from_einsum(other)
        with pytest.raises(ValueError, match="the contraction tree is of"):
            another.plan(dict.fromkeys(another.indices, 2), optimize=tree)


def test_slices_and_a_memory_limit_together():
    cotengra = pytest.importorskip("cotengra")
    network = Network.from_einsum("iab,jbc,kca->ijk")
    sizes = {label: 6 for label in network.indices}
    tree = cotengra.einsum_tree("iab,jbc,kca->ijk", *[(6, 6, 6)] * 3, optimize="greedy").remove_ind("a")
    plan = network.plan(sizes, optimize=tree, memory_limit=50)
    assert plan.slices["a"] == 1
    assert plan.largest_intermediate <= 50
    arrays = numpy_arrays(network, sizes)
    np.testing.assert_allclose(plan(arrays), np.einsum("iab,jbc,kca->ijk", *arrays.values()), rtol=1e-10)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ([(0, 2), (1, 3), (4, -1)], "it has 3 steps|takes array"),
        ([(0, 1), (2, 3), (4, 4)], "it has 3 steps"),
        ([(0, 1)], "it has 1 steps"),
        ([], "it has 0 steps"),
        ([(0, 1), (0, 3)], "step 2 takes array 0, which an earlier step has taken"),
        ([(0, 0), (1, 2)], "step 1 takes array 0 twice"),
        ([(0, 1), (2, 4)], "step 2 takes array 4, and the arrays so far are 0 to 3"),
        ([(0, -2), (1, 3)], "step 1 takes array -2"),
        ([(0,), (1, 2)], "step 1 takes 1 arrays"),
        ([(0, 1, 2)], "step 1 takes 3 arrays"),
        ([(0, 1), (0, 1)], r"opt_einsum's: give it to network.plan\(sizes, optimize=path\)"),
    ],
)
def test_hand_made_paths(path, told):
    with pytest.raises(ValueError, match=told):
        ContractionPlan(MATRICES, SIZES, path)


def test_the_two_forms_of_a_path_refuse_each_other():
    plan = ContractionPlan(MATRICES, SIZES, [(1, 2), (0, 3)])
    assert plan == MATRICES.plan(SIZES, optimize=[(1, 2), (0, 1)])
    with pytest.raises(ValueError, match=r"give it to tnrank.ContractionPlan\(network, sizes, path\)"):
        MATRICES.plan(SIZES, optimize=plan.path)


@pytest.mark.parametrize(
    ("changed", "error", "told"),
    [
        ({"slices": {"b": 0}}, ValueError, "'b' .* from 1 to 3, got 0"),
        ({"slices": {"b": -1}}, ValueError, "from 1 to 3, got -1"),
        ({"slices": {"b": 4}}, ValueError, "from 1 to 3, got 4"),
        ({"slices": {"z": 1}}, ValueError, "no index 'z' to slice"),
        ({"slices": {"b": 1.0}}, TypeError, "whole number"),
        ({"slices": ["b"]}, TypeError, "slices is a mapping"),
        ({"sizes": SIZES | {"a": -1}}, ValueError, "the size of index 'a' is a number from 0 on, got -1"),
        ({"sizes": SIZES | {"a": 2.0}}, ValueError, "the size of index 'a' is a number from 0 on, got 2.0"),
        ({"sizes": {"a": 2}}, ValueError, "no size for the index 'b'"),
        ({"sizes": [2, 3, 4, 5]}, TypeError, "sizes is a mapping"),
        ({"network": "ab,bc"}, TypeError, "network is a tnrank.Network"),
        ({"path": 3}, TypeError, "the path of a plan is a sequence"),
        ({"path": [(0.5, 1), (2, 3)]}, TypeError, "step 1 of a path"),
        ({"method": None}, TypeError, "method is a string"),
    ],
)
def test_hand_made_plans(changed, error, told):
    given = {"network": MATRICES, "sizes": SIZES, "path": [(0, 1), (2, 3)], "slices": {}, "method": "mine"} | changed
    with pytest.raises(error, match=told):
        ContractionPlan(**given)


def damaged(content, generator):
    """The saved plan with one of its values, anywhere, replaced or left out."""
    broken = json.loads(content)
    place, parts = broken, []
    while isinstance(place, (dict, list)) and place:
        parts.append((place, generator.choice(list(place if isinstance(place, dict) else range(len(place))))))
        place = parts[-1][0][parts[-1][1]]
    holder, key = generator.choice(parts)
    if generator.random() < 0.2:
        del holder[key]
    else:
        holder[key] = generator.choice([None, True, -1, 0, 7, 10**30, 1.5, float("nan"), "x", "", [], {}, [[]], [1, 2]])
    return json.dumps(broken)


def test_damaged_plans_are_refused_with_their_file(tmp_path):
    """Whatever is changed, a plan is refused or contracts correctly."""
    file = tmp_path / "p.json"
    MATRICES.plan(SIZES, memory_limit=7).save(file)
    content, generator = file.read_text(), random.Random(0)
    refused = 0
    for _ in range(400):
        file.write_text(damaged(content, generator))
        plan, told = None, ""
        try:
            plan = ContractionPlan.load(file)
        except ValueError as error:
            told = str(error)
        if plan is None:
            assert "p.json' is not a plan that tnrank saved: " in told
            assert "\n" not in told
            refused += 1
            continue
        if max(plan.sizes.values()) < 100:
            arrays = numpy_arrays(plan.network, plan.sizes)
            try:
                wanted = np.einsum(plan.network.to_einsum(), *arrays.values())
            except ValueError:  # a label of another kind, which has no letter
                continue
            np.testing.assert_allclose(plan(arrays), wanted, rtol=1e-10, atol=1e-12)
    assert refused > 250


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}", b"\xff\xfe{}", b"[[1]]", b"null", b"\x00", b'"']
)
def test_files_that_break_the_parser(tmp_path, content):
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.json' is not a plan that tnrank saved: .+$"):
        ContractionPlan.load(tmp_path / "p.json")


def test_pipes_and_folders_are_no_plans(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a named pipe, needed a file on disk"):
        ContractionPlan.load(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a folder, needed a file on disk"):
        ContractionPlan.load(tmp_path)


def test_numbers_beyond_the_range_of_floats_are_printed():
    network = Network({f"A{k}": (("b", k), ("b", k + 1), ("p", k)) for k in range(400)})
    plan = network.plan(dict.fromkeys(network.indices, 10), optimize="greedy")
    assert "FLOPs" in str(plan)
    assert "1e4" in str(plan)
    assert "ContractionPlan(399 steps, 1e" in repr(plan)


@pytest.mark.parametrize(
    "limit", ["1.2.3 MB", ".", "1e3 MB", "MB", "9" * 400 + "TB", "nan", "-1 MB", float("inf"), [1]]
)
def test_memory_limits_that_are_none(limit):
    with pytest.raises(ValueError, match="memory_limit"):
        MATRICES.plan(SIZES, memory_limit=limit)


def test_the_result_is_named_beside_a_memory_limit():
    network = Network({"A": "i", "B": "j"}, "ij")
    plan = network.plan({"i": 20, "j": 30}, memory_limit=60)
    assert (plan.largest_intermediate, plan.result_size) == (60, 600)
    assert "result                600 elements" in str(plan)
    assert plan({"A": np.ones(20), "B": np.ones(30)}).size == 600


WRONG = [None, 5, "x", [1], object(), np.ones(2), {1: 2}]


@pytest.mark.parametrize("thing", WRONG, ids=lambda x: type(x).__name__)
def test_wrong_types_at_every_door(thing):
    arrays = numpy_arrays(MATRICES, SIZES)
    plan = MATRICES.plan(SIZES)
    calls = [
        lambda: tnrank.contract(thing, arrays),
        lambda: tnrank.contract(MATRICES, thing),
        lambda: tnrank.environment(thing, arrays, "0"),
        lambda: tnrank.environment(MATRICES, thing, "0"),
        lambda: tnrank.environment(MATRICES, arrays, thing),
        lambda: Network(thing),
        lambda: Network({"A": "ij"}, [thing] if thing is None else {"a": thing}),
        lambda: Network.from_einsum(thing if thing != "x" else None) if not isinstance(thing, np.ndarray) else plan(3),
        lambda: Network.from_einsum("ab,bc", thing if thing is not None else 3),
        lambda: Network.from_nodes(thing, output=3),
        lambda: MATRICES.plan(thing),
        lambda: MATRICES.plan(SIZES, batch=thing),
        lambda: MATRICES.sizes(thing),
        lambda: MATRICES.to_nodes(thing),
        lambda: MATRICES.without(thing),
        lambda: plan(thing),
        lambda: plan.pull_back(thing, np.ones((2, 5))),
        lambda: plan.pull_back(arrays, thing),
        lambda: Network.from_nodes(thing),
        lambda: ContractionPlan(MATRICES, SIZES, thing),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=r"needed|is a|got|no tensor|no index|give"):
            call()


@pytest.mark.few_on_jax("True")
@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("warm", [False, True])
def test_masked_sparse_and_matrix_arrays_are_refused(backend_name, warm):
    """Not one of them passes where the first array is harmless, or where the plan has been compiled before."""
    network = Network({"A": "ij", "B": "jk"})
    backend = tnrank.get_backend(backend_name)
    plain = {name: backend.asarray(np.ones((2, 2))) for name in "AB"}
    plan = Network({"A": "ij", "B": "jk"}, "ki").plan(dict.fromkeys("ijk", 2), optimize=[(0, 1)] if warm else "auto")
    if warm:
        plan(plain)
    masked = np.ma.array(np.ones((2, 2)), mask=[[0, 1], [0, 0]])
    clear = np.ma.array(np.ones((2, 2)), mask=np.zeros((2, 2)))
    if backend_name == "numpy":
        odd = [(clear, masked), (plain["A"], masked), (masked, plain["B"]), (plain["A"], np.matrix(np.ones((2, 2))))]
        odd.append((np.matrix(np.ones((2, 2))),) * 2)
    elif backend_name == "torch":
        import torch

        sparse = torch.ones(2, 2).to_sparse()
        odd = [(plain["A"], sparse), (sparse, plain["B"]), (sparse, sparse)]
    else:
        from jax.experimental import sparse as jax_sparse

        sparse = jax_sparse.BCOO.fromdense(plain["A"])
        odd = [(plain["A"], sparse), (sparse, plain["B"]), (sparse, sparse)]
    for a, b in odd:
        for call in (plan, lambda given: tnrank.contract(network, given)):
            with pytest.raises((TypeError, ValueError), match=r"masked|sparse|matrix"):
                call({"A": a, "B": b})
    if backend_name == "numpy":
        for result in (
            plan({"A": clear, "B": clear}),
            plan({"A": plain["A"], "B": clear}),
            tnrank.contract(network, {"A": clear, "B": plain["B"]}),
        ):
            assert type(result) is np.ndarray
            np.testing.assert_array_equal(result, np.full((2, 2), 2.0))
