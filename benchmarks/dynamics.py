"""The main job from the shell: the quick dynamics preset on every backend, with imports and compilation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_LIMITS = {"jax": 60.0, "torch": 180.0, "numpy": 180.0}


def run(report: Any) -> None:
    import tnrank

    for backend, limit in _LIMITS.items():
        if backend in tnrank.available_backends():
            seconds, verdict = _reproduce(backend)
            report.limit("tnrank reproduce dynamics", f"{backend}, verdict {verdict}", seconds, limit)


def _reproduce(backend: str) -> tuple[float, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "tnrank.cli",
            "reproduce",
            "dynamics",
            "--backend",
            backend,
            "--out",
            folder,
        ]
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        seconds = time.perf_counter() - began
        (made,) = Path(folder).iterdir()
        return seconds, json.loads((made / "summary.json").read_text())["verdict"]
