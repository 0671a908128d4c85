"""What the checks of a backend are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tnrank._backend import Backend
from tnrank._typing import Array

backend_checks: list[Callable[[Backend], None]] = []
"""Every check of a backend, for ``pytest.mark.parametrize``: functions that raise an AssertionError."""


def check(function: Callable[[Backend], None]) -> Callable[[Backend], None]:
    """Add a check to ``backend_checks``."""
    backend_checks.append(function)
    return function


def require(condition: object, message: str) -> None:
    """An assertion that ``python -O`` keeps."""
    if not condition:
        raise AssertionError(message)


def values(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def close(backend: Backend, got: Array, wanted: Any, what: str) -> None:
    """Assert that an array holds the values ``wanted``."""
    found, wanted = np.asarray(backend.to_numpy(got)), np.asarray(wanted)
    require(found.shape == wanted.shape, f"{what}: got the shape {found.shape}, needed {wanted.shape}")
    rtol = 1e-10 if backend.default_dtype == "float64" else 1e-4
    error = float(np.max(np.abs(found - wanted), initial=0.0))
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
    require(error <= rtol * scale, f"{what}: off by {error:.1e}, the values are about {scale:.1e}")


def usable(backend: Backend) -> list[str]:
    """Declared dtypes, without those that are refused for now (JAX without x64)."""
    found = []
    for dtype in backend.dtypes:
        try:
            backend.asarray(np.ones(2), dtype=dtype)
        except ValueError:
            continue
        found.append(dtype)
    return found
