"""Run folders: hidden while they are written, renamed to their final name when complete."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._check import instance
from tnrank._files import check_path, remove_empty, remove_files, remove_temporaries, sync_folder, write_atomically
from tnrank._lock import Lock
from tnrank.runs._leftovers import remove_checkpoints, tidy
from tnrank.runs._plain import label, plain
from tnrank.runs._read import COLUMNS, PARTIAL, partial_of, read_config, summary_of

_ALWAYS = re.compile(r"config\.json|metrics\.csv|summary\.json")
"""What every run writes, before it has anything that is worth keeping."""
_SWEEP = "sweep.json"
"""A run beside this file is a cell: whoever holds the sweep holds it, too."""
ADVICE = ": wait until it has ended (wait=True), or end it"


class RunFolder:
    """A folder ``.NAME.partial`` that becomes ``NAME``, held by this process until it is complete or abandoned.

    Args:
        parent: made if it is missing.
        name: a time stamp is added, and a number where two runs start within one second.

    Raises:
        TypeError: for an argument of another type.
        OSError: if ``parent`` cannot be made or written to.
    """

    def __init__(self, parent: str | os.PathLike[str], name: str) -> None:
        check_path(parent, "out", "a path, such as 'runs'")
        instance(name, "name", str, "the name of a folder")
        self.parent = Path(parent)
        self.resumed = False
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
            self.final, self.partial = self._reserve(f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
            self.lock: Lock | None = Lock(self.partial)
            self._open_new()
        except OSError as error:
            reason = error.strerror or str(error)
            raise type(error)(f"cannot write a run folder into {self.parent}: {reason}") from error

    @classmethod
    def at(cls, parent: str | os.PathLike[str], name: str) -> RunFolder:
        """The folder ``NAME`` without a time stamp, of a cell whose sweep is held.

        One that did not end is reopened if it has a configuration.

        Raises:
            FileExistsError: if it is complete.
            OSError: if ``parent`` cannot be written to.
        """
        self = object.__new__(cls)
        self.parent, self.resumed, self.lock = Path(parent), False, None
        self.final, self.partial = self.parent / name, self.parent / f".{name}{PARTIAL}"
        if self.final.exists():
            raise FileExistsError(f"the run in {self.final} is complete")
        if (self.partial / "config.json").is_file():
            self.resumed = True
            self._open()
        else:
            # Killed before its configuration was written, a run has left nothing that this one does not write anew.
            self.partial.mkdir(exist_ok=True)
            self._open_new()
        return self

    @classmethod
    def reopen(
        cls, partial: str | os.PathLike[str], seconds: float = 0.0, say: Callable[[str], None] | None = None
    ) -> RunFolder:
        """The folder of a run that did not end; its metrics are written anew, from the checkpoints.

        Args:
            partial: see :func:`read_config`.
            seconds: how long to wait for another process that is at work there.
            say: called with lines of progress meanwhile.

        Raises:
            BlockingIOError: if another process is at work there.
            OSError: if it cannot be written to.
            ValueError: see :func:`read_config`.
        """
        read_config(partial)
        self = object.__new__(cls)
        self.partial = partial_of(partial)
        self.parent, self.resumed = self.partial.parent, True
        self.final = self.parent / self.partial.name[1:].removesuffix(PARTIAL)
        of_sweep = (self.parent / _SWEEP).is_file()
        lock = self.lock = Lock(self.parent if of_sweep else self.partial, advice=ADVICE)
        try:
            lock.acquire(seconds, say)
            # Whoever held it may have come to its end.
            read_config(partial)
            self._open()
        except BaseException:
            lock.release()
            if not self.partial.exists():
                read_config(partial)
            raise
        return self

    def _open_new(self) -> None:
        try:
            if self.lock is not None:
                self.lock.acquire()
            self._open()
        except OSError:
            self._remove()
            raise

    def _open(self) -> None:
        self.rows = 0
        # It says of an earlier session how that ended, which must not be read as how this one did.
        (self.partial / "summary.json").unlink(missing_ok=True)
        remove_temporaries(self.partial)
        # Another file, not the same one cut short: a process that was left behind may hold that open.
        write_atomically(self.partial / "metrics.csv", (",".join(COLUMNS) + "\n").encode())
        self._stream = (self.partial / "metrics.csv").open("a", newline="", encoding="utf-8")

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints stand until the run is complete, one folder a model."""
        return self.partial / "checkpoints"

    @property
    def worth_keeping(self) -> bool:
        """Whether there is something that a run which did not end leaves behind."""
        if self.rows or self.resumed:
            return True
        files = (path for path in self.partial.glob("**/*") if path.is_file() and not path.name.startswith("."))
        return any(not _ALWAYS.fullmatch(path.relative_to(self.partial).as_posix()) for path in files)

    @property
    def is_complete(self) -> bool:
        """Whether the folder has its final name."""
        return self.final.is_dir() and not self.partial.exists()

    def owns(self, path: Any) -> bool:
        """Whether ``path`` is this folder or a file in it."""
        return isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(self.partial)

    def _reserve(self, stem: str) -> tuple[Path, Path]:
        number = 1
        while True:
            name = stem if number == 1 else f"{stem}-{number}"
            final, partial = self.parent / name, self.parent / f".{name}{PARTIAL}"
            try:
                if not final.exists():
                    partial.mkdir()
                    return final, partial
            except FileExistsError:
                pass
            number += 1

    def write(self, name: str, content: bytes) -> None:
        """One file, whole or not at all."""
        write_atomically(self.partial / name, content)

    def write_json(self, name: str, content: Any) -> None:
        """``content`` as JSON; NumPy's numbers and arrays are understood."""
        self.write(name, (json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n").encode())

    def record(self, model: str, step: int, quantity: str, value: Any) -> None:
        """One measurement: a number, array or ``{node: array}``; values that are not finite are left out."""
        items = value.items() if isinstance(value, Mapping) else [("", value)]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        for node, array in items:
            name = label(node)
            for k, number in enumerate(np.asarray(array, np.float64).ravel().tolist()):
                if isfinite(number):
                    writer.writerow((model, step, quantity, name, k, f"{number:.9g}"))
                    self.rows += 1
        # Whole lines at a time: a killed run leaves no torn one.
        self._stream.write(buffer.getvalue())

    def flush(self) -> None:
        """Give what was recorded to the system, so that it outlives this process."""
        self._stream.flush()

    def complete(self, summary: Mapping[str, Any] | None = None) -> Path:
        """Write ``summary.json`` if it is given, rename to the final name, and only then remove the checkpoints.

        Until it is renamed a run goes on from its checkpoints wherever it is killed, and after that it is complete.

        Raises:
            OSError: if it cannot be written or renamed; the run can go on then.
        """
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        if summary is not None:
            self.write_json("summary.json", summary)
        os.rename(self.partial, self.final)
        if self.lock is not None and self.lock.folder == self.partial:
            self.lock.folder = self.final
        with suppress(OSError):
            sync_folder(self.parent)
        remove_checkpoints(self.final)
        self._release()
        return self.final

    def abandon(self) -> Path | None:
        """Close a run that did not end; its partial folder stays if anything was recorded."""
        if self.is_complete:
            self._release()
            return self.final
        try:
            self._stream.close()
        except OSError:
            self._drop_torn_line()
        if self.worth_keeping:
            self._release()
            return self.partial
        self._remove()
        return None

    def _remove(self) -> None:
        """Remove the folder, unless a user has put something into it."""
        remove_checkpoints(self.partial)
        remove_files(self.partial, _ALWAYS)
        self._release()
        remove_empty(self.partial)

    def _release(self) -> None:
        if self.lock is not None:
            self.lock.release()

    def _drop_torn_line(self) -> None:
        """What a full disk left of a line is no measurement."""
        path = self.partial / "metrics.csv"
        with suppress(OSError):
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def finished(parent: Path, name: str) -> bool:
    """Whether a run is complete; what a kill kept it from doing after its last file was written is done now."""
    final, partial = parent / name, parent / f".{name}{PARTIAL}"
    if not final.exists():
        if not summary_of(partial):
            return False
        os.rename(partial, final)
        sync_folder(parent)
    if not summary_of(final):
        return False
    tidy(final)
    return True
