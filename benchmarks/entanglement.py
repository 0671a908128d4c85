"""Entanglement of data: 500 images of 64 x 64 pixels with their twins, and trees from correlations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import tnrank
from benchmarks._harness import Report


def images(count: int, side: int) -> np.ndarray[Any, Any]:
    """Smooth random images with some noise, in [0, 1]."""
    rng = np.random.default_rng(0)
    waves = np.fft.fftfreq(side)
    decay = 1 / (0.02 + np.hypot(waves[:, None], waves)) ** 1.5
    smooth = np.fft.ifft2(decay * np.fft.fft2(rng.normal(size=(count, side, side)))).real
    smooth /= smooth.std()
    return 1 / (1 + np.exp(-2 * smooth - 0.2 * rng.normal(size=smooth.shape)))


def once(fn: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, which is long enough to be timed alone, and its result."""
    began = time.perf_counter()
    result = fn()
    return time.perf_counter() - began, result


def run(report: Report) -> None:
    """Limits are those of a coffee break: a minute a report, seconds a tree."""
    X = images(500, 64)
    seconds, found = once(lambda: tnrank.entanglement_report(X))
    assert found.suits
    report.limit("500 samples, 64 x 64 features", "report with twins", seconds, 60)
    few, _ = once(lambda: tnrank.entanglement_report(X[:60]))
    report.limit("60 samples, 64 x 64 features", "report with twins", few, 5)
    for side, limit in ((28, 0.8), (64, 20.0)):
        given = X if side == 64 else images(500, side)
        shuffled = given.reshape(500, -1)[:, np.random.default_rng(1).permutation(side * side)]
        seconds, tree = once(lambda shuffled=shuffled, side=side: tnrank.correlation_tree(shuffled, (side, side)))
        assert tree.order == side * side
        report.limit(f"500 samples, {side} x {side} features", "correlation_tree", seconds, limit)
