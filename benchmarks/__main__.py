"""``python -m benchmarks [--only NAME ..]``: run every module of this folder that has ``run(report)``."""

from __future__ import annotations

import argparse
import importlib

from benchmarks import _harness


def main() -> None:
    names = sorted(p.stem for p in _harness.HERE.glob("*.py") if not p.stem.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    chosen = parser.parse_args().only
    _harness.one_thread()
    report = _harness.Report()
    for name in chosen:
        module = importlib.import_module(f"benchmarks.{name}")
        if hasattr(module, "run"):
            report.module = name
            module.run(report)
            report.write()


if __name__ == "__main__":
    main()
