"""Initial weights, drawn with NumPy on the host so that a seed means the same on every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from tnrank._backend import Backend, get_backend
from tnrank._check import generator as seeded
from tnrank._check import instance, one_of, real_number, shown, whole_number
from tnrank._check import shape as checked_shape
from tnrank._memory import check_fits
from tnrank._typing import Array, Shape

Center: TypeAlias = float | Callable[[Shape], Any]
MOST_LAYERS = 10_000
"""Depth of a product: each layer is an array of its own in the network and its plan."""


def draw(
    shapes: Sequence[Shape],
    std: float,
    mean: float,
    init: str,
    seed: int | None,
    backend: str | Backend,
    dtype: str | None,
    device: Any,
    centered: Mapping[str, Sequence[tuple[Center, float]]] = MappingProxyType({}),
) -> list[Array]:
    """Arrays of the given shapes.

    ``centered`` has further names for ``init``, each with a center (or a function that gives it for a shape) and a
    spread for every array: its entries are drawn around the center with ``std`` times the spread.

    Raises:
        ValueError: for an unknown ``init``, a negative ``std``, or a mean with one of the names of ``centered``.
    """
    target = get_backend(backend)
    dtype = target.default_dtype if dtype is None else instance(dtype, "dtype", str, "a name such as 'float32'")
    target.check_dtype(dtype)
    std, mean = real_number(std, "std", 0), real_number(mean, "mean")
    generator = seeded(seed)
    one_of(init, "init", ("normal", "identity", *centered))
    if init in centered and mean:
        raise ValueError(f"got mean={mean:g} with init={init!r}, which has centers of its own: leave it out")
    check_fits(sum(map(prod, shapes)), "the arrays", "fewer components, or a smaller shape")
    made = []
    for number, shape in enumerate(shapes):
        center, spread = centered[init][number] if init in centered else (mean, 1.0)
        if init == "identity":
            values: Any = mean + std * (np.eye(*shape) if len(shape) == 2 else np.ones(shape))
        else:
            noise: Any = generator.standard_normal(shape)
            if dtype.startswith("complex"):
                noise = (noise + 1j * generator.standard_normal(shape)) / np.sqrt(2)
            values = (center(shape) if callable(center) else center) + spread * std * noise
        host = dtype if dtype in ("float32", "float64", "complex64", "complex128") else "float32"
        made.append(target.asarray(np.asarray(values, host), dtype, device))
    return made


def check_dimensions(shape: Any) -> tuple[int, ...]:
    """``shape`` as positive whole numbers."""
    return checked_shape(shape)


def check_ranks(rank: Any, count: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One rank for all of ``count`` places, or one for each."""
    if len(shape) < 2:
        raise ValueError(f"got the shape {shape}, needed order 2 or more")
    if hasattr(rank, "__index__") and not getattr(rank, "shape", ()):
        return (whole_number(rank, "rank", 1),) * count
    given = list(checked_shape(rank, "rank"))
    if len(given) != count:
        raise ValueError(f"for shape {shape} got rank {shown(rank)}: needed {count} ranks, or one number for all")
    return tuple(given)
