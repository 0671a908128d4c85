"""Files are replaced whole, keep their modes, and nothing of a user's is removed."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tnrank._files import remove_files, write_atomically

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs modes, links and pipes of POSIX")


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0o022)
    yield lambda mask: (os.umask(mask), None)[1]
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o000])
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, umask: Any, mask: int) -> None:
    umask(mask)
    write_atomically(tmp_path / "ours", b"1")
    (tmp_path / "plain").write_bytes(b"1")
    assert mode(tmp_path / "ours") == mode(tmp_path / "plain") == 0o666 & ~mask


@posix
@pytest.mark.parametrize("kept", [0o600, 0o644, 0o664, 0o755, 0o200])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, umask: Any, kept: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"before")
    path.chmod(kept)
    write_atomically(path, b"after")
    assert mode(path) == kept
    path.chmod(0o600)
    assert path.read_bytes() == b"after"


@posix
def test_a_private_file_is_private_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, genuine, seen = tmp_path / "secret", os.write, []
    path.write_bytes(b"before")
    path.chmod(0o600)
    monkeypatch.setattr(
        os, "write", lambda handle, data: (seen.append(os.fstat(handle).st_mode), genuine(handle, data))[1]
    )
    write_atomically(path, b"after")
    assert [stat.S_IMODE(found) for found in seen] == [0o600]


def test_the_umask_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a moment: another thread would make its files with it."""

    def touched(mask: int) -> int:
        raise AssertionError

    monkeypatch.setattr(os, "umask", touched)
    threads = [threading.Thread(target=write_atomically, args=(tmp_path / f"{k % 3}", b"%d" % k)) for k in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(os.listdir(tmp_path)) == ["0", "1", "2"]


@pytest.mark.parametrize("letter", ["x", "é", "数", "🙂"])
@pytest.mark.parametrize("size", [255, 254, 253, 252, 101, 100, 99])
def test_names_of_any_length(tmp_path: Path, letter: str, size: int) -> None:
    """A name may have 255 bytes, and characters of up to four of them."""
    count, rest = divmod(size, len(letter.encode()))
    path = tmp_path / (letter * count + "y" * rest)
    for content in (b"1", b"22"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == [path.name]


def test_a_name_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        write_atomically(tmp_path / ("x" * 256), b"")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert os.listdir(tmp_path) == []


@posix
def test_links_stay(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link, second = tmp_path / "far" / "x", tmp_path / "link", tmp_path / "second"
    link.symlink_to("far/x")
    second.symlink_to(link)
    for content in (b"the target is made", b"and replaced"):
        write_atomically(second, content)
        assert target.read_bytes() == content
    assert link.is_symlink()
    assert second.is_symlink()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["x"]
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        write_atomically(loop, b"")
    assert loop.is_symlink()


@posix
def test_what_is_no_file_is_written_to_or_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        write_atomically(tmp_path / "folder", b"")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        write_atomically("", b"")
    with pytest.raises(OSError, match="a pipe that nobody reads from"):
        write_atomically(pipe, b"1")
    content, got = b"0123456789" * 20_000, []  # more than a pipe holds
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that there is one who reads
    os.set_blocking(handle, True)
    os.close(handle)
    reader.start()
    while not got:
        try:
            write_atomically(pipe, content)
            reader.join(10)
        except OSError as error:
            assert error.errno == errno.ENXIO  # noqa: PT017
    assert got == [content]
    write_atomically("/dev/null", b"1")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@posix
def test_a_stream_of_the_shell_is_written_to(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream:
        number = os.fstat(stream.fileno()).st_ino
        write_atomically(f"/dev/fd/{stream.fileno()}", b"content")
    assert (tmp_path / "out").read_bytes() == b"content"
    assert (tmp_path / "out").stat().st_ino == number


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        write_atomically(tmp_path / "nowhere" / "x", b"")
    (tmp_path / "file").write_bytes(b"1")
    with pytest.raises(NotADirectoryError):
        write_atomically(tmp_path / "file" / "x", b"")
    genuine = os.access
    monkeypatch.setattr(
        os, "access", lambda path, how: os.fspath(path) != str(tmp_path / "file") and genuine(path, how)
    )
    with pytest.raises(PermissionError, match="it is write-protected"):
        write_atomically(tmp_path / "file", b"2")
    assert (tmp_path / "file").read_bytes() == b"1"


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, to whom no folder is closed, the system is asked to say so."""
    (tmp_path / "x").write_bytes(b"before")
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        access, opened = os.access, os.open

        def closed(path: Any, flags: int, *rest: Any) -> int:
            if flags & os.O_CREAT:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return opened(path, flags, *rest)

        monkeypatch.setattr(os, "open", closed)
        monkeypatch.setattr(os, "access", lambda path, how: os.fspath(path) != str(tmp_path) and access(path, how))
    with pytest.raises(PermissionError, match=r"the folder .* is not writable: '.*/x'"):
        write_atomically(tmp_path / "x", b"after")
    tmp_path.chmod(0o700)
    assert (tmp_path / "x").read_bytes() == b"before"


class Killed(BaseException):
    """What nothing but a ``finally`` sees."""


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "made up"), OSError(errno.ENOSPC, "full"), Killed()])
@pytest.mark.parametrize("before", [None, b"before"])
def test_a_fault_at_any_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, before: bytes | None) -> None:
    """The file is what it was or what it was to be, the umask's mode too; nothing else is left."""
    seen: set[str] = set()
    for number in range(1, 100):
        path = tmp_path / f"{number}" / "x"
        path.parent.mkdir()
        if before is not None:
            path.write_bytes(before)
        calls: list[str] = []

        def broken(name: str, genuine: Callable[..., Any], number: int = number, calls: Any = calls) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                calls.append(name)
                if len(calls) == number:
                    raise fault
                return genuine(*args, **options)

            return call

        with monkeypatch.context() as patched:
            for name in ("open", "write", "fchmod", "fsync", "replace", "stat"):
                patched.setattr(os, name, broken(name, getattr(os, name)))
            try:
                write_atomically(path, b"after")
                raised = False
            except (OSError, Killed):
                raised = True
        if len(calls) < number:
            break
        seen.add(calls[number - 1])
        in_place = "replace" in calls[: number - 1]
        left = path.read_bytes() if path.exists() else None
        assert left == (b"after" if in_place or not raised else before), calls
        assert [p.name for p in path.parent.iterdir()] == ([] if left is None else ["x"])
    assert {"open", "write", "fsync", "replace", "stat"} <= seen


def test_only_our_own_files_are_removed(tmp_path: Path) -> None:
    own = re.compile(r"step-([0-9]{12,})\.json")
    ours = ["step-000000000001.json", ".step-000000000001.json.0123456789ab.partial", "step-1234567890123.json"]
    theirs = ["step-notes.json", "step-1.json", "step-000000000001.json~", ".notes.0123456789ab.partial", "a\nb"]
    theirs += [".step-000000000001.json.partial", ".step-000000000001.json.0123456789AB.partial"]
    for name in ours + theirs:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "step-000000000002.json").mkdir()
    remove_files(tmp_path, own, [tmp_path / "step-1234567890123.json"])
    assert sorted(os.listdir(tmp_path)) == sorted([*theirs, "step-1234567890123.json", "step-000000000002.json"])
