"""The folder of checkpoints: whose it is, which files are ours, and which of them are whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from tnrank._check import instance, sequence, shown, whole_number
from tnrank._explained import explained
from tnrank._files import check_path, remove_empty, remove_files, write_atomically
from tnrank._lock import Lock
from tnrank.training._state_file import from_bytes

_FORMAT = "tnrank checkpoint 3"
_OWN = re.compile(r"step-([0-9]{12,})\.(json|safetensors)")
"""Names of the files of checkpoints: whatever else is in the folder is the user's."""
_RUN = re.compile(r"run-[0-9]+")
_PARTS: dict[str, Any] = {
    "identity": dict,
    "position": int,
    "failed": list,
    "seconds": (int, float),
    "state": dict,
    "history": list,
}
"""What a description holds."""


@dataclass(frozen=True)
class Checkpoint:
    """Where, and how often, a run is saved so that it can go on later.

    A run is saved at its end and at Ctrl-C, too. While it trains it holds the folder: another process that is to
    train there is refused.

    Args:
        folder: made if missing; one run's alone.
        every: the distance of two checkpoints.
        unit: of ``every``: ``"seconds"`` or ``"steps"``.
        keep: how many are left; older ones are removed.

    Raises:
        TypeError: for an argument of another type.
        ValueError: for a distance or number that is not positive, or another unit.

    Example:
        >>> import tnrank
        >>> tnrank.training.Checkpoint("runs/cp", every=1000, unit="steps").keep
        3
    """

    folder: str | os.PathLike[str]
    every: float = 60.0
    unit: str = "seconds"
    keep: int = 3

    @explained
    def __post_init__(self) -> None:
        check_path(self.folder, "folder", "a path, such as 'runs/cp'")
        if isinstance(self.every, bool) or not isinstance(self.every, Real):
            raise TypeError(f"every is a number above 0, such as 60.0, got {shown(self.every)}")
        whole_number(self.keep, "keep", least=-(1 << 62))
        if not isinstance(self.unit, str) or self.unit not in ("seconds", "steps"):
            raise ValueError(f"Checkpoint has unit={shown(self.unit)}: needed 'seconds' or 'steps'")
        whole = self.unit == "seconds" or self.every == int(self.every)
        if not 0 < self.every < float("inf") or not whole or self.keep < 1:
            raise ValueError(f"{self!r}: needed every above 0 (steps: a whole number) and keep from 1 on")

    def steps(self) -> list[int]:
        """The steps at which there is a checkpoint, ascending; of runs that train one after the other, none.

        Example:
            >>> import tnrank
            >>> tnrank.training.Checkpoint("nowhere").steps()
            []
        """
        return steps_of(Path(self.folder))

    def remove(self) -> None:
        """Remove the checkpoints, and the folder if nothing else is in it.

        Raises:
            BlockingIOError: if another process trains there.

        Example:
            >>> import tnrank
            >>> tnrank.training.Checkpoint("nowhere").remove()
        """
        folder = Path(self.folder)
        if not folder.is_dir():
            return
        with held(self):
            for path in folder.iterdir():
                if _RUN.fullmatch(path.name) and not path.is_symlink():
                    Checkpoint(path).remove()
            remove_files(folder, _OWN)
        remove_empty(folder)


@dataclass(frozen=True)
class SavedRuns:
    """Some of the runs that were saved together, which go on without the others: ``complete(xs, .., resume=this)``.

    Args:
        folder: of the :class:`Checkpoint` that they were saved with.
        runs: their places in the sequence that was saved, one for each factorization that goes on.

    Raises:
        TypeError: for an argument of another type.
        ValueError: for no runs, or one that is named twice.

    Example:
        >>> import tnrank
        >>> tnrank.training.SavedRuns("runs/seeds", [0, 3]).runs
        (0, 3)
    """

    folder: str | os.PathLike[str]
    runs: Sequence[int]

    @explained
    def __post_init__(self) -> None:
        check_path(self.folder, "folder", "a path, such as 'runs/cp'")
        runs = tuple(whole_number(run, "a run", 0) for run in sequence(self.runs, "runs", "places, such as [0, 3]"))
        if not runs or len(set(runs)) < len(runs):
            raise ValueError(f"SavedRuns has runs={shown(self.runs)}: needed the places of some runs, each once")
        object.__setattr__(self, "runs", runs)


def check_kept(checkpoint: Any, resume: Any, count: int | None) -> None:
    """Refuse what says neither where to save a run, or a sequence of ``count``, nor where it goes on.

    Raises:
        TypeError: see above.
        ValueError: for another number of saved runs.
    """
    if checkpoint is not None:
        instance(checkpoint, "checkpoint", Checkpoint, "tnrank.training.Checkpoint(folder)")
    if isinstance(resume, SavedRuns):
        if len(resume.runs) != count:
            given = "one factorization" if count is None else f"a sequence of {count} factorizations"
            raise ValueError(
                f"resume names {len(resume.runs)} saved runs for {given}: needed a sequence, a run for each"
            )
    elif resume is not None and not isinstance(resume, bool):
        check_path(resume, "resume", "True or the folder of a checkpoint, such as 'runs/cp'")


@contextmanager
def held(checkpoint: Checkpoint | None) -> Iterator[None]:
    """Hold the folder of a checkpoint, which is made.

    Raises:
        BlockingIOError: if another process trains there.
        OSError: if it cannot be written to.
    """
    if checkpoint is None:
        yield
        return
    folder = Path(checkpoint.folder)
    _make(folder)
    lock = Lock(folder, advice=": wait until it has ended, or give another folder").acquire()
    try:
        yield
    finally:
        lock.release()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"cannot write checkpoints into {folder}: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write checkpoints into {folder}: it is not writable")


def paths_of(folder: Path, step: int) -> tuple[Path, Path]:
    """Description and arrays; the description is written last, so that it makes the checkpoint."""
    stem = folder / f"step-{step:012d}"
    return stem.with_suffix(".json"), stem.with_suffix(".safetensors")


def steps_of(folder: Path) -> list[int]:
    """The steps of which there is a checkpoint, ascending."""
    found = [_OWN.fullmatch(path.name) for path in folder.glob("step-*.json") if path.is_file()]
    return sorted(int(match[1]) for match in found if match)


def write_checkpoint(folder: Path, step: int, packed: bytes, content: dict[str, Any]) -> None:
    description, arrays = paths_of(folder, step)
    content = {**content, "format": _FORMAT, "sha256": hashlib.sha256(packed).hexdigest()}
    text = json.dumps(content)
    write_atomically(arrays, packed)
    whole = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "content": content}
    write_atomically(description, json.dumps(whole).encode())


def read_checkpoint(folder: Path, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Content and arrays of one checkpoint.

    Raises:
        ValueError: if it is damaged; OSError, KeyError or TypeError for other damage.
    """
    description, arrays = paths_of(folder, step)
    whole = json.loads(description.read_bytes())
    content: dict[str, Any] = whole["content"]
    if hashlib.sha256(json.dumps(content).encode()).hexdigest() != whole["sha256"]:
        raise ValueError("its description does not match its checksum")
    if content["format"] != _FORMAT:
        raise ValueError(f"its format is {content['format']!r}, needed {_FORMAT!r}")
    if arrays.exists() and not arrays.is_file():
        raise ValueError(f"{arrays.name} is no ordinary file")
    for name, kind in _PARTS.items():
        if not isinstance(content.get(name), kind):
            raise ValueError(f"its {name} is {shown(content.get(name))}")
    packed = arrays.read_bytes()
    if hashlib.sha256(packed).hexdigest() != content["sha256"]:
        raise ValueError("its arrays do not match their checksum")
    return content, from_bytes(packed)


def prune(folder: Path, keep: int) -> None:
    """Leave the newest ``keep`` checkpoints, and all files of the user."""
    # In the order of names a description goes before its arrays, which alone are no checkpoint.
    remove_files(folder, _OWN, [path for step in steps_of(folder)[-keep:] for path in paths_of(folder, step)])
