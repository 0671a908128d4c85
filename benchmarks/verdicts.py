"""Do verdicts depend on the seed? ``python -m benchmarks.verdicts`` runs every quick preset with more seeds than one.

``verdicts.json`` and ``VERDICTS.md`` keep what was found; a run of seeds and recipes replaces theirs and leaves the
rest. ``make test-nightly`` runs them again and compares.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import _harness
from tnrank._files import write_atomically
from tnrank.experiments import known_recipes, make_recipe, run

FOUND = Path(__file__).parent / "verdicts.json"
PAGE = FOUND.parent / "VERDICTS.md"
SEEDS = (1, 2, 3, 4)
HEAD = """# Verdicts over seeds

The quick preset of each recipe, with seeds that it was not made with: `python -m benchmarks.verdicts`. A verdict holds
if all of its claims do; each is computed from what the run measured. Where most fail, a claim is about a single run at
scales that seconds suffice for: the pages of the recipes say what it depends on, and paper presets have more runs.

| recipe | seeds | verdict holds | claims that fail, and with which seeds | CPU seconds a run |
|---|---|---|---|---|
"""


def measured(name: str, seed: int) -> dict[str, Any]:
    """The verdict of one quick preset: the claims that fail with what was measured, and the processor's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        outcome = run(make_recipe(name, seed=seed), out=folder, figure=False).outcome
        failed = {check.claim: check.measured for check in outcome.checks if not check.holds}
        return {
            "holds": outcome.holds,
            "claims": len(outcome.checks),
            "failed": failed,
            "seconds": round(time.process_time() - began, 1),
        }


def page(found: dict[str, dict[str, Any]]) -> str:
    """``VERDICTS.md``."""
    lines = []
    for name, of_seeds in sorted(found.items()):
        failed: dict[str, list[str]] = {}
        for seed, one in of_seeds.items():
            for claim in one["failed"]:
                failed.setdefault(claim, []).append(seed)
        told = "; ".join(f"{claim} ({', '.join(seeds)})" for claim, seeds in failed.items()).replace("|", "\\|")
        times = sorted(one["seconds"] for one in of_seeds.values())
        held = sum(one["holds"] for one in of_seeds.values())
        middle = times[len(times) // 2]
        lines.append(f"| {name} | {', '.join(of_seeds)} | {held} of {len(of_seeds)} | {told} | {middle:.0f} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    names = sorted(known_recipes())
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdicts")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    given = parser.parse_args()
    _harness.one_thread()
    logging.disable(logging.INFO)
    for name in given.only:
        for seed in given.seeds:
            found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
            found.setdefault(name, {})[str(seed)] = one = measured(name, seed)
            write_atomically(FOUND, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
            write_atomically(PAGE, page(found).encode())
            print(f"{name} {seed}: {'holds' if one['holds'] else one['failed']}, {one['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
