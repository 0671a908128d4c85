"""A contraction order for networks that are trees once hyperindices are nodes.

Leaves to root, group by group: a group is a tensor and what arrives from its children. Inside a group the
cheapest order is found by dynamic programming over subsets; groups of the same form share one search. A child
that is itself a small group of leaves is put into its parent's group, so that a leaf can be folded into its
parent before a batch index is touched.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import lru_cache
from math import prod

Path = list[tuple[int, int]]
_GROUP_LIMIT = 6


def tree_path(
    inputs: Sequence[tuple[int, ...]], output: Sequence[int], sizes: Sequence[int], batch: Sequence[int]
) -> Path | None:
    """Pairs of positions in static single assignment form, or ``None`` if the network is not a tree.

    ``inputs`` are tuples of index numbers without repetition; ``batch`` indices are left out of the tree.
    """
    tree = _Tree(inputs, output, sizes, batch)
    if not tree.is_forest():
        return None
    best: tuple[int, Path] | None = None
    for roots in tree.root_choices():
        builder = _Builder(tree)
        done = [builder.contract_from(root) for root in roots]
        builder.join(done)
        if best is None or builder.flops < best[0]:
            best = builder.flops, builder.path
    assert best is not None
    return best[1]


class _Tree:
    """The bipartite graph of tensors and groups of parallel indices."""

    def __init__(
        self,
        inputs: Sequence[tuple[int, ...]],
        output: Sequence[int],
        sizes: Sequence[int],
        batch: Sequence[int],
    ) -> None:
        self.inputs, self.sizes = inputs, sizes
        self.output = frozenset(output)
        skip = frozenset(batch)
        holders: dict[int, list[int]] = {}
        for tensor, labels in enumerate(inputs):
            for label in labels:
                holders.setdefault(label, []).append(tensor)
        self.holders = holders
        # Parallel indices (met by the same tensors) are one edge: fusing them turns double bonds into trees.
        fused: dict[tuple[int, ...], list[int]] = {}
        for label, tensors in holders.items():
            if label not in skip and len(tensors) > 1:
                fused.setdefault(tuple(tensors), []).append(label)
        self.edges = [(tuple(labels), tensors) for tensors, labels in fused.items()]
        self.at: list[list[int]] = [[] for _ in inputs]
        rank = {label: k for labels in inputs for k, label in enumerate(labels)}
        for edge, (_, holding) in enumerate(self.edges):
            for tensor in holding:
                self.at[tensor].append(edge)
        for edges in self.at:
            edges.sort(key=lambda edge: rank[self.edges[edge][0][0]])
        self.free = [prod(sizes[x] for x in labels if len(holders[x]) == 1 and x in self.output) for labels in inputs]

    def is_forest(self) -> bool:
        """No cycle: every component has one edge fewer than nodes."""
        self.components: list[list[int]] = []
        seen = [False] * len(self.inputs)
        links = 0
        for start in range(len(self.inputs)):
            if seen[start]:
                continue
            seen[start] = True
            component, used = [start], set()
            for tensor in component:
                for edge in self.at[tensor]:
                    if edge not in used:
                        used.add(edge)
                        for other in self.edges[edge][1]:
                            if not seen[other]:
                                seen[other] = True
                                component.append(other)
            links += sum(len(self.edges[edge][1]) for edge in used)
            if sum(len(self.edges[edge][1]) for edge in used) != len(component) + len(used) - 1:
                return False
            self.components.append(component)
        return True

    def children(self, tensor: int, via: int | None) -> list[tuple[int, list[int]]]:
        """Edges below ``tensor`` (entered through ``via``) with the tensors beyond them."""
        return [(e, [t for t in self.edges[e][1] if t != tensor]) for e in self.at[tensor] if e != via]

    def postorder(self, root: int) -> list[tuple[int, int | None]]:
        """(tensor, edge to its parent), children before parents."""
        order: list[tuple[int, int | None]] = [(root, None)]
        for tensor, via in order:
            order.extend((other, edge) for edge, others in self.children(tensor, via) for other in others)
        return order[::-1]

    def root_choices(self) -> list[list[int]]:
        """Lists of one root a component: the middle by free indices, the middle by tensors."""
        by_free, by_count = [], []
        for component in self.components:
            order = self.postorder(component[0])
            weights = {tensor: self.free[tensor].bit_length() - 1 for tensor in component}
            by_count.append(self._middle(order, dict.fromkeys(component, 1)))
            by_free.append(self._middle(order, weights) if any(weights.values()) else by_count[-1])
        choices = [by_free] if by_free == by_count else [by_free, by_count]
        if len(self.inputs) <= 32:
            several = [c for c in self.components if len(c) > 1]
            if len(several) == 1:
                choices += [[t if c is several[0] else c[0] for c in self.components] for t in several[0]]
        return choices

    def _middle(self, order: list[tuple[int, int | None]], weights: dict[int, int]) -> int:
        """The tensor whose heaviest branch is lightest."""
        total = sum(weights.values())
        below = dict(weights)
        heaviest = dict.fromkeys(weights, 0)
        up = {tensor: via for tensor, via in order}
        parent: dict[int, int] = {}
        for tensor, via in order:
            for _, others in self.children(tensor, via):
                for other in others:
                    parent[other] = tensor
        for tensor, _ in order:
            heaviest[tensor] = max(heaviest[tensor], total - below[tensor])
            if tensor in parent:
                above = parent[tensor]
                below[above] += below[tensor]
                heaviest[above] = max(heaviest[above], below[tensor])
        return min(up, key=lambda tensor: (heaviest[tensor], -len(self.at[tensor]), tensor))


class _Builder:
    """Appends contractions to a path and keeps the labels of what they give."""

    def __init__(self, tree: _Tree) -> None:
        self.tree = tree
        self.labels: list[tuple[int, ...]] = list(tree.inputs)
        self.path: Path = []
        self.flops = 0
        self.left = {label: len(tensors) for label, tensors in tree.holders.items()}

    def contract_from(self, root: int) -> int:
        """Contract a component towards ``root``; gives the position of the result."""
        tree = self.tree
        groups: dict[int, list[int]] = {}  # tensor -> members of its group that are not contracted yet
        for tensor, via in tree.postorder(root):
            members = [tensor]
            for edge, others in tree.children(tensor, via):
                arrived = [groups.pop(other) for other in others]
                room = _GROUP_LIMIT - len(members) - (len(tree.at[tensor]) - 1)
                if sum(map(len, arrived)) <= room:
                    members += [member for group in arrived for member in group]
                else:
                    keep = frozenset(tree.edges[edge][0])
                    done = [self.group(group, keep) for group in arrived]
                    members += self.merge(done, keep) if len(done) > _GROUP_LIMIT - 1 else done
            # Only leaves with at most two members wait for their parent: later groups would grow without end.
            small = via is not None and len(members) <= 2 and all(m < len(tree.inputs) for m in members)
            keep = frozenset(tree.edges[via][0]) if via is not None else frozenset()
            groups[tensor] = members if small else [self.group(members, keep)]
        return self.group(groups.pop(root), frozenset())

    def group(self, members: list[int], keep: frozenset[int]) -> int:
        """Contract ``members`` to one, keeping the labels in ``keep`` and those needed elsewhere."""
        if len(members) > _GROUP_LIMIT:
            # Absorb what arrives one at a time, most shrinking first: exact search would cost 3^members.
            rest = sorted(members[1:], key=lambda m: prod(self.tree.sizes[x] for x in self.labels[m]))
            members = [members[0], *rest]
            while len(members) > _GROUP_LIMIT:
                members[:2] = [self.pair(members[0], members[1])]
        if len(members) == 1:
            return members[0]
        inside: dict[int, int] = {}
        for member in members:
            for label in self.labels[member]:
                inside[label] = inside.get(label, 0) + 1
        number = {label: k for k, label in enumerate(inside)}
        kept = tuple(self.needed(label, count) for label, count in inside.items())
        form = tuple(tuple(number[label] for label in self.labels[member]) for member in members)
        order = best_order(form, tuple(self.tree.sizes[label] for label in inside), kept)
        made = list(members)
        for i, j in order:
            made.append(self.pair(made[i], made[j]))
        return made[-1]

    def merge(self, members: list[int], keep: frozenset[int]) -> list[int]:
        """Multiply the many messages of one hyperindex, smallest first, until a few are left."""
        heap = [(prod(self.tree.sizes[x] for x in self.labels[m]), k, m) for k, m in enumerate(members)]
        heapq.heapify(heap)
        while len(heap) > 3:
            (_, _, a), (_, k, b) = heapq.heappop(heap), heapq.heappop(heap)
            made = self.pair(a, b)
            heapq.heappush(heap, (prod(self.tree.sizes[x] for x in self.labels[made]), k, made))
        return [m for _, _, m in sorted(heap)]

    def join(self, members: list[int]) -> int:
        """Multiply the results of the components, smallest first."""
        heap = [(prod(self.tree.sizes[x] for x in self.labels[m]), m) for m in members]
        heapq.heapify(heap)
        while len(heap) > 1:
            a, b = heapq.heappop(heap)[1], heapq.heappop(heap)[1]
            made = self.pair(a, b)
            heapq.heappush(heap, (prod(self.tree.sizes[x] for x in self.labels[made]), made))
        return heap[0][1]

    def needed(self, label: int, inside: int) -> bool:
        return label in self.tree.output or self.left[label] > inside

    def pair(self, a: int, b: int) -> int:
        """Contract positions ``a`` and ``b``; gives the new position."""
        first, second = self.labels[a], self.labels[b]
        both = dict.fromkeys(first + second)
        out = []
        for label in both:
            inside = (label in first) + (label in second)
            if self.needed(label, inside):
                out.append(label)
                self.left[label] -= inside - 1
        self.flops += prod(self.tree.sizes[label] for label in both)
        self.path.append((a, b))
        self.labels.append(tuple(out))
        return len(self.labels) - 1


@lru_cache(maxsize=4096)
def best_order(
    members: tuple[tuple[int, ...], ...], sizes: tuple[int, ...], kept: tuple[bool, ...]
) -> tuple[tuple[int, int], ...]:
    """The pairwise order of fewest multiplications, by dynamic programming over subsets, outer products
    included.

    ``members`` hold index numbers into ``sizes``; ``kept`` says which indices survive the whole group.
    """
    count = len(members)
    full = (1 << count) - 1
    masks = [sum(1 << label for label in member) for member in members]
    always = sum(1 << k for k, keep in enumerate(kept) if keep)
    have = [0] * (full + 1)
    for subset in range(1, full + 1):
        low = subset & -subset
        have[subset] = have[subset ^ low] | masks[low.bit_length() - 1]
    size_of: dict[int, int] = {}

    def size(mask: int) -> int:
        found = size_of.get(mask)
        if found is None:
            found = size_of[mask] = prod(sizes[k] for k in range(len(sizes)) if mask >> k & 1)
        return found

    out = [have[s] & (always | have[full ^ s]) for s in range(full + 1)]
    best: dict[int, tuple[int, int, int]] = {1 << k: (0, 0, 0) for k in range(count)}
    for subset in range(3, full + 1):
        if subset & (subset - 1) == 0:
            continue
        low = subset & -subset
        part = (subset - 1) & subset
        found: tuple[int, int, int] | None = None
        while part:
            if part & low:
                other = subset ^ part
                cost, peak, _ = best[part]
                cost_other, peak_other, _ = best[other]
                total = (
                    cost + cost_other + size(out[part] | out[other]),
                    max(peak, peak_other, size(out[subset])),
                    part,
                )
                if found is None or total < found:
                    found = total
            part = (part - 1) & subset
        assert found is not None
        best[subset] = found
    order: list[tuple[int, int]] = []

    def emit(subset: int) -> int:
        if subset & (subset - 1) == 0:
            return subset.bit_length() - 1
        part = best[subset][2]
        pair = emit(part), emit(subset ^ part)
        order.append(pair)
        return count + len(order) - 1

    emit(full)
    return tuple(order)
