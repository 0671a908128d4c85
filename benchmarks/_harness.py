"""Timings of pairs in one process on one thread, and the table of what they came to.

Import this module before anything that brings in NumPy: thread counts are read once, from the environment.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
os.environ.update(ONE_THREAD)

HERE = Path(__file__).parent
_PACKAGES = ("numpy", "jax", "torch", "opt_einsum", "cotengra", "tensornetwork")


def one_thread() -> None:
    """What the environment does not settle."""
    import torch

    torch.set_num_threads(1)


def seconds_of(fn: Callable[[], Any], repeat: int = 5) -> float:
    """The median time of one call, each timed alone."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        fn()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def alternate(
    ours: Callable[[], Any], peer: Callable[[], Any], repeat: int = 25, at_least: float = 0.01
) -> tuple[float, float]:
    """Median seconds a call of both, timed in turns so that a busy machine slows both alike."""
    counts = []
    for fn in (ours, peer):
        fn()
        fn()
        began = time.perf_counter()
        fn()
        counts.append(max(1, int(at_least / (time.perf_counter() - began))))
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeat):
        for which in (0, 1) if turn % 2 else (1, 0):
            fn, count = (ours, peer)[which], counts[which]
            began = time.perf_counter()
            for _ in range(count):
                fn()
            times[which].append((time.perf_counter() - began) / count)
    return statistics.median(times[0]), statistics.median(times[1])


def show_time(seconds: float) -> str:
    """A time with a unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


class Report:
    """Rows of results, by benchmark module."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.module = ""

    def compare(
        self,
        name: str,
        what: str,
        ours: float,
        peer: float,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        show: Callable[[float], str] = show_time,
    ) -> None:
        """Ours against a peer's: the target is on the ratio ours / peer. Rates take ``at_least``."""
        ratio = ours / peer
        met = (at_most is None or ratio <= at_most) and (at_least is None or ratio >= at_least)
        target = f"<= {at_most:g}x" if at_most is not None else f">= {at_least:g}x" if at_least is not None else ""
        self._add(name, what, show(ours), show(peer), ratio, target, met)

    def limit(
        self, name: str, what: str, ours: float, at_most: float, show: Callable[[float], str] = show_time
    ) -> None:
        """Ours against a fixed limit."""
        self._add(name, what, show(ours), "", None, f"<= {show(at_most)}", ours <= at_most)

    def _add(self, name: str, what: str, ours: str, peer: str, ratio: float | None, target: str, met: bool) -> None:
        row = {"module": self.module, "name": name, "what": what, "ours": ours, "peer": peer}
        row |= {"ratio": None if ratio is None else float(f"{ratio:.4g}"), "target": target, "met": bool(met)}
        self.rows.append(row)
        shown = "" if ratio is None else f"{ratio:.2f}x"
        print(
            f"{'ok  ' if met else 'MISS'} {name:44} {what:26} {ours:>9} {peer:>9} {shown:>7} {target}",
            flush=True,
        )

    def write(self) -> None:
        """Write RESULTS.json and RESULTS.md; rows of modules that did not run are kept from before."""
        file = HERE / "RESULTS.json"
        ran = {row["module"] for row in self.rows}
        before = json.loads(file.read_text())["rows"] if file.exists() else []
        rows = [row for row in before if row["module"] not in ran] + self.rows
        rows.sort(key=lambda row: row["module"])
        machine = _machine()
        file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
        lines = [
            "# Benchmark results",
            "",
            "Written by `make bench`. Medians; pairs are timed in turns in the same process, on one thread.",
            "The ratio is ours / peer: below one is faster for times, above one for rates.",
            "",
            f"{machine}.",
        ]
        for module in sorted({row["module"] for row in rows}):
            lines += ["", f"## {module}", "", "| case | what | ours | peer | ratio | target | met |"]
            lines += ["|---|---|--:|--:|--:|---|---|"]
            for row in rows:
                if row["module"] == module:
                    ratio = (
                        ""
                        if row["ratio"] is None
                        else f"{row['ratio']:.2f}x"
                        if row["ratio"] >= 0.1
                        else f"{row['ratio']:.2g}x"
                    )
                    cells = [row["name"], row["what"], row["ours"], row["peer"], ratio, row["target"]]
                    lines.append(f"| {' | '.join(cells)} | {'yes' if row['met'] else '**no**'} |")
        (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")


def _machine() -> str:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    return f"{name}, Python {platform.python_version()}, {versions}"
