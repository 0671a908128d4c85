"""Arguments that runs and sweeps have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tnrank._check import instance, sequence, shown
from tnrank._files import check_path


def check_place(out: Any, resume: Any) -> None:
    """Refuse what is no path.

    Raises:
        TypeError: if one of them is none.
        ValueError: for a null character in it.
    """
    check_path(out, "out", "a path, such as 'runs'")
    if resume is not None:
        check_path(resume, "resume", "the folder of what did not end, or None")


def check_progress(progress: Any, command: Any) -> None:
    """Refuse what cannot be called, and what was not typed.

    Raises:
        TypeError: if ``progress`` is no function, or ``command`` no words.
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is a function of a line of text, or None, got {shown(progress)}")
    if command is not None:
        for word in sequence(command, "command", "words, or None"):
            instance(word, "each word of command", str, "text")


def patience(wait: Any, progress: Any) -> tuple[float, Callable[[str], None] | None]:
    """How many seconds to wait for another process, and who is told.

    Raises:
        TypeError: if ``wait`` is neither true or false nor a function.
    """
    if not isinstance(wait, bool) and not callable(wait):
        raise TypeError(f"wait is True, False or a function of a line of text, got {shown(wait)}")
    return math.inf if wait else 0.0, wait if callable(wait) else progress
