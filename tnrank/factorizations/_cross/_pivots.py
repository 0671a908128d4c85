"""One matrix of a cross approximation: its rank, its pivot rows and columns, and the interpolation from them."""

from __future__ import annotations

from typing import Any

import numpy as np

Host = np.ndarray[Any, Any]
_BOUND = 2.0  # of the entries of an interpolation matrix; pivots are exchanged until it holds


def scaled(block: Host, atol: float, rtol: float) -> tuple[Host, float]:
    """The matrix with columns of norm one at most, and the norm of an error of ``atol`` in all of its entries.

    Columns are samples of functions on the rows. Their scale says nothing about the space that they span, and in
    products of many factors it differs by more than the range in which a tolerance means anything.
    Those that ``atol`` makes uncertain by more than ``rtol`` keep their scale among each other.
    """
    top = abs(block).max(axis=0, initial=0.0)
    matrix = block / np.where(top > 0, top, 1.0)
    norms = np.linalg.norm(matrix, axis=0)
    if atol > 0:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            norms = np.maximum(norms, atol * len(block) ** 0.5 / rtol / top)
            noise = atol / top / norms * len(block) ** 0.5
        # Of columns that are all uncertain, the longest has norm one again.
        longest = float((np.linalg.norm(matrix, axis=0) / norms).max(initial=0.0)) or 1.0
        made: Host = matrix / norms / longest
        return made, float(np.linalg.norm(noise[top > 0])) / longest
    made = matrix / np.where(norms > 0, norms, 1.0)
    return made, 0.0


def _pivoted(matrix: Host) -> tuple[Host, Host]:
    """Pivot columns in order, and what is left of the matrix after each: ``tails[k]`` after ``k`` of them."""
    from scipy.linalg import lapack

    if not matrix.size:
        return np.arange(matrix.shape[1]), np.zeros(1)
    # LAPACK at once: scipy.linalg.qr takes longer to look at its arguments than this does on a small matrix.
    geqp3 = lapack.zgeqp3 if matrix.dtype.kind == "c" else lapack.dgeqp3
    packed, order = geqp3(matrix)[:2]
    size = min(matrix.shape)
    squares = (abs(np.triu(packed[:size])) ** 2).sum(axis=1)
    tails = np.sqrt(np.append(np.cumsum(squares[::-1])[::-1], 0.0))
    return order.astype(np.int64) - 1, tails


def choose_rows(
    matrix: Host, rtol: float, kept: Host, news: float | None, limit: int, noise: float = 0.0
) -> tuple[Host, bool]:
    """Rows that span the others up to ``rtol`` of the norm or ``noise``, at most ``limit``; whether that was too few.

    ``kept`` rows are taken first, as far as they are independent. With ``news``, all of them are, and others only for
    what is left above ``news`` of the norm.
    """
    norm = float(np.linalg.norm(matrix))
    if not norm:
        return np.zeros(0, np.int64), False
    if news is not None and len(kept):
        rank = len(kept)
    else:
        order, tails = _pivoted(matrix.conj().T)
        rank = int(np.argmax(tails <= max(rtol * norm, noise)))
        if rank <= len(kept):
            kept = kept[_pivoted(matrix[kept].conj().T)[0][:rank]]
        elif not len(kept):
            kept = order[:0]
        news = None
    if not len(kept):
        return np.sort(order[: min(rank, limit)]), rank > limit
    if news is not None or rank > len(kept):
        basis = np.linalg.qr(matrix[kept].conj().T)[0]
        rest = matrix - (matrix @ basis) @ basis.conj().T
        rest[kept] = 0.0
        order, tails = _pivoted(rest.conj().T)
        if news is not None:
            rank += int(np.argmax(tails <= max(news * norm, noise)))
        kept = np.append(kept, order[: rank - len(kept)])
    return kept[:limit], rank > limit


def choose_columns(matrix: Host, rank: int, more: int) -> Host:
    """The ``rank`` columns that come first in a factorization with column pivoting, and the ``more`` that come last.

    Those that follow the pivots differ most from what the pivots say of them: where that is rounding, they have most.
    """
    order = _pivoted(matrix)[0]
    return np.sort(np.append(order[:rank], order[max(rank, len(order) - more) :]))


def interpolation(matrix: Host, rows: Host) -> tuple[Host, Host]:
    """``V`` with ``matrix = V @ matrix[rows]`` in the least-squares sense, entries bounded, and the rows it is for.

    Rows are exchanged while that enlarges the volume that they span by more than a factor of two.

    Source: Goreinov, Oseledets, Savostyanov, Tyrtyshnikov & Zamarashkin 2010 (maximal volume).
    """
    rows = rows.copy()
    for left in range(4 * len(rows), -1, -1):
        basis, triangle = np.linalg.qr(matrix[rows].conj().T)
        if not abs(np.diagonal(triangle)).all():  # only a matrix of zeros has no pivots
            return np.zeros((len(matrix), len(rows)), matrix.dtype), rows
        # V R^H = matrix Q, row by row, so that rows of any scale are accurate relative to themselves.
        made = np.linalg.solve(triangle, (matrix @ basis).conj().T).conj().T
        row, which = np.unravel_index(int(np.argmax(abs(made))), made.shape)
        if abs(made[row, which]) <= _BOUND or not left:
            break
        rows[which] = row
    made = made.copy()
    made[rows] = np.eye(len(rows))
    return made, rows


def fits(matrix: Host, used: int, rows: Host, atol: float) -> bool:
    """Whether the interpolation from these rows that the first ``used`` columns give is good in the others too."""
    old, new = matrix[:, :used], matrix[:, used:]
    made, found = interpolation(old, rows)
    return bool(abs(new - made @ new[found]).max(initial=0.0) <= atol)
