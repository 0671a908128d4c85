"""The search for a dimension tree: groups of modes agglomerated by rank, the root, and wider nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, takewhile
from math import inf, prod
from typing import Any, NamedTuple

from tnrank.dimension_tree import DimensionTree
from tnrank.ranks._suggest._clusters import Clusters, Modes

Ranks = Mapping[Modes, int]


class Measured(NamedTuple):
    """Of one group of modes: the columns that a truncation keeps, and the number that the groups are compared by."""

    columns: int
    number: float


def agglomerate(
    clusters: Clusters,
    order: int,
    measure: Callable[[Modes, Any], Measured],
    known: dict[Modes, Measured],
    by: str,
    over: Callable[[], bool],
) -> Any:
    """Merge the two groups whose union has the smallest number, again and again, until three are left.

    Args:
        clusters: the tensor.
        order: N.
        measure: of a group of modes and its spectrum.
        known: what is measured already, by the modes; entries are added.
        by: ``"rank"`` compares the numbers, ``"affinity"`` their ratios to the products of the two groups' own.
        over: whether the time is up: nothing more is measured then, and what is left is split evenly.

    Returns:
        The nested form of the tree, with the last groups under one node.

    Raises:
        TooLarge: if all unions, or the regrouping for the best, take too much memory.
    """
    from tnrank.factorizations._nodes._web import TooLarge

    everything = set(range(order))
    nested: dict[Modes, Any] = {(mode,): mode for mode in range(order)}

    def number_of(a: Modes, b: Modes) -> float:
        modes = tuple(sorted(a + b))
        if modes not in known:
            other = tuple(sorted(everything.difference(modes)))
            if other in known:
                known[modes] = known[other]
            elif over() or (spectrum := clusters.pair(a, b)) is None:
                return inf
            else:
                known[modes] = measure(modes, spectrum)
        return known[modes].number

    def score(pair: tuple[Modes, Modes]) -> tuple[Any, ...]:
        a, b = pair
        number = number_of(a, b)
        ratio = number / (known[a].number * known[b].number)
        first = (number, ratio) if by == "rank" else (ratio, number)
        # Rounded, so that ties are ties and go to the smaller group and the earlier modes.
        return (*(round(value, 9) for value in first), len(a) + len(b), pair)

    for group in nested:
        if group not in known:
            known[group] = measure(group, clusters.single(group))
    scores = {pair: score(pair) for pair in combinations(sorted(nested), 2)} if order > 3 else {}
    while len(nested) > 3:
        a, b = min(scores, key=scores.__getitem__)
        if scores[a, b][0] == inf and over():
            return _evenly([nested[group] for group in sorted(nested)])
        if scores[a, b][0] == inf:
            raise TooLarge("all unions of two groups of modes have ranks beyond the memory limit")
        clusters.merge(a, b)
        joined = tuple(sorted(a + b))
        scores = {pair: value for pair, value in scores.items() if not {a, b}.intersection(pair)}
        below = (nested.pop(a), nested.pop(b))
        if len(nested) > 2:
            pairs = [(min(joined, group), max(joined, group)) for group in nested]
            scores.update({pair: score(pair) for pair in pairs})
        nested[joined] = below
    return tuple(nested[group] for group in sorted(nested))


def _evenly(parts: list[Any]) -> Any:
    """Parts in halves, again and again."""
    if len(parts) == 1:
        return parts[0]
    half = (len(parts) + 1) // 2
    return _evenly(parts[:half]), _evenly(parts[half:])


def storage(tree: DimensionTree, shape: Sequence[int], ranks: Ranks) -> int:
    """Numbers in all frames and transfer tensors."""
    count = 0
    for node in tree.nodes:
        inner = [ranks.get(child.modes, 1) for child in tree.children(node)] or [shape[node.modes[0]]]
        count += prod(inner) * (1 if node == tree.root else ranks.get(node.modes, 1))
    return count


def widened(tree: DimensionTree, ranks: Ranks, most: int) -> DimensionTree:
    """Nodes contracted into their parents, up to ``most`` children a node, as long as storage falls."""
    below = {node.modes: [child.modes for child in tree.children(node)] for node in tree.interior}
    parent = {child: node for node, children in below.items() for child in children}
    top = tree.root.modes

    def size(node: Modes) -> int:
        return prod(ranks[child] for child in below[node]) * (1 if node == top else ranks[node])

    def saved(node: Modes) -> int:
        above = parent[node]
        return size(node) + size(above) - size(node) * size(above) // ranks[node] ** 2

    while True:
        narrow = [
            node
            for node in below
            if node != top and len(below[node]) + len(below[parent[node]]) - 1 <= most and saved(node) >= 0
        ]
        if not narrow:
            break
        node = max(narrow, key=saved)
        above, children = parent.pop(node), below.pop(node)
        place = below[above].index(node)
        below[above][place : place + 1] = children
        parent.update(dict.fromkeys(children, above))
    nested: dict[Modes, Any] = {leaf.modes: leaf.modes[0] for leaf in tree.leaves}
    for interior in tree.interior:
        if interior.modes in below:
            nested[interior.modes] = tuple(nested[child] for child in below[interior.modes])
    return DimensionTree(nested[top])


def neighbors(nested: Any) -> Iterator[Any]:
    """The binary trees that one exchange of two subtrees across an edge leads to, the root where it is."""

    def within(entry: Any, top: bool) -> Iterator[Any]:
        if isinstance(entry, int):
            return
        for (child, other), turned in ((entry, False), (entry[::-1], True)):
            for made in within(child, False):
                yield (other, made) if turned else (made, other)
            if not top and not isinstance(child, int):
                a, b = child
                yield (a, other), b
                yield (other, b), a
        if top and not any(isinstance(child, int) for child in entry):
            (a, b), (c, d) = entry
            yield (a, c), (b, d)
            yield (a, d), (c, b)

    yield from within(nested, True)


def refined(tree: DimensionTree, cost: Callable[[DimensionTree], int], over: Callable[[], bool]) -> DimensionTree:
    """The best neighbor, again and again, as long as the cost falls and there is time."""
    least = cost(tree)
    while True:
        near = (DimensionTree(one) for one in takewhile(lambda _: not over(), neighbors(tree.nested)))
        found = min(((cost(t), t.text, t) for t in near), default=None)
        if found is None or found[0] >= least:
            return tree
        least, _, tree = found


def rooted(tree: DimensionTree, ranks: Ranks) -> DimensionTree:
    """A binary tree from one with up to three children at the root: the new root on the edge of the least rank."""
    if tree.order < 3:
        return tree
    half = tree.order / 2
    edge = min(
        (node for node in tree.nodes if node != tree.root),
        key=lambda node: (ranks[node.modes], abs(len(node.modes) - half), node.modes),
    )
    return tree.with_root(edge)
