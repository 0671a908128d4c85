"""Carrying out a group of cells, in this process or in another one."""

from __future__ import annotations

import os
import platform
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tnrank._backend import get_backend
from tnrank._files import remove_empty
from tnrank._lock import Lock
from tnrank.experiments._runner import Interrupted, carrying_out, check_same
from tnrank.experiments._sweeps._batch import Trainer, remove_batch
from tnrank.experiments._sweeps._plan import MANIFEST, Cell
from tnrank.runs import Fitting, FittingJob, Job, Journal, RunFolder, Training, read_config, summary_of

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
        cells: that advance and train together.
        owner: what stands in the file of that name while the sweep goes on.
        process: in which the sweep was started.
        command: what was typed.
        figure: whether to draw.
    """

    folder: Path
    cells: Sequence[Cell]
    owner: str
    process: str
    command: Sequence[str]
    figure: bool = True


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
    lock = Lock(group.folder, WORKERS, shared=True).acquire(_PATIENCE_SECONDS)
    try:
        return _carry_out(group, progress)
    finally:
        lock.release()


def _carry_out(group: Group, progress: Callable[[str], None] | None) -> list[Ended]:
    """Advance all cells from training to training, and train together what they ask for."""
    watch = _Watch(group)
    trainer = Trainer(group.folder / BATCHES, watch, progress)
    cells = [_Running(group, cell, watch) for cell in group.cells if summary_of(group.folder / cell.name) is None]
    stopped = False
    with ExitStack() as enabled:
        for recipe in {(cell.recipe.backend, cell.recipe.dtype): cell.recipe for cell in group.cells}.values():
            enabled.enter_context(get_backend(recipe.backend).dtype_enabled(recipe.dtype))
        for cell in cells:
            stopped = stopped or cell.advance()
        while waiting := [cell for cell in cells if cell.job is not None]:
            if not stopped:
                try:
                    trainer.carry_out([cell.job for cell in waiting if cell.job is not None])
                except KeyboardInterrupt:
                    stopped = True
                except Exception as error:  # a fault of ours in sorting the trainings ends them all
                    for cell in waiting:
                        cell.fail(error)
            for cell in waiting:
                if stopped:
                    # Those that have a result save it first.
                    cell.fail(KeyboardInterrupt())
                stopped = cell.advance() or stopped
    if all(cell.ended.status == "complete" for cell in cells):
        trainer.clear()
    return [cell.ended for cell in cells]


_ONE = threading.Lock()
"""Held by the recipe that works: drawing and warnings know no threads, of which workers may have several."""


class _Running:
    """A cell under way: its recipe is at work, or waits for the training that it asked for.

    Attributes:
        job: what it waits for.
        ended: how it ended; one that has not begun is interrupted.
    """

    def __init__(self, group: Group, cell: Cell, watch: Callable[[], None]) -> None:
        self.group, self.cell = group, cell
        self.job: Job | FittingJob | None = None
        self.ended = Ended(cell.number, "interrupted")
        self._work = self._trainings(watch)

    def _trainings(self, watch: Callable[[], None]) -> Generator[Training | Fitting, Any, None]:
        watch()
        folder = RunFolder.at(self.group.folder, self.cell.name)
        if folder.resumed:
            check_same(self.cell.recipe, read_config(folder.partial), folder.partial)
        self._journal = Journal(folder)
        yield from carrying_out(self.cell.recipe, self._journal, self.group.command, self.group.figure)

    def fail(self, error: BaseException) -> None:
        """Have the recipe get an error where it waits for results that are not there."""
        if self.job is not None and not self.job.found:
            self.job.error = self.job.error or error

    def advance(self) -> bool:
        """Let the recipe work until it asks for a training or ends; whether Ctrl-C ended it."""
        job, self.job = self.job, None
        try:
            with _ONE:
                asked = self._next(job)
                self.job = self._journal.begin(asked)
        except StopIteration:
            self.ended = replace(self.ended, status="complete")
        except KeyboardInterrupt as stop:
            self.ended = replace(self.ended, message=str(stop) if isinstance(stop, Interrupted) else "")
            return True
        except Exception as error:
            # A recipe may read files of its own; only what is written belongs to all.
            fatal = isinstance(error, OSError) and str(self.group.folder) in str(error)
            # It goes on with the sweep, not as a run of its own.
            told = str(error).partition("; to go on: ")[0] if fatal else f"{type(error).__name__}: {error}"
            self.ended = Ended(self.cell.number, "failed", told, fatal)
        return False

    def _next(self, job: Job | FittingJob | None) -> Training | Fitting:
        """The next training that the recipe asks for, given the result of the one before."""
        if job is None:
            return next(self._work)
        try:
            result = job.result()
        except BaseException as error:
            return self._work.throw(error)
        return self._work.send(result)


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
