"""Data sets from a server of the test: found, fetched, checked, and never left half-written."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data_files.server import (
    FILES,
    IMAGES,
    LABELS,
    Server,
    absent,
    cut,
    cut_without_length,
    damaged,
    endless,
    files_in,
    idx,
    server,
    silent,
)
from tnrank.data import _download, _sources, cache_folder, cifar10, images, mnist

__all__ = ["server"]


def test_nothing_is_fetched_without_being_asked(server: Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        mnist("train")
    folder = tmp_path / "cache" / "tnrank" / "mnist"
    assert str(raised.value).startswith(f"no file train-images-idx3-ubyte.gz (or without .gz) in {folder}: ")
    assert "tnrank.data.mnist('train', download=True) downloads" in str(raised.value)
    assert not server.asked
    assert not (tmp_path / "cache").exists()


def test_into_the_cache_and_once(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        pixels, labels = mnist("train", download=True, progress=False)
        np.testing.assert_array_equal(pixels, IMAGES)
        np.testing.assert_array_equal(labels, LABELS)
    assert server.asked == [f"a/{name}" for name in list(FILES)[:2]]
    assert files_in(tmp_path / "cache") == [f"tnrank/mnist/{name}" for name in list(FILES)[:2]]
    pixels, labels = images("mnist", "train")
    assert pixels.dtype == np.uint8
    assert labels.dtype == np.int64


def test_into_a_folder_that_is_named(server: Server, tmp_path: Path) -> None:
    """Files that a user has there stay what they are; the cache is not looked into."""
    (tmp_path / "mine" / "mnist").mkdir(parents=True)
    (tmp_path / "mine" / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[::-1])))
    with pytest.raises(FileNotFoundError, match=r"no file train-images-idx3-ubyte\.gz") as raised:
        mnist("train", tmp_path / "mine")
    assert f"mnist('train', data_dir='{tmp_path}/mine', download=True)" in str(raised.value)
    labels = mnist("train", tmp_path / "mine", download=True, progress=False)[1]
    np.testing.assert_array_equal(labels, LABELS[::-1])
    assert server.asked == ["a/train-images-idx3-ubyte.gz"]
    assert not (tmp_path / "cache").exists()


def test_the_variable_comes_before_the_cache(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder counts if it has all files of the split; a download goes to the cache."""
    mine = tmp_path / "mine" / "mnist"
    mine.mkdir(parents=True)
    monkeypatch.setenv("TNRANK_DATA", str(tmp_path / "mine"))
    (mine / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[:3])))
    with pytest.raises(FileNotFoundError, match=r"no file train-labels-idx1-ubyte\.gz"):
        mnist()
    assert len(mnist(download=True, progress=False)[0]) == 20
    assert files_in(mine) == ["train-images-idx3-ubyte.gz"]
    (mine / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:3]))
    assert len(mnist(download=True)[0]) == len(mnist()[0]) == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (absent, "404 Not Found"),
        (cut, r"cut off after [\d,]+ of [\d,]+ bytes"),
        (cut_without_length, r"[\d,]+ bytes with MD5 \w+, needed \w+: damaged"),
        (damaged, r"[\d,]+ bytes with MD5 \w+, needed \w+: damaged"),
        (endless, "more than 1,030,000 bytes, which is another file"),
        (silent, "timed out"),
    ],
)
def test_bad_servers(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str) -> None:
    """The next one is tried; without one, an error says what each answered and what to do by hand."""
    monkeypatch.setattr(_download, "_TIMEOUT", 0.2)
    server.answers = {"a": answer, "b": answer}
    with pytest.raises(OSError, match=rf"could not be downloaded \({server.address}/a/\S+: {said}.*/b/\S+: ") as raised:
        mnist(download=True, progress=False)
    folder = tmp_path / "cache" / "tnrank" / "mnist"
    by_hand = f"fetch {server.address}/a/train-images-idx3-ubyte.gz elsewhere and put it into {folder}"
    assert by_hand in str(raised.value)
    assert not (tmp_path / "cache").exists()
    server.answers = {"a": answer}
    assert len(mnist(download=True, progress=False)[0]) == 20


def test_no_network(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(OSError, match=r"could not be downloaded \(.*: Connection refused; .* and put it into "):
        mnist(download=True)


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    mnist(download=True, progress=False)
    path = tmp_path / "cache" / "tnrank" / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(FILES[path.name][:-20])
    with pytest.raises(ValueError, match="damaged gzip file"):
        mnist()
    assert len(mnist(download=True, progress=False)[0]) == 20
    assert path.read_bytes() == FILES[path.name]


@pytest.mark.parametrize("at", ["read", "write", "fsync", "replace"])
def test_ctrl_c_leaves_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if at == "read":
            patched.setattr("http.client.HTTPResponse.read", interrupted)
        else:
            patched.setattr(os, at, interrupted)
        with pytest.raises(KeyboardInterrupt):
            mnist(download=True, progress=False)
    assert files_in(tmp_path) == []
    assert len(mnist(download=True, progress=False)[0]) == 20


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_signals(server: Server, tmp_path: Path, number: signal.Signals) -> None:
    """A process that is interrupted or killed in the middle of a download."""
    half_sent = threading.Event()

    def half(answer: BaseHTTPRequestHandler, content: bytes) -> None:
        cut(answer, content)
        half_sent.set()
        threading.Event().wait(5.0)

    server.answers = {"a": half}
    file = _sources.MNIST.splits["train"][0]
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "from pathlib import Path; from tnrank.data import _download, _sources\n"
        f"file = _sources.SourceFile{tuple(file)!r}\n"
        f"_download.fetch(file, {_sources.MNIST.mirrors!r}, Path({str(tmp_path / 'mnist')!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        assert half_sent.wait(30)
        process.send_signal(number)
        told = process.communicate(timeout=30)[1]
    assert process.returncode == -number
    assert ("KeyboardInterrupt" in told) == (number == signal.SIGINT)
    assert files_in(tmp_path) == []


def test_a_cache_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(OSError, match=r"was downloaded and cannot be written, .*: pass data_dir=DIR, or set XDG_CACHE"):
        mnist(download=True, progress=False)


def test_progress(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    mnist(download=True, progress=lines.append)
    assert [line.split()[0] for line in lines] == list(FILES)[:2]
    size = len(FILES["train-images-idx3-ubyte.gz"]) / 1e6
    assert f"{size:.1f} of {size:.1f} MB" in lines[0]
    assert capsys.readouterr() == ("", "")
    cifar10(download=True)
    assert capsys.readouterr().err.startswith("cifar-10-binary.tar.gz  0.0 of 0.0 MB")
    with pytest.raises(TypeError, match="progress is True, False or a function"):
        mnist(progress="yes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="download is True or False, got 1"):
        mnist(download=1)  # type: ignore[arg-type]


def test_progress_on_a_terminal(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line a file, rewritten in place; nothing before the first byte."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(_download, "_EVERY", 0.0)
    server.answers = {"a": absent}
    mnist(download=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines if line.strip()] == [name for name in list(FILES)[:2] for _ in range(2)]
    assert all(len(line) <= 79 for line in lines)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"HOME": "/home/me"}, "/home/me/.cache/tnrank"),
        ("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}, "/home/me/.cache/tnrank"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/tnrank"),
        ("darwin", {"HOME": "/Users/me", "XDG_CACHE_HOME": "/x"}, "/x/tnrank"),
        ("win32", {"HOME": "/home/me", "LOCALAPPDATA": "/local"}, "/local/tnrank"),
    ],
)
def test_the_cache(platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_without_a_home(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers: files that are named are read, and only a cache is missed."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(ValueError, match="no home folder for a cache of data sets: set XDG_CACHE_HOME=DIR"):
        mnist()
    mnist("train", tmp_path, download=True, progress=False)
    monkeypatch.setenv("TNRANK_DATA", str(tmp_path))
    assert len(mnist()[0]) == 20


def test_published_checksums() -> None:
    """The table has one entry a file, of the form of an MD5; no two files are the same."""
    sets = (_sources.MNIST, _sources.FASHION_MNIST, _sources.CIFAR10)
    files = {file for source in sets for split in source.splits.values() for file in split}
    assert len({file.md5 for file in files}) == 9
    assert all(len(bytes.fromhex(file.md5)) == 16 for file in files)
    assert all(mirror.endswith("/") for source in sets for mirror in source.mirrors)
