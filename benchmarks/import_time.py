"""``import tnrank`` against ``import numpy``, each in a fresh interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks._harness import Report

_CODE = (
    "import sys, time; sys.path[:] = {path!r}; began = time.perf_counter(); import {name}; "
    "print(time.perf_counter() - began)"
)


def run(report: Report) -> None:
    times: dict[str, list[float]] = {"tnrank": [], "numpy": []}
    for _ in range(21):
        for name, found in times.items():
            code = _CODE.format(path=sys.path, name=name)
            found.append(float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    ours, peer = (statistics.median(found[1:]) for found in times.values())
    report.compare("import tnrank", "against import numpy", ours, peer, at_most=1.5)
