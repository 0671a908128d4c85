"""A factorized convolution as a chain of small convolutions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tnrank._backend import Backend, backend_of
from tnrank._check import instance
from tnrank._typing import Array
from tnrank.layers._format import WeightFormat
from tnrank.layers._stage_costs import checked_convolution, in_one, joined


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
    """The convolutions, from the inputs to the outputs, that do what the dense one does.

    Args:
        weight: the format of a convolution.
        arrays: tensor name -> array.

    Raises:
        TypeError: if ``weight`` is no format, or ``arrays`` no mapping.
        ValueError: if it is none of a convolution, or a tensor is missing.

    Example:
        >>> from tnrank.layers import initial, stages_of, weight_format
        >>> weight = weight_format("conv", (64, 32, 3, 3), "cp", rank=5)
        >>> [stage.weight.shape for stage in stages_of(weight, initial(weight, 0, "numpy", "float32"))]
        [(5, 32, 1, 1), (5, 1, 3, 3), (64, 5, 1, 1)]
    """
    if not isinstance(weight, WeightFormat) or weight.kind != "conv" or type(arrays) is not dict:
        arrays = _checked(weight, arrays)
    groups, count = weight.groups, len(weight.layout.kernel)
    # Every array gets the axis of groups in front.
    if arrays.keys() != weight.parts.keys():
        raise ValueError(f"a weight of structure {weight.structure!r} has {list(weight.parts)}, got {list(arrays)}")
    given = {name: arrays[name] if groups > 1 else arrays[name][None] for name in weight.parts}
    chain = _Chain(backend_of(next(iter(given.values()))), groups, count)
    _BUILD[weight.structure](chain, given, weight)
    return chain.stages


def _checked(weight: Any, arrays: Any) -> dict[str, Array]:
    checked_convolution(weight)
    return dict(instance(arrays, "arrays", Mapping, "a mapping of arrays by tensor name"))


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
    if in_one(weight):
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
    elif joined(weight):
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
