"""Factorized layers against dense ones: time of a training step, Equinox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tnrank
from benchmarks import _harness

_SMALL = {"mf": 0.4, "btt": 0.8, "tt": 1.0, "tucker": 1.0, "htf": 1.8, "cp": 4.0, "ttm": 5.0}
_LARGE = {"mf": 1.2, "btt": 1.2, "tt": 1.2, "tucker": 1.2, "htf": 1.2, "cp": 1.2, "ttm": None}
_CONV = ("mf", "tucker", "tt", "cp", "htf")


def run(report: Any) -> None:
    """Forward and backward, float32, one thread; layers are mapped over the batch, as in Equinox's programs."""
    if "jax" not in tnrank.available_backends():
        return
    import equinox as eqx
    import jax

    from tnrank_jax import nn

    key = jax.random.key(0)
    for size, share, batch, targets in ((1024, 0.05, 64, _SMALL), (4096, 0.01, 256, _LARGE)):
        x = jax.random.normal(key, (batch, size), "float32")
        dense = eqx.nn.Linear(size, size, dtype="float32", key=key)
        for structure, most in targets.items():
            layer = nn.FactorizedLinear(size, size, dtype="float32", key=key, structure=structure, parameters=share)
            ours, theirs = _times(layer, dense, x, 15 if size == 1024 else 5)
            name = f"{structure}, {size} x {size}, {share:.0%}, batch {batch}"
            report.compare(name, "step, eqx.nn.Linear", ours, theirs, at_most=most)
    x = jax.random.normal(key, (16, 64, 32, 32), "float32")
    dense_conv = eqx.nn.Conv2d(64, 64, 3, padding=1, dtype="float32", key=key)
    for structure in _CONV:
        conv = nn.FactorizedConv2d(64, 64, 3, padding=1, dtype="float32", key=key, structure=structure, parameters=0.1)
        ours, theirs = _times(conv, dense_conv, x, 5)
        report.compare(f"{structure}, convolution 3 x 3, 64 -> 64, 10 %", "step, eqx.nn.Conv2d", ours, theirs)


def _times(layer: Any, dense: Any, x: Any, repeat: int) -> tuple[float, float]:
    return _harness.alternate(_step(layer, x), _step(dense, x), repeat)


def _step(layer: Any, x: Any) -> Callable[[], Any]:
    import equinox as eqx
    import jax

    arrays, rest = eqx.partition(layer, eqx.is_array)

    @jax.jit
    def gradients(arrays: Any, x: Any, cotangent: Any) -> Any:
        y, pull_back = jax.vjp(lambda arrays, x: jax.vmap(eqx.combine(arrays, rest))(x), arrays, x)
        return y, pull_back(cotangent)

    cotangent = jax.random.normal(jax.random.key(1), jax.vmap(layer)(x).shape, x.dtype)
    return lambda: jax.block_until_ready(gradients(arrays, x, cotangent))
