"""Carrying out a group of cells, in this process or in another one."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tnrank._backend import get_backend
from tnrank._files import remove_empty
from tnrank._lock import Lock
from tnrank.experiments._run_folder import RunFolder, read_config, summary_of
from tnrank.experiments._runner import Interrupted, carry_out, check_same
from tnrank.experiments._sweeps._batch import BatchJournal, Trainer, Training, remove_batch
from tnrank.experiments._sweeps._plan import MANIFEST, Cell
from tnrank.experiments._sweeps._threads import Together

OWNER = ".owner"
BATCHES = ".batches"
WORKERS = ".workers"
"""The lock that workers share while they carry out cells: it tells of those that outlived the process they work for."""
_LOOK_SECONDS = 0.3
_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class Ended:
    """How a cell ended: ``"complete"``, ``"failed"`` or ``"interrupted"``.

    ``fatal`` says that other cells would fail in the same way, for want of a place to write to.
    """

    cell: int
    status: str
    message: str = ""
    fatal: bool = False


@dataclass(frozen=True)
class Group:
    """Cells that one worker carries out together.

    Attributes:
        folder: of the sweep.
        cells: see above.
        owner: what stands in the file of that name while the sweep goes on.
        process: in which the sweep was started.
        command: what was typed.
    """

    folder: Path
    cells: Sequence[Cell]
    owner: str
    process: str
    command: Sequence[str]


def this_process() -> str:
    """Tells this process from all others."""
    return f"{platform.node()}:{os.getpid()}"


def run_group(group: Group, progress: Callable[[str], None] | None = None) -> list[Ended]:
    """Carry out the cells of a group that are not complete; what goes wrong in one ends no other.

    Raises:
        FileNotFoundError: if the folder of the sweep is not there, which other machines may not see.
    """
    if not (group.folder / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{platform.node()} does not see the folder {group.folder}: workers on other machines write into it, so "
            "it has to stand on a file system that all of them share"
        )
    if group.process == this_process():
        return _carry_out(group, progress)
    for cell in group.cells:
        get_backend(cell.recipe.backend).enable_dtype(cell.recipe.dtype)
    lock = Lock(group.folder, WORKERS, shared=True).acquire(_PATIENCE_SECONDS)
    try:
        return _carry_out(group, progress)
    finally:
        lock.release()


def _carry_out(group: Group, progress: Callable[[str], None] | None) -> list[Ended]:
    watch = _Watch(group)
    trainer = Trainer(group.folder / BATCHES, watch, progress)
    left = [cell for cell in group.cells if summary_of(group.folder / cell.name) is None]
    jobs = [partial(_run_cell, group, cell, watch) for cell in left]
    ended: list[Ended] = Together[Training](jobs, trainer.answer).go() if jobs else []
    # Those that Ctrl-C kept from beginning have no word.
    ended = [e or Ended(cell.number, "interrupted") for e, cell in zip(ended, left, strict=True)]
    if all(one.status == "complete" for one in ended):
        trainer.clear()
    return ended


def _run_cell(group: Group, cell: Cell, watch: Callable[[], None], ask: Callable[[Training], Any]) -> Ended:
    ended = partial(Ended, cell.number)
    try:
        watch()
        folder = RunFolder.at(group.folder, cell.name)
        if folder.resumed:
            check_same(cell.recipe, read_config(folder.partial), folder.partial)
        carry_out(cell.recipe, BatchJournal(folder, None, ask=ask), group.command)
    except KeyboardInterrupt as stop:
        return ended("interrupted", str(stop) if isinstance(stop, Interrupted) else "")
    except Exception as error:
        # A recipe may read files of its own; only what is written belongs to all.
        fatal = isinstance(error, OSError) and str(group.folder) in str(error)
        if fatal:
            # It goes on with the sweep, not as a run of its own.
            return ended("failed", str(error).partition("; to go on: ")[0], fatal)
        return ended("failed", f"{type(error).__name__}: {error}")
    return ended("complete")


class _Watch:
    """Raises KeyboardInterrupt when the sweep is over, or another process has taken it up."""

    def __init__(self, group: Group) -> None:
        self.path, self.owner, self.looked = group.folder / OWNER, group.owner, float("-inf")

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self.looked < _LOOK_SECONDS:
            return
        self.looked = now
        if not owns(self.path, self.owner):
            raise KeyboardInterrupt


def owns(path: Path, owner: str) -> bool:
    """Whether the sweep of this file is still that of ``owner``."""
    try:
        return path.read_text() == owner
    except FileNotFoundError:
        return False
    except OSError:  # a file system that does not answer for a moment ends nothing
        return True


def make_groups(group: Group, cells: Sequence[Cell], batch: int, workers: int) -> list[Group]:
    """Cells that are left, in groups of neighbors: as large as allowed, and enough of them for all workers.

    Cells on backends that cannot train several runs in one call are groups of their own.
    """
    size = max(1, min(batch, -(-len(cells) // max(workers, 1))))
    found: list[list[Cell]] = []
    for cell in cells:
        several = "vmap" in get_backend(cell.recipe.backend).capabilities
        last = found[-1][-1].recipe if found else None
        same = last is not None and (last.backend, last.dtype) == (cell.recipe.backend, cell.recipe.dtype)
        if several and same and len(found[-1]) < size:
            found[-1].append(cell)
        else:
            found.append([cell])
    return [replace(group, cells=tuple(one)) for one in found]


def remove_leftovers(folder: Path) -> None:
    """Remove what batches needed to go on, once nothing is left to do."""
    batches = folder / BATCHES
    with suppress(OSError):
        for path in batches.iterdir():
            if re.fullmatch(r"[0-9a-f]{16}(\.json)?", path.name) and not path.is_symlink():
                remove_batch(path.with_suffix(""))
    remove_empty(batches)
