"""What a complete run needs no more."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tnrank._files import remove_empty
from tnrank._lock import Lock
from tnrank.training import Checkpoint

TRAINER = ".trainer"
"""Ends the names of checkpoints of trainers."""


def tidy(final: Path) -> None:
    """Remove what a complete run needs no more, where a kill kept it from doing so itself."""
    lock = Lock(final)
    if not (final / "checkpoints").is_dir() and not (final / lock.name).exists():
        return
    with suppress(OSError):  # somebody else is at it, or may not write there
        lock.acquire()
        remove_checkpoints(final)
    lock.release()


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a run, and nothing that a user put beside them."""
    checkpoints = folder / "checkpoints"
    with suppress(OSError):
        for path in checkpoints.iterdir():
            if path.is_dir() and not path.is_symlink():
                Checkpoint(path).remove()
                remove_empty(path)
            elif path.suffix == TRAINER and path.is_file():
                path.unlink()
    remove_empty(checkpoints)
