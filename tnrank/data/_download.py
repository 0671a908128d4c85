"""Downloads: a file is in its folder with the right checksum, or not at all."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tnrank._files import write_atomically
from tnrank.data._sources import SourceFile

_PIECE = 2**16
_TIMEOUT = 30.0
"""Seconds without a byte after which the next server is tried."""
_EVERY = 0.2
"""Seconds between two states of the line of progress."""


def matches(path: Path, md5: str) -> bool:
    """True if the file has the checksum; what cannot be read has not."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, _md5).hexdigest() == md5
    except OSError:
        return False


def fetch(
    file: SourceFile, mirrors: tuple[str, ...], folder: Path, progress: bool | Callable[[str], None] = True
) -> Path:
    """Download a file from the first server that has it with the right checksum.

    It is written when it is complete and checked: an interrupted download leaves nothing behind.

    Args:
        file: name, checksum and size.
        mirrors: addresses that end with a slash, tried in order.
        folder: where it goes; made if needed.
        progress: a line on standard error, or what is called with its text.

    Returns:
        The path of the file.

    Raises:
        OSError: if no server gives it, or it cannot be written; what to do by hand is said.
    """
    failures = []
    for mirror in mirrors:
        line = _Line(file, progress)
        try:
            content = _content(mirror + file.name, file, line)
        except _NotGiven as error:
            failures.append(f"{mirror + file.name}: {error}")
            continue
        finally:
            line.close()
        return _write(folder, file.name, content)
    raise OSError(
        f"{file.name} could not be downloaded ({'; '.join(failures)}): call again later, or fetch "
        f"{mirrors[0] + file.name} elsewhere and put it into {folder}"
    )


class _NotGiven(Exception):
    """One server does not give the file; the reason in a few words."""


def _content(url: str, file: SourceFile, line: _Line) -> bytes:
    """What a server gives, if its checksum is right."""
    # Imported here: these take a third of the time in which tnrank.data is imported.
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    most = int(file.megabytes * 1.5e6) + 1_000_000
    pieces, total = [], 0
    try:
        with urlopen(Request(url, headers={"User-Agent": "tnrank"}), timeout=_TIMEOUT) as answer:
            length = answer.headers.get("Content-Length") or ""
            expected = int(length) if length.isdecimal() else None
            while piece := answer.read(_PIECE):
                pieces.append(piece)
                total += len(piece)
                if total > most:
                    raise _NotGiven(f"more than {most:,} bytes, which is another file")
                line.update(total, expected)
    except HTTPError as error:
        with error:
            raise _NotGiven(f"{error.code} {error.reason}") from error
    except URLError as error:
        raise _NotGiven(_words(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise _NotGiven(f"cut off after {total:,} bytes, {_words(error)}" if total else _words(error)) from error
    if expected is not None and total < expected:
        raise _NotGiven(f"cut off after {total:,} of {expected:,} bytes")
    content = b"".join(pieces)
    found = _md5(content).hexdigest()
    if found != file.md5:
        raise _NotGiven(f"{total:,} bytes with MD5 {found}, needed {file.md5}: damaged, or another file")
    return content


def _md5(content: bytes = b"") -> Any:
    """Against damage on the way; machines that forbid MD5 forbid it for secrets."""
    return hashlib.md5(content, usedforsecurity=False)


def _write(folder: Path, name: str, content: bytes) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno,
            f"{name} was downloaded and cannot be written, {reason}: pass data_dir=DIR, or set XDG_CACHE_HOME=DIR, a "
            "folder that can be written to",
            str(folder),
        ) from error
    return folder / name


def _words(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


class _Line:
    """The line of progress: in place on a terminal, once at the end elsewhere."""

    def __init__(self, file: SourceFile, shown: bool | Callable[[str], None]) -> None:
        self.file, self.shown = file, shown
        self.began = self.last = time.perf_counter()
        self.total = 0
        self.expected: int | None = None
        self.in_place = shown is True and sys.stderr is not None and sys.stderr.isatty()

    def update(self, total: int, expected: int | None) -> None:
        """Tell that ``total`` bytes have come."""
        self.total, self.expected = total, expected
        now = time.perf_counter()
        if now - self.last >= _EVERY:
            self.last = now
            if callable(self.shown):
                self.shown(self._text())
            elif self.in_place:
                print(f"\r{self._text():<78}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Tell the last state, if a byte has come."""
        if not self.total or self.shown is False:
            return
        if callable(self.shown):
            self.shown(self._text())
        elif sys.stderr is not None:
            print(f"\r{self._text():<78}" if self.in_place else self._text(), file=sys.stderr)

    def _text(self) -> str:
        seconds = max(time.perf_counter() - self.began, 1e-3)
        expected = self.file.megabytes if self.expected is None else self.expected / 1e6
        done = self.total / 1e6
        return f"{self.file.name}  {done:.1f} of {expected:.1f} MB  {done / seconds:.1f} MB/s"
