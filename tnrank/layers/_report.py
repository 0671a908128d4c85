"""What replacing or pruning layers has done to a model."""

from __future__ import annotations

from dataclasses import dataclass

from tnrank.layers._format import WeightFormat, checked_format
from tnrank.layers._plans import plans_of
from tnrank.layers._stage_costs import flops_of_location


@dataclass(frozen=True)
class LayerChange:
    """One layer before and after.

    Attributes:
        name: its name in the model.
        format: structure and ranks after.
        before: parameters of its weight before.
        after: and after.
        flops_before: multiplications of one input before: of a row, or at one output location.
        flops_after: and after.
        error: ``||W - W'|| / ||W||`` of its weight; ``None`` for new random weights.
    """

    name: str
    format: str
    before: int
    after: int
    flops_before: int
    flops_after: int
    error: float | None


@dataclass(frozen=True)
class ModelReport:
    """The layers that were changed, and the parameters of the whole model.

    Attributes:
        action: ``"factorize"``, ``"adapt"`` or ``"prune"``.
        layers: one :class:`LayerChange` each.
        before: parameters of the model before.
        after: and after.
    """

    action: str
    layers: tuple[LayerChange, ...]
    before: int
    after: int

    def __str__(self) -> str:
        head = ("layer", "parameters", "after", "multiplications", "after", "error", "structure and ranks")
        rows = [head, *map(_row, self.layers)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if k in (0, len(head) - 1) else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        share = self.after / self.before if self.before else 1.0
        lines.append(f"whole model: {self.before:,} to {self.after:,} parameters ({100 * share:.1f} %)")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"ModelReport({self.action}: {len(self.layers)} layers, {self.before:,} to {self.after:,} parameters)"


def _row(change: LayerChange) -> tuple[str, ...]:
    error = "new" if change.error is None else f"{change.error:.2g}"
    counts = (change.before, change.after, change.flops_before, change.flops_after)
    return (change.name, *(f"{count:,}" for count in counts), error, change.format)


def forward_flops(weight: WeightFormat) -> int:
    """Scalar multiplications of one input: a row of a matrix product in a batch of 64, or one output location.

    Raises:
        TypeError: if ``weight`` is no format.

    Example:
        >>> from tnrank.layers import forward_flops, weight_format
        >>> forward_flops(weight_format("linear", (64, 64), "mf", rank=4))
        512
    """
    return flops_of_location(weight) if checked_format(weight).kind == "conv" else plans_of(weight).flops_of_row()
