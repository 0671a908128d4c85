"""Slicing: contract a few elements of an index at a time, so that every array fits under a limit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from math import ceil, prod
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._check import shown, whole_number
from tnrank.network._lower import run_pair
from tnrank.network._path import Pair, Problem
from tnrank.network._program import Program

Slices = tuple[tuple[int, int], ...]
"""(index, elements at once) for every sliced index."""

MOST_SLICES = 1_000_000
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16}


def parse_limit(limit: int | str | None, dtype: str) -> int | None:
    """A memory limit in elements.

    Raises:
        ValueError: if it is not positive, or a string that is not a number of bytes.
    """
    if limit is None:
        return None
    if isinstance(limit, str):
        match = re.fullmatch(r"\s*([0-9]{1,30}(?:\.[0-9]*)?|\.[0-9]+)\s*([kmgt]?)(i?)b?\s*", limit.lower())
        if not match:
            raise ValueError(
                f"memory_limit={shown(limit)}: a number of elements, or a string of bytes such as '64 MiB'"
            )
        unit = _BINARY.get(match[2], 1) if match[3] else _UNITS[match[2]]
        number = int(Fraction(match[1].rstrip(".")) * unit) // _bytes(dtype)
        if number < 1:
            raise ValueError(f"memory_limit={shown(limit)} is less than one element of {dtype}")
        return number
    try:
        return whole_number(limit, "memory_limit", 1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error}: elements as an integer, or bytes as a string such as '64 MiB'") from None


def _bytes(dtype: Any) -> int:
    if isinstance(dtype, str) and dtype in _BYTES:
        return _BYTES[dtype]
    try:
        return np.dtype(dtype).itemsize or 1
    except TypeError:
        raise ValueError(
            f"a memory_limit in bytes needs the dtype of the arrays, got dtype={shown(dtype)}: one such as "
            f"{', '.join(_BYTES)}"
        ) from None


class Slicing:
    """How a path's costs change when indices are sliced."""

    def __init__(self, slices: Slices, sizes: Sequence[int]) -> None:
        self.slices, self.sizes = slices, tuple(sizes)
        self.chunks = dict(slices)

    @cached_property
    def small(self) -> tuple[int, ...]:
        """Index sizes within one slice."""
        return tuple(min(self.chunks.get(k, size), size) for k, size in enumerate(self.sizes))

    def times(self, label: int) -> int:
        """In how many pieces an index is handled."""
        return ceil(self.sizes[label] / self.chunks[label]) if self.sizes[label] else 1

    def sliced_steps(self, steps: Sequence[Pair], given: Sequence[Sequence[int]]) -> list[bool]:
        """Which steps depend on a sliced index; the others run once."""
        touched = [any(x in self.chunks for x in labels) for labels in given]
        for step in steps:
            touched.append(touched[step.first] or touched[step.second])
        return touched[len(given) :]

    def costs(self, steps: Sequence[Pair], given: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
        """(multiplications over all slices, elements in one slice) of every step."""
        if not self.chunks:
            return [(step.cost(self.sizes), step.size(self.sizes)) for step in steps]
        found = []
        for step, sliced in zip(steps, self.sliced_steps(steps, given), strict=True):
            here = {*step.left, *step.right}
            again = prod(self.times(label) for label in self.chunks if label not in here) if sliced else 1
            found.append((step.cost(self.sizes) * again, step.size(self.small)))
        return found


def choose_slices(
    steps: Sequence[Pair], problem: Problem, limit: int | None, start: Sequence[tuple[int, int]] = ()
) -> tuple[Slices | None, int]:
    """Slices under which no step makes more than ``limit`` elements, and the largest array that is left.

    Batch indices come first, then whichever index is on most of the arrays that are too large. The slices in ``start``
    are kept.
    """
    sizes = problem.sizes
    chunks: dict[int, int] = dict(start)
    while True:
        slicing = Slicing(tuple(chunks.items()), sizes)
        too_large = [s for s in steps if limit is not None and s.size(slicing.small) > limit]
        if not too_large:
            return slicing.slices, max((s.size(slicing.small) for s in steps), default=1)
        peak = max(s.size(slicing.small) for s in too_large)
        open_labels = {x for s in too_large for x in s.out if slicing.small[x] > 1}
        if not open_labels:
            return None, peak
        batch = [x for x in problem.batch if x in open_labels]
        count = {x: sum(x in s.out for s in too_large) for x in open_labels}
        label = batch[0] if batch else min(open_labels, key=lambda x: (-count[x], -slicing.small[x], x))
        holding = [s.size(slicing.small) // slicing.small[label] for s in too_large if label in s.out]
        assert limit is not None
        chunks[label] = max(1, min(limit // max(holding), slicing.small[label]))
        if prod(ceil(sizes[x] / c) for x, c in chunks.items()) > MOST_SLICES:
            return None, peak


class SlicedProgram:
    """A path that is run slice by slice; steps without a sliced index run once, before."""

    def __init__(self, numbers: Any, steps: Sequence[Pair], slicing: Slicing) -> None:
        self.numbers, self.steps, self.slicing = numbers, steps, slicing
        self.sliced = slicing.sliced_steps(steps, numbers.given)
        self._programs: dict[tuple[int, ...], Program] = {}
        self._compiled: dict[tuple[str, tuple[int, ...]], Any] = {}

    def run(self, backend: Backend, values: Sequence[Any]) -> Any:
        """The contraction of ``values``."""
        before = {}
        if not all(self.sliced):
            once = self._steps(backend, self.slicing.sizes, values, {}, False)
            before = {k: made for k, made in enumerate(once) if k >= len(values) and made is not None}
        return self._assemble(backend, values, before, {})

    def _assemble(
        self,
        backend: Backend,
        values: Sequence[Any],
        before: dict[int, Any],
        selection: dict[int, tuple[int, int]],
    ) -> Any:
        if len(selection) == len(self.slicing.slices):
            return self._one(backend, values, before, selection)
        label, chunk = self.slicing.slices[len(selection)]
        size = self.slicing.sizes[label]
        parts = (
            self._assemble(backend, values, before, {**selection, label: (start, min(start + chunk, size))})
            for start in range(0, size, chunk)
        )
        if label in self.numbers.output:
            return backend.xp.concat(list(parts), axis=self.numbers.output.index(label))
        total = next(parts)
        for part in parts:
            total = total + part
        return total

    def _one(
        self,
        backend: Backend,
        values: Sequence[Any],
        before: dict[int, Any],
        selection: dict[int, tuple[int, int]],
    ) -> Any:
        sizes = tuple(
            selection[k][1] - selection[k][0] if k in selection else size for k, size in enumerate(self.slicing.sizes)
        )
        if "jit" not in backend.capabilities:
            cut = [_cut(array, self.numbers.given[k], selection) for k, array in enumerate(values)]
            return self._steps(backend, sizes, cut, before, True)[-1]
        # One compilation for all slices of a size: where a slice begins is an argument, not a constant.
        key = backend.name, sizes
        if key not in self._compiled:

            def one(values: Sequence[Any], before: dict[int, Any], places: dict[int, Any]) -> Any:
                cut = [_take(backend, array, self.numbers.given[k], places) for k, array in enumerate(values)]
                return self._steps(backend, sizes, cut, before, True)[-1]

            self._compiled[key] = backend.jit(one)
        places = {label: backend.xp.arange(start, stop) for label, (start, stop) in selection.items()}
        return self._compiled[key](list(values), before, places)

    def _steps(
        self,
        backend: Backend,
        sizes: tuple[int, ...],
        arrays: Sequence[Any],
        ready: dict[int, Any],
        wanted: bool,
    ) -> list[Any]:
        """Run the steps that are sliced, or those that are not; ``ready`` holds results by position."""
        program = self._programs.get(sizes)
        if program is None:
            numbers = self.numbers
            program = Program(numbers.given, numbers.reduced, self.steps, numbers.output, sizes)
            self._programs[sizes] = program
        made = program.reduce(backend, arrays)
        for number, (a, b, op) in enumerate(program.pairs):
            if self.sliced[number] is wanted:
                made.append(run_pair(backend, op, made[a], made[b]))
                if wanted:
                    made[a] = made[b] = None
            else:
                made.append(ready.get(len(arrays) + number))
        return made


def _cut(array: Any, labels: Sequence[int], selection: dict[int, tuple[int, int]]) -> Any:
    if not any(label in selection for label in labels):
        return array
    return array[tuple(slice(*selection[x]) if x in selection else slice(None) for x in labels)]


def _take(backend: Backend, array: Any, labels: Sequence[int], places: dict[int, Any]) -> Any:
    for axis, label in enumerate(labels):
        if label in places:
            array = backend.take(array, places[label], axis)
    return array
