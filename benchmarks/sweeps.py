"""A sweep over 32 seeds in one compiled call against the same sweep with its cells one after the other."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import tnrank
from tnrank.data import low_rank_tensor, observe
from tnrank.experiments import Outcome, Recipe, Training, register, sweep
from tnrank.experiments.fields import Steps
from tnrank.training import GroupRMSProp, recorders

_SEEDS, _ROUNDS, _RATIO = 32, 3, 0.8


@register
@dataclass(frozen=True, kw_only=True)
class CP(Recipe):
    """Completion of a tensor of 8 x 8 x 8 and rank 1 from half of its entries."""

    name: ClassVar[str] = "benchmark-cp"

    steps: Steps = 10_000

    def execute(self, journal: Any) -> Generator[Training, Any, Outcome]:
        target = low_rank_tensor((8, 8, 8), rank=1, norm=8.0, seed=self.seed)
        indices, values = observe(target, 256, seed=self.seed)
        options: dict[str, Any] = {"seed": self.seed, "backend": self.backend, "dtype": self.dtype}
        x = tnrank.CPFactorization.random((8, 8, 8), rank=64, std=1e-2, **options)
        record = [recorders.Loss(25), recorders.Error(target, every=25)]
        options = {"record": record, "optimizer": GroupRMSProp(1e-2), "steps": self.steps}
        result = yield Training("cp", x, indices, values, **options)
        return Outcome({"error": float(result.history["error"].values[-1])})


def run(report: Any) -> None:
    """Whole sweeps, run folders and tables included; compilation is done before, and counted."""
    for backend in ("jax", "torch"):
        if backend not in tnrank.available_backends():
            continue
        steps = 10_000 if backend == "jax" else 1_000
        times: dict[int, list[float]] = {_SEEDS: [], 1: []}
        for batch in times:
            with _compiled(backend) as names:
                _seconds(backend, batch, 10)
            if backend == "jax":
                assert names.count("jit(_advance)") == 1, names
                count = float(names.count("jit(_advance)"))
                report.limit("compilations of the training loop", f"{_SEEDS} seeds, batches of {batch}", count, 1, str)
        for turn in range(_ROUNDS):
            for batch in (_SEEDS, 1) if turn % 2 else (1, _SEEDS):
                with _compiled(backend) as names:
                    times[batch].append(_seconds(backend, batch, steps, seed=100 * (turn + 1)))
                assert not names, names
        what = f"{_SEEDS} seeds, {steps:,} steps, {backend}"
        report.compare(
            "sweep of cp 8^3 R 64",
            what,
            median(times[_SEEDS]),
            median(times[1]),
            at_most=_RATIO if backend == "jax" else None,
        )


@contextmanager
def _compiled(backend: str) -> Iterator[list[str]]:
    """What JAX compiles meanwhile."""
    names: list[str] = []
    if backend != "jax":
        yield names
        return
    import jax

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _, told, rest = record.getMessage().partition("Finished XLA compilation of ")
            if told:
                names.append(rest.split(" in ")[0])

    handler = Handler()
    loggers = [logging.getLogger(name) for name in ("jax._src.dispatch", "jax._src.interpreters.pxla")]
    kept = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        with jax.log_compiles():
            yield names
    finally:
        for logger, propagate in zip(loggers, kept, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate


def _seconds(backend: str, batch: int, steps: int, seed: int = 0) -> float:
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        done = sweep(
            "benchmark-cp",
            seeds=_SEEDS,
            overrides={"backend": backend, "steps": steps, "seed": seed},
            batch=batch,
            out=Path(out),
        )
        assert not done.failed
        return time.perf_counter() - began
