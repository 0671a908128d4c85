"""What came of filling in: the array, the factorization, its errors, and a report of some lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank.factorizations import Factorization
from tnrank.training import Trace

Slices = Mapping[int, np.ndarray[Any, Any]]
"""Mode -> some slices of it, ascending; a mode without any is left out."""

_NAMED_SLICES, _NAMED_MODES = 4, 3


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Filled:
    """What :func:`tnrank.fill_missing` found; printed, it is a report of some lines.

    Errors are root mean squared ones, in the units of the array. Some observed entries were held out: one half chose
    the step to stop at, the other half, which nothing was chosen by, gives ``held_out_error``.

    Attributes:
        array: the array with its missing entries filled in; observed ones are as they were given.
        factorization: of the array itself, to which ``offset`` is added.
        offset: the mean of the entries trained on with ``center=True``, else 0.
        observed_error: on the entries trained on.
        held_out_error: on the held-out entries; ``None`` if none were held out, as are the next two.
        mean_predictor_error: on the same entries, if the mean of the entries trained on were put everywhere.
        variance_explained: ``1 - (held_out_error / mean_predictor_error) ** 2``.
        missing: how many entries were missing.
        observed: how many were not.
        held_out: how many of those measured ``held_out_error``.
        unobserved: mode -> the slices of it without an observed entry, ascending; modes without any are left out.
        held_out_wholly: the same of slices whose observed entries were all held out.
        unlearned: how many missing entries lie in slices of those two kinds. Their values are no prediction: they are
            what the initial weights make of them.
        training_loss: the mean squared error that training arrived at.
        steps: of the factorization.
        status: of the training, as in :class:`tnrank.CompletionResult`.
        stopped: why it ended, in words.
        seconds: wall-clock time, compilation included.
        history: ``"loss"``, and ``"validation_error"`` and ``"held_out_error"`` if entries were held out: the
            :class:`tnrank.training.Trace` of each, past the best step too.
    """

    array: Any
    factorization: Factorization
    offset: float
    observed_error: float
    held_out_error: float | None = None
    mean_predictor_error: float | None = None
    variance_explained: float | None = None
    missing: int
    observed: int
    held_out: int
    unobserved: Slices
    held_out_wholly: Slices
    unlearned: int
    training_loss: float
    steps: int
    status: str
    stopped: str
    seconds: float
    history: Mapping[str, Trace]

    @property
    def is_better_than_mean(self) -> bool | None:
        """Whether the held-out error is below that of the mean predictor; ``None`` if nothing was held out."""
        if self.held_out_error is None or self.mean_predictor_error is None:
            return None
        return self.held_out_error < self.mean_predictor_error

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.factorization.shape))
        total = self.missing + self.observed
        lines = [f"{self.missing:,} of {total:,} entries of a {shape} array filled in", *self._table(), ""]
        lines.append(
            f"{self.factorization.kind} factorization, {self.factorization.parameter_count:,} parameters, "
            f"{self.steps:,} steps ({self.stopped}), {self.seconds:.0f} s"
        )
        if self.offset:
            lines.append(f"the offset {self.offset:.4g} is added to the factorization")
        if self.is_better_than_mean is False:
            lines.append(
                "not better than the mean: the array may not be of low rank, or too few entries are observed; "
                "try another model=, a smaller rank= or center=True"
            )
        return "\n".join([*lines, *self.blind])

    __repr__ = __str__

    def _table(self) -> list[str]:
        """Errors beside those of the mean predictor."""
        if self.held_out_error is None:
            return [
                f"root mean squared error, observed  {self.observed_error:.4g}",
                "no entries were held out, so that the error of those filled in is not known",
            ]
        rows = [
            ("", "completed", "mean predictor"),
            ("root mean squared error, held out", f"{self.held_out_error:.4g}", f"{self.mean_predictor_error:.4g}"),
            ("variance explained, held out", f"{self.variance_explained:.1%}", "0.0%"),
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows]

    @property
    def blind(self) -> list[str]:
        """What was not learned from the data, and why, in lines of words."""
        order, lines = self.factorization.ndim, []
        if self.unobserved:
            lines.append(f"nothing is observed in {_told(self.unobserved, order)}")
        if self.held_out_wholly:
            where = _told(self.held_out_wholly, order)
            lines.append(f"all that is observed in {where} is held out: hold_out=0, or another seed, trains on it")
        if lines:
            lines.append(
                f"{self.unlearned:,} of the missing entries lie there: their values are not learned from the data, "
                "and are no prediction"
            )
        return lines


def _told(slices: Slices, order: int) -> str:
    """Modes and slices in words, a few of each."""
    parts = []
    for mode, found in list(slices.items())[:_NAMED_MODES]:
        listed = ", ".join(map(str, found[:_NAMED_SLICES].tolist()))
        if len(found) > _NAMED_SLICES:
            listed += f", .. ({len(found):,} in all)"
        several = "s" if len(found) > 1 else ""
        parts.append(
            f"{('row', 'column')[mode]}{several} {listed}" if order == 2 else f"slice{several} {listed} of mode {mode}"
        )
    if len(slices) > _NAMED_MODES:
        parts.append(f"slices of {len(slices) - _NAMED_MODES} more modes")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
