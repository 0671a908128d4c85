"""What a chain of small convolutions costs, and when the dense convolution is faster."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod
from typing import Any

from tnrank.layers._format import WeightFormat, checked_format

_DEPTHWISE = 6.0
"""Time of a multiplication in a convolution with one channel a group, over that in a matrix product; measured."""
_MOVED = 64.0
"""Time of writing a number and reading it again, over that of a multiplication; measured."""


def dense_from(weight: WeightFormat) -> float:
    """Output locations times images from which on building the dense weight is faster than the chain; may be inf.

    Raises:
        TypeError: if ``weight`` is no format.
        ValueError: if it is none of a convolution.
    """
    checked_convolution(weight)
    outputs, inputs = weight.sides
    chain = 0.0
    for channels, multiplications, depthwise in _steps(weight):
        chain += multiplications * (_DEPTHWISE if depthwise else 1.0) + _MOVED * channels
    building = weight.plan.flops / weight.groups
    gained = chain - (outputs * inputs * prod(weight.layout.kernel) + _MOVED * outputs)
    return building / gained if gained > 0 else inf


def flops_of_location(weight: WeightFormat) -> int:
    """Scalar multiplications of the chain at one output location."""
    return weight.groups * sum(count for _, count, _ in _steps(weight))


def _steps(weight: WeightFormat) -> list[tuple[int, int, bool]]:
    """(channels after it, multiplications, depthwise) of every convolution of the chain, in one group."""
    _, channels = weight.sides
    kernel, found = weight.layout.kernel, []
    for kind, wide in _COSTS[weight.structure](weight):
        if kind == "depthwise":
            found.append((channels, channels * wide, True))
        else:
            found.append((wide, channels * wide * prod(kernel[axis] for axis in kind), False))
            channels = wide
    return found


def checked_convolution(weight: Any) -> WeightFormat:
    if checked_format(weight).kind != "conv":
        raise ValueError(f"a weight of kind {weight.kind!r} is no chain of convolutions: needed kind 'conv'")
    return weight  # type: ignore[no-any-return]  # a format by the line above


def in_one(weight: WeightFormat) -> bool:
    """True if one pass over the whole window beats one along each axis."""
    kernel = weight.layout.kernel
    return prod(kernel) <= 3 * sum(kernel)


def joined(weight: WeightFormat) -> bool:
    """True if the nodes of outputs and inputs are cheaper as one matrix than one after the other."""
    inner = weight.inner
    return inner["p"] * inner["q"] <= inner["r"] * (inner["p"] + inner["q"])


Costs = list[tuple[Any, int]]
"""(axes of the window, outputs) of convolutions, and ("depthwise", multiplications a channel)."""


def _cost_mf(weight: WeightFormat) -> Costs:
    every = tuple(range(len(weight.layout.kernel)))
    return [(every, weight.ranks[-1]), *(((), rank) for rank in weight.ranks[-2::-1]), ((), weight.sides[0])]


def _cost_cp(weight: WeightFormat) -> Costs:
    kernel = weight.layout.kernel
    windows = [prod(kernel)] if in_one(weight) else list(kernel)
    return [((), weight.ranks[0]), *(("depthwise", side) for side in windows), ((), weight.sides[0])]


def _cost_tucker(weight: WeightFormat) -> Costs:
    out, into = weight.ranks
    return [((), into), (tuple(range(len(weight.layout.kernel))), out), ((), weight.sides[0])]


def _cost_tt(weight: WeightFormat) -> Costs:
    axes = reversed(range(len(weight.layout.kernel)))
    return [((), weight.ranks[-1]), *(((axis,), weight.ranks[axis]) for axis in axes), ((), weight.sides[0])]


def _cost_htf(weight: WeightFormat) -> Costs:
    inner, kernel = weight.inner, weight.layout.kernel
    start: Costs = [((), inner["q"]), ("depthwise", kernel[0])]
    if len(kernel) == 1:
        return [*start, ((), inner["r"]), ((), weight.sides[0])]
    middle: Costs = [((), inner["p"])] if joined(weight) else [((), inner["r"]), ((), inner["p"])]
    return [*start, *middle, ("depthwise", kernel[1]), ((), weight.sides[0])]


_COSTS: dict[str, Callable[[WeightFormat], Costs]] = {
    "mf": _cost_mf,
    "cp": _cost_cp,
    "tucker": _cost_tucker,
    "tt": _cost_tt,
    "htf": _cost_htf,
}
