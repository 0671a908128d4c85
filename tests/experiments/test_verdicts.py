"""Verdicts of quick presets over seeds are those that ``benchmarks/verdicts.json`` keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tnrank.experiments import make_recipe, run

KEPT = Path(__file__).parents[2] / "benchmarks" / "verdicts.json"
FOUND = json.loads(KEPT.read_text()) if KEPT.exists() else {}


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, seeds in FOUND.items() for seed in seeds])
def test_a_verdict_is_what_it_was(name: str, seed: str, tmp_path: Path) -> None:
    outcome = run(make_recipe(name, seed=int(seed)), out=tmp_path, figure=False).outcome
    assert {check.claim for check in outcome.checks if not check.holds} == set(FOUND[name][seed]["failed"])
