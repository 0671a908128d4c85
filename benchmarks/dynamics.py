"""The dynamics recipe from the shell, with imports and compilation: the quick preset, and the published sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_QUICK_LIMITS = {"jax": 60.0, "torch": 180.0, "numpy": 180.0}
# what runs of the published sizes, the options that leave the other models at their start, and seconds allowed
_PUBLISHED = {
    "paper, MF and CP": (("htf_steps=0",), 20.0),
    "paper, HTF of width 512, 32,000 steps": (("mf_steps=0", "cp_steps=0", "htf_steps=32000"), 240.0),
}


def run(report: Any) -> None:
    import tnrank

    for backend, limit in _QUICK_LIMITS.items():
        if backend in tnrank.available_backends():
            seconds, summary = _reproduce("--backend", backend)
            report.limit("tnrank reproduce dynamics", f"{backend}, verdict {summary['verdict']}", seconds, limit)
    for what, (fields, limit) in _PUBLISHED.items():
        options = [part for field in fields for part in ("--set", field)]
        seconds, _ = _reproduce("--backend", "jax", "--preset", "paper", *options)
        report.limit("tnrank reproduce dynamics", f"jax, {what}", seconds, limit)


def _reproduce(*options: str) -> tuple[float, dict[str, Any]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tnrank.cli", "reproduce", "dynamics", *options, "--out", folder]
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - began
        (made,) = Path(folder).iterdir()
        return seconds, json.loads((made / "summary.json").read_text())
