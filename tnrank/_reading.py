"""Reading files: whatever is wrong with one becomes one sentence that names it."""

from __future__ import annotations

import difflib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL, ENOENT, ENOTDIR, EOVERFLOW
from math import inf, nan
from pathlib import Path
from typing import Any

from tnrank._check import shown
from tnrank._memory import available_memory, size_text

_ALWAYS = 2**30
"""Bytes that compressed content may take whatever the size of its file."""
_RATIO = 100
"""Times its file that compressed content may take beyond that; only bombs and empty arrays expand further."""
_JSON_SHARE = 20
"""Bytes of Python objects that a byte of JSON may become."""
_REASON = 200
"""Characters of another library's message that an error repeats."""
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS = {"nan": nan, "inf": inf, "infinity": inf}


def regular_file(path: str | os.PathLike[str], quoted: bool = False) -> Path:
    """``path`` if it is a file on disk, whose reading neither waits for a writer nor goes on for ever.

    ``quoted``: whether its name stands in quotes where it is missing.

    Raises:
        TypeError: if it is not the name of a file.
        FileNotFoundError: if there is no such file; similar names are given.
        ValueError: if it is a folder, a pipe, a device or a socket.
        OSError: if the system refuses to look.
    """
    if not isinstance(path, (str, os.PathLike)) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"a file is given by its path, such as 'x.npy', got {shown(path)}")
    file = Path(path)
    if "\0" in str(file):
        raise ValueError(f"{str(file)!r} is no path: it has a NUL character in it")
    try:
        mode = file.stat().st_mode
    except OSError as error:
        if error.errno not in (ENOENT, ENOTDIR):
            raise
        raise FileNotFoundError(_missing(file, repr(str(file)) if quoted else str(file))) from None
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _KINDS if test(mode)), "something else")
        raise ValueError(f"{file} is {kind}, needed a file on disk")
    return file


def _missing(file: Path, name: str) -> str:
    try:
        names = [path.name for path in file.parent.iterdir()]
    except OSError:
        return f"no file {name}: there is no folder {file.parent}"
    similar = difflib.get_close_matches(file.name, names, n=3)
    return f"no file {name}" + (f"; did you mean {' or '.join(similar)}?" if similar else "")


@contextmanager
def reading(
    path: str | os.PathLike[str], told: str = "cannot be read, it may be cut short or damaged", quoted: bool = False
) -> Iterator[Path]:
    """Read a file under this: an error that does not name it becomes a ``ValueError`` that does.

    Args:
        path: of a file on disk, see :func:`regular_file`.
        told: what is said after the name of the file, before the reason.
        quoted: whether the name stands in quotes.

    Raises:
        ValueError: for any damage.
        OSError: if the system refuses to read.
        ImportError: if what reads the file is not installed.
    """
    file = regular_file(path, quoted)
    name = repr(str(file)) if quoted else str(file)
    try:
        yield file
    except (ImportError, Warning):  # warnings are errors where the caller wants them so
        raise
    except MemoryError as error:
        raise ValueError(f"{name} needs more memory than there is") from error
    except OSError as error:
        # Of a library that found the content wrong, or looked for something beyond the ends of the file.
        if error.errno in (None, EINVAL, EOVERFLOW) or error.strerror is None:
            raise ValueError(f"{name} {told}: {reason(error)}") from error
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(file)) from error
    except Exception as error:
        if type(error) is ValueError and str(error).startswith(tuple(f"{file}{mark}" for mark in (" ", ":", ","))):
            raise
        raise ValueError(f"{name} {told}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What another library says is wrong, on one line and short."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"it has no {shown(error.args[0] if len(error.args) == 1 else error.args)}"
    text = " ".join(str(error).split()).rstrip(".")
    if not text or isinstance(error, (AttributeError, AssertionError, IndexError)):
        return f"its structure is another ({type(error).__name__}{f': {text}' if text else ''})"[:_REASON]
    return text if len(text) <= _REASON else f"{text[: _REASON - 2]}.."


def check_size(file: Path, size: int, what: str, *, compressed: bool = False) -> None:
    """Refuse content before it takes ``size`` bytes of memory.

    Raises:
        ValueError: if it is more than half of the memory that is available, or, compressed, far more than the file.
    """
    most = available_memory() // 2
    if size > most:
        raise ValueError(
            f"{file} holds {what} of {size_text(size)}, more than the {size_text(most)} that may be taken: half of the "
            "available memory"
        )
    if not compressed:
        return
    on_disk = file.stat().st_size
    if size > max(_ALWAYS, _RATIO * on_disk):
        raise ValueError(
            f"{file} has {size_text(on_disk)} and holds {what} of {size_text(size)}, as files do that are made to fill "
            "the memory: if it is yours, save it without compression, as .npy"
        )


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as an error message repeats it: one that a damaged header claims may be long."""
    text = str(shape)
    return text if len(text) <= 60 else f"{text[:58]}.. of order {len(shape)}"


def read_bytes(file: Path, share: int = 2) -> bytes:
    """All bytes of a file that become ``share`` times as many in memory.

    Raises:
        ValueError: if that is too much.
    """
    check_size(file, share * file.stat().st_size, "content")
    return file.read_bytes()


def read_json(path: str | os.PathLike[str], kind: type | tuple[type, ...] = dict) -> Any:
    """The JSON in a file, whose outermost value is of the type.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not JSON, or of another type.
    """
    with reading(path, "cannot be read") as file:
        found = json.loads(read_bytes(file, _JSON_SHARE))
        if not isinstance(found, kind):
            raise ValueError(f"{file} cannot be read: it holds {shown(found)} where an object of JSON belongs")
        return found


def decimal_number(text: str) -> float | None:
    """A number as it is written in files: digits, a point, an exponent; nan, inf and infinity in any case.

    ``None`` if it is none. Python's ``float`` takes more: underscores, digits of other scripts, and numbers too large,
    which become infinite.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        word = text.lower()
        found = _WORDS.get(word.lstrip("+-") if word[:1] in ("+", "-") and word[1:2] not in ("+", "-") else word)
        return None if found is None else -found if word.startswith("-") else found
    number = float(text)
    return number if abs(number) < inf else None
