"""The words of a model's rank report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tnrank._tables import Layout

if TYPE_CHECKING:
    from tnrank.radar._report import LayerRanks, WeightRanks

_SHOWN = 4
_FACTOR = re.compile(r"(^|\.)arrays\.[a-z]+[0-9]*$")
"""Names in the state dict of a factorized layer: 0.arrays.layer1, head.arrays.root."""
_TO_THE_RIGHT = (
    *("parameters", "rank", "effective", "stable", "compressed", "kept", "change: effective", "compressed change"),
    "activations",
)


def layout(report: LayerRanks) -> Layout:
    """Facts, then one row a weight."""
    count = len(report.rows)
    title = f"ranks of {count} weight{'' if count == 1 else 's'}, {report.parameters:,} parameters"
    columns = ["layer", "shape", "parameters", "rank", "effective", "stable", "compressed", "kept"]
    columns += ["as a tensor"] if any(row.multilinear_rank for row in report.rows) else []
    columns += ["change: effective", "compressed change"] if any(row.change for row in report.rows) else []
    columns += ["activations"] if any(row.activations_effective_rank is not None for row in report.rows) else []
    columns.append("singular values")
    rows = [_row(row, columns) for row in report.rows]
    return Layout(title, _facts(report), columns, rows, "", _TO_THE_RIGHT, "compressed")


def _facts(report: LayerRanks) -> list[tuple[str, str]]:
    facts = [
        ("compressed", f"smallest rank with a relative error of at most {report.rtol:g}"),
        ("kept", f"parameters at that rank: {_percent(report.kept)} in all, where only weights that gain by it change"),
    ]
    factors = [row.name for row in report.rows if _FACTOR.search(row.name)]
    if factors:
        adapted = any(".change.arrays." in f".{name}" for name in factors)
        made, call = ("adapters", "merge") if adapted else ("factorized layers", "collapse")
        facts.append(
            (
                "factors",
                f"{len(factors)} rows are tensors of {made}, such as {factors[0]}, and not the weights that they make: "
                f"measure the model, or its state dict after {call}(model)",
            )
        )
    if report.left_out:
        arrays = "array" if len(report.left_out) == 1 else "arrays"
        what = f"{len(report.left_out)} {arrays} without ranks (vectors such as biases), "
        facts.append(("left out", f"{what}{report.left_out_parameters:,} numbers"))
    return facts


def _row(row: WeightRanks, columns: list[str]) -> list[str]:
    matrix, change = row.matrix, row.change
    # Values that count as zero are of no interest.
    shown = min(_SHOWN, max(matrix.rank, 1))
    values = [f"{value:.3g}" for value in matrix.singular_values[:shown]]
    values += ["..."] if min(row.sides) > len(values) else []
    activations = row.activations_effective_rank
    cells = {
        "layer": row.name,
        "shape": " x ".join(map(str, row.shape)),
        "parameters": f"{row.parameters:,}",
        "rank": str(matrix.rank),
        "effective": f"{matrix.effective_rank:.2f}",
        "stable": f"{matrix.stable_rank:.2f}",
        "compressed": str(matrix.compressed_rank),
        "kept": _percent(row.kept),
        "as a tensor": " x ".join(map(str, row.compressed_multilinear_rank or ())),
        "change: effective": "" if change is None else f"{change.effective_rank:.2f}",
        "compressed change": "" if change is None else str(change.compressed_rank),
        "activations": "" if activations is None else f"{activations:.2f} of {row.activations_width}",
        "singular values": "  ".join(values),
    }
    return [cells[name] for name in columns]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share < 10 else f"{100 * share:.0f} %"
