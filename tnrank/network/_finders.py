"""Candidates for a contraction path, each found within a few seconds."""

from __future__ import annotations

import contextlib
import importlib.util
import random
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tnrank.network._given import NAMED, Finder, GivenOrder, Order
from tnrank.network._path import Pair, Problem, in_pairs, to_single_assignment, walk
from tnrank.network._subsets import TooMuchWork, connected_path
from tnrank.network._tree_path import Path, best_order, tree_path

SECONDS = 2.0
"""What the trials of one random search take, about."""

EXHAUSTIVE = 12
"""Tensors of which ``optimize="optimal"`` compares all orders: 3^12 pairs of sets, about a second."""

_SMALL = 4  # opt_einsum searches all orders of up to four tensors: nothing can be better
_THOROUGH = 600  # indices of all tensors up to which cotengra's long trials take less than a second
_QUICK = 2000  # .. and its short ones
_SPARSE = 6  # indices a tensor up to which the long trials do so
_OWN_LIMIT = "or give a finder of your own, which runs without a limit"


def candidates(problem: Problem, choice: str | Finder | GivenOrder) -> Iterator[Order]:
    """Orders with the names of their finders; the caller takes the cheapest."""
    count = len(problem.inputs)
    if isinstance(choice, GivenOrder):
        yield choice.order
    elif count == 1:
        yield Order("nothing to contract", ())
    elif count == 2 and not (isinstance(choice, Finder) and choice.slices):
        yield Order("the only order", ((0, 1),))
    elif isinstance(choice, Finder):
        yield choice.search(problem)
    elif choice == "tree":
        path = tree_path(problem.inputs, problem.output, problem.sizes, problem.batch)
        if path is None:
            raise ValueError(
                "optimize='tree' needs a network that is a tree once hyperindices are nodes, and this one "
                "has a cycle: use optimize='auto'"
            )
        yield _order("tree-aware", path)
    elif choice == "auto":
        yield from _quick(problem)
    elif choice == "auto-hq":
        yield from _long(problem)
    elif choice == "greedy":
        yield _order("opt_einsum greedy", _opt_einsum(problem, "greedy"))
    elif choice == "random-greedy":
        yield _order("opt_einsum random-greedy", _random_greedy(problem, 32))
    elif choice == "dp":
        yield _order("dynamic programming", _dynamic(problem))
    elif choice == "optimal":
        yield _order("all orders", _optimal(problem))
    else:
        assert choice == NAMED[-1]
        if not importlib.util.find_spec("cotengra"):
            raise ValueError("optimize='cotengra' needs cotengra: pip install 'tnrank[cotengra]'")
        yield _order("cotengra auto", _cotengra_trials(problem, thorough=False) or _cotengra_greedy(problem))


def _quick(problem: Problem) -> Iterator[Order]:
    """What takes far less time than the contraction: one pass of each finder."""
    if len(problem.inputs) <= _SMALL:
        yield _order("opt_einsum optimal", _opt_einsum(problem, "optimal", with_batch=True))
        return
    path = tree_path(problem.inputs, problem.output, problem.sizes, problem.batch)
    if path is not None:
        yield _order("tree-aware", path)
    yield _order("opt_einsum without batch", _opt_einsum(problem, "auto"))
    if importlib.util.find_spec("cotengra"):
        # Its scores are floating-point numbers, which the sizes of high-order end tensors leave.
        with contextlib.suppress(OverflowError):
            yield _order("cotengra greedy", _cotengra_greedy(problem))


def _long(problem: Problem) -> Iterator[Order]:
    """Searches of a few seconds each, and dynamic programming below the cheapest order that they find."""
    least: int | None = None
    for order in _trials(problem):
        flops = _flops(walk(problem, list(order.path)), problem)
        least = flops if least is None else min(least, flops)
        yield order
    if least is not None and len(problem.inputs) > _SMALL:
        with contextlib.suppress(TooMuchWork):
            path = connected_path(problem.inputs, problem.output, problem.sizes, least)
            if path is not None:
                yield _order("dynamic programming", path)


def _trials(problem: Problem) -> Iterator[Order]:
    yield from _quick(problem)
    if len(problem.inputs) <= _SMALL:
        return
    yield _order("opt_einsum random-greedy", _random_greedy(problem, 128))
    if importlib.util.find_spec("cotengra"):
        with contextlib.suppress(OverflowError):
            path = _cotengra_trials(problem, thorough=True)
            if path is not None:
                yield _order("cotengra auto-hq", path)


def _dynamic(problem: Problem) -> Path:
    known = _random_greedy(problem, 32)
    bound = _flops(walk(problem, known), problem)
    try:
        # An order with outer products may be cheaper than all without.
        return connected_path(problem.inputs, problem.output, problem.sizes, bound) or known
    except TooMuchWork:
        raise ValueError(
            f"optimize='dp' is given up after a few seconds: this network of {len(problem.inputs)} tensors has too "
            f"many connected parts for dynamic programming; use optimize='auto-hq', {_OWN_LIMIT}, such as "
            "opt_einsum.DynamicProgramming()"
        ) from None


def _optimal(problem: Problem) -> Path:
    count = len(problem.inputs)
    if count > EXHAUSTIVE:
        raise ValueError(
            f"optimize='optimal' compares all orders of at most {EXHAUSTIVE} tensors, and this network has {count}: "
            f"use optimize='dp' or 'auto-hq', {_OWN_LIMIT}, such as opt_einsum.paths.optimal"
        )
    kept = frozenset(problem.output)
    return list(best_order(problem.inputs, problem.sizes, tuple(k in kept for k in range(len(problem.sizes)))))


def _random_greedy(problem: Problem, trials: int) -> Path:
    from opt_einsum import RandomGreedy

    # Counted and not timed, so that a network has the same plan on every machine.
    trials = max(2, min(trials, int(SECONDS / _seconds_a_pass(problem))))
    # opt_einsum seeds Python's own generator with the number of the trial.
    state = random.getstate()
    try:
        return _opt_einsum(problem, RandomGreedy(max_repeats=trials))
    finally:
        random.setstate(state)


def _seconds_a_pass(problem: Problem) -> float:
    """About what one greedy pass of opt_einsum takes."""
    count, holders = len(problem.inputs), Counter(label for member in problem.inputs for label in member)
    neighbors = sum(held * (held - 1) / 2 for label, held in holders.items() if label not in problem.batch)
    return 8e-5 * count + 1e-5 * neighbors * sum(map(len, problem.inputs)) / count


def _opt_einsum(problem: Problem, optimize: Any, with_batch: bool = False) -> Path:
    from opt_einsum import paths

    inputs, output, sizes = problem.seen(with_batch)
    if optimize == "greedy" or (optimize == "auto" and len(inputs) > 14):
        return in_pairs(paths.ssa_greedy_optimize(inputs, output, sizes), len(inputs))
    finder = paths.get_path_fn(optimize) if isinstance(optimize, str) else optimize
    linear = finder(inputs, output, sizes, None)
    return in_pairs(to_single_assignment(linear, len(inputs)), len(inputs))


def _cotengra_greedy(problem: Problem) -> Path:
    from cotengra.pathfinders.path_basic import optimize_greedy

    inputs, output, sizes = problem.ordered(False)
    return in_pairs(optimize_greedy(inputs, output, sizes, use_ssa=True), len(inputs))


def _cotengra_trials(problem: Problem, thorough: bool) -> Path | None:
    """The best of cotengra's trials in ``SECONDS``, in this process; ``None`` where one would take longer."""
    inputs, output, sizes = problem.ordered(False)
    total = sum(map(len, inputs))
    if total > _QUICK:
        return None
    import cotengra

    options: dict[str, Any] = {"methods": ("random-greedy",), "optlib": "sses"}
    reconf: dict[str, Any] = {"subtree_size": 4, "maxiter": "auto", "maxiter_auto_cap": 128}
    if thorough and total <= min(_THOROUGH, _SPARSE * len(inputs)):
        partition = "kahypar" if importlib.util.find_spec("kahypar") else "labels"
        options = {"methods": ("greedy", partition), "optlib": "sbplx"}
        reconf = {"subtree_size": 8, "maxiter": "auto", "maxiter_auto_cap": 1024}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*kahypar")  # an extra of cotengra's, not of ours
        finder = cotengra.HyperOptimizer(
            **options,
            minimize="combo",
            max_repeats=128,
            max_time=SECONDS,
            parallel=False,
            reconf_opts=reconf,
            on_trial_error="raise",
        )
        tree = finder.search(inputs, output, sizes)
    return in_pairs(tree.get_ssa_path(), len(inputs))


def _flops(steps: list[Pair], problem: Problem) -> int:
    return sum(step.cost(problem.sizes) for step in steps)


def _order(method: str, path: Path) -> Order:
    return Order(method, tuple(path))
