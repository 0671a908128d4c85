"""Incremental learning in a CP factorization at the published size: 10^4 entries, 1000 components, to the stop rule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_LIMIT = 60.0
_STDS = ("5e-2", "1e-2", "5e-3")


def run(report: Any) -> None:
    for std in _STDS:
        seconds, steps = _reproduce(std)
        report.limit("tnrank reproduce tensor-dynamics", f"jax, std {std}, {steps:,} steps", seconds, _LIMIT)


def _reproduce(std: str) -> tuple[float, int]:
    """One initial scale from the shell, with imports and compilation."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "tnrank.cli", "reproduce", "tensor-dynamics", "--preset", "paper"),
            *("--set", f"stds={std}", "--set", "losses=l2", "--out", folder),
        ]
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - began
        (made,) = Path(folder).iterdir()
        summary = json.loads((made / "summary.json").read_text())
        return seconds, int(summary[f"l2, std {float(std):g}"]["steps"])
