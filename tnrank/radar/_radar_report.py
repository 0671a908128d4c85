"""What a radar recorded, as a table and as a file."""

from __future__ import annotations

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tnrank._files import check_path, write_atomically
from tnrank._tables import Layout
from tnrank.linalg import default_rtol
from tnrank.radar._track import LayerHistory

_SHOWN = 4
_ONSETS = 6


@dataclass(frozen=True, eq=False)
class RecordedLayer:
    """One weight in a :class:`RadarReport`: its history, that of its change if recorded, and its onsets."""

    name: str
    shape: tuple[int, ...]
    history: LayerHistory
    change: LayerHistory | None
    onsets: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class RadarReport:
    """First and last ranks of the weights that a radar recorded. ``print`` shows a table.

    Attributes:
        rows: one a weight.
        threshold: share of the final largest singular value at which others set in.
    """

    rows: tuple[RecordedLayer, ...]
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and dictionaries, ready for ``json.dumps``."""
        return {
            "threshold": self.threshold,
            "weights": [
                {
                    "name": row.name,
                    "shape": list(row.shape),
                    "onsets": list(row.onsets),
                    "history": _lists(row.history),
                    "change": None if row.change is None else _lists(row.change),
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        return _layout(self).text()

    def _repr_html_(self) -> str:
        return _layout(self).html()

    def __rich__(self) -> Any:
        return _layout(self).rich()


def write_csv(
    path: str | os.PathLike[str], weights: Mapping[str, LayerHistory], changes: Mapping[str, LayerHistory]
) -> None:
    """One line a number."""
    check_path(path, "path", "the name of a file such as 'ranks.csv'")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("step", "layer", "quantity", "index", "value"))
    for prefix, histories in (("", weights), ("change_", changes)):
        for name, history in histories.items():
            for quantity in ("effective_rank", "stable_rank", "norm", "uncertainty"):
                for step, value in zip(history.steps, getattr(history, quantity), strict=True):
                    writer.writerow((step, name, f"{prefix}{quantity}", "", value))
            for step, values in zip(history.steps, history.singular_values, strict=True):
                writer.writerows((step, name, f"{prefix}singular_value", k, value) for k, value in enumerate(values))
    write_atomically(path, buffer.getvalue().encode())


def _lists(history: LayerHistory) -> dict[str, Any]:
    """NaN, of which JSON knows nothing, as null."""
    found: dict[str, Any] = {}
    for key in ("steps", "singular_values", "effective_rank", "stable_rank", "norm", "uncertainty"):
        values: Any = getattr(history, key)
        found[key] = np.where(np.isfinite(values), values.astype(object), np.array(None)).tolist()
    return found


def _layout(report: RadarReport) -> Layout:
    count, records = len(report.rows), max(len(row.history) for row in report.rows)
    last = max(int(row.history.steps[-1]) for row in report.rows)
    title = f"ranks of {count} weight{'' if count == 1 else 's'} in {records} records up to step {last:,}"
    facts = [
        ("onsets", f"steps at which singular values exceed {report.threshold:g} of the final largest"),
        ("accuracy", _accuracy(report)),
    ]
    if any(_is_estimated(row.history) for row in report.rows):
        facts.append(("effective", "~ is estimated from leading singular values; layer_ranks measures it"))
    columns = ["layer", "shape", "effective", "stable"]
    columns += ["change: effective"] if any(row.change is not None for row in report.rows) else []
    columns += ["singular values", "onsets"]
    return Layout(title, facts, columns, [_row(row, columns) for row in report.rows], bold="effective")


def _accuracy(report: RadarReport) -> str:
    uncertainty = [row.history.uncertainty for row in report.rows]
    if not any(np.any(errors != 0) for errors in uncertainty):
        return "singular values are exact to rounding: every weight was decomposed as a whole"
    # The first two records of a weight are still warming up.
    warm = max(float(np.nanmax(errors[2:] if len(errors) > 2 else errors, initial=0.0)) for errors in uncertainty)
    when = " from the third record on" if any(len(errors) > 2 for errors in uncertainty) else ""
    return f"errors of singular values are at most {warm:.1g} of the largest{when} (estimated)"


def _row(row: RecordedLayer, columns: list[str]) -> list[str]:
    history, change = row.history, row.change
    last = history.singular_values[-1]
    rounding = default_rtol((row.shape[0], math.prod(row.shape[1:])), "float32")
    some = max(1, int((last > rounding * last[0]).sum()))  # of the others, digits would say nothing
    values = [f"{value:.3g}" for value in last[: min(some, _SHOWN)]]
    counts = Counter(row.onsets)
    onsets = [f"{step:,}" if count == 1 else f"{step:,} (x{count})" for step, count in list(counts.items())[:_ONSETS]]
    more = len(counts) - len(onsets)
    cells = {
        "layer": row.name,
        "shape": " x ".join(map(str, row.shape)),
        "effective": _from_to(history.effective_rank, _is_estimated(history)),
        "stable": _from_to(history.stable_rank),
        "change: effective": "" if change is None else _shown(change.effective_rank[-1], _is_estimated(change)),
        "singular values": "  ".join([*values, *(["..."] if min(row.shape) > len(values) else [])]),
        "onsets": "  ".join([*onsets, *([f".. {more} more"] if more else [])]),
    }
    return [cells[name] for name in columns]


def _is_estimated(history: LayerHistory) -> bool:
    return bool(np.any(history.uncertainty != 0))


def _from_to(values: Any, estimated: bool = False) -> str:
    return f"{_shown(values[0], estimated)} -> {_shown(values[-1], estimated)}"


def _shown(value: float, estimated: bool) -> str:
    return f"~{value:.3g}" if estimated else f"{value:.2f}"
