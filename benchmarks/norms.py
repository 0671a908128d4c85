"""Depth 3 of the norms-to-infinity recipe at the published settings: four runs in one batch, to a loss of 1e-4."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import tnrank
from tnrank.experiments import make_recipe
from tnrank.experiments.recipes._norms_runs import Measured
from tnrank.experiments.recipes.norms_to_infinity import NormsToInfinity
from tnrank.runs import Training, drive

_LIMITS = {"jax": 20.0, "torch": 300.0}


def _train(asked: Training) -> Any:
    """In place of a journal's: it keeps nothing."""
    return tnrank.complete(asked.starts, asked.indices, asked.values, record=asked.record, **asked.options)


def run(report: Any) -> None:
    """Compilation is part of it."""
    if "jax" not in tnrank.available_backends():
        return
    seconds, runs = _four("jax")
    steps = max(one.steps for one in runs)
    assert all(one.loss[-1] < 1.001e-4 for one in runs)
    name = "norms-to-infinity, depth 3, 4 runs"
    report.limit(name, f"{steps:,} steps, jax", seconds, _LIMITS["jax"])
    if "torch" in tnrank.available_backends():
        seconds, runs = _four("torch")
        report.limit(name, f"{max(one.steps for one in runs):,} steps, torch", seconds, _LIMITS["torch"])


def _four(backend: str) -> tuple[float, list[Measured]]:
    import jax

    jax.config.update("jax_enable_x64", True)
    recipe = make_recipe("norms-to-infinity", "paper", backend=backend)
    assert isinstance(recipe, NormsToInfinity)
    began = time.perf_counter()
    runs = drive(recipe.four(3), _train)
    assert np.isfinite([one.loss[-1] for one in runs]).all()
    return time.perf_counter() - began, runs
