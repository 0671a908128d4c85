"""Initial weights, drawn with NumPy on the host so that a seed means the same on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tnrank._backend import Backend, get_backend
from tnrank._typing import Array, Shape


def draw(
    shapes: Sequence[Shape],
    std: float,
    mean: float,
    init: str,
    seed: int | None,
    backend: str | Backend,
    dtype: str | None,
    device: Any,
) -> list[Array]:
    """Arrays of the given shapes.

    Raises:
        ValueError: for an unknown ``init`` or a negative ``std``.
    """
    target = get_backend(backend)
    dtype = dtype or target.default_dtype
    if std < 0:
        raise ValueError(f"std is a standard deviation and at least 0, got {std}")
    generator = np.random.default_rng(seed)
    made = []
    for shape in shapes:
        if init == "normal":
            values: Any = mean + std * generator.standard_normal(shape)
            if dtype.startswith("complex"):
                values = (values + 1j * std * generator.standard_normal(shape)) / np.sqrt(2)
        elif init == "identity":
            values = mean + std * np.eye(*shape) if len(shape) == 2 else mean + std * np.ones(shape)
        else:
            raise ValueError(f"unknown init={init!r}: 'normal' (Gaussian) or 'identity' (std on the diagonal)")
        host = dtype if dtype in ("float32", "float64", "complex64", "complex128") else "float32"
        made.append(target.asarray(np.asarray(values, host), dtype, device))
    return made


def check_dimensions(shape: Any) -> tuple[int, ...]:
    """``shape`` as positive whole numbers."""
    try:
        dimensions = tuple(int(d) for d in shape)
    except TypeError:
        raise TypeError(f"a shape is a sequence of dimensions such as (8, 8, 8), got {shape!r}") from None
    for mode, d in enumerate(dimensions):
        if d < 1 or d != tuple(shape)[mode]:
            raise ValueError(f"mode {mode} has dimension {tuple(shape)[mode]!r}: needed a whole number from 1 on")
    return dimensions


def check_ranks(rank: Any, count: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One rank for all of ``count`` places, or one for each."""
    given = [rank] * count if np.ndim(rank) == 0 else list(rank)
    if len(shape) < 2 or len(given) != count or any(r != int(r) or r < 1 for r in given):
        raise ValueError(f"for shape {shape} got rank {rank!r}: needed order 2 or more and {count} ranks from 1 on")
    return tuple(int(r) for r in given)
