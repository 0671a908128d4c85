"""One matrix that is measured again and again: what is known of it from the last time, and the rows so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tnrank._backend import host_array
from tnrank._scale import norm as norm_of
from tnrank._scale import quiet
from tnrank.linalg import singular_values
from tnrank.radar._krylov import block_size, first_basis, is_small, leading_values
from tnrank.ranks import effective_rank_of

if TYPE_CHECKING:
    from tnrank._backend import Backend
    from tnrank._typing import Array

Host = np.ndarray[Any, Any]

_FIRST, _MOST = 5, 4
"""Rounds of two products each: where nothing is known, and from the last basis on."""
_RANGE = 1e-12, 1e12
"""Norms for which squares in single precision are numbers."""


@dataclass(frozen=True, eq=False)
class LayerHistory:
    """What was recorded of one weight, or of its change; K records of k singular values.

    Attributes:
        steps: ``(K,)``.
        singular_values: ``(K, k)``, the largest ones, descending in each row; NaN where the weight was not finite.
        effective_rank: ``(K,)``; exact for small matrices, else an estimate: a few percent off for most spectra, a
            third for some (power laws like 1 / k, steps below the leading values).
        stable_rank: ``(K,)``.
        norm: ``(K,)``, Frobenius.
        uncertainty: ``(K,)``, the estimated error of the singular values as a share of the largest; 0 is exact.
    """

    steps: Host
    singular_values: Host
    effective_rank: Host
    stable_rank: Host
    norm: Host
    uncertainty: Host

    def __len__(self) -> int:
        return len(self.steps)

    def __repr__(self) -> str:
        last = int(self.steps[-1]) if len(self) else "nothing"
        return (
            f"LayerHistory({len(self)} records of {self.singular_values.shape[1]} singular values, up to step {last})"
        )


class _Row(NamedTuple):
    step: int
    values: Host
    effective_rank: float
    norm: float
    uncertainty: float


def _norm(matrix: Array, backend: Backend) -> float:
    """The Frobenius norm: as a product where its square is a number, which is several times as fast."""
    flat = backend.reshape(matrix, (-1,))
    if not backend.xp.isdtype(flat.dtype, "complex floating"):
        with quiet(backend):
            square = float(backend.to_numpy(flat @ flat))
        if _RANGE[0] ** 2 < square < _RANGE[1] ** 2:
            return math.sqrt(square)
    return float(backend.to_numpy(norm_of(matrix, backend)))


class Track:
    """The records of one matrix, and the basis that the next one starts from."""

    def __init__(self, sides: tuple[int, int], leading: int, accuracy: float) -> None:
        self.sides, self.accuracy = sides, accuracy
        self.count = min(leading, *sides)
        self.basis: Any = None
        self.rows: list[_Row] = []

    def record(self, step: int, matrix: Array, backend: Backend) -> _Row:
        """Measure the matrix and append a row."""
        size = _norm(matrix, backend)
        row = _Row(step, *self._measured(matrix, backend, size))
        self.rows.append(row)
        return row

    def _measured(self, matrix: Array, backend: Backend, size: float) -> tuple[Host, float, float, float]:
        if not math.isfinite(size):
            # A training that has diverged goes on being recorded, as what it is.
            return np.full(self.count, np.nan), math.nan, size, math.nan
        if size == 0:
            return np.zeros(self.count), 0.0, 0.0, 0.0
        if is_small(self.sides, self.count):
            s = np.asarray(backend.to_numpy(singular_values(matrix)), np.float64)
            return s[: self.count], float(effective_rank_of(s)), size, 0.0
        unit = 1.0 if _RANGE[0] < size < _RANGE[1] else size
        matrix = matrix if unit == 1.0 else matrix / unit
        most = _MOST
        if self.basis is None:
            self.basis, most = first_basis(matrix, backend, self.count), _FIRST
        found = leading_values(matrix, backend, self.basis, self.count, size / unit, self.accuracy, most)
        self.basis = found.basis
        return found.values * unit, found.effective_rank, size, found.uncertainty

    def history(self) -> LayerHistory:
        """The rows as arrays, which cannot be written to."""
        values = np.array([row.values for row in self.rows]).reshape(len(self.rows), self.count)
        norms = np.array([row.norm for row in self.rows])
        tops = values[:, 0]
        stable = np.square(np.divide(norms, tops, out=np.zeros_like(norms), where=tops != 0))
        made = (
            *(np.array([row.step for row in self.rows], np.int64), values),
            *(np.array([row.effective_rank for row in self.rows]), stable, norms),
            np.array([row.uncertainty for row in self.rows]),
        )
        for array in made:
            array.flags.writeable = False
        return LayerHistory(*made)

    def state(self) -> dict[str, Any]:
        """Arrays from which :meth:`restore` makes the same track."""
        found = self.history()
        state: dict[str, Any] = {
            "sides": np.array(self.sides, np.int64),
            "steps": found.steps.copy(),
            "singular_values": found.singular_values.copy(),
            "effective_rank": found.effective_rank.copy(),
            "norm": found.norm.copy(),
            "uncertainty": found.uncertainty.copy(),
        }
        if self.basis is not None:
            state["basis"] = host_array(self.basis, "basis").copy()
        return state

    @classmethod
    def restore(cls, name: str, state: dict[str, Host], leading: int, accuracy: float) -> Track:
        """A track from its state.

        Raises:
            ValueError: if the state is incomplete, or of another number of singular values.
        """
        needed = {"sides", "steps", "singular_values", "effective_rank", "norm", "uncertainty"}
        if missing := needed - set(state):
            raise ValueError(f"the state of {name!r} lacks {', '.join(sorted(missing))}: give what state_dict() gave")
        rows, columns = (int(side) for side in state["sides"])
        made = cls((rows, columns), leading, accuracy)
        values = state["singular_values"]
        if values.ndim != 2 or values.shape[1] != made.count:
            raise ValueError(
                f"the state of {name!r} has {values.shape[-1]} singular values a record, and this radar records "
                f"{made.count}: make it with the same leading="
            )
        numbers = (state[key].tolist() for key in ("effective_rank", "norm", "uncertainty"))
        made.rows = [
            _Row(int(step), row, *rest)
            for step, row, *rest in zip(state["steps"], values.astype(np.float64), *numbers, strict=True)
        ]
        basis = state.get("basis")
        if basis is not None and basis.shape != (min(rows, columns), block_size(made.count)):
            raise ValueError(f"the basis of {name!r} has shape {basis.shape}: give what state_dict() gave")
        made.basis = basis
        return made
