"""How a plan prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tnrank.network._labels import pattern, show

if TYPE_CHECKING:
    from tnrank.network._plan import ContractionPlan

_MOST_ROWS = 24
_WIDEST = 44
_WIDEST_SIZES = 90


def table(plan: ContractionPlan) -> str:
    """The plan as an aligned table: steps, index patterns, costs, totals."""
    network = plan.network
    head = f"Contraction plan: {len(network.tensors)} tensors -> {pattern(network.output) or 'a scalar'}"
    sizes = ", ".join(f"{show(label)}={size}" for label, size in plan.sizes.items())
    if len(sizes) > _WIDEST_SIZES:
        sizes = f"{sizes[: sizes.rfind(', ', 0, _WIDEST_SIZES)]}, .. ({len(plan.sizes)} indices)"
    rows = [("step", "contracts", "pattern", "FLOPs", "size", "share")]
    hidden = max(0, len(plan.steps) - _MOST_ROWS)
    for number, step in enumerate(plan.steps, 1):
        if hidden and _MOST_ROWS // 2 < number <= _MOST_ROWS // 2 + hidden:
            continue
        if hidden and number == _MOST_ROWS // 2 + hidden + 1:
            rows.append(("..", f"{hidden} more", "", "", "", ""))
        share = 100 * step.flops / plan.flops if plan.flops else 0
        rows.append(
            (
                f"#{number}",
                _short(f"{step.first} * {step.second}"),
                _short(step.pattern),
                amount(step.flops),
                amount(step.size),
                f"{share:.0f}%",
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    lines = [head, f"sizes: {sizes}" if sizes else "", ""]
    for number, row in enumerate(rows):
        left = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True))
        right = "  ".join(cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True))
        lines.append(f"{left}  {right}".rstrip())
        if number == 0:
            lines.append("-" * (sum(widths) + 10))
    saving = plan.naive_flops / plan.flops if plan.flops else 1
    lines += [
        "",
        f"FLOPs                 {amount(plan.flops)}  (one naive einsum: {amount(plan.naive_flops)}, "
        f"{saving:,.3g} times as many)",
        f"largest intermediate  {amount(plan.largest_intermediate)} elements",
        f"path found by         {plan.method}",
    ]
    if plan.slices:
        parts = ", ".join(
            f"{show(k)}: {chunk} of {plan.sizes[k]} at once" for k, chunk in plan.slices.items()
        )
        lines.append(f"slices                {parts}")
    return "\n".join(line for k, line in enumerate(lines) if line or k != 1)


def amount(number: int) -> str:
    """A count as people read it: exact with separators up to a million, then three digits."""
    return (
        f"{number:,}"
        if number < 10**6
        else f"{number:.3g}"
        if number < 10**300
        else f"1e{len(str(number)) - 1}"
    )


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
