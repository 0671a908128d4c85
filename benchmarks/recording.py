"""What recording every 25 steps costs in the dynamics recipe's runs, compilation excluded."""

from __future__ import annotations

import time
from contextlib import suppress
from statistics import median
from typing import Any

import tnrank
from tnrank.experiments import make_recipe
from tnrank.experiments._recipes._dynamics import Dynamics

_AT_MOST = 1.2
_STEPS = {
    "jax": {"mf": 20_000, "cp": 5_000, "htf": 10_000},
    "torch": {"mf": 5_000, "cp": 2_000, "htf": 2_000},
}
_ROUNDS = 5


class _Kept:
    """In place of a journal: keeps how a model would have been trained."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def train(self, model: str, *given: Any, **options: Any) -> Any:
        self.calls[model] = given, options
        raise _Enough


class _Enough(Exception):
    pass


def _call(recipe: Any, model: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    kept = _Kept()
    with suppress(_Enough):
        recipe._train(kept, model)
    return kept.calls[model]


def run(report: Any) -> None:
    for backend, models in _STEPS.items():
        if backend not in tnrank.available_backends():
            continue
        recipe = make_recipe("dynamics", backend=backend)
        assert isinstance(recipe, Dynamics)
        for model, steps in models.items():
            given, options = _call(recipe, model)
            plain = {**options, "record": [], "steps": steps, "stop": None}
            recorded = {**plain, "record": options["record"]}
            times: dict[bool, list[float]] = {False: [], True: []}
            for kind in (plain, recorded):
                tnrank.complete(*given, **kind)
            for turn in range(_ROUNDS):
                for which in (False, True) if turn % 2 else (True, False):
                    # CPU time counts: a busy neighbor core must not change the ratio.
                    began = time.process_time()
                    tnrank.complete(*given, **(recorded if which else plain))
                    times[which].append(time.process_time() - began)
            what = f"{len(options['record'])} recorders every {recipe.record_every} steps, {backend}"
            report.compare(f"dynamics {model}", what, median(times[True]), median(times[False]), at_most=_AT_MOST)
