"""One owner of a folder at a time: a lock of the kernel, which ends with the process that holds it, however it dies."""

from __future__ import annotations

import errno
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from tnrank._warn import warn

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOOK_SECONDS, _GRACE_SECONDS = 0.2, 1.0
_HELD_BY_ANOTHER = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_FAR, _SPAN = 1 << 20, 1 << 16  # locked bytes on Windows, which cannot be read: behind the text, one a sharer


class Lock:
    """The lock of a folder; several may hold a ``shared`` one together, but none while another holds it alone."""

    def __init__(self, folder: Path, name: str = ".tnrank.lock", shared: bool = False, advice: str = "") -> None:
        self.folder, self.name, self.shared, self.advice, self.handle = folder, name, shared, advice, -1

    def acquire(self, seconds: float = 0.0, say: Callable[[str], None] | None = None) -> Lock:
        """Take the lock, waiting up to ``seconds``; else BlockingIOError names process, host and time."""
        began = time.monotonic()
        while not self._taken():
            holder, waited = self._holder(), time.monotonic() - began
            if waited >= seconds and (holder or waited >= _GRACE_SECONDS):
                raise BlockingIOError(f"{self.folder} is in use by {holder or 'another process'}{self.advice}")
            if say is not None:
                say(f"waiting for {holder or 'another process'}, {waited:.0f} s")
            time.sleep(_LOOK_SECONDS)
        return self

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self.handle < 0:
            return
        if not self.shared:  # whoever has opened this file sees, once it has the lock, that it is gone
            with suppress(OSError):
                os.unlink(self.folder / self.name)
        _HELD.discard(self)
        os.close(self.handle)
        self.handle = -1

    __del__ = release

    def _taken(self) -> bool:
        # Programs that are started do not inherit it (PEP 446); forked children close it, see below.
        handle = os.open(self.folder / self.name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locked(handle, self.shared, self.folder):
                return False
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(self.folder / self.name)):
                    self.handle, handle = handle, -1
                    _HELD.add(self)
                    self._sign()
            return self.handle >= 0
        finally:
            if handle >= 0:
                os.close(handle)

    def _sign(self) -> None:
        text = json.dumps([os.getpid(), platform.node(), time.strftime("%Y-%m-%d %H:%M:%S")])
        with suppress(OSError):  # the lock holds on a full disk, too
            os.ftruncate(self.handle, 0)
            os.write(self.handle, text.encode())

    def _holder(self) -> str:
        try:
            process, host, since = json.loads((self.folder / self.name).read_bytes())
        except (OSError, ValueError, TypeError):
            return ""
        return f"process {process} on {host} since {since}"


def _locked(handle: int, shared: bool, folder: Path) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(handle, _FAR + (random.randrange(_SPAN) if shared else 0), os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1 if shared else _SPAN)
        else:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_BY_ANOTHER:
            return False
        if error.errno not in _NO_LOCKS:
            raise
        text = f"the file system of {folder} has no locks ({error.strerror}): let no other process work there"
        warn(text, RuntimeWarning)
    return True


_HELD: WeakSet[Lock] = WeakSet()


def _forget() -> None:
    """A forked child lets go of the locks of its parent: it must not keep them when that dies."""
    for lock in _HELD:
        os.close(lock.handle)
        lock.handle = -1
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
