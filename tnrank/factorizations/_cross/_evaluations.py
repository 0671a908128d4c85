"""A black-box function behind a cache and a budget: what cross approximation may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tnrank._backend import host_array

Host = np.ndarray[Any, Any]
_ELEMENTS = 2**22  # of one index array that the function gets, unless batch_size says otherwise


class OutOfBudgetError(Exception):
    """The next block would take more evaluations than are left."""


class Block(NamedTuple):
    """The entries at ``rows x columns``: what to evaluate, and the hashes that name it.

    ``columns`` are whole multi-indices ``(L, N)``, of which ``rows`` ``(R, len(modes))`` replace the ``modes``.
    """

    modes: Host
    rows: Host
    row_keys: Host
    columns: Host
    column_keys: Host


class Evaluations:
    """Values of ``function`` at multi-indices, each point evaluated once.

    Points are known by a hash that is a sum over their modes of random 64-bit words (Zobrist hashing), so the hashes
    of a product of row and column sets are sums of theirs. Two of a million points share one with probability 3e-8.
    """

    def __init__(
        self, function: Callable[[Host], Any], shape: Sequence[int], budget: int, batch_size: int | None, seed: int
    ) -> None:
        self.function = function
        self.shape = tuple(shape)
        self.budget = budget
        self.batch_size = max(1, _ELEMENTS // len(self.shape)) if batch_size is None else batch_size
        self.count = 0
        self.dtype = np.dtype(np.float64)
        self.coarsest = "float64"
        self.extremes: list[tuple[float, Host]] = []  # the largest and the smallest magnitude so far, and where
        self.index_dtype = np.min_scalar_type(max(self.shape) - 1)
        self._offsets = np.cumsum([0, *self.shape[:-1]])
        words = np.random.default_rng([seed, 1])
        self._words = words.integers(0, 2**64, sum(self.shape), dtype=np.uint64)
        self._runs: list[tuple[Host, Host]] = []  # sorted keys and their values, shorter runs last

    def keys(self, indices: Host, modes: Host | None = None) -> Host:
        """The hashes ``(M,)`` of multi-indices ``(M, len(modes))``; of all modes if these are not given."""
        offsets = self._offsets if modes is None else self._offsets[modes]
        found: Host = self._words[indices.astype(np.int64) + offsets].sum(axis=1, dtype=np.uint64)
        return found

    def values(self, points: Host) -> Host:
        """The values ``(M,)`` at whole multi-indices ``(M, N)``."""
        none = np.zeros(0, np.int64)
        rows = np.zeros((1, 0), points.dtype)
        found: Host = self.blocks([Block(none, rows, np.zeros(1, np.uint64), points, self.keys(points))])[0][0]
        return found

    def blocks(self, blocks: Sequence[Block]) -> list[Host]:
        """The matrices ``(R, L)`` of all blocks, their new entries evaluated together.

        Raises:
            OutOfBudgetError: before anything is evaluated, if the new entries are more than what is left.
        """
        keys = [(b.row_keys[:, None] + b.column_keys[None, :]).reshape(-1) for b in blocks]
        ends = np.cumsum([0, *map(len, keys)])
        wanted = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
        found, known = self._look_up(wanted)
        if not known.all():
            missing = np.flatnonzero(~known)
            unique, first, inverse = np.unique(wanted[missing], return_index=True, return_inverse=True)
            if self.count + len(unique) > self.budget:
                raise OutOfBudgetError
            # In the order of the blocks, so that every block is visited once.
            order = np.argsort(first)
            positions = missing[first[order]]
            new = np.empty(len(unique), self.dtype)
            for start in range(0, len(positions), self.batch_size):
                part = slice(start, start + self.batch_size)
                got = self._call(_indices(blocks, ends, positions[part], len(self.shape)))
                if got.dtype != new.dtype and got.dtype.kind == "c":
                    new = new.astype(got.dtype)
                new[order[part]] = got
            self._remember(unique, new)
            found = found.astype(self.dtype)
            found[missing] = new[inverse]
        return [
            found[start:stop].reshape(len(b.row_keys), len(b.column_keys))
            for b, (start, stop) in zip(blocks, pairwise(ends), strict=True)
        ]

    def _call(self, indices: Host) -> Host:
        count = len(indices)
        # A copy: a function may change its argument, and the indices name the values.
        got = self.function(indices.copy())
        self.count += count
        nested = isinstance(got, (list, tuple)) and any(isinstance(value, (list, tuple)) for value in got)
        got = np.empty(0, object) if nested or got is None else host_array(got, "values of the function")
        if got.shape != (count,) or got.dtype.kind not in "biufc":
            raise TypeError(
                f"the function returned values of shape {got.shape} and dtype {got.dtype} for indices of shape "
                f"{indices.shape}: needed one number a row, shape ({count},)"
            )
        if got.dtype.kind in "fc" and np.finfo(got.dtype).bits < 64:
            self.coarsest = "float32" if np.finfo(got.dtype).bits == 32 else "float16"
        made: Host = got.astype(np.complex128 if got.dtype.kind == "c" else np.float64)
        wrong = ~np.isfinite(made)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"the function is {made[row]} at the index {tuple(map(int, indices[row]))}: needed finite values"
            )
        self.dtype = np.promote_types(self.dtype, made.dtype)
        sizes = abs(made)
        for k, (place, better) in enumerate(((int(sizes.argmax()), np.greater), (int(sizes.argmin()), np.less))):
            if not self.extremes[k:] or better(sizes[place], self.extremes[k][0]):
                self.extremes[k : k + 1] = [(float(sizes[place]), indices[place].astype(self.index_dtype))]
        return made

    @property
    def largest(self) -> float:
        """The largest magnitude met so far."""
        return self.extremes[0][0] if self.extremes else 0.0

    def _look_up(self, keys: Host) -> tuple[Host, Host]:
        found = np.zeros(len(keys), self.dtype)
        known = np.zeros(len(keys), bool)
        for run, values in self._runs:
            place = np.minimum(np.searchsorted(run, keys), len(run) - 1)
            hit = run[place] == keys
            found[hit] = values[place[hit]]
            known |= hit
        return found, known

    def _remember(self, keys: Host, values: Host) -> None:
        self._runs.append((keys, values))
        # Runs at least halve in length, so that a key is moved and looked for in log(count) of them.
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            (keys, values), (more, further) = self._runs.pop(), self._runs.pop()
            keys, values = np.concatenate([more, keys]), np.concatenate([further, values])
            order = np.argsort(keys, kind="stable")
            self._runs.append((keys[order], values[order]))


def _indices(blocks: Sequence[Block], ends: Host, positions: Host, order: int) -> Host:
    """The multi-indices ``(M, N)`` of ascending positions in the concatenation of all blocks."""
    made = np.empty((len(positions), order), np.int64)
    bounds = np.searchsorted(positions, ends)
    for block, offset, start, stop in zip(blocks, ends, bounds[:-1], bounds[1:], strict=False):
        if start < stop:
            row, column = np.divmod(positions[start:stop] - offset, len(block.column_keys))
            made[start:stop] = block.columns[column]
            made[start:stop, block.modes] = block.rows[row]
    return made
