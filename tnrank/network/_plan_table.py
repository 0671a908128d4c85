"""How a plan prints."""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tnrank._typing import Label
from tnrank.network._amounts import ratio, rounded
from tnrank.network._labels import pattern, show

if TYPE_CHECKING:
    from tnrank.network._plan import ContractionPlan

_MOST_ROWS = 24
_WIDEST = 30
_WIDEST_LINE = 90
_ALPHABET = string.ascii_lowercase + string.ascii_uppercase


def table(plan: ContractionPlan) -> str:
    """The plan as an aligned table: steps, index patterns, costs, totals."""
    network = plan.network
    letters = _letters(plan.sizes)
    short = {label: letters.get(label, show(label)) for label in plan.sizes}

    def of(labels: Iterable[Label]) -> str:
        return pattern(short[label] for label in labels)

    head = f"Contraction plan: {len(network.tensors)} tensors -> {_cut(of(network.output)) or 'a scalar'}"
    sizes = "sizes: " + _cut_list(f"{short[label]}={size}" for label, size in plan.sizes.items())
    renamed = "where: " + _cut_list(f"{letter} is {show(label)}" for label, letter in letters.items())
    rows = [("step", "contracts", "pattern", "FLOPs", "size", "share")]
    hidden = max(0, len(plan.steps) - _MOST_ROWS)
    for number, step in enumerate(plan.steps, 1):
        if hidden and _MOST_ROWS // 2 < number <= _MOST_ROWS // 2 + hidden:
            continue
        if hidden and number == _MOST_ROWS // 2 + hidden + 1:
            rows.append(("..", f"{hidden} more", "", "", "", ""))
        share = (1000 * step.flops // plan.flops) / 10 if plan.flops else 0
        rows.append(
            (
                f"#{number}",
                _cut(f"{step.first} * {step.second}"),
                f"{_cut(of(step.left))},{_cut(of(step.right))}->{_cut(of(step.output))}",
                amount(step.flops),
                amount(step.size),
                f"{share:.0f}%",
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    lines = [head, *([sizes] if plan.sizes else []), *([renamed] if letters else []), ""]
    for number, row in enumerate(rows):
        left = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True))
        right = "  ".join(cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True))
        lines.append(f"{left}  {right}".rstrip())
        if number == 0:
            lines.append("-" * (sum(widths) + 10))
    saving = ratio(plan.naive_flops, plan.flops) if plan.flops else "1"
    lines += [
        "",
        f"FLOPs                 {amount(plan.flops)}  (one naive einsum: {amount(plan.naive_flops)}, "
        f"{saving} times as many)",
        f"largest intermediate  {amount(plan.largest_intermediate)} elements",
        f"result                {amount(plan.result_size)} elements",
        f"path found by         {plan.method}",
    ]
    if plan.slices:
        parts = ", ".join(f"{show(k)}: {chunk} of {plan.sizes[k]} at once" for k, chunk in plan.slices.items())
        lines.append(f"slices                {parts}")
    return "\n".join(lines)


def amount(number: int) -> str:
    """A count as people read it: exact with separators up to a million, then three digits."""
    return f"{number:,}" if number < 10**6 else rounded(number)


def _letters(labels: Iterable[Label]) -> dict[Label, str]:
    """One letter for every label, in order, if some label is longer than that; else nothing."""
    labels = list(labels)
    if all(len(show(label)) == 1 for label in labels) or len(labels) > len(_ALPHABET):
        return {}
    return dict(zip(labels, _ALPHABET, strict=False))


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 2] + ".."


def _cut_list(items: Iterable[str]) -> str:
    """Items with commas, whole ones as far as the line goes."""
    given = list(items)
    line = ", ".join(given)
    if len(line) <= _WIDEST_LINE:
        return line
    kept = line[: line.rfind(", ", 0, _WIDEST_LINE)]
    return f"{kept}, .. ({len(given)} indices)"
