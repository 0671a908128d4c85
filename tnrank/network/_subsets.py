"""The cheapest order without outer products, by dynamic programming over connected sets of tensors, up to a limit.

The method is that of Pfeifer, Haegeman and Verstraete, *Faster identification of optimal contraction sequences for
tensor networks* (Phys. Rev. E 90, 033315, 2014), with the cost of a known order as the bound above which nothing is
kept. The number of connected sets grows exponentially in networks with many cycles, so the work is counted. It is
counted and not timed so that a network has the same plan on every machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnrank.network._tree_path import Path

WORK = 30_000_000
"""Pairs of sets that one search compares at most: two seconds or three."""

_PRICE = 25
"""What contracting a pair costs, in comparisons of a pair."""


_WORD, _FEW = 62, 64


class TooMuchWork(Exception):
    """The search was given up."""


def connected_path(
    inputs: Sequence[tuple[int, ...]], output: Sequence[int], sizes: Sequence[int], bound: int, work: int = WORK
) -> Path | None:
    """The path of fewest multiplications, or ``None`` if all without outer products cost more than ``bound``.

    ``inputs`` are tuples of index numbers without repetition. Components are contracted for themselves and then
    multiplied, smallest first; scalars go into the smallest tensor.

    Raises:
        TooMuchWork: if more than ``work`` pairs would be compared.
    """
    search = _Search(inputs, output, sizes, bound, work)
    path: Path = []
    done: list[tuple[int, int]] = []
    scalars = [tensor for tensor, labels in enumerate(inputs) if not labels]
    others = [tensor for tensor, labels in enumerate(inputs) if labels]
    if others and scalars:  # into the smallest tensor, where they cost least
        smallest = min(others, key=lambda tensor: search.elements[1 << tensor])
        for scalar in scalars:
            path.append((scalar, search.place.get(smallest, smallest)))
            search.place[smallest] = len(inputs) + len(path) - 1
    for component in search.components():
        if others and search.legs.get(component) == 0 and component.bit_count() == 1:
            continue
        found = search.best(component)
        if found is None:
            return None
        done.append((search.elements[component], search.append(component, path)))
    heapq.heapify(done)
    while len(done) > 1:
        (first_size, first), (second_size, second) = heapq.heappop(done), heapq.heappop(done)
        path.append((first, second))
        heapq.heappush(done, (first_size * second_size, len(inputs) + len(path) - 1))
    return path


class _Search:
    """Sets of tensors and of indices are the bits of integers.

    Indices on the same tensors are one, whose size is their product.
    """

    def __init__(
        self, inputs: Sequence[tuple[int, ...]], output: Sequence[int], sizes: Sequence[int], bound: int, work: int
    ) -> None:
        self.count, self.bound, self.work = len(inputs), bound, work
        holders: dict[int, int] = {}
        for tensor, labels in enumerate(inputs):
            for label in labels:
                holders[label] = holders.get(label, 0) | 1 << tensor
        open_labels = frozenset(output)
        fused: dict[tuple[int, bool], list[int]] = {}
        for label, tensors in holders.items():
            fused.setdefault((tensors, label in open_labels), []).append(label)
        self.holders = [tensors for tensors, _ in fused]
        self.open = sum(1 << k for k, (_, is_open) in enumerate(fused) if is_open)
        # Division gives the size of a union; with an index of size 0 all orders cost the same.
        # Sets of many tensors or indices are long integers.
        self.price = _PRICE * (1 + self.count // 64 + len(fused) // 512)
        self.sizes = [max(1, prod(sizes[label] for label in labels)) for labels in fused.values()]
        self.only = self.sizes[0] if len(set(self.sizes)) == 1 else None
        self.known_sizes: dict[int, int] = {}
        self.legs: dict[int, int] = {}
        self.elements: dict[int, int] = {}
        self.near: dict[int, int] = {}
        for tensor in range(self.count):
            held = [k for k, tensors in enumerate(self.holders) if tensors >> tensor & 1]
            self.legs[1 << tensor] = sum(1 << k for k in held)
            self.elements[1 << tensor] = prod(self.sizes[k] for k in held)
        self.costs: dict[int, int] = {1 << tensor: 0 for tensor in range(self.count)}
        self.parts: dict[int, int] = {}
        self.place: dict[int, int] = {}
        """Positions of tensors that have been multiplied by scalars."""

    def size(self, legs: int) -> int:
        """Elements of an array with the indices ``legs``."""
        if self.only is not None:
            return int(self.only ** legs.bit_count())
        found = self.known_sizes.get(legs)
        if found is None:
            found, left = 1, legs
            self.work -= self.price
            while left:
                lowest = left & -left
                found *= self.sizes[lowest.bit_length() - 1]
                left ^= lowest
            self.known_sizes[legs] = found
        return found

    def components(self) -> list[int]:
        """Connected components, as sets of tensors; a tensor without indices is one."""
        left = (1 << self.count) - 1
        found = []
        while left:
            component, reached = 0, left & -left
            while reached != component:
                component = reached
                for tensors in self.holders:
                    if tensors & reached:
                        reached |= tensors
            found.append(component)
            left &= ~component
        return found

    def neighbors(self, tensors: int, legs: int) -> int:
        """The tensors that share an index with the set ``tensors``."""
        found = 0
        while legs:
            lowest = legs & -legs
            found |= self.holders[lowest.bit_length() - 1]
            legs ^= lowest
        return found & ~tensors

    def best(self, component: int) -> int | None:
        """The cost of contracting ``component``; what it is made of stays in ``parts``."""
        members = [1 << k for k in range(self.count) if component >> k & 1]
        levels: list[Sequence[int] | NDArray[np.int64]] = [[], members]
        for count in range(2, len(members) + 1):
            made: dict[int, None] = {}
            for few in range(1, count // 2 + 1):
                others = levels[count - few]
                for first in map(int, levels[few]):
                    self.join(first, others, few == count - few, made)
            # NumPy compares many sets at once, where they fit into its integers.
            fits = self.count <= _WORD and len(made) > _FEW
            levels.append(np.fromiter(made, np.int64, len(made)) if fits else list(made))
        return self.costs.get(component)

    def join(self, first: int, others: Any, same: bool, made: dict[int, None]) -> None:
        """Contract the set ``first`` with all of ``others`` that are disjoint from it and share an index with it."""
        costs, legs_of = self.costs, self.legs
        cost, legs, elements = costs[first], legs_of[first], self.elements[first]
        near = self.near.get(first)
        if near is None:
            near = self.near[first] = self.neighbors(first, legs)
        if isinstance(others, list):
            meeting = [s for s in others if s & near and not s & first]
            self.work -= len(others) * (1 + self.count // 64)
        else:
            meeting = others[((others & near) != 0) & ((others & first) == 0)].tolist()
            self.work -= len(others) // 8
        self.work -= self.price * len(meeting)
        if self.work < 0:
            raise TooMuchWork
        for second in meeting:
            if same and second < first:
                continue
            other_legs = legs_of[second]
            shared = legs & other_legs
            step = elements * self.elements[second] // self.size(shared)
            total = cost + costs[second] + step
            both = first | second
            known = costs.get(both)
            if total > self.bound or (known is not None and known <= total):
                continue
            if known is None:
                summed, shared = 0, shared & ~self.open
                while shared:
                    lowest = shared & -shared
                    if not self.holders[lowest.bit_length() - 1] & ~both:
                        summed |= lowest
                    shared ^= lowest
                legs_of[both] = (legs | other_legs) ^ summed
                self.elements[both] = step // self.size(summed)
                made[both] = None
            costs[both], self.parts[both] = total, first

    def append(self, tensors: int, path: Path) -> int:
        """Append the contractions of the set ``tensors`` to ``path``; gives the position of the result."""
        order = [tensors]
        for member in order:
            if member in self.parts:
                part = self.parts[member]
                order += (part, member ^ part)
        position: dict[int, int] = {}
        for member in reversed(order):
            if member not in self.parts:
                tensor = member.bit_length() - 1
                position[member] = self.place.get(tensor, tensor)
            else:
                part = self.parts[member]
                path.append((position[part], position[member ^ part]))
                position[member] = self.count + len(path) - 1
        return position[tensors]
