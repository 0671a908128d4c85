"""The base class of the tree formats, with what acts on their modes: indexing, sums, products, permutations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tnrank._alike import default_or_named_device
from tnrank._backend import common_backend
from tnrank._check import instance
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations._arrays import checked_arrays, in_one_dtype, measurable
from tnrank.factorizations._nodes._indexing import Selection, read_index, read_mode, read_modes
from tnrank.factorizations._nodes._modes import contract_modes, multiply_modes
from tnrank.factorizations._tree_changes import TreeChanges


class TreeFormat(TreeChanges):
    """The base of ``HierarchicalTucker``, ``TensorTrain`` and ``Tucker``: frames and transfer tensors on a tree."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        """Entries and slices with NumPy's rules, in the format: numbers drop modes, slices and lists keep them.

        Returns:
            The same format with the modes that are left; a dense vector if one is left, and a scalar array if none.
            Index arrays for all modes are read together, as :meth:`entries` does, and give an array of their shape.

        Raises:
            IndexError: if an index is out of range, there are too many, or arrays index some modes together and
                others not: use ``np.ix_`` for their product.

        Example:
            >>> import tnrank
            >>> x = tnrank.HierarchicalTucker.random((4, 5, 6, 7), rank=2, seed=0)
            >>> x[0, 1:3, :, ::2].shape, x[0, :, 0, 0].shape
            ((2, 6, 4), (5,))
        """
        found = read_index(index, self.shape)
        if found.points is not None:
            return self.backend.reshape(self.entries(found.points), found.shape)
        return self._select(found)

    def _select(self, found: Selection) -> Any:
        backend, nodes = self.backend, self.nodes
        device = default_or_named_device(nodes[self.tree.root])
        vectors = {}
        for leaf in self.tree.leaves:
            mode = leaf.modes[0]
            rows = found.rows.get(mode)
            if rows is None:
                continue
            nodes[leaf] = backend.take(nodes[leaf], backend.asarray(rows, device=device), 0)
            if mode in found.dropped:
                vectors[mode] = backend.xp.ones_like(nodes[leaf][:, 0])
        return self._contracted(nodes, vectors)

    def _contracted(self, nodes: Mapping[Any, Array], vectors: Mapping[int, Array]) -> Any:
        if not vectors:
            return self._of_nodes(self.tree, nodes)
        nodes, vectors = in_one_dtype(self.backend, nodes, vectors)
        tree, made = contract_modes(self.tree, nodes, vectors)
        return made if tree is None else self._of_nodes(tree, made)

    @explained
    def contract_modes(self, vectors: Mapping[int, Array]) -> Any:
        """Each named mode summed against a vector ``(d_n,)``; the modes that are left keep their order.

        Returns:
            As for indexing: the same format, or a dense vector or scalar array if one mode or none is left.

        Raises:
            ValueError: if a mode does not exist or a vector has another length.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.HierarchicalTucker.random((3, 4, 5), rank=2, seed=0)
            >>> x.contract_modes({1: np.ones(4)}).shape
            (3, 5)
        """
        return self._contracted(self.nodes, {read_mode(m, self.ndim): v for m, v in self._fitting(vectors, 1).items()})

    @explained
    def mode_products(self, matrices: Mapping[int, Array]) -> Self:
        """A matrix ``(m, d_n)`` multiplied onto each named mode, whose dimension becomes m.

        Raises:
            ValueError: if a mode does not exist or a matrix does not fit it.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.HierarchicalTucker.random((3, 4, 5), rank=2, seed=0)
            >>> x.mode_products({0: np.ones((7, 3))}).shape
            (7, 4, 5)
        """
        nodes, fitting = in_one_dtype(self.backend, self.nodes, self._fitting(matrices, 2))
        return self._of_nodes(self.tree, multiply_modes(nodes, fitting))

    @explained
    def sum(self, modes: int | Sequence[int] | None = None) -> Any:
        """The sum over some modes, or over all; returns as indexing does.

        Example:
            >>> import numpy as np, tnrank
            >>> x = tnrank.HierarchicalTucker.random((3, 4, 5), rank=2, seed=0)
            >>> bool(np.isclose(x.sum(), x.to_dense().sum())), x.sum(0).shape
            (True, (4, 5))
        """
        return self._weighed(modes, lambda size: 1.0)

    @explained
    def mean(self, modes: int | Sequence[int] | None = None) -> Any:
        """The mean over some modes, or over all; where :meth:`sum` overflows, this does not."""
        return self._weighed(modes, lambda size: 1.0 / size)

    @explained
    def marginal(self, modes: int | Sequence[int]) -> Any:
        """The sum over all modes but the given ones: of a table of probabilities, their joint distribution."""
        kept = read_modes(modes, self.ndim)
        return self.sum([m for m in range(self.ndim) if m not in kept])

    def _weighed(self, modes: int | Sequence[int] | None, weight: Callable[[int], float]) -> Any:
        backend, shape, dtype = self.backend, self.shape, measurable(self.dtype, self.backend)
        device = default_or_named_device(self._values[0])
        weights = {m: np.full(shape[m], weight(shape[m])) for m in read_modes(modes, self.ndim)}
        return self._contracted(self.nodes, {m: backend.asarray(w, dtype, device) for m, w in weights.items()})

    def _fitting(self, given: Mapping[int, Array], axes: int) -> dict[int, Array]:
        found, own = {}, self.shape
        instance(given, "what acts on modes", Mapping, "a mapping {mode: array}")
        arrays = checked_arrays(list(given.values()), lambda: [f"the array of mode {mode}" for mode in given])
        if arrays:
            common_backend([self._values[0], arrays[0]], lambda: ("the tensor", "the arrays of the modes"))
        for mode, array in zip(given, arrays, strict=True):
            number, shape = read_mode(mode, self.ndim), tuple(array.shape)
            if len(shape) != axes or shape[-1] != own[number]:
                wanted = f"(m, {own[number]})" if axes == 2 else f"({own[number]},)"
                raise ValueError(f"for mode {mode} of dimension {own[number]} got shape {shape}, needed {wanted}")
            found[number] = array
        return found
