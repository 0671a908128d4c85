"""Run folders: hidden while they are written, renamed to their final name when complete."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tnrank._files import write_atomically

_PARTIAL = ".partial"
COLUMNS = ("model", "step", "quantity", "node", "index", "value")


class RunFolder:
    """A folder ``.NAME.partial`` that becomes ``NAME``.

    Args:
        parent: made if it is missing.
        name: a time stamp is added, and a number where two runs start within one second.

    Raises:
        OSError: if ``parent`` cannot be made or written to.
    """

    def __init__(self, parent: str | os.PathLike[str], name: str) -> None:
        self.parent = Path(parent)
        self.resumed = False
        try:
            self.parent.mkdir(parents=True, exist_ok=True)
            self.final, self.partial = self._reserve(f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
            self._open_new()
        except OSError as error:
            reason = error.strerror or str(error)
            raise type(error)(f"cannot write a run folder into {self.parent}: {reason}") from error

    @classmethod
    def at(cls, parent: str | os.PathLike[str], name: str) -> RunFolder:
        """The folder ``NAME`` without a time stamp; one that did not end is reopened if it has a configuration.

        Raises:
            FileExistsError: if it is complete.
            OSError: if ``parent`` cannot be written to.
        """
        self = object.__new__(cls)
        self.parent, self.resumed = Path(parent), False
        self.final, self.partial = self.parent / name, self.parent / f".{name}{_PARTIAL}"
        if self.final.exists():
            raise FileExistsError(f"the run in {self.final} is complete")
        if (self.partial / "config.json").is_file():
            return cls.reopen(self.partial)
        # Killed before its configuration was written, a run has nothing that is worth keeping.
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        self._open_new()
        return self

    @classmethod
    def reopen(cls, partial: str | os.PathLike[str]) -> RunFolder:
        """The folder of a run that did not end; its metrics are written anew, from the checkpoints.

        Raises:
            OSError: if it cannot be written to.
            ValueError: see :func:`read_config`.
        """
        read_config(partial)
        self = object.__new__(cls)
        self.partial = partial_of(partial)
        self.parent, self.resumed = self.partial.parent, True
        self.final = self.parent / self.partial.name[1:].removesuffix(_PARTIAL)
        self._open()
        return self

    def _open_new(self) -> None:
        try:
            self._open()
        except OSError:
            shutil.rmtree(self.partial, ignore_errors=True)
            raise

    def _open(self) -> None:
        self.rows = 0
        # Another file, not the same one cut short: a process that was left behind may hold that open.
        (self.partial / "metrics.csv").unlink(missing_ok=True)
        self._stream = (self.partial / "metrics.csv").open("w", newline="", encoding="utf-8")
        self._stream.write(",".join(COLUMNS) + "\n")
        self._stream.flush()

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints stand until the run is complete, one folder a model."""
        return self.partial / "checkpoints"

    @property
    def worth_keeping(self) -> bool:
        """Whether there is something that a run which did not end leaves behind."""
        return bool(self.rows) or self.resumed or any(self.checkpoints.glob("**/*.json"))

    def owns(self, path: Any) -> bool:
        """Whether ``path`` is this folder or a file in it."""
        return isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(self.partial)

    def _reserve(self, stem: str) -> tuple[Path, Path]:
        number = 1
        while True:
            name = stem if number == 1 else f"{stem}-{number}"
            final, partial = self.parent / name, self.parent / f".{name}{_PARTIAL}"
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
            flat = np.atleast_1d(np.asarray(array, np.float64)).ravel()
            for k in np.flatnonzero(np.isfinite(flat)):
                writer.writerow((model, step, quantity, _label(node), k, f"{flat[k]:.9g}"))
                self.rows += 1
        # Whole lines at a time: a killed run leaves no torn one.
        self._stream.write(buffer.getvalue())

    def flush(self) -> None:
        """Give what was recorded to the system, so that it outlives this process."""
        self._stream.flush()

    def complete(self) -> Path:
        """Close, remove the checkpoints and rename to the final name."""
        self._stream.close()
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        os.rename(self.partial, self.final)
        return self.final

    def abandon(self) -> Path | None:
        """Close a run that did not end; its partial folder stays if anything was recorded."""
        try:
            self._stream.close()
        except OSError:
            self._drop_torn_line()
        if self.worth_keeping:
            return self.partial
        shutil.rmtree(self.partial, ignore_errors=True)
        return None

    def _drop_torn_line(self) -> None:
        """What a full disk left of a line is no measurement."""
        path = self.partial / "metrics.csv"
        with suppress(OSError):
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def partial_of(folder: str | os.PathLike[str]) -> Path:
    """The folder of a run that did not end, given with or without what marks it as such."""
    path = Path(folder)
    marked = path.parent / f".{path.name}{_PARTIAL}"
    return marked if not path.exists() and marked.is_dir() else path


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """``config.json`` of a run that did not end.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is not the folder of a run, or of one that is complete.
    """
    path = partial_of(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder} to resume")
    if not (path / "config.json").is_file():
        raise ValueError(f"{folder} is not a run folder: it has no config.json")
    if not path.name.endswith(_PARTIAL):
        raise ValueError(f"the run in {folder} is complete, there is nothing to resume")
    try:
        found: dict[str, Any] = json.loads((path / "config.json").read_bytes())
    except ValueError as error:
        raise ValueError(f"{path / 'config.json'} cannot be read: {error}") from None
    return found


def read_metrics(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of ``metrics.csv`` of a run folder, complete or partial.

    Returns:
        One dictionary a row: model, step, quantity, node, index, value.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    with (Path(folder) / "metrics.csv").open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["value"]]
    return [{**row, "step": int(row["step"]), "index": int(row["index"]), "value": float(row["value"])} for row in rows]


def _label(node: Any) -> str:
    # A Node is a tuple too, and shows itself.
    return "{" + ",".join(map(str, node)) + "}" if type(node) is tuple else str(node)


def plain(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {_label(key): plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if isinstance(content, np.ndarray):
        return plain(content.tolist())
    if isinstance(content, np.generic):
        return plain(content.item())
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return str(content) if isinstance(content, Path) else content
