"""Depth 3 of the norms-to-infinity recipe at the published settings: four runs in one batch, to a loss of 1e-4."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import tnrank
from tnrank.experiments import make_recipe
from tnrank.experiments._recipes._norms_runs import Measured
from tnrank.experiments._recipes._norms_to_infinity import NormsToInfinity

_LIMITS = {"jax": 20.0, "torch": 300.0}
_TORCH_STEPS = 50_000


class _Training:
    """In place of a journal: trains, and keeps nothing."""

    def train(self, name: Any, *given: Any, **options: Any) -> Any:
        return tnrank.complete(*given, **options)


def run(report: Any) -> None:
    """Compilation is part of it. PyTorch runs some of the steps, and its time is that of a step times all steps."""
    if "jax" not in tnrank.available_backends():
        return
    seconds, runs = _four("jax")
    steps = max(one.steps for one in runs)
    assert all(one.loss[-1] < 1.001e-4 for one in runs)
    name = "norms-to-infinity, depth 3, 4 runs"
    report.limit(name, f"{steps:,} steps, jax", seconds, _LIMITS["jax"])
    if "torch" in tnrank.available_backends():
        first, _ = _four("torch", 10)
        seconds, _ = _four("torch", _TORCH_STEPS)
        whole = first + (seconds - first) / _TORCH_STEPS * steps
        report.limit(name, f"{steps:,} steps, torch, of {_TORCH_STEPS:,}", whole, _LIMITS["torch"])


def _four(backend: str, steps: int | None = None) -> tuple[float, list[Measured]]:
    import jax

    jax.config.update("jax_enable_x64", True)
    recipe = make_recipe("norms-to-infinity", "paper", backend=backend)
    recipe = recipe if steps is None else recipe.limited(steps)
    assert isinstance(recipe, NormsToInfinity)
    began = time.perf_counter()
    runs = recipe._four(_Training(), 3)  # type: ignore[arg-type]  # it does what is asked of a journal there
    assert np.isfinite([one.loss[-1] for one in runs]).all()
    return time.perf_counter() - began, runs
