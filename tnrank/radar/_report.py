"""The rank report of a model: one row a weight, as a value, a table and a file."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tnrank._files import check_path, write_atomically
from tnrank.radar import _table
from tnrank.radar._spectrum import MatrixSpectrum

_COLUMNS = (
    *("layer", "shape", "dtype", "rows", "columns", "parameters", "norm", "rank", "effective_rank", "stable_rank"),
    *("compressed_rank", "kept", "multilinear_rank", "compressed_multilinear_rank", "tucker_kept"),
    *("change_norm", "change_rank", "change_effective_rank", "change_stable_rank", "change_compressed_rank"),
    *("activations_effective_rank", "activations_width", "spectral_norm"),
)


@dataclass(frozen=True)
class WeightRanks:
    """The ranks of one weight.

    Attributes:
        name: of the weight in its model.
        shape: of the weight.
        dtype: in which it is stored.
        sides: rows and columns as a matrix: the first axis, and all others together.
        matrix: its spectrum and ranks as a matrix.
        change: the same of its difference from the initial weight, if that was given.
        multilinear_rank: of a weight of order 3 or more, the numerical rank of each matricization.
        compressed_multilinear_rank: ranks at which a truncation in all modes has a relative error of at most ``rtol``.
        activations_effective_rank: of the matrix (samples, features) of what the layer gave, not centered.
        activations_width: how many features that matrix has.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    sides: tuple[int, int]
    matrix: MatrixSpectrum
    change: MatrixSpectrum | None = None
    multilinear_rank: tuple[int, ...] | None = None
    compressed_multilinear_rank: tuple[int, ...] | None = None
    activations_effective_rank: float | None = None
    activations_width: int | None = None

    @property
    def parameters(self) -> int:
        """How many numbers the weight has."""
        return math.prod(self.shape)

    @property
    def kept(self) -> float:
        """The parameters of a matrix factorization of rank ``matrix.compressed_rank``, as a share; it may exceed 1."""
        return self.matrix.compressed_rank * sum(self.sides) / self.parameters

    @property
    def tucker_kept(self) -> float | None:
        """The parameters of a Tucker tensor of the compressed multilinear rank, as a share; it may exceed 1."""
        ranks = self.compressed_multilinear_rank
        if ranks is None:
            return None
        return (math.prod(ranks) + sum(r * d for r, d in zip(ranks, self.shape, strict=True))) / self.parameters

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and dictionaries, ready for ``json.dumps``."""
        ranks, compressed = self.multilinear_rank, self.compressed_multilinear_rank
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "sides": list(self.sides),
            "parameters": self.parameters,
            "matrix": self.matrix.to_dict(),
            "kept": self.kept,
            "change": None if self.change is None else self.change.to_dict(),
            "multilinear_rank": None if ranks is None else list(ranks),
            "compressed_multilinear_rank": None if compressed is None else list(compressed),
            "tucker_kept": self.tucker_kept,
            "activations_effective_rank": self.activations_effective_rank,
            "activations_width": self.activations_width,
        }


@dataclass(frozen=True)
class LayerRanks:
    """What :func:`layer_ranks` measured. ``print`` shows a table, ``report["name"]`` is one row.

    Attributes:
        rows: one a weight, in the order of the model.
        rtol: the relative error of the compressed ranks.
        left_out: names of the arrays without ranks: vectors (biases, norms), numbers, empty ones, whole numbers.
        left_out_parameters: how many numbers those hold.
    """

    rows: tuple[WeightRanks, ...]
    rtol: float
    left_out: tuple[str, ...] = ()
    left_out_parameters: int = 0

    @property
    def parameters(self) -> int:
        """How many numbers the measured weights have."""
        return sum(row.parameters for row in self.rows)

    @property
    def kept(self) -> float:
        """The share of them that is left if each weight that gains by it becomes a matrix factorization."""
        return sum(min(row.kept, 1.0) * row.parameters for row in self.rows) / self.parameters

    def __iter__(self) -> Iterator[WeightRanks]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> WeightRanks:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no weight {name!r}; there are {', '.join(row.name for row in self.rows)}")

    def to_dict(self) -> dict[str, Any]:
        """The report as numbers, strings, lists and dictionaries, ready for ``json.dumps``."""
        return {
            "rtol": self.rtol,
            "parameters": self.parameters,
            "kept": self.kept,
            "left_out": list(self.left_out),
            "left_out_parameters": self.left_out_parameters,
            "weights": [row.to_dict() for row in self.rows],
        }

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one line a weight, without the spectra.

        Args:
            path: of the file, replaced if it exists.

        Raises:
            OSError: if it cannot be written.
        """
        check_path(path, "path", "the name of a file such as 'ranks.csv'")
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([_cell(value) for value in _cells(row)] for row in self.rows)
        write_atomically(path, buffer.getvalue().encode())

    def __str__(self) -> str:
        return _table.layout(self).text()

    def _repr_html_(self) -> str:
        return _table.layout(self).html()

    def __rich__(self) -> Any:
        return _table.layout(self).rich()


def _cells(row: WeightRanks) -> list[Any]:
    m, c = row.matrix, row.change
    change: list[Any] = [None] * 5
    if c is not None:
        change = [c.norm, c.rank, c.effective_rank, c.stable_rank, c.compressed_rank]
    return [
        *(row.name, row.shape, row.dtype, *row.sides, row.parameters, m.norm, m.rank, m.effective_rank, m.stable_rank),
        *(m.compressed_rank, row.kept, row.multilinear_rank, row.compressed_multilinear_rank, row.tucker_kept),
        *change,
        *(row.activations_effective_rank, row.activations_width, m.singular_values[0]),
    ]


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
