"""Candidates for a contraction path, and the choice between them."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tnrank.network._tree_path import Path, tree_path

NAMED = ("auto", "auto-hq", "tree", "greedy", "optimal", "dp", "random-greedy", "cotengra")
_EXHAUSTIVE = 4  # opt_einsum searches all orders of up to four tensors: nothing can be better


@dataclass(frozen=True)
class Problem:
    """A network in numbers: inputs without repeated or private indices, as tuples of index numbers."""

    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    sizes: tuple[int, ...]
    batch: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """One step of a path: the indices of both operands and of the result."""

    first: int
    second: int
    left: tuple[int, ...]
    right: tuple[int, ...]
    out: tuple[int, ...]

    def cost(self, sizes: Sequence[int]) -> int:
        """Scalar multiplications: the product of the sizes of all indices of the step."""
        return prod(sizes[x] for x in {*self.left, *self.right})

    def size(self, sizes: Sequence[int]) -> int:
        """Elements of the result."""
        return prod(sizes[x] for x in self.out)


def walk(problem: Problem, path: Path) -> list[Pair]:
    """The steps of ``path`` with their indices; an index is summed once no other tensor carries it."""
    labels: list[tuple[int, ...]] = list(problem.inputs)
    left: dict[int, int] = {}
    for member in problem.inputs:
        for label in member:
            left[label] = left.get(label, 0) + 1
    output = set(problem.output)
    steps = []
    for a, b in path:
        first, second = labels[a], labels[b]
        out = []
        for label in dict.fromkeys(first + second):
            inside = (label in first) + (label in second)
            if label in output or left[label] > inside:
                out.append(label)
                left[label] -= inside - 1
        labels.append(tuple(out))
        steps.append(Pair(a, b, first, second, tuple(out)))
    return steps


def candidates(problem: Problem, optimize: str | Callable[..., Any]) -> Iterator[tuple[str, Path]]:
    """Named paths in static single assignment form, duplicates of no interest removed by the caller."""
    count = len(problem.inputs)
    if count == 1:
        yield "nothing to contract", []
        return
    if count == 2:
        yield "the only order", [(0, 1)]
        return
    if callable(optimize):
        yield "given finder", _opt_einsum(problem, optimize)
        return
    if optimize in ("auto", "auto-hq", "tree"):
        if optimize != "tree" and count <= _EXHAUSTIVE:
            yield "opt_einsum optimal", _opt_einsum(problem, "optimal", with_batch=True)
            return
        path = tree_path(problem.inputs, problem.output, problem.sizes, problem.batch)
        if path is not None:
            yield "tree-aware", path
        elif optimize == "tree":
            raise ValueError(
                "optimize='tree' needs a network that is a tree once hyperindices are nodes, and this one "
                "has a cycle: use optimize='auto'"
            )
        if optimize == "tree":
            return
    if optimize in ("auto", "auto-hq"):
        yield "opt_einsum without batch", _opt_einsum(problem, "auto")
        if importlib.util.find_spec("cotengra"):
            # Its scores are floating-point numbers, which the sizes of high-order end tensors leave.
            with contextlib.suppress(OverflowError):
                yield "cotengra greedy", _cotengra(problem, "greedy")
        if optimize == "auto-hq":
            yield "opt_einsum random-greedy", _opt_einsum(problem, "random-greedy-128")
            if count <= 40:
                yield "opt_einsum dp", _opt_einsum(problem, "dp", with_batch=True)
            if importlib.util.find_spec("cotengra"):
                yield "cotengra auto-hq", _cotengra(problem, "auto-hq")
    elif optimize == "cotengra":
        if not importlib.util.find_spec("cotengra"):
            raise ValueError("optimize='cotengra' needs cotengra: pip install 'tnrank[cotengra]'")
        yield "cotengra auto", _cotengra(problem, "auto")
    else:
        yield f"opt_einsum {optimize}", _opt_einsum(problem, str(optimize))


def _search_view(problem: Problem, with_batch: bool) -> tuple[list[frozenset[int]], frozenset[int], dict[int, int]]:
    """Inputs, output and sizes as the finders see them: batch indices mislead them, so they are left out."""
    skip = frozenset() if with_batch else frozenset(problem.batch)
    inputs = [frozenset(member) - skip for member in problem.inputs]
    return inputs, frozenset(problem.output) - skip, dict(enumerate(problem.sizes))


def _opt_einsum(problem: Problem, optimize: str | Callable[..., Any], with_batch: bool = False) -> Path:
    from opt_einsum import paths

    inputs, output, sizes = _search_view(problem, with_batch)
    if optimize == "greedy" or (optimize == "auto" and len(inputs) > 14):
        return _pairs(paths.ssa_greedy_optimize(inputs, output, sizes), len(inputs))
    finder = paths.get_path_fn(optimize) if isinstance(optimize, str) else optimize
    linear = finder(inputs, output, sizes, None)
    return _pairs(_to_ssa(linear, len(inputs)), len(inputs))


def _cotengra(problem: Problem, optimize: str) -> Path:
    inputs, output, sizes = _search_view(problem, False)
    ordered = [tuple(sorted(member)) for member in inputs]
    if optimize == "greedy":
        from cotengra.pathfinders.path_basic import optimize_greedy

        return _pairs(optimize_greedy(ordered, tuple(sorted(output)), sizes, use_ssa=True), len(inputs))
    import cotengra

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*kahypar")  # an extra of cotengra's, not of ours
        linear = cotengra.array_contract_path(
            tuple(ordered), tuple(sorted(output)), size_dict=sizes, optimize=optimize, canonicalize=False
        )
    return _pairs(_to_ssa(linear, len(inputs)), len(inputs))


def _to_ssa(linear: Any, count: int) -> list[tuple[int, ...]]:
    ids = list(range(count))
    ssa = []
    for step in linear:
        ssa.append(tuple(ids[k] for k in step))
        for k in sorted(step, reverse=True):
            del ids[k]
        ids.append(count)
        count += 1
    return ssa


def _pairs(ssa: Any, count: int) -> Path:
    """Steps of one or of many operands as pairs."""
    renamed: dict[int, int] = {}
    made: Path = []
    position = count
    for number, step in enumerate(ssa):
        members = [renamed.get(k, k) for k in step]
        while len(members) > 1:
            made.append((members[0], members[1]))
            members[:2] = [position]
            position += 1
        renamed[count + number] = members[0]
    remaining = set(range(position)) - {k for pair in made for k in pair}
    rest = sorted(remaining)
    while len(rest) > 1:
        made.append((rest[0], rest[1]))
        rest = [*rest[2:], position]
        position += 1
    return made


def explicit_path(path: Any, count: int) -> Path:
    """A path that the caller gave in opt_einsum's form.

    Raises:
        ValueError: if it does not contract every tensor once.
    """
    try:
        steps = [tuple(int(k) for k in step) for step in path]
        made = _pairs(_to_ssa(steps, count), count) if sum(len(s) - 1 for s in steps) == count - 1 else []
    except (TypeError, ValueError, IndexError):
        made = []
    if sorted(k for pair in made for k in pair) != list(range(2 * count - 2)):
        raise ValueError(f"the path {path!r} does not contract {count} tensors: needed steps such as (0, 1)")
    return made
