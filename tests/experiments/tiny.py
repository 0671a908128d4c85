"""A recipe that takes milliseconds, for sweeps; in a module of its own, so that other processes can import it."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tnrank
from tnrank.data import low_rank_tensor, observe
from tnrank.experiments import Check, Outcome, Recipe, Training
from tnrank.experiments.fields import Steps
from tnrank.training import GroupRMSProp, recorders


@dataclass(frozen=True, kw_only=True)
class Tiny(Recipe):
    name: ClassVar[str] = "tiny"
    title: ClassVar[str] = "a tensor of rank 1"

    backend: str = "numpy"
    dtype: str = "float64"
    std: float = 0.3
    rank: int = 3
    sides: tuple[int, ...] = (3, 3, 3)
    observed: int = 20
    steps: Steps = 60
    inits: int = 1
    fails: int = -1
    waits: float = 0.0
    calls_back: bool = False
    closes_over: float = 0.0
    holds_out: bool = False
    dies: bool = False
    saves: float = 60.0

    def execute(self, journal: Any) -> Generator[Training, Any, Outcome]:
        target = low_rank_tensor(self.sides, rank=1, seed=self.seed)
        indices, values = observe(target, self.observed, seed=self.seed)
        if self.seed == self.fails:
            raise ValueError("this seed fails")
        time.sleep(self.waits)
        if self.dies:
            os._exit(1)
        options: dict[str, Any] = {"seed": self.seed, "backend": self.backend, "dtype": self.dtype}
        xs = [
            tnrank.CPFactorization.random(self.sides, self.rank, std=self.std / 2**k, **options)
            for k in range(self.inits)
        ]
        record: list[Any] = [recorders.Loss(10), recorders.Error(target, every=10)]
        if self.holds_out:
            record.append(recorders.HeldOutError(indices[:5], values[:5] + 1, every=10))
        if self.closes_over:
            record.append(recorders.Function("own", lambda x: x.backend.xp.asarray(self.closes_over), every=10))
        training: dict[str, Any] = {"record": record, "optimizer": GroupRMSProp(1e-2), "steps": self.steps}
        training["checkpoint"] = self.saves
        if self.calls_back:
            training["callback"] = lambda step, loss: step >= 30
        if self.inits == 1:
            results = [(yield Training("cp", xs[0], indices, values, **training))]
        else:
            results = yield Training([f"cp-{k}" for k in range(self.inits)], xs, indices, values, **training)
        errors = [float(result.history["error"].values[-1]) for result in results]
        facts = {"error": errors[0], "loss": {"last": results[0].loss}, "errors": errors, "steps": results[0].steps}
        return Outcome(facts, checks=[Check("the loss is finite", "", results[0].loss < 1e9)])


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV table."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def environment() -> dict[str, str]:
    """In which another Python finds this module."""
    root = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, *(p for p in sys.path if p)])}
