"""Data sets from a server of the test: found, fetched, checked, and never left half-written."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data_files.samples import cifar_archive
from tnrank import _reading
from tnrank.data import _download, _sources, cache_folder, cifar10, images, mnist

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10


def _idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


RECORDS = [bytes([k]) + bytes(np.random.default_rng(k).integers(0, 256, 3072).astype(np.uint8)) for k in range(6)]
FILES = {
    "train-images-idx3-ubyte.gz": gzip.compress(_idx(IMAGES)),
    "train-labels-idx1-ubyte.gz": gzip.compress(_idx(LABELS)),
    "cifar-10-binary.tar.gz": cifar_archive(
        {"test_batch.bin": RECORDS[5]} | {f"data_batch_{k + 1}.bin": RECORDS[k] for k in (1, 0, 2, 4, 3)}
    ),
}


class Server:
    """Two mirrors, ``/a/`` and ``/b/``; what they answer is what a test puts into ``answers``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler, bytes], None]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror, name = self.path.strip("/").split("/")
                server.asked.append(f"{mirror}/{name}")
                server.answers.get(mirror, whole)(self, FILES[name])

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


def whole(answer: BaseHTTPRequestHandler, content: bytes, length: int | None = None) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", str(len(content) if length is None else length))
    answer.end_headers()
    answer.wfile.write(content)


def absent(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    answer.send_error(404)


def cut(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(answer, content[: len(content) // 2], len(content))


def cut_without_length(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    answer.send_response(200)
    answer.end_headers()
    answer.wfile.write(content[: len(content) // 2])


def damaged(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(answer, content[:-1] + bytes([content[-1] ^ 1]))


def endless(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(answer, bytes(3_000_000))


def silent(answer: BaseHTTPRequestHandler, content: bytes) -> None:
    threading.Event().wait(1.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    started = Server()
    monkeypatch.delenv("TNRANK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("MNIST", "CIFAR10"):
        genuine = getattr(_sources, name)
        files = {split: tuple(map(_ours, files)) for split, files in genuine.splits.items()}
        mirrors = (f"{started.address}/a/", f"{started.address}/b/")
        monkeypatch.setattr(_sources, name, genuine._replace(mirrors=mirrors, splits=files))
    yield started
    started.http.shutdown()
    started.http.server_close()


def _ours(file: _sources.SourceFile) -> _sources.SourceFile:
    return file._replace(md5=hashlib.md5(FILES.get(file.name, b"")).hexdigest(), megabytes=0.02)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


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
    (tmp_path / "mine" / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(LABELS[::-1])))
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
    (mine / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(IMAGES[:3])))
    with pytest.raises(FileNotFoundError, match=r"no file train-labels-idx1-ubyte\.gz"):
        mnist()
    assert len(mnist(download=True, progress=False)[0]) == 20
    assert files_in(mine) == ["train-images-idx3-ubyte.gz"]
    (mine / "train-labels-idx1-ubyte").write_bytes(_idx(LABELS[:3]))
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


def test_cifar_without_pickles(server: Server, tmp_path: Path) -> None:
    """The archive of the binary version, or its unpacked folder: five batches in order, colors last."""
    pixels, labels = cifar10("train", download=True, progress=False)
    assert labels.tolist() == [0, 1, 2, 3, 4]
    for pixel, record in zip(pixels, RECORDS, strict=False):
        for place in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (3, 4, 1), (31, 31, 2)]:
            row, column, color = place
            assert pixel[place] == record[1 + 1024 * color + 32 * row + column]
    assert cifar10("test")[1].tolist() == [5]
    folder = tmp_path / "unpacked" / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for k in range(5):
        (folder / f"data_batch_{k + 1}.bin").write_bytes(RECORDS[k])
    np.testing.assert_array_equal(cifar10("train", tmp_path / "unpacked")[0], pixels)
    with pytest.raises(FileNotFoundError, match=r"test_batch\.bin"):
        cifar10("test", tmp_path / "unpacked")
    (folder / "data_batch_3.bin").write_bytes(RECORDS[0][:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin has 3,072 bytes, needed a multiple of 3,073"):
        cifar10("train", tmp_path / "unpacked")
    (folder / "data_batch_3.bin").write_bytes(b"\x0a" + RECORDS[0][1:])
    with pytest.raises(ValueError, match=r"has the label 10, needed 0 \.\. 9"):
        cifar10("train", tmp_path / "unpacked")


def test_the_checksum_at_the_end_of_an_archive(tmp_path: Path) -> None:
    """It is compared, however much comes after the last member."""
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "cifar-10-binary.tar.gz"
    padded = gzip.decompress(FILES[path.name]) + np.random.default_rng(0).bytes(2**22)
    whole = gzip.compress(padded, compresslevel=1)
    path.write_bytes(whole)
    assert cifar10("test", tmp_path)[1].tolist() == [5]
    path.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    with pytest.raises(ValueError, match="is a damaged archive: CRC check failed"):
        cifar10("test", tmp_path)


def test_archives_that_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies before the batches counts, too: the headers of an archive may have any size."""
    monkeypatch.setattr(_reading, "_ALWAYS", 2**20)
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "cifar-10-binary.tar.gz"
    path.write_bytes(cifar_archive({"other.bin": bytes(2**23), "test_batch.bin": RECORDS[5]}))
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz has .* as files do that are made to fill "):
        cifar10("test", tmp_path)
    path.write_bytes(cifar_archive({"test_batch.bin": RECORDS[5]}))
    assert cifar10("test", tmp_path)[1].tolist() == [5]
    with pytest.raises(ValueError, match=r"has no data_batch_1\.bin, data_batch_2\.bin"):
        cifar10("train", tmp_path)


def test_pickled_cifar_is_named(tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"cifar-10-python\.tar\.gz holds pickles, which could run code"):
        cifar10("train", tmp_path)


def test_published_checksums() -> None:
    """The table has one entry a file, of the form of an MD5; no two files are the same."""
    sets = (_sources.MNIST, _sources.FASHION_MNIST, _sources.CIFAR10)
    files = {file for source in sets for split in source.splits.values() for file in split}
    assert len({file.md5 for file in files}) == 9
    assert all(len(bytes.fromhex(file.md5)) == 16 for file in files)
    assert all(mirror.endswith("/") for source in sets for mirror in source.mirrors)
