"""Initial weights for which channels neither vanish nor explode, at any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tnrank._backend import Backend, backend_of, get_backend
from tnrank._check import generator
from tnrank._typing import Array
from tnrank.circuits import _layout
from tnrank.circuits._representation import OneHot

if TYPE_CHECKING:
    from tnrank.circuits._circuit import Circuit


def initial_weights(
    circuit: Circuit,
    seed: int | None,
    backend: str | Backend,
    dtype: str | None,
    device: Any,
    std: float | None,
    sample: Array | None,
) -> tuple[Array, ...]:
    """See :meth:`tnrank.circuits.Circuit.initial_weights`."""
    if std is not None and not std >= 0:
        raise ValueError(f"std is a standard deviation and at least 0, got {std}")
    drawing = generator(seed)
    found = []
    for k, shape in enumerate(circuit.shapes):
        noise = drawing.standard_normal(shape)
        present = _layout.present(circuit, k)
        rows = present.any(axis=-1, keepdims=True).sum(axis=-2, keepdims=True)
        if k == 0:
            known = circuit.representation or OneHot(shape[-2])
            ones = known.ones() if sample is None else _fitted(sample, shape[-2])
            weight = ones[:, None] + (_relative(circuit) if std is None else std) * known.spread * noise
        else:
            noise = np.where(present, noise, 0)
            noise = noise - noise.sum(axis=-2, keepdims=True) / np.maximum(rows, 1)
            weight = 1 / rows + noise / np.sqrt(rows)
        found.append(np.where(present, weight, 0))
    target = get_backend(backend)
    dtype = dtype or target.default_dtype
    host = {"float64": "float64", "complex128": "float64"}.get(dtype, "float32")
    return tuple(target.asarray(np.asarray(w, host), dtype, device) for w in found)


def _relative(circuit: Circuit) -> float:
    """The noise of the first level for which that of the output is about 1: products add up relative errors."""
    if circuit.pooling != "product":
        return 1.0
    return 1 / circuit.order if circuit.levels[0].shared else float(circuit.order**-0.5)


def _fitted(sample: Array, features: int) -> np.ndarray[Any, Any]:
    """Coefficients for which the functions of the sample's patches sum to 1 as nearly as can be."""
    values = np.asarray(backend_of(sample).to_numpy(sample), "float64")
    if values.ndim != 3 or values.shape[2] != features or not np.isfinite(values).all():
        raise ValueError(f"got a sample of shape {values.shape}, needed finite features (batch, N, {features})")
    values = values.reshape(-1, features)
    # Functions that depend on one another up to their rounding are one function.
    found = np.linalg.lstsq(values, np.ones(len(values)), rcond=1e-5)[0]
    sums = abs(values @ found)
    # Products are about 1 if the mean of the logarithms is 0, not that of the sums.
    typical: np.ndarray[Any, Any] = found / np.exp(np.log(np.maximum(sums, 1e-3)).mean())
    return typical
