"""Initial weights of the dense layer's scale, and learning rates that fit them."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np

from tnrank._backend import get_backend
from tnrank._check import generator, one_of, real_number
from tnrank._explained import explained
from tnrank._typing import Array
from tnrank.factorizations import NetworkFactorization
from tnrank.layers._format import WeightFormat, checked_format


@explained
def initial(
    weight: WeightFormat,
    seed: int | None,
    backend: str,
    dtype: str | None = None,
    device: Any = None,
    std: float | None = None,
    balanced: bool = False,
) -> dict[str, Array]:
    """Random arrays of a weight.

    Each array has a standard deviation in proportion to ``fan_in ** -0.5``, so that no step of the layer blows up what
    the next one shrinks; all of them times one number, for which the entries of the weight have the variance that the
    dense layers of PyTorch and Equinox start from, 1 / (3 fan_in), and 1 for embeddings.

    Args:
        weight: the format.
        seed: of NumPy's generator; the same weights on every backend.
        backend: where the arrays live.
        dtype: the backend's default if ``None``.
        device: where the arrays live.
        std: standard deviation of the entries of every array, in place of that.
        balanced: the same weight with balanced arrays (``balance`` of its factorization).

    Raises:
        ValueError: for a negative ``std``, or ``balanced`` where the structure has no such weights.
        TypeError: if ``weight`` is no format.

    Example:
        >>> from tnrank.layers import initial, weight_format
        >>> weight = weight_format("linear", (64, 64), "mf", rank=4)
        >>> {name: array.shape for name, array in initial(weight, 0, "numpy", "float32").items()}
        {'layer0': (64, 4), 'layer1': (4, 64)}
    """
    checked_format(weight)
    drawing = generator(seed)
    spreads = standard_deviations(weight)
    if std is not None:
        spreads = dict.fromkeys(spreads, real_number(std, "std", 0))
    host = {name: spreads[name] * drawing.standard_normal(shape) for name, shape in weight.shapes.items()}
    if std is None:
        # Products of random arrays scatter; the weight gets the norm that it has on average.
        norm = float(NetworkFactorization(weight.network, host).norm())
        factor = (_dense_std(weight) * sqrt(weight.groups * prod(weight.layout.shape)) / norm) ** (1 / len(host))
        host = {name: factor * array for name, array in host.items()}
    if balanced:
        host = _balanced(weight, host)
    return {name: _placed(array, backend, dtype, device) for name, array in host.items()}


@explained
def initial_bias(
    weight: WeightFormat, seed: int | None, backend: str, dtype: str | None = None, device: Any = None
) -> Array:
    """A bias as dense layers start with it, uniform within ``fan_in ** -0.5``.

    Args:
        weight: the format.
        seed: as for :func:`initial`, as the others.
        backend: as there.
        dtype: as there.
        device: as there.

    Raises:
        TypeError: if ``weight`` is no format, or as there.
    """
    checked_format(weight)
    bound = weight.fan_in**-0.5
    host = generator(seed, 1).uniform(-bound, bound, weight.shape[0])
    return _placed(host, backend, dtype, device)


def _placed(host: np.ndarray[Any, Any], backend: str, dtype: str | None, device: Any) -> Array:
    target = get_backend(backend)
    dtype = target.default_dtype if dtype is None else dtype
    wide = dtype if dtype in ("float32", "float64") else "float32"
    return target.asarray(np.asarray(host, wide), dtype, device)


def standard_deviations(weight: WeightFormat) -> dict[str, float]:
    """Tensor name -> standard deviation of its initial entries."""
    fans = {name: fan_in(weight, name) for name in weight.parts}
    # An entry of the weight is a sum over all values of all inner indices, of uncorrelated products.
    variance = prod(weight.ranks) / prod(fans.values())
    common = (_dense_std(weight) ** 2 / variance) ** (1 / (2 * len(fans)))
    return {name: common / sqrt(fan) for name, fan in fans.items()}


def _dense_std(weight: WeightFormat) -> float:
    return 1.0 if weight.kind == "embedding" else 1 / sqrt(3 * weight.fan_in)


def fan_in(weight: WeightFormat, name: str) -> int:
    """Numbers that one output of a tensor is a sum of; looking up a row of an embedding sums nothing."""
    sizes = weight.sizes
    looked_up = weight.layout.ins if weight.kind == "embedding" else ()
    return prod(sizes[label] for label in weight.parts[name].summed if label not in looked_up)


def fan_out(weight: WeightFormat, name: str) -> int:
    """Numbers that a tensor makes of one input."""
    part, sizes = weight.parts[name], weight.sizes
    return prod(sizes[label] for label in part.labels if label not in part.summed and label not in part.shared)


def learning_rates(weight: WeightFormat, optimizer: str = "adam") -> dict[str, float]:
    """Tensor name -> factor on the learning rate that suits the dense layer.

    Adam moves every entry by about the learning rate, so that a tensor of smaller fan-in needs a larger one: the ratio
    of the fan-ins, over the number of tensors. For gradient descent it is the ratio of fan-out to fan-in.

    Args:
        weight: the format.
        optimizer: ``"adam"`` or ``"sgd"``.

    Raises:
        ValueError: for another optimizer.
        TypeError: if ``weight`` is no format.

    Source: Qiu, Potapczynski, Finzi, Goldblum & Wilson 2024, Sec. 4.

    Example:
        >>> from tnrank.layers import learning_rates, weight_format
        >>> learning_rates(weight_format("linear", (64, 64), "mf", rank=4))
        {'layer0': 8.0, 'layer1': 0.5}
    """
    checked_format(weight)
    one_of(optimizer, "optimizer", ("adam", "sgd"))
    if optimizer == "adam":
        return {name: weight.fan_in / fan_in(weight, name) / len(weight.parts) for name in weight.parts}
    outputs, _ = weight.sides
    dense = outputs / weight.fan_in
    return {name: fan_out(weight, name) / fan_in(weight, name) / dense for name in weight.parts}


def _balanced(weight: WeightFormat, host: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, list[Any]] = {name: [] for name in host}
    for group in range(weight.groups):
        try:
            value = weight.value(host, group).balance()
        except NotImplementedError:
            raise ValueError(
                f"structure {weight.structure!r} has no balanced weights: use 'mf', 'cp' or 'htf', or leave it out"
            ) from None
        for name, array in weight.rules.arrays_of(weight.layout, value).items():
            found[name].append(array)
    return {name: np.stack(arrays) if weight.groups > 1 else arrays[0] for name, arrays in found.items()}
