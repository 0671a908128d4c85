"""Rows of a table at whole numbers, none of which reads another row than its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnrank._backend import Backend
from tnrank._typing import Array


def looked_up(table: Array, numbers: Array, sizes: Sequence[int], banks: int, backend: Backend, fix: str) -> Array:
    """Rows for ``numbers`` of shape ``(batch, N)``, patch n below ``sizes[n]``, as ``(N, batch, columns)``.

    Args:
        table: rows of all banks, one bank after another.
        numbers: whole numbers.
        sizes: how many a patch has.
        banks: 1, or N where every patch has its own rows.
        backend: of the table and the numbers.
        fix: what the error recommends.

    Raises:
        IndexError: for a number out of range; a backend that cannot raise on values gives NaN.
    """
    xp, (batch, count) = backend.xp, numbers.shape
    device = getattr(numbers, "device", None)
    device = None if callable(device) else device
    start = xp.reshape(xp.arange(banks, device=device), (banks, 1)) * (table.shape[0] // banks)
    rows = xp.astype(backend.permute(numbers, (1, 0)), start.dtype)
    most: Any = sizes[0]
    if len(set(sizes)) > 1:
        most = xp.reshape(xp.asarray(sizes, dtype=start.dtype, device=device), (count, 1))
    # A number out of range must not fall into the next location's rows: it becomes one that the table does not have.
    rows = xp.where((rows >= 0) & (rows < most), rows + start, table.shape[0])
    try:
        found = backend.take(table, backend.reshape(rows, (count * batch,)), axis=0)
    except IndexError as error:
        raise IndexError(_out_of_range(backend.to_numpy(numbers), sizes, fix)) from error
    return backend.reshape(found, (count, batch, table.shape[1]))


def _out_of_range(numbers: Any, sizes: Sequence[int], fix: str) -> str:
    b, n = next((b, n) for b, row in enumerate(numbers) for n, d in enumerate(row) if not 0 <= d < sizes[n])
    return f"got {numbers[b, n]} at patch {n} of input {b}, needed a number from 0 to {sizes[n] - 1}: {fix}"
