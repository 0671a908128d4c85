"""Scores under a hierarchical factorization, level by level, with tables of the patterns of small windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._typing import Array
from tnrank.dimension_tree import DimensionTree, Node
from tnrank.training._samples._data import Features, stacked
from tnrank.training._samples._tree_plan import Group, grouped

Host = np.ndarray[Any, Any]


@dataclass(frozen=True)
class TreeScores:
    """Scores of many samples at once: at each node the product over its children, times its matrix.

    Of one-hot features, leaves are rows that are looked up. Where the leaves below a node have fewer joint states than
    the batch has samples, the node's output is computed once a state, and that is looked up: of a window of 2 x 2
    binary pixels 16 outputs.

    Args:
        tree: the dimension tree.
        shapes: of the nodes' matrices, in the order of ``tree.nodes``.
        coded: whether features are one-hot, given as states.
        batch: the number of samples of a step, by which tables are chosen.
    """

    tree: DimensionTree
    shapes: tuple[tuple[int, int], ...]
    coded: bool
    batch: int
    sample_axis = 1

    @cached_property
    def _plan(self) -> tuple[list[Group], dict[Node, tuple[int, int]]]:
        shapes = dict(zip(self.tree.nodes, self.shapes, strict=True))
        return grouped(self.tree, shapes, self.batch if self.coded else 0)

    @property
    def groups(self) -> list[Group]:
        """Nodes that are computed at once, children before parents."""
        return self._plan[0]

    @property
    def where(self) -> dict[Node, tuple[int, int]]:
        """Node -> its group, and its place there."""
        return self._plan[1]

    @cached_property
    def tables(self) -> set[int]:
        """Groups whose outputs are computed once a pattern."""
        return {number for number, group in enumerate(self.groups) if group.tabulated}

    @cached_property
    def leaves(self) -> set[int]:
        """Groups of leaves."""
        return {group for node, (group, _) in self.where.items() if node.height == 0}

    @cached_property
    def under(self) -> set[int]:
        """Groups of leaves that the tables are made of."""
        return {source for number in self.tables for sources, _ in self.groups[number].children for source in sources}

    @cached_property
    def looked_up(self) -> list[int]:
        """Groups that samples enter."""
        return [k for k in range(len(self.groups)) if k in self.tables or (k in self.leaves and k not in self.under)]

    def pack(self, arrays: Sequence[Array], xp: Any) -> tuple[Array, ...]:
        """One array ``(nodes, rows, columns)`` a group."""
        named = dict(zip(self.tree.nodes, arrays, strict=True))
        return tuple(xp.stack([named[node] for node in group.nodes]) for group in self.groups)

    def unpack(self, values: Sequence[Array]) -> list[Array]:
        """The factorization's arrays in its own order."""
        return [values[group][place] for group, place in (self.where[node] for node in self.tree.nodes)]

    def inputs(self, features: Features) -> tuple[Host, ...]:
        """Of each group that looks up: places in its table, or features, along the second axis."""
        found = []
        for number in self.looked_up:
            group = self.groups[number]
            if not self.coded:
                found.append(stacked(features, [node.modes[0] for node in group.nodes]).transpose(1, 0, 2))
                continue
            sizes = self._dimensions(number)
            code = np.zeros((len(group.nodes), len(features)), np.int32)
            for place, size in enumerate(sizes):
                modes = [self._leaf(node, place).modes[0] for node in group.nodes]
                code = code * size + stacked(features, modes).T
            found.append(code + prod(sizes) * np.arange(len(group.nodes), dtype=np.int32)[:, None])
        return tuple(found)

    def _leaf(self, node: Node, place: int) -> Node:
        return node if node.height == 0 else self.tree.children(node)[place]

    def _dimensions(self, number: int) -> tuple[int, ...]:
        """States of the modes that a table of a group is over."""
        group = self.groups[number]
        if number in self.leaves:
            return (group.shape[0],)
        return tuple(self.groups[self.where[child][0]].shape[0] for child in self.tree.children(group.nodes[0]))

    def forward(self, backend: Backend, values: Sequence[Array], inputs: Sequence[Array]) -> tuple[Array, Any]:
        """Scores ``(S, B, C)`` of S runs, and what :meth:`backward` needs."""
        given = dict(zip(self.looked_up, inputs, strict=True))
        messages: dict[int, Array] = {}
        kept: dict[int, Any] = {}
        for number, group in enumerate(self.groups):
            if number in self.under:
                messages[number] = values[number]
            elif number in self.leaves and not self.coded:
                messages[number] = backend.xp.matmul(given[number], values[number])
            elif number in self.looked_up:
                table, kept[number] = values[number], None
                if number in self.tables:
                    children = self._children(backend, group, messages)
                    products = _table(backend, children)
                    table, kept[number] = _times(backend, products[-1], values[number]), (children, products)
                messages[number] = _look_up(backend, table, given[number])
            else:
                children = self._children(backend, group, messages)
                products = _products(children)
                kept[number] = children, products
                messages[number] = _times(backend, products[-1], values[number])
        return messages[len(self.groups) - 1][:, 0], kept

    def backward(
        self, backend: Backend, values: Sequence[Array], inputs: Sequence[Array], kept: Any, cotangent: Array
    ) -> tuple[Array, ...]:
        """Gradients of ``sum(cotangent * scores)``; ``cotangent`` has shape ``(S, B, C)``."""
        xp = backend.xp
        given = dict(zip(self.looked_up, inputs, strict=True))
        parts: dict[int, list[Array]] = {}
        found: list[Any] = [None] * len(self.groups)
        for number in reversed(range(len(self.groups))):
            group = self.groups[number]
            back = self._handed_down(backend, number, parts) if group.users else cotangent[:, None]
            if number in self.leaves:
                if number not in given:
                    found[number] = back
                elif self.coded:
                    found[number] = _add_up(backend, values[number].shape, given[number], back)
                else:
                    found[number] = xp.matmul(xp.permute_dims(given[number], (0, 2, 1)), back)
                continue
            if number in self.tables:
                children, products = kept[number]
                shape = (*products[-1].shape[:3], group.shape[1])
                back = _add_up(backend, shape, given[number], back)
                found[number] = _outer(backend, products[-1], back)
                parts[number] = _table_back(backend, children, products, _times_turned(backend, back, values[number]))
            else:
                children, products = kept[number]
                found[number] = _outer(backend, products[-1], back)
                parts[number] = _products_back(children, products, _times_turned(backend, back, values[number]))
        return tuple(found)

    def _children(self, backend: Backend, group: Group, messages: dict[int, Array]) -> list[Array]:
        """Messages of the first children, of the second ones, and so on, each ``(S, nodes, B, w)``."""
        found = []
        for sources, places in group.children:
            given = [messages[source] for source in sources]
            whole = given[0] if len(given) == 1 else backend.xp.concat(given, axis=1)
            found.append(_at(backend, whole, places))
        return found

    def _handed_down(self, backend: Backend, number: int, parts: dict[int, list[Array]]) -> Array:
        """The cotangents of a group's messages, from those of their parents' children."""
        group = self.groups[number]
        pieces = [_at(backend, parts[user][k], rows) for user, k, rows in group.users]
        whole = pieces[0] if len(pieces) == 1 else backend.xp.concat(pieces, axis=1)
        return whole if group.order is None else _at(backend, whole, group.order)


def _at(backend: Backend, x: Array, places: Any) -> Array:
    """Nodes of ``(S, nodes, B, w)``."""
    return x[:, places] if isinstance(places, slice) else backend.take(x, backend.xp.asarray(places), 1)


def _times(backend: Backend, x: Array, matrices: Array) -> Array:
    """``x @ matrices``; of matrices with one row, a product with broadcasting, which is faster."""
    return x * matrices if matrices.shape[-2] == 1 else backend.xp.matmul(x, matrices)


def _times_turned(backend: Backend, x: Array, matrices: Array) -> Array:
    turned = backend.xp.permute_dims(matrices, (0, 1, 3, 2))
    return _times(backend, x, turned)


def _outer(backend: Backend, x: Array, y: Array) -> Array:
    """``x^T @ y`` over the samples."""
    if x.shape[-1] == y.shape[-1] == 1:
        return backend.xp.sum(x * y, axis=2, keepdims=True)
    return backend.xp.matmul(backend.xp.permute_dims(x, (0, 1, 3, 2)), y)


def _products(children: list[Array]) -> list[Array]:
    """Products of the first child, of the first two, and so on."""
    found = [children[0]]
    for child in children[1:]:
        found.append(found[-1] * child)
    return found


def _products_back(children: list[Array], products: list[Array], back: Array) -> list[Array]:
    found: list[Array] = []
    for k in range(len(children) - 1, 0, -1):
        found.append(back * products[k - 1])
        back = back * children[k]
    return [back, *reversed(found)]


def _table(backend: Backend, leaves: list[Array]) -> list[Array]:
    """Products of rows of the first leaf, of the first two in all pairs, and so on, ``(S, nodes, states, w)``."""
    found = [leaves[0]]
    for leaf in leaves[1:]:
        one = found[-1][:, :, :, None, :] * leaf[:, :, None, :, :]
        found.append(backend.reshape(one, (*one.shape[:2], one.shape[2] * one.shape[3], one.shape[4])))
    return found


def _table_back(backend: Backend, leaves: list[Array], products: list[Array], back: Array) -> list[Array]:
    xp, found = backend.xp, []
    for k in range(len(leaves) - 1, 0, -1):
        before, leaf = products[k - 1], leaves[k]
        shaped = backend.reshape(back, (*back.shape[:2], before.shape[2], leaf.shape[2], back.shape[3]))
        found.append(xp.sum(shaped * before[:, :, :, None, :], axis=2))
        back = xp.sum(shaped * leaf[:, :, None, :, :], axis=3)
    return [back, *reversed(found)]


def _look_up(backend: Backend, table: Array, places: Array) -> Array:
    """Rows of ``(S, nodes, states, w)`` at places in nodes and states; places ``(nodes, B)``."""
    runs, nodes, states, width = table.shape
    flat = backend.reshape(table, (runs, nodes * states, width))
    found = backend.take(flat, backend.reshape(places, (-1,)), 1)
    return backend.reshape(found, (runs, nodes, places.shape[1], width))


def _add_up(backend: Backend, shape: Any, places: Array, back: Array) -> Array:
    """The adjoint of :func:`_look_up`."""
    runs, nodes, states, width = shape
    flat = backend.reshape(back, (runs, nodes * places.shape[1], width))
    found = backend.scatter_add((runs, nodes * states, width), 1, backend.reshape(places, (-1,)), flat)
    return backend.reshape(found, tuple(shape))
