"""A hierarchical Tucker format without a root: vertices, bonds, and the local moves that regroup them.

One vertex at a time is the *center*: seen from it every branch is an isometry, so that the singular values of any
grouping of its axes are those of a matricization of the whole tensor, and local truncation errors are global ones.

Source: Grasedyck 2010 (frames and transfer tensors); Robinson 1971, *Comparison of labeled trees with valency three*
(any binary tree is reached from any other by exchanges across one bond).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import inf, prod, sqrt
from typing import Any

import numpy as np

from tnrank._backend import backend_of
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.factorizations import _hsvd
from tnrank.linalg import eps_of

_NOISE = 32
"""Rounding noise of a local regrouping, in units of eps: smaller singular values are zeros."""


class TooLarge(ValueError):
    """A local tensor beyond the memory limit."""


class Web:
    """The graph, the arrays and the center; every move changes it in place.

    Bonds are numbers; the bonds 0 .. N-1 are the open modes. ``legs[v]`` are the bonds of vertex v in the order of
    the axes of ``arrays[v]``.

    Args:
        tree: a dimension tree.
        nodes: arrays with orthonormal frames at all nodes but the root, whose norm is 1.
        budget: the norm of what may be lost, added up over all moves.
        most: the most elements of a local tensor.
    """

    def __init__(self, tree: DimensionTree, nodes: Mapping[Node, Array], budget: float, most: float = inf) -> None:
        self.backend = backend_of(nodes[tree.root])
        self.xp = self.backend.xp
        self.noise = _NOISE * eps_of(self.backend.dtype_of(nodes[tree.root]))
        self.budget, self.lost, self.most = budget, 0.0, most
        self.order = tree.order
        number = {node: k for k, node in enumerate(tree.nodes)}  # leaf n has number n
        self.arrays: dict[int, Array] = {}
        self.legs: dict[int, list[int]] = {}
        self.ends: dict[int, list[int]] = {}
        self.fresh = tree.order + len(tree.nodes)
        for node, vertex in number.items():
            below = [number[child] + tree.order for child in tree.children(node)] or [node.modes[0]]
            self._put(vertex, nodes[node], below + ([] if node == tree.root else [vertex + tree.order]))
        self.center = number[tree.root]
        for node in reversed(tree.interior):
            if len(self.legs[number[node]]) < 3:
                self._absorb(number[node])
        self.outer = {self.leaf_bond(mode): mode for mode in range(tree.order) if tree.order > 1}
        """Bond -> the vertex on its far side, for the bonds beyond which all is in place."""

    def leaf_bond(self, mode: int) -> int:
        """The bond above an open mode."""
        return next(bond for bond in self.legs[mode] if bond != mode)

    def _put(self, vertex: int, array: Array, legs: Sequence[int]) -> None:
        self.arrays[vertex], self.legs[vertex] = array, list(legs)
        for bond in legs:
            self.ends.setdefault(bond, []).append(vertex)

    def _take(self, vertex: int) -> tuple[Array, list[int]]:
        legs = self.legs.pop(vertex)
        for bond in legs:
            self.ends[bond].remove(vertex)
            if not self.ends[bond]:
                del self.ends[bond]
        return self.arrays.pop(vertex), legs

    def new(self) -> int:
        """An unused number for a vertex or a bond."""
        self.fresh += 1
        return self.fresh

    def size(self, bonds: Sequence[int], vertex: int) -> int:
        """The product of the dimensions of the given bonds of a vertex."""
        return prod(int(self.arrays[vertex].shape[self.legs[vertex].index(bond)]) for bond in bonds)

    def _elements(self, vertex: int) -> int:
        return prod(int(size) for size in self.arrays[vertex].shape)

    def other_end(self, bond: int, vertex: int) -> int:
        """The vertex at the other end of a bond."""
        a, b = self.ends[bond]
        return b if a == vertex else a

    def _absorb(self, vertex: int) -> None:
        """Contract a vertex of one or two bonds into the neighbor whose array then has the fewer elements."""
        bond = min(self.legs[vertex], key=lambda bond: self._merged(vertex, self.other_end(bond, vertex), bond))
        self._contract(vertex, self.other_end(bond, vertex), bond)

    def _contract(self, vertex: int, into: int, bond: int) -> None:
        """Contract two neighbors; the result keeps the number ``into``, whose own axes come first."""
        kept, kept_legs = self._take(into)
        array, legs = self._take(vertex)
        made = self.xp.tensordot(kept, array, axes=((kept_legs.index(bond),), (legs.index(bond),)))
        self._put(into, made, [b for b in (*kept_legs, *legs) if b != bond])
        if self.center == vertex:
            self.center = into

    def matrix(self, vertex: int, rows: Sequence[int]) -> tuple[Array, list[int]]:
        """The matricization of a vertex with the given bonds as rows, and the bonds of its columns."""
        array, legs = self.arrays[vertex], self.legs[vertex]
        rest = [bond for bond in legs if bond not in rows]
        moved = self.xp.permute_dims(array, [legs.index(bond) for bond in (*rows, *rest)])
        return self.xp.reshape(moved, (prod(moved.shape[: len(rows)]), -1)), rest

    def route(self, start: int, goal: int) -> list[int]:
        """The vertices from one to another."""
        came: dict[int, int] = {start: start}
        queue = deque([start])
        while goal not in came:
            vertex = queue.popleft()
            for bond in self.legs[vertex]:
                for other in self.ends[bond]:
                    if other not in came:
                        came[other] = vertex
                        queue.append(other)
        found = [goal]
        while found[-1] != start:
            found.append(came[found[-1]])
        return found[::-1]

    def between(self, a: int, b: int) -> int:
        """The bond of two neighbors."""
        return next(bond for bond in self.legs[a] if b in self.ends[bond])

    def move_center(self, goal: int) -> None:
        """Make another vertex the center, by QR decompositions along the way."""
        for vertex, following in zip(way := self.route(self.center, goal), way[1:], strict=False):
            bond = self.between(vertex, following)
            rows = [b for b in self.legs[vertex] if b != bond]
            shape = [self.size([b], vertex) for b in rows]
            q, r = self.xp.linalg.qr(self.matrix(vertex, rows)[0])
            self.replace(vertex, self.xp.reshape(q, (*shape, q.shape[1])), [*rows, bond])
            self._multiply(following, bond, r)
            self.center = following

    def replace(self, vertex: int, array: Array, legs: Sequence[int]) -> None:
        """Another array of the same bonds, in the given order."""
        self.arrays[vertex], self.legs[vertex] = array, list(legs)

    def _multiply(self, vertex: int, bond: int, matrix: Array) -> None:
        self.arrays[vertex] = _hsvd.along(self.xp, self.arrays[vertex], matrix, self.legs[vertex].index(bond))

    def _decompose(self, vertex: int, rows: Sequence[int], allowed: float) -> tuple[Array, Array, list[int]]:
        """The truncated ``U`` and ``S V^H`` of the center, and the bonds of the columns."""
        matrix, rest = self.matrix(vertex, rows)
        u, s, v = self.backend.svd(matrix)
        host = np.asarray(self.backend.to_numpy(s), np.float64)
        count = _hsvd.kept_count(host, max(allowed, self.noise * float(np.linalg.norm(host))), None)
        self.dropped = float(np.linalg.norm(host[count:]))
        return u[:, :count], s[:count, None] * v[:count], rest

    def split(self, vertex: int, rows: Sequence[int], share: float) -> int:
        """Split the bonds ``rows`` off to another vertex and return the new bond; ``vertex`` becomes the center."""
        self.move_center(vertex)
        allowed = share * max(0.0, self.budget - self.lost)
        shape = [self.size([bond], vertex) for bond in rows]
        u, rest_matrix, rest = self._decompose(vertex, rows, allowed)
        self.lost += self.dropped
        rest_shape = [self.size([bond], vertex) for bond in rest]
        bond, apart = self.new(), self.new()
        self._take(vertex)
        self._put(apart, self.xp.reshape(u, (*shape, u.shape[1])), [*rows, bond])
        self._put(vertex, self.xp.reshape(rest_matrix, (u.shape[1], *rest_shape)), [bond, *rest])
        return bond

    def truncate_bond(self, bond: int, vertex: int, allowed: float) -> None:
        """Drop up to ``allowed`` at a bond of ``vertex``; the neighbor becomes the center."""
        self.move_center(vertex)
        rows = [b for b in self.legs[vertex] if b != bond]
        shape = [self.size([b], vertex) for b in rows]
        u, carried, _ = self._decompose(vertex, rows, allowed)
        self.replace(vertex, self.xp.reshape(u, (*shape, u.shape[1])), [*rows, bond])
        self.center = self.other_end(bond, vertex)
        self._multiply(self.center, bond, carried)

    def truncate(self, budget: float) -> float:
        """Drop singular values at all bonds, all together at most ``budget``; returns what was lost.

        Bonds come after those beyond them, seen from the center: the projections are nested then, and the squares of
        their errors add up.
        """
        order: list[tuple[int, int]] = []
        todo = [(bond, self.other_end(bond, self.center)) for bond in self._bonds_of(self.center)]
        while todo:
            bond, vertex = todo.pop()
            order.append((bond, vertex))
            todo += [(b, self.other_end(b, vertex)) for b in self._bonds_of(vertex) if b != bond]
        squares, left = 0.0, max(0.0, budget) ** 2
        for count, (bond, vertex) in zip(range(len(order), 0, -1), reversed(order), strict=True):
            self.truncate_bond(bond, vertex, sqrt(max(0.0, left - squares) / count))
            squares += self.dropped**2
        return sqrt(squares)

    def _bonds_of(self, vertex: int) -> list[int]:
        """Without the open modes."""
        return [bond for bond in self.legs[vertex] if len(self.ends[bond]) == 2]

    def join(self, bonds: Sequence[int]) -> None:
        """Contract the neighbors of the given bonds."""
        for bond in bonds:
            vertex, into = self.ends[bond]
            if (size := self._merged(vertex, into, bond)) > self.most:
                raise TooLarge(self._too_large(vertex, into, size))
            if vertex in self.outer.values():
                self.outer = {b: into if v == vertex else v for b, v in self.outer.items()}
            self._contract(vertex, into, bond)

    def inner(self, bond: int) -> int:
        """The vertex on the near side of a bond beyond which all is in place."""
        return self.other_end(bond, self.outer[bond])

    def distance(self, first: int, second: int, most: float = inf) -> float:
        """Bonds between the near ends of two such bonds; ``inf`` beyond ``most``."""
        start, goal = self.inner(first), self.inner(second)
        front, seen, steps = {start}, {start}, 0
        while goal not in front:
            steps += 1
            front = {end for v in front for bond in self.legs[v] for end in self.ends[bond]} - seen
            seen |= front
            if steps > most:
                return inf
        return steps

    def spectrum(self, bond: int) -> Any:
        """Singular values at a bond, on the host."""
        vertex = self.ends[bond][0]
        self.move_center(vertex)
        return self.backend.to_numpy(self.backend.svdvals(self.matrix(vertex, [bond])[0]))

    def pair_spectrum(self, first: int, second: int) -> Any:
        """Singular values of the matricization whose rows are what lies beyond two such bonds, on the host.

        Along the way from one to the other only a triangular factor of the rows is carried, O(k^6) a step. ``None``
        if a local tensor would be too large.
        """
        xp = self.xp
        way = self.route(self.inner(first), self.inner(second))
        self.move_center(way[0])
        # carried: (first, bond behind, columns so far)
        carried: Any = None
        behind = first
        for vertex, following in zip(way, [*way[1:], None], strict=True):
            ahead = second if following is None else self.between(vertex, following)
            if carried is None:
                array, _ = self.matrix(vertex, [first, ahead])
                sizes = (self.size([first], vertex), self.size([ahead], vertex))
            else:
                matrix, _ = self.matrix(vertex, [behind, ahead])
                sizes = (carried.shape[0], self.size([ahead], vertex))
                if prod(carried.shape) // carried.shape[1] * matrix.shape[1] * sizes[1] > self.most:
                    return None
                third = xp.reshape(matrix, (carried.shape[1], sizes[1], -1))
                made = xp.tensordot(carried, third, axes=((1,), (0,)))  # first, columns, ahead, side
                array = xp.reshape(xp.permute_dims(made, (0, 2, 1, 3)), (sizes[0] * sizes[1], -1))
            if array.shape[1] > array.shape[0]:
                array = xp.permute_dims(xp.linalg.qr(xp.permute_dims(array, (1, 0)))[1], (1, 0))
            carried, behind = xp.reshape(array, (*sizes, array.shape[1])), ahead
        return self.backend.to_numpy(self.backend.svdvals(array))

    def gather(self, first: int, second: int, share: float) -> int:
        """Bring two bonds together at one vertex of three bonds; returns the third.

        Each step carries one of them across one bond: two neighbors are contracted, regrouped and split by an SVD.
        """
        way = self.route(self.inner(first), self.inner(second))
        while len(way) > 1:
            # From whichever end the contracted tensor is the smaller.
            ends = ((first, second, way), (second, first, way[::-1]))
            moved, goal, way = min(ends, key=lambda end: self._carry_size(*end))
            first, second = moved, goal
            vertex, following = way[:2]
            bond = self.between(vertex, following)
            onward = second if len(way) == 2 else self.between(following, way[2])
            self._isolate(vertex, (first, bond), share)
            self._isolate(following, (bond, onward), share)
            size = self._merged(vertex, following, bond)
            if size > self.most:
                raise TooLarge(self._too_large(vertex, following, size))
            self.move_center(following if self.center not in (vertex, following) else self.center)
            self._contract(vertex, following, bond)
            self.center = following
            self.split(following, [b for b in self.legs[following] if b not in (first, onward)], share)
            way = way[1:]
        vertex = way[0]
        self._isolate(vertex, (first, second), share)
        third = next(bond for bond in self.legs[vertex] if bond not in (first, second))
        if third not in self.outer:
            self.outer[third] = vertex
        return third

    def _isolate(self, vertex: int, kept: tuple[int, int], share: float) -> None:
        """Leave a vertex one bond beside the two kept ones: the others go to a vertex of their own."""
        others = [bond for bond in self.legs[vertex] if bond not in kept]
        if len(others) > 1:
            self.split(vertex, others, share)

    def _merged(self, a: int, b: int, bond: int) -> int:
        """Elements of two neighbors contracted."""
        shared = self.size([bond], a)
        return self._elements(a) // shared * (self._elements(b) // shared)

    def _carry_size(self, moved: int, goal: int, way: Sequence[int]) -> int:
        """Elements of the tensor that the next step from this end contracts."""
        vertex, following = way[:2]
        bond = self.between(vertex, following)
        onward = goal if len(way) == 2 else self.between(following, way[2])
        own, far, shared = self.size([moved], vertex), self.size([onward], following), self.size([bond], vertex)
        beside = min(own * shared, self._elements(vertex) // (own * shared))
        across = min(far * shared, self._elements(following) // (far * shared))
        return own * far * beside * across

    def _too_large(self, a: int, b: int, size: int) -> str:
        shapes = " and ".join(" x ".join(map(str, self.arrays[v].shape)) for v in (a, b))
        return (
            f"the change of tree needs a local tensor of {size} elements (transfer tensors {shapes} contracted), the "
            f"limit is {self.most}: the ranks on the way are too large; raise rtol, truncate first, or give a larger "
            "memory_limit"
        )
