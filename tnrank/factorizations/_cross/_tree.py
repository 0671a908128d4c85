"""A dimension tree as arrays of numbers, and entries of a tensor in the hierarchical Tucker format on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank.dimension_tree import DimensionTree

Host = np.ndarray[Any, Any]
_ELEMENTS = 2**21  # of an intermediate result


class NumberedTree:
    """Nodes by their place in ``tree.nodes``: children before parents, the root last."""

    def __init__(self, tree: DimensionTree, shape: Sequence[int]) -> None:
        self.tree, self.shape = tree, tuple(shape)
        place = {node: k for k, node in enumerate(tree.nodes)}
        self.modes = [np.array(node.modes, np.int64) for node in tree.nodes]
        self.children = [[place[c] for c in tree.children(node)] for node in tree.nodes]
        self.parent = [-1] * len(place)
        for node, below in enumerate(self.children):
            for child in below:
                self.parent[child] = node
        self.root = len(place) - 1
        levels: dict[int, list[int]] = {}
        for k, each in enumerate(tree.nodes[:-1]):
            levels.setdefault(each.height, []).append(k)
        self.levels = [levels[height] for height in sorted(levels)]
        logs = np.log2(np.array(shape, float))
        total = self.log_size = float(logs.sum())
        # Where a node has few multi-indices outside, columns are drawn without repetition.
        self.log_outside = [max(0.0, total - float(logs[m].sum())) for m in self.modes]

    def entries(self, arrays: Sequence[Host], points: Host) -> Host:
        """The entries at ``(M, N)`` multi-indices of the tensor with these frames and transfer tensors.

        Vectors are kept near one by powers of two, which are exact: the entries may be finite where products of a
        thousand frames are not.
        """
        largest = max(max(a.size for a in arrays), 1)
        step = max(1, _ELEMENTS // largest)
        parts = [self._entries(arrays, points[k : k + step]) for k in range(0, len(points), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _entries(self, arrays: Sequence[Host], points: Host) -> Host:
        vectors, powers = self._upward(arrays, points)
        return _scaled_by(vectors[-1][:, 0], powers[-1])

    def _upward(self, arrays: Sequence[Host], points: Host) -> tuple[list[Host], list[Host]]:
        """For every node and point the vector ``(M, k)`` of its frame, over two to the power ``(M,)``."""
        count = len(points)
        vectors: list[Host] = []
        powers: list[Host] = []
        for node, array in enumerate(arrays):
            below = self.children[node]
            if not below:
                made = array[points[:, self.modes[node][0]]]
            else:
                made = vectors[below[0]] @ array.reshape(array.shape[0], -1)
                for child in below[1:]:
                    size = vectors[child].shape[1]
                    made = (vectors[child][:, None, :] @ made.reshape(count, size, -1))[:, 0]
            power = np.clip(np.frexp(abs(made).max(axis=1, initial=0.0))[1].astype(np.int64), -1000, 1000)
            vectors.append(made * np.ldexp(1.0, -power)[:, None])
            powers.append(power + sum(powers[child] for child in below))
        return vectors, powers

    def fibers(self, arrays: Sequence[Host], point: Host) -> list[Host]:
        """For every mode, the entries ``(d_n,)`` at ``point`` with that index set to every value."""
        vectors, powers = self._upward(arrays, point[None])
        above: list[tuple[Host, int]] = [(np.ones(1), 0)] * len(arrays)
        found: list[Host] = [np.zeros(0)] * len(self.shape)
        for node in range(self.root, -1, -1):
            outside, power = above[node]
            array, below = arrays[node], self.children[node]
            if not below:
                found[int(self.modes[node][0])] = _scaled_by(array @ outside, np.full(len(array), power))
                continue
            tensor = array.reshape(*(vectors[c].shape[1] for c in below), -1) @ outside
            for axis, child in enumerate(below):
                others = [(k, other) for k, other in enumerate(below) if k != axis]
                made = tensor
                for k, other in reversed(others):
                    made = np.tensordot(made, vectors[other][0], axes=([k], [0]))
                shift = int(np.clip(np.frexp(abs(made).max(initial=0.0))[1], -1000, 1000))
                outer = power + shift + sum(int(powers[other][0]) for _, other in others)
                above[child] = (made * np.ldexp(1.0, -shift), outer)
        return found


def _scaled_by(values: Host, powers: Host) -> Host:
    if values.dtype.kind == "c":
        made: Host = np.ldexp(values.real, powers) + 1j * np.ldexp(values.imag, powers)
        return made
    made = np.ldexp(values, powers)
    return made
