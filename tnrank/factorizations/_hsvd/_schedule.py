"""The order of work over a dimension tree: which nodes share a call, and whose results each call reads.

Small arrays cost a call each, whatever they hold, so that nodes of one depth and one shape are stacked. Nodes are put
in such an order that a stack reads the results of its children, and of its parents, as they stand or as one slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from operator import itemgetter
from typing import Any, NamedTuple

from tnrank._typing import Array, Shape
from tnrank.dimension_tree import DimensionTree, Node

STACK = 2**15
"""Elements of a stack: beyond, it leaves the caches, and copies cost more than calls."""
_SMALL = 2**14
"""Elements of a tensor whose stacks are all made at once and kept."""


class Run(NamedTuple):
    """Rows ``start .. stop`` of a stack of results; ``whole`` if it has no others."""

    source: int
    start: int
    stop: int
    whole: bool


class Group(NamedTuple):
    """Nodes of one depth whose arrays have one shape."""

    places: tuple[int, ...]
    """Positions in ``tree.nodes``."""
    shape: Shape
    """Of an array: ``(d, k)`` or ``(k_1, .., k_m, k)``; the root has k = 1."""
    leaf: bool
    below: tuple[tuple[Run, ...], ...]
    """For each axis, the rows of the children in the results of their groups."""
    above: tuple[Run, ...]
    """The rows of these nodes in what their parents' groups have sent down."""
    sends: tuple[int, ...]
    """What is sent down: one stack for all axes, one axis after the other, or one an axis if their sizes differ."""
    pool: int
    offset: int


class Pool(NamedTuple):
    """Arrays that are stacked together: those of a group, or of all groups of one shape if the tensor is small."""

    places: tuple[int, ...]
    shape: Shape


class Form(NamedTuple):
    """Sizes at a node: columns k of its frame, columns r of its orthonormal frame, singular values w."""

    k: int
    r: int
    w: int


class Schedule(NamedTuple):
    """See the module; ``groups`` go from the root down, the leaves are the last."""

    groups: tuple[Group, ...]
    upward: tuple[tuple[int, Group], ...]
    """Groups with their numbers, children first; the root is the last."""
    downward: tuple[tuple[int, Group], ...]
    """Groups of interior nodes, parents first."""
    arity: int
    """The most children of a node."""
    pools: tuple[Pool, ...]
    kept: bool
    """Whether stacks are kept for the way back down: large ones are rather made twice."""
    forms: tuple[tuple[int, tuple[int, ...]], ...]
    """Numbers of singular values, with the groups, not the root's, whose sizes are equal."""
    names: tuple[Node, ...]
    in_order: Callable[[Sequence[Any]], tuple[Any, ...]]
    """Rows of all groups in the order of ``forms`` to the order of ``names``."""

    def by_node(self, stacks: Iterable[Array]) -> dict[Node, Array]:
        """Rows of one stack a form, keyed by node."""
        rows = list(chain.from_iterable(stacks))
        return dict(zip(self.names, self.in_order(rows) if len(rows) > 1 else rows, strict=True))


@lru_cache(maxsize=256)
def schedule(tree: DimensionTree, shapes: tuple[Shape, ...], most: int | None = STACK) -> Schedule:
    """The schedule of a tree whose arrays have these shapes, in the order of ``tree.nodes``.

    A stack has at most ``most`` elements, or one node. ``None``: any number, for compilers, whose time grows with the
    number of calls.
    """
    nodes = tree.nodes
    place = {node: k for k, node in enumerate(nodes)}
    below = [tuple(place[child] for child in tree.children(node)) for node in nodes]
    full = [(*shape, 1) if node == tree.root else tuple(shape) for node, shape in zip(nodes, shapes, strict=True)]
    form = _forms(below, full)
    total = sum(map(prod, full))
    keys: list[Any] = [
        (not below[k], full[k], form[k], tuple(form[child] for child in below[k])) for k in range(len(nodes))
    ]

    # From the root down: the children at axis 0 of a group, then those at axis 1, ..
    members: list[list[int]] = []
    leaves: dict[Any, list[int]] = {}
    sends: list[tuple[int, ...]] = []
    sent: dict[int, tuple[int, int]] = {}
    sizes: list[int] = []
    level = [place[tree.root]]
    while level:
        bins: dict[Any, list[int]] = {}
        for k in level:
            (bins if below[k] else leaves).setdefault(keys[k], []).append(k)
        level = []
        for group in _chunks(bins.values(), full, most):
            axes = list(zip(*(below[k] for k in group), strict=True))
            members.append(group)
            together = len({form[child] for child in below[group[0]]}) == 1
            sends.append(tuple(range(len(sizes), len(sizes) + (1 if together else len(axes)))))
            for axis, children in enumerate(axes):
                for row, child in enumerate(children):
                    sent[child] = (sends[-1][0], axis * len(group) + row) if together else (sends[-1][axis], row)
                level.extend(children)
            sizes.extend([len(axes) * len(group)] if together else [len(group)] * len(axes))
    first_leaf = len(members)
    members.extend(_chunks(leaves.values(), full, most))

    row_of = {k: (g, row) for g, group in enumerate(members) for row, k in enumerate(group)}
    counts = [len(group) for group in members]
    groups = [
        Group(
            tuple(group),
            full[group[0]],
            g >= first_leaf,
            tuple(_runs([row_of[c] for c in axis], counts) for axis in zip(*(below[k] for k in group), strict=True)),
            _runs([sent[k] for k in group], sizes) if g else (),
            sends[g] if g < first_leaf else (),
            g,
            0,
        )
        for g, group in enumerate(members)
    ]
    kept = total <= _SMALL and most == STACK
    groups, pools = _pooled(groups, kept)
    by_form: dict[Form, list[int]] = {}
    for g, group in enumerate(members[1:], 1):
        by_form.setdefault(form[group[0]], []).append(g)
    position = {k: n for n, k in enumerate(k for found in by_form.values() for g in found for k in members[g])}
    names = [k for k in range(len(nodes)) if nodes[k] != tree.root]
    return Schedule(
        tuple(groups),
        tuple(reversed(list(enumerate(groups)))),
        tuple(enumerate(groups[:first_leaf])),
        max(map(len, below)),
        pools,
        kept,
        tuple((key.w, tuple(found)) for key, found in by_form.items()),
        tuple(nodes[k] for k in names),
        itemgetter(*(position[k] for k in names)),
    )


def _forms(below: list[tuple[int, ...]], full: list[Shape]) -> list[Form]:
    """Columns that remain after QR from the leaves up, and after LQ from the root down."""
    reduced: list[int] = []
    for children, shape in zip(below, full, strict=True):
        rows = prod(reduced[c] for c in children) if children else shape[0]
        reduced.append(min(rows, shape[-1]))
    values = [1] * len(full)
    for k in reversed(range(len(full))):
        for child in below[k]:
            columns = prod(reduced[c] for c in below[k] if c != child) * values[k]
            values[child] = min(reduced[child], columns)
    return [Form(shape[-1], r, w) for shape, r, w in zip(full, reduced, values, strict=True)]


def _chunks(bins: Iterable[list[int]], full: list[Shape], most: int | None) -> Iterable[list[int]]:
    for members in bins:
        count = len(members) if most is None else max(1, most // max(1, prod(full[members[0]])))
        for start in range(0, len(members), count):
            yield members[start : start + count]


def _runs(rows: Iterable[tuple[int, int]], sizes: list[int]) -> tuple[Run, ...]:
    """Consecutive rows of one source as one run."""
    found: list[tuple[int, int, int]] = []
    for source, row in rows:
        if found and found[-1][0] == source and found[-1][2] == row:
            found[-1] = (source, found[-1][1], row + 1)
        else:
            found.append((source, row, row + 1))
    return tuple(Run(s, start, stop, stop - start == sizes[s]) for s, start, stop in found)


def _pooled(groups: list[Group], together: bool) -> tuple[list[Group], tuple[Pool, ...]]:
    places: dict[Any, list[int]] = {}
    shapes: dict[Any, Shape] = {}
    made = []
    for g, group in enumerate(groups):
        key = (not g, group.leaf, group.shape) if together else g
        found = places.setdefault(key, [])
        shapes[key] = group.shape
        made.append(group._replace(pool=list(places).index(key), offset=len(found)))
        found.extend(group.places)
    return made, tuple(Pool(tuple(found), shapes[key]) for key, found in places.items())
