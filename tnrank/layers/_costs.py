"""What a layer costs: multiplications of one input."""

from __future__ import annotations

from tnrank.layers._apply import multiplications_of_row
from tnrank.layers._format import WeightFormat
from tnrank.layers._stages import multiplications_of


def forward_flops(weight: WeightFormat) -> int:
    """Scalar multiplications of one input: a row of a matrix product in a batch of 64, or one output location."""
    return multiplications_of(weight) if weight.kind == "conv" else multiplications_of_row(weight)
