"""Contraction paths: what a step costs, and the two forms in which a path is written.

opt_einsum, NumPy and ``optimize=`` count positions in the list of arrays that are left: the operands leave it, and the
result goes to its end. A plan is in static single assignment form: step k of n tensors makes array n + k, and every
array is taken once. Only the second form has numbers from n on, so that a path of three or more tensors is of one form
alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tnrank._check import sequence, shown
from tnrank.network._tree_path import Path


@dataclass(frozen=True)
class Problem:
    """A network in numbers: inputs without repeated or private indices, as tuples of index numbers."""

    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    sizes: tuple[int, ...]
    batch: tuple[int, ...]

    def seen(self, with_batch: bool) -> tuple[list[frozenset[int]], frozenset[int], dict[int, int]]:
        """Inputs, output and sizes as finders see them: batch indices mislead them, so they are left out."""
        skip = frozenset() if with_batch else frozenset(self.batch)
        inputs = [frozenset(member) - skip for member in self.inputs]
        return inputs, frozenset(self.output) - skip, dict(enumerate(self.sizes))

    def ordered(self, with_batch: bool) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...], dict[int, int]]:
        """The same with tuples, for finders that need an order."""
        inputs, output, sizes = self.seen(with_batch)
        return tuple(tuple(sorted(member)) for member in inputs), tuple(sorted(output)), sizes


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


def to_single_assignment(linear: Iterable[Sequence[int]], count: int) -> list[tuple[int, ...]]:
    """A path that counts positions in what is left, in static single assignment form."""
    ids = list(range(count))
    ssa = []
    for step in linear:
        ssa.append(tuple(ids[k] for k in step))
        for k in sorted(step, reverse=True):
            del ids[k]
        ids.append(count)
        count += 1
    return ssa


def in_pairs(ssa: Iterable[Sequence[int]], count: int) -> Path:
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
    """A path in opt_einsum's form, checked, as pairs in static single assignment form.

    Raises:
        TypeError: if it is not a sequence of sequences of whole numbers.
        ValueError: if it does not contract ``count`` tensors to one.
    """
    steps: list[list[int]] = []
    left = count
    problem = ""
    path = sequence(path, "a path", "steps such as (0, 1)")
    for number, step in enumerate(path, 1):
        if isinstance(step, str):
            problem = f"step {number} is {shown(step)}"
            break
        positions = [_position(k, number) for k in _members(step, number)]
        wrong = [k for k in positions if k < 0 or k >= left]
        if wrong or len(set(positions)) != len(positions) or not positions:
            what = f"takes position {wrong[0]}" if wrong else "takes nothing" if not positions else "takes one twice"
            problem = f"step {number} {what}, and {left} arrays are left"
            break
        steps.append(positions)
        left -= len(positions) - 1
    if not problem and left > 1:
        problem = f"{left} arrays are left at its end"
    if problem:
        hint = ""
        if count > 2 and _is_plan_path(path, count):
            hint = "; its form is that of a plan: give it to tnrank.ContractionPlan(network, sizes, path)"
        raise ValueError(
            f"the path {shown(path)} does not contract {count} tensors: {problem}; needed steps such as (0, 1), "
            f"positions in the list of what is left, as opt_einsum and NumPy count{hint}"
        )
    return in_pairs(to_single_assignment(steps, count), count)


def plan_path(path: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Pairs in static single assignment form that contract ``count`` tensors, checked.

    Raises:
        TypeError: if it is not a sequence of pairs of whole numbers.
        ValueError: if it does not take every array once.
    """
    needed = max(count - 1, 0)
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    problem = ""
    path = sequence(path, "the path of a plan", "pairs such as (0, 1)")
    for number, step in enumerate(path, 1):
        pair = [_position(k, number) for k in _members(step, number)]
        made = count + number - 1
        wrong = next((k for k in pair if k in taken or not 0 <= k < made), None)
        if len(pair) != 2 or number > needed:
            problem = f"step {number} takes {len(pair)} arrays" if len(pair) != 2 else f"it has {len(path)} steps"
        elif pair[0] == pair[1]:
            problem = f"step {number} takes array {pair[0]} twice"
        elif wrong is not None:
            exists = (
                "which an earlier step has taken" if wrong in taken else f"and the arrays so far are 0 to {made - 1}"
            )
            problem = f"step {number} takes array {wrong}, {exists}"
        if problem:
            break
        taken.update(pair)
        pairs.append((pair[0], pair[1]))
    if not problem and len(pairs) < needed:
        problem = f"it has {len(pairs)} steps"
    if problem:
        hint = _recycled_hint(path, count)
        raise ValueError(
            f"the path {shown(path)} is not that of a plan for {count} tensors: {problem}; needed {needed} pairs, in "
            f"which step k makes array {count} + k (k from 0 on) and each array is taken once{hint}"
        )
    return tuple(pairs)


def _recycled_hint(path: Any, count: int) -> str:
    try:
        explicit_path(path, count)
    except (TypeError, ValueError):
        return ""
    return "; its form is opt_einsum's: give it to network.plan(sizes, optimize=path)"


def _is_plan_path(path: Any, count: int) -> bool:
    made = [k for step in path if isinstance(step, Iterable) and not isinstance(step, str) for k in step]
    return sorted(made, key=str) == sorted(range(2 * count - 2), key=str)


def _members(step: Any, number: int) -> list[Any]:
    return sequence(step, f"step {number} of a path", "positions such as (0, 1)")


def _position(value: Any, number: int) -> int:
    if isinstance(value, bool) or not hasattr(type(value), "__index__") or getattr(value, "shape", ()) != ():
        raise TypeError(f"step {number} of a path has positions such as (0, 1), got {shown(value)}")
    return int(value)
