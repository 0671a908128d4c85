"""A factorized convolution as a chain of small convolutions, and when the dense one is faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, prod
from typing import Any

from tnrank._backend import Backend, backend_of
from tnrank._typing import Array
from tnrank.layers._format import WeightFormat

_DEPTHWISE = 6.0
"""Time of a multiplication in a convolution with one channel a group, over that in a matrix product; measured."""
_MOVED = 16.0
"""Time of writing a number and reading it again, over that of a multiplication; measured."""


@dataclass(frozen=True)
class Stage:
    """One convolution of the chain.

    Attributes:
        weight: (outputs, inputs / groups, \\*window); the window is 1 along the axes that it leaves alone.
        groups: of channels.
        axes: the axes along which it has a window; stride, padding and dilation belong to these.
    """

    weight: Array
    groups: int
    axes: tuple[int, ...]


def stages_of(weight: WeightFormat, arrays: Mapping[str, Array]) -> list[Stage]:
    """The convolutions, from the inputs to the outputs, that do what the dense one does."""
    groups, count = weight.groups, len(weight.layout.kernel)
    first = next(iter(arrays.values()))
    backend = backend_of(first)
    chain = _Chain(backend, groups, count)
    # Every array gets the axis of groups in front.
    given = {name: arrays[name] if groups > 1 else arrays[name][None] for name in weight.parts}
    _BUILD[weight.structure](chain, given, weight)
    return chain.stages


def dense_from(weight: WeightFormat) -> float:
    """Output locations times images from which on building the dense weight is faster than the chain; may be inf."""
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


class _Chain:
    def __init__(self, backend: Backend, groups: int, count: int) -> None:
        self.backend, self.groups, self.count = backend, groups, count
        self.stages: list[Stage] = []

    def dense(self, array: Array, axes: tuple[int, ...] = ()) -> None:
        """A convolution of ``(groups, outputs, inputs, *window of the axes)``."""
        window = tuple(array.shape[3 + axes.index(k)] if k in axes else 1 for k in range(self.count))
        shape = (array.shape[0] * array.shape[1], array.shape[2], *window)
        self.stages.append(Stage(self.backend.reshape(array, shape), self.groups, axes))

    def mix(self, array: Array, turned: bool = False) -> None:
        """A product with ``(groups, outputs, inputs)`` at every location; ``turned``: inputs first."""
        self.dense(self.backend.permute(array, (0, 2, 1)) if turned else array)

    def depthwise(self, array: Array, axes: tuple[int, ...]) -> None:
        """One window for every channel: ``(groups, *window of the axes, channels)``."""
        backend, last = self.backend, len(array.shape) - 1
        array = backend.permute(array, (0, last, *range(1, last)))
        window = tuple(array.shape[2 + axes.index(k)] if k in axes else 1 for k in range(self.count))
        channels = array.shape[0] * array.shape[1]
        self.stages.append(Stage(backend.reshape(array, (channels, 1, *window)), channels, axes))


Arrays = Mapping[str, Array]


def _mf(chain: _Chain, arrays: Arrays, weight: WeightFormat) -> None:
    *layers, last = arrays.values()
    chain.dense(last, tuple(range(chain.count)))
    for layer in reversed(layers):
        chain.mix(layer)


def _cp(chain: _Chain, arrays: Arrays, weight: WeightFormat) -> None:
    chain.mix(arrays["in0"], turned=True)
    kernels = [arrays[f"kernel{k}"] for k in range(chain.count)]
    if _in_one(weight):
        window = kernels[0]
        for kernel in kernels[1:]:
            window = window[:, :, None, :] * kernel[:, None, :, :]
        chain.depthwise(window, tuple(range(chain.count)))
    else:
        for axis, kernel in enumerate(kernels):
            chain.depthwise(kernel, (axis,))
    chain.mix(arrays["out0"])


def _tucker(chain: _Chain, arrays: Arrays, weight: WeightFormat) -> None:
    chain.mix(arrays["in0"], turned=True)
    chain.dense(arrays["core"], tuple(range(chain.count)))
    chain.mix(arrays["out0"])


def _tt(chain: _Chain, arrays: Arrays, weight: WeightFormat) -> None:
    backend = chain.backend
    chain.mix(arrays[f"core{chain.count + 1}"])
    for axis in reversed(range(chain.count)):
        core = arrays[f"core{axis + 1}"]  # shape: (groups, rank out, window, rank in)
        chain.dense(backend.permute(core, (0, 1, 3, 2)), (axis,))
    chain.mix(arrays["core0"])


def _htf(chain: _Chain, arrays: Arrays, weight: WeightFormat) -> None:
    backend = chain.backend
    chain.mix(arrays["in0"], turned=True)
    chain.depthwise(arrays["kernel0"], (0,))
    into = backend.permute(arrays["in"], (0, 2, 1)) * arrays["root"][:, :, None]  # shape: (groups, r, q)
    if chain.count == 1:
        chain.mix(into)
    elif _joined(weight):
        chain.mix(backend.xp.matmul(arrays["out"], into))
    else:
        chain.mix(into)
        chain.mix(arrays["out"])
    if chain.count == 2:
        chain.depthwise(arrays["kernel1"], (1,))
    chain.mix(arrays["out0"])


_BUILD: dict[str, Callable[[_Chain, Arrays, WeightFormat], None]] = {
    "mf": _mf,
    "cp": _cp,
    "tucker": _tucker,
    "tt": _tt,
    "htf": _htf,
}


def _in_one(weight: WeightFormat) -> bool:
    """True if one pass over the whole window beats one along each axis."""
    kernel = weight.layout.kernel
    return prod(kernel) <= 3 * sum(kernel)


def _joined(weight: WeightFormat) -> bool:
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
    windows = [prod(kernel)] if _in_one(weight) else list(kernel)
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
    middle: Costs = [((), inner["p"])] if _joined(weight) else [((), inner["r"]), ((), inner["p"])]
    return [*start, *middle, ("depthwise", kernel[1]), ((), weight.sides[0])]


_COSTS: dict[str, Callable[[WeightFormat], Costs]] = {
    "mf": _cost_mf,
    "cp": _cost_cp,
    "tucker": _cost_tucker,
    "tt": _cost_tt,
    "htf": _cost_htf,
}
