"""Writing files so that a reader never sees half of one, and removing nothing but what was written here."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tnrank._check import instance, shown

_LONGEST = 100
"""Bytes of a name that its temporary neighbor repeats: file systems take 143 to 255 in all."""
_TEMPORARY = re.compile(r"\.(?P<name>.*)\.[0-9a-f]{12}\.partial", re.DOTALL)
_STREAMS = ("/dev/std", "/dev/fd/", "/proc/")
"""Where names of open files begin: a file that a shell has opened for us is not replaced behind its back."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EROFS, errno.EACCES, errno.EPERM)


def check_path(value: Any, name: str, needed: str) -> None:
    """Refuse what is no path.

    Raises:
        TypeError: if it is of another type.
        ValueError: if it has a null character, which no system takes.
    """
    instance(value, name, (str, os.PathLike), needed)
    if "\0" in os.fsdecode(value):
        raise ValueError(f"{name} is {needed}, got {shown(os.fsdecode(value))}: a path has no null character")


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to a temporary neighbor and rename it over ``path``.

    A new file gets the mode that the umask leaves, a replaced one keeps its own. A symbolic link stays: its target is
    written. Pipes and devices cannot be replaced, and are written to directly.

    Raises:
        OSError: if it cannot be written; a file at ``path`` is then as it was.
    """
    check_path(path, "path", "the name of a file")
    given = os.fsdecode(path) or "."
    try:
        known = os.stat(given)
    except FileNotFoundError:
        known = None
    if known is not None and stat.S_ISDIR(known.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, needed the name of a file", given)
    if known is not None and (not stat.S_ISREG(known.st_mode) or os.path.abspath(given).startswith(_STREAMS)):
        _write_directly(given, content)
        return
    target = os.path.realpath(given)
    if known is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is write-protected", given)
    try:
        _replace(target, content, None if known is None else stat.S_IMODE(known.st_mode) & 0o777)
    except OSError as error:
        raise _in_words(error, given, os.path.dirname(target)) from error


def _replace(target: str, content: bytes, mode: int | None) -> None:
    folder, name = os.path.split(target)
    short = os.fsencode(name)[:_LONGEST].decode(errors="ignore")
    temporary = os.path.join(folder, f".{short}.{secrets.token_hex(6)}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    # The kernel applies the umask. Content that replaces a private file is private from the first byte on.
    handle = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    try:
        try:
            _write_all(handle, content)
            if mode is not None and hasattr(os, "fchmod"):
                with suppress(OSError):  # file systems without modes
                    os.fchmod(handle, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(folder)


def _write_all(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _write_directly(path: str, content: bytes) -> None:
    try:
        # A pipe that nobody reads from would keep us waiting for ever.
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | os.O_TRUNC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a pipe that nobody reads from", path) from None
        raise
    try:
        if hasattr(os, "O_NONBLOCK"):
            os.set_blocking(handle, True)
        _write_all(handle, content)
    finally:
        os.close(handle)


def _in_words(error: OSError, path: str, folder: str) -> OSError:
    """The error of a temporary file as that of the file that was to be written."""
    if error.errno is None:
        return error
    reason = error.strerror or os.strerror(error.errno)
    if error.errno == errno.ENOENT:
        reason = f"there is no folder {folder}"
    elif error.errno in (errno.EACCES, errno.EPERM) and not os.access(folder, os.W_OK):
        reason = f"the folder {folder} is not writable"
    return OSError(error.errno, reason, path)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Have the names in a folder outlive a power cut, where the system can do that.

    Raises:
        OSError: if the disk fails.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # folders that may not be read, and all of them on Windows
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)


def remove_files(folder: Path, own: re.Pattern[str], keep: Iterable[Path] = ()) -> None:
    """Remove the files whose whole name is of our own pattern, and what kills left of writing them.

    What cannot be removed stays, and so does all that is a user's.
    """
    kept = set(keep)
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            temporary = _TEMPORARY.fullmatch(path.name)
            if own.fullmatch(temporary["name"] if temporary else path.name) and path not in kept:
                with suppress(OSError):
                    path.unlink()


def remove_temporaries(folder: Path) -> None:
    """Remove what kills left of writing files into a folder that is ours alone."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and not path.is_dir():
                with suppress(OSError):
                    path.unlink()


def remove_empty(folder: Path) -> None:
    """Remove a folder if nothing is in it."""
    with suppress(OSError):
        folder.rmdir()
