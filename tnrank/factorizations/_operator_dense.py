"""A tensor train operator and the tensor train over pairs of its modes: from dense matrices, and for sums."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from tnrank._alike import identity
from tnrank._backend import backend_of
from tnrank._scale import not_finite
from tnrank._typing import Array, Shape
from tnrank.factorizations._tensor_train import TensorTrain

if TYPE_CHECKING:
    from tnrank.factorizations._nodes._cutoff import MaxRank


def from_matrix(
    matrix: Array,
    rows: Shape,
    columns: Shape,
    rtol: float | None,
    max_rank: MaxRank,
    method: str,
    atol: float | None,
) -> list[Array]:
    """See :meth:`tnrank.TensorTrainOperator.from_dense`; the cores as they are stored."""
    backend, shape, count = backend_of(matrix), tuple(int(d) for d in matrix.shape), len(rows)
    sides = prod(rows), prod(columns)
    if shape not in (sides, (*rows, *columns)):
        raise ValueError(
            f"got an array of shape {shape}, needed the matrix {sides} or its tensor {(*rows, *columns)}, as row_shape "
            f"{rows} and column_shape {columns} say"
        )
    if not bool(backend.xp.all(backend.xp.isfinite(matrix))):
        raise not_finite(matrix, backend, "of the matrix ", "fill them in first, for example with tnrank.fill_missing")
    pairs = tuple(axis for k in range(count) for axis in (k, count + k))
    tensor = backend.permute(backend.reshape(matrix, (*rows, *columns)), pairs)
    sizes = tuple(m * n for m, n in zip(rows, columns, strict=True))
    # A train has two modes or more.
    train = TensorTrain.from_dense(
        backend.reshape(tensor, sizes if count > 1 else (*sizes, 1)), rtol, max_rank, method, atol=atol
    )
    if count == 1:
        return [train.backend.reshape(train.to_dense(), (*rows, *columns))]
    return unmerged(train, rows, columns)


def merged(values: Sequence[Array]) -> TensorTrain:
    """The train of two or more cores, the rows and columns of each as one mode."""
    made = []
    for k, core in enumerate(values):
        before, (m, n), after = core.shape[: k > 0], core.shape[k > 0 :][:2], core.shape[(k > 0) + 2 :]
        made.append(backend_of(core).reshape(core, (*before, m * n, *after)))
    return TensorTrain._make(len(made), made)


def unmerged(train: TensorTrain, rows: Sequence[int], columns: Sequence[int]) -> list[Array]:
    """The cores of :func:`merged`, as a :class:`tnrank.TensorTrainOperator` stores them."""
    made = []
    for k, (core, m, n) in enumerate(zip(train._values, rows, columns, strict=True)):
        made.append(train.backend.reshape(core, (*core.shape[: k > 0], m, n, *core.shape[(k > 0) + 1 :])))
    return made


def at_first_ranks(block: Array, rank: int, next_rank: int) -> Array:
    """The core ``(rank, m, n, next_rank)`` that is ``block`` at the first value of both ranks, and zero elsewhere."""
    left, right = identity(block, rank)[0], identity(block, next_rank)[0]
    return left[:, None, None, None] * block[None, :, :, None] * right
