"""Warnings that name the caller's line, however deep in the library they arise."""

from __future__ import annotations

import sys
import warnings


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of ``message`` at the line outside this library that called into it."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _ours(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _ours(module: str) -> bool:
    package = module.partition(".")[0]
    return package == "tnrank" or package.startswith("tnrank_")  # the library, and backends, which are called so
