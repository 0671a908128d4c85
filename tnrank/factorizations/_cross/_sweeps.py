"""Sweeps from the leaves to the root over nested pivot rows, and the columns that they are chosen by."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tnrank.factorizations._cross._evaluations import Block, Evaluations
from tnrank.factorizations._cross._pivots import choose_columns, choose_rows, fits, interpolation, scaled
from tnrank.factorizations._cross._tree import NumberedTree

Host = np.ndarray[Any, Any]
_OVER = 2  # columns beyond the rank: how a rank is known not to be larger


class Sweeper:
    """Pivot rows and sample columns of every node, and the frames and transfer tensors that interpolate from them.

    The rows of a node are chosen among the products of its children's rows, by the values of the function at these
    rows and the node's columns, which are multi-indices of all other modes. ``arrays`` then has the interpolation
    matrices at all nodes but the root, and the values at the products of the pivot rows at the root.
    """

    def __init__(self, evaluations: Evaluations, numbered: NumberedTree, rng: np.random.Generator, atol: float) -> None:
        self.evaluations, self.tree, self.rng = evaluations, numbered, rng
        self.atol = atol
        count, order, self.dtype = len(numbered.modes), len(numbered.shape), evaluations.index_dtype
        none = np.zeros(0, np.uint64)
        self.rows: list[Host] = [np.zeros((0, len(m)), self.dtype) for m in numbered.modes]
        self.row_keys = [none] * count
        self.columns = [np.zeros((0, order), self.dtype)] * count
        self.column_keys = [none] * count
        self.arrays: list[Host] = [np.zeros((0, 0))] * count
        self.most = [0] * count  # the largest rank met so far
        self._used = [0] * count  # columns of the last sweep; those after them are new
        self.capped = False
        self.outside = [np.setdiff1d(np.arange(order), m) for m in numbered.modes]

    def add_points(self, points: Host) -> None:
        """Sample columns at all nodes: the parts of whole multi-indices outside each."""
        for node in range(self.tree.root):
            self._append(node, points.astype(self.dtype), len(points))

    def sweep(self, rtol: float, limit: int, extra: int = 0, news: float | None = None, first: bool = False) -> bool:
        """Choose the pivots of all nodes anew, with ``extra`` more columns each; whether a rank has grown.

        A node gets more columns until they are more than its rank. With ``news`` the pivots stay, and others come for
        errors above it only. No rank is over ``limit``. The ``first`` sweep takes the columns there are.
        """
        grown, self.capped = False, False
        for level in self.tree.levels:
            candidates = {node: self._candidates(node) for node in level}
            kept = {node: _places(candidates[node][1], self.row_keys[node]) for node in level}
            if not first:
                for node in level:
                    start = max([len(self.rows[c]) for c in self.tree.children[node]], default=_OVER) + _OVER
                    self._more_columns(node, max(start - len(self.columns[node]), extra))
            matrices: dict[int, Host] = {}
            chosen: dict[int, Host] = {}
            pending = list(level)
            while pending:
                blocks = self.evaluations.blocks([self._block(node, *candidates[node]) for node in pending])
                again = []
                for node, block in zip(pending, blocks, strict=True):
                    matrix, noise = scaled(block, self.atol, rtol)
                    still = news if len(kept[node]) == len(self.rows[node]) else None
                    chosen[node], capped = choose_rows(matrix, rtol, kept[node], still, limit, noise)
                    self.capped |= capped
                    rank = len(chosen[node])
                    used = self._used[node]
                    if still is not None and rank == len(kept[node]) and fits(matrix, used, kept[node], still):
                        # Columns that bring no news may have lost digits to cancellation: the old ones stay.
                        matrix = matrix[:, :used]
                        self.columns[node] = self.columns[node][:used]
                        self.column_keys[node] = self.column_keys[node][:used]
                    elif not first and rank < len(block):
                        wanted = rank + _OVER - block.shape[1]
                        if wanted > 0 and self._more_columns(node, wanted + rank // 4):
                            again.append(node)
                    matrices[node] = matrix
                pending = again
            for node in level:
                self._choose(node, matrices[node], chosen[node], *candidates[node])
                grown |= len(chosen[node]) > self.most[node]
                self.most[node] = max(self.most[node], len(chosen[node]))
                self._used[node] = len(self.columns[node])
        root = self.tree.root
        none = np.zeros((1, len(self.tree.shape)), self.dtype)
        whole = Block(self.tree.modes[root], *self._candidates(root), none, np.zeros(1, np.uint64))
        self.arrays[root] = self.evaluations.blocks([whole])[0].reshape(*self._sizes(root), 1)
        return grown

    def _sizes(self, node: int) -> tuple[int, ...]:
        return tuple(len(self.rows[child]) for child in self.tree.children[node])

    def _block(self, node: int, rows: Host, keys: Host) -> Block:
        return Block(self.tree.modes[node], rows, keys, self.columns[node], self.column_keys[node])

    def _candidates(self, node: int) -> tuple[Host, Host]:
        """Products of the children's rows, the last child's fastest; of a leaf, all its indices."""
        modes, below = self.tree.modes[node], self.tree.children[node]
        if not below:
            every = np.arange(self.tree.shape[modes[0]], dtype=self.dtype)[:, None]
            return every, self.evaluations.keys(every, modes)
        sizes = self._sizes(node)
        places = np.indices(sizes).reshape(len(below), -1)
        rows = np.empty((places.shape[1], len(modes)), self.dtype)
        keys = np.zeros(places.shape[1], np.uint64)
        for child, place in zip(below, places, strict=True):
            rows[:, np.searchsorted(modes, self.tree.modes[child])] = self.rows[child][place]
            keys += self.row_keys[child][place]
        return rows, keys

    def _choose(self, node: int, matrix: Host, chosen: Host, rows: Host, keys: Host) -> None:
        if len(chosen):
            made, chosen = interpolation(matrix, chosen)
            if matrix.shape[1] > len(chosen) + _OVER:
                few = choose_columns(matrix, len(chosen), _OVER)
                self.columns[node], self.column_keys[node] = self.columns[node][few], self.column_keys[node][few]
        else:
            made, chosen = np.zeros((len(rows), 1), matrix.dtype), np.zeros(1, np.int64)
        self.rows[node], self.row_keys[node] = rows[chosen], keys[chosen]
        below = self.tree.children[node]
        self.arrays[node] = made.reshape(*self._sizes(node), -1) if below else made

    def _append(self, node: int, points: Host, count: int) -> int:
        """Up to ``count`` of the points that are no columns yet; how many were."""
        outside = self.outside[node]
        keys = self.evaluations.keys(points[:, outside], outside)
        known: set[int] = set(self.column_keys[node].tolist())
        first: list[int] = []
        for place, key in enumerate(keys.tolist()):
            if key not in known and len(first) < count:
                known.add(key)
                first.append(place)
        self.columns[node] = np.concatenate([self.columns[node], points[first]])
        self.column_keys[node] = np.concatenate([self.column_keys[node], keys[first]])
        return len(first)

    def _more_columns(self, node: int, count: int) -> int:
        """``count`` new columns, if there are as many: half of them from the neighborhood, half at random."""
        if count <= 0:
            return 0
        have = len(self.columns[node])
        outside = self.outside[node]
        if self.tree.log_outside[node] <= np.log2(8 * (have + count)):
            sizes = tuple(self.tree.shape[m] for m in outside)
            points = np.zeros((prod(sizes), len(self.tree.shape)), self.dtype)
            if sizes:
                points[:, outside] = np.stack(np.unravel_index(self.rng.permutation(prod(sizes)), sizes), axis=1)
            return self._append(node, points, count)
        added = 0
        if len(self.rows[node]):
            added = self._append(node, self._nearby(node, (count + 1) // 2), count)
        if added < count:
            added += self._append(node, self.random_points(2 * (count - added)), count - added)
        return added

    def random_points(self, count: int) -> Host:
        """Whole multi-indices ``(count, N)``, uniformly at random."""
        drawn: Host = self.rng.integers(0, np.array(self.tree.shape), (count, len(self.tree.shape)))
        return drawn.astype(self.dtype)

    def _nearby(self, node: int, count: int) -> Host:
        """A column of the parent, with rows of the siblings in it that may become pivots there."""
        parent = self.tree.parent[node]
        above = self.columns[parent] if parent != self.tree.root else np.zeros((1, len(self.tree.shape)), self.dtype)
        points = above[self.rng.integers(0, len(above), count)]
        for sibling in self.tree.children[parent]:
            if sibling == node:
                continue
            self._fill(points, sibling)
        return points

    def _fill(self, points: Host, node: int) -> None:
        """Set the modes of ``node`` to random candidates for its pivot rows."""
        for part in self.tree.children[node] or [node]:
            modes = self.tree.modes[part]
            rows = self.rows[part] if part != node else np.arange(self.tree.shape[modes[0]])[:, None]
            points[:, modes] = rows[self.rng.integers(0, len(rows), len(points))]

    def points_around(self, starts: Host, count: int) -> Host:
        """The given points with up to three random indices changed."""
        if not len(starts):
            return starts
        points = starts[self.rng.integers(0, len(starts), count)]
        changed = self.random_points(count)
        for row in range(count):
            modes = self.rng.integers(0, len(self.tree.shape), 3)
            points[row, modes] = changed[row, modes]
        return points

    def nearby_points(self, count: int) -> Host:
        """Whole multi-indices put together from the pivots around random nodes, one step beyond what a sweep reads."""
        made = []
        for node, repeats in zip(
            *np.unique(self.rng.integers(0, self.tree.root, count), return_counts=True), strict=True
        ):
            points = self._nearby(int(node), int(repeats))
            self._fill(points, int(node))
            made.append(points)
        return np.concatenate(made)


def _places(keys: Host, wanted: Host) -> Host:
    """Where the wanted keys are, of those that are there."""
    if not len(wanted):
        return np.zeros(0, np.int64)
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)
    found: Host = order[place][keys[order[place]] == wanted]
    return found
