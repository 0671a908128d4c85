"""What recording every 25 steps costs in the dynamics recipe's runs, compilation excluded."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import tnrank
from tnrank.experiments import make_recipe
from tnrank.experiments.recipes.dynamics import Dynamics

_AT_MOST = 1.2
_STEPS = {
    "jax": {"mf": 20_000, "cp": 5_000, "htf": 10_000},
    "torch": {"mf": 5_000, "cp": 2_000, "htf": 2_000},
}
_ROUNDS = 5


def run(report: Any) -> None:
    for backend, models in _STEPS.items():
        if backend not in tnrank.available_backends():
            continue
        recipe = make_recipe("dynamics", backend=backend)
        assert isinstance(recipe, Dynamics)
        targets = recipe.targets()
        for model, steps in models.items():
            asked = recipe.training(model, targets[model])
            given: Any = (asked.starts, asked.indices, asked.values)
            plain = {**asked.options, "steps": steps, "stop": None}
            recorded = {**plain, "record": asked.record}
            times: dict[bool, list[float]] = {False: [], True: []}
            for kind in (plain, recorded):
                tnrank.complete(*given, **kind)
            for turn in range(_ROUNDS):
                for which in (False, True) if turn % 2 else (True, False):
                    # CPU time counts: a busy neighbor core must not change the ratio.
                    began = time.process_time()
                    tnrank.complete(*given, **(recorded if which else plain))
                    times[which].append(time.process_time() - began)
            what = f"{len(list(asked.record))} recorders every {recipe.record_every} steps, {backend}"
            report.compare(f"dynamics {model}", what, median(times[True]), median(times[False]), at_most=_AT_MOST)
