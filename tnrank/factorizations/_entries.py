"""Entries of a network's result at given indices, by whichever of two ways costs less."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from tnrank._backend import Backend, host_array
from tnrank._typing import Array, Label
from tnrank.network import ContractionPlan, Network

_ENTRY = ("entry",)
_ROW_COST = 4
"""Gathered rows move at memory speed, dense contractions run at matrix-product speed: measured, about 4 times."""
_LARGEST_DENSE = 2**27
_MOST_MODES = 60
"""NumPy and PyTorch arrays have at most 64 axes; a batch index and inner indices need some of them."""
_LARGEST_CODE = 2**63 - 1


class EntryPlan:
    """How to get the entries of a network at ``indices``, and the adjoint of that.

    ``dense`` contracts the whole tensor; otherwise one row a mode and entry is gathered and contracted as a batch.
    """

    def __init__(self, network: Network, sizes: dict[Label, int], indices: np.ndarray[Any, Any]) -> None:
        self.network, self.indices = network, indices
        self.shape = tuple(sizes[label] for label in network.output)
        self.row_network = Network(
            {name: _with_entry(labels, set(network.output)) for name, labels in network.tensors.items()},
            (_ENTRY,),
        )
        row_sizes = {**{k: v for k, v in sizes.items() if k not in network.output}, _ENTRY: len(indices)}
        self.rows: ContractionPlan = self.row_network.plan(row_sizes)
        self.dense = False
        if prod(self.shape) <= _LARGEST_DENSE and len(self.shape) <= _MOST_MODES:
            self.whole: ContractionPlan = network.plan(sizes)
            self.dense = self._is_cheaper_whole(sizes)

    def _is_cheaper_whole(self, sizes: dict[Label, int]) -> bool:
        network = self.network
        gathered = sum(
            len(self.indices) * prod(sizes[x] for x in labels if x not in set(network.output))
            for labels in network.tensors.values()
        )
        dense_cost = self.whole.flops + prod(self.shape)
        small = max(self.whole.largest_intermediate, prod(self.shape)) <= _LARGEST_DENSE
        return small and dense_cost <= _ROW_COST * (self.rows.flops + gathered)

    @classmethod
    def of(cls, network: Network, sizes: dict[Label, int], indices: Any) -> EntryPlan:
        """A plan for ``indices`` as anybody gives them."""
        shape = tuple(sizes[label] for label in network.output)
        return cls(network, sizes, checked_indices(indices, shape))

    @cached_property
    def linear(self) -> np.ndarray[Any, Any]:
        """Positions in the flattened end tensor, shape ``(M,)``."""
        return codes(self.indices, self.shape)

    def positions(self, backend: Backend, device: Any) -> Any:
        """The index arrays that :meth:`evaluate` takes, on the device."""
        if self.dense:
            return backend.asarray(self.linear, device=device)
        return {name: backend.asarray(rows, device=device) for name, rows in self._row_positions.items()}

    @cached_property
    def _row_positions(self) -> dict[str, np.ndarray[Any, Any]]:
        place = {label: k for k, label in enumerate(self.network.output)}
        found = {}
        for name, labels in self.network.tensors.items():
            columns = [place[label] for label in labels if label in place]
            if columns:
                found[name] = codes(self.indices[:, columns], [self.shape[k] for k in columns])
        return found

    def evaluate(self, backend: Backend, values: Sequence[Array], positions: Any) -> Array:
        """The entries, shape ``(M,)``."""
        names = list(self.network.tensors)
        if self.dense:
            result = self.whole(dict(zip(names, values, strict=True)))
            return backend.take(backend.reshape(result, (prod(self.shape),)), positions, 0)
        return self.rows(self.gather(backend, values, positions))

    def gather(self, backend: Backend, values: Sequence[Array], positions: Any) -> dict[str, Array]:
        """One row an entry of every tensor with an open index."""
        place = set(self.network.output)
        gathered = {}
        for (name, labels), array in zip(self.network.tensors.items(), values, strict=True):
            if name in positions:
                array = backend.take(_open_first(backend, array, labels, place), positions[name], 0)
            gathered[name] = array
        return gathered

    def scatter(
        self, backend: Backend, pulled: dict[str, Array], values: Sequence[Array], positions: Any
    ) -> list[Array]:
        """The adjoint of :meth:`gather`: gradients with respect to whole tensors."""
        place = set(self.network.output)
        gradients = []
        for (name, labels), array in zip(self.network.tensors.items(), values, strict=True):
            gradient = pulled[name]
            if name in positions:
                opened = [k for k, x in enumerate(labels) if x in place]
                closed = [k for k, x in enumerate(labels) if x not in place]
                rows = prod(array.shape[k] for k in opened)
                rest = tuple(array.shape[k] for k in closed)
                gradient = backend.scatter_add((rows, *rest), 0, positions[name], gradient)
                gradient = backend.reshape(gradient, (*(array.shape[k] for k in opened), *rest))
                axes = tuple(int(k) for k in np.argsort([*opened, *closed]))
                if axes != tuple(range(len(axes))):
                    gradient = backend.permute(gradient, axes)
            gradients.append(gradient)
        return gradients


def _with_entry(labels: Sequence[Label], opened: set[Label]) -> tuple[Label, ...]:
    closed = tuple(x for x in labels if x not in opened)
    return closed if len(closed) == len(labels) else (_ENTRY, *closed)


def _open_first(backend: Backend, array: Array, labels: Sequence[Label], opened: set[Label]) -> Array:
    first = [k for k, x in enumerate(labels) if x in opened]
    rest = [k for k, x in enumerate(labels) if x not in opened]
    axes = (*first, *rest)
    if axes != tuple(range(len(axes))):
        array = backend.permute(array, axes)
    if len(first) > 1:
        shape = tuple(array.shape)
        array = backend.reshape(array, (prod(shape[: len(first)]), *shape[len(first) :]))
    return array


def codes(indices: np.ndarray[Any, Any], shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """One int64 number for each row of ``indices`` ``(M, N)``: equal for equal rows, in lexicographic order.

    It is the position in the flattened tensor wherever int64 holds all positions of ``shape``.
    """
    code, range_of_code = np.zeros(len(indices), np.int64), 1
    for mode, size in enumerate(shape):
        column = indices[:, mode]
        if range_of_code * size > _LARGEST_CODE:
            # Ranks among the M rows keep order and equality, and are below M.
            code, range_of_code = _ranks(code)
            if range_of_code * size > _LARGEST_CODE:
                column, size = _ranks(column)
        code, range_of_code = code * size + column, range_of_code * size
    return code


def _ranks(numbers: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """The rank of each number among the distinct ones, and how many of those there are."""
    distinct, ranks = np.unique(numbers, return_inverse=True)
    return ranks.astype(np.int64), max(len(distinct), 1)


def checked_indices(indices: Any, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """``indices`` as an integer array ``(M, N)`` within ``shape``.

    Raises:
        TypeError: if they are not whole numbers.
        ValueError: if there is not one column a mode, an index is out of range (entry and mode are named), or some are
            masked.
    """
    found = host_array(indices, "indices")
    if found.size == 0:
        found = found.reshape(0, len(shape)).astype(np.int64)
    if found.dtype.kind not in "iu":
        fix = ": numpy.argwhere(mask) lists the entries of a mask" if found.dtype.kind == "b" else ""
        raise TypeError(f"indices are whole numbers, got dtype {found.dtype}{fix}")
    if found.ndim != 2 or found.shape[1] != len(shape):
        raise ValueError(
            f"indices have shape (M, {len(shape)}), one column a mode, got {found.shape}"
            + ("; write them as np.stack(np.nonzero(mask), axis=1)" if found.ndim == 2 else "")
        )
    # Before the conversion: unsigned numbers beyond int64 would come out negative.
    wrong = (found < 0) | (found >= np.asarray(shape, np.int64).reshape(1, -1))
    if wrong.any():
        row, mode = (int(k) for k in np.argwhere(wrong)[0])
        raise ValueError(
            f"index {int(found[row, mode])} of entry {row} is out of range for mode {mode} of dimension {shape[mode]}"
            f" (indices start at 0; {int(wrong.any(axis=1).sum())} of {len(found)} entries are out of range)"
        )
    return found.astype(np.int64)
