"""Handing out the groups of a sweep, and its table."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tnrank._files import remove_temporaries, write_atomically
from tnrank._lock import Lock
from tnrank.experiments._runner import Interrupted
from tnrank.experiments._sweeps import _table as table_of
from tnrank.experiments._sweeps._cells import (
    OWNER,
    WORKERS,
    Ended,
    Group,
    make_groups,
    owns,
    remove_leftovers,
    run_group,
    this_process,
)
from tnrank.experiments._sweeps._plan import MANIFEST, Plan, write_manifest
from tnrank.experiments._sweeps._workers import count_workers
from tnrank.runs import ADVICE, finished, summary_of
from tnrank.training._progress import clock

_LOOK_SECONDS = 0.5
_TABLE_SECONDS = 2.0
_LAST_SECONDS = 60.0


@dataclass(frozen=True)
class Sweep:
    """A sweep that came to its end.

    Attributes:
        folder: with one run folder a cell.
        table: the file.
        fields: the swept ones.
        rows: of the table, one dictionary a cell.
        computed: cells that were carried out now; the others were complete before.
        seconds: wall-clock time, compilation included.
    """

    folder: Path
    table: Path
    fields: tuple[str, ...]
    rows: list[dict[str, Any]]
    computed: int
    seconds: float

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The rows of cells that ended with an error; the same sweep again tries these alone."""
        return [row for row in self.rows if row["status"] != "complete"]


class Driver:
    """Hands out the groups of one sweep and keeps its table."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        table: Path,
        batch: int,
        progress: Callable[[str], None] | None,
        command: list[str],
        figure: bool = True,
    ) -> None:
        self.plan, self.folder, self.table, self.batch = plan, folder, table, batch
        self.progress, self.command, self.figure = progress, command, figure
        self.cells = plan.cells
        self.errors: dict[int, str] = {}
        self.fatal = ""
        self.began = time.perf_counter()
        self.looked = self.wrote = float("-inf")
        self.before = 0
        self.summaries: dict[int, dict[str, Any]] = {}
        self.owner = uuid.uuid4().hex

    def go(self, executor: Executor | None, seconds: float = 0.0, say: Callable[[str], None] | None = None) -> Sweep:
        """Carry out what is left, once no other process is at work here; ``seconds`` says how long to wait for one."""
        lock = Lock(self.folder, advice=ADVICE)
        try:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(seconds, say)
                self._begin(seconds, say)
            except BlockingIOError:
                raise
            except OSError as error:
                raise type(error)(f"cannot write a sweep into {self.folder}: {error.strerror or error}") from error
            return self._go(executor)
        finally:
            lock.release()

    def _begin(self, seconds: float, say: Callable[[str], None] | None) -> None:
        """Make the folder ours, and finish what a kill left undone."""
        if not (self.folder / MANIFEST).exists():
            write_manifest(self.plan, self.folder, self.command)
        # Workers that are left of a process that was killed stop when they see that this is another's now.
        write_atomically(self.folder / OWNER, self.owner.encode())
        left_behind = Lock(self.folder, WORKERS, advice=": a worker of a process that has ended, which will end, too")
        left_behind.acquire(seconds + _LAST_SECONDS, say).release()
        remove_temporaries(self.folder)
        for cell in self.cells:
            finished(self.folder, cell.name)

    def _go(self, executor: Executor | None) -> Sweep:
        self._look()
        left = [cell for cell in self.cells if cell.number not in self.summaries]
        self.before = len(self.summaries)
        group = Group(self.folder, (), self.owner, this_process(), tuple(self.command), self.figure)
        groups = make_groups(group, left, self.batch, count_workers(executor))
        try:
            if executor is None:
                self._here(groups)
            else:
                self._elsewhere(executor, groups)
        except KeyboardInterrupt:
            other = (self.folder / OWNER).exists() and not owns(self.folder / OWNER, self.owner)
            self._write_table()
            raise self._interrupted(other) from None
        finally:
            with suppress(OSError):
                if owns(self.folder / OWNER, self.owner):
                    (self.folder / OWNER).unlink()
                Lock(self.folder, WORKERS).acquire().release()  # which removes its file
        found = self._write_table()
        self._show("")
        if self.fatal:
            raise OSError(f"{self.fatal}; {self._done()} are complete; to go on: {self._again()}")
        if len(self.summaries) == len(self.cells):
            remove_leftovers(self.folder)
        return Sweep(self.folder, self.table, tuple(self.plan.grid), found, len(left), time.perf_counter() - self.began)

    def _here(self, groups: list[Group]) -> None:
        self._show("preparing")
        for group in groups:
            if self.fatal:
                break
            self._take(run_group(group, self._show if self.progress is not None else None))
            self._write_table(_TABLE_SECONDS)

    def _elsewhere(self, executor: Executor, groups: list[Group]) -> None:
        waiting = {executor.submit(run_group, group) for group in groups}
        try:
            while waiting and not self.fatal:
                done, waiting = wait(waiting, _LOOK_SECONDS, FIRST_COMPLETED)
                for future in done:
                    self._take_from(future)
                if done:
                    self._write_table(_TABLE_SECONDS)
                self._show(f"{len(waiting):,} of {len(groups):,} groups left")
        finally:
            if waiting:
                self._end(waiting)

    def _end(self, waiting: set[Future[list[Ended]]]) -> None:
        """Have the workers save what they are at, and wait for them."""
        (self.folder / OWNER).unlink(missing_ok=True)
        self._show("saving")
        running = {future for future in waiting if not future.cancel()}
        for future in wait(running, _LAST_SECONDS).done:
            with suppress(KeyboardInterrupt):
                self._take_from(future)

    def _take_from(self, future: Future[list[Ended]]) -> None:
        try:
            self._take(future.result())
        except CancelledError:
            self.fatal = self.fatal or "the executor gave up a group of cells"
        except Exception as error:
            # What goes wrong in a cell is told by the cell: this is the workers' own.
            kind = type(error).__name__
            broken = isinstance(error, BrokenExecutor) or kind == "KilledWorker"
            why = (
                "a worker ended before its cells did, for want of memory perhaps" if broken else "workers cannot begin"
            )
            self.fatal = self.fatal or f"{why} ({kind}: {error})"

    def _take(self, ended: list[Ended]) -> None:
        """Note how cells ended.

        Raises:
            KeyboardInterrupt: if some were interrupted.
        """
        for one in ended:
            if one.status == "failed":
                self.errors[one.cell] = one.message
                self.fatal = self.fatal or (one.message if one.fatal else "")
        if any(one.status == "interrupted" for one in ended):
            raise KeyboardInterrupt

    def _look(self, patience: float = 0.0) -> None:
        """Read the summaries of cells that are complete by now."""
        if (now := time.monotonic()) - self.looked < patience:
            return
        self.looked = now
        for cell in self.cells:
            if cell.number not in self.summaries and (found := summary_of(self.folder / cell.name)):
                self.summaries[cell.number] = found

    def _write_table(self, patience: float = 0.0) -> list[dict[str, Any]]:
        if (now := time.monotonic()) - self.wrote < patience:
            return []
        self.wrote = now
        self._look()
        found = table_of.rows(self.cells, self.summaries, self.errors)
        try:
            table_of.write(self.table, found)
        except OSError as error:
            # Cells are what counts: the table is made from them, and can be made again.
            self.fatal = self.fatal or f"cannot write {self.table}: {error.strerror or error}"
        return found

    def _done(self) -> str:
        return f"{len(self.summaries):,} of {len(self.cells):,} cells"

    def _again(self) -> str:
        return f"tnrank sweep {self.plan.base.name} --resume {shlex.quote(str(self.folder))}"

    def _interrupted(self, other: bool) -> Interrupted:
        told = f"{self._done()} are complete, "
        if other:
            told = f"another process has taken up this sweep; {told}"
        return Interrupted(self.folder, f"tnrank sweep {self.plan.base.name}", told)

    def _show(self, line: str) -> None:
        if self.progress is None:
            return
        self._look(_TABLE_SECONDS)
        done, total = len(self.summaries) + len(self.errors), len(self.cells)
        told = f"{done:,} of {total:,} cells"
        spent, now = time.perf_counter() - self.began, done - self.before
        if now > 0 and done < total:
            told += f", {clock(spent / now * (total - done))} left"
        self.progress(f"{told}; {line}" if line else told)
